"""The summary of a run as Markdown, for the page of a job of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.report.figures import amount, counted, money
from pytest_langfuse.report.run_summary import ChangedTest, RunSummary, first_difference, name_of

if TYPE_CHECKING:
    from pytest_langfuse.output_file import OutputFile

#: GitHub shows nothing of a step whose summary is larger.
LIMIT: Final = 1 << 20
#: Rows of a table.
_ROWS: Final = 50
#: Differences of the trees of a test.
_SENTENCES: Final = 5
#: Characters of a cell.
_LONGEST: Final = 300
#: What is said of tests that are not well, and of recorded traces.
_FAILED: Final = {"test": "Failed", "trace": "With an error"}
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
    parts = (_head, _failed, _rerun, _degraded, _rules, _compared)
    return "\n".join([*(line for part in parts for line in part(summary)), *more, ""])


def append(file: OutputFile, text: str) -> None:
    """Add a text to a summary, as far as there is room.

    Raises:
        OSError: The file can't be written.
    """
    room = LIMIT - file.size
    data = text.encode("utf-8", "replace")
    if len(data) > room:
        cut = _CUT.encode()
        # At the end of a row: half a row would be another one.
        data = data[: max(room - len(cut), 0)].rpartition(b"\n")[0] + cut
        data = data if len(data) <= room else b""
    file.append(data)


def _head(summary: RunSummary) -> Iterator[str]:
    failed, totals = len(summary.failed), summary.totals
    tests = counted(totals.tests, summary.noun)
    outcome = f"{failed:,} of {tests} {_FAILED[summary.noun].lower()}" if failed else tests
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
        yield f"### {_FAILED[summary.noun]}"
        yield ""
        rows = [(code(name_of(test)), escaped(first_difference(test))) for test in summary.failed]
        yield from table((summary.noun, "why"), rows)


def _rerun(summary: RunSummary) -> Iterator[str]:
    if summary.rerun:
        yield "### Run again"
        yield ""
        rows = [
            (code(name_of(test)), f"{len(test['attempts']):,}", escaped(str(test["attempts"][0].get("message", ""))))
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


def _compared(summary: RunSummary) -> Iterator[str]:
    if summary.compared is not None:
        yield f"### Compared with {code(str(summary.compared.get('with', '')))}"
        yield ""
        for sentence in (summary.compared.get("sentence", ""), *(summary.compared.get("not_judged") or ())):
            yield escaped(str(sentence))
            yield ""
        exceeded = [f"{test.name}: {limit}" for test in summary.changed for limit in test.exceeded]
        if exceeded:
            yield from table(("too much",), [(escaped(one),) for one in exceeded])
        if summary.changed:
            changed = sorted(summary.changed, key=lambda test: not test.is_worse)
            rows = [(code(_with_old_name(test)), _changes_of(test)) for test in changed]
            yield from table(("test", "what has changed"), rows)


def _with_old_name(test: ChangedTest) -> str:
    return test.name if test.was is None else f"{test.name} (was {test.was})"


def _changes_of(test: ChangedTest) -> str:
    sentences = [*test.changes, *test.sentences[:_SENTENCES]]
    if more := len(test.sentences[_SENTENCES:]):
        sentences.append(f"and {more} more differences")
    return "<br>".join(map(escaped, sentences)) or "renamed"


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
