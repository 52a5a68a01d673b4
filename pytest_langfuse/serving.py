"""`langfuse_server`: the stand-in Langfuse on a real socket, with the assertions of `Observations`."""

from __future__ import annotations

from collections.abc import Collection

from pytest_langfuse.expect.observations import Observations
from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.standin.received import Received
from pytest_langfuse.standin.stand_in import StandIn


class ServedStandIn(LangfuseServer):
    """A Langfuse on loopback of which a test asks what has arrived."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(stand_in)
        self._received = Received(stand_in, self.wait_for_news)

    @property
    def spans(self) -> Observations:
        """What has arrived and was accepted, with all assertions."""
        return Observations(self._received)

    @property
    def scores(self) -> list[Score]:
        """The scores that have arrived."""
        return self.stand_in.scores

    def accepted(self) -> Collection[SpanKey]:
        """The spans that were accepted, by trace id and span id."""
        received = self._received.observations()
        return {(int(observation.trace_id, 16), int(observation.id, 16)) for observation in received}
