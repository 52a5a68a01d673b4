"""Recorded traces: what `check` reads, linked over all files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.sources.files import source_of_bytes
from pytest_langfuse.recording.sources.json_lines import OF_TRACES, RunFile, is_run, read_run
from pytest_langfuse.recording.sources.last_runs import LastRuns
from pytest_langfuse.recording.sources.readable_file import content_of, require_file, standard_input
from pytest_langfuse.recording.sources.recent import NotReachable, client_of_environment, fetch, fetch_since
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.rules.baseline import relative
from pytest_langfuse.rules.secrets.chosen_redactor import chosen_redactor
from pytest_langfuse.rules.written_finding import FINDING, BadLine, WrittenFinding, findings_in

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.sources.source import Unexported

#: The files of a folder that hold traces, perhaps with `.gz` behind it.
SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".bin", ".pb", ".otlp")
#: What the command line calls the standard input.
STDIN: Final = "-"


class BadInput(Exception):  # noqa: N818 - reads as what happened
    """Traces that can't be read; the message says why, and what to do."""


class _NamedRun(NamedTuple):
    """A run, the name of its file, and what outputs call it."""

    run: RunFile
    name: str
    uri: str


@dataclass
class FoundInRuns:
    """The findings of runs of pytest, and their observations, each with the codes of the rules that were evaluated."""

    written: list[WrittenFinding] = field(default_factory=list)
    sources: list[tuple[StaticSource, Sequence[str]]] = field(default_factory=list)


@contextmanager
def _errors_named(name: str) -> Iterator[None]:
    """Raise `BadInput`, which names a file, for what is wrong with its lines."""
    try:
        yield
    except (BadLine, DecodeError) as error:
        raise BadInput(f"{name}: {error}") from None


@dataclass
class RecordedTraces:
    """The observations of several files or of a Langfuse, each once. `files` says what a trace was recorded in."""

    root: Path
    files: dict[str, str] = field(default_factory=dict)
    runs: int = 0
    _run_files: list[_NamedRun] = field(default_factory=list)
    _last: LastRuns = field(default_factory=LastRuns)
    _observations: dict[tuple[str, str], Observation] = field(default_factory=dict)
    _unexported: list[Unexported] = field(default_factory=list)

    def add_path(self, given: str, tell: Callable[[str], None]) -> None:
        """Read a file, the files of a folder, or the standard input.

        Raises:
            BadInput: there is no such file, or it holds anything else than traces.
        """
        if given == STDIN:
            try:
                content = standard_input().read()
            except OSError as error:
                raise BadInput(f"the standard input can't be read: {error.strerror or error}") from None
            self._add_content(content, "the standard input", "stdin")
            return
        path = Path(given)
        try:
            if path.is_dir():
                self._add_folder(path, tell)
            else:
                self._add_content(content_of(path), str(path), relative(str(path.absolute()), self.root))
        except OSError as error:
            raise BadInput(f"{shown(given)} can't be read: {error.strerror or error}") from None
        except ValueError:
            raise BadInput(f"{shown(given)} is not the path of a file") from None

    def _add_folder(self, folder: Path, tell: Callable[[str], None]) -> None:
        files = sorted(path for path in folder.rglob("*") if not path.is_dir() and not _is_hidden(path, folder))
        named = [path for path in files if path.name.removesuffix(".gz").endswith(SUFFIXES)]
        traces = []
        for path in named:
            try:
                require_file(path)
            except OSError as error:
                tell(f"{path}: skipped: {error.strerror or error}")
            else:
                traces.append(path)
        if not traces:
            raise BadInput(f"{shown(str(folder))} has no file with traces ({', '.join(SUFFIXES)}, perhaps with .gz)")
        if skipped := len(files) - len(named):
            tell(f"{folder}: {skipped} other file{'s' * (skipped > 1)} skipped")
        for path in traces:
            self._add_content(content_of(path), str(path), relative(str(path.absolute()), self.root))

    def _add_content(self, data: bytes, name: str, uri: str) -> None:
        if not data.strip() and name.endswith(".jsonl"):
            # As a run leaves it in which no test began.
            self.runs += 1
            return
        with _errors_named(name):
            plain = decompress(data)
            if is_run(plain):
                self._add_run(read_run(plain), name, uri)
                return
        try:
            source = source_of_bytes(data, name)
        except DecodeError as error:
            raise BadInput(str(error)) from None
        self._add(source.observations(), uri)
        self._unexported += source.unexported()

    def _add_run(self, run: RunFile, name: str, uri: str) -> None:
        self.runs += 1
        self._run_files.append(_NamedRun(run, name, uri))
        self._last.add(line.row for kind, lines in run.lines.items() if kind not in OF_TRACES for line in lines)

    def results_of_runs(self, tell: Callable[[str], None]) -> FoundInRuns:
        """Return what the runs have found and recorded, when all files were read.

        Raises:
            BadInput: a line is damaged.
        """
        if note := self._last.note:
            tell(chosen_redactor().text(note))
        found = FoundInRuns()
        for number, (run, name, uri) in enumerate(self._run_files):
            with _errors_named(name):
                of_tests = run.of_tests(partial(self._last.counts, number))
                found.written += findings_in(of_tests.of(FINDING), self.root)
                # Where a finding has no place.
                self.files.setdefault("", uri)
                source = of_tests.source()
                for one in source.observations():
                    self.files.setdefault(one.trace_id, uri)
                found.sources.append((source, run.rules))
        return found

    def add_fetched(self, trace_ids: Iterable[str], since: timedelta | None, tell: Callable[[str], None]) -> None:
        """Read traces from the Langfuse that the environment names.

        Raises:
            BadInput: it can't be reached, or does not have a trace.
        """
        try:
            client = client_of_environment()
            for trace_id in trace_ids:
                self._add(fetch(client, trace_id), f"langfuse/{trace_id}")
            if since is not None:
                for one in fetch_since(client, since, tell):
                    self._add([one], f"langfuse/{one.trace_id}")
        except (LookupError, NotReachable) as error:
            raise BadInput(str(error)) from None

    def _add(self, observations: Sequence[Observation], uri: str) -> None:
        for one in observations:
            self.files.setdefault(one.trace_id, uri)
            self._observations[one.trace_id, one.id] = one

    def source(self) -> StaticSource:
        """Return all observations, linked."""
        return StaticSource(self._observations.values(), unexported=self._unexported)

    @property
    def counts(self) -> Iterator[tuple[int, str]]:
        """The numbers of observations and traces, and of runs of pytest."""
        if self._observations or not self.runs:
            yield len(self._observations), "observation"
            yield len({trace_id for trace_id, _ in self._observations}), "trace"
        if self.runs:
            yield self.runs, "run"


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
