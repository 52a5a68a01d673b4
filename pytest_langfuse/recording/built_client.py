"""Langfuse clients as the application built them: where, with which settings, and whose resources they got."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.arguments import masked
from pytest_langfuse.recording.start_place import Place, Start, place_of

if TYPE_CHECKING:
    from pytest_langfuse.recording.origin import Origin

#: Arguments of `Langfuse(...)` that are the client's, and not those of all clients of its key.
_OF_THE_CLIENT: Final = {"public_key", "debug"}
#: What the SDK takes where neither an argument nor the environment has it (langfuse 4.5 and 5.0).
_DEFAULTS: Final[Mapping[str, Any]] = {
    "base_url": "https://cloud.langfuse.com",
    "flush_at": 512,
    "flush_interval": 5.0,
    "media_upload_thread_count": 1,
    "otel_compression": "gzip",
    "sample_rate": 1.0,
    "timeout": 5,
    "tracing_enabled": True,
}
#: The names of the environment variables that are not `LANGFUSE_` and the name of the argument.
_VARIABLES: Final = {"environment": "LANGFUSE_TRACING_ENVIRONMENT"}
#: Shown by their names alone.
_SECRET: Final = {"secret_key", "additional_headers"}
#: Above pytest's own frames there are none of the application.
_RUNNER_FOLDER: Final = f"{os.sep}_pytest{os.sep}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BuiltClient:
    """A client that the application built; `first` is the one of its key whose resources the SDK gave it, if any."""

    public_key: str
    #: The arguments that were given.
    given: Mapping[str, Any]
    #: The given ones, and what the environment or the SDK have for the others.
    settings: Mapping[str, Any]
    start: Start | None
    origin: Origin | None
    first: BuiltClient | None = None
    #: Whether a module built it when it was imported: then it is the process's, and not a test's.
    is_imported: bool = False
    #: Whether a fixture of a wider scope than one test built it, or a test's code, by itself.
    is_of_fixture: bool = False
    is_of_test: bool = False
    #: The clients between which `get_client()` could not choose, so that it gave this one, which makes nothing. `None`
    #: stands for one of which nothing is known.
    instead_of: tuple[BuiltClient | None, ...] = ()

    @property
    def place(self) -> Place | None:
        """The place in the application at which it was built, if that was to be remembered."""
        return place_of(self.start)

    def ignored(self) -> list[str]:
        """Return the names of the given settings that the first client of the key has otherwise."""
        first = self.first
        if first is None:
            return []
        return [
            name
            for name, value in self.given.items()
            if not _same(
                value, first.settings.get(name), same_place=self.start is not None and self.start == first.start
            )
        ]

    def shown(self, name: str) -> str:
        """Return a setting as messages show it: `sample_rate=0.1`, or the name alone of what is long or secret."""
        value = self.settings.get(name)
        if name in _SECRET or not isinstance(value, str | int | float | bool):
            return f"no {name}" if value is None else f"{name}=..."
        return f"{name}={masked(value)!r}" if isinstance(value, str) else f"{name}={value!r}"


def settings_of(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that the arguments of a client give, and all that it has."""
    given = {name: value for name, value in arguments.items() if value is not None and name not in _OF_THE_CLIENT}
    host = given.pop("host", None)
    if host is not None and "base_url" not in given and "LANGFUSE_BASE_URL" not in os.environ:
        given["base_url"] = host
    from_environment = {}
    for name in {*given, *_DEFAULTS, *_VARIABLES, "release", "secret_key"}:
        variable = _VARIABLES.get(name, f"LANGFUSE_{name.upper()}")
        if (text := os.environ.get(variable)) is not None:
            from_environment[name] = _as(type(_DEFAULTS.get(name, "")), text)
    settings = {**_DEFAULTS, **from_environment, **given}
    if given.get("tracing_enabled") is False:
        # A client that is switched off makes nothing, whatever the first one does.
        del given["tracing_enabled"]
    return given, settings


def is_import() -> bool:
    """Return whether a module is being imported or run that is not pytest's own."""
    frame = sys._getframe(1).f_back  # noqa: SLF001 - the documented way to see the caller
    while frame is not None and _RUNNER_FOLDER not in frame.f_code.co_filename:
        if frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def _as(kind: type, text: str) -> Any:
    if kind is bool:
        return text.lower() != "false"
    try:
        return kind(text)
    except ValueError:
        return text


def _same(value: Any, first: Any, *, same_place: bool) -> bool:
    """Return whether two settings do the same. One line of code that runs twice makes two objects that do."""
    if value is first:
        return True
    if isinstance(value, str) and isinstance(first, str):
        return value.rstrip("/") == first.rstrip("/")
    if same_place and type(value) is type(first) and not isinstance(value, int | float | str | dict):
        return True
    code = getattr(value, "__code__", None)
    if code is not None and code is getattr(first, "__code__", None):
        return True
    try:
        return bool(value == first)
    except Exception:  # noqa: BLE001 - an object of the application; then nothing is known
        return True
