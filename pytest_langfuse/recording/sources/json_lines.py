"""The file of `pytest --langfuse-json=FILE`: lines of a run, with the observations of its tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.recorded_span import Reason
from pytest_langfuse.recording.sources.redacted_ids import could_be, without_number
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.recording.span_record import SpanEvent, SpanRecord
from pytest_langfuse.suggest import did_you_mean

#: The schema of lines that is read.
SCHEMA: Final = 1
#: What Windows puts before a text in UTF-8.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: The kinds with which such a file begins; those of earlier versions had no "run".
FIRST_KINDS: Final = (b"run", b"outage", b"finding")
#: Kinds of which there are many lines, and how these begin: what is known of tests and of the whole run is in others.
OF_TRACES: Final = ("observation", "score", "media")
LINES_OF_TRACES: Final = tuple(f'{{"kind": "{kind}"'.encode() for kind in OF_TRACES)
_REASONS: Final[Mapping[str, Reason]] = {
    "filtered": "filtered",
    "unsampled": "sampled_out",
    "other project": "other_project",
    "never ended": "unended",
    "lost": "dropped",
}
_TEXTS: Final = ("trace", "id", "name", "type", "level", "status", "model", "user", "session", "environment")
_MORE_TEXTS: Final = ("version", "release", "prompt", "trace_name", "thread", "scope", "reason", "detail")
#: The types of fields of an observation that are read.
_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys((*_TEXTS, *_MORE_TEXTS), str),
    "parent": (str, type(None)),
    "start": int,
    "duration": (int, float, type(None)),
    "tags": list,
    "exported": bool,
    **dict.fromkeys(("metadata", "model_parameters", "usage", "cost", "attributes", "resource"), dict),
}
_STATUS: Final[Mapping[str, Literal["OK", "ERROR"]]] = {"OK": "OK", "ERROR": "ERROR"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The largest number of microseconds that a `datetime` holds.
_LATEST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


#: The outcome of a test that has passed, but uses more than it may.
EXCEEDED: Final = "exceeded"
#: Outcomes of tests that are not well.
FAILED: Final = ("failed", "error", EXCEEDED)
#: The id of a test, and the fault of the suite.
TestKey = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and its number, from 1."""

    number: int
    row: Mapping[str, Any]


