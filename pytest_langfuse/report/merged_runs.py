"""The runs in several files, such as the shards of a CI, as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_langfuse.recording.sources.json_lines import LINES_OF_TRACES, Line
from pytest_langfuse.recording.sources.last_runs import LastRuns
from pytest_langfuse.recording.sources.static import linked
from pytest_langfuse.report.row_file import BadRowFile, RowFile
from pytest_langfuse.report.sent_images import DistinctImages

if TYPE_CHECKING:
    from pytest_langfuse.rules.rule_set import RuleSet

Row = Mapping[str, Any]


class MergedRuns:
    """Reads files as one run. Of a test that several runs have, the run that began last counts; `note` says so.

    Recorded traces are linked over all files that hold some. Nothing is kept but the ids of tests: each reading opens
    the files again.
    """

    def __init__(self, files: Sequence[RowFile]) -> None:
        """Look which tests are in which file.

        Raises:
            BadRowFile: a file can't be used.
        """
        self.files = files
        self._last = LastRuns()
        #: The numbers of the files that hold runs, in the order in which these were added.
        self._runs: dict[RowFile, int] = {}
        #: The lines of the runs themselves.
        self._heads: list[tuple[RowFile, Row]] = []
        #: Those that hold recorded traces.
        self._traces: list[RowFile] = []
        for file in files:
            with file.errors_named():
                if not file.has_lines:
                    self._traces.append(file)
                elif len(files) > 1:
                    self._add(file)
        self.note = self._last.note

    def _add(self, file: RowFile) -> None:
        rows = [line.row for line in file.lines(left_out=LINES_OF_TRACES)]
        self._runs[file] = len(self._runs)
        self._last.add(rows)
        self._heads += ((file, row) for row in rows if row["kind"] == "run")

    def lines_of(self, file: RowFile) -> Iterator[Line]:
        """Yield the lines of a file with runs, without those of tests that do not count.

        Raises:
            DecodeError: as `RowFile.lines`.
            OSError: as `RowFile.lines`.
        """
        return (line for line in file.lines() if self._counts(file, line.row))

    def rows(self, rules: RuleSet) -> Iterator[dict[str, Any]]:
        """Yield the lines of all files; `rules` look at recorded traces.

        Raises:
            BadRowFile: as `RowFile.rows`.
        """
        images, facts = DistinctImages(), self._facts()
        for file in self.files:
            for row in self._rows_of(file, rules):
                if row["kind"] == "run":
                    yield {**row, **self._status_of(file, row), **facts}
                    facts = dict.fromkeys(facts)
                elif row["kind"] == "media":
                    # Of all tests that have sent it, the first one has it, which may be one that does not count.
                    yield from images.distinct(row)
                elif self._counts(file, row):
                    yield row

    def _rows_of(self, file: RowFile, rules: RuleSet) -> Iterator[dict[str, Any]]:
        """Yield the lines of a file; of recorded traces those of all files, and none for the second file and others."""
        if file not in self._traces:
            return file.rows()
        return self._rows_of_traces(rules) if file is self._traces[0] else iter(())

    def _rows_of_traces(self, rules: RuleSet) -> Iterator[dict[str, Any]]:
        # Imported here: a run needs none of it.
        from pytest_langfuse.report.recorded_rows import rows_of_traces
        from pytest_langfuse.rules.rule_set import UnknownRule

        try:
            yield from rows_of_traces(linked([file.traces() for file in self._traces]), names_of(self._traces), rules)
        except UnknownRule as error:
            raise BadRowFile(str(error)) from None

    def _counts(self, file: RowFile, row: Row) -> bool:
        run = self._runs.get(file)
        return run is None or self._last.counts(run, row)

    def _status_of(self, file: RowFile, row: Row) -> dict[str, Any]:
        """Return the exit status of a run of which nothing that was wrong counts, as a field; else nothing."""
        run = self._runs.get(file)
        if run is None or (self._last.has_any(run) and (row.get("errors") or not self._last.is_mended(run))):
            return {}
        return {"exit_status": 0}

    def _facts(self) -> dict[str, Any]:
        """Return the fields of the line of the run that are about all runs; none for a single file."""
        if len(self.files) == 1:
            return {}
        # A run that was repeated as a whole has nothing more to say.
        heads = [(file.name, row) for file, row in self._heads if self._last.has_any(self._runs[file])]
        incomplete, errors = (
            [f"{name}: {one}" for name, row in heads for one in _list(row.get(field))]
            for field in ("incomplete", "errors")
        )
        compared = [(name, one) for name, row in heads if isinstance(one := row.get("compared"), dict)]
        return {
            "incomplete": [*incomplete, *filter(None, [self.note])],
            "errors": errors,
            "compared": _compared(compared) if compared else None,
        }


def names_of(files: Sequence[RowFile]) -> str:
    """Return how several files are called in a text."""
    first, *more = files
    return f"{first.name} and {len(more)} more file{'s' * (len(more) > 1)}" if more else first.name


def _compared(compared: Sequence[tuple[str, Row]]) -> Row:
    """Return what runs say of an earlier one that each of them was compared with, by the names of their files."""
    names = dict.fromkeys(str(one.get("with", "")) for _, one in compared)
    # Each shard misses the tests of the others.
    first, *others = (dict.fromkeys(map(str, _list(one.get("missing")))) for _, one in compared)
    return {
        "with": ", ".join(names),
        "sentence": "; ".join(f"{name}: {one.get('sentence', '')}" for name, one in compared),
        "exceeded": sum(one["exceeded"] for _, one in compared if isinstance(one.get("exceeded"), int)),
        "not_judged": [f"{name}: {sentence}" for name, one in compared for sentence in _list(one.get("not_judged"))],
        "added": [pair for _, one in compared for pair in _list(one.get("added"))],
        "missing": [test for test in first if all(test in missing for missing in others)],
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
