"""The reader of the ledgers that a process and its child processes write; see `child`."""

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

#: What happened to a span; see `child/_pytest_langfuse_spans.py`. If a ledger has several, the last of this list holds.
Outcome = Literal["open", "ended", "filtered", "unsampled", "taken"]
_RANK: Mapping[Outcome, int] = {"open": 0, "ended": 1, "filtered": 2, "unsampled": 3, "taken": 4}


@dataclass(slots=True)
class LedgerSpan:
    """A span that is in a ledger."""

    trace_id: str
    span_id: str
    name: str = ""
    #: Whether the ledger has its start.
    started: bool = False
    parent_id: str | None = None
    start_ns: int = 0
    end_ns: int | None = None
    #: Id of the process that started the span.
    process: int = 0
    recording: bool = True
    #: Whether a span processor that exports saw the span start.
    seen_by_exporter: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)
    #: Every outcome in the ledgers, with the process that wrote it.
    outcomes: set[tuple[Outcome, int]] = field(default_factory=set)

    @property
    def outcome(self) -> Outcome:
        """The final outcome. A forked process that ends its copy of its parent's span does not count."""
        counted = [outcome for outcome, process in self.outcomes if outcome != "ended" or self.process in {0, process}]
        return max(counted, key=_RANK.__getitem__, default="open")

    def observation(self) -> Observation:
        """Return the observation with what the ledger has: name, type, ids and times."""
        return observe(
            SpanRecord(
                trace_id=self.trace_id,
                span_id=self.span_id,
                parent_span_id=self.parent_id,
                name=self.name,
                start_ns=self.start_ns,
                end_ns=None if self.outcome == "open" else self.end_ns,
                attributes=self.attributes,
            )
        )


class LedgerReader:
    """Reads the ledgers in `folder`, one file for each process, while they are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: By trace id and span id.
        self.spans: dict[tuple[str, str], LedgerSpan] = {}
        #: Those of which a later one has the ids, by those ids, in the order in which they started.
        self.same_id: dict[tuple[str, str], list[LedgerSpan]] = {}
        self._offsets: dict[Path, int] = {}
        #: Processes that keep a ledger, and those that became another program, which has not begun one.
        self._kept: set[int] = set()
        self._replaced: set[int] = set()
        self._failed: str | None = None

    def read(self) -> None:
        """Read what was written since the last call."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                data = file.read()
            # A process that is killed while it writes leaves half a line. A later process with the same id ends it.
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[path] = self._offsets.get(path, 0) + len(whole)
            for line in whole.splitlines():
                self._read_line(int(path.name), line)

    @property
    def complete(self) -> bool:
        """True if the ledgers, as far as they were read, have every span that ended."""
        return bool(self._kept) and not self._replaced and not self._failed

    def check_complete(self, process: str) -> None:
        """Raise `LedgerMissing` unless the ledgers have every span of `process` that ended."""
        if not self._kept and not self._replaced:
            raise LedgerMissing(
                f"`{process}` keeps no ledger, so its losses are unknown: only Python processes keep a ledger, unless "
                "they run with -I, -E or -S or do not inherit PYTHONPATH. `app.spans` has what arrived."
            )
        if self._replaced:
            raise LedgerMissing(
                f"`{process}` became a program that keeps no ledger (os.exec), so its losses are unknown. "
                "`app.spans` has what arrived."
            )
        if self._failed:
            raise LedgerMissing(
                f"the ledger of `{process}` is incomplete, so its losses are unknown: {self._failed} while writing it. "
                "`app.spans` has what arrived."
            )

    def _read_line(self, process: int, line: bytes) -> None:
        try:
            event, *values = json.loads(line)
        except ValueError:
            return  # an empty line, or half of one
        if event == "interpreter":
            self._kept.add(process)
            self._replaced.discard(process)
        elif event == "replaced":
            self._replaced.add(process)
        elif event == "failed":
            self._failed = values[0]
        elif event == "started":
            self._start(process, *values)
        elif event == "typed":
            self._span(*values[:2]).attributes.update(values[2])
        else:
            self._end(process, event, *values)

    def _span(self, trace_id: str, span_id: str) -> LedgerSpan:
        return self.spans.setdefault((trace_id, span_id), LedgerSpan(trace_id, span_id))

    def _ended(self, trace_id: str, span_id: str, name: str, outcome: Outcome) -> LedgerSpan:
        """Return the span that an outcome is about: of those with the same ids the first of the name that lacks one."""
        last = self._span(trace_id, span_id)
        for span in self.same_id.get((trace_id, span_id), ()):
            if span.name == name and outcome not in {known for known, _ in span.outcomes}:
                return span
        return last

    def lost_by_id(self) -> list[LedgerSpan]:
        """Return the spans that ended before another one did that has the same ids: Langfuse shows one of them."""
        lost = []
        for key, earlier in self.same_id.items():
            ended = [
                span for span in (*earlier, self.spans[key]) if span.recording and span.outcome in {"ended", "taken"}
            ]
            lost += ended[:-1]
        return lost

    def _start(
        self,
        process: int,
        trace_id: str,
        span_id: str,
        parent: str | None,
        start: int,
        recording: int,
        seen_by_exporter: int,
        name: str,
    ) -> None:
        span = self._span(trace_id, span_id)
        if span.started:
            self.same_id.setdefault((trace_id, span_id), []).append(span)
            span = self.spans[trace_id, span_id] = LedgerSpan(trace_id, span_id)
        span.started = True
        span.process, span.parent_id, span.start_ns = process, parent, start
        span.recording, span.seen_by_exporter = bool(recording), bool(seen_by_exporter)
        span.name = span.name or name

    def _end(
        self,
        process: int,
        outcome: Outcome,
        trace_id: str,
        span_id: str,
        end: int,
        name: str,
        attributes: dict[str, Any],
    ) -> None:
        span = self._ended(trace_id, span_id, name, outcome)
        span.name, span.end_ns = name, end
        span.attributes.update(attributes)
        span.outcomes.add((outcome, process))
