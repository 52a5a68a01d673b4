"""The library that makes an observation in place of the application, which decides how it is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation

#: The scope of what the SDK starts.
SDK_SCOPE: Final = "langfuse-sdk"
#: As Langfuse's handler for LangChain copies it of the run of every model.
_LANGCHAIN: Final = "langfuse.observation.metadata.ls_model_type"
#: OpenInference's kind of a span, and what each of its spans of a model call has one of.
_KIND: Final = "openinference.span.kind"
_OF_A_CALL: Final = ("llm.input_messages", "llm.output_messages", "llm.prompts", "llm.completions", "llm.token_count")


def foreign_scope(observation: Observation) -> str:
    """Return the instrumentation scope, if it is another library's than Langfuse's SDK; else an empty text."""
    scope = observation.record.scope_name
    return "" if scope == SDK_SCOPE else scope


def is_of_langchain(observation: Observation) -> bool:
    """Return whether Langfuse's handler for LangChain has made a generation."""
    return _LANGCHAIN in observation.attributes


def is_helper_of_a_model(observation: Observation) -> bool:
    """Return whether OpenInference made the observation of another method of a model than a call.

    Its instrumentation of LlamaIndex gives all methods of a model the kind "LLM", such as `_prepare_chat_with_tools`.
    """
    attributes = observation.attributes
    return attributes.get(_KIND) == "LLM" and not any(key.startswith(_OF_A_CALL) for key in attributes)
