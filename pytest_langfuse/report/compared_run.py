"""The tests of a run, as far as another run is compared with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.sources.json_lines import Line, TestKey
from pytest_langfuse.report.compared_test import ComparedObservation, ComparedTest
from pytest_langfuse.report.figures import counted
from pytest_langfuse.report.line_schema import problem_of
from pytest_langfuse.report.row_file import RowFile

#: The fields that are read, by the kinds of lines.
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "test": ("test", "fault", "outcome", "duration", "tokens", "cost", "models"),
    "observation": ("test", "fault", "trace", "id", "parent", "type", "name", "start", "exported"),
}
#: Fields that are read, too, where a line has them: earlier versions have not written all of them.
_MORE: Final = (
    *("kind", "collection", "cost_estimated", "fixtures_duration", "missing"),
    *("level", "model", "usage", "cost", "reason", "fixture"),
)


class BadComparison(ValueError):  # noqa: N818 - reads as what happened
    """A file that is not one of a run; the message says why."""


class ComparedFixture(NamedTuple):
    """A fixture of a wider scope than one test: what it has made, and the test in which it was set up."""

    made: ComparedTest
    test: TestKey


class ComparedRun:
    """The tests of a run, by id and fault."""

    def __init__(self) -> None:
        self.tests: dict[TestKey, ComparedTest] = {}
        #: Whether the lines tell what fixtures have made. Those of earlier versions don't.
        self.tells_fixtures = True

    @classmethod
    def of_file(cls, path: Path) -> ComparedRun:
        """Return the tests in a file of `--langfuse-json`.

        Raises:
            BadComparison: it can't be read, or holds anything else.
        """
        found = cls()
        with RowFile(str(path)) as file:
            found.add_file(file, file.lines())
        found.require_tests()
        return found

    def add_file(
        self, file: RowFile, lines: Iterable[Line], read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    ) -> None:
        """Add the tests in `lines` of a file, which are whole; `read` returns what is to be compared of a line.

        Raises:
            BadComparison: it can't be read, or holds anything else; the message does not name the file.
        """
        told: list[tuple[int, TestKey, Any]] = []
        try:
            if not file.begins_as_run:
                raise BadComparison("is not a file of --langfuse-json")
            for line in lines:
                if (fields := _FIELDS.get(line.row["kind"])) is None:
                    continue
                if (problem := problem_of(line.row, fields)) is not None:
                    raise BadComparison(f"can't be read: line {line.number}: {problem}")
                row = read({name: line.row[name] for name in (*fields, *_MORE) if name in line.row})
                self.add(row)
                if row["kind"] == "test" and not row.get("collection"):
                    told.append((line.number, (row["test"], row["fault"]), line.row.get("observations")))
        except OSError as error:
            raise BadComparison(f"can't be read: {error.strerror or error}") from None
        except DecodeError as error:
            raise BadComparison(f"can't be read: {error}") from None
        for number, key, observations in told:
            self._check_whole(number, key, observations)

    def require_tests(self) -> None:
        """Raise for a run without tests.

        Raises:
            BadComparison: there are none.
        """
        if not self.tests:
            raise BadComparison("has no tests: it is of an earlier version, or of a run in which no test began")

    def _check_whole(self, number: int, key: TestKey, told: Any) -> None:
        """Raise if the lines of observations are not as many as the line of their test says."""
        nodes = len(self.tests[key].nodes)
        if isinstance(told, int) and told != nodes:
            counts = f"{counted(told, 'observation')}, and lines of {nodes}"
            raise BadComparison(f"is not whole: line {number}: the test {shown(key[0])} has {counts}")

    @classmethod
    def of(cls, lines: Iterable[str]) -> ComparedRun:
        """Return the tests in the lines of a run."""
        found = cls()
        for line in lines:
            row = json.loads(line)
            if row["kind"] in {"test", "observation"}:
                found.add(row)
        return found

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a test, or an observation of a test that was added."""
        key = row["test"], row["fault"]
        if row.get("collection"):
            # A module that could not be collected does not count as a test.
            return
        if row["kind"] == "test":
            self.tests[key] = ComparedTest.of(row)
        elif (test := self.tests.get(key)) is not None:
            test.made.append(ComparedObservation.of(row))
            self.tells_fixtures = self.tells_fixtures and "fixture" in row

    def tests_alone(self) -> dict[TestKey, ComparedTest]:
        """Return the tests without what fixtures of a wider scope made in them: whichever ran first or last has that.

        Their durations are without the time of these fixtures.
        """
        return {
            key: test.with_only([one for one in test.made if one.fixture is None]) if _has_fixture(test) else test
            for key, test in self.tests.items()
        }

    def fixtures(self) -> dict[str, ComparedFixture]:
        """Return what fixtures of a wider scope made, by what they are called.

        Of one that was set up several times, as by each worker of xdist, the time when it used most.
        """
        times: dict[tuple[str, str], list[ComparedObservation]] = {}
        tests: dict[tuple[str, str], TestKey] = {}
        for key, test in self.tests.items():
            for one in test.made:
                if one.fixture is not None:
                    time = _name_of(one.fixture), str(one.fixture.get("set_up"))
                    times.setdefault(time, []).append(one)
                    tests.setdefault(time, key)
        found: dict[str, ComparedFixture] = {}
        for time, made in times.items():
            name, _ = time
            fixture = ComparedFixture(ComparedTest.of_fixture(name, made), tests[time])
            if name not in found or _use(fixture.made) > _use(found[name].made):
                found[name] = fixture
        return found


def _has_fixture(test: ComparedTest) -> bool:
    return bool(test.fixtures_duration) or any(one.fixture is not None for one in test.made)


def _use(made: ComparedTest) -> tuple[float, float, int]:
    return made.tokens or 0.0, made.cost or 0.0, len(made.nodes)


def _name_of(fixture: Mapping[str, Any]) -> str:
    """Return what a fixture is called: `session fixture docs`, `module fixture docs[1] of tests/test_a.py`."""
    node, param = fixture.get("node"), fixture.get("param")
    of, number = f" of {node}" if node else "", "" if param is None else f"[{param}]"
    return f"{fixture.get('scope')} fixture {fixture.get('name')}{number}{of}"
