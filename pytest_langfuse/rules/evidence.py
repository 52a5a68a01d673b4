"""Evidence for rules: the observations of a test or a file, linked and indexed once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.rules.one_line import one_line, shortened
from pytest_langfuse.rules.secrets.own_pattern import hidden
from pytest_langfuse.rules.secrets.scan import without_secrets

if TYPE_CHECKING:
    from pytest_langfuse.recording.lost_value import LostValue
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.recorded_span import RecordedSpan
    from pytest_langfuse.recording.sources.score import Score
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.recording.start_place import Place
    from pytest_langfuse.rules.secrets.own_pattern import OwnPattern

#: A trace's id and an observation's id.
Key = tuple[str, str]

#: Where an application puts costs of its own.
COST_DETAILS: Final = "langfuse.observation.cost_details"


class TraceView:
    """The observations of one trace, in the order in which they started."""

    def __init__(self, trace_id: str) -> None:
        self.id = trace_id
        self.observations: list[Observation] = []
        #: Those without a parent among them, whether they name one or not.
        self.roots: list[Observation] = []

    @cached_property
    def owners(self) -> tuple[Owners, Owners]:
        """The users and the sessions that the application has set in the trace."""
        # An agent framework makes a `gen_ai.conversation.id` for each of its runs.
        users, sessions = Owners("user"), Owners("session")
        for one in self.observations:
            attributes = one.record.attributes
            users.add(attributes.get("user.id") or attributes.get("langfuse.user.id"), one)
            sessions.add(attributes.get("session.id") or attributes.get("langfuse.session.id"), one)
        return users, sessions


class Owners:
    """The users or the sessions of a trace, as the application has set them."""

    def __init__(self, kind: Literal["user", "session"]) -> None:
        self.kind = kind
        #: Each with the first observation that has it.
        self.first: dict[str, Observation] = {}
        #: The observations for which none is set.
        self.without: list[Observation] = []

    def add(self, owner: object, observation: Observation) -> None:
        """Take note of the owner that is set for an observation, or that none is."""
        if owner:
            self.first.setdefault(str(owner), observation)
        else:
            self.without.append(observation)


class Evidence:
    """All that is known of a test, or of recorded traces.

    `observations` are exported and linked. `recorded` returns how a span of this process was started and what became of
    it, by its key; it is empty for files and for other processes.
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        *,
        unexported: Sequence[Unexported] = (),
        late: Sequence[Observation] = (),
        scores: Callable[[], Sequence[Score]] = tuple,
        recorded: Callable[[], Mapping[Key, RecordedSpan]] = dict,
        application: Callable[[], ApplicationFacts] = ApplicationFacts,
        test: str = "",
        is_final: bool = True,
    ) -> None:
        self.observations = observations
        self.unexported = unexported
        #: Observations of earlier tests that ended in this one.
        self.late = late
        #: The id of the test, as pytest has it.
        self.test = test
        #: Whether the test and its fixtures have ended.
        self.is_final = is_final
        #: Options of the rule that is called.
        self.options: Mapping[str, Any] = {}
        #: The patterns of the project's own secrets.
        self.own_patterns: Sequence[OwnPattern] = ()
        self._scores, self._recorded, self._application = scores, recorded, application

    @cached_property
    def traces(self) -> Sequence[TraceView]:
        """The traces, in the order in which they started."""
        views: dict[str, TraceView] = {}
        for one in self.observations:
            view = views.get(one.trace_id)
            if view is None:
                view = views[one.trace_id] = TraceView(one.trace_id)
            view.observations.append(one)
            if one.parent is None:
                view.roots.append(one)
        return list(views.values())

    @cached_property
    def trace_by_id(self) -> Mapping[str, TraceView]:
        """The traces by their ids."""
        return {trace.id: trace for trace in self.traces}

    @cached_property
    def repeated(self) -> Sequence[tuple[Observation, Observation]]:
        """Pairs of observations with the same id in recorded traces: the first one, and each further one."""
        first: dict[Key, Observation] = {}
        return [
            (before, one)
            for one in self.observations
            if (before := first.setdefault((one.trace_id, one.id), one)) is not one
        ]

    @cached_property
    def doubtful(self) -> Sequence[Observation]:
        """The observations of which something may not arrive as it was given.

        Their span had attributes, a name or a status message that is not sent, or it has costs of its own.
        """
        return [one for one in self.observations if one.record.is_incomplete() or COST_DETAILS in one.record.attributes]

    def of_lost(self, lost: LostValue) -> Observation | None:
        """Return the observation that lacks a value, if it was exported."""
        for one in self.observations:
            found = self.record_of(one)
            if found is None:
                continue
            if lost.recorded is not None:
                is_it = found is lost.recorded
            else:
                # Its name was given where it was started.
                is_it = found.name == lost.observation and bool(
                    found.start and lost.start and found.start[0] is lost.start[0]
                )
            if is_it:
                return one
        return None

    @cached_property
    def missing(self) -> Mapping[Key, Unexported]:
        """Return the spans that were recorded but not exported, by their keys."""
        return {(item.observation.trace_id, item.observation.id): item for item in self.unexported}

    @cached_property
    def scores(self) -> Sequence[Score]:
        """The scores that were sent."""
        return self._scores()

    @cached_property
    def recorded(self) -> Mapping[Key, RecordedSpan]:
        """The records of this process, by their keys; what another process made has none."""
        return self._recorded()

    @cached_property
    def application(self) -> ApplicationFacts:
        """Facts about the application beside its observations."""
        return self._application()

    @property
    def is_live(self) -> bool:
        """True if the observations were recorded in this process, so that `recorded` knows them."""
        return bool(self.recorded)

    def record_of(self, observation: Observation) -> RecordedSpan | None:
        """Return how an observation was started, if that is known."""
        return self.recorded.get((observation.trace_id, observation.id))

    def place_of(self, observation: Observation | None) -> Place | None:
        """Return where an observation was started: else where its work was handed over, else its nearest ancestor's."""
        while observation is not None:
            record = self.record_of(observation)
            if record is not None:
                if (place := record.place) is not None:
                    return place
                if record.handed_over is not None and (place := record.handed_over.place) is not None:
                    return place
            observation = observation.parent
        return None

    def holds_secret(self, text: str) -> bool:
        """Return whether a text has a secret in it, so that messages must not repeat it."""
        return self.without_secrets(text) != text

    def without_secrets(self, text: str) -> str:
        """Return a text for a message: it never repeats a secret, such as one in the name of an observation."""
        text = without_secrets(text)
        return hidden(self.own_patterns, text) if self.own_patterns else text

    def shown(self, text: str) -> str:
        """Return a text of a trace as messages show it: on one line, not longer than a name is, and without secrets."""
        return one_line(shortened(self.without_secrets(text)))

    def quoted(self, text: str) -> str:
        """Return a text of a trace as `shown` does, in quotes. Facts have no other way to quote one."""
        return repr(shortened(self.without_secrets(text)))

    def called(self, name: str, place: Place | None, detail: str = "") -> str:
        """Return how messages call what has a name and perhaps a place: `'search' (bot/tools.py:41)`."""
        details = ", ".join(text for text in ("" if place is None else str(place), detail) if text)
        return f"{self.quoted(name)} ({details})" if details else self.quoted(name)

    def named(self, observation: Observation, detail: str = "") -> str:
        """Return how messages call an observation, with a detail after its place."""
        return self.called(observation.name, self.place_of(observation), detail)


#: The scope of what the SDK starts.
_SDK = "langfuse-sdk"


def is_for_langfuse(observation: Observation) -> bool:
    """Return whether an observation is one that Langfuse gets where nobody has chosen: the SDK's, or of an LLM call."""
    return observation.record.scope_name == _SDK or observation.type != "span"


def ancestors(observation: Observation) -> Iterator[Observation]:
    """Yield the parent, its parent, and so on."""
    parent = observation.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def descendants(observation: Observation) -> Iterator[Observation]:
    """Yield all below an observation, in the order in which a tree shows them."""
    stack = observation.children[::-1]
    while stack:
        one = stack.pop()
        yield one
        stack += one.children[::-1]


def is_set(value: Any) -> bool:
    """Return whether an input or output holds anything: `None` and empty texts and containers don't."""
    return value is not None and value not in ("", [], {})
