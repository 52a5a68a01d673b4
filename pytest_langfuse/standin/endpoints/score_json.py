"""Scores in the JSON of the three score endpoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.standin.endpoints.project import PROJECT_ID
from pytest_langfuse.standin.endpoints.query_values import iso
from pytest_langfuse.standin.endpoints.scores import time_of_score

#: Groups of fields of `GET /v3/scores`.
GROUPS = ("core", "details", "subject", "annotation")


def score_json(score: Score) -> dict[str, Any]:
    """Return the JSON of `GET /v2/scores`: a number in `value`, a text in `stringValue`."""
    time = iso(time_of_score(score))
    answer: dict[str, Any] = {
        "id": score.id,
        "projectId": PROJECT_ID,
        "name": score.name,
        "dataType": score.data_type,
        "source": "API",
        "environment": score.environment or "default",
        "traceId": score.trace_id,
        "observationId": score.observation_id,
        "sessionId": score.session_id,
        "datasetRunId": score.dataset_run_id,
        "authorUserId": None,
        "comment": score.comment,
        "metadata": _object(score.metadata),
        "configId": score.config_id,
        "queueId": score.queue_id,
        "executionTraceId": None,
        "timestamp": time,
        "createdAt": time,
        "updatedAt": time,
    }
    if isinstance(score.value, str):
        # The number of a category is that of its score config, of which the stand-in has none.
        return answer | {"stringValue": score.value} | ({} if score.data_type == "TEXT" else {"value": 0})
    text = ("True" if score.value else "False") if score.data_type == "BOOLEAN" else None
    return answer | {"value": score.value, "stringValue": text}


def score_of_trace(score: Score) -> dict[str, Any] | None:
    """Return the JSON of the older endpoint, which knows scores of traces only; `None` for others and corrections."""
    if score.trace_id is None or score.data_type == "CORRECTION":
        return None
    answer = score_json(score)
    del answer["sessionId"], answer["datasetRunId"]
    return answer


def polymorphic_json(score: Score, groups: Collection[str]) -> dict[str, Any]:
    """Return the JSON of `GET /v3/scores`, whose `value` is of the type that the score has."""
    time = iso(time_of_score(score))
    answer: dict[str, Any] = {
        "id": score.id,
        "projectId": PROJECT_ID,
        "name": score.name,
        "dataType": score.data_type,
        "value": score.value == 1 if score.data_type == "BOOLEAN" else score.value,
        "source": "API",
        "timestamp": time,
        "environment": score.environment or "default",
        "createdAt": time,
        "updatedAt": time,
    }
    if "details" in groups:
        answer |= {"comment": score.comment, "configId": score.config_id, "metadata": _object(score.metadata)}
    if "annotation" in groups:
        answer |= {"authorUserId": None, "queueId": score.queue_id}
    if "subject" in groups:
        answer["subject"] = _subject(score)
    return answer


def _subject(score: Score) -> dict[str, Any]:
    if score.dataset_run_id:
        return {"kind": "experiment", "id": score.dataset_run_id}
    if score.observation_id:
        return {"kind": "observation", "id": score.observation_id, "traceId": score.trace_id}
    if score.session_id:
        return {"kind": "session", "id": score.session_id}
    return {"kind": "trace", "id": score.trace_id}


def _object(metadata: Any) -> dict[str, Any]:
    """Return metadata as it is shown: an object, whatever was sent."""
    if metadata is None:
        return {}
    return dict(metadata) if isinstance(metadata, Mapping) else {"metadata": metadata}
