"""The parameters of `GET /v3/scores` that depend on each other (`GetScoresQueryV3` of the server)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import httpx

from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.standin.endpoints.api_call import Issue, invalid_data
from pytest_langfuse.standin.endpoints.query_values import number_of, read_date, words_of

#: All parameters; an unknown one is refused.
_KNOWN = (
    *("limit", "cursor", "fields", "id", "name", "source", "dataType", "environment", "configId", "queueId"),
    *("authorUserId", "value", "valueMin", "valueMax", "traceId", "sessionId", "observationId", "experimentId"),
    *("fromTimestamp", "toTimestamp", "userId", "traceTags"),
)
_WITH_VALUES = ("NUMERIC", "BOOLEAN", "CATEGORICAL")


def value_conditions(
    query: httpx.QueryParams, *, types: Sequence[str], sources: Sequence[str]
) -> dict[str, Callable[[Score], bool] | None]:
    """Return the conditions on type, source and value.

    Raises:
        Refusal: a parameter is not known, has a bad value, or does not go with the others; with all issues.
    """
    if issues := [*_issues(query, types, sources), *_issues_of_targets(query)]:
        raise invalid_data(*issues)
    wanted, kinds, given = words_of(query, "value"), _upper(query, "dataType"), _upper(query, "source")
    least, most = _bound(query, "valueMin", -math.inf), _bound(query, "valueMax", math.inf)
    bounded = least > -math.inf or most < math.inf
    return {
        "dataType": None if kinds is None else lambda score: score.data_type in kinds,
        "source": None if given is None else lambda _: "API" in given,
        "value": None if wanted is None else lambda score: _has_value(score, wanted),
        "value:bounds": (lambda score: least <= float(score.value) <= most) if bounded else None,
    }


def _has_value(score: Score, wanted: Sequence[str]) -> bool:
    if isinstance(score.value, str):
        return score.value in wanted
    if score.data_type == "BOOLEAN":
        return ("true" if score.value == 1 else "false") in wanted
    return any(number_of(text) == score.value for text in wanted)


def _upper(query: httpx.QueryParams, name: str) -> list[str] | None:
    words = words_of(query, name)
    return None if words is None else [word.upper() for word in words]


def _bound(query: httpx.QueryParams, name: str, default: float) -> float:
    text = query.get(name)
    return number_of(text) if text else default


def _issues(query: httpx.QueryParams, types: Sequence[str], sources: Sequence[str]) -> Iterator[Issue]:
    if unknown := [name for name in query if name not in _KNOWN]:
        names = ", ".join(f'"{name}"' for name in unknown)
        message = f"Unrecognized key{'s' if len(unknown) > 1 else ''}: {names}"
        yield Issue((), message, "unrecognized_keys")
    for name, allowed in (("dataType", types), ("source", sources)):
        for word in _upper(query, name) or ():
            if word not in allowed:
                yield Issue((name,), f'Invalid {name} value: "{word}". Allowed: {", ".join(allowed)}')
    for name in ("userId", "traceTags"):
        if query.get(name):
            message = f"{name} filter requires a trace JOIN and is not supported in v3 — use v2 or omit this filter"
            yield Issue((), message)
    yield from _issues_of_bounds(query)
    yield from _issues_of_values(query)


def _issues_of_bounds(query: httpx.QueryParams) -> Iterator[Issue]:
    for name in ("valueMin", "valueMax"):
        if math.isnan(_bound(query, name, 0)):
            yield Issue((name,), "Invalid input: expected number, received NaN", "invalid_type")
    for name in ("fromTimestamp", "toTimestamp"):
        if query.get(name) and read_date(query[name]) is None:
            yield Issue((name,), "Invalid input: expected date, received Date", "invalid_type")


def _issues_of_values(query: httpx.QueryParams) -> Iterator[Issue]:
    kinds, values = _upper(query, "dataType") or [], words_of(query, "value") or []
    if values and len(kinds) != 1:
        yield Issue((), "value filter requires a single dataType from: NUMERIC, BOOLEAN, CATEGORICAL")
    elif values and kinds[0] not in _WITH_VALUES:
        message = f'value filter requires dataType to be NUMERIC, BOOLEAN, or CATEGORICAL (got "{kinds[0]}")'
        yield Issue((), message)
    elif values:
        for value in values:
            if kinds[0] == "NUMERIC" and math.isnan(number_of(value)):
                message = (
                    f'value filter with dataType=NUMERIC requires each value to be a finite number (got "{value}")'
                )
                yield Issue((), message)
            if kinds[0] == "BOOLEAN" and value not in {"true", "false"}:
                message = (
                    f'value filter with dataType=BOOLEAN requires each value to be "true" or "false" (got "{value}")'
                )
                yield Issue((), message)
    if (query.get("valueMin") or query.get("valueMax")) and kinds != ["NUMERIC"]:
        yield Issue((), "valueMin and valueMax require dataType=NUMERIC as a single value")


def _issues_of_targets(query: httpx.QueryParams) -> Iterator[Issue]:
    if words_of(query, "observationId") and not words_of(query, "traceId"):
        yield Issue((), "observationId filter requires traceId — observation IDs are scoped to a trace")
    if sum(1 for name in ("traceId", "sessionId", "experimentId") if words_of(query, name)) > 1:
        yield Issue((), "At most one of traceId, sessionId, experimentId may be specified")
