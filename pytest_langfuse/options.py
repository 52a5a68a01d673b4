"""The plugin's options: declared once, read into one typed object."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

Show = Literal["failed", "all", "none"]
_SHOW = ("failed", "all", "none")


class Given(NamedTuple):
    """A value, and the option or ini name that it comes from, as messages call it."""

    value: str
    source: str


class Options(NamedTuple):
    """What the command line and the ini file say; the command line wins."""

    capture: bool
    show: Show
    outage: Given | None
    max_slowdown: float
    json: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """Read the options.

        Raises:
            pytest.UsageError: a value that is none of those allowed, or an ini name that is none of ours.
        """
        _check_ini_names(config)
        option = bool(getattr(config.known_args_namespace, "langfuse_capture", False))
        show, outage, json = (_given(config, name) for name in ("show", "outage", "json"))
        return cls(
            # A suite in an outage is captured: nothing of it must go to the real Langfuse.
            capture=option or _ini_bool(config, "langfuse_capture") or bool(outage.value),
            show=cast("Show", one_of(show.value, _SHOW, show.source)),
            outage=outage if outage.value else None,
            max_slowdown=_ini_seconds(config, "langfuse_max_slowdown"),
            json=_output_file(json) if json.value else None,
        )


def add_options(parser: pytest.Parser) -> None:
    """Declare the command line options and their ini twins."""
    group = parser.getgroup("langfuse", "Langfuse traces (pytest-langfuse)")
    group.addoption(
        "--langfuse-capture",
        action="store_true",
        default=False,
        help="record what every test sends to Langfuse; nothing leaves this machine. The application is not changed. "
        "Failing tests show the tree that Langfuse would have shown. (ini: langfuse_capture)",
    )
    group.addoption(
        "--langfuse-show",
        metavar="{failed,all,none}",
        default=None,
        help="for which tests to print the section 'Langfuse trace'; default: failed. (ini: langfuse_show)",
    )
    group.addoption(
        "--langfuse-outage",
        metavar="FAULT[,FAULT...]|all",
        default=None,
        help="run the whole suite while Langfuse fails, once under each fault, and print which tests are worse off "
        "than in the last run with --langfuse-capture alone; exit status 1 if any is. Faults: refused, hang, reset, "
        "slow, drip, http_400 to http_504, redirect, captive_portal, partial_success, garbage, truncated, tls_error, "
        "dns_error, flapping. (ini: langfuse_outage)",
    )
    group.addoption(
        "--langfuse-json",
        metavar="FILE",
        default=None,
        help="append a JSON line for each test under each fault of --langfuse-outage. (ini: langfuse_json)",
    )
    parser.addini("langfuse_outage", "faults under which the suite runs, as --langfuse-outage", default="")
    parser.addini("langfuse_json", "file for JSON lines, as --langfuse-json", default="")
    parser.addini(
        "langfuse_max_slowdown",
        "seconds by which a test may be slower under --langfuse-outage than it is while Langfuse is well",
        default="1.0",
    )
    parser.addini("langfuse_capture", "capture every test, as --langfuse-capture does (true or false)", default="false")
    parser.addini("langfuse_show", "for which tests to print the captured trace: failed, all or none", default="failed")


def one_of(value: str, allowed: Sequence[str], source: str) -> str:
    """Return `value` if it is allowed, else raise a `pytest.UsageError` that names `source` and the nearest match."""
    if value in allowed:
        return value
    raise pytest.UsageError(f"{source}: {value!r} is not one of {', '.join(allowed)}{_hint(value, allowed)}")


def _hint(value: str, allowed: Sequence[str]) -> str:
    # Imported here: it takes several milliseconds, which a run without mistakes does not pay.
    import difflib

    near = difflib.get_close_matches(value, allowed, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _ini_bool(config: pytest.Config, name: str) -> bool:
    # Not addini's own "bool" type: it answers a bad value with a bare ValueError and a traceback.
    value = str(config.getini(name)).strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise pytest.UsageError(f"ini option {name}: {value!r} is not one of true, false")


def _given(config: pytest.Config, name: str) -> Given:
    value = getattr(config.known_args_namespace, f"langfuse_{name}", None)
    if value is not None:
        return Given(value, f"--langfuse-{name}")
    return Given(str(config.getini(f"langfuse_{name}")), f"ini option langfuse_{name}")


def _output_file(given: Given) -> Path:
    """A file that can be written, found out before a run of minutes. Absolute: a test may change the folder."""
    value, source = given
    path = Path(value).absolute()
    if path.is_dir():
        raise pytest.UsageError(f"{source}: {value!r} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise pytest.UsageError(f"{source}: {value!r} is in a folder that does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise pytest.UsageError(f"{source}: {value!r} can't be written")
    return path


def _ini_seconds(config: pytest.Config, name: str) -> float:
    value = str(config.getini(name))
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise pytest.UsageError(f"ini option {name}: {value!r} is not a number of seconds, such as 1.0")
    return seconds


def _check_ini_names(config: pytest.Config) -> None:
    """A misspelt ini option would otherwise do nothing, silently."""
    known = [f"langfuse_{name}" for name in Options._fields]
    with warnings.catch_warnings():
        # Deprecated since pytest 9.2 without another way to see names that nobody declared.
        warnings.simplefilter("ignore")
        names = list(getattr(config, "inicfg", ()))
    for name in names:
        if name.startswith("langfuse_") and name not in known:
            hint = _hint(name, known) or f" (known: {', '.join(known)})"
            raise pytest.UsageError(f"unknown ini option {name!r}{hint}")
