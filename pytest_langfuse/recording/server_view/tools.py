"""Tool definitions in metadata, which Langfuse moves into the input.

(server, 2026-08: `normalizeToolMetadataForObservation`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_json, stringify, truthy

_INDEXED: Final = re.compile(r"llm\.tools\.(\d+)\.tool\.json_schema", re.ASCII)
_UNMAPPED: Final = object()


def move_tools(given: Any, metadata: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the input with the tool definitions of `metadata` added, and the metadata without them.

    Both are returned unchanged if the metadata has no tools, or if tools cannot be added to the input.
    """
    attributes = metadata.get("attributes")
    if "tools" not in metadata and not attributes:
        return given, metadata
    tools, remaining = _collected(metadata)
    if not tools:
        return given, metadata
    merged = _merged(given, tools)
    return (given, metadata) if merged is _UNMAPPED else (merged, remaining)


def _collected(metadata: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    remaining = dict(metadata)
    tools = _definitions(metadata.get("tools"), named=True, every=True) or []
    if tools:
        del remaining["tools"]
    attributes = _parsed(metadata.get("attributes"))
    if not isinstance(attributes, dict):
        return _unique(tools), remaining
    kept = dict(attributes)
    for key, named in (("ai.prompt.tools", False), ("gen_ai.tool.definitions", True)):
        found = _definitions(attributes.get(key), named=named, every=True)
        if found is not None:
            tools = [*tools, *found]
            del kept[key]
    tools = [*tools, *_from_request_parameters(attributes, kept)]
    tools = [*tools, *_from_indexed(attributes, kept)]
    if not kept:
        del remaining["attributes"]
    elif kept != attributes:
        remaining["attributes"] = kept
    return _unique(tools), remaining


def _from_request_parameters(attributes: Mapping[str, Any], kept: dict[str, Any]) -> list[Any]:
    """Return the tools of Pydantic AI, `model_request_parameters.function_tools`, and remove them from `kept`."""
    given = attributes.get("model_request_parameters")
    parameters = _parsed(given)
    if not isinstance(parameters, dict):
        return []
    found = _definitions(parameters.get("function_tools"), named=True, every=True)
    rest = {key: value for key, value in parameters.items() if found is None or key != "function_tools"}
    if rest:
        kept["model_request_parameters"] = stringify(rest) if isinstance(given, str) else rest
    else:
        del kept["model_request_parameters"]
    return found or []


def _from_indexed(attributes: Mapping[str, Any], kept: dict[str, Any]) -> list[Any]:
    """Return the tools of OpenInference, `llm.tools.0.tool.json_schema`, and remove them from `kept`."""
    indexed = [(float(match[1]), key) for key in attributes if (match := _INDEXED.fullmatch(key))]
    found = []
    for _, key in sorted(indexed, key=lambda pair: pair[0]):
        tool = _parsed(attributes[key])
        if _is_tool(tool, named=True):
            found.append(tool)
            del kept[key]
    return found


def _definitions(value: Any, *, named: bool, every: bool) -> list[Any] | None:
    """Return the tools in a list or in its JSON text, or `None` if it is not a list of tools."""
    entries = _parsed(value)
    if not isinstance(entries, list):
        return None
    parsed = [_parsed(entry) for entry in entries]
    tools = [entry for entry in parsed if _is_tool(entry, named=named)]
    if every and len(tools) != len(parsed):
        return None
    return tools if tools or not parsed else None


def _is_tool(value: Any, *, named: bool) -> bool:
    if not isinstance(value, dict):
        return False
    return truthy(_name(value)) or (not named and isinstance(value.get("type"), str))


def _name(tool: Any) -> Any:
    """Return the name of `{"type": "function", "function": {"name": …}}` or `{"name": …}`."""
    if not isinstance(tool, dict):
        return None
    function = tool.get("function")
    definition = tool if function is None else function
    return definition.get("name") if isinstance(definition, dict) else None


def _unique(tools: list[Any]) -> list[Any]:
    names: set[str] = set()
    unique = []
    for tool in tools:
        name = _name(tool)
        if not truthy(name):
            unique.append(tool)
        elif (label := name if isinstance(name, str) else stringify(name)) not in names:
            names.add(label)
            unique.append(tool)
    return unique


def _merged(given: Any, tools: list[Any]) -> Any:
    value = _parsed(given)
    if isinstance(value, list):
        return {"messages": value, "tools": tools}
    if isinstance(value, dict):
        existing = value.get("tools")
        if existing is None:
            return {**value, "tools": tools}
        known = _definitions(existing, named=False, every=False)
        return _UNMAPPED if known is None else {**value, "tools": _unique([*known, *tools])}
    if value is None:
        return {"tools": tools}
    return {"prompt": value, "tools": tools} if isinstance(value, str) else _UNMAPPED


def _parsed(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value
