"""Parts are `Observations` again: a trace, or an observation with all below it."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse import LiteralError, Observations, Score, TreeMismatch, Unexported
from pytest_langfuse.recording.sources.source import WireBody
from pytest_langfuse.recording.sources.static import StaticSource
from tests.helpers.forest import captured, forest, observation, of

TREE = """
span answer usage={"total":1}
  agent x model=a usage={"total":2}
    tool search
    chain step
      generation llm model=a usage={"total":4}
  agent y
    generation llm model=b
span other
"""


def unexported(name, parent, number, reason="filtered", detail="default span filter"):
    return Unexported(observation("span", name, id=number, parent=parent), reason, detail)


def test_below_is_the_observation_and_all_below_it():
    spans = captured(TREE)
    part = spans.below("agent x", model="a")
    assert list(part) == [spans[1], spans[2], spans[3], spans[4]]
    part.assert_tree("""
        agent x
          tool search
          chain step
            generation llm
    """)
    with pytest.raises(TreeMismatch) as error:
        part.assert_tree("agent x\n  tool search\n  chain step\n    generation llm model=b")
    assert error.value.differences == ("llm: model is 'a', expected 'b'",)
    assert "agent y" not in str(error.value)
    assert part.one("generation llm").model == "a"
    assert part.usage == {"total": 6}
    assert str(part).startswith("agent x model=a")
    assert part == str(part)
    part.assert_contains("chain step\n  generation llm")
    with pytest.raises(TreeMismatch):
        part.assert_contains("agent y")


def test_the_top_of_a_part_keeps_its_parent_and_is_no_orphan():
    spans = captured(TREE)
    part = spans.below("agent x")
    assert part[0].parent is spans[0]
    with pytest.raises(TreeMismatch) as error:
        part.assert_tree("agent z")
    assert "Not exported" not in str(error.value)


def test_parts_of_parts():
    spans = captured(TREE)
    assert spans.below("span answer").below("chain step").skeleton() == "chain step\n  generation llm"
    assert spans.in_trace("answer").below("agent y").skeleton() == "agent y\n  generation llm"


def test_in_trace():
    spans = captured(TREE)
    assert spans.in_trace("oth*").skeleton() == "span other"
    assert len(spans.in_trace("answer")) == 7
    spans.in_trace("answer").assert_single_trace()
    with pytest.raises(TreeMismatch, match="no trace is named 'nobody'"):
        spans.in_trace("nobody")


def test_skeleton_is_a_literal():
    spans = captured(TREE)
    assert spans.skeleton().splitlines()[:3] == ["span answer", "  agent x", "    tool search"]
    spans.assert_tree(spans.skeleton())
    assert of([]).skeleton() == ""


def test_a_part_must_exist_and_be_one():
    spans = captured(TREE)
    with pytest.raises(TreeMismatch, match="2 observations match `agent \\*`, expected one"):
        spans.below("agent *")
    with pytest.raises(TreeMismatch, match="no observation matches `agent q`"):
        spans.below("agent q")
    with pytest.raises(LiteralError, match="a selector is TYPE NAME"):
        spans.below("x")
    with pytest.raises(TypeError):
        spans.below(1)


def test_what_arrives_later_belongs_to_the_part():
    made = forest("span answer\n  agent x\n    tool t")

    class Growing(StaticSource):
        def wait(self, timeout: float) -> None:
            self.__init__([*made, observation("generation", "llm", id=9, parent=made[1])])

    part = Observations(Growing(made)).below("agent x")
    assert part.wait_for("generation llm", timeout=5)[0].name == "llm"
    part.assert_tree("agent x\n  tool t\n  generation llm")


def test_what_else_is_known_of_a_part():
    made = forest(TREE)
    inside = unexported("in part", made[3], 20)
    deeper = unexported("deeper", inside.observation, 21, "dropped", "it was lost")
    outside = unexported("elsewhere", made[5], 22, "dropped", "it was lost")
    scores = [
        Score(name="a", value=1, trace_id=made[0].trace_id, observation_id=made[4].id),
        Score(name="b", value=1, trace_id=made[0].trace_id, observation_id=made[6].id),
        Score(name="c", value=1, trace_id=made[0].trace_id),
        Score(name="d", value=1, trace_id=made[7].trace_id),
    ]
    spans = of(
        made,
        unexported=[inside, deeper, outside],
        undelivered=[deeper, outside],
        late=[made[2], made[6]],
        scores=scores,
    )
    part = spans.below("agent x")
    assert [item.observation.name for item in part.unexported] == ["in part", "deeper"]
    assert [score.name for score in part.scores] == ["a"]
    assert part.late == [made[2]]
    with pytest.raises(TreeMismatch, match="1 observation was not delivered"):
        part.assert_flushed()
    assert [score.name for score in spans.in_trace("answer").scores] == ["a", "b", "c"]
    assert [score.name for score in spans.in_trace("other").scores] == ["d"]
    spans.in_trace("other").assert_flushed()


def test_only_the_bytes_of_the_part_are_searched():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("answer"):
        with tracer.start_as_current_span("clean"):
            pass
        with tracer.start_as_current_span("leak") as leak:
            leak.set_attribute("key", "s3cret-value")
    body = encode_spans(exporter.get_finished_spans()).SerializeToString()
    spans = Observations.from_otlp(body)
    spans.below("span clean").assert_not_exported("s3cret-value")
    for part in (spans, spans.in_trace("answer"), spans.below("span leak")):
        with pytest.raises(TreeMismatch, match="leak, attribute key"):
            part.assert_not_exported("s3cret-value")


def test_bytes_that_cannot_be_divided_are_searched_as_a_whole():
    spans = of(forest(TREE), wire=[WireBody("file", b'[{"key": "s3cret-value"}]')])
    with pytest.raises(TreeMismatch):
        spans.below("agent y").assert_not_exported("s3cret-value")


def test_scores_of_what_nothing_made():
    made = forest("span answer\n  tool t")
    trace = made[0].trace_id
    running = unexported("running", made[0], 8, "unended", "it never ended")
    filtered = unexported("filtered", made[0], 9)
    score = {
        "trace": Score(name="trace", value=1, trace_id=trace),
        "own": Score(name="own", value=1, trace_id=trace, observation_id=made[1].id),
        "running": Score(name="running", value=1, trace_id=trace, observation_id=running.observation.id),
        "session": Score(name="session", value=1, session_id="s-1"),
        "no trace": Score(name="no trace", value=1, trace_id="f" * 32),
        "no observation": Score(name="no observation", value=1, trace_id=trace, observation_id="f" * 16),
        "filtered": Score(name="filtered", value=1, trace_id=trace, observation_id=filtered.observation.id),
    }
    spans = of(made, unexported=[running, filtered], scores=list(score.values()))
    assert [one.name for one in spans.orphan_scores] == ["no trace", "no observation", "filtered"]
    assert of(made).orphan_scores == []
    assert [one.name for one in spans.in_trace("answer").orphan_scores] == ["no observation", "filtered"]
