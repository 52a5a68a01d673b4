"""Imported by every Python interpreter that starts below a test with `langfuse_process`.

It keeps a ledger of the process's spans, hands over to the `sitecustomize` that would have been imported without it,
and leaves no other trace: neither `sys.path` nor any module of the application is another one afterwards.
"""

from __future__ import annotations

import os
import sys


def _start() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib takes milliseconds to import
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    ledger = os.environ.get("PYTEST_LANGFUSE_LEDGER")
    if ledger:
        # A line is to be seen when it is printed, and in one piece. (PYTHONUNBUFFERED would write it in several.)
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)
        sys.path.insert(0, folder)
        try:
            import _pytest_langfuse_imports as imports  # type: ignore[import-not-found]

            imports.start(folder, ledger, os.environ.get("PYTEST_LANGFUSE_URL"))
        finally:
            sys.path.remove(folder)


def _hand_over() -> None:
    specs = (finder.find_spec("sitecustomize", None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    spec = next((spec for spec in specs if spec is not None), None)
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec  # a millisecond, for those who have one

        sys.modules["sitecustomize"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    _start()
    _hand_over()
