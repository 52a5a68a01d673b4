"""Runs the tests on each supported combination of Python, langfuse and pytest, each in an environment of its own.

The column with the oldest langfuse also has the oldest OpenTelemetry that this package allows. An interpreter that is
not on this machine is skipped, by name.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LANGFUSES = {
    # The LangChain handler of version 4 needs all of langchain.
    "4.5.0": ("langfuse==4.5.0", "langchain"),
    "4": ("langfuse>=4.5,<5", "langchain"),
    "5": ("langfuse>=5,<6",),
}
PYTESTS = {"8.2": ("pytest==8.2.*",), "9": ("pytest>=9,<10",)}
#: OpenTelemetry of the columns that have another than `pyproject.toml` names: of its stable packages and of its others.
OPENTELEMETRY = {"4.5.0": ("1.35.0", "0.56b0")}
#: Not for tests.
NOT_INSTALLED = {"mypy", "ruff"}


@dataclass(frozen=True)
class Combination:
    """One cell of the matrix."""

    python: str
    langfuse: str
    pytest: str

    def __str__(self) -> str:
        """As it is named with `--only`."""
        return f"py{self.python}-langfuse{self.langfuse}-pytest{self.pytest}"

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return ROOT / ".matrix" / str(self)

    @property
    def log(self) -> Path:
        """What pytest printed, from its first line on: a cell that hangs says there where."""
        return ROOT / ".matrix" / f"{self}.log"

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository, with nothing of the environment that this script runs in."""
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)


def environment() -> dict[str, str]:
    """The environment without what this script's own Python and a user's settings put there."""
    dropped = ("VIRTUAL_ENV", "PYTHON", "PYTEST", "LANGFUSE", "OTEL", "MAKE", "MFLAGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def run_tests(combination: Combination, limit: float) -> tuple[int, str]:
    """Run all tests, printing to the combination's log; returns pytest's status and its closing line.

    After `limit` seconds pytest and all that it started are killed, and the log is as far as it came.
    """
    options = ("-n", "3", "--dist", "worksteal", "-v", "-p", "no:cacheprovider")
    command = [str(combination.interpreter), "-m", "pytest", *options]
    with combination.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return 1, f"stopped after {limit:g} s, which is the --limit"
    return status, (combination.log.read_text(encoding="utf-8").strip().splitlines() or ["printed nothing"])[-1]


def find(version: str) -> str | None:
    """A Python of that version on this machine."""
    candidates = [f"python{version}", "python3"]
    # A shim of pyenv is on PATH for versions that are not switched on, and then fails.
    roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")]
    for root in filter(None, roots):
        candidates += [str(path) for path in sorted(Path(root).glob(f"versions/{version}.*/bin/python"))]
    if found := run([uv(), "python", "find", "--managed-python", "--no-python-downloads", version]).stdout.strip():
        candidates.append(found)
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        if (path := shutil.which(candidate)) and run([path, "-c", code]).stdout.strip() == version:
            return path
    return None


def uv() -> str:
    """The uv that `.ci/setup` used."""
    found = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return found or sys.exit("uv is not to be had here; the matrix needs it")


def index() -> list[str]:
    """The package index that pip is configured with, for uv, which does not read that."""
    if any(name.startswith(("UV_INDEX", "UV_DEFAULT_INDEX")) for name in os.environ):
        return []
    listed = run([sys.executable, "-m", "pip", "config", "list"]).stdout
    found = re.findall(r"\.index-url='([^']+)'", listed)
    return ["--default-index", found[-1]] if found else []


def requirements(combination: Combination) -> Iterator[str]:
    """What is installed beside this package."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        development: list[str] = tomllib.load(file)["dependency-groups"]["dev"]
    cell = [*LANGFUSES[combination.langfuse], *PYTESTS[combination.pytest]]
    decided = NOT_INSTALLED.union(map(name_of, cell))
    kept = (requirement for requirement in development if name_of(requirement) not in decided)
    yield from (with_opentelemetry(requirement, combination.langfuse) for requirement in kept)
    yield from cell


def with_opentelemetry(requirement: str, langfuse: str) -> str:
    """The requirement in the column's version of OpenTelemetry: each of its packages fits one version of the SDK."""
    if langfuse not in OPENTELEMETRY or not requirement.startswith("opentelemetry-"):
        return requirement
    name, _, version = requirement.partition("==")
    stable, beta = OPENTELEMETRY[langfuse]
    return f"{name}=={beta if 'b' in version else stable}"


def name_of(requirement: str) -> str:
    """The name of what is required."""
    return re.split(r"[<>=\[ ]", requirement)[0]


def install(combination: Combination, python: str) -> str | None:
    """Make the environment; returns what went wrong."""
    pip: list[str | Path] = [uv(), "pip", "install", "--quiet", "--compile-bytecode", *index()]
    commands: tuple[list[str | Path], ...] = (
        [uv(), "venv", "--quiet", "--clear", "--python", python, combination.folder],
        [*pip, "--python", combination.interpreter, "--editable", ".[respx,kafka,sqs]", *requirements(combination)],
    )
    for command in commands:
        done = run(command)
        if done.returncode:
            return done.stderr
    return None


def versions(combination: Combination) -> str:
    """What was really installed."""
    names = ["langfuse", "opentelemetry-sdk", "pytest"]
    code = "import json, sys; from importlib.metadata import version; print(json.dumps([*map(version, sys.argv[1:])]))"
    found = json.loads(run([combination.interpreter, "-c", code, *names]).stdout)
    return ", ".join(f"{name} {version}" for name, version in zip(names, found, strict=True))


def check(combination: Combination, python: str, limit: float) -> bool:
    """Install and test one combination; prints one line, and the end of what pytest said if it failed."""
    if problem := install(combination, python):
        print(f"{combination}: can't be installed\n{problem}", flush=True)
        return False
    started = time.monotonic()
    status, closing = run_tests(combination, limit)
    print(f"{combination} ({versions(combination)}): {closing.strip('= ')}", flush=True)
    if status:
        end = combination.log.read_text(encoding="utf-8")[-20_000:]
        print(end, f"\nafter {time.monotonic() - started:.0f} s; all of it: {combination.log}", flush=True)
    return status == 0


def main() -> int:
    """Run it; exit status 1 if a combination fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="TEXT", help="combinations with this in their name")
    parser.add_argument("--limit", type=float, default=3600, metavar="SECONDS", help="stop a cell after these (3600)")
    parser.add_argument("--list", action="store_true", help="name the combinations and stop")
    options = parser.parse_args()
    cells = [Combination(*cell) for cell in itertools.product(PYTHONS, LANGFUSES, PYTESTS)]
    wanted = [cell for cell in cells if all(text in str(cell) for text in options.only or [])]
    if not wanted:
        parser.error(f"nothing is named so; there are: {', '.join(map(str, cells))}")
    if options.list:
        print(*wanted, sep="\n")
        return 0
    interpreters = {version: find(version) for version in {cell.python for cell in wanted}}
    for version in sorted(version for version, path in interpreters.items() if path is None):
        print(f"py{version}: skipped, there is no Python {version} on this machine", flush=True)
    failed = [
        cell for cell in wanted if (python := interpreters[cell.python]) and not check(cell, python, options.limit)
    ]
    print(f"{len(failed)} of {len(wanted)} failed" + "".join(f"\n  {cell}" for cell in failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
