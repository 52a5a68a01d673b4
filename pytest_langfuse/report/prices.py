"""Estimates of cost where an application sends none: by the prices of `genai-prices`, if that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.report.amounts import total

#: How to install them, for messages.
EXTRA: Final = "pytest-langfuse[prices]"
#: Attributes with the provider, of OpenTelemetry's conventions for generative AI, the newest first.
_PROVIDERS: Final = ("gen_ai.provider.name", "gen_ai.system")

#: Tokens: of inputs, with those that a cache has read and written, and of outputs.
_Tokens = tuple[int, int, int, int]
#: A provider or `None`, a model, tokens and when: the price, or `None` where it is not known.
_Price = Callable[[str | None, str, _Tokens, datetime | None], float | None]


def estimate(one: Observation) -> float | None:
    """Return what a call of a model costs, in USD, by the list prices of the day; `None` if that is not known.

    As in Langfuse, a cost that was sent wins: there is no estimate of such an observation.
    """
    if one.cost or not one.model or not one.usage or (tokens := _tokens(one)) is None:
        return None
    price = _prices()
    if price is None:
        return None
    for provider, model in _references(one, one.model):
        if (found := price(provider, model, tokens, one.start_time)) is not None:
            return found
    return None


def cost_of(one: Observation) -> tuple[float | None, bool]:
    """Return the cost of an observation in USD, and whether it is an estimate; `None` where it is not known.

    NaN is a cost that was sent and is not a number.
    """
    if one.cost:
        return total(one.cost), False
    estimated = estimate(one)
    return estimated, estimated is not None


def installed() -> bool:
    """Return whether there are prices to estimate by."""
    return _prices() is not None


def _references(one: Observation, model: str) -> Iterator[tuple[str | None, str]]:
    """Yield providers and models by which a model may be known, the surest first."""
    for key in _PROVIDERS:
        if isinstance(provider := one.attributes.get(key), str) and provider:
            yield provider, model
    yield None, model
    provider, separator, rest = model.partition("/")
    if separator and provider and rest:
        # As gateways write it: `openai/gpt-4o`.
        yield provider, rest
    if one.type == "embedding":
        # Their names alone don't tell the provider.
        yield "openai", model


def _tokens(one: Observation) -> _Tokens | None:
    """Return the tokens of a usage, whose parts exclude one another, as Langfuse counts them."""
    parts: dict[str, int] = {}
    for key, value in one.usage.items():
        try:
            parts[key] = int(value)
        except (TypeError, ValueError, OverflowError):
            return None
        if not 0 <= parts[key] < 1 << 53:
            return None
    given = parts.pop("total", 0)
    if not parts:
        # An embedding has no output: all of it is input. Of a generation, a total tells nothing.
        return (given, 0, 0, 0) if one.type == "embedding" and given else None
    read, write, fresh, output = (
        sum(tokens for key, tokens in parts.items() if _kind(key) == kind) for kind in ("read", "write", "in", "out")
    )
    return fresh + read + write, read, write, output


def _kind(key: str) -> str:
    name = key.lower()
    if "cach" in name:
        return "write" if "creat" in name or "writ" in name else "read"
    return "out" if name.startswith(("output", "completion", "reasoning")) else "in"


@cache
def _prices() -> _Price | None:
    """Return the prices, or `None` without the extra. Imported when first needed: it takes a fifth of a second."""
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None

    @lru_cache(maxsize=10_000)
    def price(provider: str | None, model: str, tokens: _Tokens, day: datetime | None) -> float | None:
        fields: Mapping[str, Any] = dict(
            zip(("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"), tokens, strict=True)
        )
        try:
            found = calc_price(Usage(**fields), model, provider_id=provider, genai_request_timestamp=day)
        except (LookupError, ValueError):
            # It does not know the model, or does not believe the usage.
            return None
        return float(found.total_price)

    def by_day(provider: str | None, model: str, tokens: _Tokens, when: datetime | None) -> float | None:
        # Prices change from day to day at most, but some are lower at night: by the hour.
        hour = None if when is None else when.replace(minute=0, second=0, microsecond=0)
        return price(provider, model, tokens, hour)

    return by_day
