"""The baseline of a run of pytest: which findings are new, and which entries no longer occur."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.recording.calling_code import shown_path
from pytest_langfuse.rules.baseline import BadBaseline, BaselineKey, baseline_text, key_of, read_baseline
from pytest_langfuse.rules.checked import root_of
from pytest_langfuse.rules.counted import counted

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.options import Given
    from pytest_langfuse.rules.finding import Finding
    from pytest_langfuse.rules.rule_set import RuleSet

#: The attribute of a report that failed for its findings, and for nothing else.
FOR_FINDINGS: Final = "pytest_langfuse_findings"
_WORKER_OUTPUT: Final = "pytest_langfuse_baseline"
#: Each of these leaves tests out without telling pytest_deselected.
_LEAVE_OUT: Final = ("ignore", "ignore_glob", "lf", "stepwise")
#: How many entries the summary lists.
_LISTED: Final = 20


class RunBaseline:
    """Compares the findings of a run with the file `path`, which a run without it writes.

    A plugin of its run. With xdist each worker judges what it finds; the controller puts the places together, so that
    it also sees what no worker could: two places of a key that the baseline has once.
    """

    def __init__(self, config: pytest.Config, given: Given, rules: RuleSet, *, strict: bool) -> None:
        path = Path(given.value)
        try:
            #: `None`: the file is to be written. What can't be a path is refused where outputs are checked.
            self._known = read_baseline(path) if os.path.exists(path) else None  # noqa: PTH110
        except BadBaseline as error:
            raise pytest.UsageError(f"{given.source}: {error}") from None
        self._config, self._path, self._rules, self._strict = config, path, rules, strict
        #: As for `python -m pytest_langfuse.rules check --baseline`: whatever folder pytest takes for its root.
        self._root = root_of(config.rootpath)
        #: The lines of each key, in the order in which they were found.
        self._places: dict[BaselineKey, dict[int, None]] = {}
        #: Why the run was broken off, if it was.
        self._broken_off: list[str] = []
        #: How many tests were deselected, by process, and which have failed for another reason than findings.
        self._deselected: list[int] = []
        self._failed: set[str] = set()
        self._ran = False
        self._summary: list[tuple[str, bool]] = []

    def is_new(self, finding: Finding) -> bool:
        """Return whether a finding is not in the baseline: one of more places than that has."""
        key = key_of(finding, self._root)
        lines = self._places.setdefault(key, {})
        lines.setdefault(0 if finding.place is None else finding.place.line)
        if self._known is None:
            return False
        allowed = list(lines)[: self._known.get(key, 0)]
        return (0 if finding.place is None else finding.place.line) not in allowed

    # -- hooks ---------------------------------------------------------------------------------------------------

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note that tests are left out."""
        self._deselected.append(len(items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note that a file was not collected."""
        if report.failed:
            self._broken_off.append(f"{report.nodeid or 'a file'} was not collected")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that has failed before it could do all that it does."""
        self._ran = True
        if report.failed and not getattr(report, FOR_FINDINGS, False):
            self._failed.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take what a worker of xdist has found."""
        output = getattr(node, "workeroutput", {}).get(_WORKER_OUTPUT)
        if error is not None or output is None:
            self._broken_off.append("a worker has crashed")
            return
        # Each worker collects, and deselects, the same tests.
        self._deselected = output["deselected"]
        for *key, lines in output["places"]:
            self._places.setdefault(BaselineKey(*key), {}).update(dict.fromkeys(lines))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Write the file or compare with it; a worker of xdist hands its places to the controller."""
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            places = [[*key, list(lines)] for key, lines in self._places.items()]
            output[_WORKER_OUTPUT] = {"places": places, "deselected": self._deselected}
            yield
            return
        if session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            self._broken_off.append("the run was broken off")
        if stopped := session.shouldstop or session.shouldfail:
            self._broken_off.append(str(stopped))
        failed = False
        if self._known is None:
            failed = not self._write()
        else:
            exceeded = self._exceeded(self._known)
            failed = self._strict and any(self._rules.fails_for(key.code) for key in exceeded)
        why = failed and session.exitstatus == pytest.ExitCode.OK
        if why:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        terminal: TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        if why and terminal is not None:
            # After pytest's own last line, which is green if all tests have passed.
            what = "the baseline could not be written" if self._known is None else "findings are not in the baseline"
            terminal.write_line(f"langfuse: {what} (exit status {int(session.exitstatus)})", red=True, bold=True)

    # -- the end of the run --------------------------------------------------------------------------------------

    def _exceeded(self, known: Mapping[BaselineKey, int]) -> list[BaselineKey]:
        return sorted(key for key, lines in self._places.items() if len(lines) > known.get(key, 0))

    def _partial(self) -> str | None:
        """Return why the run may not have shown every finding that there is; `None` if it has."""
        config = self._config
        if self._broken_off:
            return self._broken_off[0]
        if left_out := sum(self._deselected):
            return f"{counted(left_out, 'test')} deselected"
        if any(config.getoption(name, None) for name in _LEAVE_OUT) or not _runs_whole_suite(config):
            return "of a part of the tests"
        return f"{counted(len(self._failed), 'test')} failed" if self._failed else None

    def _write(self) -> bool:
        """Write the file, unless the run was broken off. Return whether that went well."""
        name = _shown(self._path)
        if self._broken_off or not self._ran:
            why = self._broken_off[0] if self._broken_off else "no test ran"
            self._say(f"{name} was not written: {why}", bad=True)
            return True
        entries = {key: len(lines) for key, lines in self._places.items()}
        try:
            OutputFile(self._path).write([baseline_text(entries)])
        except OSError as error:
            self._say(f"{name} could not be written: {error.strerror or error}", bad=True)
            return False
        places = counted(sum(entries.values()), "place")
        partial = self._partial()
        note = "" if partial is None else f" (of a run with {partial}: other findings will count as new)"
        self._say(f"findings at {places} written to {name}{note}; from now on only new ones count")
        self._say(f"commit {name}; to update it, delete it and run all tests again")
        return True

    def write_summary(self, terminal: TerminalReporter) -> None:
        """Print what is new, known and gone."""
        if self._known is not None:
            self._summary += self._comparison(self._known)
        for text, bad in self._summary:
            terminal.write_line(f"langfuse: {text}", red=bad)

    def _comparison(self, known: Mapping[BaselineKey, int]) -> Iterator[tuple[str, bool]]:
        name = _shown(self._path)
        if seen := sum(min(len(lines), known.get(key, 0)) for key, lines in self._places.items()):
            yield f"findings at {counted(seen, 'place')} are not counted: {name} has them", False
        exceeded = self._exceeded(known)
        for key in exceeded:
            if allowed := known.get(key, 0):
                lines = ", ".join(map(str, sorted(self._places[key])))
                yield f"new: {key} at {len(self._places[key])} places (lines {lines}), {name} has {allowed}", True
        if exceeded:
            new = sum(len(self._places[key]) - known.get(key, 0) for key in exceeded)
            yield (
                f"findings at {counted(new, 'place')} are not in {name}; to accept them, delete it and run all tests",
                True,
            )
        if self._partial() is None:
            yield from self._gone(known, name)

    def _gone(self, known: Mapping[BaselineKey, int], name: str) -> Iterator[tuple[str, bool]]:
        evaluated = {rule.code for rule in self._rules.rules}
        gone = [
            (key, places, len(self._places.get(key, ())))
            for key, places in sorted(known.items())
            if key.code in evaluated and len(self._places.get(key, ())) < places
        ]
        if gone:
            entries = "1 entry occurs" if len(gone) == 1 else f"{len(gone)} entries occur"
            yield f"{entries} less often than {name} says; to drop what is gone, delete it and run all tests", False
        for key, places, now in gone[:_LISTED]:
            yield (f"  gone: {key}" if not now else f"  fewer: {key}: {now} of {places} places"), False
        if len(gone) > _LISTED:
            yield f"  and {len(gone) - _LISTED} more", False

    def _say(self, text: str, *, bad: bool = False) -> None:
        self._summary.append((text, bad))


def _runs_whole_suite(config: pytest.Config) -> bool:
    """Return whether the command line names no part of the tests: none, all of `testpaths`, or a folder of the root."""
    given = [Path(config.invocation_params.dir, str(argument)).resolve() for argument in config.args]
    root = config.rootpath.resolve()
    wanted = [(root / path).resolve() for path in config.getini("testpaths")]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS or root in given:
        return True
    if wanted:
        return all(any(path.is_relative_to(one) for one in given) for path in wanted)
    return all(path.is_dir() and path.parent == root for path in given)


def _shown(path: Path) -> str:
    return shown_path(str(path))
