"""Values of the query string, read and refused as Langfuse's schemas (zod) do."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from pytest_langfuse.recording.server_view.javascript import stringify
from pytest_langfuse.standin.endpoints.api_call import Issue, invalid_data, invalid_request

#: `publicApiPaginationZod` of the server.
DEFAULT_LIMIT = 50
MAX_LIMIT = 100


def page_of(
    query: httpx.QueryParams, records: Sequence[Any], *, default: int = DEFAULT_LIMIT
) -> tuple[Sequence[Any], dict[str, int]]:
    """Return the records of the page that `page` and `limit` ask for, and the `meta` that describes it."""
    page = whole_number(query, "page", default=1)
    limit = whole_number(query, "limit", default=default, most=MAX_LIMIT)
    start = (page - 1) * limit
    meta = {"page": page, "limit": limit, "totalItems": len(records), "totalPages": -(-len(records) // limit)}
    return records[start : start + limit], meta


def page_response(query: httpx.QueryParams, records: Sequence[Any]) -> httpx.Response:
    """Answer with the page of `records` that `page` and `limit` ask for."""
    data, meta = page_of(query, records)
    return json_response({"data": data, "meta": meta})


def json_response(content: Any) -> httpx.Response:
    """Answer with JSON, whatever a span has brought into it: NaN is null as in JavaScript, lone surrogates stay."""
    try:
        text = json.dumps(content, allow_nan=False, default=str)
    except ValueError:
        text = stringify(content)
    body = text.encode("utf-8", "surrogatepass")
    return httpx.Response(200, content=body, headers={"Content-Type": "application/json"})


def required(query: httpx.QueryParams, name: str) -> str:
    """Return a value of the query that has to be there."""
    value = query.get(name)
    if value is None:
        raise invalid_data(Issue((name,), "Invalid input: expected string, received undefined", "invalid_type"))
    return str(value)


def whole_number(query: httpx.QueryParams, name: str, *, default: int, least: int = 1, most: int | None = None) -> int:
    """Return an integer of the query; an empty or missing one is the default."""
    text = query.get(name)
    if text is None or text == "":
        return default
    value = number_of(text)
    if math.isnan(value):
        raise invalid_data(Issue((name,), "Invalid input: expected number, received NaN", "invalid_type"))
    if value != int(value):
        raise invalid_data(Issue((name,), "Invalid input: expected int, received number", "invalid_type"))
    if value < least:
        raise invalid_data(Issue((name,), f"Too small: expected number to be >={least}", "too_small"))
    if most is not None and value > most:
        raise invalid_data(Issue((name,), f"Too big: expected number to be <={most}", "too_big"))
    return int(value)


def number_of(text: str) -> float:
    """Return the number in a text; NaN if there is none, or none that is finite."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def time_of(query: httpx.QueryParams, name: str) -> datetime | None:
    """Return a time of the query, which has to name its offset from UTC."""
    text = query.get(name)
    return None if text is None else parse_time(text, (name,))


def parse_time(text: object, path: tuple[str | int, ...]) -> datetime:
    """Return the time in an ISO 8601 text with an offset."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise invalid_data(Issue(path, "Invalid ISO datetime", "invalid_format"))
    return time


def read_date(text: object) -> datetime | None:
    """Return the time in a text that JavaScript's `Date` reads; without an offset, it is UTC."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def choice_of(query: httpx.QueryParams, name: str, allowed: Sequence[str]) -> str | None:
    """Return a value of the query that has to be one of `allowed`."""
    value: str | None = query.get(name)
    if value is not None and value not in allowed:
        raise not_one_of((name,), allowed)
    return value


def not_one_of(path: tuple[str | int, ...], allowed: Sequence[str]) -> Exception:
    """Return the refusal of a value that is not one of `allowed`."""
    options = "|".join(json.dumps(option) for option in allowed)
    message = f"Invalid option: expected one of {options}" if len(allowed) > 1 else f"Invalid input: expected {options}"
    return invalid_data(Issue(path, message, "invalid_value"))


def texts_of(query: httpx.QueryParams, name: str) -> list[str] | None:
    """Return the values of a parameter that is repeated, or given once as a list with commas."""
    values = query.get_list(name)
    if not values:
        return None
    return list(values) if len(values) > 1 else values[0].split(",")


def words_of(query: httpx.QueryParams, name: str) -> list[str] | None:
    """Return the parts of a list with commas, without spaces and empty parts; `None` if there is none."""
    words = [word.strip() for word in query.get(name, "").split(",")]
    return [word for word in words if word] or None


def groups_of(query: httpx.QueryParams, allowed: Sequence[str], default: Sequence[str], *, strict: bool) -> set[str]:
    """Return the groups of fields that `fields` names; an unknown one is left out, or refused if `strict`."""
    words = words_of(query, "fields")
    for index, word in enumerate(words or ()):
        if strict and word not in allowed:
            raise not_one_of(("fields", index), allowed)
    return {word for word in words or () if word in allowed} or set(default)


def json_of(query: httpx.QueryParams, name: str) -> Any:
    """Return the value of a parameter that holds JSON; `None` if it is not there."""
    text = query.get(name)
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise invalid_request(f"Invalid JSON in {name} parameter") from error


def iso(time: datetime) -> str:
    """Return a time in Langfuse's format, in whole milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def in_milliseconds(time: datetime) -> datetime:
    """Return a time without what is below a millisecond, as Langfuse stores times."""
    return time - timedelta(microseconds=time.microsecond % 1000)
