"""Notes what fixtures of a wider scope than one test make: it belongs to the test in which they are set up."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_langfuse.recording.why_nothing import WiderFixture

if TYPE_CHECKING:
    from _pytest.fixtures import FixtureDef, SubRequest

    from pytest_langfuse.recording.recorder import Recorder

#: Names that are kept of what a fixture makes.
_NAMES: Final = 20
#: How pytest names the fixtures that it makes of `setup_module`, `setup_class` and `setUpClass`.
_GENERATED: Final = re.compile(r"_(?:xunit|unittest)_(\w+?)_fixture_")


class WiderFixtures:
    """Tells the recorder which spans such fixtures make, for as long as they are in use. Registered as a plugin."""

    def __init__(self, recorder: Recorder, started: Callable[[], tuple[str, Sequence[str]]]) -> None:
        self._recorder = recorder
        #: Returns the test that runs, and the names of the spans that have started in it.
        self._started = started

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: FixtureDef[Any]) -> Generator[None, object, object]:
        """Note what a fixture makes while it is set up."""
        if fixturedef.scope == "function":
            return (yield)
        _, before = self._started()
        self._recorder.fixtures_in_set_up += 1
        try:
            return (yield)
        finally:
            self._recorder.fixtures_in_set_up -= 1
            test, after = self._started()
            if made := after[len(before) :]:
                generated = _GENERATED.match(fixturedef.argname)
                name = generated.group(1) if generated else fixturedef.argname
                kept = list(dict.fromkeys(made))[:_NAMES]
                fixture = WiderFixture(name, fixturedef.scope, test, kept)
                self._recorder.fixtures[fixturedef] = fixture
                self._recorder.made_by(fixture, len(made))

    def pytest_fixture_post_finalizer(self, fixturedef: FixtureDef[Any], request: SubRequest) -> None:  # noqa: ARG002
        """Forget a fixture that is torn down."""
        self._recorder.fixtures.pop(fixturedef, None)
