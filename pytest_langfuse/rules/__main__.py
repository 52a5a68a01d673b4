"""`python -m pytest_langfuse.rules`: what the rules are, and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytest_langfuse.rules.rule import all_rules
from pytest_langfuse.rules.rule_set import UnknownRule, codes

#: The pages in the wheel; a checkout has them in its documentation.
_PAGES: Final = (Path(__file__).with_name("pages"), Path(__file__).parents[2] / "docs" / "rules")


def page_of(code: str) -> str:
    """Return the page of a rule, in Markdown."""
    for folder in _PAGES:
        if (page := folder / f"{code}.md").is_file():
            return page.read_text(encoding="utf-8")
    rule = all_rules()[code]
    return f"# {code}: {rule.name}\n\n{rule.check.__doc__}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_langfuse.rules",
        description="Rules about traces: what they find, why, and how to mend it.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    explain = commands.add_parser("explain", help="print the page of a rule, or the list of all rules")
    explain.add_argument("code", nargs="*", metavar="CODE", help="such as LF004; without one, all are listed")
    given = parser.parse_args(arguments)
    try:
        chosen = list(codes(given.code))
    except UnknownRule as error:
        explain.error(str(error))
    if chosen:
        print("\n".join(map(page_of, chosen)), end="")  # noqa: T201 - what the command is for
    for rule in all_rules().values() if not chosen else ():
        print(f"{rule.code}  {rule.severity:7}  {rule.name}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
