"""Spans that are not encoded yet: bounded, and the thread that ends a trace does not work through it."""

import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import decided_traces as decided_traces_module
from pytest_langfuse.tracing.delivery import intake as intake_module
from pytest_langfuse.tracing.delivery import provider as provider_module
from pytest_langfuse.tracing.delivery.decided_traces import MOST_AT_ONCE, flagged
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.sampling_decisions import SamplingDecisions
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.tail_sampler import TailSampler
from pytest_langfuse.tracing.langfuse_internals import PresentSpans, SpanQueue, span_size, watch_transformations
from pytest_langfuse.tracing.recent_entries import RecentEntries
from pytest_langfuse.tracing.sampling import SamplingRules

KIB = 1024


def pipeline():
    return singleton_module.singleton.installation.pipeline


class Seen(SpanProcessor):
    """In place of Langfuse's processor: the spans that end there, each with its thread."""

    def __init__(self):
        self.ended = []

    def on_end(self, span):
        self.ended.append((span.context.trace_flags.sampled, threading.current_thread(), span.name))

    def of(self, *, sampled):
        return [name for flag, _, name in self.ended if flag == sampled]


class Sampled:
    """A tracer behind a sampler that drops what has no error."""

    def __init__(self, *, max_spans=10**6, max_bytes=10**9):
        self.ledger = SpanLedger()
        self.held = HeldBytes(max_bytes)
        self.seen = Seen()
        self.told = []
        self.sampler = TailSampler(
            Intake(self.seen, ledger=self.ledger, held=self.held),
            decisions=SamplingDecisions(SamplingRules(0.0), self.ledger, most=1000),
            keep_errors=True,
            keep_slower_than=None,
            ledger=self.ledger,
            max_spans=max_spans,
            held=self.held,
            decided=lambda trace_id, kept: self.told.append((trace_id, kept)),
        )
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.sampler)
        self.tracer = self.provider.get_tracer("test")

    def grow(self, root, spans, size=0):
        context = trace.set_span_in_context(root)
        for number in range(spans):
            self.tracer.start_span(f"s{number}", context, attributes={"input": "x" * size} if size else None).end()

    def end(self, root, *, error):
        if error:
            root.set_status(trace.StatusCode.ERROR)
        root.end()

    @property
    def way(self):
        return self.sampler._traces_on_their_way

    def wait(self):
        thread = self.way._thread
        deadline = threading.Event()
        for _ in range(2000):
            if not self.way._kept.spans and not self.way._dropped.spans:
                break
            deadline.wait(0.01)
        self.sampler.force_flush()
        return thread


@pytest.mark.slow
@pytest.mark.parametrize("error", [True, False])
def test_the_thread_that_ends_a_large_trace_does_not_work_through_it(error):
    it = Sampled()
    root = it.tracer.start_span("root")
    it.grow(root, 5000)
    assert it.sampler.waiting == 5000
    it.end(root, error=error)
    thread = it.wait()

    here = [name for _, where, name in it.seen.ended if where is threading.current_thread()]
    assert thread is not None
    assert thread.daemon
    # `force_flush()` may have found some that the thread had left.
    assert len(it.seen.of(sampled=error)) == 5001
    assert len(here) < 2500
    balance = it.ledger.balance()
    # What `Seen` was given, it keeps without a word.
    assert (balance.ended, balance.buffered, balance.unaccounted) == (5001, 0, 5001 if error else 0)
    assert balance.dropped == ({} if error else {"sampled_out": 5001})


@pytest.mark.parametrize("error", [True, False])
def test_a_small_trace_needs_no_thread(error, monkeypatch):
    it = Sampled()
    monkeypatch.setattr(threading, "Thread", lambda **_: pytest.fail("a thread was made"))
    root = it.tracer.start_span("root")
    it.grow(root, MOST_AT_ONCE - 1)
    it.end(root, error=error)

    assert len(it.seen.of(sampled=error)) == MOST_AT_ONCE


