"""`python -m pytest_langfuse.report`: what is made of the lines of a run later: its page, its summary, a comparison."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from pytest_langfuse.arguments import shown
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.report.compared_rows import compared_rows, compared_run
from pytest_langfuse.report.comparison_lines import why_exceeded
from pytest_langfuse.report.comparison_report import TITLE, text_of
from pytest_langfuse.report.file_beginnings import LINES, PAGE
from pytest_langfuse.report.merged_runs import MergedRuns, Row, names_of
from pytest_langfuse.report.page.html_page import html_of
from pytest_langfuse.report.redaction import Redaction
from pytest_langfuse.report.row_file import STREAM, BadRowFile, RowFile
from pytest_langfuse.report.run_comparison import RunComparison
from pytest_langfuse.report.run_summary import RunSummary
from pytest_langfuse.report.step_summary import append, markdown
from pytest_langfuse.rules.check_command import words
from pytest_langfuse.rules.one_line import one_line
from pytest_langfuse.rules.printing_command import status_of, tell
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule
from pytest_langfuse.rules.secrets.chosen_redactor import choose_redactor
from pytest_langfuse.rules.secrets.environment_keys import keys_of_environment

_PROGRAM: Final = "python -m pytest_langfuse.report"
_DESCRIPTION: Final = """\
Make a page of HTML that shows the traces of a run, from what pytest --langfuse-json=FILE has written; or recorded
traces: OTLP export bodies (protobuf or JSON) and JSON of Langfuse's API. Or write the summary of a run as Markdown, or
compare it with an earlier run. The page is one file: it opens from a disk, needs no network, and shows what is wrong
where scripts are not allowed, too. Recorded traces are checked by the rules, as in a run; what a run has found is in
its file.

Several files, such as those of the shards of a CI, are taken as one run. A test that is in several of them, as after a
job was repeated, counts once: with the run that began last. A line says so.

Exit status: 0 if all is written, 1 if something can't be written (also over a file of anything else, which would be
lost), 2 if the input can't be used, 3 if a test uses more than --max-cost-increase or --max-token-increase allows; all
is written then, too."""
_EXAMPLES: Final = """\
examples:
  python -m pytest_langfuse.report run.jsonl -o report.html
  python -m pytest_langfuse.report worker-*.jsonl -o report.html    one page of several runs, such as the shards of a CI
  python -m pytest_langfuse.report run-1.jsonl run-2.jsonl --compare main-1.jsonl --compare main-2.jsonl -o report.html
                                                                    ... compared with the shards of an earlier run
  python -m pytest_langfuse.report run.jsonl --compare main.jsonl --max-token-increase 10%
  python -m pytest_langfuse.report run.jsonl --summary "$GITHUB_STEP_SUMMARY"
  python -m pytest_langfuse.report incident.json -o incident.html   traces that were recorded in production
  python -m pytest_langfuse.report incident.json -o incident.html --ignore LF008,LF011
  zcat run.jsonl.gz | python -m pytest_langfuse.report - -o report.html
