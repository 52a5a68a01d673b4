"""The items of datasets with all their versions, so that a dataset can be read as it was."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_langfuse.standin.endpoints.api_call import Refusal
from pytest_langfuse.standin.endpoints.query_values import in_milliseconds, iso

_MILLISECOND = timedelta(milliseconds=1)
_MERGED = ("status", "input", "expectedOutput", "metadata", "sourceTraceId", "sourceObservationId")


@dataclass(frozen=True, slots=True)
class ItemVersion:
    """An item as it was from `valid_from` on. `fields` is its JSON, `None` once it was deleted."""

    id: str
    valid_from: datetime
    fields: dict[str, Any] | None


class DatasetItems:
    """Items by id, each with its versions (`dataset-items.ts` of the server). Not thread-safe: the caller locks."""

    def __init__(self) -> None:
        self._versions: dict[str, list[ItemVersion]] = {}
        self._newest = datetime.min.replace(tzinfo=UTC)

    def clear(self) -> None:
        """Forget all items."""
        self._versions.clear()

    def get(self, item_id: str, version: datetime | None = None) -> dict[str, Any] | None:
        """Return an item as it is, or as it was at the time `version`; `None` if there was none."""
        found = _at(self._versions.get(item_id, []), _shown_until(version))
        return None if found is None else found.fields

    def write(self, dataset: dict[str, Any], body: dict[str, Any], status: str | None) -> dict[str, Any]:
        """Add an item, or a new version of it. What `body` does not set stays as it was.

        Raises:
            Refusal: an item of another dataset has this id.
        """
        item_id = body.get("id") or str(uuid.uuid4())
        known = self.get(item_id) or {}
        if known and known["datasetId"] != dataset["id"]:
            message = (
                f"Dataset item id {item_id} already exists in another dataset (id {known['datasetId']}) in this "
                "project; item ids are unique per project across datasets. Use a different id or target dataset "
                f"{known['datasetId']}."
            )
            raise Refusal(409, message, "LangfuseConflictError")
        given = {**{name: body.get(name) for name in _MERGED}, "status": status}
        merged = {name: known.get(name) if value is None else value for name, value in given.items()}
        time = self._next_time()
        item = {
            **merged,
            "id": item_id,
            "status": merged["status"] or "ACTIVE",
            "datasetId": dataset["id"],
            "datasetName": dataset["name"],
            "createdAt": iso(time),
            "updatedAt": iso(time),
        }
        self._versions.setdefault(item_id, []).append(ItemVersion(item_id, time, item))
        return item

    def delete(self, item_id: str) -> bool:
        """Delete an item; its former versions stay. Return whether there was one."""
        if self.get(item_id) is None:
            return False
        self._versions[item_id].append(ItemVersion(item_id, self._next_time(), None))
        return True

    def active(self, version: datetime | None = None) -> Iterator[dict[str, Any]]:
        """Yield all items but the archived ones, the newest first, as they are or were at the time `version`."""
        until = _shown_until(version)
        found = [item for versions in self._versions.values() if (item := _at(versions, until)) is not None]
        for item in sorted(found, key=lambda item: item.valid_from, reverse=True):
            if item.fields is not None and item.fields["status"] == "ACTIVE":
                yield item.fields

    def _next_time(self) -> datetime:
        """Return the time, later than that of all other versions: no two of them are of the same millisecond."""
        self._newest = max(in_milliseconds(datetime.now(UTC)), self._newest + _MILLISECOND)
        return self._newest


def _shown_until(version: datetime | None) -> datetime | None:
    # Versions that were written in one millisecond are numbered on: a time of now has to show all of them.
    return None if version is None or version >= datetime.now(UTC) else version


def _at(versions: list[ItemVersion], until: datetime | None) -> ItemVersion | None:
    return next((version for version in reversed(versions) if until is None or version.valid_from <= until), None)
