"""Captured tests over which all rules are evaluated by hand, with the processor time that each part takes.

`BENCHMARK_OBSERVATIONS` is the number of observations of the first test. The others make five each: of the assistant,
or those of `work`.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from assistant import make, serve
from langfuse import Langfuse
from work import TESTS, five_observations

from pytest_langfuse import Observations
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.span_record import from_readable_span
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet

LARGE = int(os.environ["BENCHMARK_OBSERVATIONS"])
READINGS = Path(os.environ["BENCHMARK_RULES"])
#: Reading one of each group decodes all fields of an observation.
FIELDS = ("name", "input", "usage", "tags", "environment")

langfuse = Langfuse()
rules = RuleSet.of()
large: dict[str, float] = {}
small: dict[str, list[dict[str, float]]] = {}


@contextmanager
def timed(readings: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds of processor time that the block takes to the readings."""
    start = time.process_time()
    yield
    readings[part] = readings.get(part, 0.0) + time.process_time() - start


def test_large(langfuse_spans: Observations) -> None:
    """Make many observations, build them, and judge them: before they are read, once more, and rule by rule."""
    gc.collect()
    with timed(large, "make"):
        trace_ids = make(langfuse, LARGE)
        langfuse.flush()
    for trace_id in trace_ids:
        langfuse.create_score(trace_id=trace_id, name="helpful", value=1, comment="the customer has clicked on it")
    source = langfuse_spans._source
    source.scores()
    gc.collect()
    with timed(large, "build"):
        assert len(source.observations()) == LARGE
    for part in ("rules", "again"):
        gc.collect()
        with timed(large, part):
            assert rules.find(evidence_of(source, "test", final=True)) == []
    evidence = evidence_of(source, "test", final=True)
    rules.find(evidence)
    with timed(large, "none"):
        RuleSet(()).find(evidence)
    for rule in rules.rules:
        with timed(large, rule.code):
            RuleSet((rule,)).find(evidence)
    # The same spans once more, of which nothing has been read.
    observations = [observe(from_readable_span(one.span)) for one in evidence.observations]
    gc.collect()
    with timed(large, "decode"):
        for one in observations:
            for field in FIELDS:
                getattr(one, field)


@pytest.mark.parametrize("number", range(TESTS))
@pytest.mark.parametrize(
    ("kind", "work"),
    [
        ("texts", lambda number: serve(langfuse, number, 5)),
        ("names", lambda _: five_observations(langfuse)),
    ],
)
def test_five(kind: str, work: Callable[[int], object], number: int, langfuse_spans: Observations) -> None:
    """Make five observations and judge them."""
    source = langfuse_spans._source
    readings: dict[str, float] = {}
    with timed(readings, "make"):
        work(number)
        langfuse.flush()
    with timed(readings, "build"):
        observations = source.observations()
    for part in ("rules", "again"):
        with timed(readings, part):
            rules.find(evidence_of(source, "test", final=True))
    fresh = [observe(from_readable_span(one.span)) for one in observations]
    with timed(readings, "decode"):
        for one in fresh:
            for field in FIELDS:
                getattr(one, field)
    assert len(observations) == 5
    small.setdefault(kind, []).append(readings)


def test_write_down() -> None:
    """Hand the readings over."""
    READINGS.write_text(json.dumps({"large": large, "small": small}), encoding="utf-8")
