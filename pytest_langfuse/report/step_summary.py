"""The summary of a run as Markdown, for the page of a job of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from pytest_langfuse.report.figures import amount, counted, money
from pytest_langfuse.report.run_summary import RunSummary, first_difference, name_of

#: GitHub shows nothing of a step whose summary is larger.
LIMIT: Final = 1 << 20
#: Rows of a table.
_ROWS: Final = 50
#: Characters of a cell.
_LONGEST: Final = 300
_CUT: Final = "\n(The rest is left out: GitHub shows 1 MiB.)\n"


def escaped(text: str) -> str:
    """Return a text as Markdown and HTML show it, whatever is in it: each sign that could mean something is a number.

    Neither a link nor a mention, an image, an element or the end of a table's cell can be made by it (CommonMark,
    "Entity and numeric character references").
    """
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return "".join(map(_escaped, " ".join(shown.split())))


def _escaped(character: str) -> str:
    if character.isalnum() or character in " ,…":
        return character
    # What is not printable may turn the direction of what follows.
    return f"&#{ord(character)};" if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def markdown(summary: RunSummary, more: Iterable[str] = ()) -> str:
    """Return the summary as Markdown; `more` are sections that follow."""
    parts = (_head(summary), _failed(summary), _rerun(summary), _degraded(summary), _rules(summary), more)
    return "\n".join([*chain.from_iterable(parts), ""])


def append(path: Path, text: str) -> None:
    """Add a text to a summary, as far as there is room.

    Raises:
        OSError: The file can't be written.
    """
    room = LIMIT - (path.stat().st_size if path.exists() else 0)
    data = text.encode("utf-8", "replace")
    if len(data) > room:
        cut = _CUT.encode()
        # At the end of a row: half a row would be another one.
        data = data[: max(room - len(cut), 0)].rpartition(b"\n")[0] + cut
        data = data if len(data) <= room else b""
    with path.open("ab") as file:
        file.write(data)


def _head(summary: RunSummary) -> Iterator[str]:
    failed, totals = len(summary.failed), summary.totals
    outcome = f"{failed:,} of {counted(totals.tests, 'test')} failed" if failed else counted(totals.tests, "test")
    if summary.exit_status and not failed:
        outcome += f", exit status {summary.exit_status}"
    yield f"## Langfuse traces: {outcome}"
    yield ""
    findings = sum(row.times for row in summary.rules.values())
    yield from table(
        ("observations", "tokens", "cost", "findings", "lost", "never ended"),
        [
            (
                amount(totals.observations),
                "" if totals.tokens is None else amount(totals.tokens),
                "" if totals.cost is None else money(totals.cost, estimated=totals.cost_estimated),
                amount(findings),
                amount(totals.lost),
                amount(totals.unended),
            )
        ],
    )
    for sentence in summary.errors[:_ROWS]:
        yield f"The run failed: {escaped(sentence)}"
        yield ""
    for sentence in summary.incomplete[:_ROWS]:
        yield f"Incomplete: {escaped(sentence)}"
        yield ""


def _failed(summary: RunSummary) -> Iterator[str]:
    if summary.failed:
        yield "### Failed"
        yield ""
        rows = [(code(name_of(test)), escaped(first_difference(test))) for test in summary.failed]
        yield from table(("test", "why"), rows)


def _rerun(summary: RunSummary) -> Iterator[str]:
    if summary.rerun:
        yield "### Run again"
        yield ""
        rows = [
            (code(name_of(test)), f"{len(test['attempts']):,}", escaped(test["attempts"][0]["message"]))
            for test in summary.rerun
        ]
        yield from table(("test", "failed attempts", "why the first one failed"), rows)


def _degraded(summary: RunSummary) -> Iterator[str]:
    if summary.degraded:
        yield "### Worse while Langfuse fails"
        yield ""
        rows = [(code(name_of(test)), escaped(test["degraded"])) for test in summary.degraded]
        yield from table(("test", "why"), rows)


def _rules(summary: RunSummary) -> Iterator[str]:
    if summary.rules:
        yield "### Findings"
        yield ""
        rows = [
            (f"{escaped(row.code)} {escaped(row.rule)}", escaped(row.severity), f"{row.times:,}", escaped(row.text))
            for _, row in sorted(summary.rules.items())
        ]
        yield from table(("rule", "severity", "times", "the first"), rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table, whose cells are escaped already, and an empty line."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows[:_ROWS]:
        yield f"| {' | '.join(row)} |"
    yield ""
    if len(rows) > _ROWS:
        yield f"and {len(rows) - _ROWS:,} more"
        yield ""


def code(text: str) -> str:
    """Return a name in the type of code."""
    return f"<code>{escaped(text)}</code>"
