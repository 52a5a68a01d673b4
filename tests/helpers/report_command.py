"""Run the command that makes reports, on files of the working directory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_langfuse.report.__main__ import main


def write(name: str, rows: Iterable[dict[str, Any]]) -> str:
    """Write a file of lines; returns its name."""
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return name


def ended(*arguments: str) -> int:
    """Return the exit status."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(str(end.code))
