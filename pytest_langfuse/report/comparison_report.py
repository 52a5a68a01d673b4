"""The comparison with an earlier run, in the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.report.run_comparison import ExceededLimit, RunComparison, TestChange, shown_key
from pytest_langfuse.report.step_summary import code, escaped, table

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

#: Without -v: tests, and differences of the trees of a test.
_TESTS: Final = 50
_SENTENCES: Final = 5


def write(terminal: TerminalReporter, comparison: RunComparison, name: str, *, whole: bool) -> None:
    """Print what has changed since the run in the file `name`; all of it if `whole`."""
    terminal.write_sep("=", "Langfuse comparison")
    terminal.write_line(f"with {name}: {comparison.counts()}")
    changes = comparison.changes if whole else comparison.changes[:_TESTS]
    for change in changes:
        terminal.write_line(f"  {_named(change)}: {_what(change)}")
        sentences = change.sentences if whole else change.sentences[:_SENTENCES]
        for sentence in sentences:
            terminal.write_line(f"    {sentence}")
        if more := len(change.sentences) - len(sentences):
            terminal.write_line(f"    and {more} more differences (-v shows all)")
    if more := len(comparison.changes) - len(changes):
        terminal.write_line(f"  and {more} more tests (-v shows all)")
    for sentence in comparison.not_judged:
        terminal.write_line(sentence)
    for one in comparison.exceeded if whole else comparison.exceeded[:_TESTS]:
        terminal.write_line(f"too much: {_limit(one)}", red=True)


def markdown_of(comparison: RunComparison, name: str) -> Iterator[str]:
    """Yield a section of Markdown."""
    yield f"### Compared with {code(name)}"
    yield ""
    yield escaped(comparison.counts())
    yield ""
    for sentence in comparison.not_judged:
        yield escaped(sentence)
        yield ""
    if comparison.exceeded:
        yield from table(("too much",), [(escaped(_limit(one)),) for one in comparison.exceeded])
    if comparison.changes:
        rows = [(code(_named(change)), _cell(change)) for change in comparison.changes]
        yield from table(("test", "what has changed"), rows)


def _cell(change: TestChange) -> str:
    sentences = [*change.values, *change.sentences[:_SENTENCES]]
    if more := len(change.sentences) - _SENTENCES:
        sentences += [f"and {more} more differences"] if more > 0 else []
    return "<br>".join(escaped(hidden(sentence)) for sentence in sentences) or _what(change)


def _what(change: TestChange) -> str:
    return hidden("; ".join(change.values)) or ("another tree" if change.sentences else "renamed")


def _named(change: TestChange) -> str:
    name = shown_key(change.after.key)
    before = shown_key(change.before.key)
    return hidden(name if name == before else f"{name} (was {before})")


def _limit(one: ExceededLimit) -> str:
    return hidden(f"{shown_key(one.test)}: {one}")