@pytest.mark.slow
def test_a_flush_waits_for_what_was_decided():
    it = Sampled()
    root = it.tracer.start_span("root")
    it.grow(root, 5000)
    it.end(root, error=True)
    it.sampler.force_flush()

    assert len(it.seen.of(sampled=True)) == 5001


def test_a_shutdown_takes_along_what_was_decided():
    it = Sampled()
    root, open_root = it.tracer.start_span("root"), it.tracer.start_span("open")
    it.grow(root, 500)
    it.grow(open_root, 500)
    it.end(root, error=True)
    it.sampler.shutdown()

    assert len(it.seen.of(sampled=True)) == 501
    assert it.ledger.balance().dropped["sampled_out"] == 500
    assert it.ledger.balance().unaccounted == 501


def test_the_thread_ends_when_there_is_nothing_for_it(monkeypatch):
    monkeypatch.setattr(decided_traces_module, "_IDLE", 0.01)
    it = Sampled()
    for _ in range(2):
        root = it.tracer.start_span("root")
        it.grow(root, 200)
        it.end(root, error=True)
        thread = it.way._thread
        if thread is not None:
            thread.join(20)
            assert not thread.is_alive()

    it.sampler.force_flush()
    assert len(it.seen.of(sampled=True)) == 402


def test_without_new_threads_the_work_is_done_at_once(monkeypatch):
    def none(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    it = Sampled()
    monkeypatch.setattr(threading.Thread, "start", none)
    root = it.tracer.start_span("root")
    it.grow(root, 500)
    it.end(root, error=True)

    assert len(it.seen.of(sampled=True)) == 501


def test_a_failing_filter_of_the_application_does_not_stop_the_thread(monkeypatch):
    it = Sampled()
    root = it.tracer.start_span("root")
    it.grow(root, 200)
    original, calls = Intake.end, []

    def end(self, span, *, wanted):
        calls.append(span)
        if len(calls) == 50:
            raise ValueError("filter")
        original(self, span, wanted=wanted)

    monkeypatch.setattr(Intake, "end", end)
    it.end(root, error=False)
    for _ in range(2000):
        if len(calls) >= 201:
            break
        threading.Event().wait(0.01)

    assert len(it.seen.ended) == 200


# -- bytes -----------------------------------------------------------------------------------------------------


def test_the_sampler_holds_no_more_than_the_limit():
    it = Sampled(max_bytes=1000 * KIB)
    root = it.tracer.start_span("root")
    it.grow(root, 600, size=10 * KIB)

    assert it.sampler.size <= 1000 * KIB
    assert it.ledger.balance().dropped["sampled_out"] >= 90
    it.end(root, error=False)
    it.sampler.force_flush()
    assert it.ledger.balance().dropped["sampled_out"] == 601
    assert it.sampler.size == it.way.size == it.held.total == 0


def test_the_oldest_trace_goes_first():
    it = Sampled(max_bytes=100 * KIB)
    roots = [it.tracer.start_span(f"root-{number}") for number in range(4)]
    for root in roots:
        it.grow(root, 4, size=10 * KIB)
    first, second, *rest = [root.get_span_context().trace_id for root in roots]

    assert [trace_id for trace_id, _ in it.told] == [first, second]
    assert [it.sampler.decision(trace_id) for trace_id in (first, second, *rest)] == [False, False, None, None]


def test_one_span_that_is_larger_than_all_that_may_be_held_goes():
    it = Sampled(max_bytes=100 * KIB)
    root = it.tracer.start_span("root")
    it.grow(root, 1, size=200 * KIB)

    assert it.sampler.size == 0
    assert it.ledger.balance().dropped == {"sampled_out": 1}


class Slow(SpanExporter):
    """An export that takes until it is released: a mask, or an encoder under load."""

    def __init__(self):
        self.released, self.entered, self.exported = threading.Event(), threading.Event(), []

    def export(self, spans):
        self.entered.set()
        self.released.wait(20)
        self.exported += spans
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


@pytest.mark.usefixtures("fresh")
def test_the_queue_holds_no_more_than_the_limit(collector, keys, monkeypatch, lines):
    entered, released = threading.Event(), threading.Event()

    def mask(*, data, **_):
        return data

    client = init_tracing(**keys, flush_at=1, max_buffer_bytes=100 * KIB, mask=mask)
    exporter = pipeline().exporter
    original = exporter.export

    def export(spans):
        entered.set()
        released.wait(20)
        return original(spans)

    monkeypatch.setattr(exporter, "export", export)
    client.start_observation(name="first").end()
    assert entered.wait(20)
    for number in range(50):
        client.start_observation(name=f"s{number}", input="x" * 10 * KIB).end()
    queue = pipeline()._intake.queued.queue
    assert queue.size <= 100 * KIB
    assert len(queue) == 9
    assert tracing_health().dropped == {"queue_full": 41}
    released.set()
    client.flush()
    health = tracing_health()
    assert health.unaccounted == 0
    assert health.ended == 51
    assert "s49" in collector.accepted
    (line,) = [line for line in lines() if "queue_full" in line]
    assert line == (
        "41 spans dropped (queue_full): there was no room for them before they were encoded, see max_buffer_spans and "
        "max_buffer_bytes."
    )


def test_the_sdk_finds_as_many_as_it_has_seen():
    class Watcher:
        lock = threading.RLock()
        came = left = staticmethod(lambda _: None)
        evicted = staticmethod(lambda: None)

    held = HeldBytes(1000)
    queue = SpanQueue(10, Watcher(), held)
    held.add(queue)
    queue.appendleft(ReadableSpan("a"))
    queue.appendleft(ReadableSpan("b"))
    seen = len(queue)
    queue.appendleft(ReadableSpan("c", attributes={"x": "x" * 800}))
    taken = [queue.pop() for _ in range(seen)]

    assert taken[0].name == "c"
    assert taken[1:] == [SpanQueue.GONE]
    assert queue.size == 0


def test_an_export_gets_no_span_that_is_gone():
    exporter = Slow()
    exporter.released.set()
    processor = BatchSpanProcessor(exporter, schedule_delay_millis=60_000)
    watch_transformations(processor, lambda inner: inner)
    inner = processor._batch_processor._exporter
    assert isinstance(inner, PresentSpans)
    span = ReadableSpan("a")
    inner.export([SpanQueue.GONE, span, SpanQueue.GONE])
    inner.export([SpanQueue.GONE])
    processor.shutdown()

    assert exporter.exported == [span]


@pytest.mark.parametrize(
    ("attributes", "size"),
    [({}, 104), ({"a": "x" * 100}, 234), ({"a": 1}, 134), ({"a": ("x" * 1000,) * 3}, 3300), ({"a": "ü" * 1000}, 1190)],
)
def test_about_how_large_a_span_is(attributes, size):
    assert span_size(ReadableSpan("name", attributes=attributes)) == pytest.approx(size, rel=0.1)


@pytest.mark.usefixtures("fresh")
def test_spans_that_never_end_take_no_more_than_a_fixed_number_of_notes(collector, keys, monkeypatch):
    monkeypatch.setattr(provider_module, "MOST_OPEN", 100)
    monkeypatch.setattr(intake_module, "MOST_OPEN", 100)
    client = init_tracing(**keys)
    kept = [client.start_observation(name=f"s{number}") for number in range(500)]

    assert len(pipeline().provider.processor._open) == 100
    # Version 4 has none.
    assert len(getattr(pipeline()._intake.processor, "_span_export_expectation_by_id", range(100))) == 100
    for observation in kept:
        observation.end()
    shutdown_tracing()
    assert len(set(collector.accepted)) == 500


def test_the_oldest_notes_go():
    notes = RecentEntries(3)
    for number in range(5):
        notes[number] = None
    assert list(notes) == [2, 3, 4]


def test_a_span_is_flagged_without_a_copy_if_it_is_so_already():
    span = ReadableSpan("x")
    assert flagged(span, sampled=True) is span
