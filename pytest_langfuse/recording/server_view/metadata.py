"""Metadata of an observation: the user's, the trace's, and the unused attributes of other libraries' spans.

(server, 2026-08: `extractMetadata`, `flattenJsonToPathArrays`, `parseMetadataCHRecordToDomain`)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_json, parse_json_or_text, text_or_json, truthy

_OBSERVATION: Final = "langfuse.observation.metadata"
_TRACE: Final = "langfuse.trace.metadata"
_ANY: Final = "langfuse.metadata"
_VERCEL: Final = "ai.telemetry.metadata"
_NOT_METADATA: Final = frozenset(f"{_VERCEL}.{key}" for key in ("userId", "sessionId", "tags", "langfusePrompt"))
_PREFIXES: Final = (_OBSERVATION, _TRACE, _ANY, _VERCEL)

#: Attributes that are shown as input or output, never as metadata.
_INPUT_OUTPUT: Final = frozenset(
    """
    langfuse.trace.input langfuse.trace.output langfuse.observation.input langfuse.observation.output
    ai.prompt.messages ai.prompt ai.toolCall.args ai.response.text ai.result.text ai.toolCall.result
    ai.response.object ai.result.object ai.response.toolCalls ai.result.toolCalls
    gcp.vertex.agent.llm_request gcp.vertex.agent.llm_response gcp.vertex.agent.tool_call_args
    gcp.vertex.agent.tool_response prompt all_messages_events events
    lk.input_text lk.user_transcript lk.chat_ctx lk.user_input lk.function_tool.output lk.response.text
    mlflow.spanInputs mlflow.spanOutputs traceloop.entity.input traceloop.entity.output input.value output.value
    final_result pydantic_ai.all_messages gen_ai.system_instructions input output
    gen_ai.input.messages gen_ai.output.messages gen_ai.tool.call.arguments gen_ai.tool.call.result
    genkit:input genkit:output
    flue.turn.input flue.turn.output flue.tool.arguments flue.tool.result flue.task.prompt flue.task.result
    flue.operation.result flue.workflow.payload flue.workflow.result
    """.split()  # noqa: SIM905 - a list would take a line a key
)
_INPUT_OUTPUT_PREFIXES: Final = (
    "gen_ai.prompt",
    "gen_ai.completion",
    "llm.input_messages",
    "llm.output_messages",
    "langfuse.trace.metadata",
    "langfuse.observation.metadata",
    "ai.telemetry.metadata",
)


def stored_metadata(attributes: Mapping[str, Any], *, foreign: bool) -> dict[str, Any]:
    """Return the metadata as the server assembles it, before it is flattened.

    Metadata of the trace (`propagate_attributes(metadata=…)`) replaces the observation's own under the same key. Both
    replace the key `attributes`, which holds the unused attributes of a `foreign` span (a span whose instrumentation
    scope is not Langfuse's).

    The keys `resourceAttributes` and `scope`, which the server adds to every observation, are left out.
    """
    stored: dict[str, Any] = {"attributes": _unused(attributes)} if foreign else {}
    given = {key: value for key, value in attributes.items() if key.startswith(_PREFIXES)}
    if given:
        stored.update(_of(given, _OBSERVATION))
        stored.update(_of(given, _TRACE))
    return stored


def shown_metadata(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as Langfuse shows it: objects are flattened to dotted keys, and JSON text is parsed.

    The SDK sends values as JSON text, so a nested dict stays nested.
    """
    shown: dict[str, Any] = {}
    for key, value in _flattened(stored):
        # Of two equal keys, the first wins.
        if key not in shown:
            shown[key] = value if isinstance(value, bool) else parse_json_or_text(text_or_json(value))
    return shown


def _unused(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: text_or_json(value)
        for key, value in attributes.items()
        if key not in _INPUT_OUTPUT and not key.startswith(_INPUT_OUTPUT_PREFIXES)
    }


def _of(attributes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    whole = attributes.get(prefix)
    metadata = _object(whole if truthy(whole) else attributes.get(_ANY))
    dotted = (f"{prefix}.", f"{_ANY}.", f"{_VERCEL}.")
    for key, value in attributes.items():
        if key.startswith(dotted) and key not in _NOT_METADATA:
            name = key[next(len(start) for start in dotted if key.startswith(start)) :]
            # Assigning to `__proto__` sets the object's prototype, which is not metadata.
            if name and name != "__proto__":
                metadata[name] = value
    return metadata


def _object(value: Any) -> dict[str, Any]:
    """Return metadata that was sent as one attribute: an object, or a list, whose indices become keys."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return {}
    if isinstance(value, dict):
        return dict(value)
    return {str(index): item for index, item in enumerate(value)} if isinstance(value, list) else {}


def _flattened(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    levels = [("", iter(metadata.items()))]
    while levels:
        path, items = levels[-1]
        name, value = next(items, (None, None))
        if name is None:
            levels.pop()
            continue
        name = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            levels.append((name, iter(value.items())))
        else:
            yield name, "" if value is None else value
