"""Observations in the JSON of both observation endpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view.javascript import parse_json_or_text, stringify
from pytest_langfuse.standin.endpoints.project import PROJECT_ID
from pytest_langfuse.standin.endpoints.query_values import iso, read_date
from pytest_langfuse.standin.exported import started

#: Groups of fields of `GET /v2/observations` (`observation-field-groups.ts` of the server).
GROUPS = ("core", "basic", "time", "io", "metadata", "model", "usage", "prompt", "metrics", "trace_context")
#: That endpoint cuts metadata values here, unless asked for a key by name.
METADATA_CUT = 200
_UNIT = "TOKENS"


def full_json(observation: Observation, prompt_id: str | None) -> dict[str, Any]:
    """Return the JSON of `GET /observations` and of the observations in a trace (`APIObservation` of the server)."""
    usage = reduced(observation.usage)
    prompt_tokens, completion_tokens = usage["input"] or 0, usage["output"] or 0
    cost = reduced(observation.cost)
    return {
        **_core(observation),
        **_basic(observation),
        **_times(observation),
        "input": observation.input,
        "output": observation.output,
        "metadata": observation.metadata,
        "model": observation.model,
        "modelParameters": observation.model_parameters,
        "modelId": None,
        "inputPrice": None,
        "outputPrice": None,
        "totalPrice": None,
        **_prompt(observation, prompt_id),
        "usageDetails": numbers(observation.usage),
        "costDetails": numbers(observation.cost),
        "usagePricingTierId": None,
        "usagePricingTierName": None,
        "usage": {"unit": _UNIT, "input": prompt_tokens, "output": completion_tokens, "total": usage["total"]},
        "unit": _UNIT,
        "promptTokens": prompt_tokens,
        "completionTokens": completion_tokens,
        "totalTokens": usage["total"],
        "calculatedInputCost": cost["input"],
        "calculatedOutputCost": cost["output"],
        "calculatedTotalCost": cost["total"],
        **_metrics(observation),
    }


def partial_json(
    observation: Observation, groups: Collection[str], expanded: Collection[str], prompt_id: str | None
) -> dict[str, Any]:
    """Return the JSON of `GET /v2/observations`: the groups of fields that were asked for.

    Input and output are the texts that are stored; metadata values are cut, except those of the keys in `expanded`.
    """
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "basic": lambda: {
            **_basic(observation),
            "bookmarked": False,
            "public": is_public(observation),
            "userId": observation.user_id,
            "sessionId": observation.session_id,
            "isRootObservation": observation.is_root,
        },
        "time": lambda: _times(observation),
        "io": lambda: {"input": stored(observation.input), "output": stored(observation.output)},
        "metadata": lambda: {"metadata": _cut(observation.metadata, expanded)},
        "model": lambda: {
            # Both names, since releases of the SDK read one or the other.
            "model": observation.model,
            "providedModelName": observation.model,
            "internalModelId": None,
            "modelParameters": observation.model_parameters,
        },
        "usage": lambda: {
            "usageDetails": numbers(observation.usage),
            "costDetails": numbers(observation.cost),
            "totalCost": reduced(observation.cost)["total"],
            "usagePricingTierName": None,
        },
        "prompt": lambda: _prompt(observation, prompt_id),
        "metrics": lambda: _metrics(observation),
        "trace_context": lambda: {
            "tags": observation.tags,
            "release": observation.release,
            "traceName": observation.trace_name,
        },
    }
    answer = _core(observation)
    for group, fields in made.items():
        if group in groups:
            answer.update(fields())
    return {**answer, "modelId": None, "inputPrice": None, "outputPrice": None, "totalPrice": None}


def stored(value: Any) -> str | None:
    """Return the text that Langfuse stores for an input or output: JSON, or a text that is not JSON."""
    if value is None:
        return None
    if isinstance(value, str) and parse_json_or_text(value) == value:
        return value
    return stringify(value)


def numbers(details: Mapping[str, Any]) -> dict[str, float]:
    """Return usage or cost as numbers; what is none counts as 0."""
    return {key: _number(value) for key, value in details.items()}


def reduced(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return input, output and total of usage or cost (`reduceUsageOrCostDetails` of the server)."""
    return {
        "input": _sum_of("input", details),
        "output": _sum_of("output", details),
        "total": _number(details.get("total", 0)),
    }


def is_public(observation: Observation) -> bool:
    """Return whether the trace was made public with this observation."""
    return observation.attributes.get("langfuse.trace.public") in {True, "true"}


def completion_start(observation: Observation) -> datetime | None:
    """Return when the first token arrived."""
    text = observation.attributes.get("langfuse.observation.completion_start_time")
    value = parse_json_or_text(text) if isinstance(text, str) else None
    return read_date(value)


def latency(observation: Observation) -> float | None:
    """Return the seconds from start to end, in whole milliseconds."""
    return None if observation.duration is None else round(observation.duration, 3)


def time_to_first_token(observation: Observation) -> float | None:
    """Return the seconds from start to the first token."""
    first = completion_start(observation)
    return None if first is None else round((first - started(observation)).total_seconds(), 3)


def _core(observation: Observation) -> dict[str, Any]:
    return {
        "id": observation.id,
        "traceId": observation.trace_id,
        "startTime": iso(started(observation)),
        "endTime": None if observation.end_time is None else iso(observation.end_time),
        "projectId": PROJECT_ID,
        "parentObservationId": observation.parent_id or None,
        "type": observation.type.upper(),
    }


def _basic(observation: Observation) -> dict[str, Any]:
    return {
        "name": observation.name,
        "level": observation.level,
        "statusMessage": observation.status_message,
        "version": observation.version,
        "environment": observation.environment,
    }


def _times(observation: Observation) -> dict[str, Any]:
    first = completion_start(observation)
    # Langfuse takes the time of arrival; an observation arrives when it has ended.
    arrived = iso(observation.end_time or started(observation))
    return {
        "completionStartTime": None if first is None else iso(first),
        "createdAt": arrived,
        "updatedAt": arrived,
    }


def _prompt(observation: Observation, prompt_id: str | None) -> dict[str, Any]:
    return {
        "promptId": prompt_id,
        "promptName": observation.prompt_name,
        "promptVersion": observation.prompt_version,
    }


def _metrics(observation: Observation) -> dict[str, Any]:
    return {"latency": latency(observation), "timeToFirstToken": time_to_first_token(observation)}


def _cut(metadata: Mapping[str, Any], expanded: Collection[str]) -> dict[str, Any]:
    return {
        key: value[:METADATA_CUT] if isinstance(value, str) and key not in expanded else value
        for key, value in metadata.items()
    }


def _sum_of(word: str, details: Mapping[str, Any]) -> float | None:
    parts = [_number(value) for key, value in details.items() if word in key]
    return sum(parts) if parts else None


def _number(value: Any) -> float:
    try:
        number = value if isinstance(value, int | float) else float(value or 0)
    except (TypeError, ValueError):
        return 0
    return number if math.isfinite(number) else 0
