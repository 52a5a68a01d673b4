"""`python -m pytest_langfuse.rules`: what the rules are, and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Final

from pytest_langfuse.rules import check_command
from pytest_langfuse.rules.one_line import one_line
from pytest_langfuse.rules.printing_command import status_of
from pytest_langfuse.rules.rule import all_rules
from pytest_langfuse.rules.rule_page import page_of
from pytest_langfuse.rules.rule_set import UnknownRule, codes
from pytest_langfuse.rules.trace_files import BadInput

_PROGRAM: Final = "python -m pytest_langfuse.rules"
_EXAMPLES: Final = """\
examples:
  python -m pytest_langfuse.rules explain                 all rules, a line each
  python -m pytest_langfuse.rules explain LF004           the page of a rule
  python -m pytest_langfuse.rules check traces/           evaluate the rules over recorded traces
  python -m pytest_langfuse.rules check --since 1h        ... over those of a Langfuse
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 if `check` finds something that counts, or 2 for bad input."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A name may have characters that the terminal does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Rules about traces: what they find, why, and how to mend it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    explain = commands.add_parser(
        "explain",
        help="print the page of a rule, or the list of all rules",
        epilog="examples:\n  explain          all rules, a line each\n  explain LF004    its page",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument("code", nargs="*", metavar="CODE", help="such as LF004; without one, all are listed")
    checker = commands.add_parser(
        "check",
        help="evaluate the rules over recorded traces",
        description=check_command.DESCRIPTION,
        epilog=check_command.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check_command.add_arguments(checker)
    given = parser.parse_args(arguments)
    if given.command == "check":
        try:
            return check_command.check(given)
        except BadInput as error:
            checker.exit(2, f"{parser.prog} check: {one_line(str(error))}\n")
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
    sys.exit(status_of(main, _PROGRAM))
