"""Usage and cost of an observation, as sent and as Langfuse completes them.

There is no model table and no tokeniser here: prices and counts that Langfuse computes itself are missing.
(server, 2026-08: `UsageDetails`, `getUsageUnits`, `calculateUsageCosts`)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import number, parse_int, parse_json, text, truthy
from pytest_langfuse.recording.server_view.usage_reported import reported_usage

_USAGE: Final = "langfuse.observation.usage_details"
_COST: Final = "langfuse.observation.cost_details"
#: The two shapes of OpenAI's usage: input, output, total, details of the input, details of the output.
_OPENAI: Final = (
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
    ("input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"),
)


def usage(attributes: Mapping[str, Any], frameworks: Mapping[str, Any], scope_name: str) -> dict[str, float]:
    """Return the usage by kind. It always has a `total`, the sum of all kinds unless one was sent.

    A usage object with exactly OpenAI's keys is split into disjoint kinds. Of any other object, non-negative integers
    and strings that start with one are kept; Langfuse drops the rest silently.
    """
    if _USAGE not in attributes and not frameworks and scope_name != "ai":
        return {}
    given: Mapping[str, Any] | None = _object(attributes, _USAGE)
    if given is None:
        given = reported_usage(frameworks, scope_name) if frameworks or scope_name == "ai" else {}
    details = _normalized(given)
    if details and "total" not in details:
        details["total"] = number(sum(details.values()))
    return details


def cost(attributes: Mapping[str, Any], frameworks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cost by kind in USD, as sent. A `total` is added if the only kinds are `input` and `output`."""
    if _COST not in attributes and not frameworks:
        return {}
    given = _object(attributes, _COST)
    if given is None:
        reported = (frameworks.get(key) for key in ("gen_ai.usage.cost", "llm.cost.total"))
        total = next((value for value in reported if value is not None and value != ""), None)
        return {} if total is None else {"total": total}
    named = {key for key, value in given.items() if value is not None}
    if not named:
        return {}
    details = dict(given)
    if "total" not in details and named <= {"input", "output"}:
        details["total"] = _plus(given.get("input"), given.get("output"))
    return details


def _object(attributes: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """Return the object in a JSON attribute: empty for other JSON, `None` if the attribute is absent or not JSON."""
    value = attributes.get(key)
    if not truthy(value):
        return None
    if not isinstance(value, str):
        return {}
    try:
        parsed = parse_json(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else {}


def _normalized(details: Mapping[str, Any]) -> dict[str, float]:
    for shape in _OPENAI if "total_tokens" in details else ():
        if (normalized := _openai(details, *shape)) is not None:
            return normalized
    kept = {}
    for key, value in details.items():
        amount = parse_int(value) if isinstance(value, str) else value
        if _is_amount(amount):
            kept[key] = number(amount)
    return kept


def _openai(
    details: Mapping[str, Any], given: str, answered: str, total: str, of_given: str, of_answered: str
) -> dict[str, float] | None:
    if not details.keys() <= {given, answered, total, of_given, of_answered}:
        return None
    if not all(_is_amount(details.get(key)) for key in (given, answered, total)):
        return None
    result = {"input": details[given], "output": details[answered], "total": details[total]}
    for kind, key in (("input", of_given), ("output", of_answered)):
        parts = details.get(key)
        if parts is None:
            continue
        if not isinstance(parts, dict) or not all(part is None or _is_amount(part) for part in parts.values()):
            return None
        for name, part in parts.items():
            if part is not None:
                result[f"{kind}_{name}"] = part
                result[kind] = max(result[kind] - part, 0)
    return {key: number(value) for key, value in result.items()}


def _is_amount(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value >= 0 and math.isfinite(value) and value == int(value)


def _plus(first: Any, second: Any) -> Any:
    """Return `first + second` as JavaScript computes it: it concatenates if one side is a string."""
    first, second = (0 if value is None else value for value in (first, second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first + second
    return text(first) + text(second)
