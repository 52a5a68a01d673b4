"""One captured test: what it records, and the parts it may use, each made on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.recording.recorder import Recorder, Uncaptured
from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.recording.sources.combined import CombinedSource
from pytest_langfuse.standin.queue.extras import missing_queues
from pytest_langfuse.standin.queue.in_process_sqs import answering
from pytest_langfuse.standin.queue.langfuse_queue import LangfuseQueue
from pytest_langfuse.standin.queue.queue_of_test import QueueOfTest
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn
from pytest_langfuse.standin.queue.queued_message import QueuedMessage
from pytest_langfuse.standin.stand_in import StandIn

if TYPE_CHECKING:
    from pytest_langfuse.expect.observations import Observations
    from pytest_langfuse.outage.outage_control import OutageControl
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
    from pytest_langfuse.process.app import App
    from pytest_langfuse.process.processes import Processes
    from pytest_langfuse.recording.blocking_sampler import BlockingSampler
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.report.kept_test import KeptTest


class CapturedTest:
    """A test whose observations are recorded, from its set-up to the end of its teardown.

    `source` holds what the test has made for Langfuse, also in other processes. `close` ends everything that the test
    began, and then what `stack` holds. `outage_timeout` caps, in seconds, how long an outage lets the test wait for
    Langfuse; 0 means no cap. `on_sample` is called all the time while the wait of an outage is measured.
    """

    def __init__(
        self,
        name: str,
        recorder: Recorder,
        stand_in: StandIn,
        queues: QueueStandIn,
        stack: ExitStack,
        *,
        before: Uncaptured | None = None,
        outage_timeout: float = 30.0,
        on_sample: Callable[[], None] = lambda: None,
    ) -> None:
        self.stand_in = stand_in
        #: The applications that the test has started.
        self.apps: Sequence[App] = ()
        self._recorder = recorder
        self._queues = queues
        self._stack = stack
        self._outage_timeout = outage_timeout
        self._on_sample = on_sample
        self._queue_listeners: list[Callable[[QueuedMessage], None]] = [self._take_score]
        self._why_failed: list[Callable[[], str | None]] = []
        # Prompts, media and datasets stay: a fixture of wider scope may have made them.
        stack.callback(stand_in.forget_sent)
        self.recording = recorder.begin(name, before)
        stack.callback(recorder.end, self.recording)
        stack.enter_context(stand_in.also_showing(self.recording.exported))
        self.source = CombinedSource(self.recording)

    def close(self, kept: KeptTest | None = None) -> None:
        """End the test, its teardown included. An error in one part does not keep the others open.

        `kept` takes what nobody can ask for afterwards.
        """
        with self._stack:
            if self.apps:
                self.processes.close()
                self.recording.add_remote(self.processes.source)
            parts = vars(self)
            if kept is not None and (self.apps or "server" in parts):
                undelivered = self._undelivered() if "server" in parts else ()
                processes = self.processes.source if self.apps else None
                kept.closing(parts.get("server"), parts.get("outages"), processes, undelivered)

    @property
    def url_for_children(self) -> str | None:
        """The address of the test's server for the processes that the test itself starts, if it uses one."""
        uses_server = {"listening_server", "processes"}.intersection(vars(self))
        return self.listening_server.url if uses_server else None

    # -- parts ---------------------------------------------------------------------------------------------------

    @cached_property
    def listening_server(self) -> LangfuseServer[Observations]:
        """A Langfuse on a real socket, for other processes. This process exports to it once `server` is used."""
        from pytest_langfuse.expect.observations import Observations
        from pytest_langfuse.outage.server.langfuse_server import LangfuseServer

        return self._stack.enter_context(LangfuseServer(self.stand_in, observations=Observations))

    @cached_property
    def server(self) -> LangfuseServer[Observations]:
        """A Langfuse on a real socket, to which this process exports from the first use until the test ends."""
        from pytest_langfuse.recording.http.forward import LoopbackForwarder

        server = self.listening_server
        self._stack.enter_context(self._recorder.sent_for_real(self._accepted, server.refusals))
        forwarder = LoopbackForwarder(server.base_url_for, self._count_as_cut_short)
        self._stack.enter_context(hooks.forwarding(forwarder))
        return server

    @cached_property
    def _test_queue(self) -> QueueOfTest:
        self._stack.callback(self._forget_queue)
        return QueueOfTest(self._queues, self._queue_listeners)

    def _take_score(self, message: QueuedMessage) -> None:
        """Accept a score that arrived in the queue, as Langfuse will once a forwarder has sent it on."""
        if (request := message.score_request()) is not None:
            self.stand_in(request)

    def read_queue(self) -> None:
        """Look at what has arrived in the queue, if the test has one."""
        # Looked up, not made: without a queue nothing can have arrived there.
        if (queue := vars(self).get("_test_queue")) is not None:
            queue.read()

    def _forget_queue(self) -> None:
        self._queues.forget([span.key for span in self.recording.spans if span.is_recording])

    @cached_property
    def queue(self) -> LangfuseQueue:
        """The queues to which this process exports from the first use until the test ends, if it exports to any.

        They are empty at the first use, unless the test has sent something before. Without the extras, the test fails.
        """
        if (missing := missing_queues()) is not None:
            pytest.fail(f"langfuse_queue and the faults of queues: {missing}", pytrace=False)
        # What fails over to Langfuse is sent for real, too.
        self.server  # noqa: B018 - made by the first use
        queue = LangfuseQueue(self._test_queue)
        if not queue.messages:
            self._queues.empty()
        return queue

    @property
    def queue_in_use(self) -> QueueOfTest | None:
        """The queue to which the test really exports; `None` while what it exports is only recorded."""
        return self._test_queue if {"server", "_test_queue"}.intersection(vars(self)) else None

    @property
    def sqs_in_use(self) -> QueueOfTest | None:
        """The same for SQS; also where a library (moto) answers for SQS, which gets a copy of what arrives there."""
        return self._test_queue if answering() else self.queue_in_use

    @property
    def queue_for_children(self) -> QueueOfTest | None:
        """The queue for the processes that the test itself starts, if it uses a server or a queue."""
        return self.queue_in_use if self.url_for_children is None else self._test_queue

    def _accepted(self) -> Collection[SpanKey]:
        """The spans that the server has accepted, or that a queue holds."""
        accepted = self.server.accepted()
        return accepted if (queue := vars(self).get("_test_queue")) is None else {*accepted, *queue.accepted()}

    @cached_property
    def outages(self) -> OutageControl:
        """The outages of the test."""
        from pytest_langfuse.outage.outage_control import OutageControl

        outages = OutageControl(self.server, lambda: self.queue.failing, self.sampler)
        self.recording.judges_waits = lambda: outages.limits_waits
        self._stack.callback(outages.close)
        self._why_failed += [outages.why_not_reached, outages.why_blocked]
        return outages

    @cached_property
    def processes(self) -> Processes:
        """The processes of the test."""
        from pytest_langfuse.process.processes import Processes
        from pytest_langfuse.process.received_exports import ReceivedExports

        received = ReceivedExports(self.recording.arrived, self.read_queue)
        self._queue_listeners.append(lambda message: received.add(message.as_export()))
        self._stack.enter_context(self.stand_in.exports_shown_to(received.add))
        processes = Processes(
            received,
            url=lambda: self.listening_server.url,
            settle=self._settle,
            wait=self.recording.wait,
            scores=lambda: self.stand_in.scores,
            was_failing=lambda: "outages" in vars(self) or bool(self.listening_server.refusals()),
        )
        self.apps = processes.apps
        self.source.others.append(processes.source)
        return processes

    def _settle(self, seconds: float) -> None:
        """Wait at most `seconds` until what the processes have sent has arrived. Without a process there is nothing."""
        if self.apps:
            self.listening_server.settle(seconds)

    @cached_property
    def sampler(self) -> BlockingSampler:
        """Shows how long and where the test waits for Langfuse, from the first use until the test ends."""
        from pytest_langfuse.recording.blocking_sampler import BlockingSampler

        sampler = BlockingSampler(
            limit=self._outage_timeout or None, on_limit=self._end_waits, on_sample=self._on_sample
        )
        return self._stack.enter_context(sampler)

    def _count_as_cut_short(self, began: float) -> None:
        hooks.waits.cut_short()
        # Looked up, not made: this may be another thread, and without an outage nobody asks for the wait.
        if (sampler := vars(self).get("sampler")) is not None:
            sampler.cut_short(began)

    def _end_waits(self) -> None:
        # Looked up, not made: this is another thread, and only a server that is there can be waited for.
        if (server := vars(self).get("server")) is not None:
            server.end_waits()

    # -- how it went ---------------------------------------------------------------------------------------------

    @property
    def lost(self) -> int:
        """The number of observations that ended and did not arrive, as far as it is known."""
        return len(self._undelivered()) + sum(len(app.lost) for app in self.apps if app.has_ledger)

    def _undelivered(self) -> Sequence[Unexported]:
        # What is sent elsewhere, or not yet, is not lost to faults of a queue.
        outages: OutageControl | None = vars(self).get("outages")
        return () if outages is not None and outages.met_nothing_at_queue else self.recording.undelivered()

    def check_outages(self) -> None:
        """Fail the test if a required outage was never reached, or if the test waited longer than it may.

        Without a traceback, which would show no line of the test.
        """
        for why in self._why_failed:
            if (reason := why()) is not None:
                pytest.fail(hidden(reason), pytrace=False)
