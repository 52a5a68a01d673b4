"""The ledgers of a process and of those below it, read while they are written. Written by `child`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_langfuse.process.exceptions import LedgerMissing
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.span_record import SpanRecord

#: What became of a span: see `child/_pytest_langfuse_spans.py`. Of two that were noted, the later one here stands.
Fate = Literal["open", "ended", "filtered", "unsampled", "taken"]
_RANK: Mapping[Fate, int] = {"open": 0, "ended": 1, "filtered": 2, "unsampled": 3, "taken": 4}

#: Trace id and span id, in hex.
Key = tuple[str, str]


@dataclass(slots=True)
class Noted:
    """A span of which a ledger knows."""

    trace_id: str
    span_id: str
    name: str = ""
    parent_id: str | None = None
    start_ns: int = 0
    end_ns: int | None = None
    #: The process in which it started, by number.
    process: int = 0
    recording: bool = True
    #: Whether a processor that exports saw it start.
    seen: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)
    #: Each fate that was noted, and by which process.
    fates: set[tuple[Fate, int]] = field(default_factory=set)

    @property
    def fate(self) -> Fate:
        """What became of it. That a forked process ended its copy of a span says nothing: the span is its parent's."""
        known = [fate for fate, process in self.fates if fate != "ended" or self.process in {0, process}]
        return max(known, key=_RANK.__getitem__, default="open")

    def observation(self) -> Observation:
        """What is known of it: name, type, ids and times."""
        return observe(
            SpanRecord(
                trace_id=self.trace_id,
                span_id=self.span_id,
                parent_span_id=self.parent_id,
                name=self.name,
                start_ns=self.start_ns,
                end_ns=None if self.fate == "open" else self.end_ns,
                attributes=self.attributes,
            )
        )


class Ledger:
    """Reads what is new in the files of `folder`, one for each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spans: dict[Key, Noted] = {}
        self._offsets: dict[Path, int] = {}
        #: Processes that keep a ledger, and those that became another program and began no new one.
        self._kept: set[int] = set()
        self._replaced: set[int] = set()
        self._failed: str | None = None

    def read(self) -> None:
        """Read on."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                data = file.read()
            # A process that is killed while it writes leaves half a line, which the next one of that number ends.
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[path] = self._offsets.get(path, 0) + len(whole)
            for line in whole.splitlines():
                self._take(int(path.name), line)

    @property
    def complete(self) -> bool:
        """Whether all that ended is known, as far as has been read."""
        return bool(self._kept) and not self._replaced and not self._failed

    def check_complete(self, process: str) -> None:
        """Raise `LedgerMissing` if not all that `process` ended can be known."""
        if not self._kept and not self._replaced:
            raise LedgerMissing(
                f"`{process}` keeps no ledger, so nobody knows what it lost: only Python does, started "
                "without -I, -E or -S, and without an environment of its own. What arrived is in `app.spans`."
            )
        if self._replaced:
            raise LedgerMissing(
                f"`{process}` became a program that keeps no ledger (os.exec), so nobody knows what it lost. "
                "What arrived is in `app.spans`."
            )
        if self._failed:
            raise LedgerMissing(f"the ledger of `{process}` is not complete: {self._failed} while it was written.")

    def _take(self, process: int, line: bytes) -> None:
        try:
            what, *rest = json.loads(line)
        except ValueError:
            return  # an empty line, or half of one
        if what == "interpreter":
            self._kept.add(process)
            self._replaced.discard(process)
        elif what == "replaced":
            self._replaced.add(process)
        elif what == "failed":
            self._failed = rest[0]
        elif what == "started":
            self._start(process, *rest)
        elif what == "typed":
            self._of(*rest[:2]).attributes.update(rest[2])
        else:
            self._end(process, what, *rest)

    def _of(self, trace_id: str, span_id: str) -> Noted:
        return self.spans.setdefault((trace_id, span_id), Noted(trace_id, span_id))

    def _start(
        self,
        process: int,
        trace_id: str,
        span_id: str,
        parent: str | None,
        start: int,
        recording: int,
        seen: int,
        name: str,
    ) -> None:
        noted = self._of(trace_id, span_id)
        noted.process, noted.parent_id, noted.start_ns = process, parent, start
        noted.recording, noted.seen, noted.name = bool(recording), bool(seen), noted.name or name

    def _end(
        self, process: int, fate: Fate, trace_id: str, span_id: str, end: int, name: str, attributes: dict[str, Any]
    ) -> None:
        noted = self._of(trace_id, span_id)
        noted.name, noted.end_ns = name, end
        noted.attributes.update(attributes)
        noted.fates.add((fate, process))
