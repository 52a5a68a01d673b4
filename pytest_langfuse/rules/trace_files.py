"""Recorded traces: what `check` reads, linked over all files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.sources.files import source_of_bytes
from pytest_langfuse.recording.sources.json_lines import is_run, read_run
from pytest_langfuse.recording.sources.readable_file import content_of, require_file, standard_input
from pytest_langfuse.recording.sources.recent import NotReachable, client_of_environment, fetch, fetch_since
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.rules.baseline import relative
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


@dataclass
class RecordedTraces:
    """The observations of several files or of a Langfuse, each once. `files` says what a trace was recorded in."""

    root: Path
    files: dict[str, str] = field(default_factory=dict)
    #: Findings of runs of pytest.
    written: list[WrittenFinding] = field(default_factory=list)
    runs: int = 0
    #: The observations of runs, each with the codes of the rules that were evaluated as they were made.
    sources_of_runs: list[tuple[StaticSource, Sequence[str]]] = field(default_factory=list)
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
        try:
            plain = decompress(data)
            if is_run(plain):
                self._add_run(plain, uri)
                return
        except (BadLine, DecodeError) as error:
            raise BadInput(f"{name}: {error}") from None
        try:
            source = source_of_bytes(data, name)
        except DecodeError as error:
            raise BadInput(str(error)) from None
        self._add(source.observations(), uri)
        self._unexported += source.unexported()

    def _add_run(self, plain: bytes, uri: str) -> None:
        run = read_run(plain)
        self.written += findings_in(run.of(FINDING), self.root)
        self.runs += 1
        # Where a finding has no place.
        self.files.setdefault("", uri)
        source = run.source()
        for one in source.observations():
            self.files.setdefault(one.trace_id, uri)
        self.sources_of_runs.append((source, run.rules))

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
