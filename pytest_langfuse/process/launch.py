"""What is started: its arguments, its environment, and how it is called in messages."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

#: In an argument or a variable: a free port, the same one for all of a process.
PORT = "{port}"
_CHILD = Path(__file__).with_name("child")
_WIDTH = 60

Environment = Mapping[str, str | os.PathLike[str] | None]


def checked(argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The arguments as text. Raises `TypeError` for what is none."""
    __tracebackhide__ = True
    for argument in argv:
        if not isinstance(argument, str | os.PathLike):
            raise TypeError(
                f"langfuse_process: arguments are texts or paths, not {argument!r}: write {str(argument)!r}"
            )
    return [os.fspath(argument) for argument in argv]


def label(argv: Sequence[str]) -> str:
    """How a command is called in messages: one short line, without folders."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in argv]
    if argv[0] == sys.executable:
        words[0] = "python"
    text = " ".join(shlex.join(words).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def environment(url: str, ledger: str, own: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of a process whose Langfuse is at `url`.

    Those of this process (keys are among them while it is captured), over them ours, over them the test's `own`, in
    which `None` takes a variable away.
    """
    variables = {**os.environ, **_langfuse(url)}
    variables = {name: value for name, value in {**variables, **own}.items() if value is not None}
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        if name not in own:
            variables[name] = _authorization(variables)
    path = [str(_CHILD), *filter(None, [variables.get("PYTHONPATH")])]
    return {
        **variables,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTEST_LANGFUSE_LEDGER": ledger,
        "PYTEST_LANGFUSE_URL": url,
    }


def _langfuse(url: str) -> dict[str, str]:
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
    """The test's own variables as text. Raises `TypeError` for a value that is none."""
    __tracebackhide__ = True
    for name, value in (env or {}).items():
        if value is not None and not isinstance(value, str | os.PathLike):
            raise TypeError(
                f"langfuse_process: env[{name!r}] is {value!r}; a variable is a text, or None to take it away"
            )
    return {name: None if value is None else os.fspath(value) for name, value in (env or {}).items()}


def _authorization(variables: Mapping[str, str]) -> str:
    keys = f"{variables.get('LANGFUSE_PUBLIC_KEY', '')}:{variables.get('LANGFUSE_SECRET_KEY', '')}"
    # Values of OTEL_EXPORTER_OTLP_HEADERS are percent-encoded (OpenTelemetry, "OTLP Exporter Configuration").
    return f"Authorization={quote('Basic ' + b64encode(keys.encode()).decode())}"


def check_program(argv: Sequence[str], variables: Mapping[str, str], cwd: str | os.PathLike[str] | None) -> None:
    """Raise `FileNotFoundError` or `NotADirectoryError` with one sentence if it can't be started."""
    __tracebackhide__ = True
    if cwd is not None and not Path(cwd).is_dir():
        raise NotADirectoryError(f"langfuse_process: cwd={os.fspath(cwd)!r} is no folder")
    program = argv[0]
    if os.sep in program:
        found = os.access(Path(cwd or ".", program), os.X_OK)
    else:
        found = shutil.which(program, path=variables.get("PATH")) is not None
    if not found:
        raise FileNotFoundError(
            f"langfuse_process: there is no program {program!r} that could be run (is it in PATH, and executable?)"
        )
