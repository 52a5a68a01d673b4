"""Datasets, their items, and the runs that link items to traces (langfuse 4; version 5 links them by the trace)."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from threading import RLock
from typing import Any

import httpx

from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint, Issue, invalid_data, not_found, now
from pytest_langfuse.standin.endpoints.dataset_items import DatasetItems
from pytest_langfuse.standin.endpoints.project import PROJECT_ID
from pytest_langfuse.standin.endpoints.query_values import not_one_of, page_of, page_response, read_date, required

_ITEM_LIMIT = int(4.5 * 1024 * 1024)
_STATUSES = ("ACTIVE", "ARCHIVED")
_MEDIA = re.compile(r"@@@langfuseMedia:type=[^|@]*\|id=(?P<id>[^|@]+)\|source=[^@]*@@@")

#: Describes an uploaded media asset: `(media id, base_url) -> JSON`.
Describe = Callable[[str, str], dict[str, Any] | None]


class Datasets:
    """All datasets of the project (`publicDatasetService.ts` of the server)."""

    def __init__(self, lock: RLock, media: Describe) -> None:
        self._lock = lock
        self._media = media
        self.datasets: dict[str, dict[str, Any]] = {}
        self.items = DatasetItems()
        self.runs: dict[tuple[str, str], dict[str, Any]] = {}

    def clear(self) -> None:
        """Forget all datasets, items and runs."""
        with self._lock:
            self.datasets.clear()
            self.items.clear()
            self.runs.clear()

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("POST", "/v2/datasets", self._create),
            Endpoint("GET", "/v2/datasets", self._list),
            Endpoint("GET", "/v2/datasets/{name}", self._get),
            Endpoint("POST", "/dataset-items", self._create_item, limit=_ITEM_LIMIT),
            Endpoint("GET", "/dataset-items", self._list_items),
            Endpoint("GET", "/dataset-items/{id}", self._get_item),
            Endpoint("DELETE", "/dataset-items/{id}", self._delete_item),
            Endpoint("POST", "/dataset-run-items", self._create_run_item),
            Endpoint("GET", "/dataset-run-items", self._list_run_items),
            Endpoint("GET", "/datasets/{name}/runs", self._list_runs),
            Endpoint("GET", "/datasets/{name}/runs/{run}", self._get_run),
            Endpoint("DELETE", "/datasets/{name}/runs/{run}", self._delete_run),
        ]

    def _dataset(self, name: str) -> dict[str, Any]:
        dataset = self.datasets.get(name)
        if dataset is None:
            raise not_found("Dataset not found")
        return dataset

    def _create(self, call: ApiCall) -> httpx.Response:
        body = call.fields()
        name = call.text(body, "name")
        with self._lock:
            known = self.datasets.get(name, {})
            self.datasets[name] = dataset = {
                "id": known.get("id", str(uuid.uuid4())),
                "name": name,
                "description": body.get("description", known.get("description")),
                "metadata": body.get("metadata", known.get("metadata")),
                "inputSchema": body.get("inputSchema", known.get("inputSchema")),
                "expectedOutputSchema": body.get("expectedOutputSchema", known.get("expectedOutputSchema")),
                "projectId": PROJECT_ID,
                "createdAt": known.get("createdAt", now()),
                "updatedAt": now(),
            }
            return httpx.Response(200, json=dataset)

    def _list(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            return page_response(call.query, list(reversed(self.datasets.values())))

    def _get(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            return httpx.Response(200, json=self._dataset(call.segments["name"]))

    def _create_item(self, call: ApiCall) -> httpx.Response:
        body = call.fields()
        name, status = call.text(body, "datasetName"), body.get("status")
        if status is not None and status not in _STATUSES:
            raise not_one_of(("status",), _STATUSES)
        with self._lock:
            dataset = self.datasets.get(name)
            if dataset is None:
                raise not_found(f"Dataset {name} not found for project {PROJECT_ID}")
            return httpx.Response(200, json=self._shown(self.items.write(dataset, body, status), call))

    def _shown(self, item: dict[str, Any], call: ApiCall) -> dict[str, Any]:
        """An item with the media that its fields refer to."""
        references = [
            {"field": field, "referenceString": text, "jsonPath": path, "media": media}
            for field in ("input", "expectedOutput", "metadata")
            for path, text, media_id in _media_in(item[field], "$")
            if (media := self._media(media_id, call.base_url)) is not None
        ]
        return {**item, "mediaReferences": references}

    def _list_items(self, call: ApiCall) -> httpx.Response:
        query = call.query
        name, version = query.get("datasetName"), _version(query.get("version"))
        if version is not None and not name:
            raise invalid_data(Issue(("datasetName",), "datasetName is required when version parameter is provided"))
        with self._lock:
            dataset_id = self._dataset(name)["id"] if name else None
            found = [
                item
                for item in self.items.active(version)
                if dataset_id in {None, item["datasetId"]}
                and query.get("sourceTraceId") in {None, item["sourceTraceId"]}
                and query.get("sourceObservationId") in {None, item["sourceObservationId"]}
            ]
            items, meta = page_of(query, found)
            data = [self._shown(item, call) for item in items]
        return httpx.Response(200, json={"data": data, "meta": meta})

    def _get_item(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            item = self.items.get(call.segments["id"])
            if item is None:
                raise not_found("Dataset item not found")
            return httpx.Response(200, json=self._shown(item, call))

    def _delete_item(self, call: ApiCall) -> httpx.Response:
        item_id = call.segments["id"]
        with self._lock:
            if not self.items.delete(item_id):
                raise not_found(f"Dataset item with id {item_id} not found for project {PROJECT_ID}")
        return httpx.Response(200, json={"message": "Dataset item successfully deleted"})

    def _create_run_item(self, call: ApiCall) -> httpx.Response:
        body = call.fields()
        run_name, item_id = call.text(body, "runName"), call.text(body, "datasetItemId")
        if not (body.get("traceId") or body.get("observationId")):
            message = "observationId or traceId must be provided"
            raise invalid_data(Issue(("observationId", "traceId"), message))
        with self._lock:
            item = self.items.get(item_id, _version(body.get("datasetVersion")))
            if item is None or item["status"] != "ACTIVE":
                raise not_found("Dataset item not found")
            run = self.runs.setdefault(
                (item["datasetName"], run_name),
                {
                    "id": _run_id(item["datasetId"], run_name),
                    "name": run_name,
                    "datasetId": item["datasetId"],
                    "datasetName": item["datasetName"],
                    "createdAt": now(),
                    "datasetRunItems": [],
                },
            )
            run.update(description=body.get("runDescription"), metadata=body.get("metadata"), updatedAt=now())
            run_item = {
                "id": str(uuid.uuid4()),
                "datasetRunId": run["id"],
                "datasetRunName": run_name,
                "datasetItemId": item_id,
                "traceId": body.get("traceId"),
                "observationId": body.get("observationId"),
                "createdAt": now(),
                "updatedAt": now(),
            }
            run["datasetRunItems"].append(run_item)
        return httpx.Response(200, json=run_item)

    def _list_run_items(self, call: ApiCall) -> httpx.Response:
        dataset_id, name = required(call.query, "datasetId"), required(call.query, "runName")
        with self._lock:
            for run in self.runs.values():
                if run["datasetId"] == dataset_id and run["name"] == name:
                    return page_response(call.query, list(reversed(run["datasetRunItems"])))
        raise not_found("Dataset run not found for the given project and dataset id")

    def _list_runs(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            name = self._dataset(call.segments["name"])["name"]
            runs = [
                {key: value for key, value in run.items() if key != "datasetRunItems"}
                for (dataset, _), run in self.runs.items()
                if dataset == name
            ]
        return page_response(call.query, runs[::-1])

    def _get_run(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            run = self.runs.get((call.segments["name"], call.segments["run"]))
            if run is None:
                raise not_found("Dataset run not found")
            return httpx.Response(200, json=run)

    def _delete_run(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            if self.runs.pop((call.segments["name"], call.segments["run"]), None) is None:
                raise not_found("Dataset run not found")
        return httpx.Response(200, json={"message": "Dataset run successfully deleted"})


def _version(text: object) -> datetime | None:
    if text is None:
        return None
    time = read_date(text)
    if time is None:
        raise invalid_data(Issue(("version",), "Invalid input: expected date, received Date", "invalid_type"))
    return time


def _run_id(dataset_id: str, run_name: str) -> str:
    """Return the id of a run, which depends on the dataset and the name alone."""
    return hashlib.sha256(f"{dataset_id}\0{run_name}".encode()).hexdigest()[:32]


def _media_in(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield references to media: `(JSONPath, reference, media id)`.

    Like `findMediaReferences` of the server: the reference is the whole string, keys are not escaped in the path, and a
    key of digits looks like an index.
    """
    if isinstance(value, str):
        if (match := _MEDIA.fullmatch(value)) is not None:
            yield path, value, match["id"]
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _media_in(inner, f"{path}[{key}]" if key.isdigit() else f"{path}['{key}']")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _media_in(inner, f"{path}[{index}]")
