"""The pause of the garbage collector while large trees are read."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pytest_langfuse.recording.gc_pause import _LARGE, undisturbed


@pytest.fixture(autouse=True)
def _collector_restored() -> Iterator[None]:
    enabled = gc.isenabled()
    yield
    if enabled:
        gc.enable()
    else:
        gc.disable()


@pytest.mark.parametrize(("observations", "enabled"), [(_LARGE - 1, True), (_LARGE, False)])
def test_only_large_trees_pause_it(observations, enabled):
    gc.enable()
    with undisturbed(observations):
        assert gc.isenabled() is enabled
    assert gc.isenabled()


def test_it_runs_again_after_an_error():
    gc.enable()
    with pytest.raises(RuntimeError), undisturbed(_LARGE):
        raise RuntimeError
    assert gc.isenabled()


def test_it_stays_off_if_it_was_off():
    gc.disable()
    with undisturbed(_LARGE):
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_what_the_application_froze_stays_frozen(monkeypatch):
    gc.enable()
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 10_000)
    monkeypatch.setattr(gc, "unfreeze", lambda: pytest.fail("unfroze objects of the application"))
    with undisturbed(_LARGE):
        pass
    assert gc.isenabled()


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """As in a process in which nothing is frozen: the run of these tests has frozen what it has collected."""
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    yield
    if frozen:
        gc.freeze()


def test_new_objects_count_as_old(nothing_frozen):
    gc.enable()
    with undisturbed(_LARGE):
        made = [[]]
    assert any(item is made[0] for item in gc.get_objects(generation=2))
    assert gc.get_freeze_count() == 0
