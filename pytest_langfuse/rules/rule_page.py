"""The pages of rules."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_langfuse.rules.rule import all_rules

#: The pages in the wheel; a checkout has them in its documentation.
_PAGES: Final = (Path(__file__).with_name("pages"), Path(__file__).parents[2] / "docs" / "rules")


def page_of(code: str) -> str:
    """Return the page of a rule, in Markdown."""
    for folder in _PAGES:
        if (page := folder / f"{code}.md").is_file():
            return page.read_text(encoding="utf-8")
    rule = all_rules()[code]
    return f"# {code}: {rule.name}\n\n{rule.check.__doc__}\n"
