"""The repository as a user gets it: the built wheel, in an environment with nothing but its dependencies."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT
from tests.helpers.requirements import closure


@dataclass(frozen=True)
class CleanEnvironment:
    """An interpreter that sees the wheel and what it depends on, and neither this repository nor its tools."""

    site: Path

    def python(self, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in `cwd`; `variables` go into the environment, which is otherwise that of a fresh shell."""
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        return subprocess.run(
            # -S: no site-packages of the interpreter that runs this.
            [sys.executable, "-S", *arguments],
            cwd=cwd,
            env={**kept, "PYTHONPATH": str(self.site), **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def pytest(self, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in `cwd`."""
        return self.python("-m", "pytest", "-p", "no:cacheprovider", *arguments, cwd=cwd, **variables)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `make build` makes."""
    folder = tmp_path_factory.mktemp("dist")
    _hatchling("wheel", folder)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def source_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    _hatchling("sdist", folder)
    [path] = folder.glob("*.tar.gz")
    return path


def _hatchling(target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def clean_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """What `pip install <wheel>` gives in an empty environment, made of links to what is installed here."""
    return _environment(wheel, tmp_path_factory.mktemp("site"), extra="")


@pytest.fixture(scope="session")
def clean_environment_with_respx(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """The same for `pip install <wheel>[respx]`."""
    return _environment(wheel, tmp_path_factory.mktemp("site"), extra="respx")


def _environment(wheel: Path, site: Path, extra: str) -> CleanEnvironment:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    requirements = [Requirement(text) for text in distribution("pytest-langfuse").requires or ()]
    for name in closure(requirements, extra):
        for file in distribution(name).files or ():
            source, target = Path(str(file.locate())), site / file
            # Not what lies beside site-packages (scripts), and no link twice where packages share a folder.
            if ".." not in file.parts and source.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
    return CleanEnvironment(site)
