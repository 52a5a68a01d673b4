"""Files of runs that are compared with those of an earlier run, as `pytest --langfuse-compare` compares a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.sources.json_lines import EXCEEDED, FAILED, TestKey
from pytest_langfuse.report.compared_run import BadComparison, ComparedRun
from pytest_langfuse.report.comparison_lines import (
    compared_field,
    comparison_rows,
    exceeded_messages,
    is_why_exceeded,
    why_exceeded,
)
from pytest_langfuse.report.row_file import BadRowFile

if TYPE_CHECKING:
    from pytest_langfuse.report.merged_runs import MergedRuns
    from pytest_langfuse.report.redaction import Redaction
    from pytest_langfuse.report.run_comparison import RunComparison

Row = Mapping[str, Any]


def compared_run(runs: MergedRuns, redaction: Redaction, refusal: str) -> ComparedRun:
    """Return what is compared of the tests in files of runs.

    `refusal` is the beginning of the message about a file that can't be compared, such as `--compare: {}`, in which its
    name takes the place of the braces.

    Raises:
        BadRowFile: a file is not one of a run, or is not whole.
    """
    found = ComparedRun()
    for file in runs.files:
        try:
            found.add_file(file, runs.lines_of(file), redaction.row)
        except BadComparison as error:
            raise BadRowFile(f"{refusal.format(shown(file.given))} {error}") from None
    try:
        found.require_tests()
    except BadComparison as error:
        raise BadRowFile(f"{refusal.format(shown(runs.files[0].given))} {error}") from None
    return found


def compared_rows(rows: Iterable[Row], comparison: RunComparison, name: str, redaction: Redaction) -> Iterator[Row]:
    """Yield the lines of runs, which are without secrets, with what has changed since the run that is called `name`.

    What they say of a run that they were compared with before is left out.
    """
    changes = dict(comparison_rows(comparison))
    messages, exceeded = exceeded_messages(comparison), why_exceeded(comparison)
    compared = redaction.without_secrets(compared_field(comparison, name))
    for row in rows:
        if row["kind"] == "run":
            yield {**row, **_outcome_of_run(row, comparison, exceeded), "compared": compared}
            # It is told once, of all runs.
            exceeded = None
        elif row["kind"] == "test":
            key: TestKey = row["test"], row["fault"]
            yield _judged(row, messages.get(key))
            if (change := changes.get(key)) is not None:
                ids = {"kind": "comparison", "test": row["test"], "fault": row["fault"]}
                yield {**ids, **redaction.without_secrets(change)}
        elif row["kind"] != "comparison":
            yield row


def _outcome_of_run(row: Row, comparison: RunComparison, exceeded: str | None) -> Row:
    """Return why a run fails by this comparison, and its exit status, as fields."""
    before = row.get("errors") or []
    errors = [one for one in before if not is_why_exceeded(one)]
    # What it was compared with before was all that was wrong with it.
    was_well = len(errors) < len(before) and not errors
    was_well = was_well and not any(test.outcome in FAILED for test in comparison.after.tests.values())
    found: dict[str, Any] = {"errors": errors if exceeded is None else [exceeded, *errors]}
    return {**found, "exit_status": 0} if was_well else found


def _judged(row: Row, message: str | None) -> Row:
    """Return the line of a test with the outcome that it has by this comparison; `message` if it uses too much."""
    if row["outcome"] == EXCEEDED:
        row = {**row, "outcome": "passed", "message": ""}
    return row if message is None or row["outcome"] != "passed" else {**row, "outcome": EXCEEDED, "message": message}
