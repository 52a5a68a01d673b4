"""The files that a run writes: checked before the first test, and written at its end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import pytest

from pytest_langfuse.arguments import shown
from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.recording.calling_code import shown_path
from pytest_langfuse.report.file_beginnings import LINES, PAGE
from pytest_langfuse.report.step_summary import append

if TYPE_CHECKING:
    from pytest_langfuse.options import Given, Options

Name = Literal["json", "report", "rules_baseline", "step_summary"]
#: How the files begin that may be replaced. A baseline is read if it is there, and a summary is added to.
_BEGINNINGS: Final[Mapping[Name, tuple[bytes, ...]]] = {
    "json": LINES,
    "report": PAGE,
    "rules_baseline": (),
    "step_summary": (),
}
#: Options of others that name a file to write, by what pytest calls them.
_OF_OTHERS: Final[Mapping[str, str]] = {
    "xmlpath": "--junit-xml",
    "log_file": "--log-file",
    "htmlpath": "--html",
    "json_report_file": "--json-report-file",
}
#: Descriptors of the standard output and of errors.
_STREAMS: Final = (1, 2)


class _Named(NamedTuple):
    """A file that an option names."""

    name: str
    source: str
    value: str
    file: OutputFile


class RunOutputs:
    """The files that the options of a run name. `problems` says which could not be written, a sentence each."""

    def __init__(self, config: pytest.Config, options: Options) -> None:
        """Check the files.

        Raises:
            pytest.UsageError: one can't be written, or would be lost; or two options name the same.
        """
        self._config = config
        self.problems: list[str] = []
        self._options = options
        self._files: dict[Name, OutputFile] = {}
        #: Those that were written and can't be written once more: what a pipe holds is gone.
        self._gone: set[Name] = set()
        #: Where this run's part of the summary of the step begins and ends, in bytes.
        self._summary: tuple[int, int] | None = None
        config.add_cleanup(self.close)
        named = []
        for name in _BEGINNINGS:
            given: Given | None = getattr(options, name)
            if given is not None:
                file = self._files[name] = OutputFile(Path(given.value))
                named.append(_Named(name, given.source, given.value, file))
        _refuse_same_files([*named, *_others(config, options)])
        for name, file in self._files.items():
            is_read = name == "rules_baseline" and os.path.exists(file.path)  # noqa: PTH110 - it may be too long
            if not is_read and (problem := file.problem(_BEGINNINGS[name])):
                given = getattr(options, name)
                raise pytest.UsageError(f"{given.source}: {_shown(given.value)} {problem}")

    def has(self, name: Name) -> bool:
        """Return whether an option names such a file."""
        return name in self._files

    def write(self, name: Name, texts: Iterable[str], encoding: str = "utf-8") -> bool:
        """Write a file. Return whether that went well."""
        if name in self._gone:
            return True
        file = self._files[name]
        if not file.is_replaced:
            self._gone.add(name)
        if file.descriptor in _STREAMS and (terminal := self._config.pluginmanager.get_plugin("terminalreporter")):
            # It is in the middle of a line.
            terminal.line("")
        try:
            file.write(texts, encoding)
        except OSError as error:
            self._fail(name, error)
            return False
        return True

    def add_to_summary(self, text: str) -> None:
        """Add a text to the summary of the step, in place of the one that was added before."""
        file = self._files["step_summary"]
        try:
            if self._summary is not None and file.size == self._summary[1]:
                os.truncate(file.path, self._summary[0])
            begin = file.size
            append(file, text)
            self._summary = begin, file.size
        except OSError as error:
            self._fail("step_summary", error)

    def path(self, name: Name) -> str:
        """Return the path of a file for a message."""
        given: Given = getattr(self._options, name)
        return shown_path(given.value)

    def _fail(self, name: Name, error: OSError) -> None:
        given: Given = getattr(self._options, name)
        problem = f"{given.source}: {self.path(name)} could not be written: {error.strerror or error}"
        if problem not in self.problems:
            self.problems.append(problem)

    def close(self) -> None:
        """Let go what was opened early."""
        for file in self._files.values():
            file.close()


def fates_of_files(options: Options) -> Iterator[str]:
    """Yield, of each file that holds a run, a sentence on what is at its place where no test ran."""
    for given in (options.json, options.report):
        if given is not None:
            is_earlier = os.path.isfile(given.value)  # noqa: PTH113 - it may be too long
            fate = "is of an earlier run" if is_earlier else "was not written"
            yield f"langfuse: no test ran: {shown_path(given.value)} {fate}"


def _others(config: pytest.Config, options: Options) -> Iterator[_Named]:
    if (compare := options.compare) is not None:
        yield _Named("compare", compare.source, compare.value, OutputFile(Path(compare.value)))
    for name, source in _OF_OTHERS.items():
        if isinstance(value := getattr(config.option, name, None), str) and value:
            # As pytest reads them.
            path = config.invocation_params.dir / os.path.expanduser(os.path.expandvars(value))  # noqa: PTH111
            yield _Named(name, source, str(path), OutputFile(path))


def _refuse_same_files(named: list[_Named]) -> None:
    identities = [one.file.identity for one in named]
    for (one, identity), (other, same) in combinations(zip(named, identities, strict=True), 2):
        # The run to compare with is read before the first test, and may be replaced at the end.
        if identity is not None and identity == same and {one.name, other.name} != {"json", "compare"}:
            raise pytest.UsageError(
                f"{one.source} and {other.source} name the same file, {_shown(other.value)}; name two"
            )


def _shown(path: str) -> str:
    """Return a path for a message, relative to the working directory where it is below that."""
    return shown(shown_path(path))
