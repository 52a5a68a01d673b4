"""Messages by OpenTelemetry's GenAI conventions: in attributes, in span events and in Logfire's `events`.

(server, 2026-08: `extractInputAndOutput`, `extractOpenTelemetryGenAiInputAndOutput`, `prependSystemInstructions`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_json, stringify, text, truthy
from pytest_langfuse.recording.server_view.unconvertible import UnconvertibleError
from pytest_langfuse.recording.span_record import SpanEvent

Pair = tuple[Any, Any]

_ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
_DETAILS: Final = "gen_ai.client.inference.operation.details"
_CHOICE: Final = "gen_ai.choice"
#: Their attributes are read by the same rules as those of a span.
CONTENT_EVENTS: Final = ("gen_ai.content.prompt", "gen_ai.content.completion")
#: The events whose attributes are read at all.
READ_EVENTS: Final = frozenset((*_ROLES, _DETAILS, _CHOICE, *CONTENT_EVENTS))


def from_gen_ai_attributes(attributes: Mapping[str, Any]) -> Pair | None:
    """Return `gen_ai.input.messages` and `gen_ai.output.messages`, or the arguments and the result of a tool call."""
    given, answered = attributes.get("gen_ai.input.messages"), attributes.get("gen_ai.output.messages")
    instructions = attributes.get("gen_ai.system_instructions")
    if truthy(given) and truthy(instructions):
        given = with_system_instructions(given, instructions)
    if truthy(given) or truthy(answered):
        return given, answered
    given, answered = attributes.get("gen_ai.tool.call.arguments"), attributes.get("gen_ai.tool.call.result")
    return (given, answered) if truthy(given) or truthy(answered) else None


def with_system_instructions(messages: Any, instructions: Any) -> Any:
    """Return `messages` with the instructions as the first message, unless there is a system message already.

    Messages that are JSON text are returned as JSON text.
    """
    try:
        parsed = parse_json(messages) if isinstance(messages, str) else messages
    except ValueError:
        return messages
    if not isinstance(parsed, list):
        return messages
    if any(isinstance(message, dict) and message.get("role") == "system" for message in parsed):
        return messages
    merged = [{"role": "system", "content": _instructions_text(instructions)}, *parsed]
    return stringify(merged) if isinstance(messages, str) else merged


def _instructions_text(instructions: Any) -> str:
    try:
        parsed = parse_json(instructions) if isinstance(instructions, str) else instructions
    except ValueError:
        return text(instructions)
    if not isinstance(parsed, list):
        return text(parsed)
    return "\n".join(
        text(part["content"] if isinstance(part, dict) and truthy(part.get("content")) else part) for part in parsed
    )


def from_operation_details(events: Sequence[SpanEvent]) -> Pair | None:
    """Return the messages of the event that holds all of them since GenAI conventions 1.37."""
    for event in events:
        if event.name == _DETAILS and (found := from_gen_ai_attributes(event.attributes)):
            return found
    return None


def from_message_events(events: Sequence[SpanEvent]) -> Pair | None:
    """Return the messages of events that hold one each; `gen_ai.choice` is the answer of the model."""
    given = [{"role": _ROLES[event.name], **event.attributes} for event in events if event.name in _ROLES]
    answered = [dict(event.attributes) for event in events if event.name == _CHOICE]
    if not given and not answered:
        return None
    return given or None, answered[0] if len(answered) == 1 else answered or None


def from_content_events(events: Sequence[SpanEvent], of_attributes: Callable[[Mapping[str, Any]], Pair]) -> Pair | None:
    """Return input and output from the events of older Semantic Kernels.

    Their attributes are read by the same rules as those of a span.
    """
    prompt, completion = (
        next(
            (
                dict(event.attributes) if event.attributes or event.listed else None
                for event in events
                if event.name == name
            ),
            None,
        )
        for name in CONTENT_EVENTS
    )
    if prompt is None and completion is None:
        return None
    given, _ = of_attributes(prompt or {})
    _, answered = of_attributes(completion or {})
    return given if truthy(given) else prompt or {}, answered if truthy(answered) else completion or {}


def from_logfire_events(attributes: Mapping[str, Any]) -> Pair | None:
    """Return the messages in Logfire's attribute `events`, a list that includes the choice.

    Raises:
        UnconvertibleError: The attribute is JSON but not a list, or an event is null.
    """
    events = attributes.get("events")
    if isinstance(events, str):
        try:
            events = parse_json(events)
        except ValueError:
            return None
        if not isinstance(events, list):
            message = "attribute 'events' is JSON, but not a list"
            raise UnconvertibleError(message)
    if not isinstance(events, list):
        return None
    if None in events:
        message = "attribute 'events' has null among the events"
        raise UnconvertibleError(message)
    is_choice = [isinstance(event, dict) and event.get("event.name") == "gen_ai.choice" for event in events]
    choices = [event for event, choice in zip(events, is_choice, strict=True) if choice]
    given = [event for event, choice in zip(events, is_choice, strict=True) if not choice]
    return (given or None, choices[0] if choices else None) if choices or given else None
