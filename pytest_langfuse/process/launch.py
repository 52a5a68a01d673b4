"""The arguments, the environment and the label of a process that is about to start."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from pytest_langfuse import arguments
from pytest_langfuse.arguments import masked, shown
from pytest_langfuse.process.sealed_environment import (
    GIVEN,
    URL,
    SealedEnvironment,
    is_loopback,
    python_path,
    stand_in_variables,
    without_proxy,
)
from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY, PLACEHOLDER_SECRET_KEY

#: Stands for a free port in arguments and variables, the same port throughout one process.
PORT = "{port}"
_WIDTH = 60
#: As for a client of the test's own process: an outage must not keep a test waiting for the SDK's 5 seconds.
_CLIENT_DEFAULTS = {"LANGFUSE_TIMEOUT": "1"}

Environment = Mapping[str, str | os.PathLike[str] | None]


def checked_arguments(argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the arguments as strings. Raise `TypeError` for one that is neither a string nor a path.

    Raise `ValueError` for one that no process can be given.
    """
    __tracebackhide__ = True
    checked = []
    # Not a comprehension, which would be another frame of the traceback.
    for argument in argv:
        checked.append(_system_text("an argument", argument, f": write '{shown(argument)}'"))  # noqa: PERF401
    return checked


def _system_text(what: str, value: object, hint: str = "") -> str:
    __tracebackhide__ = True
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"langfuse_process: {what} must be a string or a path, not {shown(value)}{hint}")
    try:
        encodable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        encodable = False
    if not encodable:
        raise ValueError(f"langfuse_process: {what} has a character that the system can't take: {shown(text)}")
    return text


def label(argv: Sequence[str]) -> str:
    """Return the name of a command for messages: one short line, without folders and secrets."""
    secret = os.environ.get("LANGFUSE_SECRET_KEY")
    words = [masked(Path(word).name if Path(word).is_absolute() else word, secret) for word in argv]
    if argv[0] == sys.executable:
        words[0] = "python"
    text = " ".join(shlex.join(words).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def environment(url: str, ledger_folder: str, overrides: Mapping[str, str | None]) -> SealedEnvironment:
    """Return the environment of a process whose Langfuse is at `url`.

    Later ones win: the environment of this process, with placeholders for missing keys; the variables that name the
    stand-in; the test's `overrides`, in which `None` removes a variable. An override that names a Langfuse or an OTLP
    endpoint on another machine does not count.
    """
    addresses = stand_in_variables(url)
    given = {name: value for name, value in overrides.items() if value and name in addresses and "://" in value}
    away = {name for name, value in given.items() if not is_loopback(value)}
    kept = {name: value for name, value in overrides.items() if name not in away}
    merged = {**_CLIENT_DEFAULTS, **_placeholder_keys(os.environ), **os.environ, **addresses, **kept}
    variables = {name: value for name, value in merged.items() if value is not None}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        if name not in overrides:
            variables[name] = _authorization(variables)
    return SealedEnvironment(
        {
            **variables,
            **without_proxy(variables),
            "PYTHONPATH": python_path(variables),
            "PYTEST_LANGFUSE_LEDGER": ledger_folder,
            URL: url,
            GIVEN: " ".join(value for name, value in given.items() if name not in away),
        }
    )


def _placeholder_keys(variables: Mapping[str, str]) -> dict[str, str]:
    """Return keys for a process whose environment has none, so that it traces. One alone is the app's mistake."""
    if "LANGFUSE_PUBLIC_KEY" in variables or "LANGFUSE_SECRET_KEY" in variables:
        return {}
    return {"LANGFUSE_PUBLIC_KEY": PLACEHOLDER_PUBLIC_KEY, "LANGFUSE_SECRET_KEY": PLACEHOLDER_SECRET_KEY}


def checked_environment(env: Environment | None) -> dict[str, str | None]:
    """Return the test's variables as strings. Raise `TypeError` for a value that is not a string, a path or `None`.

    Raise `ValueError` for a name or value that no process can be given.
    """
    __tracebackhide__ = True
    if env is None:
        return {}
    arguments.mapping("langfuse_process.start", "env", env, "a dict of variables")
    variables: dict[str, str | None] = {}
    for name, value in env.items():
        if not isinstance(name, str):
            raise TypeError(f"langfuse_process: a name in env must be a string, not {shown(name)}")
        if not name or "=" in name:
            raise ValueError(f"langfuse_process: env has {shown(name)}, which is not the name of a variable")
        _system_text("a name in env", name)
        if value is not None and not isinstance(value, str | os.PathLike):
            raise TypeError(
                f"langfuse_process: env[{name!r}] must be a string, a path or None (removes the variable), "
                f"not {shown(value)}"
            )
        variables[name] = None if value is None else _system_text(f"env[{name!r}]", value)
    return variables


def _authorization(variables: Mapping[str, str]) -> str:
    keys = f"{variables.get('LANGFUSE_PUBLIC_KEY', '')}:{variables.get('LANGFUSE_SECRET_KEY', '')}"
    # Values of OTEL_EXPORTER_OTLP_HEADERS are percent-encoded (OpenTelemetry, "OTLP Exporter Configuration").
    return f"Authorization={quote('Basic ' + b64encode(keys.encode()).decode())}"


def check_program(argv: Sequence[str], variables: Mapping[str, str], cwd: str | os.PathLike[str] | None) -> None:
    """Raise `NotADirectoryError` or `FileNotFoundError`, with one sentence, if the command cannot be started."""
    __tracebackhide__ = True
    if cwd is not None and not Path(_system_text("cwd", cwd)).is_dir():
        raise NotADirectoryError(f"langfuse_process: cwd={os.fspath(cwd)!r} is not a directory")
    program = argv[0]
    if os.sep in program:
        found = os.access(Path(cwd or ".", program), os.X_OK)
    else:
        found = shutil.which(program, path=variables.get("PATH")) is not None
    if not found:
        raise FileNotFoundError(f"langfuse_process: program {program!r} not found or not executable")
