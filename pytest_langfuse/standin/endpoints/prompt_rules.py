"""The rules for names and labels of prompts (`features/prompts/validation.ts` of the server)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_langfuse.standin.endpoints.api_call import Issue

_RESERVED: Final = ("new", "metrics", "prompt-detail")
_LABEL: Final = re.compile(r"[a-z0-9_\-.]+")
_LABEL_MAX: Final = 36
_TAG: Final = re.compile(r"<[^<>]*>")


def prompt_issues(body: Mapping[str, Any]) -> Iterator[Issue]:
    """Yield what is wrong with the name and the labels of a prompt that is to be created."""
    yield from _name_issues(body["name"])
    labels = body.get("labels")
    if labels is not None and not isinstance(labels, list):
        yield Issue(("labels",), "Invalid input: expected array", "invalid_type")
        return
    for index, label in enumerate(labels or ()):
        yield from _label_issues(label, ("labels", index))


def _name_issues(name: str) -> Iterator[Issue]:
    if not name:
        yield Issue(("name",), "Text cannot be empty", "too_small")
    if _TAG.search(name):
        yield Issue(("name",), "Text cannot contain HTML tags")
    if "|" in name:
        yield Issue(("name",), "Prompt name cannot contain '|' character", "invalid_format")
    if name.startswith("/"):
        yield Issue(("name",), "Name cannot start with a slash", "invalid_format")
    if "//" in name:
        yield Issue(("name",), "Name cannot contain consecutive slashes", "invalid_format")
    if name.endswith("/"):
        yield Issue(("name",), "Name cannot end with a slash", "invalid_format")
    if name in _RESERVED:
        yield Issue(("name",), f"Prompt name cannot be '{name}'")


def _label_issues(label: object, path: tuple[str | int, ...]) -> Iterator[Issue]:
    if not isinstance(label, str):
        yield Issue(path, "Invalid input: expected string", "invalid_type")
        return
    if len(label) > _LABEL_MAX:
        yield Issue(path, f"Too big: expected string to have <={_LABEL_MAX} characters", "too_big")
    if not _LABEL.fullmatch(label):
        message = "Label must be lowercase alphanumeric with optional underscores, hyphens, or periods"
        yield Issue(path, message, "invalid_format")
