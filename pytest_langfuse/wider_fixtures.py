"""Notes what fixtures of a wider scope than one test make: it belongs to the test in which they are set up."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from pytest_langfuse.recording.why_nothing import WiderFixture

if TYPE_CHECKING:
    from _pytest.fixtures import FixtureDef, SubRequest

    from pytest_langfuse.recording.recorder import Recorder

#: Names that are kept of what a fixture makes.
_NAMES: Final = 20
#: How pytest names the fixtures that it makes of `setup_module`, `setup_class` and `setUpClass`.
_GENERATED: Final = re.compile(r"_(?:xunit|unittest)_(\w+?)_fixture_")


class MadeSoFar(NamedTuple):
    """The test that runs, and the spans that have started in it, each by its name and id."""

    test: str
    spans: list[tuple[str, str]]


@dataclass(slots=True)
class _SetUp:
    """A fixture that is in use; `id` is that of the first span that it has made."""

    name: str
    scope: str
    node: str
    param: int | None
    id: str = ""

    def made(self, test: str, spans: list[tuple[str, str]]) -> WiderFixture:
        """Return what is to be remembered of it, once it has made spans in a test."""
        self.id = self.id or spans[0][1]
        names = list(dict.fromkeys(name for name, _ in spans))[:_NAMES]
        return WiderFixture(self.name, self.scope, test, names, self.node, self.param, self.id)


class WiderFixtures:
    """Tells the recorder which spans such fixtures make, for as long as they are in use. Registered as a plugin."""

    def __init__(self, recorder: Recorder, started: Callable[[], MadeSoFar]) -> None:
        self._recorder = recorder
        self._started = started
        #: How many are being set up or torn down: one may ask for another while it is.
        self._depth = 0
        self._began = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: FixtureDef[Any], request: SubRequest) -> Generator[None, object, object]:
        """Note what a fixture makes while it is set up, and see to it that this is done when it is torn down."""
        if fixturedef.scope == "function":
            return (yield)
        set_up, before_teardown = _set_up(fixturedef, request), list[int]()
        # Finalizers run in reverse order: this one after all that the fixture itself adds.
        fixturedef.addfinalizer(lambda: self._end_teardown(set_up, before_teardown))
        before = self._begin()
        self._recorder.fixtures_in_set_up += 1
        try:
            return (yield)
        finally:
            self._recorder.fixtures_in_set_up -= 1
            if (fixture := self._end(set_up, before)) is not None:
                self._recorder.fixtures[fixturedef] = fixture
            fixturedef.addfinalizer(lambda: before_teardown.append(self._begin()))

    def pytest_fixture_post_finalizer(self, fixturedef: FixtureDef[Any], request: SubRequest) -> None:  # noqa: ARG002
        """Forget a fixture that is torn down."""
        self._recorder.fixtures.pop(fixturedef, None)

    def _begin(self) -> int:
        """Return how many spans have started in the test so far."""
        if not self._depth:
            self._began = perf_counter()
        self._depth += 1
        return len(self._started().spans)

    def _end(self, set_up: _SetUp, before: int, *, in_teardown: bool = False) -> WiderFixture | None:
        """Note what a fixture has made since then; `None` if it has made nothing."""
        self._depth -= 1
        if not self._depth:
            # Never negative: a fixture may freeze the clock.
            self._recorder.in_fixtures(max(0.0, perf_counter() - self._began))
        test, spans = self._started()
        if not (made := spans[before:]):
            return None
        fixture = set_up.made(test, made)
        self._recorder.made_by(fixture, len(made), in_teardown=in_teardown)
        return fixture

    def _end_teardown(self, set_up: _SetUp, before: list[int]) -> None:
        if before:
            self._end(set_up, before.pop(), in_teardown=True)


def _set_up(fixturedef: FixtureDef[Any], request: SubRequest) -> _SetUp:
    generated = _GENERATED.match(fixturedef.argname)
    name = generated.group(1) if generated else fixturedef.argname
    param = request.param_index if hasattr(request, "param") else None
    return _SetUp(name, fixturedef.scope, request.node.nodeid, param)
