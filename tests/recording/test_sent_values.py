"""Values that OpenTelemetry's protocol has no form for, as production tracing sends them and tests show them."""

from __future__ import annotations

from langfuse import Langfuse


def test_production_tracing(langfuse_server, langfuse_tracing, langfuse_spans):
    """A test sees what the server got."""
    client: Langfuse = langfuse_tracing()
    with client.start_as_current_observation(name="half \ud83d", input="an \ud83d", metadata={"m": "\ud83d"}) as span:
        span._otel_span.set_attribute("langfuse.observation.metadata.big", 2**70)
        span._otel_span.add_event("half \ud83d")
    client.flush()
    [arrived] = langfuse_server.spans
    observation = langfuse_spans.one("span half*")
    shown = (observation.name, observation.input, observation.metadata, observation.attributes)
    assert shown == (arrived.name, arrived.input, arrived.metadata, arrived.attributes)
    assert (observation.name, observation.input) == ("half \ufffd", "an \ufffd")
    assert observation.metadata == {"m": "\ufffd", "big": str(2**70)}
    langfuse_spans.assert_flushed()


def test_a_plain_client(langfuse_fresh_client, langfuse_spans):
    """OpenTelemetry's encoder leaves them out."""
    langfuse_fresh_client().start_observation(name="a", input="an \ud83d", output="whole").end()
    langfuse_spans.assert_tree("span a input=null output=whole")
