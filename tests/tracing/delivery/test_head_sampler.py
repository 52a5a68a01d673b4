"""A caller that has not sampled its trace does not hide the errors of this service, and decides nothing else."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import StatusCode, TraceFlags

from pytest_langfuse.tracing import extract_context, init_tracing, inject_headers, shutdown_tracing, tracing_health
from pytest_langfuse.tracing.delivery.head_sampler import RateSampler, RecordingSampler
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.sampling_decisions import SamplingDecisions
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.tail_sampler import TailSampler
from pytest_langfuse.tracing.sampling import SamplingRules

#: The lower half of the trace id decides: the first is kept at a rate of 0.5, the second is not.
KEPT, DROPPED = f"{'1' * 16}{'2' * 16}", f"{'1' * 16}{'e' * 16}"
SPAN = "b7ad6b7169203331"


@pytest.fixture
def serve(fresh, keys, collector):
    """Serve a request with a `traceparent`; what was sent of it, and the flags that went on to the next service."""

    def serve(trace_id, flags, *, error=False, seconds=0.0, **settings):
        # No export is tried twice, however slow the machine is.
        client = init_tracing(**{**keys, "timeout": 60.0, "sample_rate": 0.5, **settings})
        token = otel_context.attach(extract_context({"traceparent": f"00-{trace_id}-{SPAN}-{flags}"}))
        with client.start_as_current_observation(name="serve"):
            onward = inject_headers({}).get("traceparent", "")
            below = client.start_observation(name="below")
            if error:
                below.update(level="ERROR")
            time.sleep(seconds)
            below.end()
        otel_context.detach(token)
        health = tracing_health()
        assert health.ended == health.exported + health.buffered + sum(health.dropped.values())
        report = shutdown_tracing(60.0)
        assert report.exported + report.buffered + sum(report.dropped.values()) == health.ended
        assert report.exported == len(collector.accepted)
        return collector.accepted, report.dropped, onward.rpartition("-")[2]

    return serve


def test_an_unsampled_trace_is_dropped_and_counted(serve):
    assert serve(KEPT, "00") == ([], {"sampled_out": 2}, "00")


@pytest.mark.parametrize("trace_id", [KEPT, DROPPED])
@pytest.mark.parametrize("sample_rate", [0.0, 0.5, 1.0])
def test_its_errors_are_kept(serve, trace_id, sample_rate):
    sent, dropped, onward = serve(trace_id, "00", error=True, sample_rate=sample_rate)
    assert (sorted(sent), dropped, onward) == (["below", "serve"], {}, "00")


def test_slow_ones_are_kept(serve):
    sent, dropped, _ = serve(KEPT, "00", seconds=0.002, keep_slower_than=0.001, keep_errors=False)
    assert (sorted(sent), dropped) == (["below", "serve"], {})
    sent.clear()
    assert serve(KEPT, "00", error=True, keep_slower_than=3600, keep_errors=False)[:2] == ([], {"sampled_out": 2})


def test_at_a_rate_of_one_too_the_caller_decides_about_what_went_well(serve):
    assert serve(KEPT, "00", sample_rate=1.0) == ([], {"sampled_out": 2}, "00")


def test_where_errors_are_not_kept_nothing_is_recorded(serve):
    assert serve(KEPT, "00", error=True, keep_errors=False) == ([], {}, "00")
    assert serve(KEPT, "00", error=True, keep_errors=False, sample_rate=1.0) == ([], {}, "00")


def test_a_sampled_trace_is_kept_by_its_id(serve):
    sent, dropped, onward = serve(KEPT, "01")
    assert (sorted(sent), dropped, onward) == (["below", "serve"], {}, "01")


def test_a_caller_can_not_force_it(serve):
    assert serve(DROPPED, "01") == ([], {"sampled_out": 2}, "01")


def test_its_errors_are_kept_too(serve):
    sent, dropped, _ = serve(DROPPED, "01", error=True)
    assert (sorted(sent), dropped) == (["below", "serve"], {})


@pytest.mark.parametrize(("flags", "sampled"), [("02", 0), ("03", 1)])
def test_only_one_of_the_flags_says_whether_it_is_sampled(serve, flags, sampled):
    # Later releases of OpenTelemetry's SDK hand the other one on.
    assert int(serve(KEPT, flags)[2], 16) & 1 == sampled


def test_what_langfuse_gets_is_complete(fresh, keys, collector):
    client = init_tracing(**keys, timeout=60.0)
    token = otel_context.attach(extract_context({"traceparent": f"00-{KEPT}-{SPAN}-00"}))
    with client.start_as_current_observation(name="serve", input={"q": 1}, as_type="tool") as observation:
        observation.update(level="ERROR", status_message="failed", output="none")
    otel_context.detach(token)
    assert shutdown_tracing(60.0).exported == 1

    body = collector.exports[0].body
    for text in (b"failed", b"none", b"tool", bytes.fromhex(KEPT), bytes.fromhex(SPAN)):
        assert text in body


class Sampled:
    """Spans below an unsampled parent, and what comes out of the sampler."""

    def __init__(self, rate=0.5):
        self.exporter, self.ledger = InMemorySpanExporter(), SpanLedger()
        self.held = HeldBytes(10**9)
        self.sampler = TailSampler(
            Intake(SimpleSpanProcessor(self.exporter), ledger=self.ledger, held=self.held), held=self.held,
            decisions=SamplingDecisions(SamplingRules(rate), self.ledger, most=1000),
            keep_errors=True,
            keep_slower_than=None, ledger=self.ledger, max_spans=1000,
        )  # fmt: skip
        provider = TracerProvider(sampler=RecordingSampler(), shutdown_on_exit=False)
        provider.add_span_processor(self.sampler)
        self.tracer = provider.get_tracer("t")

    def parent(self, trace_id, flags):
        context = trace.SpanContext(trace_id, 1, is_remote=True, trace_flags=TraceFlags(flags))
        return trace.set_span_in_context(trace.NonRecordingSpan(context))


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=8),
    st.floats(0.0, 1.0),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_every_span_is_kept_with_its_trace_or_counted(requests, rate, rng):
    it = Sampled(rate)
    spans = []
    for number, sampled, error in requests:
        trace_id = number * 0x5555_5555_5555_5555
        span = it.tracer.start_span("s", it.parent(trace_id, int(sampled)))
        assert span.get_span_context().trace_flags.sampled == sampled
        spans.append((span, trace_id, sampled, error))
    rng.shuffle(spans)
    for span, _, _, error in spans:
        if error:
            span.set_status(StatusCode.ERROR)
        span.end()
    exported = it.exporter.get_finished_spans()
    assert all(span.context.trace_flags.sampled for span in exported)
    assert it.sampler.waiting == 0

    assert len(exported) + it.ledger.balance().dropped.get("sampled_out", 0) == len(spans)

    def passes(trace_id, sampled):
        return sampled and trace_id < TraceIdRatioBased.get_bound_for_rate(rate)

    failed = {trace_id for _, trace_id, sampled, error in spans if error and not passes(trace_id, sampled)}
    expected = {trace_id for _, trace_id, sampled, _ in spans if passes(trace_id, sampled)} | failed
    assert {span.context.trace_id for span in exported} == expected


def test_the_rate_sampler_is_opentelemetrys_otherwise():
    ours, theirs = RateSampler(0.5), TraceIdRatioBased(0.5)
    for trace_id in (int(KEPT, 16), int(DROPPED, 16)):
        for flags in (None, 1):
            parent = None if flags is None else Sampled().parent(trace_id, flags)
            assert (
                ours.should_sample(parent, trace_id, "s").decision
                == theirs.should_sample(parent, trace_id, "s").decision
            )
