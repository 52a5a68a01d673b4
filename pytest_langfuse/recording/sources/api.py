"""Observations as Langfuse's API and its exports describe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.observation import TYPES, Observation
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.server_view.javascript import parse_json_or_text
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.span_record import SpanRecord

if TYPE_CHECKING:
    from langfuse import Langfuse

#: Groups of fields that `GET /api/public/v2/observations` returns on demand (langfuse 5.0.4: ObservationsClient).
_FIELD_GROUPS: Final = "core,basic,io,metadata,model,usage,prompt,trace_context"
_PAGE: Final = 1_000
#: That endpoint cuts metadata values here, unless asked for a key by name.
_METADATA_CUT: Final = 200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Fields of the trace that the older endpoint gives once for all observations.
_OF_TRACE: Final = ("userId", "sessionId", "tags", "release", "version", "environment")


def fetch_trace(client: Langfuse, trace_id: str) -> list[Observation]:
    """Return the observations of a trace, fetched by the endpoint that the client's SDK has for them.

    langfuse 4 asks for the trace, whose user, session, tags and release then hold for all observations; langfuse 5
    asks for the observations themselves.

    Raises:
        LookupError: Langfuse has no such trace (yet).
    """
    trace_api: Any = client.api.trace
    found = _by_trace(trace_api, trace_id) if hasattr(trace_api, "get") else _by_observations(client, trace_id)
    if not found:
        raise LookupError(f"Langfuse has no observations of trace {trace_id!r} (it shows new ones after a few seconds)")
    return found


def _by_trace(trace_api: Any, trace_id: str) -> list[Observation]:
    from langfuse.api.core import ApiError

    try:
        trace = trace_api.get(trace_id)
    except ApiError as error:
        if error.status_code == 404:  # noqa: PLR2004 - not found
            return []
        raise
    return list(observations_in(_plain(trace)))


def _by_observations(client: Langfuse, trace_id: str) -> list[Observation]:
    return list(observations_in({"data": _whole_rows(client, trace_id=trace_id)}))


def observations_since(client: Langfuse, since: datetime, most: int) -> list[Observation]:
    """Return the observations that have started since a time, the newest `most` of them, for langfuse 5."""
    rows = _whole_rows(client, most=most, from_start_time=since)
    return list(observations_in({"data": rows}))


def _whole_rows(client: Langfuse, most: int | None = None, **query: Any) -> list[Mapping[str, Any]]:
    """Return rows with all of their metadata."""
    rows = [*islice(_pages(client, expand=None, **query), most)]
    cut = {
        key
        for row in rows
        for key, value in (row.get("metadata") or {}).items()
        if isinstance(value, str) and len(value) >= _METADATA_CUT
    }
    if cut:
        rows = [*islice(_pages(client, expand=",".join(sorted(cut)), **query), most)]
    return rows


def _pages(client: Langfuse, expand: str | None, **query: Any) -> Iterator[Mapping[str, Any]]:
    cursor: str | None = None
    while True:
        page = client.api.observations.get_many(
            fields=_FIELD_GROUPS, expand_metadata=expand, limit=_PAGE, cursor=cursor, **query
        )
        yield from map(_plain, page.data)
        cursor = page.meta.cursor
        if not cursor:
            return


def _plain(model: Any) -> dict[str, Any]:
    """Return a model of the SDK as a dict. Fields that the SDK does not know keep the server's names."""
    plain: dict[str, Any] = model.model_dump()
    return plain


def observations_in(document: Any) -> Iterator[Observation]:
    """Yield the observations in a JSON document: a trace with observations, a page of them, a list, or a single one."""
    if isinstance(document, Sequence) and not isinstance(document, str):
        for item in document:
            yield from observations_in(item)
    elif isinstance(document, Mapping):
        if isinstance(document.get("observations"), list):
            trace = {key: value for key in _OF_TRACE if (value := _get(document, key)) is not None}
            trace["traceName"] = _get(document, "name")
            for row in document["observations"]:
                yield _observation({**trace, **_set(row)}, raw_text=False)
        elif isinstance(document.get("data"), list):
            # Pages of the newer endpoint hold input and output as the text that is stored.
            for row in document["data"]:
                yield _observation(row, raw_text=True)
        else:
            yield _observation(document, raw_text=False)


@dataclass(frozen=True, slots=True)
class RecordedTrace:
    """The values that Langfuse stores of a trace itself, beside its observations."""

    id: str
    input: Any = None
    output: Any = None
    metadata: Any = None


