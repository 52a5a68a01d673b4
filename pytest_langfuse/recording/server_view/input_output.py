"""Input and output of an observation: Langfuse's own attributes, or those of the framework that made the span.

(server, 2026-08: `extractInputAndOutput`; the first source that has either one provides both)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_json, stringify, truthy
from pytest_langfuse.recording.server_view.messages import (
    from_content_events,
    from_gen_ai_attributes,
    from_logfire_events,
    from_message_events,
    from_operation_details,
    with_system_instructions,
)
from pytest_langfuse.recording.server_view.nesting import nested
from pytest_langfuse.recording.span_record import SpanEvent

Pair = tuple[Any, Any]
Attributes = Mapping[str, Any]
Source = Callable[[Attributes], Pair | None]

_INPUT: Final = "langfuse.observation.input"
_OUTPUT: Final = "langfuse.observation.output"


def input_output(attributes: Attributes, frameworks: Attributes, events: Sequence[SpanEvent], scope_name: str) -> Pair:
    """Return input and output before their text is parsed; `None` for a missing one."""
    own: Pair = (attributes.get(_INPUT), attributes.get(_OUTPUT))
    if own != (None, None) or not (frameworks or events):
        return own
    by_scope = _BY_SCOPE.get(scope_name)
    found = by_scope(frameworks) if by_scope is not None else None
    if found is None and events:
        found = (
            from_operation_details(events)
            or from_message_events(events)
            or from_content_events(events, lambda of_event: input_output(of_event, of_event, (), scope_name))
        )
    if found is not None:
        return found
    for source in (*_SOURCES, *_SCOPED_SOURCES.get(scope_name, ()), *_LATE_SOURCES):
        if (found := source(frameworks)) is not None:
            return found
    return None, None


def reads_events(attributes: Attributes, scope_name: str) -> bool:
    """Return whether input and output of a span may come from its events."""
    if any(attributes.get(key) is not None for key in (_INPUT, _OUTPUT)):
        return False
    by_scope = _BY_SCOPE.get(scope_name)
    return by_scope is None or by_scope(attributes) is None


def _named(given: str, answered: str) -> Source:
    def source(attributes: Attributes) -> Pair | None:
        return _either(attributes.get(given), attributes.get(answered))

    return source


def _either(given: Any, answered: Any) -> Pair | None:
    return (given, answered) if truthy(given) or truthy(answered) else None


def _genkit(attributes: Attributes) -> Pair:
    given, answered = _payload(attributes.get("genkit:input")), _payload(attributes.get("genkit:output"))
    # Model spans wrap their messages; flow spans do not.
    return _member(given, "messages"), _member(answered, "message")


def _member(value: Any, key: str) -> Any:
    inner = value.get(key) if isinstance(value, dict) else None
    return value if inner is None else inner


def _vercel(attributes: Attributes) -> Pair:
    given = _first_present(attributes, ("ai.prompt.messages", "ai.prompt", "ai.toolCall.args"))
    answered: Any
    if "ai.response.text" in attributes and "ai.response.toolCalls" in attributes:
        answered = stringify(
            {
                "role": "assistant",
                "content": attributes["ai.response.text"],
                "tool_calls": attributes["ai.response.toolCalls"],
            }
        )
    elif truthy(attributes.get("ai.response.text")):
        answered = attributes["ai.response.text"]
    else:
        answered = _first_present(
            attributes,
            (
                "ai.result.text",
                "ai.toolCall.result",
                "ai.response.object",
                "ai.result.object",
                "ai.response.toolCalls",
                "ai.result.toolCalls",
            ),
        )
    by_convention = from_gen_ai_attributes(attributes) or (None, None)
    return (
        by_convention[0] if given is None else given,
        by_convention[1] if answered is None else answered,
    )


def _flue(attributes: Attributes) -> Pair | None:
    given = _first_set(
        attributes, ("flue.turn.input", "flue.tool.arguments", "flue.task.prompt", "flue.workflow.payload")
    )
    answered = _first_set(
        attributes,
        (
            "flue.turn.output",
            "flue.tool.result",
            "flue.task.result",
            "flue.operation.result",
            "flue.workflow.result",
        ),
    )
    return None if given is None and answered is None else (_payload(given), _payload(answered))


def _vertex(attributes: Attributes) -> Pair | None:
    given, answered = (attributes.get(f"gcp.vertex.agent.{key}") for key in ("llm_request", "llm_response"))
    # Google's ADK sets both to {} for a tool call.
    if given == "{}" or not truthy(given):
        given = attributes.get("gcp.vertex.agent.tool_call_args")
    if answered == "{}" or not truthy(answered):
        answered = attributes.get("gcp.vertex.agent.tool_response")
    return _either(given, answered)


def _livekit(attributes: Attributes) -> Pair | None:
    given = _first_set(attributes, ("lk.input_text", "lk.user_transcript", "lk.chat_ctx"))
    tool = attributes.get("lk.function_tool.output")
    return _either(given, tool if truthy(tool) else attributes.get("lk.response.text"))


def _pydantic_ai(attributes: Attributes) -> Pair | None:
    given = attributes.get("pydantic_ai.all_messages")
    instructions = attributes.get("gen_ai.system_instructions")
    if truthy(given) and truthy(instructions):
        given = with_system_instructions(given, instructions)
    return _either(given, attributes.get("final_result"))


def _dotted(given: str, answered: str) -> Source:
    def source(attributes: Attributes) -> Pair | None:
        if not any(key.startswith((given, answered)) for key in attributes):
            return None
        return nested(attributes, given), nested(attributes, answered)

    return source


def _payload(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parsed = parse_json(value)
    except ValueError:
        return value
    return value if parsed is None else parsed


def _first_present(attributes: Attributes, keys: Sequence[str]) -> Any:
    return next((attributes[key] for key in keys if key in attributes), None)


def _first_set(attributes: Attributes, keys: Sequence[str]) -> Any:
    return next((attributes[key] for key in keys if attributes.get(key) is not None), None)


_BY_SCOPE: Final[Mapping[str, Source]] = {
    "genkit-tracer": _genkit,
    "ai": _vercel,
    "@flue/opentelemetry": _flue,
}
_SOURCES: Final[tuple[Source, ...]] = (
    _vertex,
    _named("prompt", "all_messages_events"),
    _livekit,
    from_logfire_events,
    _named("mlflow.spanInputs", "mlflow.spanOutputs"),
    _named("traceloop.entity.input", "traceloop.entity.output"),
    _named("input.value", "output.value"),
    _named("input", "output"),
)
_SCOPED_SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {"pydantic-ai": (_pydantic_ai,)}
_LATE_SOURCES: Final[tuple[Source, ...]] = (
    _named("tool_arguments", "tool_response"),
    _dotted("gen_ai.prompt", "gen_ai.completion"),
    _dotted("llm.input_messages", "llm.output_messages"),
    from_gen_ai_attributes,
)
