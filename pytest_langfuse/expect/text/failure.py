"""The text of a failed assertion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from pytest_langfuse.expect.text.diff import Diff, Row
from pytest_langfuse.expect.text.fold import folded
from pytest_langfuse.expect.text.not_exported import Bearing, any_of, everything, not_exported
from pytest_langfuse.expect.text.overview import overview_lines
from pytest_langfuse.expect.text.shortened import shortened
from pytest_langfuse.expect.text.style import ERROR_MARGIN, MARGIN, Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.source import Source

#: Without -vv: rows of the trees, and sentences of one kind.
_ROWS: Final = 1_000
_TREE: Final = 100
_SENTENCES: Final = 500
#: Names that are looked for in sentences.
_SPACED: Final = 200


def tree_text(diff: Diff, source: Source, style: Style) -> str:
    """Summary, both trees, the differences, and what of it was recorded but not exported."""
    captured = source.observations()
    parts = [f"{_summary(diff, captured)} (- expected, + captured):", trees(diff.rows, style)]
    parts += section("Differences:", diff.sentences, style, _spaced(captured, diff))
    return "\n\n".join([*parts, *_what_else(diff, source, style)])


def differences_first(diff: Diff, source: Source, style: Style) -> str:
    """Return the same as `tree_text` with the differences first, for when only the first lines are shown."""
    captured = source.observations()
    parts = section(f"{_summary(diff, captured)}:", diff.sentences, style, _spaced(captured, diff))
    parts += [f"- expected, + captured:\n{trees(diff.rows, style)}"]
    return "\n\n".join([*parts, *_what_else(diff, source, style)])


def plain_text(
    summary: str,
    sentences: Sequence[str],
    shown: Sequence[Observation] | None,
    not_exported: Sequence[str],
    source: Source,
    style: Style,
) -> str:
    """Summary, sentences, the captured trees if they are to be `shown`, and what of it was `not_exported`."""
    parts = ["\n".join([summary, *section_lines(sentences, style, _spaced(source.observations()))])]
    if shown:
        parts.append("\n".join(["Captured:", *_tree_lines(shown, style)]))
    parts += section("Not exported:", not_exported, style)
    return "\n\n".join(parts)


def nothing_text(because: Sequence[str], source: Source, bears: Bearing, style: Style) -> str:
    """Why nothing was captured: `because` of what was not exported, or what the source knows if that is nothing."""
    return section(*_nothing(because, source, bears), style)[0]


def _nothing(because: Sequence[str], source: Source, bears: Bearing) -> tuple[str, Sequence[str]]:
    if because:
        return "Not exported:", because
    return "Nothing was captured:", source.why_empty(bears)


def _summary(diff: Diff, captured: Sequence[Observation]) -> str:
    count = len(diff.sentences)
    return f"{count} {'difference' if count == 1 else 'differences'}" if captured else "nothing was captured"


def _what_else(diff: Diff, source: Source, style: Style) -> list[str]:
    bears = any_of(line.name for line in diff.missing)
    if source.observations():
        return section("Not exported:", not_exported(source.unexported(), bears, diff.unexpected), style)
    return [nothing_text(not_exported(source.unexported(), everything), source, bears, style)]


def _spaced(captured: Sequence[Observation], diff: Diff | None = None) -> Collection[str]:
    """The names that a sentence may hold and that have a space: a line is not broken there."""
    names = dict.fromkeys(one.name for one in captured if " " in one.name)
    if diff is not None:
        names.update(dict.fromkeys(line.name.text for line in diff.missing if " " in line.name.text))
    return list(names)[:_SPACED]


def _tree_lines(observations: Sequence[Observation], style: Style) -> list[str]:
    lines = shortened(overview_lines(observations, ()), None if style.whole else _TREE)
    return [f"  {line.shown(style, MARGIN).painted(style)}" for line in lines]


def trees(rows: Sequence[Row], style: Style) -> str:
    """The aligned trees, without the parts that are equal and far from any difference."""
    shown = rows if style.whole else folded(rows)
    lines = [_painted(row, style) for row in (shown if style.whole else shown[:_ROWS])]
    if len(lines) < len(shown):
        lines.append(f"  # {len(shown) - len(lines):,} more lines (-vv shows all)")
    return "\n".join(lines)


def section(title: str, sentences: Sequence[str], style: Style, names: Collection[str] = ()) -> list[str]:
    """A title and its sentences; nothing if there are none."""
    return ["\n".join([title, *section_lines(sentences, style, names)])] if sentences else []


def section_lines(sentences: Sequence[str], style: Style, names: Collection[str] = ()) -> list[str]:
    """Sentences, indented, in lines that fit the terminal; `names` are not broken."""
    shown = sentences if style.whole else sentences[:_SENTENCES]
    more = [f"  … {len(sentences) - len(shown):,} more (-vv shows all)"] if len(shown) < len(sentences) else []
    return [*(line for sentence in shown for line in style.wrapped(sentence, ERROR_MARGIN, names)), *more]


def _painted(row: Row, style: Style) -> str:
    line = f"{row.mark} {style.indent(row.depth, MARGIN)}{row.text}"
    if row.mark == " ":
        return line
    return style.red(line) if row.mark == "-" else style.green(line)
