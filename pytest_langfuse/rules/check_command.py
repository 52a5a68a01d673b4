"""The command `python -m pytest_langfuse.rules check`: rules over recorded traces."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.arguments import shown
from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.rules.baseline import BadBaseline, BaselineKey, baseline_text, read_baseline
from pytest_langfuse.rules.checked import CheckedPlace, entries_of, places_of, root_of
from pytest_langfuse.rules.counted import counted
from pytest_langfuse.rules.github_annotations import annotation_lines
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.one_line import one_line
from pytest_langfuse.rules.printing_command import tell
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule
from pytest_langfuse.rules.sarif import sarif
from pytest_langfuse.rules.trace_files import BadInput, RecordedTraces

if TYPE_CHECKING:
    from pytest_langfuse.rules.finding import Finding

DESCRIPTION: Final = """\
Evaluate the rules over recorded traces: OTLP export bodies (protobuf or JSON), JSON of Langfuse's API
and its exports, gzip or not; or traces that a Langfuse has. Or show what a run of pytest with
--langfuse-json=FILE has found.

Exit status: 0 if nothing counts, 1 if findings count (errors, and warnings that --select names by their codes),
2 if the input can't be used."""

EXAMPLES: Final = """\
examples:
  check incident.json                             one file
  check traces/ --ignore LF011,LF028              all files of a folder, linked with one another
  curl ... | check -                              the standard input; gzip is detected
  check --trace 5f2b... --since 1h                from Langfuse, with LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY and
                                                  LANGFUSE_BASE_URL
  check traces/ --select LF010,LF006              these alone; a warning that is named counts
  check traces/ --baseline langfuse-traces.txt    the first time writes what is found, then only new findings count
  check traces/ --format sarif > langfuse.sarif   for GitHub code scanning
  check traces/ --format github                   annotations in a job of GitHub Actions
  check run.jsonl --format sarif                  the findings of pytest --langfuse-json=run.jsonl, with their lines
"""

_DURATION: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("paths", nargs="*", metavar="FILE|DIR|-", help="files with traces, folders of them, or stdin")
    parser.add_argument("--trace", action="append", default=[], metavar="ID", help="a trace of Langfuse; repeatable")
    parser.add_argument("--since", metavar="DURATION", help="all traces of Langfuse since then, such as 30m, 1h, 7d")
    parser.add_argument("--format", choices=_FORMATS, default="text", help="default: text")
    parser.add_argument("--select", action="append", metavar="CODES", help="rules to evaluate; default: ALL")
    parser.add_argument("--ignore", action="append", default=[], metavar="CODES", help="rules not to evaluate")
    parser.add_argument(
        "--option", action="append", default=[], metavar="CODE.option=value", help="an option of a rule; repeatable"
    )
    parser.add_argument("--baseline", metavar="FILE", help="findings that don't count; without FILE this run writes it")


def check(given: argparse.Namespace) -> int:
    """Evaluate the rules, and print what they find. Return the exit status.

    Raises:
        BadInput: nothing can be checked; the message says why.
    """
    try:
        rules = RuleSet.of(words(given.select), words(given.ignore) or (), given.option)
    except UnknownRule as error:
        raise BadInput(str(error)) from None
    root = root_of(Path.cwd())
    traces = _read(given, root)
    baseline = None if given.baseline is None else Path(given.baseline)
    known = _known(baseline)
    selected = {rule.code for rule in rules.rules}
    of_runs = traces.results_of_runs(tell)
    written = [one for one in of_runs.written if one.finding.code in selected]
    # Those that are known take the places that the baseline has.
    findings = [one.finding for one in sorted(written, key=lambda one: not one.is_known)]
    try:
        findings += rules.find(evidence_of(traces.source(), "", final=True))
        for source, evaluated in of_runs.sources:
            # The run knew more of its process than its file does; and it has heard who ignores what.
            findings += rules.without(evaluated).find(evidence_of(source, "", final=True))
    except UnknownRule as error:
        raise BadInput(str(error)) from None
    before = entries_of(
        places_of([one.finding for one in written if one.is_known], rules, root=root, files=traces.files, known={})
    )
    accepted = {key: max(places, before.get(key, 0)) for key, places in {**before, **(known or {})}.items()}
    places = places_of(findings, rules, root=root, files=traces.files, known=accepted)
    if baseline is not None and known is None:
        _write(baseline, places)
        places = places_of(findings, rules, root=root, files=traces.files, known=entries_of(places))
    outcome = CheckResult(rules, findings, places, _summary(places, traces))
    for line in _FORMATS[given.format](outcome):
        print(line)  # noqa: T201 - what the command is for
    return int(any(one.fails for one in places))


