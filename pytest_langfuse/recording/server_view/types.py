"""The observation type of a span.

(server, 2026-08: `ObservationTypeMapper`; the first rule that matches wins)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pytest_langfuse.recording.observation import TYPES
from pytest_langfuse.recording.server_view.javascript import stringify, text, to_number
from pytest_langfuse.recording.server_view.unconvertible import OBJECT_MEMBERS, UnconvertibleError

#: Attributes, and the types that their values stand for, in order of precedence.
NAMED_TYPES: Final[tuple[tuple[str, Mapping[str, str]], ...]] = (
    (
        "langfuse.observation.type",
        {name: name for name in TYPES},
    ),
    (
        "openinference.span.kind",
        {
            "CHAIN": "chain",
            "RETRIEVER": "retriever",
            "LLM": "generation",
            "EMBEDDING": "embedding",
            "AGENT": "agent",
            "TOOL": "tool",
            "GUARDRAIL": "guardrail",
            "EVALUATOR": "evaluator",
        },
    ),
    (
        "gen_ai.operation.name",
        {
            "chat": "generation",
            "completion": "generation",
            "text_completion": "generation",
            "generate_content": "generation",
            "generate": "generation",
            "embeddings": "embedding",
            "invoke_agent": "agent",
            "create_agent": "agent",
            "execute_tool": "tool",
        },
    ),
    (
        "genkit:metadata:subtype",
        {
            "background-model": "generation",
            "model": "generation",
            "embedder": "embedding",
            "tool": "tool",
            "tool.v2": "tool",
            "retriever": "retriever",
            "evaluator": "evaluator",
        },
    ),
)

_GENERATION_ONLY: Final = (
    "langfuse.observation.model.name",
    "langfuse.observation.cost_details",
    "langfuse.observation.usage_details",
    "langfuse.observation.completion_start_time",
    "langfuse.observation.model.parameters",
    "langfuse.observation.prompt.name",
    "langfuse.observation.prompt.version",
)
_VERCEL_MODEL: Final = (
    "langfuse.observation.model.name",
    "ai.model.id",
    "gen_ai.request.model",
    "gen_ai.response.model",
)
_VERCEL_GENERATION: Final = (
    "ai.generateText.doGenerate",
    "ai.streamText.doStream",
    "ai.generateObject.doGenerate",
    "ai.streamObject.doStream",
)
_VERCEL_EMBEDDING: Final = ("ai.embedMany.doEmbed", "ai.embed.doEmbed")
_FLUE_TOOL: Final = ("flue.tool.name", "flue.tool.call_id")
_FLUE_TASK: Final = ("flue.task.id", "flue.task.agent")
_LIVEKIT: Final = {"agent_turn": "agent", "start_agent_activity": "agent", "function_tool": "tool"}
_MODEL: Final = (
    "langfuse.observation.model.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "llm.model_name",
    "model",
)


def observation_type(
    attributes: Mapping[str, Any],
    resource: Mapping[str, Any],
    scope_name: str,
    scope_version: str | None,
    span_name: str,
) -> str:
    """Return the type in lower case: `span` if no rule matches.

    Raises:
        UnconvertibleError: An attribute that a rule looks at has a value that the server does not expect.
    """
    if _is_generation_of_old_sdk(attributes, resource, scope_name, scope_version):
        return "generation"
    for key, types in NAMED_TYPES:
        value = attributes.get(key)
        if value is None or value in ("", [], {}):
            continue
        label = value if isinstance(value, str) else text(value)
        if label in types:
            return types[label]
        if label in OBJECT_MEMBERS:
            message = f"attribute {key!r} is {label!r}, the name of a member of every JavaScript object"
            raise UnconvertibleError(message)
    return _by_framework(attributes, scope_name, span_name) or "span"


def _is_generation_of_old_sdk(
    attributes: Mapping[str, Any], resource: Mapping[str, Any], scope_name: str, scope_version: str | None
) -> bool:
    if scope_name != "langfuse-sdk" or attributes.get("langfuse.observation.type") != "span":
        return False
    # Python SDKs up to 3.3 recorded generations as spans (Langfuse issue 8682).
    if resource.get("telemetry.sdk.language") != "python" or _newer_than_3_3(scope_version):
        return False
    return any(key in attributes for key in _GENERATION_ONLY)


@lru_cache(maxsize=16)
def _newer_than_3_3(version: str | None) -> bool:
    major, _, rest = (version or "").partition(".")
    minor = to_number(rest.partition(".")[0]) if rest else 0
    return to_number(major) > 3 or (to_number(major) == 3 and minor > 3)  # noqa: PLR2004 - the version in the name


def _by_framework(  # noqa: C901, PLR0911 - one a framework
    attributes: Mapping[str, Any], scope_name: str, span_name: str
) -> str | None:
    def meaningful(keys: tuple[str, ...]) -> bool:
        return any(attributes.get(key) not in (None, "", [], {}) for key in keys)

    _check_operation(attributes, "operation.name")
    if meaningful(_VERCEL_MODEL):
        if _is_vercel_operation(attributes, _VERCEL_GENERATION):
            return "generation"
        if _is_vercel_operation(attributes, _VERCEL_EMBEDDING):
            return "embedding"
    if not str(attributes.get("operation.name", "")).startswith("ai."):
        _check_operation(attributes, "ai.operationId")
    if _is_vercel_operation(attributes, ("ai.toolCall",)):
        return "tool"
    if meaningful(("gen_ai.tool.name", "gen_ai.tool.call.id")):
        return "tool"
    if meaningful(_FLUE_TOOL):
        return "tool"
    if meaningful(_FLUE_TASK):
        return "agent"
    if scope_name == "livekit-agents" and span_name in _LIVEKIT:
        return _LIVEKIT[span_name]
    return "generation" if meaningful(_MODEL) else None


def _check_operation(attributes: Mapping[str, Any], key: str) -> None:
    operation = attributes.get(key)
    if operation is None or isinstance(operation, str) or operation in ([], {}):
        return
    message = f"attribute {key!r} is {stringify(operation)}, not text"
    raise UnconvertibleError(message)


def _is_vercel_operation(attributes: Mapping[str, Any], operations: tuple[str, ...]) -> bool:
    """Return whether the span is one of `operations`. In `operation.name`, a function id may follow the operation."""
    name = attributes.get("operation.name")
    return (isinstance(name, str) and name.startswith(operations)) or attributes.get("ai.operationId") in operations
