"""The sequence of captured observations: selecting from it, and waiting for more."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, overload

from pytest_langfuse import arguments
from pytest_langfuse.expect.errors import TreeMismatch
from pytest_langfuse.expect.literal.name_pattern import NamePattern, name_in_sentence
from pytest_langfuse.expect.propagation import trace_labels
from pytest_langfuse.expect.selection import Selector
from pytest_langfuse.expect.shown_secrets import hidden
from pytest_langfuse.expect.text import failure
from pytest_langfuse.expect.text.not_exported import Bearing, any_of, everything, not_exported, nothing
from pytest_langfuse.expect.text.style import current
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import Reason
from pytest_langfuse.recording.sources.score import Score, orphans
from pytest_langfuse.recording.sources.source import Source, Unexported
from pytest_langfuse.recording.trace import Trace, build_traces
from pytest_langfuse.suggest import no_attribute

#: The longest that `wait_for` sleeps without looking, in seconds: some ways to end tell nobody.
_NAP = 0.25
#: What the sums over all observations are called elsewhere, and how other libraries call a selection.
_OF_ALL: Final = {
    "usage_details": "usage",
    "tokens": "usage",
    "cost_details": "cost",
    "total_cost": "cost",
    "find": "one",
    "get": "one",
    "filter": "all",
    "find_all": "all",
}


class ObservationSequence(Sequence[Observation]):
    """Exported observations in the order in which they started, and what became of the others."""

    def __init__(self, source: Source) -> None:
        self._source = source

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

    def __repr__(self) -> str:
        names = [name_in_sentence(observation.name) for observation in self._source.observations()[:4]]
        shown = ", ".join([*map(hidden, names[:3]), *(["…"] if len(names) > 3 else [])])  # noqa: PLR2004 - three names
        return f"<{type(self).__name__} ({len(self)}): {shown}>" if names else f"<{type(self).__name__}: none>"

    # Hidden from type checkers, which report a name that does not exist themselves.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, type(self), _OF_ALL)

    # -- selection -----------------------------------------------------------------------------------------------

    def one(self, selector: str = "any *", /, **fields: Any) -> Observation:
        """Return the one observation that matches `selector`: a line such as `"generation llm model=gpt-4o"`.

        `fields` are further conditions, compared by `==`.

        Raises:
            TreeMismatch: there is none, or more than one.
            LiteralError: `selector` is not a line of a literal, or observations have no such field.
            TypeError: `selector` is not a string.
        """
        __tracebackhide__ = True
        select, captured = Selector(selector, fields), self._source.observations()
        found = select(captured)
        if len(found) == 1:
            return found[0]
        if not captured:
            self._need_any(select.names)
        if found:
            return self._fail(f"{len(found)} observations match `{select.text}`, expected one.", [], show=captured)
        closest = select.closest(captured, current().width)
        what = f"no observation matches `{select.text}`{':' if closest else '.'}"
        return self._fail(what, closest, show=captured, because=self._why_none(select.names))

    def all(self, selector: str = "any *", /, **fields: Any) -> list[Observation]:
        """Return all observations that match `selector` and `fields` (see `one`), perhaps none.

        Raises:
            LiteralError: `selector` is not a line of a literal, or observations have no such field.
            TypeError: `selector` is not a string.
        """
        return Selector(selector, fields)(self._source.observations())

    def trace(self, name: str, /) -> Trace:
        """Return the one trace of that name; globs are allowed.

        Raises:
            TreeMismatch: there is none, or more than one.
            TypeError: `name` is not a text.
        """
        __tracebackhide__ = True
        arguments.text("trace", "name", name)
        traces, wanted = self.traces, NamePattern(name)
        found = [trace for trace in traces if wanted.matches(trace.name or "")]
        if len(found) == 1:
            return found[0]
        if not traces:
            self._need_any(wanted.matches)
        what = f"{len(found)} traces are" if found else "no trace is"
        return self._fail(
            f"{what} named {name!r}{', expected one' if found else ''}; the traces are:",
            trace_labels(traces),
            because=[] if found else self._why_none(any_of([wanted])),
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
    def orphan_scores(self) -> list[Score]:
        """Scores of a trace or an observation that nothing made: Langfuse shows them nowhere.

        What has not ended counts as made, and so do the traces of earlier tests.
        """
        scores = self._source.scores()
        if not scores:
            return []
        running = (item.observation for item in self._source.unexported() if item.reason == "unended")
        made = ((one.trace_id, one.id) for one in (*self._source.observations(), *running))
        return orphans(scores, made, self._source.earlier_traces())

    @property
    def usage(self) -> dict[str, float]:
        """The usage of all observations, summed by key."""
        return _summed(observation.usage for observation in self)

    @property
    def cost(self) -> dict[str, float]:
        """The cost of all observations in USD, summed by key; texts that are not numbers are left out."""
        return _summed(observation.cost for observation in self)

    @property
    def unexported(self) -> list[Unexported]:
        """Observations that were recorded but not exported, each with the reason."""
        return list(self._source.unexported())

    @property
    def filtered(self) -> list[Observation]:
        """Observations that `should_export_span`, or Langfuse's default filter, kept from being exported."""
        return self._unexported("filtered")

    @property
    def unended(self) -> list[Observation]:
        """Observations that have not ended."""
        return self._unexported("unended")

    @property
    def sampled_out(self) -> list[Observation]:
        """Observations that the sampler dropped."""
        return self._unexported("sampled_out")

    @property
    def late(self) -> list[Observation]:
        """Observations that ended after the test in which they started."""
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
        """Wait until at least `count` observations that match `selector` and `fields` are exported; return them all.

        For observations of other threads and processes. `timeout` is in seconds.

        Raises:
            TreeMismatch: fewer arrived in time; the message shows which.
            LiteralError: `selector` is not a line of a literal, or observations have no such field.
            ValueError: `count` is below 1, or `timeout` not a number of seconds.
            TypeError: `selector` is not a string, or `count` or `timeout` not a number.
        """
        __tracebackhide__ = True
        arguments.count("wait_for", "count", count)
        arguments.number("wait_for", "timeout", timeout)
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
        what = f"{len(found)} of {count} observations" if count > 1 else "no observation"
        summary = f"timed out after {timeout:g} s: {what} matching `{select.text}` arrived."
        if not captured:
            why = failure.nothing_text(self._why_none(everything), self._source, select.names, current())
            return self._fail(f"{summary}\n\n{why}", [])
        return self._fail(summary, [], show=captured, because=self._why_none(select.names))

    # -- failing -------------------------------------------------------------------------------------------------

    def _need_any(self, sought: Bearing = nothing) -> None:
        __tracebackhide__ = True
        if not len(self):
            because = self._why_none(everything)
            why = failure.nothing_text(because, self._source, sought, current())
            self._fail(f"Nothing was exported.\n\n{why}" if because else why, [])

    def _fail(
        self,
        summary: str,
        sentences: Sequence[str],
        *,
        show: Sequence[Observation] | None = None,
        because: Sequence[str] = (),
    ) -> NoReturn:
        """Fail; `because` are sentences on what was not exported."""
        __tracebackhide__ = True
        style = current()
        text = failure.plain_text(summary, sentences, show, because, self._source, style)
        raise TreeMismatch(style.body(text), sentences)

    def _why_none(self, bears: Bearing) -> list[str]:
        """Sentences on what was not exported and is, or was looked for in, what is missing."""
        return not_exported(self._source.unexported(), bears)


def _now() -> float:
    """Return the time, in seconds, of a clock that freezegun does not freeze: a frozen one would never time out."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic()


def _summed(details: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in details:
        for key, value in one.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                total[key] = total.get(key, 0) + value
    return total
