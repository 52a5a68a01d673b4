"""`Observations`: a sequence of what Langfuse shows, with assertions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, overload

from pytest_langfuse.expect import failure
from pytest_langfuse.expect.api_view import fetch_trace
from pytest_langfuse.expect.collector import SIZE, undisturbed
from pytest_langfuse.expect.comparison import compare
from pytest_langfuse.expect.errors import LiteralError, TreeMismatch
from pytest_langfuse.expect.files import decompressed, read_source
from pytest_langfuse.expect.literal import parse
from pytest_langfuse.expect.match import Order
from pytest_langfuse.expect.name import Name, name_in_sentence
from pytest_langfuse.expect.propagation import gaps, propagated_key, trace_label
from pytest_langfuse.expect.render import render
from pytest_langfuse.expect.selection import Selector
from pytest_langfuse.expect.static_source import StaticSource
from pytest_langfuse.expect.style import current
from pytest_langfuse.expect.wire_search import Needle, find, masked
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp import decode_otlp
from pytest_langfuse.recording.source import Reason, Score, Source, Unexported, WireBody
from pytest_langfuse.recording.trace import Trace, build_traces

if TYPE_CHECKING:
    from langfuse import Langfuse

#: Packages whose snapshots are compared with the text.
_SNAPSHOTS = ("inline_snapshot", "syrupy")
#: The longest that `wait_for` sleeps without looking, in seconds: some ways to end tell nobody.
_NAP = 0.25


class Observations(Sequence[Observation]):
    """What Langfuse shows: exported observations in the order in which they started, with assertions.

    Every access reads the source anew, so that `langfuse_spans` always shows the test so far. Failed assertions raise
    `TreeMismatch`, an `AssertionError` that shows both trees and every difference; a literal or selector that cannot
    be read raises `LiteralError`, a `ValueError` that names its line.
    """

    __hash__ = None  # type: ignore[assignment] # it equals literals, which hash by their text

    def __init__(self, source: Source) -> None:
        self._source = source

    # -- made from -----------------------------------------------------------------------------------------------

    @classmethod
    def from_otlp(cls, body: bytes, *, encoding: str | None = None) -> Self:
        """The observations of an export body: OTLP as protobuf or JSON, gzip or not.

        Raises `pytest_langfuse.recording.DecodeError`, a `ValueError`, for bytes that are none.
        """
        plain = decompressed(body)
        with undisturbed(len(plain) // SIZE):
            return cls(StaticSource(decode_otlp(body, encoding=encoding), wire=[WireBody("body", plain)]))

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Self:
        """The observations in a file: export bodies (OTLP) or JSON of Langfuse's API; gzip or not.

        JSON may be one document or several, one a line. Raises `pytest_langfuse.recording.DecodeError`, a
        `ValueError` that names the file, for anything else.
        """
        return cls(read_source(Path(path)))

    @classmethod
    def from_api(cls, client: Langfuse, trace_id: str) -> Self:
        """The observations of a trace that is in Langfuse. Raises `LookupError` if it is not, or not yet."""
        return cls(StaticSource(fetch_trace(client, trace_id)))

    # -- a sequence ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._source.observations())

    def __iter__(self) -> Iterator[Observation]:
        return iter(self._source.observations())

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Observation]: ...
    def __getitem__(self, index: int | slice) -> Observation | Sequence[Observation]:
        return self._source.observations()[index]

    def __eq__(self, other: object) -> bool:
        """Whether `assert_tree` would pass (`str`), or `str(self)` is the snapshot, or the sequence is the same."""
        if isinstance(other, str):
            captured = self._source.observations()
            with undisturbed(max(len(captured), len(other) // SIZE)):
                return compare(parse(other), captured, current()) is None
        if isinstance(other, list | tuple | Observations):
            return list(self) == list(other)
        if type(other).__module__.partition(".")[0] in _SNAPSHOTS:
            # They would keep the repr, which says hardly anything.
            return bool(str(self) == other)
        return NotImplemented

    def __str__(self) -> str:
        """The literal that matches, without ids, times and versions."""
        return render(self._source.observations())

    def __repr__(self) -> str:
        names = [name_in_sentence(observation.name) for observation in self._source.observations()[:4]]
        shown = ", ".join([*names[:3], *(["…"] if len(names) > 3 else [])])  # noqa: PLR2004 - three names
        return f"<{type(self).__name__} ({len(self)}): {shown}>" if names else f"<{type(self).__name__}: none>"

    # -- assertions ----------------------------------------------------------------------------------------------

    def assert_tree(self, literal: str, /, *, order: Order = "start", **values: Any) -> None:
        """The captured trees are those of `literal`, no more and no less; only the keys that it lists are compared.

        `order="any"`: siblings may have started in any order. `values` are what `$name` in the literal stands for,
        anything with `__eq__`.
        """
        __tracebackhide__ = True
        if order not in ("start", "any"):
            raise ValueError(f"order is 'start' or 'any', not {order!r}")
        self._compare(literal, values, order=order, contained=False)

    def assert_contains(self, literal: str, /, **values: Any) -> None:
        """The tree of `literal` is somewhere in what was captured.

        Each of its lines has the observations of the lines below it as children, in any order, perhaps among others.
        Several trees in one literal are found independently, each an observation of its own.
        """
        __tracebackhide__ = True
        self._compare(literal, values, order="any", contained=True)

    def _compare(self, literal: str, values: dict[str, Any], *, order: Order, contained: bool) -> None:
        __tracebackhide__ = True
        captured, style = self._source.observations(), current()
        with undisturbed(max(len(captured), len(str(literal)) // SIZE)):
            root = parse(literal, values)
            if contained and not root.children:
                raise LiteralError("the literal has no observation to look for")
            diff = compare(root, captured, style, order=order, contained=contained)
        if diff is not None:
            text = failure.tree_text(diff, captured, self._source.unexported(), style)
            raise TreeMismatch(style.body(text), diff.sentences)

    def assert_propagated(self, *fields: str, value: Any = None) -> None:
        """Each of `fields` has a value, the same on every observation of a trace (and equal to `value`, if given).

        A field is one of `Observation` or a path such as `metadata.tenant`.
        """
        __tracebackhide__ = True
        if not fields:
            raise TypeError("assert_propagated() needs the fields to look at, such as 'user_id'")
        keys = [propagated_key(field) for field in fields]
        self._need_any()
        sentences = [text for key in keys for text in gaps(self.traces, key, value, current().width)]
        if sentences:
            self._fail("not propagated to every observation:", sentences)

    def assert_single_trace(self) -> None:
        """All observations are of one trace."""
        __tracebackhide__ = True
        self._need_any()
        traces = self.traces
        if len(traces) > 1:
            sentences = [_trace_and_roots(trace) for trace in traces]
            self._fail(f"{len(traces)} traces, expected one (was the context lost over a thread or task?):", sentences)

    def assert_flushed(self) -> None:
        """All that ended, was sampled and passed the filters was delivered, and no process of the test lost any."""
        __tracebackhide__ = True
        lost = self._source.undelivered()
        if lost:
            sentences = [f"`{name_in_sentence(item.observation.name)}`: {item.detail}" for item in lost]
            what = "observation was" if len(lost) == 1 else "observations were"
            self._fail(f"{len(lost)} {what} not delivered:", sentences)

    def assert_not_exported(self, *secrets: str) -> None:
        """None of the texts is in what any exporter of the process put on the wire, however it is written there.

        Looked for are the text itself and how JSON (also inside of JSON), URLs and base64 write it. Failures name the
        exporter, the span and the attribute, and never show the text.
        """
        __tracebackhide__ = True
        if not secrets or not all(secrets):
            raise ValueError("assert_not_exported() needs the texts to look for, which are not empty")
        bodies = list(self._source.wire())
        if not bodies and not self._source.unexported():
            self._need_any()
        needles = [Needle(secret) for secret in secrets]
        sentences = [
            f"{needle.masked()}: {masked(needles, str(hit))}" for needle in needles for hit in find(needle, bodies)
        ]
        if sentences:
            self._fail("exported, but must not be:", sentences)

    # -- selection -----------------------------------------------------------------------------------------------

    def one(self, selector: str = "any *", /, **fields: Any) -> Observation:
        """The one observation that `selector` names: a line of a literal, such as `"generation llm model=gpt-4o"`.

        `fields` are further conditions, compared by `==`. Fails unless there is exactly one.
        """
        __tracebackhide__ = True
        select, captured = Selector(selector, fields), self._source.observations()
        found = select(captured)
        if len(found) == 1:
            return found[0]
        if not captured:
            self._need_any()
        if found:
            return self._fail(f"{len(found)} observations are `{select.text}`, expected one.", [], show=captured)
        closest = select.closest(captured, current().width)
        return self._fail(f"no observation is `{select.text}`{':' if closest else '.'}", closest, show=captured)

    def all(self, selector: str = "any *", /, **fields: Any) -> list[Observation]:
        """All observations that `selector` and `fields` name, perhaps none; see `one`."""
        return Selector(selector, fields)(self._source.observations())

    def trace(self, name: str, /) -> Trace:
        """The one trace of that name, in which globs are allowed. Fails unless there is exactly one."""
        __tracebackhide__ = True
        traces, wanted = self.traces, Name(name)
        found = [trace for trace in traces if wanted.matches(trace.name or "")]
        if len(found) == 1:
            return found[0]
        if not traces:
            self._need_any()
        what = f"{len(found)} traces are" if found else "no trace is"
        return self._fail(
            f"{what} named {name!r}{', expected one' if found else ''}; the traces are:",
            [trace_label(trace) for trace in traces],
        )

    @property
    def traces(self) -> list[Trace]:
        """The traces, in the order in which they started."""
        return build_traces(self._source.observations())

    @property
    def scores(self) -> list[Score]:
        """The scores that the application sent."""
        return list(self._source.scores())

    @property
    def usage(self) -> dict[str, float]:
        """The usage of all observations, summed by key."""
        return _summed(observation.usage for observation in self)

    @property
    def cost(self) -> dict[str, float]:
        """The cost of all observations in USD, summed by key; texts that are no numbers count nothing."""
        return _summed(observation.cost for observation in self)

    @property
    def unexported(self) -> list[Unexported]:
        """What was recorded but not exported, each with the reason."""
        return list(self._source.unexported())

    @property
    def filtered(self) -> list[Observation]:
        """What `should_export_span`, or Langfuse's default filter, kept from being exported."""
        return self._unexported("filtered")

    @property
    def unended(self) -> list[Observation]:
        """What has not ended."""
        return self._unexported("unended")

    @property
    def sampled_out(self) -> list[Observation]:
        """What the sampler turned down."""
        return self._unexported("sampled_out")

    @property
    def late(self) -> list[Observation]:
        """What ended after the test in which it started."""
        return list(self._source.late())

    def _unexported(self, reason: Reason) -> list[Observation]:
        return [item.observation for item in self._source.unexported() if item.reason == reason]

    # -- over time -----------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget everything so far."""
        self._source.clear()

    def wait_for(
        self,
        selector: str = "any *",
        /,
        *,
        count: int = 1,
        timeout: float = 5.0,
        **fields: Any,
    ) -> list[Observation]:
        """Wait until at least `count` observations that `selector` and `fields` name were exported; returns them all.

        For observations of other threads and processes. Fails after `timeout` seconds, saying what arrived.
        """
        __tracebackhide__ = True
        select, end = Selector(selector, fields), _now() + timeout
        while True:
            found = select(self._source.observations())
            left = end - _now()
            if len(found) >= count:
                return found
            if left <= 0:
                break
            self._source.wait(min(left, _NAP))
        captured = self._source.observations()
        what = f"{len(found)} of {count}" if count > 1 else "no"
        return self._fail(f"waited {timeout:g} s, {what} `{select.text}` arrived.", [], show=captured)

    # -- failing -------------------------------------------------------------------------------------------------

    def _need_any(self) -> None:
        __tracebackhide__ = True
        if not len(self):
            self._fail(failure.NOTHING, [])

    def _fail(self, summary: str, sentences: Sequence[str], *, show: Sequence[Observation] | None = None) -> NoReturn:
        __tracebackhide__ = True
        style = current()
        text = failure.plain_text(summary, sentences, show, self._source, style)
        raise TreeMismatch(style.body(text), sentences)


def explain_equality(left: object, right: object) -> list[str] | None:
    """Lines that explain a failed `observations == "literal"`; `None` for any other comparison.

    The differences come before the trees, because pytest shows eight lines unless asked for more.
    """
    observations, literal = (left, right) if isinstance(left, Observations) else (right, left)
    if not isinstance(observations, Observations) or not isinstance(literal, str):
        return None
    captured, style = observations[:], current()
    diff = compare(parse(literal), captured, style)
    if diff is None:
        return None
    return failure.differences_first(diff, captured, observations.unexported, style).splitlines()


def _now() -> float:
    """Seconds of a clock that freezegun leaves alone: a frozen one would make a wait endless."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic()


def _trace_and_roots(trace: Trace) -> str:
    roots = ", ".join(f"{root.type} {name_in_sentence(root.name)}" for root in trace.roots)
    count = len(trace.observations)
    return f"{trace_label(trace)}: {count} observation{'' if count == 1 else 's'} from {roots} on"


def _summed(details: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in details:
        for key, value in one.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                total[key] = total.get(key, 0) + value
    return total
