"""A line of a literal with its colours: its type, its name, keys, comments, and levels that are not well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_langfuse.expect.text.style import Style

_TYPE, _NAME, _KEY, _FAINT = "36", "1", "34", "2"
#: Colours of values of `level`.
_LEVELS: Final = {"level=ERROR": "1;31", "level=WARNING": "1;33"}


@dataclass(frozen=True, slots=True)
class ShownLine:
    """The parts of a line: `mark` is `>>`, `kind` a type, `*` or `#`, and `comment` what follows the conditions."""

    indent: str = ""
    mark: str = ""
    kind: str = ""
    name: str = ""
    conditions: Sequence[str] = ()
    comment: str = ""

    @property
    def text(self) -> str:
        """The line without colours."""
        parts = (self.mark, self.kind, self.name, *self.conditions, self.comment)
        return self.indent + " ".join(filter(None, parts))

    def painted(self, style: Style) -> str:
        """Return the line with its colours, if `style` has any."""
        if not style.color:
            return self.text
        kind = _FAINT if self.kind.startswith(("#", "*")) else _TYPE
        parts = (
            self.mark,
            style.painted(self.kind, kind),
            style.painted(self.name, _NAME),
            *(_condition(text, style) for text in self.conditions),
            style.painted(self.comment, _FAINT),
        )
        return self.indent + " ".join(filter(None, parts))


def _condition(text: str, style: Style) -> str:
    if (codes := _LEVELS.get(text)) is not None:
        return style.painted(text, codes)
    key, sign, value = text.partition("=")
    return f"{style.painted(key + sign, _KEY)}{value}" if sign else text


def faint(text: str, style: Style) -> str:
    """Return what is said beside a line."""
    return style.painted(text, _FAINT)
