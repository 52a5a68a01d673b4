"""Compare the start-up of pytest alone, with the unused plugin, and with plugins that import the SDK.

Each environment is a folder with the distributions that an instrumented application has anyway, pytest and langfuse,
copied from this environment and compiled to bytecode. The plugin is added as an installer does it: with all that it
requires, its entry point and its list of files, which pytest reads to rewrite assertions.
A run is a whole process: `python -m pytest` on one empty test. Runs are interleaved.
"""

from __future__ import annotations

import argparse
import compileall
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distribution
from pathlib import Path

from measure import Table, progress, spread, surroundings
from packaging.requirements import Requirement

import pytest_langfuse

#: Times the processor time of pytest in the same environment with `-p no:langfuse`: no plugin can help it that pytest
#: reads the list of files of each one that is installed. The wall clock of a busy machine says little.
LIMIT = 1.02

_IMPORTS = "import langfuse\n"
_BUILDS = (
    "from langfuse import Langfuse\n"
    "client = Langfuse(public_key='pk-lf-benchmark', secret_key='sk-lf-benchmark', base_url='http://127.0.0.1:9')\n"
)


@dataclass
class Environment:
    """One folder on Python's path, and the times that were measured in it."""

    label: str
    folder: Path
    plugin: str = "pytest_langfuse.plugin"
    options: tuple[str, ...] = ()
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def pytest(self, suite: Path, *arguments: str) -> str:
        """Run pytest in this environment and return its output."""
        command = [
            sys.executable,
            "-S",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:anyio",
            *self.options,
            *arguments,
        ]
        command += [*self.options, *arguments, "-c", os.devnull, "--rootdir", str(suite.parent), str(suite)]
        variables = {"PYTHONPATH": str(self.folder), "PATH": os.environ["PATH"]}
        done = subprocess.run(command, env=variables, cwd=suite.parent, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{self.label}: pytest failed\n{done.stdout}")
        return done.stdout

    def run(self, suite: Path) -> None:
        """Time one run."""
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        self.pytest(suite)
        self.wall.append((time.perf_counter() - started) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)


def closure(*names: str) -> dict[str, Distribution]:
    """Return the distributions `names` and all that they require."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower()
        if name in found:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def install(folder: Path, *names: str) -> None:
    """Copy distributions and their requirements into `folder`."""
    for found in closure(*names).values():
        for file in found.files or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def install_plugin(folder: Path, name: str, module: str) -> None:
    """Register `module`, whose files are in `folder`, as a pytest plugin there."""
    package = folder / module.partition(".")[0]
    files = sorted(package.rglob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    info.joinpath("entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n", encoding="utf-8")
    record = "".join(f"{file.relative_to(folder).as_posix()},,\n" for file in files)
    info.joinpath("RECORD").write_text(record, encoding="utf-8")


def build(root: Path) -> list[Environment]:
    """Create the environments. The first is the baseline for the others."""
    bare, ours, imports, builds = (root / name for name in ("bare", "ours", "imports", "builds"))
    other = "plugin_of_the_day"
    environments = [
        Environment("pytest", bare),
        Environment("pytest-langfuse installed, -p no:langfuse", ours, options=("-p", "no:langfuse")),
        Environment("pytest-langfuse installed, unused", ours),
        Environment("a plugin that imports langfuse", imports, other),
        Environment("a plugin that builds a client", builds, other),
    ]
    install(bare, "pytest", "langfuse")
    for folder in (ours, imports, builds):
        shutil.copytree(bare, folder)
    install(
        ours,
        *(Requirement(text).name for text in distribution("pytest-langfuse").requires or () if "extra" not in text),
    )
    package = Path(pytest_langfuse.__file__).parent
    shutil.copytree(package, ours / "pytest_langfuse", ignore=shutil.ignore_patterns("__pycache__"))
    install_plugin(ours, "langfuse", "pytest_langfuse.plugin")
    for folder, text in ((imports, _IMPORTS), (builds, _BUILDS)):
        folder.joinpath("plugin_of_the_day.py").write_text(text, encoding="utf-8")
        install_plugin(folder, "of_the_day", "plugin_of_the_day")
    compileall.compile_dir(root, quiet=2, workers=0)
    return environments


def measure(runs: int) -> Table:
    """Run pytest in each environment and compare the times."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        suite = root / "tests" / "test_empty.py"
        suite.parent.mkdir()
        suite.write_text("def test_empty():\n    pass\n", encoding="utf-8")
        progress("copying and compiling the environments")
        environments = build(root / "site")
        bare, without = environments[:2]
        for one in environments:
            if (f"<module '{one.plugin}'" in one.pytest(suite, "--trace-config")) is (one in (bare, without)):
                sys.exit(f"{one.label}: its plugin is not what it should be")
        for number in range(-1, runs):
            if number % 10 == 0:
                progress(f"run {number + 1} of {runs}")
            # In an order of its own each time, so that no environment always runs behind the same other.
            for environment in random.sample(environments, len(environments)):
                environment.run(suite)
            if number < 0:  # warms the page cache
                for environment in environments:
                    environment.wall.clear()
                    environment.cpu.clear()
    table = Table(
        "Start-up",
        f"`pytest` on one empty test, whole process, medians of {runs} interleaved runs [min-max]. {surroundings()}",
        ("installed", "wall ms", "x pytest", "CPU ms", "x pytest"),
    )
    for one in environments:
        wall, cpu = (statistics.median(values) for values in (one.wall, one.cpu))
        ratios = (wall / statistics.median(bare.wall), cpu / statistics.median(bare.cpu))
        table.rows.append((one.label, spread(one.wall, 0), f"{ratios[0]:.3f}", spread(one.cpu, 0), f"{ratios[1]:.3f}"))
    table.require(
        "CPU time of start-up with the plugin unused, relative to -p no:langfuse", _ratio(environments), LIMIT, 3
    )
    return table


def _ratio(environments: list[Environment]) -> float:
    _, without, unused = environments[:3]
    return statistics.median(unused.cpu) / statistics.median(without.cpu)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=40, help="runs in each environment; default: 40")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, as Markdown")
    options = parser.parse_args()
    return measure(options.runs).finish(options.markdown)


if __name__ == "__main__":
    sys.exit(main())
