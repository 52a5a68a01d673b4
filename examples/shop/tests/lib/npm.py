"""Installs the packages of the service in Node, once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path


class NpmError(Exception):
    """The packages can't be had here; says why."""


def install(folder: Path) -> None:
    """`npm ci` in `folder`, unless that was done for this lock file. Raises `NpmError`.

    From npm's cache where it has the packages. Several test runs may call it at once.
    """
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        raise NpmError(f"there is no {' and no '.join(missing)} in PATH")
    version = _run(["node", "--version"], folder).stdout.strip()
    if int(re.sub(r"v(\d+).*", r"\1", version)) < 20:
        raise NpmError(f"node is {version}; Langfuse's packages need 20 and later")
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    installed = folder / "node_modules" / ".installed"
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.is_file() and installed.read_text() == wanted:
            return
        done = _run(["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        if done.returncode:
            said = [line.removeprefix("npm error ") for line in done.stderr.splitlines()]
            raise NpmError(f"`npm ci` failed in {folder.name}: {', '.join(said[:4])}")
        installed.write_text(wanted)
    finally:
        os.close(lock)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - as above
