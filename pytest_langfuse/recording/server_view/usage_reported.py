"""Usage in the attributes of frameworks: OpenTelemetry's GenAI conventions, OpenInference, Genkit.

(server, 2026-08: `extractUsageDetails`, `extractGenericGenAiUsageDetails`)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import to_number, truthy
from pytest_langfuse.recording.server_view.unconvertible import member, payload
from pytest_langfuse.recording.server_view.usage_vercel import vercel_usage

_PREFIXES: Final = ("gen_ai.usage.", "llm.token_count.")
_INPUT: Final = ("prompt_tokens", "input_tokens", "prompt")
_OUTPUT: Final = ("completion_tokens", "output_tokens", "completion")
_TOTAL: Final = ("total_tokens", "total")
_CACHE_READ: Final = (
    "cache_read.input_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "details.cache_read_tokens",
    "details.cache_read_input_tokens",
    "prompt_details.cache_read",
    "input_cached_tokens",
)
_CACHE_CREATION: Final = (
    "cache_creation.input_tokens",
    "cache_creation_input_tokens",
    "cache_write_tokens",
    "details.cache_write_tokens",
    "details.cache_creation_input_tokens",
    "prompt_details.cache_write",
    "input_cache_creation",
)
_REASONING: Final = ("reasoning.output_tokens", "completion_details.reasoning")
_AUDIO: Final = ("completion_details.audio",)
_KNOWN: Final = frozenset((*_INPUT, *_OUTPUT, *_TOTAL, *_CACHE_READ, *_CACHE_CREATION, *_REASONING, *_AUDIO))


def reported_usage(attributes: Mapping[str, Any], scope_name: str) -> Mapping[str, Any]:
    """Return the usage by disjoint kinds: cached and reasoning tokens are subtracted from input and output."""
    if scope_name == "genkit-tracer" and (usage := _genkit(attributes)) is not None:
        return usage
    if scope_name == "ai" and (vercel := vercel_usage(attributes)) is not None:
        return vercel
    details = _generic(attributes)
    if scope_name == "gcp.vertex.agent":
        _add_vertex_cache(details, attributes)
    return details


def _generic(attributes: Mapping[str, Any]) -> dict[str, float]:
    given: dict[str, float] = {}
    for key, value in attributes.items():
        if key.startswith(_PREFIXES) and key != "gen_ai.usage.cost":
            amount = to_number(value)
            if not math.isnan(amount):
                given[key.replace(_PREFIXES[0], "", 1).replace(_PREFIXES[1], "", 1)] = amount
    if not given:
        return {}

    def first(names: tuple[str, ...]) -> float | None:
        return next((given[name] for name in names if name in given), None)

    details = {key.removeprefix("details."): amount for key, amount in given.items() if key not in _KNOWN}
    cache_read, cache_creation, reasoning, audio = map(first, (_CACHE_READ, _CACHE_CREATION, _REASONING, _AUDIO))
    tokens_in, tokens_out = first(_INPUT), first(_OUTPUT)
    counted = {
        "input": None if tokens_in is None else max(tokens_in - (cache_read or 0) - (cache_creation or 0), 0),
        "output": None if tokens_out is None else max(tokens_out - (reasoning or 0) - (audio or 0), 0),
        "total": first(_TOTAL),
        "input_cached_tokens": cache_read,
        "input_cache_creation": cache_creation,
        "output_reasoning_tokens": reasoning,
        "output_audio_tokens": audio,
    }
    details.update((key, amount) for key, amount in counted.items() if amount is not None)
    return details


def _add_vertex_cache(details: dict[str, float], attributes: Mapping[str, Any]) -> None:
    """Add the cached tokens of Google ADK, which reports them only in the response, as part of the prompt tokens."""
    response = payload(attributes.get("gcp.vertex.agent.llm_response"))
    cached = member(member(response, "usage_metadata"), "cached_content_token_count")
    if "input_cached_tokens" in details or isinstance(cached, bool) or not isinstance(cached, int | float):
        return
    if cached > 0:
        details["input_cached_tokens"] = cached
        if "input" in details:
            details["input"] = max(details["input"] - cached, 0)


def _genkit(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    usage = member(payload(attributes.get("genkit:output")), "usage")
    if not truthy(usage):
        return None
    tokens_in, thoughts, tokens_out, total = (
        member(usage, key) for key in ("inputTokens", "thoughtsTokens", "outputTokens", "totalTokens")
    )
    details: dict[str, Any] = {}
    if truthy(tokens_in):
        details["input"] = tokens_in
    if truthy(tokens_out):
        details["output"] = max(to_number(tokens_out) - to_number(thoughts), 0)
    if truthy(total):
        details["total"] = total
    if truthy(thoughts):
        details["output_reasoning"] = thoughts
    return details