def traces_in(document: Any) -> Iterator[RecordedTrace]:
    """Yield what a JSON document says of the traces themselves: one of a trace, or a list of these."""
    for trace in _traces(document):
        yield RecordedTrace(
            id=str(_get(trace, "id") or ""),
            input=trace.get("input"),
            output=trace.get("output"),
            metadata=trace.get("metadata"),
        )


def scores_in(document: Any) -> Iterator[Score]:
    """Yield the scores in a JSON document: one of a trace, or a list of these.

    Raises:
        DecodeError: A score has no name, or a value that none can have.
    """
    for trace in _traces(document):
        rows = trace.get("scores")
        for row in rows if isinstance(rows, list) else ():
            # Traces in a list name their scores only.
            if isinstance(row, Mapping):
                yield _score(row, str(_get(trace, "id") or ""))


def _traces(document: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(document, list):
        for item in document:
            yield from _traces(item)
    elif isinstance(document, Mapping) and isinstance(document.get("observations"), list):
        yield document


def _score(row: Mapping[str, Any], trace_id: str) -> Score:
    name, value, text = row.get("name"), row.get("value"), _get(row, "stringValue")
    if text is not None and (value is None or _get(row, "dataType") in _OF_TEXTS):
        # Langfuse has a number beside the text of a category.
        value = text
    if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DecodeError(f"the score {shown(name)} has the value {shown(value)}, expected a name and a number or text")
    texts = {key: None if (found := _get(row, key)) is None else str(found) for key in _TEXTS_OF_SCORE}
    return Score(
        name=name,
        value=value,
        id=texts["id"],
        trace_id=texts["traceId"] or trace_id,
        observation_id=texts["observationId"],
        session_id=texts["sessionId"],
        dataset_run_id=texts["datasetRunId"],
        data_type=texts["dataType"],
        comment=texts["comment"],
        metadata=row.get("metadata"),
        environment=texts["environment"],
    )


#: Types of scores that are texts, and fields of scores.
_OF_TEXTS: Final = ("CATEGORICAL", "TEXT")
_TEXTS_OF_SCORE: Final = (
    "id",
    "traceId",
    "observationId",
    "sessionId",
    "datasetRunId",
    "dataType",
    "comment",
    "environment",
)
#: What other endpoints list, by fields that these have.
_OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "traces without their observations": ("timestamp", "htmlPath"),
    "scores": ("dataType", "value"),
    "sessions": ("createdAt", "projectId"),
}


def other_endpoint(document: Any) -> str | None:
    """Return what a document holds in place of observations if it is of another endpoint of the API; else `None`."""
    if isinstance(document, Mapping):
        rows = document.get("data")
        document = rows if isinstance(rows, list) else [document]
    if not isinstance(document, list) or not document or not all(isinstance(row, Mapping) for row in document):
        return None
    if any(_get(row, "type") for row in document):
        return None
    for what, fields in _OTHERS.items():
        if all(any(field in row or _snake(field) in row for row in document) for field in fields):
            held = [row["observations"] for row in document if isinstance(row.get("observations"), list)]
            if not any(isinstance(one, Mapping) for observations in held for one in observations):
                return what
    return None


def is_api_document(document: Any) -> bool:
    """Return whether `observations_in` finds observations in the document."""
    if isinstance(document, list):
        return bool(document) and all(map(is_api_document, document))
    if not isinstance(document, Mapping):
        return False
    rows = document.get("observations", document.get("data"))
    if isinstance(rows, list):
        return all(isinstance(row, Mapping) and _get(row, "id") and _get(row, "type") for row in rows)
    return bool(_get(document, "id") and _get(document, "traceId") and _get(document, "type"))


def damage_of(document: Any) -> str | None:
    """Return what keeps `observations_in` from reading a document of the API; `None` if it looks like none of them."""
    if isinstance(document, list):
        found = ((place, damage_of(item)) for place, item in enumerate(document))
        return next((f"[{place}]: {damage}" for place, damage in found if damage is not None), None)
    if not isinstance(document, Mapping) or "resourceSpans" in document:
        return None
    rows = document.get("observations", document.get("data"))
    if "observations" in document and not isinstance(rows, list):
        return f"'observations' is {shown(rows)}, expected a list"
    if not isinstance(rows, list):
        return _damage_of_row(document) if _get(document, "traceId") else None
    key = "observations" if "observations" in document else "data"
    found = ((place, _damage_of_row(row)) for place, row in enumerate(rows))
    return next((f"{key}[{place}]: {damage}" for place, damage in found if damage is not None), None)


