"""The work of all rules where nothing is found: what they decode, walks over the observations, and calls."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langfuse import propagate_attributes

from pytest_langfuse import Observation
from pytest_langfuse.recording import server_view, span_record
from pytest_langfuse.rules.evidence import Evidence
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet
from tests.helpers.paths import ROOT

#: Of a request: the agent, a retriever and a model call.
SIZE = 3
RULES = RuleSet.of()


@pytest.fixture
def serve(client, langfuse_spans) -> Callable[[int], Evidence]:
    """Makes requests that no rule has anything to say about, and returns the evidence of them."""

    def served(requests: int) -> Evidence:
        start = client.start_as_current_observation
        for _ in range(requests):
            with (
                propagate_attributes(user_id="ann", session_id="s", tags=["shop"], metadata={"tenant": "north"}),
                start(name="answer", as_type="agent", input={"question": "When?"}) as answer,
            ):
                with start(name="search", as_type="retriever", input="When?") as search:
                    search.update(output=[{"id": "8f14e45f-ceea-467f-a1d2-91a2f1c0b801", "text": "On Tuesday."}])
                with start(name="llm", as_type="generation", model="gpt-4o", input="When?") as llm:
                    llm.update(output="On Tuesday.", usage_details={"input": 9, "output": 3})
                answer.update(output="On Tuesday.")
        return evidence_of(langfuse_spans._source, "test", final=True)

    return served


def test_each_observation_is_decoded_once_and_no_further_than_its_usage(serve, monkeypatch):
    decoded: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **named: (decoded.update([name]), original(*args, **named))[1])

    for name in ("observation_type", "usage", "input_output", "stored_metadata", "model_parameters"):
        count(server_view, name)
    count(server_view.fields, "environment")
    count(span_record, "encodable")
    evidence = serve(20)
    decoded.clear()
    assert RULES.find(evidence) == []
    # And the resource, if nothing has read it before.
    assert decoded.pop("encodable") in (20 * SIZE, 20 * SIZE + 1)
    assert decoded == {"observation_type": 20 * SIZE, "usage": 20}


class Counted(list[Observation]):
    """Observations that count how often they were walked over."""

    walks = 0

    def __iter__(self) -> Iterator[Observation]:
        Counted.walks += 1
        return super().__iter__()


def test_observations_are_walked_over_for_all_rules_at_once(serve, monkeypatch):
    monkeypatch.setattr(Counted, "walks", 0)
    evidence = serve(1)
    evidence.observations = Counted(evidence.observations)
    assert RULES.find(evidence) == []
    # By the rules that look at each observation, to index the traces, and for values that are not sent.
    assert Counted.walks == 3
    Counted.walks = 0
    [trace] = evidence.traces
    del trace.owners
    trace.observations = Counted(trace.observations)
    assert RULES.find(evidence) == []
    # To index the owners, and by the rules that compare names and model calls. More belongs into the evidence.
    assert Counted.walks <= 4


def calls_of(work: Callable[[], object]) -> int:
    """Count the calls of functions of Python that it makes."""
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def test_calls_grow_with_the_observations_and_are_few(serve, langfuse_spans):
    def find(requests: int) -> int:
        langfuse_spans._source.clear()
        evidence = serve(requests)
        return calls_of(lambda: RULES.find(evidence))

    find(1)
    few, many = find(20), find(200)
    assert many < few * 10.5
    # What is done once depends on the clients of other tests.
    assert (many - few) / (180 * SIZE) < 110


@pytest.mark.parametrize(
    "arguments", [[], ["--langfuse-capture", "-o", "langfuse_rules_select="]], ids=["fixture", "no rule selected"]
)
def test_nothing_is_done_where_no_rule_is_evaluated(pytester, monkeypatch, arguments):
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("no evidence is asked for")

    monkeypatch.setattr(Evidence, "__init__", refuse)
    pytester.makepyfile(
        """
        from langfuse import Langfuse
        from pytest_langfuse.recording.sdk import hooks

        def test_it(langfuse_spans):
            client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")
            client.start_observation(name="llm", as_type="generation").end()
            assert [one.name for one in langfuse_spans] == ["llm"]
            assert hooks.recorder.places is None
            [recorded] = langfuse_spans._source.own.spans
            assert recorded.start is None
        """
    )
    pytester.runpytest(*arguments).assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_benchmark_runs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import rules

    found = rules.judged(observations=60, tests=2)
    assert {rule.code for rule in RULES.rules} <= found.large.keys()
    assert found.small.keys() == {"texts", "names"}
