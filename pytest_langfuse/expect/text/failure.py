"""The text of a failed assertion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_langfuse.expect.text.diff import Diff, Row
from pytest_langfuse.expect.text.fold import folded
from pytest_langfuse.expect.text.not_exported import any_of, everything, not_exported
from pytest_langfuse.expect.text.overview import overview
from pytest_langfuse.expect.text.style import MARGIN, Style, indentation
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.source import Unexported

#: Without -vv: rows of the trees, and sentences of one kind.
_ROWS: Final = 1_000
_TREE: Final = 100
_SENTENCES: Final = 500

NOTHING: Final = (
    "Nothing was captured. Was the instrumented code called in this test, is tracing switched on "
    "(LANGFUSE_TRACING_ENABLED, LANGFUSE_SAMPLE_RATE), and did the observations end?"
)


def tree_text(diff: Diff, captured: Sequence[Observation], unexported: Sequence[Unexported], style: Style) -> str:
    """Summary, both trees, the differences, and what of it was recorded but not exported."""
    parts = [f"{_summary(diff, captured)} (- expected, + captured):", trees(diff.rows, style)]
    parts += section("Differences:", diff.sentences, style)
    return "\n\n".join([*parts, *_what_else(diff, captured, unexported, style)])


def differences_first(
    diff: Diff, captured: Sequence[Observation], unexported: Sequence[Unexported], style: Style
) -> str:
    """Return the same as `tree_text` with the differences first, for when only the first lines are shown."""
    parts = section(f"{_summary(diff, captured)}:", diff.sentences, style)
    parts += [f"- expected, + captured:\n{trees(diff.rows, style)}"]
    return "\n\n".join([*parts, *_what_else(diff, captured, unexported, style)])


def plain_text(
    summary: str,
    sentences: Sequence[str],
    shown: Sequence[Observation] | None,
    not_exported: Sequence[str],
    style: Style,
) -> str:
    """Summary, sentences, the captured trees if they are to be `shown`, and what of it was `not_exported`."""
    parts = ["\n".join([summary, *section_lines(sentences, style)])]
    if shown:
        parts.append("\n".join(["Captured:", *_tree_lines(shown, style)]))
    parts += section("Not exported:", not_exported, style)
    if shown is not None and not shown and not not_exported:
        parts.append(NOTHING)
    return "\n\n".join(parts)


def _summary(diff: Diff, captured: Sequence[Observation]) -> str:
    count = len(diff.sentences)
    return f"{count} {'difference' if count == 1 else 'differences'}" if captured else "nothing was captured"


def _what_else(
    diff: Diff, captured: Sequence[Observation], unexported: Sequence[Unexported], style: Style
) -> list[str]:
    bears = any_of(line.name for line in diff.missing) if captured else everything
    reasons = section("Not exported:", not_exported(unexported, bears, diff.unexpected), style)
    return reasons if captured or reasons else [NOTHING]


def _tree_lines(observations: Sequence[Observation], style: Style) -> list[str]:
    lines = overview(observations, (), style, MARGIN)
    shown = lines if style.whole else lines[:_TREE]
    more = [f"  # {len(lines) - len(shown):,} more lines (-vv shows all)"] if len(shown) < len(lines) else []
    return [*(f"  {line}" for line in shown), *more]


def trees(rows: Sequence[Row], style: Style) -> str:
    """The aligned trees, without the parts that are equal and far from any difference."""
    shown = rows if style.whole else folded(rows)
    lines = [_painted(row, style) for row in (shown if style.whole else shown[:_ROWS])]
    if len(lines) < len(shown):
        lines.append(f"  # {len(shown) - len(lines):,} more lines (-vv shows all)")
    return "\n".join(lines)


def section(title: str, sentences: Sequence[str], style: Style) -> list[str]:
    """A title and its sentences; nothing if there are none."""
    return ["\n".join([title, *section_lines(sentences, style)])] if sentences else []


def section_lines(sentences: Sequence[str], style: Style) -> list[str]:
    """Sentences, indented."""
    shown = sentences if style.whole else sentences[:_SENTENCES]
    more = [f"  … {len(sentences) - len(shown):,} more (-vv shows all)"] if len(shown) < len(sentences) else []
    return [*(f"  {sentence}" for sentence in shown), *more]


def _painted(row: Row, style: Style) -> str:
    line = f"{row.mark} {' ' * indentation(row.depth)}{row.text}"
    if row.mark == " ":
        return line
    return style.red(line) if row.mark == "-" else style.green(line)
