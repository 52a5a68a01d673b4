"""LF007: a generation without usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import descendants, is_set
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.instrumentation import foreign_scope, is_helper_of_a_model, is_of_langchain
from pytest_langfuse.rules.model_double import is_double
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

_STREAMED = "langfuse.observation.completion_start_time"
_MODEL_CALLS = ("generation", "embedding")


@rule("LF007", "no usage", severity="warning", types=["generation"])
def generation_without_usage(observation: Observation, evidence: Evidence) -> Fact | None:
    """Langfuse estimates tokens and cost of such a call for the models whose tokenizer it has, and shows none else."""
    if any(observation.usage.values()) or any(observation.cost.values()) or observation.level == "ERROR":
        return None
    # LlamaIndex's mock of a model has the model "unknown".
    if not is_set(observation.output) or observation.model == "unknown":
        return None
    if is_double(observation, in_test=evidence.is_live) or is_helper_of_a_model(observation):
        return None
    if any(one.type in _MODEL_CALLS for one in descendants(observation)):
        return None
    return Fact(
        f"{evidence.named(observation)} has an output but no usage, so that Langfuse guesses its tokens and cost, "
        "or shows none",
        _fix(observation, evidence),
        observation,
    )


def _fix(observation: Observation, evidence: Evidence) -> str:
    is_stream = _STREAMED in observation.attributes
    if is_of_langchain(observation):
        if is_stream:
            return "pass stream_usage=True to the chat model, and read the stream to its end"
        return "set usage_metadata on the AIMessage that the chat model returns"
    if is_stream:
        return 'pass stream_options={"include_usage": True} and read the stream to its end'
    if scope := foreign_scope(observation):
        return (
            'if it is a stream, pass stream_options={"include_usage": True} and read it to its end, else update the '
            f"instrumentation {evidence.quoted(scope)}"
        )
    return 'call update(usage_details={"input": ..., "output": ...}) with what the model reports'
