"""Write the pages and pictures of the documentation that come from the code: `make docs`.

`tests/repo/test_generated_pages.py` fails for one that is no longer what the code says. What was measured is written by
programs of its own, since that takes minutes: docs/faults.py, benchmarks/run.py and docs/screenshots.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faults
import picture
import public_api
import reference_pages
import settings

DOCS = Path(__file__).parent


def _outages() -> str:
    return faults.with_catalogue((DOCS / "outages.md").read_text(encoding="utf-8"))


#: Files below docs, and the functions that return their text.
WRITTEN: dict[str, Callable[[], str]] = {
    "failure.svg": lambda: picture.svg(picture.terminal()),
    "outages.md": _outages,
    "settings.md": settings.page,
    "reference/commands.md": reference_pages.commands,
    "reference/fixtures.md": reference_pages.fixtures,
    "reference/markers.md": reference_pages.markers,
    "reference/options.md": reference_pages.options,
    **{f"reference/{page}": partial(public_api.page, module) for module, page in public_api.PAGES.items()},
}


def main() -> int:
    """Write what has changed, and print it."""
    for name, text in WRITTEN.items():
        path, written = DOCS / name, text()
        if not path.exists() or path.read_text(encoding="utf-8") != written:
            path.parent.mkdir(exist_ok=True)
            path.write_text(written, encoding="utf-8")
            print(f"docs/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
