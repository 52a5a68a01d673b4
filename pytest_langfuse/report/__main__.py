"""`python -m pytest_langfuse.report`: make the page of a run later, from its lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, cast

from pytest_langfuse.arguments import shown
from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.recording.sources.readable_file import require_file, standard_input
from pytest_langfuse.report.file_beginnings import PAGE
from pytest_langfuse.report.page.html_page import html_of
from pytest_langfuse.report.redaction import Redaction
from pytest_langfuse.report.row_file import BadRowFile, rows_in
from pytest_langfuse.rules.check_command import words
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule
from pytest_langfuse.rules.secrets.environment_keys import keys_of_environment

#: What the command line calls the standard input, and the standard output.
_STREAM: Final = "-"
_DESCRIPTION: Final = """\
Make a page of HTML that shows the traces of a run, from what pytest --langfuse-json=FILE has written; or recorded
traces: OTLP export bodies (protobuf or JSON) and JSON of Langfuse's API. The page is one file: it opens from a disk,
needs no network, and shows what is wrong where scripts are not allowed, too. Recorded traces are checked by the rules,
as in a run; what a run has found is in its file.

Exit status: 0 if the page is written, 1 if it can't be written (also over a file of anything else, which would be
lost), 2 if the input can't be used."""
_EXAMPLES: Final = """\
examples:
  python -m pytest_langfuse.report run.jsonl -o report.html
  python -m pytest_langfuse.report worker-*.jsonl -o report.html    one page of several runs, such as the shards of a CI
  python -m pytest_langfuse.report incident.json -o incident.html   traces that were recorded in production
  python -m pytest_langfuse.report incident.json -o incident.html --ignore LF008,LF011
  zcat run.jsonl.gz | python -m pytest_langfuse.report - -o report.html
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_langfuse.report",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE|-", help="a file of --langfuse-json or of traces, gzip or not"
    )
    parser.add_argument("-o", "--output", required=True, metavar="REPORT.html|-", help="the page to write")
    parser.add_argument("--select", action="append", metavar="CODES", help="rules to evaluate; default: ALL")
    parser.add_argument("--ignore", action="append", default=[], metavar="CODES", help="rules not to evaluate")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="CODE.option=value",
        help="an option of a rule; LF010.pattern.NAME=REGULAR EXPRESSION names own secrets, which the page leaves out",
    )
    given = parser.parse_args(arguments)
    output = OutputFile(Path("/dev/stdout" if given.output == _STREAM else given.output))
    if problem := _problem_of(output, given.files):
        parser.exit(1, f"{parser.prog}: {shown(given.output)} can't be written: it {problem}\n")
    try:
        rules = RuleSet.of(words(given.select), words(given.ignore) or (), given.option)
        output.write(html_of(_rows(given.files, rules)))
    except (BadRowFile, UnknownRule) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(1, f"{parser.prog}: {shown(given.output)} can't be written: {error.strerror or error}\n")
    if output.descriptor is None:
        print(given.output)  # noqa: T201 - what the command is for
    return 0


def _problem_of(output: OutputFile, inputs: Sequence[str]) -> str:
    """Return why the page can't be written there; empty if it can."""
    for name in inputs:
        if name != _STREAM and output.identity is not None and OutputFile(Path(name)).identity == output.identity:
            return f"is the input {shown(name)}; name another file for the page"
    return output.problem(PAGE)


def _rows(names: Sequence[str], rules: RuleSet) -> Iterator[dict[str, Any]]:
    """Yield the lines of all files, without secrets, wherever the files come from.

    Raises:
        BadRowFile: one can't be used.
    """
    redaction = Redaction(keys_of_environment(), rules.own_patterns)
    for name in names:
        shown_name = "the standard input" if name == _STREAM else name
        with ExitStack() as stack:
            try:
                if name == _STREAM:
                    file = cast("BufferedReader", standard_input())
                else:
                    require_file(Path(name))
                    file = stack.enter_context(Path(name).open("rb"))
                yield from map(redaction.row, rows_in(file, shown_name, rules))
            except OSError as error:
                raise BadRowFile(f"{shown(name)} can't be read: {error.strerror or error}") from None


if __name__ == "__main__":
    sys.exit(main())