"""
_NOTHING: Final = (
    "nothing to do: give -o REPORT.html for a page, --summary FILE for Markdown, or --compare FILE for what has changed"
)
#: What RunComparison calls the limits, and the options that set them.
_LIMITS: Final = {"max_cost_increase": "--max-cost-increase", "max_token_increase": "--max-token-increase"}
#: As pytest has it: a terminal that is narrower does not tell its width.
_NARROWEST: Final = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A name may have characters that the terminal does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    given = parser.parse_args(arguments)
    limits = _limits(parser, given)
    if given.output is None and given.summary is None and not given.compare:
        parser.error(_NOTHING)
    page, summary = map(_output, (given.output, given.summary))
    _check_outputs(parser, given, page, summary)
    try:
        with ExitStack() as stack:
            rules = RuleSet.of(words(given.select), words(given.ignore) or (), given.option)
            redaction = Redaction(keys_of_environment(), rules.own_patterns)
            stack.callback(choose_redactor(redaction))
            runs = _runs(stack, given.files, "")
            rows: Iterator[Row] = map(redaction.row, runs.rows(rules))
            comparison, earlier = None, ""
            if given.compare:
                before = _runs(stack, given.compare, "--compare: ")
                comparison, earlier = _comparison(before, runs, redaction, limits), names_of(before.files)
                rows = compared_rows(rows, comparison, earlier, redaction)
            problems = _write(rows, page, summary)
    except (BadRowFile, UnknownRule) as error:
        parser.exit(2, f"{_PROGRAM}: {error}\n")
    # What is printed does not belong into a page.
    stream = sys.stderr if any(one is not None and one.descriptor == 1 for one in (page, summary)) else sys.stdout
    if comparison is not None:
        _print_comparison(comparison, earlier, stream, whole=given.verbose)
    for file, problem in problems.items():
        name = given.output if file is page else given.summary
        tell(f"{_PROGRAM}: {shown(name)} can't be written: {problem}")
    if page is not None and page.descriptor is None and page not in problems:
        print(given.output, file=stream)
    exceeded = None if comparison is None else why_exceeded(comparison)
    status = 1 if problems else 0 if exceeded is None else 3
    if exceeded is not None:
        print(f"langfuse: {exceeded} (exit status {status})", file=stream)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE|-", help="a file of --langfuse-json or of traces, gzip or not"
    )
    parser.add_argument("-o", "--output", metavar="REPORT.html|-", help="the page to write")
    parser.add_argument(
        "--summary",
        metavar="FILE|-",
        help="add the summary of the run to a file of Markdown, as pytest does in GitHub Actions, up to 1 MiB",
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="FILE",
        help="print what has changed since the run in this file of --langfuse-json, gzip or not, and write it to page "
        "and summary; repeatable: each file of a run in shards",
    )
    for name, what in (("cost", "how much more a test may cost"), ("token", "how many more tokens a test may use")):
        parser.add_argument(
            f"--max-{name}-increase",
            metavar="PERCENTAGE",
            help=f"{what} than in the run of --compare, such as 10%%",
        )
    parser.add_argument("-v", "--verbose", action="store_true", help="print all of a long comparison")
    parser.add_argument("--select", action="append", metavar="CODES", help="rules to evaluate; default: ALL")
    parser.add_argument("--ignore", action="append", default=[], metavar="CODES", help="rules not to evaluate")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="CODE.option=value",
        help="an option of a rule; LF010.pattern.NAME=REGULAR EXPRESSION names own secrets, which are left out of all "
        "that is written",
    )
    return parser


def _limits(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Mapping[str, float]:
    """Return the limits that are given, as ratios."""
    texts = {name: getattr(given, name) for name in _LIMITS if getattr(given, name) is not None}
    if not texts:
        return {}
    # Imported here, as pytest with it.
    import pytest

    from pytest_langfuse.options import percentage_in

    limits = {}
    for name, text in texts.items():
        option = _LIMITS[name]
        if not given.compare:
            parser.error(f"{option} needs --compare FILE, the run that this one is compared with")
        if not text.strip():
            parser.error(f"{option} needs a value, such as {option}=10%; leave it out for none")
        try:
            limits[name] = percentage_in(text, option)
        except pytest.UsageError as error:
            parser.error(str(error))
    return limits


# -- files -------------------------------------------------------------------------------------------------------


def _output(name: str | None) -> OutputFile | None:
    return None if name is None else OutputFile(Path("/dev/stdout" if name == STREAM else name))


def _check_outputs(
    parser: argparse.ArgumentParser, given: argparse.Namespace, page: OutputFile | None, summary: OutputFile | None
) -> None:
    """End the command if a file can't be written, or would be lost."""
    both = [one.identity for one in (page, summary) if one is not None]
    if len(both) > 1 and both[0] is not None and both[0] == both[1]:
        parser.error(f"-o and --summary name the same file, {shown(given.summary)}; name two")
    inputs = {_identity(name): f"the input {shown(name)}" for name in given.files}
    for name in given.compare:
        if _identity(name) in inputs:
            parser.error(f"--compare: {shown(name)} is an input, too; name the file of an earlier run")
    inputs |= {_identity(name): f"the run to compare with, {shown(name)}" for name in given.compare}
    for file, name, what, beginnings in (
        (page, given.output, "page", PAGE),
        (summary, given.summary, "summary", ()),
    ):
        if file is None:
            continue
        problem = ""
        if file.identity is not None and (known := inputs.get(file.identity)) is not None:
            problem = f"is {known}; name another file for the {what}"
        elif not (problem := file.problem(beginnings)) and file is summary and file.begins_with((*LINES, *PAGE)):
            problem = "holds a page or lines of a run; name a file of Markdown"
        if problem:
            parser.exit(1, f"{_PROGRAM}: {shown(name)} can't be written: it {problem}\n")


def _identity(name: str) -> object:
    """Return an object that is equal for two names of one file."""
    return name if name == STREAM else OutputFile(Path(name)).identity


def _runs(stack: ExitStack, names: Sequence[str], source: str) -> MergedRuns:
    """Return the runs in files, of which each is read once; `source` is the option that names them."""
    by_file: dict[object, str] = {}
    for name in names:
        by_file.setdefault(_identity(name), name)
    try:
        runs = MergedRuns([stack.enter_context(RowFile(name)) for name in by_file.values()])
    except BadRowFile as error:
        raise BadRowFile(f"{source}{error}") from None
    if runs.note:
        tell(f"{source}{hidden(runs.note)}")
    return runs


def _comparison(
    before: MergedRuns, runs: MergedRuns, redaction: Redaction, limits: Mapping[str, float]
) -> RunComparison:
    after = compared_run(runs, redaction, "{} can't be compared: it")
    earlier = compared_run(before, redaction, "--compare: {}")
    return RunComparison(earlier, after, limits.get("max_cost_increase"), limits.get("max_token_increase"))


# -- outputs -----------------------------------------------------------------------------------------------------


def _write(rows: Iterable[Row], page: OutputFile | None, summary: OutputFile | None) -> dict[OutputFile, str]:
    """Write the files. Return why one could not be written."""
    problems = {}
    found = RunSummary()

    def read() -> Iterator[Row]:
        for row in rows:
            found.add(row)
            yield row

    if page is not None:
        texts = html_of(read())
        # The first text of the page comes when all is read: so the summary is whole, also of a page that is not.
        first = next(texts)
        try:
            page.write(chain([first], texts))
        except OSError as error:
            problems[page] = error.strerror or str(error)
    if summary is not None:
        if page is None:
            for _ in read():
                pass
        try:
            append(summary, markdown(found))
        except OSError as error:
            problems[summary] = error.strerror or str(error)
    return problems


def _print_comparison(comparison: RunComparison, name: str, stream: TextIO, *, whole: bool) -> None:
    """Print what has changed as pytest does."""
    columns = shutil.get_terminal_size().columns
    lines = [f" {TITLE} ".center(columns if columns >= _NARROWEST else 80, "=")]
    lines += (one_line(line.text) for line in text_of(comparison, name, whole=whole))
    print("\n".join(lines), file=stream)


if __name__ == "__main__":
    sys.exit(status_of(main, _PROGRAM))
