"""Media: upload URLs, the store they lead to, reports of uploads, download URLs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

import httpx

from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint, Issue, invalid_data, not_found

#: The path of the store that stands for S3, below the base URL and beside `/api/public`.
STORE_PATH = "/stand-in-store"
_EXPIRY = timedelta(hours=1)
_MESSAGE = (
    "Provide either traceId with field input/output/metadata, or datasetId + datasetItemId with field "
    "input/expectedOutput/metadata."
)


@dataclass(slots=True)
class StoredMedia:
    """A media asset. `content` is `None` until it was uploaded; `status` is that of the upload, as reported."""

    id: str
    content_type: str
    content_length: int
    sha256_hash: str
    content: bytes | None = None
    uploaded_at: str | None = None
    status: int | None = None
    error: str | None = None
    trace_id: str | None = None
    observation_id: str | None = None
    dataset_id: str | None = None
    dataset_item_id: str | None = None
    field: str | None = None


class MediaAssets:
    """All media of the project, by the hash of their content (`mediaService.ts` of the server)."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._by_id: dict[str, StoredMedia] = {}

    def __iter__(self) -> Iterator[StoredMedia]:
        with self._lock:
            return iter(list(self._by_id.values()))

    def find(self, id_: str) -> StoredMedia | None:
        """Return the asset of an id, or `None`."""
        with self._lock:
            return self._by_id.get(id_)

    def clear(self) -> None:
        """Forget all media."""
        with self._lock:
            self._by_id.clear()

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("POST", "/media", self._upload_url),
            Endpoint("GET", "/media/{id}", self._get),
            Endpoint("PATCH", "/media/{id}", self._report),
        ]

    def store_endpoints(self) -> list[Endpoint]:
        """Return the endpoints of the store to which the upload and download URLs lead."""
        return [
            Endpoint("PUT", "/{id}", self._put, limit=None, authenticated=False),
            Endpoint("GET", "/{id}", self._download, authenticated=False),
        ]

    def reference(self, media_id: str, base_url: str) -> dict[str, Any] | None:
        """Return an uploaded asset as a dataset item refers to it."""
        with self._lock:
            media = self._by_id.get(media_id)
            return None if media is None or media.content is None else _summary(media, base_url)

    def _upload_url(self, call: ApiCall) -> httpx.Response:
        body = call.fields()
        content_type, sha256_hash = call.text(body, "contentType"), call.text(body, "sha256Hash")
        length = body.get("contentLength")
        if not isinstance(length, int) or length <= 0:
            raise invalid_data(Issue(("contentLength",), "Invalid input: expected positive number", "invalid_type"))
        if (not body.get("traceId")) == (not (body.get("datasetId") and body.get("datasetItemId"))):
            raise invalid_data(Issue((), _MESSAGE, "invalid_union"))
        media_id = sha256_hash.replace("+", "-").replace("/", "_")[:22]
        with self._lock:
            known = self._by_id.get(media_id)
            if known is not None and known.status in {200, 201} and known.content_type == content_type:
                return httpx.Response(201, json={"mediaId": media_id, "uploadUrl": None})
            self._by_id[media_id] = StoredMedia(
                id=media_id,
                content_type=content_type,
                content_length=length,
                sha256_hash=sha256_hash,
                trace_id=body.get("traceId"),
                observation_id=body.get("observationId"),
                dataset_id=body.get("datasetId"),
                dataset_item_id=body.get("datasetItemId"),
                field=body.get("field"),
            )
        return httpx.Response(201, json={"mediaId": media_id, "uploadUrl": f"{call.base_url}{STORE_PATH}/{media_id}"})

    def _put(self, call: ApiCall) -> httpx.Response:
        content = call.request.content
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")
        with self._lock:
            media = self._by_id.get(call.segments["id"])
            if media is None:
                return _store_error(403, "AccessDenied", "Request has expired or was never signed")
            if digest != media.sha256_hash:
                return _store_error(400, "BadDigest", "The SHA256 you specified did not match the calculated checksum.")
            media.content = content
        return httpx.Response(200)

    def _report(self, call: ApiCall) -> httpx.Response:
        body = call.fields()
        status = body.get("uploadHttpStatus")
        if not isinstance(status, int):
            raise invalid_data(Issue(("uploadHttpStatus",), "Invalid input: expected number", "invalid_type"))
        uploaded_at = call.text(body, "uploadedAt")
        with self._lock:
            media = self._by_id.get(call.segments["id"])
            if media is None:
                raise not_found(f"Media asset {call.segments['id']} not found in project")
            media.uploaded_at, media.status = uploaded_at, status
            media.error = None if status == httpx.codes.OK else body.get("uploadHttpError")
        return httpx.Response(200)

    def _get(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            media = self._by_id.get(call.segments["id"])
            if media is None:
                raise not_found("Media asset not found")
            if media.status is None:
                raise not_found("Media not yet uploaded")
            if media.status not in {200, 201}:
                raise not_found(f"Media upload failed with status {media.status}: \n {media.error}")
            return httpx.Response(200, json={**_summary(media, call.base_url), "uploadedAt": media.uploaded_at})

    def _download(self, call: ApiCall) -> httpx.Response:
        with self._lock:
            media = self._by_id.get(call.segments["id"])
            if media is None or media.content is None:
                return _store_error(404, "NoSuchKey", "The specified key does not exist.")
            return httpx.Response(200, content=media.content, headers={"Content-Type": media.content_type})


def _summary(media: StoredMedia, base_url: str) -> dict[str, Any]:
    return {
        "mediaId": media.id,
        "contentType": media.content_type,
        "contentLength": media.content_length,
        "url": f"{base_url}{STORE_PATH}/{media.id}",
        "urlExpiry": (datetime.now(UTC) + _EXPIRY).isoformat(),
    }


def _store_error(status: int, code: str, message: str) -> httpx.Response:
    """An error in the XML of S3."""
    content = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return httpx.Response(status, content=content, headers={"Content-Type": "application/xml"})