def _damage_of_row(row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return f"{shown(row)} is not an observation, expected an object"
    missing = [repr(key) for key in ("id", "type") if not _get(row, key)]
    return f"the observation has no {' and no '.join(missing)}" if missing else None


def _set(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _get(row: Mapping[str, Any], key: str) -> Any:
    """Return a field in the spelling of the API (`traceId`) or of exports to files (`trace_id`)."""
    value = row.get(key)
    if value is None:
        value = row.get(_snake(key))
    return value


def _snake(key: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in key)


def _observation(row: Mapping[str, Any], *, raw_text: bool) -> Observation:
    row = _checked(row)
    kind = str(_get(row, "type") or "span").lower()
    level = _get(row, "level") or "DEFAULT"
    parent_id = _get(row, "parentObservationId") or None
    start, end = _time(_get(row, "startTime")), _time(_get(row, "endTime"))
    metadata = _get(row, "metadata")
    version = _get(row, "promptVersion")
    is_root = _get(row, "isRootObservation")
    is_app_root = bool(_get(row, "isAppRoot") or (is_root and parent_id))
    return Observation(
        id=str(_get(row, "id")),
        trace_id=str(_get(row, "traceId") or ""),
        parent_id=parent_id,
        name=_get(row, "name") or "",
        type=kind if kind in TYPES else "span",
        level=str(getattr(level, "value", level)),
        status_message=_get(row, "statusMessage"),
        input=_shown(_get(row, "input"), raw_text=raw_text),
        output=_shown(_get(row, "output"), raw_text=raw_text),
        metadata=dict(metadata)
        if isinstance(metadata, Mapping)
        else {}
        if metadata is None
        else {"metadata": metadata},
        model=_get(row, "model") or _get(row, "providedModelName"),
        model_parameters=_get(row, "modelParameters") or {},
        usage=_get(row, "usageDetails") or {},
        cost=_get(row, "costDetails") or {},
        prompt_name=_get(row, "promptName"),
        prompt_version=int(version) if version is not None else None,
        user_id=_get(row, "userId") or None,
        session_id=_get(row, "sessionId") or None,
        tags=list(_get(row, "tags") or []),
        environment=_get(row, "environment") or "default",
        version=_get(row, "version"),
        release=_get(row, "release"),
        trace_name=_get(row, "traceName") or None,
        is_root=not parent_id or is_app_root,
        is_app_root=is_app_root,
        start_time=start,
        end_time=end,
        record=_record(row, start, end),
    )


#: The types that the API gives its fields, where another one would break what reads the observation later.
_TEXTS: Final = (
    "parentObservationId",
    "name",
    "statusMessage",
    "model",
    "promptName",
    "userId",
    "sessionId",
    "traceName",
    "environment",
    "version",
    "release",
)
_MAPPINGS: Final = ("modelParameters", "usageDetails", "costDetails")


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an observation whose fields can be read; JSON that somebody has edited may hold anything."""
    for key in _TEXTS:
        _need(row, key, str, "a text")
    for key in _MAPPINGS:
        _need(row, key, Mapping, "an object")
    _need(row, "tags", list, "a list")
    _need(row, "promptVersion", int | float, "a number")
    for key in ("startTime", "endTime"):
        _need(row, key, str | datetime, "a time such as '2026-01-31T12:00:00Z'")
        try:
            _time(_get(row, key))
        except ValueError:
            raise _unusable(row, key, "a time such as '2026-01-31T12:00:00Z'") from None
    return row


def _need(row: Mapping[str, Any], key: str, kind: Any, expected: str) -> None:
    value = _get(row, key)
    if value is not None and not isinstance(value, kind):
        raise _unusable(row, key, expected)


def _unusable(row: Mapping[str, Any], key: str, expected: str) -> DecodeError:
    found = shown(_get(row, key))
    return DecodeError(f"{key} of observation {shown(_get(row, 'id'))} is {found}, expected {expected}")


def _shown(value: Any, *, raw_text: bool) -> Any:
    return parse_json_or_text(value) if raw_text and isinstance(value, str) else value


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        # Exports to files hold UTC without saying so.
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return None


def _record(row: Mapping[str, Any], start: datetime | None, end: datetime | None) -> SpanRecord:
    return SpanRecord(
        trace_id=str(_get(row, "traceId") or ""),
        span_id=str(_get(row, "id")),
        parent_span_id=_get(row, "parentObservationId") or None,
        name=_get(row, "name") or "",
        start_ns=_nanoseconds(start) or 0,
        end_ns=_nanoseconds(end),
        raw=row,
    )


def _nanoseconds(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // timedelta(microseconds=1) * 1_000
