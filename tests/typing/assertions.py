"""Assertions as users write them. Nothing runs it; mypy reads it, and reports a `type: ignore` that is not needed."""

from typing import Any, assert_type

from pytest_langfuse import Observation, Observations, Score, Trace, Unexported


class Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_literals(langfuse_spans: Observations, name: str) -> None:
    assert langfuse_spans == "span answer"
    assert_type(langfuse_spans == "span answer", bool)
    assert_type(str(langfuse_spans), str)
    langfuse_spans.assert_tree(name, order="start", literal=1, document=Anything())
    langfuse_spans.assert_contains(name, order=1)
    langfuse_spans.assert_tree(literal=name)  # type: ignore[call-arg]
    langfuse_spans.assert_tree(b"span answer")  # type: ignore[arg-type]


def test_the_rest(langfuse_spans: Observations) -> None:
    assert_type(langfuse_spans.traces, list[Trace])
    assert_type(langfuse_spans.traces[0].roots, list[Observation])
    assert_type(langfuse_spans.scores, list[Score])
    assert_type(langfuse_spans.cost, dict[str, float])
    assert_type(langfuse_spans.unexported, list[Unexported])
    assert_type(langfuse_spans.filtered, list[Observation])
    assert_type(langfuse_spans.unended, list[Observation])
    assert_type(langfuse_spans.sampled_out, list[Observation])
    assert_type(langfuse_spans.late, list[Observation])
    assert_type(langfuse_spans.wait_for("generation llm", timeout=1.0, model="gpt-4o"), list[Observation])
    assert_type(langfuse_spans.wait_for(count=3), list[Observation])
    assert_type(langfuse_spans.one("generation llm").output, Any)
    assert_type(langfuse_spans.one("generation llm").duration, float | None)
    assert_type(next(iter(langfuse_spans)).children, list[Observation])
    langfuse_spans.wait_for(timeout="1")  # type: ignore[arg-type]
    langfuse_spans.wait_for(3)  # type: ignore[arg-type]
    langfuse_spans.assert_single_trace(1)  # type: ignore[call-arg]
    langfuse_spans.usage = {}  # type: ignore[misc]
    langfuse_spans[0] = 1  # type: ignore[index]
