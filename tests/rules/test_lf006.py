"""LF006: a generation or an embedding without a model."""

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langfuse.langchain import CallbackHandler
from opentelemetry import trace

HAYSTACK = "openinference.instrumentation.haystack"


class Scripted(GenericFakeChatModel):
    """A double as people write it for their tests: it has a name of its own, and no integration package."""


def test_no_model(client, find):
    client.start_observation(name="llm", as_type="generation").end()
    (finding,) = find("LF006")
    assert finding.text == (
        "'llm' (tests/rules/test_lf006.py:17) names no model, so that Langfuse computes neither tokens nor cost of it"
    )
    assert finding.fix == 'pass model="...", when it is started or by update()'


def test_a_model_where_langfuse_does_not_look_for_it(client, find):
    """OpenInference's semantic conventions name the model of an embedding `embedding.model_name`."""
    with trace.get_tracer(HAYSTACK).start_as_current_span("CreateEmbeddings") as span:
        span.set_attributes({"openinference.span.kind": "EMBEDDING", "embedding.model_name": "text-embedding-3-small"})
    (finding,) = find("LF006")
    assert "names no model where Langfuse looks for it, so that" in finding.text
    assert finding.fix == f"set gen_ai.request.model in the instrumentation {HAYSTACK!r}, or update that"


@pytest.mark.parametrize(("integration", "found"), [('"langchain_chat_model"', 0), ('"langchain_openai"', 1)])
def test_chat_models_of_packages_only(client, find, integration, found):
    observation = client.start_observation(name="Chat", as_type="generation")
    observation._otel_span.set_attribute("langfuse.observation.metadata.ls_integration", integration)
    observation._otel_span.set_attribute("langfuse.observation.metadata.ls_model_type", '"chat"')
    observation.end()
    assert [finding.fix for finding in find("LF006")] == ['pass model="..." to the chat model'] * found


def test_a_double_of_langchain_under_a_name_of_its_own(client, find):
    handler = CallbackHandler(public_key="pk-lf-rules")
    Scripted(messages=iter([AIMessage("Paris")])).invoke("why?", config={"callbacks": [handler]})
    assert find("LF006") == []