def _read(given: argparse.Namespace, root: Path) -> RecordedTraces:
    since = None if given.since is None else _duration(given.since)
    if not given.paths and not given.trace and since is None:
        raise BadInput("name a file, a folder or -, or traces of Langfuse by --trace or --since")
    traces = RecordedTraces(root)
    for path in dict.fromkeys(given.paths):
        traces.add_path(path, tell)
    if given.trace or since is not None:
        traces.add_fetched(given.trace, since, tell)
    return traces


def _known(path: Path | None) -> dict[BaselineKey, int] | None:
    try:
        return None if path is None or not path.exists() else read_baseline(path)
    except (BadBaseline, ValueError) as error:
        raise BadInput(f"--baseline: {error}") from None


def _write(path: Path, places: Sequence[CheckedPlace]) -> None:
    entries = entries_of(places)
    try:
        OutputFile(path).write([baseline_text(entries)])
    except OSError as error:
        raise BadInput(f"--baseline: {path} can't be written: {error.strerror or error}") from None
    number = len(entries)
    tell(f"{number} entr{'y' if number == 1 else 'ies'} written to {path}; to update it, delete it and run this again")


def words(given: Iterable[str] | None) -> list[str] | None:
    """Return the words that options give, which commas or spaces separate; `None` if there was no such option."""
    return None if given is None else [word for text in given for word in text.replace(",", " ").split()]


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise BadInput(f"--since: {shown(text)} is not a duration such as 30m, 1h or 7d")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


# -- formats -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of a check, and a sentence on all of them."""

    rules: RuleSet
    findings: Sequence[Finding]
    places: Sequence[CheckedPlace]
    summary: str


def _text(outcome: CheckResult) -> Iterator[str]:
    for one in outcome.places:
        if not one.is_known:
            finding = one.finding
            where = f"{one.uri}:{one.line}" if one.key.path else one.uri
            trace = f" (trace {finding.trace_id})" if finding.trace_id and finding.trace_id not in one.uri else ""
            yield one_line(f"{where}: {finding.code} {finding.rule}: {one.text}{trace}")
    yield outcome.summary


def _json(outcome: CheckResult) -> Iterator[str]:
    rows: list[dict[str, Any]] = [
        {
            "code": one.finding.code,
            "rule": one.finding.rule,
            "severity": one.finding.severity,
            "text": one.finding.text,
            "fix": one.finding.fix,
            "observation": one.finding.shown_observation,
            "trace_id": one_line(one.finding.trace_id),
            "file": one.uri,
            "line": one.line,
            "function": one_line(one.key.function),
            "times": one.times,
            "fails": one.fails,
            "known": one.is_known,
            "fingerprint": one.key.fingerprint,
        }
        for one in outcome.places
    ]
    yield json.dumps({"findings": rows, "summary": outcome.summary}, indent=2)


def _sarif(outcome: CheckResult) -> Iterator[str]:
    yield sarif(outcome.places, outcome.rules.rules)


def _github(outcome: CheckResult) -> Iterator[str]:
    yield from annotation_lines(outcome.places)
    yield outcome.summary


_FORMATS: Final[Mapping[str, Callable[[CheckResult], Iterator[str]]]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}


def _summary(places: Sequence[CheckedPlace], traces: RecordedTraces) -> str:
    new = [one for one in places if not one.is_known]
    counts = ", ".join(counted(number, noun) for number, noun in traces.counts)
    what = f"{counted(sum(one.times for one in new), 'finding')} in {counts}"
    if new:
        what += f"; {sum(one.times for one in new if one.fails)} of them count"
    if known := sum(one.times for one in places if one.is_known):
        what += f"; {known} more in the baseline"
    return what
