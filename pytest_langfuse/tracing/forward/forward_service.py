"""A forwarder with its log, its signals and its health page, as the command runs it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker
from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.forward.decision_topic import DecisionTopic
from pytest_langfuse.tracing.forward.deliveries import Deliveries
from pytest_langfuse.tracing.forward.dry_run import DryRun
from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.forward_log import ForwardLog
from pytest_langfuse.tracing.forward.forward_meter import register_forward_metrics
from pytest_langfuse.tracing.forward.forward_options import PROGRAM, ForwardOptions
from pytest_langfuse.tracing.forward.forwarder import Forwarder
from pytest_langfuse.tracing.forward.health_server import HealthServer
from pytest_langfuse.tracing.forward.kafka_source import KafkaSource
from pytest_langfuse.tracing.forward.kept_memory import keep_freed_memory
from pytest_langfuse.tracing.forward.poster import Poster
from pytest_langfuse.tracing.forward.queue_source import QueueSource, SourceFailed
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.forward.source_address import KafkaAddress, SqsAddress
from pytest_langfuse.tracing.forward.sqs_source import SqsSource
from pytest_langfuse.tracing.forward.stage import EverythingPasses, Stage
from pytest_langfuse.tracing.forward.whole_trace_sampling import WholeTraceSampling

_BAD_INPUT, _FAILED = 2, 1
#: The breaker to Langfuse: failures in a row, and the seconds after which a request tries it again.
_FAILURES, _RECOVERY = 5, 10.0
_SECONDS_OF_PROGRESS = 1.0
#: Of --max-bytes, for traces that are not decided; the others are for messages that are on their way.
_UNDECIDED = 7 / 8


def open_source(options: ForwardOptions) -> QueueSource:
    """Return the queue that the options name.

    Raises:
        SourceFailed: It can't be used as the options say.
    """
    address = options.address
    if isinstance(address, SqsAddress):
        return SqsSource(address.queue_url, once=options.once, deletes=not options.dry_run)
    return KafkaSource(
        brokers=address.brokers,
        topic=address.topic,
        group=address.group,
        options=options.kafka_options,
        once=options.once,
        joins=not options.dry_run,
    )


def build_stage(options: ForwardOptions, source: QueueSource, counts: ForwardCounts) -> Stage:
    """Return what stands between the queue and Langfuse."""
    address = options.address
    if options.dry_run:
        return DryRun(options.projects)
    if options.sampling is None or not isinstance(source, KafkaSource) or not isinstance(address, KafkaAddress):
        return EverythingPasses()
    connection = {"bootstrap.servers": address.brokers, **options.kafka_options}
    return WholeTraceSampling(
        options.sampling,
        DecisionTopic(address.topic, connection, address.group, RepeatedLog()),
        caught_up=source.caught_up,
        counts=counts,
        most_bytes=int(_UNDECIDED * options.max_bytes),
    )


def build_forwarder(
    options: ForwardOptions, source: QueueSource, stage: Stage, counts: ForwardCounts | None = None
) -> tuple[Forwarder, Poster]:
    """Return a forwarder, and its threads, which are not started."""
    breaker = CircuitBreaker(failure_threshold=_FAILURES, recovery_timeout=_RECOVERY)
    poster = Poster(
        base_url=options.base_url,
        timeout=options.timeout,
        threads=options.requests,
        breaker=breaker,
        compress=options.compress,
    )
    counts = ForwardCounts() if counts is None else counts
    forwarder = Forwarder(
        source=source,
        stage=stage,
        deliveries=Deliveries(source=source, projects=options.projects, poster=poster, breaker=breaker, counts=counts),
        counts=counts,
        once=options.once,
        max_bytes=options.max_bytes,
        stop_timeout=options.stop_timeout,
    )
    return forwarder, poster


def run_service(options: ForwardOptions, log: ForwardLog) -> int:
    """Forward as the options say. Returns the exit status."""
    keep_freed_memory(2 * options.max_bytes)
    try:
        source = open_source(options)
    except SourceFailed as error:
        place = "--from" if isinstance(options.address, SqsAddress) else "--kafka-options"
        return _refuse(f"{place}: {error}")
    counts = ForwardCounts()
    stage = build_stage(options, source, counts)
    forwarder, poster = build_forwarder(options, source, stage, counts)
    with contextlib.ExitStack() as stack:
        if options.http is not None:
            try:
                health = HealthServer(forwarder, host=options.http.host, port=options.http.port)
            except OSError as error:
                return _refuse(f"--http {options.http}: can't listen there: {error.strerror}")
            health.start()
            stack.callback(health.stop)
            logger.info("health and metrics at http://%s", options.http._replace(port=health.port))
        register_forward_metrics(forwarder)
        poster.start()
        logger.info("%s forwards %s to %s", PROGRAM, source.name, options.base_url)
        stack.callback(poster.stop)
        stack.enter_context(_signals(forwarder))
        stack.enter_context(_progress(forwarder, log))
        try:
            finished = forwarder.run()
        except SourceFailed as error:
            logger.error("%s", error)
            return _BAD_INPUT if options.once else _FAILED
    if isinstance(stage, DryRun):
        sys.stdout.write("".join(f"{line}\n" for line in stage.report()))
        return 0
    logger.info("%s", summary(forwarder))
    if not finished:
        logger.warning("Requests were still on the wire at the deadline: their messages come again.")
    return 0


def _refuse(why: str) -> int:
    sys.stderr.write(f"{PROGRAM}: error: {why}\n")
    return _BAD_INPUT


def summary(forwarder: Forwarder) -> str:
    """Return the last line."""
    counts = forwarder.counts
    dead = sum(counts.dead.values())
    return (
        f"{counts.spans} spans and {counts.scores} scores delivered of {counts.done} messages in "
        f"{counts.requests} requests, {dead} dead-lettered, {counts.rejected} rejected"
    )


@contextlib.contextmanager
def _signals(forwarder: Forwarder) -> Iterator[None]:
    """Stop the forwarder at the first SIGTERM or SIGINT; the second one ends the process at once."""
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop(_number: int, _: object) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_DFL)
        forwarder.stop()

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _progress(forwarder: Forwarder, log: ForwardLog) -> Iterator[None]:
    """Show a line of progress on a terminal."""
    end = threading.Event()

    def show() -> None:
        while not end.wait(_SECONDS_OF_PROGRESS):
            log.progress(lambda: progress_line(forwarder))

    thread = threading.Thread(target=show, name="langfuse-forward-progress", daemon=True)
    if log.terminal:
        thread.start()
    try:
        yield
    finally:
        end.set()
        log.end_progress()


def progress_line(forwarder: Forwarder) -> str:
    """Return the line of progress."""
    counts, state = forwarder.counts, forwarder.state
    lag = "?" if state.lag is None else f"{state.lag:,}"
    text = (
        f"{counts.spans:,} spans delivered, {lag} messages behind, {state.held_bytes / 2**20:.1f} MiB held, "
        f"{state.in_flight} requests on the wire"
    )
    dead = sum(counts.dead.values())
    text += f", {dead:,} dead-lettered" if dead else ""
    return f"{text}; {state.problems[0]}" if state.problems else text
