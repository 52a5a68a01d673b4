"""Runs pytest in several folders, each in a fork of one process that has imported what all of them need.

`python forked_pytest.py MODULES FOLDER …`, with modules separated by commas. What pytest prints is in `FOLDER.txt`.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

import pytest_langfuse

#: What most applications import when they first send something.
LAZY = (
    "langfuse.api.media.client",
    "langfuse.api.prompts.client",
    "langfuse.api.scores.client",
    "openai.resources.chat",
)
#: The first failure is enough. No other plugins, and no complaint that pytest can not rewrite modules that are here.
OPTIONS = [
    "-x",
    *(f"-pno:{name}" for name in ("cacheprovider", "randomly", "xdist", "rerunfailures")),
    "-W=ignore::pytest.PytestAssertRewriteWarning",
]


def run(folder: Path) -> None:
    """Run pytest in `folder`, in a process that ends with it."""
    with folder.with_suffix(".txt").open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.exit(pytest.main(OPTIONS))


def main(modules: list[str], folders: list[Path]) -> None:
    """Import the modules, then run pytest in one folder after the other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = (found.name for found in pkgutil.walk_packages(pytest_langfuse.__path__, "pytest_langfuse."))
        for module in (*ours, *LAZY, *modules):
            # Extras may be missing, and modules to be run import nothing.
            with suppress(ImportError):
                importlib.import_module(module)
    # pytest collects garbage at its end: not in all that was imported.
    gc.freeze()
    for folder in folders:
        process = os.fork()
        if process == 0:
            run(folder)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main(sys.argv[1].split(","), [Path(name) for name in sys.argv[2:]])
