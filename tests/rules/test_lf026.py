"""LF026: a value that a length limit has cut."""

import pytest
from langfuse import Langfuse
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

LIMIT = 64


@pytest.fixture
def limited(client, langfuse_fresh_client) -> Langfuse:
    """A client whose attributes are cut at 64 characters."""
    provider = TracerProvider(span_limits=SpanLimits(max_attribute_length=LIMIT))
    return langfuse_fresh_client(
        public_key="pk-lf-cut", secret_key="sk-lf-cut", base_url="http://127.0.0.1:9", tracer_provider=provider
    )


def test_json_that_was_cut(limited, find):
    documents = [{"title": "Paris"}] * 10
    with limited.start_as_current_observation(name="search", output=documents, metadata={"found": documents}):
        pass
    (finding,) = find("LF026")
    assert finding.severity == "warning"
    assert "of 'search' (tests/rules/test_lf026.py:21) are cut at 64 characters" in finding.text
    assert "output" in finding.text
    assert "metadata 'found'" in finding.text


@pytest.mark.parametrize(
    "output",
    ["Paris is the capital of France. " * 10, {"a": 1}, ["x" * (LIMIT - 4)], "[1] is a footnote", "[" + "x" * 20],
    ids=["text", "short", "as long as the limit", "footnote", "not JSON"],
)
def test_not_cut_or_text(limited, find, langfuse_spans, output):
    limited.start_observation(name="search", output=output).end()
    assert find("LF026") == []
    assert len(langfuse_spans) == 1


def test_no_limit(client, find):
    client.start_observation(name="search", output="[" + "x" * (LIMIT - 1)).end()
    assert find("LF026") == []
