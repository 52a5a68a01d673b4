"""Model parameters: strings and numbers unchanged, everything else as JSON text.

(server, 2026-08: `extractModelParameters`, `sanitizeModelParams`)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_json, stringify, text, truthy

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


def model_parameters(attributes: Mapping[str, Any], frameworks: Mapping[str, Any], scope_name: str) -> dict[str, Any]:
    """Return Langfuse's own parameters, or those of a framework."""
    if _OWN not in attributes and not frameworks and scope_name != "ai":
        return {}
    own = _stored(_json(attributes.get(_OWN)))
    if scope_name == "ai":
        return {**_vercel(frameworks), **(own or {})}
    if own is not None:
        return own
    return _of_framework(frameworks, scope_name) if frameworks else {}


def _of_framework(attributes: Mapping[str, Any], scope_name: str) -> dict[str, Any]:
    if scope_name == "genkit-tracer" and truthy(config := _genkit_config(attributes)):
        return _stored(config) or {}
    for key in _JSON_KEYS:
        if (stored := _stored(_json(attributes.get(key)))) is not None:
            return stored
    requested = {
        key.removeprefix(prefix): value
        for prefix in _PREFIXES
        for key, value in attributes.items()
        if key.startswith(prefix) and key != f"{prefix}model"
    }
    return _stored(requested) or {}


def _stored(parameters: Any) -> dict[str, Any] | None:
    if isinstance(parameters, list):
        parameters = {str(index): value for index, value in enumerate(parameters)}
    if not isinstance(parameters, dict):
        return None
    return {key: value if _is_plain(value) else stringify(value) for key, value in parameters.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _vercel(attributes: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for name, keys in _VERCEL:
        value = next((attributes[key] for key in keys if key in attributes), None)
        parameters[name] = None if value is None else text(value)
    openai = _member(_json(attributes.get("ai.response.providerMetadata")), "openai")
    if isinstance(tier := _member(openai, "serviceTier"), str):
        parameters["service_tier"] = tier
    return parameters


def _genkit_config(attributes: Mapping[str, Any]) -> Any:
    config = _member(_json(attributes.get("genkit:input")), "config")
    if config is None:
        config = _member(_member(_json(attributes.get("genkit:output")), "request"), "config")
    return config


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _json(value: Any) -> Any:
    try:
        return None if value is None else parse_json(text(value))
    except ValueError:
        return None
