"""Private names that an installed library may lack: each is one line in the log, and tracing goes on without it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pytest_langfuse.tracing.failures import failures


class MissingNameError(Exception):
    """The installed version of a library lacks a name that we need. `name` is empty if that was logged before."""

    def __init__(self, name: str = "", library: str = "") -> None:
        super().__init__(name)
        self.name, self.library = name, library


def has(owner: Any, name: str) -> bool:
    """Return whether the object, or its class, has the attribute."""
    return hasattr(owner, name)


def member(owner: Any, path: str) -> Any:
    """Return what a dotted path below `owner` names.

    Raises:
        MissingNameError: One of its names is not there.
    """
    for name in path.split("."):
        owner = first(owner, name)
    return owner


def first(owner: Any, *names: str) -> Any:
    """Return the first of several attributes that is there: versions of a library name the same thing differently.

    Raises:
        MissingNameError: None is there.
    """
    if owner is None:
        raise MissingNameError
    for name in names:
        if has(owner, name):
            return getattr(owner, name)
    kind = owner if isinstance(owner, type) else type(owner)
    raise MissingNameError(f"{kind.__name__}.{' or '.join(names)}", kind.__module__.partition(".")[0])


def replace(owner: Any, name: str, value: Any) -> None:
    """Set an attribute that the library reads.

    Raises:
        MissingNameError: The attribute is not there, so the library would not read it.
    """
    first(owner, name)
    setattr(owner, name, value)


class without:  # noqa: N801 - reads as a word, as contextlib's do
    """Go on without a name that is missing inside; what follows from that is logged, once for each name."""

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence

    def __enter__(self) -> None:
        """Nothing is missing yet."""

    def __exit__(self, kind: object, missing: BaseException | None, traceback: object) -> bool:
        """Log the missing name; any other error goes on."""
        if not isinstance(missing, MissingNameError):
            return False
        if missing.name:
            failures.say_once(
                f"{missing.library} {_version(missing.library)} has no {missing.name}, so {self._consequence}. "
                f"Fix: install a version of {missing.library} that pytest-langfuse supports, or update pytest-langfuse."
            )
        return True


def _version(library: str) -> str:
    names = {"opentelemetry": "opentelemetry-sdk"}
    try:
        return version(names.get(library, library))
    except PackageNotFoundError:
        return "(unknown version)"
