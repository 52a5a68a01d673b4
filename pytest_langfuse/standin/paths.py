"""The names of Langfuse's endpoints, to which an outage can be limited."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from pytest_langfuse.arguments import shown
from pytest_langfuse.suggest import closest

#: Names for `paths=`, and the paths below the base URL that they stand for.
ENDPOINTS: dict[str, re.Pattern[str]] = {
    "otlp": re.compile(r"/api/public/otel/"),
    "scores": re.compile(r"/api/public/(?:v\d+/)?(?:scores|ingestion)\b"),
    "prompts": re.compile(r"/api/public/(?:v2/)?prompts\b"),
    "media": re.compile(r"/api/public/media\b|/stand-in-store/"),
    "datasets": re.compile(r"/api/public/(?:v2/)?(?:datasets|dataset-items|dataset-run-items)\b"),
    "observations": re.compile(r"/api/public/(?:v2/)?observations\b"),
    "traces": re.compile(r"/api/public/traces\b"),
    "sessions": re.compile(r"/api/public/sessions\b"),
    "experiments": re.compile(r"/api/public/(?:experiments|experiment-items)\b"),
    "projects": re.compile(r"/api/public/projects\b"),
    "health": re.compile(r"/api/public/(?:health|ready)\b"),
}


def endpoint_of(path: str) -> str | None:
    """Return the name of the endpoint that `path` belongs to."""
    return next((name for name, pattern in ENDPOINTS.items() if pattern.search(path)), None)


def parse_paths(paths: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Check `paths=`: names of endpoints, or patterns of paths that begin with `/`. `None` stands for all.

    Raises:
        ValueError: an unknown name, with a suggestion, or an empty list.
        TypeError: `paths` is not a name or a list of names.
    """
    if paths is None:
        return None
    if isinstance(paths, bytes | Mapping) or not isinstance(paths, Iterable):
        raise TypeError(f"paths: expected names of endpoints, got {shown(paths)}")
    names = (paths,) if isinstance(paths, str) else tuple(paths)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"paths: expected names of endpoints, got {shown(name)}")
        if not name.startswith("/") and name not in ENDPOINTS:
            close = closest(name, ENDPOINTS)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ValueError(f"paths: unknown endpoint {shown(name)}, expected one of {', '.join(ENDPOINTS)}{hint}")
    if not names:
        raise ValueError("paths: an empty list matches nothing; leave it out for all endpoints")
    return names


def matches(paths: Collection[str] | None, path: str) -> bool:
    """Return whether a request for `path` is one of `paths`."""
    if paths is None:
        return True
    name = endpoint_of(path)
    # Langfuse's base URL may have a path.
    _, found, rest = path.partition("/api/public/")
    forms = (path, found + rest)
    return any(
        wanted == name if not wanted.startswith("/") else any(fnmatchcase(form, wanted) for form in forms)
        for wanted in paths
    )
