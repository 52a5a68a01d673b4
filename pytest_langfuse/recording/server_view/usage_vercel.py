"""Usage as the Vercel AI SDK reports it, including what providers add in their metadata.

(server, 2026-08: `extractUsageDetails`, scope `ai`)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pytest_langfuse.recording.server_view.javascript import parse_int, parse_json, stringify, to_number


def vercel_usage(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the usage by kind, or `None` if an attribute cannot be read.

    Cached and reasoning tokens are subtracted from input and output.
    """
    try:
        details = _details(attributes)
        _add_provider_metadata(details, _parsed(attributes.get("ai.response.providerMetadata")))
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
        value = next((attributes[key] for key in keys if key in attributes), None)
        if value is not None:
            details[kind] = parse_int(value)
    for kind, key in (
        ("input_cached_tokens", "ai.usage.cachedInputTokens"),
        ("output_reasoning_tokens", "ai.usage.reasoningTokens"),
    ):
        if key in attributes:
            value = _parsed(attributes[key])
            details[kind] = _object(value).get("intValue") if not isinstance(value, int | float) else value
    return details


def _add_provider_metadata(details: dict[str, Any], providers: Any) -> None:
    if providers is None:
        return
    if not isinstance(providers, dict):
        raise TypeError(providers)
    openai = _object(providers.get("openai"))
    _fill(
        details,
        input_cached_tokens=openai.get("cachedPromptTokens"),
        accepted_prediction_tokens=openai.get("acceptedPredictionTokens"),
        rejected_prediction_tokens=openai.get("rejectedPredictionTokens"),
        output_reasoning_tokens=openai.get("reasoningTokens"),
    )
    anthropic = _object(providers.get("anthropic")).get("usage")
    if isinstance(anthropic, dict):
        _add_anthropic(details, anthropic)
    bedrock = _object(_object(providers.get("bedrock")).get("usage"))
    _fill(
        details,
        input_cache_read=bedrock.get("cacheReadInputTokens"),
        input_cache_write=bedrock.get("cacheWriteInputTokens"),
        input_cache_creation=bedrock.get("cacheCreationInputTokens"),
    )


def _add_anthropic(details: dict[str, Any], usage: Mapping[str, Any]) -> None:
    _fill(
        details,
        input_cache_creation=usage.get("cache_creation_input_tokens"),
        input_cached_tokens=usage.get("cache_read_input_tokens"),
    )
    creation = usage.get("cache_creation")
    if isinstance(creation, dict):
        parts = {
            "input_cache_creation_5m": creation.get("ephemeral_5m_input_tokens"),
            "input_cache_creation_1h": creation.get("ephemeral_1h_input_tokens"),
        }
        _fill(details, **{kind: amount for kind, amount in parts.items() if isinstance(amount, int | float)})
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


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _parsed(value: Any) -> Any:
    """Return `JSON.parse(value)`, which converts its argument to text first."""
    if value is None or value == "":
        return None
    return parse_json(value if isinstance(value, str) else stringify(value))
