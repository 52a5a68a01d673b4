"""Images that an application sends: the SDK uploads them, and leaves a reference in the observation."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

#: What the lines of images begin with.
LINE: Final = '{"kind": "media"'
#: Types of pixels. Other ones, such as SVG, may hold scripts.
IMAGE_TYPES: Final = frozenset(f"image/{name}" for name in ("png", "jpeg", "gif", "webp", "avif"))
#: Bytes of an image that is kept, and of all images of a run.
LARGEST: Final = 1 << 20
MOST: Final = 16 << 20
#: What the SDK puts in place of media (`langfuse/media.py`, 4.5 and 5.0).
_MARK: Final = "@@@langfuseMedia:"
_REFERENCE: Final = re.compile(_MARK + r"type=([^|\"\\@]{1,100})\|id=([A-Za-z0-9_-]{1,100})\|source=")
_TOO_MUCH: Final = "the images of the run have more than 16 MiB"


class Upload(Protocol):
    """A file that was uploaded; `content` is `None` if only its place was asked for."""

    @property
    def content_type(self) -> str:
        """The type, as the application says it."""

    @property
    def content(self) -> bytes | None:
        """The bytes."""


class SentImages:
    """Finds the images to which observations refer. Each is returned once, and all up to a size."""

    def __init__(self, find: Callable[[str], Upload | None]) -> None:
        self._find = find
        #: The tests of which the lines hold them, by their ids.
        self._written: dict[str, str] = {}
        self._limit = ImageLimit()

    def of(self, test: str, lines: Iterable[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield the ids and the other fields of the media of a test, to which the `lines` of its observations refer."""
        found = dict.fromkeys(
            (match[2], match[1]) for line in lines if _MARK in line for match in _REFERENCE.finditer(line)
        )
        for id_, content_type in found:
            # A test that is repeated has other lines, and the earlier ones are gone.
            if self._written.setdefault(id_, test) == test:
                upload = self._find(id_)
                content = None if upload is None else upload.content
                why = _why_left_out(content_type if upload is None else upload.content_type, content)
                if not why and content is not None and not self._limit.admits(id_, len(content)):
                    why = _TOO_MUCH
                if content is None:
                    # It may be sent in a later test.
                    del self._written[id_]
                shown = None if why or content is None else b64encode(content).decode("ascii")
                size = None if content is None else len(content)
                yield (
                    {"kind": "media", "test": test, "id": id_, "content": shown},
                    {"content_type": content_type, "size": size, "left_out": why},
                )


class ImageLimit:
    """Counts the bytes of images, each once."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._sum = 0

    def admits(self, id_: str, size: int) -> bool:
        """Return whether there is room for an image, and count it."""
        if id_ in self._sizes:
            return True
        if self._sum + size > MOST:
            return False
        self._sizes[id_] = size
        self._sum += size
        return True


class DistinctImages:
    """Leaves out images that another process has sent, too, and those for which there is no room in all."""

    def __init__(self) -> None:
        self._limit = ImageLimit()
        self._seen: set[str] = set()

    def among(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield lines, without those of images that were there before."""
        for line in lines:
            if not line.startswith(LINE):
                yield line
                continue
            row = json.loads(line)
            for shown in self.distinct(row):
                yield line if shown is row else json.dumps(shown)

    def distinct(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the line of an image, unless the image was there before; without its content if there is no room."""
        # A line that is not of this version may lack any field.
        id_, content = row.get("id", ""), row.get("content")
        if id_ in self._seen:
            return
        if content is not None:
            self._seen.add(id_)
            if not self._limit.admits(id_, row.get("size") or len(content)):
                row = {**row, "content": None, "left_out": _TOO_MUCH}
        yield row


def _why_left_out(content_type: str, content: bytes | None) -> str:
    if content is None:
        return "it was not uploaded"
    if content_type not in IMAGE_TYPES:
        return "it is not an image of pixels"
    return "it is larger than 1 MiB" if len(content) > LARGEST else ""
