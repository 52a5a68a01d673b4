"""LF014: an export that is too large for Langfuse, or for the proxy before it."""

import base64
import random

import pytest
from langfuse import Langfuse, observe
from langfuse.media import LangfuseMedia
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pytest_langfuse.recording.exported_body import Encoding, ExportedBody, size_at_most
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet

#: Nothing makes it smaller: as base64 it compresses to its length.
NOISE = random.Random(14).randbytes(6_000_000)


def noise(size: int) -> str:
    """Text of so many bytes on the wire, compressed or not: within a few percent."""
    return base64.b64encode(NOISE[:size]).decode()


@pytest.fixture
def gzip(monkeypatch) -> None:
    """As langfuse 5 does without being told."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")


@pytest.fixture
def client(gzip, client) -> Langfuse:
    return client


def test_one_large_observation_takes_the_others_with_it(client, find):
    @observe(as_type="retriever")
    def retrieve(question):
        return [{"page": 1, "content": noise(5_500_000)}]

    @observe()
    def answer(question):
        return str(len(retrieve(question)))

    answer("why?")
    (finding,) = find("LF014")
    assert finding.severity == "warning"
    assert finding.text.startswith("2 observations are a body of 5.5")
    assert ", most of it 'retrieve' (tests/rules/test_lf014.py:" in finding.text
    assert finding.text.endswith("), and above 5 MB Langfuse refuses all of it (413)")
    assert "LangfuseMedia()" in finding.fix
    assert finding.observation == "retrieve"


def test_many_observations_that_are_large_together(client, find):
    for _ in range(20):
        client.start_observation(name="page", output=noise(300_000)).end()
    (finding,) = find("LF014")
    assert finding.text.startswith("20 observations are a body of 6.0")
    assert ", the largest of them 'page' (" in finding.text
    # With so many at a time a body is half as large as allowed.
    assert "LANGFUSE_FLUSH_AT=8," in finding.fix


def test_near_the_limit(client, find):
    client.start_observation(name="page", output=noise(4_300_000)).end()
    (finding,) = find("LF014")
    assert finding.text.startswith("'page' (tests/rules/test_lf014.py:")
    assert finding.text.endswith(" MB, near the 5 MB above which Langfuse refuses it (413)")
    assert find("LF014", "LF014.max_body=6") == []


def test_the_limit_of_a_proxy(client, find):
    client.start_observation(name="page", output=noise(1_200_000)).end()
    assert find("LF014") == []
    (finding,) = find("LF014", "LF014.max_body=1")
    assert finding.text.endswith("and above 1 MB Langfuse refuses it (413)")


def test_what_compresses_well_is_small(client, find):
    client.start_observation(name="page", output="What is the capital of France? " * 300_000).end()
    assert find("LF014") == []


def test_without_compression_it_is_large(langfuse_fresh_client, langfuse_spans):
    exporter = OTLPSpanExporter("http://127.0.0.1:9/api/public/otel/v1/traces", compression=Compression.NoCompression)
    client = langfuse_fresh_client(
        public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", span_exporter=exporter
    )
    client.start_observation(name="page", output="What is the capital of France? " * 300_000).end()
    (finding,) = RuleSet.of(["LF014"]).find(evidence_of(langfuse_spans._source, "test", final=True))
    assert finding.text.startswith("'page' is a body of 9.3 MB")


@pytest.mark.parametrize("as_media", [LangfuseMedia, lambda **given: given["base64_data_uri"]])
def test_media_that_the_sdk_uploads(client, find, as_media):
    uri = "data:image/png;base64," + noise(5_500_000)
    with client.start_as_current_observation(name="describe", input={"image": as_media(base64_data_uri=uri)}):
        pass
    assert find("LF014") == []


def test_many_bodies_that_are_small_each(langfuse_fresh_client, langfuse_spans, gzip, monkeypatch):
    """As many observations as above, with the fix."""
    monkeypatch.setenv("LANGFUSE_FLUSH_AT", "8")
    client = langfuse_fresh_client(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")
    for _ in range(20):
        client.start_observation(name="page", output=noise(300_000)).end()
    evidence = evidence_of(langfuse_spans._source, "test", final=True)
    assert len(evidence.observations) == 20
    assert RuleSet.of(["LF014"]).find(evidence) == []


def test_production_tracing_splits_what_can_be_split(langfuse_tracing, langfuse_spans):
    client = langfuse_tracing(flush_at=100, flush_interval=60)
    for _ in range(20):
        client.start_observation(name="page", output=noise(300_000)).end()
    client.start_observation(name="book", output=noise(5_500_000)).end()
    (finding,) = RuleSet.of(["LF014"]).find(evidence_of(langfuse_spans._source, "test", final=True))
    assert finding.text.startswith("'book' is a body of 5.5")


def test_an_exporter_that_nobody_knows(langfuse_fresh_client, langfuse_spans, caplog):
    class Archive(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

    client = langfuse_fresh_client(
        public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", span_exporter=Archive()
    )
    client.start_observation(name="page", output=noise(5_500_000)).end()
    evidence = evidence_of(langfuse_spans._source, "test", final=True)
    assert len(evidence.observations) == 1
    assert caplog.records == []
    assert RuleSet.of(["LF014"]).find(evidence) == []


def test_what_was_cleared_is_forgotten(client, find, langfuse_spans):
    client.start_observation(name="page", output=noise(5_500_000)).end()
    langfuse_spans.clear()
    client.start_observation(name="page").end()
    assert find("LF014") == []
    assert len(langfuse_spans._source.application().bodies) == 1


def test_a_trace_that_still_runs_is_judged_later(client, find):
    running = client.start_observation(name="answer")
    running.start_observation(name="page", output=noise(5_500_000)).end()
    assert find("LF014", final=False) == []
    running.end()
    assert len(find("LF014", final=False)) == 1


def test_small_bodies_are_not_encoded(client, find, monkeypatch):
    monkeypatch.setattr(ExportedBody, "_encoded", property(lambda _: pytest.fail("not needed")))
    for _ in range(200):
        client.start_observation(name="page", output="Paris " * 1_000).end()
    assert find("LF014") == []


@pytest.mark.parametrize("text", ["", "a" * 10_000, "é" * 10_000, "日本" * 5_000, "🏝" * 10_000])
def test_the_estimate_is_never_less_than_the_size(client, langfuse_spans, text):
    with client.start_as_current_observation(
        name=text[:50] or "a", input=text, metadata={"a": text, "b": [1, 2.0]}
    ) as one:
        one._otel_span.set_attributes({"list": [text, "b"], "numbers": [1, 2], "yes": True})
        one._otel_span.add_event("exception", {"exception.stacktrace": text})
    (body,) = langfuse_spans._source.application().bodies
    assert body.spans[0].events
    assert body.uncompressed <= sum(map(size_at_most, body.spans)) + 4_096
    assert not body.may_exceed(5_000_000)


def test_the_limit_of_the_exporter(client, langfuse_spans):
    client.start_observation(name="page", output="a" * 3_000_000).end()
    source = langfuse_spans._source
    evidence = evidence_of(source, "test", final=True)
    (body,) = evidence.application.bodies
    limited = ExportedBody(body.spans, Encoding(is_compressed=True, largest=2_000_000))
    evidence.application = type(evidence.application)(bodies=[limited])
    (finding,) = RuleSet.of(["LF014"]).find(evidence)
    assert finding.text.endswith(" is a body of 3 MB, before compression, and above 2 MB the exporter drops it")
