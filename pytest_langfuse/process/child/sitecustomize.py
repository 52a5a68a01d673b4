"""The start of every Python interpreter below a captured test.

It keeps the process away from the real Langfuse, and below `langfuse_process` begins a ledger of its spans. Then it
runs the `sitecustomize` that Python would have imported without it. It leaves `sys.path` and the modules of the
application as they would be otherwise.
"""

from __future__ import annotations

import os
import sys


def _start() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes milliseconds to import
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    ledger, url = os.environ.get("PYTEST_LANGFUSE_LEDGER"), os.environ.get("PYTEST_LANGFUSE_URL")
    if ledger:
        # The test sees each line when it is printed, in one piece. (PYTHONUNBUFFERED would write it in several.)
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
    if ledger or url:
        sys.path.insert(0, folder)
        try:
            # In `sys.path` only now.
            import _pytest_langfuse_imports as imports  # type: ignore[import-not-found]

            imports.start(folder, ledger, url)
        finally:
            sys.path.remove(folder)


def _run_next_sitecustomize() -> None:
    # This folder is no longer in `sys.path`. An import statement, because `importlib.util` would be one module more.
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401 - the next of this name
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)


if __name__ == "sitecustomize":
    _start()
    _run_next_sitecustomize()
