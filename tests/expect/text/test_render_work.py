"""How much work rendering does."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import pytest

from pytest_langfuse import Observations
from pytest_langfuse.recording import SpanRecord, observe
from pytest_langfuse.recording.sources.static import StaticSource


def observations(count: int) -> Observations:
    shown = {"langfuse.observation.input": '{"a":1}'}
    records = (
        SpanRecord("a" * 32, f"{index:016x}", None, "llm", index + 1, attributes=shown) for index in range(count)
    )
    return Observations(StaticSource(map(observe, records)))


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """The phases of garbage collections while nearly each new object causes one."""
    phases: list[str] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        phases.append(phase)

    before = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(10)
    yield phases
    gc.set_threshold(*before)
    gc.callbacks.remove(note)


def test_no_encoder_is_built_for_a_value(monkeypatch):
    built = []
    original = json.JSONEncoder.__init__

    def init(encoder, **kwargs):
        built.append(encoder)
        original(encoder, **kwargs)

    monkeypatch.setattr(json.JSONEncoder, "__init__", init)
    assert str(observations(2)) == 'span llm input={"a":1}\nspan llm input={"a":1}'
    assert built == []


def test_garbage_is_not_collected_while_many_are_rendered(collections):
    made = observations(5_000)
    collections.clear()
    text = str(made)
    during = len(collections)
    assert text.count("\n") == 4_999
    assert during <= 2
    few = observations(500)
    collections.clear()
    str(few)
    assert len(collections) > 2
