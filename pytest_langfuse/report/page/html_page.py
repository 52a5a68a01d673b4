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

if TYPE_CHECKING:
    import jinja2

ASSETS: Final = Path(__file__).with_name("assets")
#: In this order they are one script.
SCRIPTS: Final = (
    "dom.js",
    "store.js",
    "virtual_list.js",
    "test_list.js",
    "values.js",
    "literal.js",
    "observation.js",
    "difference.js",
    "outage.js",
    "tree.js",
    "app.js",
)
STYLE: Final = "page.css"
_CONST: Final = "const "
_TEXTS: Final = re.compile(r'("[^"]*"|`[^`]*`)')
#: Blanks around signs; not between two of + and -, which would be another sign without.
_BLANKS: Final = re.compile(r"(?<![-+]) ?([-+{}()\[\],;:?=<>*/&|!]+) ?(?![-+])")
#: The one argument of a function, which needs no parentheses.
_ARGUMENT: Final = re.compile(r"(?<![\w$])\(([\w$]+)\)=>")
_SHORTER: Final = {"true": "!0", "false": "!1", "Infinity": "1/0", "undefined": "void 0"}
_WORDS: Final = re.compile(rf"\b({'|'.join(_SHORTER)})\b")
#: Ends of lines that end no statement, or one that a sign ends, too.
_JOINTS: Final = re.compile(r"(?<=[;{,(\[&|?:=])\n|\n(?=[})\].&|?:])")


def script() -> str:
    """Return the page's script: all files in one function, so that none adds to the window."""
    lines = map(_squeezed, "\n".join(map(_code_of, SCRIPTS)).split("\n"))
    text = "\n".join(["(() => {", '"use strict";', *_declared_together(lines), "})();"])
    return _JOINTS.sub("", text).replace(";}", "}")


def _declared_together(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines of the script: declarations of constants that follow one another, a line each, as one."""
    before = ""
    for line in lines:
        if _is_declaration(before) and _is_declaration(line):
            before = f"{before[:-1]},{line.removeprefix(_CONST)}"
            continue
        yield before
        before = line
    yield before


def _is_declaration(line: str) -> bool:
    """Return whether a line is a declaration of constants, and nothing else."""
    is_one = line.startswith(_CONST) and line.find(";") == len(line) - 1
    return is_one and all(line.count(opening) == line.count(closing) for opening, closing in ("()", "[]", "{}"))


def _squeezed(line: str) -> str:
    """Return a line of the script without blanks that only readers of the file need.

    One with a regular expression, an escaped sign, or a template inside of a template is left as it is.
    """
    parts = _TEXTS.split(line)
    is_odd = "\\" in line or any(sign in part.replace(" / ", "") for part in parts[::2] for sign in "/'")
    if is_odd or any(part.count("{") != part.count("}") for part in parts[1::2]):
        return line
    # Every second one is a text.
    parts[::2] = [_ARGUMENT.sub(r"\1=>", _BLANKS.sub(r"\1", part)) for part in parts[::2]]
    parts[::2] = [_WORDS.sub(lambda word: _SHORTER[word[0]], part) for part in parts[::2]]
    return "".join(parts)


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
