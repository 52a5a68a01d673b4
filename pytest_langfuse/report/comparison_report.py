"""The comparison with an earlier run, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.report.run_comparison import ExceededLimit, RunComparison, TestChange, shown_key

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

TITLE: Final = "Langfuse comparison"
#: Without -v: tests, and differences of the trees of a test.
_TESTS: Final = 50
_SENTENCES: Final = 5


class TextLine(NamedTuple):
    """A line; one that tells of a limit that is exceeded is bad."""

    text: str
    is_bad: bool = False


def text_of(comparison: RunComparison, name: str, *, whole: bool) -> Iterator[TextLine]:
    """Yield what has changed since the run in the file `name`; all of it if `whole`. `TITLE` belongs above."""
    yield TextLine(f"with {name}: {comparison.counts()}")
    changes = comparison.changes if whole else comparison.changes[:_TESTS]
    for change in changes:
        yield TextLine(f"  {_named(change)}: {_what(change)}")
        sentences = change.sentences if whole else change.sentences[:_SENTENCES]
        yield from (TextLine(f"    {sentence}") for sentence in sentences)
        if more := len(change.sentences) - len(sentences):
            yield TextLine(f"    and {more} more differences (-v shows all)")
    if more := len(comparison.changes) - len(changes):
        yield TextLine(f"  and {more} more tests (-v shows all)")
    yield from map(TextLine, comparison.not_judged)
    for one in comparison.exceeded if whole else comparison.exceeded[:_TESTS]:
        yield TextLine(f"too much: {_limit(one)}", is_bad=True)


def write(terminal: TerminalReporter, comparison: RunComparison, name: str, *, whole: bool) -> None:
    """Print a section of a run of pytest."""
    terminal.write_sep("=", TITLE)
    for line in text_of(comparison, name, whole=whole):
        terminal.write_line(line.text, red=line.is_bad)


def _what(change: TestChange) -> str:
    return hidden("; ".join(change.values)) or ("another tree" if change.sentences else "renamed")


def _named(change: TestChange) -> str:
    name = shown_key(change.after.key)
    before = shown_key(change.before.key)
    return hidden(name if name == before else f"{name} (was {before})")


def _limit(one: ExceededLimit) -> str:
    return hidden(f"{shown_key(one.test)}: {one}")
