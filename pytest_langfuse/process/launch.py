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

#: Stands for a free port in arguments and variables, the same port throughout one process.
PORT = "{port}"
_CHILD = Path(__file__).with_name("child")
_WIDTH = 60

Environment = Mapping[str, str | os.PathLike[str] | None]


def checked_arguments(argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the arguments as strings. Raise `TypeError` for one that is neither a string nor a path."""
    __tracebackhide__ = True
    for argument in argv:
        if not isinstance(argument, str | os.PathLike):
            raise TypeError(
                f"langfuse_process: an argument must be a string or a path, not {argument!r}: write {str(argument)!r}"
            )
    return [os.fspath(argument) for argument in argv]


def label(argv: Sequence[str]) -> str:
    """Return the name of a command for messages: one short line, without folders."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in argv]
    if argv[0] == sys.executable:
        words[0] = "python"
    text = " ".join(shlex.join(words).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def environment(url: str, ledger_folder: str, overrides: Mapping[str, str | None]) -> dict[str, str]:
    """Return the environment of a process whose Langfuse is at `url`.

    Later ones win: the environment of this process (with keys while it is captured), the variables that name the
    stand-in, the test's `overrides`, in which `None` removes a variable.
    """
    variables = {**os.environ, **_langfuse_variables(url)}
    variables = {name: value for name, value in {**variables, **overrides}.items() if value is not None}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        if name not in overrides:
            variables[name] = _authorization(variables)
    path = [str(_CHILD), *filter(None, [variables.get("PYTHONPATH")])]
    return {
        **variables,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTEST_LANGFUSE_LEDGER": ledger_folder,
        "PYTEST_LANGFUSE_URL": url,
    }


def _langfuse_variables(url: str) -> dict[str, str]:
    otlp = f"{url}/api/public/otel"
    return {
        "LANGFUSE_BASE_URL": url,
        "LANGFUSE_HOST": url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
        **{
            f"OTEL_EXPORTER_OTLP_{kind.upper()}_ENDPOINT": f"{otlp}/v1/{kind}" for kind in ("traces", "metrics", "logs")
        },
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }


def checked_environment(env: Environment | None) -> dict[str, str | None]:
    """Return the test's variables as strings. Raise `TypeError` for a value that is not a string, a path or `None`."""
    __tracebackhide__ = True
    for name, value in (env or {}).items():
        if value is not None and not isinstance(value, str | os.PathLike):
            raise TypeError(
                f"langfuse_process: env[{name!r}] must be a string, a path or None (removes the variable), "
                f"not {value!r}"
            )
    return {name: None if value is None else os.fspath(value) for name, value in (env or {}).items()}


def _authorization(variables: Mapping[str, str]) -> str:
    keys = f"{variables.get('LANGFUSE_PUBLIC_KEY', '')}:{variables.get('LANGFUSE_SECRET_KEY', '')}"
    # Values of OTEL_EXPORTER_OTLP_HEADERS are percent-encoded (OpenTelemetry, "OTLP Exporter Configuration").
    return f"Authorization={quote('Basic ' + b64encode(keys.encode()).decode())}"


def check_program(argv: Sequence[str], variables: Mapping[str, str], cwd: str | os.PathLike[str] | None) -> None:
    """Raise `NotADirectoryError` or `FileNotFoundError`, with one sentence, if the command cannot be started."""
    __tracebackhide__ = True
    if cwd is not None and not Path(cwd).is_dir():
        raise NotADirectoryError(f"langfuse_process: cwd={os.fspath(cwd)!r} is not a directory")
    program = argv[0]
    if os.sep in program:
        found = os.access(Path(cwd or ".", program), os.X_OK)
    else:
        found = shutil.which(program, path=variables.get("PATH")) is not None
    if not found:
        raise FileNotFoundError(f"langfuse_process: program {program!r} not found or not executable")
