"""Installation of the packages of the Node service."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path


class NpmError(Exception):
    """The packages cannot be installed. The message has the reason."""


def install(folder: Path) -> None:
    """Run `npm ci` in `folder` unless it was done for this lock file; several test runs may do so at once.

    Packages come from npm's cache if it has them. Raises `NpmError`.
    """
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        raise NpmError(f"{' and '.join(missing)} not found in PATH")
    version = _run(["node", "--version"], folder).stdout.strip()
    if int(re.sub(r"v(\d+).*", r"\1", version)) < 20:
        raise NpmError(f"node is {version}; Langfuse's packages need version 20 or later")
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
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - fixed commands
