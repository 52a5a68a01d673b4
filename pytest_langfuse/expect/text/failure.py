"""The text of a failed assertion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.text.diff import Diff, Row
from pytest_langfuse.expect.text.fold import folded
from pytest_langfuse.expect.text.render import render
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.source import Source, Unexported

#: Without -vv: rows of the trees, and sentences of one kind.
_ROWS: Final = 1_000
_TREE: Final = 100
_SENTENCES: Final = 500
#: Deeper rows are not indented further, or a deep tree would be mostly spaces.
_DEEPEST: Final = 60

NOTHING: Final = (
    "Nothing was captured. Was the instrumented code called in this test, is tracing switched on "
    "(LANGFUSE_TRACING_ENABLED, LANGFUSE_SAMPLE_RATE), and did the observations end?"
)


def tree_text(diff: Diff, captured: Sequence[Observation], unexported: Sequence[Unexported], style: Style) -> str:
    """Summary, both trees, the differences, and what was not exported."""
    parts = [f"{_summary(diff, captured)} (- expected, + captured):", trees(diff.rows, style)]
    parts += section("Differences:", diff.sentences, style)
    return "\n\n".join([*parts, *_what_else(captured, unexported, style)])


def differences_first(
    diff: Diff, captured: Sequence[Observation], unexported: Sequence[Unexported], style: Style
) -> str:
    """Return the same as `tree_text` with the differences first, for when only the first lines are shown."""
    parts = section(f"{_summary(diff, captured)}:", diff.sentences, style)
    parts += [f"- expected, + captured:\n{trees(diff.rows, style)}"]
    return "\n\n".join([*parts, *_what_else(captured, unexported, style)])


def plain_text(
    summary: str,
    sentences: Sequence[str],
    shown: Sequence[Observation] | None,
    source: Source,
    style: Style,
    told: Sequence[Unexported] = (),
) -> str:
    """Summary, sentences, the captured trees if they are to be `shown`, and what else was not exported than `told`."""
    parts = ["\n".join([summary, *section_lines(sentences, style)])]
    if shown:
        parts.append("\n".join(["Captured:", *_tree_lines(shown, style)]))
    captured = source.observations()
    reasons = not_exported(captured, source.unexported(), style, told)
    if not captured and not reasons and not told and summary != NOTHING:
        parts.append(NOTHING)
    return "\n\n".join([*parts, *reasons])


def _summary(diff: Diff, captured: Sequence[Observation]) -> str:
    count = len(diff.sentences)
    return f"{count} {'difference' if count == 1 else 'differences'}" if captured else "nothing was captured"


def _what_else(captured: Sequence[Observation], unexported: Sequence[Unexported], style: Style) -> list[str]:
    reasons = not_exported(captured, unexported, style)
    return reasons if captured or reasons else [NOTHING]


def _tree_lines(observations: Sequence[Observation], style: Style) -> list[str]:
    lines = render(observations, style.width).splitlines()
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


def not_exported(
    captured: Iterable[Observation], unexported: Sequence[Unexported], style: Style, told: Sequence[Unexported] = ()
) -> list[str]:
    """Return what was recorded but not exported and why, and the observations that lost their parent by that.

    Of the observations that are `told` by the assertion itself, the reason is not given again.
    """
    known = {(item.observation.trace_id, item.observation.id) for item in told}
    reasons = Counter(
        f"`{name_in_sentence(item.observation.name)}` was recorded but not exported: {item.detail}"
        for item in unexported
        if (item.observation.trace_id, item.observation.id) not in known
    )
    names = {item.observation.id: item.observation.name for item in unexported}
    orphans = Counter(
        f"`{name_in_sentence(one.name)}` is shown as a root: its parent "
        + (
            f"`{name_in_sentence(names[one.parent_id])}` was not exported"
            if one.parent_id in names
            else "was not captured"
        )
        for one in captured
        if one.parent is None and one.parent_id
    )
    sentences = [text if times == 1 else f"{text} ({times} times)" for text, times in (reasons + orphans).items()]
    return section("Not exported:", sentences, style)


def _painted(row: Row, style: Style) -> str:
    line = f"{row.mark} {'  ' * min(row.depth, _DEEPEST)}{row.text}"
    if row.mark == " ":
        return line
    return style.red(line) if row.mark == "-" else style.green(line)
