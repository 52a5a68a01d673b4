"""Read a file of `--langfuse-json`, line by line, or one of recorded traces; several times, if need be."""

from __future__ import annotations

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.sources.json_lines import BYTE_ORDER_MARK, Line, is_run, lines_in
from pytest_langfuse.recording.sources.readable_file import require_file, standard_input
from pytest_langfuse.report.line_schema import problem_of

if TYPE_CHECKING:
    from pytest_langfuse.recording.sources.static import StaticSource

#: What the command line calls the standard input, and the standard output.
STREAM: Final = "-"
#: How a line begins, in the order of keys that the writer has.
_LINE: Final = re.compile(rb'\s*\{\s*"kind"')
_GZIP: Final = b"\x1f\x8b"
#: The bytes of a file that tell what it is.
_HEAD: Final = 200


class BadRowFile(ValueError):  # noqa: N818 - reads as what happened
    """A file that is not one of `--langfuse-json`; the message says which, and why."""


class RowFile:
    """A file that a user names, gzip or not; `-` is the standard input. A context manager.

    What can be read once only, such as a pipe, is copied into a temporary file that has no name. Not thread-safe.
    """

    def __init__(self, given: str) -> None:
        self.given = given
        #: How messages call it.
        self.name = "the standard input" if given == STREAM else given
        self._copy: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._copy is not None:
            self._copy.close()

    @property
    def has_lines(self) -> bool:
        """True if it holds lines, and not recorded traces.

        Raises:
            DecodeError: the file is damaged.
            OSError: it can't be read.
        """
        with self._opened() as file:
            return _LINE.match(file.peek(_HEAD)) is not None

    @property
    def begins_as_run(self) -> bool:
        """True if its first line is one with which `--langfuse-json` begins a file.

        Raises:
            DecodeError: the file is damaged.
            OSError: it can't be read.
        """
        with self._opened() as file:
            return is_run(file.peek(_HEAD))

    def lines(self, *, left_out: tuple[bytes, ...] = ()) -> Iterator[Line]:
        """Yield the lines, without those that begin with a text that is `left_out`; their fields may hold anything.

        Raises:
            DecodeError: a line is damaged, or they are not those of one run; the message does not name the file.
            OSError: the file can't be read.
        """
        with self._opened() as file:
            yield from lines_in(file, left_out=left_out)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the lines as objects, whose fields have the types of the schema.

        Raises:
            BadRowFile: it is not such a file, or a newer one, or can't be read.
        """
        with self.errors_named():
            for line in self.lines():
                if (problem := problem_of(line.row)) is not None:
                    raise BadRowFile(f"{self.name}: line {line.number}: {problem}")
                yield dict(line.row)

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Raise `BadRowFile`, which names the file, for whatever reading it inside of the block raises."""
        try:
            yield
        except OSError as error:
            raise BadRowFile(f"{shown(self.given)} can't be read: {error.strerror or error}") from None
        except DecodeError as error:
            raise BadRowFile(f"{self.name}: {error}") from None

    def traces(self) -> StaticSource:
        """Return recorded traces.

        Raises:
            BadRowFile: it holds none, or anything else, or can't be read.
        """
        # Imported here: a run needs none of it.
        from pytest_langfuse.recording.sources.files import OtherEndpointError, source_of_bytes

        with self.errors_named(), self._opened() as file:
            data = file.read()
        if not data.strip():
            raise BadRowFile(f"{self.name} is empty")
        try:
            source = source_of_bytes(data, self.name)
        except OtherEndpointError as error:
            raise BadRowFile(str(error)) from None
        except DecodeError as error:
            raise BadRowFile(f"{error}; write a file with pytest --langfuse-json=FILE") from None
        if not (source.observations() or source.unexported()):
            raise BadRowFile(f"{self.name} has no traces")
        return source

    @contextmanager
    def _opened(self) -> Iterator[BufferedReader]:
        """Open it at its beginning, without compression and byte order mark."""
        with ExitStack() as stack:
            file = self._readable(stack)
            is_packed = file.peek(len(_GZIP)).startswith(_GZIP)
            try:
                plain = cast("BufferedReader", BufferedReader(gzip.GzipFile(fileobj=file))) if is_packed else file
                if plain.peek(len(BYTE_ORDER_MARK)).startswith(BYTE_ORDER_MARK):
                    plain.read(len(BYTE_ORDER_MARK))
                yield plain
            except (EOFError, gzip.BadGzipFile, zlib.error):
                raise DecodeError("the file is damaged: its compressed data ends too early") from None

    def _readable(self, stack: ExitStack) -> BufferedReader:
        if self._copy is None:
            if self.given != STREAM:
                path = Path(self.given)
                require_file(path)
                file = stack.enter_context(path.open("rb"))
                if path.is_file():
                    return file
            else:
                file = cast("BufferedReader", standard_input())
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - it is kept until the end
            shutil.copyfileobj(file, self._copy)
        self._copy.seek(0)
        # It has all that such a reader has.
        return cast("BufferedReader", self._copy)
