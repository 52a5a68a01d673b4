"""One page of HTML that shows the traces of a run: everything is in it, and it asks nobody for anything."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.report.figures import amount, counted, duration, money
from pytest_langfuse.report.page.data_blocks import json_text, packed
from pytest_langfuse.report.page.overview_page import overview_of
from pytest_langfuse.report.page.page_contents import PageContents, Row
from pytest_langfuse.report.page.shown_text import address, cut_text, printable
from pytest_langfuse.report.page.smaller_script import smaller

if TYPE_CHECKING:
    import jinja2

ASSETS: Final = Path(__file__).with_name("assets")
#: In this order they are one script.
SCRIPTS: Final = (
    "dom.js",
    "store.js",
    "virtual_list.js",
    "test_list.js",
    "chat.js",
    "values.js",
    "literal.js",
    "observation.js",
    "difference.js",
    "outage.js",
    "tree.js",
    "app.js",
)
STYLE: Final = "page.css"


@cache
def script() -> str:
    """Return the page's script: all files in one function, so that none adds to the window."""
    return smaller("\n".join(["(() => {", '"use strict";', *map(_code_of, SCRIPTS), "})();"]))


@cache
def style() -> str:
    """Return the page's style sheet."""
    # Without the blanks that only readers of the file need.
    text = re.sub(r" ?([{};,>]) ?|(?<=:) ", r"\1", _code_of(STYLE).replace("\n", " ")).replace(";}", "}")
    return re.sub(r'="([\w-]+)"', r"=\1", text)


def _code_of(name: str) -> str:
    """Return a file without indentation and without lines that are comments."""
    lines = map(str.strip, (ASSETS / name).read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("//", "/*")))


def content_security_policy() -> str:
    """Return what the page may do: run its own script, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digest(script())}",
            f"style-src {_digest(style())}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def html_of(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the page, piece by piece, for the lines of a run."""
    contents = PageContents()
    contents.add_all(rows)
    yield from _template().generate(
        policy=content_security_policy(),
        style=style(),
        script=script(),
        index=packed(json_text(contents.index())),
        blocks=[("details", block) for block in contents.details.blocks]
        + [("tree", block) for block in contents.trees]
        + [("media", block) for block in contents.images],
        started=_started(contents.run.get("started")),
        version=version("pytest-langfuse"),
        **overview_of(contents),
    )


def write_page(rows: Iterable[Row], path: Path) -> None:
    """Write the page for the lines of a run; the file is replaced as a whole.

    Raises:
        OSError: it can't be written.
    """
    OutputFile(path).write(html_of(rows))


@cache
def _template() -> jinja2.Template:
    # Imported here: a run without a page must not pay for it.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )
    environment.filters |= {"amount": amount, "money": money, "seconds": duration, "cut": cut_text, "counted": counted}
    environment.filters["address"] = address
    return environment.get_template("page.html")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _started(value: Any) -> str:
    """Return when the run began, in UTC, as a reader writes it."""
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return ""
