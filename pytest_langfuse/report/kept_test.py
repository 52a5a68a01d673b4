"""Captured tests as they are kept until the end of the run: by references, which cost a test next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.expect.errors import TreeMismatch
from pytest_langfuse.outage.suite import without_fault
from pytest_langfuse.report.rule_findings import FINDING_ROWS
from pytest_langfuse.report.sent_images import SentImages, Upload

if TYPE_CHECKING:
    import pytest

    from pytest_langfuse.expect.text.side_by_side import SideBySide
    from pytest_langfuse.outage.outage_control import OutageControl
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
    from pytest_langfuse.process.process_source import ProcessSource
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.sources.combined import CombinedSource
    from pytest_langfuse.recording.sources.live import LiveSource
    from pytest_langfuse.recording.sources.score import Score
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.report.outage_timeline import OutageTimeline


#: The id of a test, and which of the tests with this id it is, from 1.
KeptKey = tuple[str, int]
#: Spans that are kept at most.
MOST_SPANS: Final = 10_000


@dataclass(slots=True)
class Snapshot:
    """The observations of a test, read while its server and its processes were there to be asked."""

    observations: Sequence[Observation]
    scores: Sequence[Score]
    #: Of all processes.
    unexported: Sequence[Unexported]
    #: Of this process: what no receiver has accepted.
    undelivered: Sequence[Unexported]
    #: The names of the processes that made the others, by trace id and span id.
    processes: Mapping[tuple[str, str], str]


class KeptTest:
    """A captured test of which lines are to be written.

    `source` is all that it has recorded, `own` the part of this process. `timeline` knows the times of its outages.
    """

    __slots__ = (
        "attempts",
        "difference",
        "fault",
        "findings",
        "health",
        "id",
        "outage",
        "own",
        "repeat",
        "snapshot",
        "source",
        "timeline",
        "unexported",
    )

    def __init__(
        self,
        own: LiveSource,
        source: CombinedSource,
        timeline: OutageTimeline,
        repeat: int = 1,
        attempts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        #: The id of its reports: in an outage of the suite with the fault behind it.
        self.id = own.test
        #: Which of the tests with this id it is, from 1.
        self.repeat = repeat
        #: What the attempts before this one have used, which were run again since they failed.
        self.attempts = attempts
        self.fault: str | None = None
        self.own, self.source, self.timeline = own, source, timeline
        self.snapshot: Snapshot | None = None
        self.unexported: Sequence[Unexported] = ()
        #: The trees of the comparison that has failed it.
        self.difference: SideBySide | None = None
        self.outage: Mapping[str, Any] | None = None
        #: The health of production tracing, if the test has used that.
        self.health: Any = None
        #: The codes of what rules have found and the baseline does not have.
        self.findings: list[str] = []

    @property
    def test(self) -> str:
        """The id of the test, without the fault of the suite."""
        return self.id if self.fault is None else without_fault(self.id, [self.fault])[0]

    def note(self, report: pytest.TestReport, error: BaseException | None, fault: str | None) -> None:
        """Take what is to be written of one phase."""
        self.fault = fault
        for row in getattr(report, FINDING_ROWS, ()):
            if not row["known"] and row["code"] not in self.findings:
                self.findings.append(row["code"])
        if self.difference is None and isinstance(error, TreeMismatch):
            # Now: an error has the frames of the test, and all that these hold.
            self.difference = error.side_by_side()

    def closing(
        self,
        server: LangfuseServer[Any] | None,
        outages: OutageControl | None,
        processes: ProcessSource | None,
        undelivered: Sequence[Unexported],
    ) -> None:
        """Read what can be asked only as long as the server and the processes of the test are there."""
        if server is not None or processes is not None:
            self.snapshot = Snapshot(
                self.source.observations(),
                self.source.scores(),
                self.source.unexported(),
                undelivered,
                {} if processes is None else processes.senders(),
            )
        if outages is not None and server is not None:
            begun = [outage for outage in outages.outages if outage.begun_ns]
            self.outage = self.timeline.row(begun, server) if begun else None

    def closed(self) -> None:
        """Note why spans were not exported: as long as the reasons of the test hold, which its spans do not show."""
        if self.snapshot is None:
            for recorded in self.own.spans:
                if not recorded.exports or recorded.repeats_id:
                    self.unexported = self.own.unexported()
                    return


class KeptTests:
    """The captured tests of this process, in the order in which they began; of a repeated one the last attempt.

    `find_media` returns what was uploaded under an id, `used` what a test has used: fields of its line.
    """

    def __init__(
        self, find_media: Callable[[str], Upload | None], used: Callable[[KeptTest], Mapping[str, Any]]
    ) -> None:
        self.images: Final = SentImages(find_media)
        self._used = used
        self._tests: dict[KeptKey, KeptTest] = {}
        self.running: KeptTest | None = None
        #: The one that has ended last: it may be run again.
        self._ended: KeptTest | None = None
        #: The lines of tests that were kept before, compressed.
        self.blocks: list[bytes] = []
        #: Spans of the tests that are kept.
        self._spans = 0

    def is_full(self, test: str, repeat: int) -> bool:
        """Return whether the lines of all tests should be written before `test` begins: a span takes 9 kB.

        Not before another attempt at a test that is kept.
        """
        return self._spans >= MOST_SPANS and (test, repeat) not in self._tests

    def pack(self, packed: Callable[[Iterable[KeptTest]], Iterable[bytes]]) -> None:
        """Keep the lines of the tests, which `packed` writes, in place of their spans."""
        self.blocks += packed(self._tests.values())
        self._tests.clear()
        self._spans = 0

    def begin(self, own: LiveSource, source: CombinedSource, timeline: OutageTimeline, repeat: int) -> None:
        """Keep a test that begins, or an attempt at it."""
        ended, self._ended = self._ended, None
        attempts: Sequence[Mapping[str, Any]] = ()
        if ended is not None and (ended.id, ended.repeat) == (own.test, repeat):
            attempts = [*ended.attempts, self._used(ended)]
        self.running = KeptTest(own, source, timeline, repeat, attempts)

    def end(self, *, keep: bool) -> None:
        """Take note that the test has ended, and everything of it is closed. Without `keep`, forget it."""
        kept, self.running = self.running, None
        if kept is not None:
            kept.closed()
            if keep:
                self._ended = self._tests[kept.id, kept.repeat] = kept
                self._spans += len(kept.own.spans)
                if kept.snapshot is not None:
                    self._spans += len(kept.snapshot.observations)
