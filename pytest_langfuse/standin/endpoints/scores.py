"""Scores: single, as a list (langfuse 5), and as events of the ingestion endpoint (langfuse 4)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from threading import RLock
from typing import Any

import httpx

from pytest_langfuse.recording.sources.score import Score, latest
from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint, Issue, Refusal, invalid_data
from pytest_langfuse.standin.endpoints.query_values import parse_time

_TEXT_LIMIT = 500
_INGESTION_LIMIT = int(4.5 * 1024 * 1024)
_TARGETS = (
    "Provide exactly one of the following: traceId (with optional observationId), sessionId or datasetRunId. "
    "ObservationId requires traceId."
)


class Scores:
    """The accepted scores. Validation follows `PostScoresBody` of the server (langfuse v4.16, `scores/interfaces`)."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.log: list[Score] = []

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("POST", "/scores", self._create),
            Endpoint("DELETE", "/scores/{id}", self._delete),
            Endpoint("POST", "/ingestion", self._ingest, limit=_INGESTION_LIMIT),
        ]

    def _create(self, call: ApiCall) -> httpx.Response:
        body = call.json()
        if isinstance(body, list):
            return self._create_many(body)
        score = parse_score(call.fields())
        self._accept([score])
        return httpx.Response(200, json={"id": score.id})

    def _create_many(self, bodies: list[Any]) -> httpx.Response:
        accepted: list[Score] = []
        errors: list[dict[str, str]] = []
        for index, body in enumerate(bodies):
            try:
                accepted.append(parse_score(body))
            except Refusal as refusal:
                errors.append({"message": f"Score at index {index}: {_reasons(refusal)}"})
        self._accept(accepted)
        if errors:
            counts = {"accepted": len(accepted), "rejected": len(errors), "errors": errors}
            return httpx.Response(207, json=counts)
        return httpx.Response(202, json={"message": "Accepted"})

    def _delete(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            self.log[:] = [score for score in self.log if score.id != call.segments["id"]]
        message = "Score deletion request received successfully. Score deletion is an asynchronous process."
        return httpx.Response(202, json={"message": message})

    def _ingest(self, call: ApiCall) -> httpx.Response:
        batch = call.fields().get("batch")
        if not isinstance(batch, list):
            answer = {"message": "Invalid request data", "errors": ["Invalid input: expected array"]}
            return httpx.Response(400, json=answer)
        successes: list[dict[str, object]] = []
        errors: list[dict[str, object]] = []
        for event in batch:
            event_id = event.get("id") if isinstance(event, dict) else None
            event_id = event_id if isinstance(event_id, str) else "unknown"
            try:
                self._accept(_scores_of(event))
                successes.append({"id": event_id, "status": 201})
            except Refusal as refusal:
                errors.append({"id": event_id, "status": 400, "message": refusal.message, "error": _reasons(refusal)})
        return httpx.Response(207, json={"successes": successes, "errors": errors})

    def shown(self) -> list[Score]:
        """Return the scores, one of each id, the newest first."""
        with self._lock:
            scores = latest(self.log)
        return sorted(scores, key=lambda score: (time_of_score(score), score.id or ""), reverse=True)

    def of_trace(self, trace_id: str) -> list[Score]:
        """Return the scores of a trace and of its observations, in order of arrival."""
        with self._lock:
            return [score for score in latest(self.log) if score.trace_id == trace_id]

    def averages(self, trace_id: str) -> dict[str, list[float]]:
        """Return the numbers that a trace was scored with, by name."""
        numbers: dict[str, list[float]] = {}
        for score in self.of_trace(trace_id):
            if not isinstance(score.value, str):
                numbers.setdefault(score.name, []).append(score.value)
        return numbers

    def categories(self, trace_id: str) -> dict[str, list[str]]:
        """Return the categories that a trace was scored with, by name."""
        categories: dict[str, list[str]] = {}
        for score in self.of_trace(trace_id):
            if isinstance(score.value, str) and score.data_type == "CATEGORICAL":
                categories.setdefault(score.name, []).append(score.value)
        return categories

    def _accept(self, scores: Iterable[Score]) -> None:
        with self._lock:
            self.log.extend(scores)


def time_of_score(score: Score) -> datetime:
    """Return the time of a score; one that a test made itself may have none."""
    return score.timestamp or datetime.fromtimestamp(0, UTC)


def parse_score(body: object) -> Score:
    """Validate a score and return it.

    Raises:
        Refusal: it is not valid; with all issues.
    """
    if not isinstance(body, dict):
        raise invalid_data(Issue((), "Invalid input: expected object", "invalid_type"))
    issues = [*_field_issues(body), *_value_issues(body), *_target_issues(body)]
    if issues:
        raise invalid_data(*issues)
    value, time, now = body["value"], body.get("timestamp"), datetime.now(UTC)
    return Score(
        id=body.get("id") or str(uuid.uuid4()),
        name=body["name"],
        value=value,
        trace_id=body.get("traceId"),
        observation_id=body.get("observationId"),
        session_id=body.get("sessionId"),
        data_type=body.get("dataType") or ("CATEGORICAL" if isinstance(value, str) else "NUMERIC"),
        comment=body.get("comment"),
        metadata=body.get("metadata"),
        environment=body.get("environment") or "default",
        dataset_run_id=body.get("datasetRunId"),
        config_id=body.get("configId"),
        queue_id=body.get("queueId"),
        timestamp=now if time is None else parse_time(time, ("timestamp",)),
    )


_OPTIONAL_TEXT = ("id", "traceId", "sessionId", "datasetRunId", "observationId", "comment", "environment", "queueId")


def _field_issues(body: Mapping[str, Any]) -> Iterable[Issue]:
    name = body.get("name")
    if not isinstance(name, str):
        yield Issue(("name",), "Invalid input: expected string", "invalid_type")
    elif not name:
        yield Issue(("name",), "Too small: expected string to have >=1 characters", "too_small")
    for key in _OPTIONAL_TEXT:
        if body.get(key) is not None and not isinstance(body[key], str):
            yield Issue((key,), "Invalid input: expected string", "invalid_type")


def _value_issues(body: Mapping[str, Any]) -> Iterable[Issue]:
    value, data_type = body.get("value"), body.get("dataType")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    path = ("value",)
    if data_type is None:
        if not number and not isinstance(value, str):
            yield Issue(path, "Invalid input: expected string or number", "invalid_union")
    elif data_type in {"NUMERIC", "BOOLEAN"}:
        if not number:
            yield Issue(path, "Invalid input: expected number", "invalid_type")
        elif data_type == "BOOLEAN" and value not in {0, 1}:
            yield Issue(path, "Value must be a number equal to either 0 or 1 for data type BOOLEAN")
    elif data_type in {"CATEGORICAL", "CORRECTION", "TEXT"}:
        if not isinstance(value, str):
            yield Issue(path, "Invalid input: expected string", "invalid_type")
        elif data_type == "TEXT" and not 1 <= len(value) <= _TEXT_LIMIT:
            yield Issue(path, f"Expected string to have 1 to {_TEXT_LIMIT} characters", "too_big")
    else:
        yield Issue(("dataType",), "Invalid discriminator value", "invalid_union_discriminator")


def _target_issues(body: Mapping[str, Any]) -> Iterable[Issue]:
    targets = sum(1 for key in ("traceId", "sessionId", "datasetRunId") if body.get(key))
    if targets != 1 or (body.get("observationId") and not body.get("traceId")):
        yield Issue(("traceId", "sessionId", "datasetRunId", "observationId"), _TARGETS)


def _scores_of(event: object) -> list[Score]:
    kind = event.get("type") if isinstance(event, dict) else None
    if isinstance(event, dict) and kind == "score-create":
        body = event.get("body")
        # The time of the event is that of a score that has none of its own.
        return [parse_score({"timestamp": event.get("timestamp"), **body} if isinstance(body, dict) else body)]
    if kind == "sdk-log":
        return []
    # What langfuse v4 answers to the tracing events of old SDKs, which send spans over OTLP since version 3.
    raise Refusal(400, "Event type not accepted", f'Event type "{kind or "unknown"}" is not accepted')


def _reasons(refusal: Refusal) -> str:
    if isinstance(refusal.error, list):
        return "; ".join(f"{'.'.join(map(str, issue['path']))}: {issue['message']}" for issue in refusal.error)
    return str(refusal.error or refusal.message)
