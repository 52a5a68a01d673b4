"""Usage as the Vercel AI SDK reports it, including what providers add in their metadata.

(server, 2026-08: `extractUsageDetails`, scope `ai`)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytest_langfuse.recording.server_view.javascript import parse_int_or_hex, parse_json, text, to_number, truthy
from pytest_langfuse.recording.server_view.unconvertible import member


def vercel_usage(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the usage by kind, or `None` if an attribute cannot be read.

    Cached and reasoning tokens are subtracted from input and output.
    """
    try:
        details = _details(attributes)
        if truthy(providers := attributes.get("ai.response.providerMetadata")):
            _add_provider_metadata(details, parse_json(text(providers)))
    except (TypeError, ValueError):
        return None
    cached = (
        "input_cached_tokens",
        "input_cache_creation",
        "input_cache_creation_5m",
        "input_cache_creation_1h",
        "input_cache_read",
    )
    details["input"] = _without(details.get("input"), *(details.get(kind) for kind in cached))
    details["output"] = _without(details.get("output"), details.get("output_reasoning_tokens"))
    return details


def _details(attributes: Mapping[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for kind, keys in (
        ("input", ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens")),
        ("output", ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens")),
        ("total", ("ai.usage.tokens",)),
    ):
        if (key := next((key for key in keys if key in attributes), None)) is not None:
            value = attributes[key]
            details[kind] = 0 if value is None else parse_int_or_hex(value)
    for kind, key in (
        ("input_cached_tokens", "ai.usage.cachedInputTokens"),
        ("output_reasoning_tokens", "ai.usage.reasoningTokens"),
    ):
        if key in attributes:
            value = parse_json(text(attributes[key]))
            details[kind] = value if _is_number(value) else _get(value, "intValue")
    return details


def _add_provider_metadata(details: dict[str, Any], providers: Any) -> None:
    if _has(providers, "openai"):
        openai = providers["openai"]
        _fill(
            details,
            input_cached_tokens=_get(openai, "cachedPromptTokens"),
            accepted_prediction_tokens=_get(openai, "acceptedPredictionTokens"),
            rejected_prediction_tokens=_get(openai, "rejectedPredictionTokens"),
            output_reasoning_tokens=_get(openai, "reasoningTokens"),
        )
    if _has(providers, "anthropic") and _has(providers["anthropic"], "usage"):
        _add_anthropic(details, providers["anthropic"]["usage"])
    if _has(providers, "bedrock") and truthy(bedrock := _get(providers["bedrock"], "usage")):
        _fill(
            details,
            input_cache_read=_get(bedrock, "cacheReadInputTokens"),
            input_cache_write=_get(bedrock, "cacheWriteInputTokens"),
            input_cache_creation=_get(bedrock, "cacheCreationInputTokens"),
        )


def _add_anthropic(details: dict[str, Any], usage: Any) -> None:
    _fill(
        details,
        input_cache_creation=_get(usage, "cache_creation_input_tokens"),
        input_cached_tokens=_get(usage, "cache_read_input_tokens"),
    )
    creation = _get(usage, "cache_creation")
    if isinstance(creation, dict | list):
        parts = {
            "input_cache_creation_5m": _get(creation, "ephemeral_5m_input_tokens"),
            "input_cache_creation_1h": _get(creation, "ephemeral_1h_input_tokens"),
        }
        _fill(details, **{kind: amount for kind, amount in parts.items() if _is_number(amount)})
        details["input_cache_creation"] = _without(
            details.get("input_cache_creation"), *(details.get(kind) for kind in parts)
        )


def _fill(details: dict[str, Any], **amounts: Any) -> None:
    for kind, amount in amounts.items():
        if amount is not None and details.get(kind) is None:
            details[kind] = amount


def _without(total: Any, *parts: Any) -> float:
    rest = to_number(total) - sum(map(to_number, parts))
    return math.nan if math.isnan(rest) else max(rest, 0)


def _get(value: Any, key: str) -> Any:
    """Return `value[key]`. Raise `TypeError` for null, as JavaScript does."""
    if value is None:
        raise TypeError(key)
    return member(value, key)


def _has(value: Any, key: str) -> bool:
    """Return `key in value`. Raise `TypeError` unless it is an object or a list, as JavaScript does."""
    if not isinstance(value, dict | list):
        raise TypeError(key)
    return isinstance(value, dict) and key in value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
