"""Model parameters: strings and numbers unchanged, everything else as JSON text.

(server, 2026-08: `extractModelParameters`, `sanitizeModelParams`)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import (
    parse_json,
    parse_json_or_text,
    stringify,
    text,
    text_or_json,
    truthy,
)
from pytest_langfuse.recording.server_view.unconvertible import member, payload

_OWN: Final = "langfuse.observation.model.parameters"
_JSON_KEYS: Final = ("llm.invocation_parameters", "model_config")
_PREFIXES: Final = ("gen_ai.request.", "llm.invocation_parameters.")
#: Vercel AI SDK: parameter, and the attributes that it is read from.
_VERCEL: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("maxSteps", ("ai.settings.maxSteps",)),
    ("toolChoice", ("ai.prompt.toolChoice",)),
    ("maxTokens", ("gen_ai.request.max_tokens",)),
    ("finishReason", ("gen_ai.response.finish_reasons", "gen_ai.finishReason")),
    ("system", ("gen_ai.system", "ai.model.provider")),
    ("maxRetries", ("ai.settings.maxRetries",)),
    ("mode", ("ai.settings.mode",)),
    ("temperature", ("gen_ai.request.temperature",)),
    ("service_tier", ("gen_ai.request.service_tier",)),
)


def model_parameters(attributes: Mapping[str, Any], frameworks: Mapping[str, Any], scope_name: str) -> Any:
    """Return Langfuse's own parameters, or those of a framework: a dict, unless other JSON was sent."""
    if _OWN not in attributes and not frameworks and scope_name != "ai":
        return {}
    own = _parsed(attributes.get(_OWN))
    if scope_name == "ai":
        return _read({**_vercel(frameworks), **_spread(own)})
    if truthy(own):
        return _read(own)
    return _read(_of_framework(frameworks, scope_name))


def _of_framework(attributes: Mapping[str, Any], scope_name: str) -> Any:
    if scope_name == "genkit-tracer" and truthy(config := _genkit_config(attributes)):
        return _sanitized(config)
    for key in _JSON_KEYS:
        parsed = _parsed(attributes.get(key))
        if parsed is not _NOT_JSON:
            return parsed
    requested = {
        name: value
        for prefix in _PREFIXES
        for key, value in attributes.items()
        if key.startswith(prefix) and (name := key.removeprefix(prefix)) not in {"model", "__proto__"}
    }
    return _sanitized(requested)


def _parsed(value: Any) -> Any:
    if not truthy(value):
        return _NOT_JSON
    try:
        return _sanitized(parse_json(text(value)))
    except ValueError:
        return _NOT_JSON


def _sanitized(parameters: Any) -> Any:
    if isinstance(parameters, list):
        parameters = {str(index): value for index, value in enumerate(parameters)}
    if not isinstance(parameters, dict):
        return parameters
    return {key: value if _is_plain(value) else stringify(value) for key, value in parameters.items()}


def _read(parameters: Any) -> Any:
    """Return stored parameters as Langfuse reads them. Text is parsed when it is stored and when it is read."""
    if isinstance(parameters, str):
        with suppress(ValueError):
            parameters = parse_json(parameters)
    if not truthy(parameters) or parameters == {}:
        return {}
    shown = parse_json_or_text(text_or_json(parameters))
    return {} if shown is None else shown


def _spread(value: Any) -> dict[str, Any]:
    """Return `{...value}`."""
    if isinstance(value, str):
        return {str(index): character for index, character in enumerate(value)}
    return value if isinstance(value, dict) else {}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _vercel(attributes: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for name, keys in _VERCEL:
        value = next((attributes[key] for key in keys if key in attributes), None)
        parameters[name] = None if value is None else text(value)
    openai = member(payload(attributes.get("ai.response.providerMetadata")), "openai")
    if isinstance(tier := member(openai, "serviceTier"), str):
        parameters["service_tier"] = tier
    return parameters


def _genkit_config(attributes: Mapping[str, Any]) -> Any:
    config = member(payload(attributes.get("genkit:input")), "config")
    if config is None:
        config = member(member(payload(attributes.get("genkit:output")), "request"), "config")
    return config


#: False to JavaScript, and unlike anything that JSON holds.
_NOT_JSON: Final = ""