@dataclass(slots=True)
class RunFile:
    """The lines of a run, by their kinds."""

    lines: dict[str, list[Line]] = field(default_factory=dict)

    def of(self, kind: str) -> Sequence[Line]:
        """Return the lines of a kind."""
        return self.lines.get(kind, ())

    @property
    def rules(self) -> Sequence[str]:
        """The codes of the rules that the run has evaluated."""
        codes = next((line.row.get("rules") for line in self.of("run")), None)
        return [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []

    def of_tests(self, counts: Callable[[Mapping[str, Any]], bool]) -> RunFile:
        """Return the lines of the run itself, and those of tests that `counts` is true for."""
        found = {kind: [line for line in lines if counts(line.row)] for kind, lines in self.lines.items()}
        return RunFile(found | {"run": self.lines.get("run", [])})

    def source(self, test: str | None = None, hide: Callable[[str], str] = str) -> StaticSource:
        """Return the observations of the run, or of one `test` under all faults.

        `test` is an id as pytest prints it, or as the file has it, without secrets. `hide` takes secrets out of a text.

        Raises:
            DecodeError: a line is damaged; the message names it.
            LookupError: the run has no such test, or several that it may be.
        """
        if test is not None:
            test = self._id_of(test, hide)
        read = [
            (observation_of(line), line)
            for line in self.of("observation")
            if test is None or line.row.get("test") == test
        ]
        missing = [_unexported(one, line) for one, line in read if not line.row["exported"]]
        rows = [line.row for _, line in read]
        return StaticSource(
            [one for one, line in read if line.row["exported"]],
            unexported=missing,
            undelivered=[item for item in missing if item.reason == "dropped"],
            scores=[_score(line) for line in self.of("score") if test is None or line.row.get("test") == test],
            wire=[WireBody("file", json.dumps(rows).encode())] if rows else [],
        )

    def _id_of(self, test: str, hide: Callable[[str], str]) -> str:
        """Return what the lines call a test.

        Raises:
            LookupError: they have no such test, or several that it may be.
        """
        known = list(dict.fromkeys(str(line.row.get("test")) for line in self.of("test")))
        if test in known:
            return test
        found = [one for one in known if could_be(one, test)]
        if len(found) > 1:
            redacted = hide(test)
            found = [one for one in found if without_number(one) == redacted] or found
        if len(found) > 1:
            listed = ", ".join(map(shown, found))
            raise LookupError(
                f"the run has {len(found)} tests that {shown(test)} may be, since a part of their ids is redacted; "
                f"name one as the file does: {listed}"
            )
        if not found:
            raise LookupError(f"the run has no test {shown(test)}{did_you_mean(test, known)}")
        return found[0]


def is_run(data: bytes) -> bool:
    """Return whether a file begins as one of `--langfuse-json`."""
    start = data[:200].removeprefix(BYTE_ORDER_MARK).lstrip()
    return any(start.startswith(b'{"kind": "%s"' % kind) for kind in FIRST_KINDS)


def read_run(data: bytes) -> RunFile:
    """Return the lines of a run.

    Raises:
        DecodeError: as `lines_in`.
    """
    found = RunFile()
    for line in lines_in(data.removeprefix(BYTE_ORDER_MARK).splitlines()):
        found.lines.setdefault(line.row["kind"], []).append(line)
    return found


def lines_in(lines: Iterable[bytes], *, left_out: tuple[bytes, ...] = ()) -> Iterator[Line]:
    """Yield the lines of a file, one by one, without those that begin with a text that is `left_out`.

    Raises:
        DecodeError: a line is damaged, the file is of a later version, or it holds more than one run; the message names
            the line.
    """
    is_first, tests = True, set[TestKey]()
    for number, given in enumerate(lines, 1):
        text = given.strip()
        if not text or text.startswith(left_out):
            continue
        line = _line(number, text)
        row = line.row
        # The two runs of a test would be taken for one.
        if row["kind"] == "run" and not is_first:
            raise DecodeError(f"line {number} begins a second run; give each run a file of its own")
        if row["kind"] == "test" and (key := key_of(row)) is not None:
            if key in tests:
                raise DecodeError(f"line {number}: the test {shown(key[0])} is there twice; give each run a file")
            tests.add(key)
        is_first = False
        yield line


def _line(number: int, text: bytes) -> Line:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        raise DecodeError(f"line {number} is not a line of --langfuse-json")
    if row["kind"] == "run" and (schema := row.get("schema", SCHEMA)) != SCHEMA:
        raise DecodeError(f"line {number}: the lines are of schema {shown(schema)}, this version reads {SCHEMA}")
    return Line(number, row)


def key_of(row: Mapping[str, Any]) -> TestKey | None:
    """Return what tells the test of a line from others; `None` for a line that has none."""
    test, fault = row.get("test"), row.get("fault")
    if not isinstance(test, str):
        return None
    return test, fault if isinstance(fault, str) else None


def observation_of(line: Line) -> Observation:
    """Return the observation of a line, not linked.

    Raises:
        DecodeError: a field is missing, or holds something else; the message names the line.
    """
    row = line.row
    for name, kind in _FIELDS.items():
        if not isinstance(row.get(name), kind) or (name == "start" and not 0 <= row[name] <= _LATEST):
            raise DecodeError(f"line {line.number}: {name!r} of the observation is {shown(row.get(name))}")
    start, duration = row["start"], row["duration"]
    end = None if duration is None else _end(line, start, duration)
    prompt_name, prompt_version = _prompt(row["prompt"])
    attributes = {**row["attributes"], **_whole(row)}
    record = SpanRecord(
        trace_id=row["trace"],
        span_id=row["id"],
        parent_span_id=row["parent"],
        name=row["name"],
        start_ns=start * 1_000,
        end_ns=None if end is None else end * 1_000,
        attributes=attributes,
        resource=row["resource"],
        scope_name=row["scope"],
        status=_STATUS.get(str(row.get("otel_status")), "UNSET"),
        status_message=row["status"] or None,
        events=tuple(_events(row.get("events", ()))),
        raw=row,
        thread=row["thread"] or None,
    )
    return Observation(
        id=row["id"],
        trace_id=row["trace"],
        parent_id=row["parent"],
        name=row["name"],
        type=row["type"],
        level=row["level"],
        status_message=row["status"] or None,
        input=row.get("input"),
        output=row.get("output"),
        metadata=row["metadata"],
        model=row["model"] or None,
        model_parameters=row["model_parameters"],
        usage=row["usage"],
        cost={} if row.get("cost_estimated") else row["cost"],
        prompt_name=prompt_name,
        prompt_version=prompt_version,
        user_id=row["user"] or None,
        session_id=row["session"] or None,
        tags=row["tags"],
        environment=row["environment"],
        version=row["version"] or None,
        release=row["release"] or None,
        trace_name=row["trace_name"] or None,
        is_root=row["parent"] is None,
        is_app_root=attributes.get("langfuse.internal.is_app_root") is True,
        start_time=_EPOCH + timedelta(microseconds=start),
        end_time=None if end is None else _EPOCH + timedelta(microseconds=end),
        record=record,
    )


def _end(line: Line, start: int, duration: float) -> int:
    end = start + round(duration * 1e6)
    if not 0 <= end <= _LATEST:
        raise DecodeError(f"line {line.number}: 'duration' of the observation is {shown(duration)}")
    return end


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that are cut in the line, and whole in another field of it."""
    found = {}
    for name in ("input", "output"):
        key = f"langfuse.observation.{name}"
        value = row.get(name)
        if key in row["attributes"] and str(row["attributes"][key]).endswith(" more characters]"):
            found[key] = value if isinstance(value, str) else json.dumps(value)
    return found


def _prompt(text: str) -> tuple[str | None, int | None]:
    name, separator, version = text.rpartition(" v")
    if separator and version.isdecimal() and version.isascii():
        return name, int(version)
    return text or None, None


def _events(events: Any) -> Iterable[SpanEvent]:
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and isinstance(event.get("attributes"), dict):
            yield SpanEvent(str(event.get("name", "")), event["attributes"])


def _unexported(one: Observation, line: Line) -> Unexported:
    # A reason that a later version has added is told by its sentence.
    return Unexported(one, _REASONS.get(line.row["reason"], "dropped"), line.row["detail"])


def _score(line: Line) -> Score:
    row = line.row
    if not isinstance(row.get("name"), str) or not isinstance(row.get("value"), str | int | float):
        name, value = shown(row.get("name")), shown(row.get("value"))
        raise DecodeError(f"line {line.number}: the score {name} has the value {value}")
    return Score(
        name=row["name"],
        value=row["value"],
        trace_id=row.get("trace"),
        observation_id=row.get("observation"),
        session_id=row.get("session"),
        dataset_run_id=row.get("dataset_run"),
        data_type=row.get("data_type") or None,
        comment=row.get("comment") or None,
        metadata=row.get("metadata"),
        environment=row.get("environment") or None,
    )
