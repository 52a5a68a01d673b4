"""Assertions and selection besides trees: what passes, and what a failure says, to the letter."""

from __future__ import annotations

import base64
import json
from textwrap import dedent
from urllib.parse import quote

import pytest

from pytest_langfuse import LiteralError, Observations, TreeMismatch
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported, WireBody
from pytest_langfuse.recording.sources.static import StaticSource
from tests.helpers.forest import captured, forest, observation, of

TREE = """
    * user_id=u-1
    span answer
      retriever search output=["doc 1"]
      generation llm model=gpt-4o usage={"input":100,"total":120} cost={"total":0.25}
      generation llm model=gpt-4o-mini usage={"input":10,"output":2,"total":12} cost={"total":0.5}
"""
SHOWN = """
Captured:
  * user_id=u-1
  span answer
    retriever search output=["doc 1"]
    generation llm model=gpt-4o usage={"input":100,"total":120} cost={"total":0.25}
    generation llm model=gpt-4o-mini usage={"input":10,"output":2,"total":12} cost={"total":0.5}
"""
NOTHING = "Nothing was captured:\n  There are no observations in it."
FILTERED = Unexported(observation("span", "GET /x", id=90), "filtered", "default span filter")
UNENDED = Unexported(observation("generation", "stream", id=91), "unended", "it never ended")
SAMPLED_OUT = Unexported(observation("span", "rare", id=92), "sampled_out", "sampled out")


def failure(call, *args, **options) -> str:
    with pytest.raises(TreeMismatch) as error:
        call(*args, **options)
    return str(error.value)


def text(expected: str) -> str:
    return dedent(expected).strip("\n")


# -- a sequence --------------------------------------------------------------------------------------------------------


def test_it_is_a_sequence():
    observations = captured(TREE)
    assert len(observations) == 4
    assert [one.name for one in observations] == ["answer", "search", "llm", "llm"]
    assert observations[0].name == "answer"
    assert observations[-1].model == "gpt-4o-mini"
    assert [one.name for one in observations[1:3]] == ["search", "llm"]
    assert observations[1] in observations
    assert observations[0].children == observations[1:]
    assert observations[1].parent is observations[0]
    assert observations
    assert not of([])
    with pytest.raises(TypeError, match="unhashable"):
        hash(observations)


def test_its_repr_is_short():
    assert repr(captured(TREE)) == "<Observations (4): answer, search, llm, …>"
    assert repr(captured("span a")) == "<Observations (1): a>"
    assert repr(of([])) == "<Observations: none>"


def test_every_access_reads_the_source_anew():
    source = StaticSource(forest("span a"))
    observations = Observations(source)
    assert len(observations) == 1
    source._observations = forest("span a\nspan b")
    assert len(observations) == 2
    observations.clear()
    assert len(observations) == 0


def test_sums_over_all_observations():
    assert captured(TREE).usage == {"input": 110, "output": 2, "total": 132}
    assert captured(TREE).cost == {"total": 0.75}
    assert of([observation("span", "a", cost={"total": "NaN", "x": 1})]).cost == {"x": 1}


def test_what_became_of_the_rest():
    late, score = observation("span", "old", id=93), Score(name="quality", value=0.9)
    observations = captured(TREE, unexported=[FILTERED, UNENDED, SAMPLED_OUT], late=[late], scores=[score])
    assert observations.filtered == [FILTERED.observation]
    assert observations.unended == [UNENDED.observation]
    assert observations.sampled_out == [SAMPLED_OUT.observation]
    assert observations.unexported == [FILTERED, UNENDED, SAMPLED_OUT]
    assert observations.late == [late]
    assert observations.scores == [score]


# -- one, all, trace ---------------------------------------------------------------------------------------------------


def test_one():
    observations = captured(TREE)
    assert observations.one("retriever search") is observations[1]
    assert observations.one("generation llm model=gpt-4o") is observations[2]
    assert observations.one("generation llm", model="gpt-4o") is observations[2]
    assert observations.one(model="gpt-4o") is observations[2]
    assert observations.one("any *", parent=None) is observations[0]
    assert observations.one("generation l*", usage={"input": 100, "total": 120}) is observations[2]
    assert observations.one("generation llm usage.total<=$most", most=20) is observations[3]
    assert observations.one("generation llm", **{"usage.output": 2}) is observations[3]


def test_one_of_none():
    assert failure(captured(TREE).one, "generation llm", model="gpt-3") == text(
        """
        no observation matches `generation llm model=gpt-3`:
          llm: model is 'gpt-4o', expected 'gpt-3'
          llm: model is 'gpt-4o-mini', expected 'gpt-3'
        """
        + SHOWN.replace("\n", "\n        ")
    )
    assert failure(captured(TREE).one, "tool search").startswith(
        "no observation matches `tool search`:\n  search: type is retriever, expected tool\n\nCaptured:"
    )
    assert failure(captured(TREE, unexported=[FILTERED]).one, 'span "GET /x"') == text(
        """
        no observation matches `span "GET /x"`.
        """
        + SHOWN.replace("\n", "\n        ")
        + """
        Not exported:
          `GET /x` was recorded but not exported: default span filter
        """
    )
    assert failure(of([]).one, "span a") == NOTHING


def test_one_of_several():
    assert failure(captured(TREE).one, "generation llm") == text(
        "2 observations match `generation llm`, expected one.\n" + SHOWN
    )


def test_all():
    observations = captured(TREE)
    assert observations.all("generation llm") == observations[2:]
    assert observations.all("generation *", model="gpt-4o") == [observations[2]]
    assert observations.all(user_id="u-1") == list(observations)
    assert observations.all("tool *") == []


@pytest.mark.parametrize(
    ("selector", "fields", "message"),
    [
        ("llm", {}, "a selector is TYPE NAME, such as 'any llm', not 'llm'"),
        ("generatoin llm", {}, "unknown type 'generatoin' on line 1, did you mean 'generation'?"),
        ("generation llm", {"modle": 1}, "unknown key 'modle', did you mean 'model'?"),
        ("generation llm model=$x", {}, "no value for '$x' on line 1, pass it as x=…"),
        ("2x generation llm", {}, "a selector has no count, no >> and no lines below it: '2x generation llm'"),
        ("span a\n  span b", {}, "a selector has no count, no >> and no lines below it: 'span a\\n  span b'"),
        ("span a\nspan b", {}, "a selector is one line, TYPE NAME and conditions, not 'span a\\nspan b'"),
        ("", {}, "a selector is one line, TYPE NAME and conditions, not ''"),
        ("* model=x", {}, "a selector is one line, TYPE NAME and conditions, not '* model=x'"),
    ],
)
def test_bad_selectors(selector, fields, message):
    for method in (captured(TREE).one, captured(TREE).all, captured(TREE).wait_for):
        with pytest.raises(LiteralError) as error:
            method(selector, **fields)
        assert str(error.value) == message


def test_traces():
    observations = captured("span answer\n  tool a\nspan feedback")
    assert [trace.name for trace in observations.traces] == ["answer", "feedback"]
    assert observations.trace("feed*").observations == observations[2:]
    assert failure(observations.trace, "x") == text(
        """
        no trace is named 'x'; the traces are:
          answer
          feedback
        """
    )
    assert failure(observations.trace, "*") == text(
        """
        2 traces are named '*', expected one; the traces are:
          answer
          feedback
        """
    )
    assert failure(of([]).trace, "x") == NOTHING


# -- propagation -------------------------------------------------------------------------------------------------------


def test_propagated():
    captured(TREE).assert_propagated("user_id")
    captured(TREE).assert_propagated("user_id", value="u-1")
    captured('* metadata={"tenant":"acme"} tags=["a"]\nspan a\n  tool b').assert_propagated("metadata.tenant", "tags")
    # Each trace has a user of its own.
    captured("span a user_id=u-1\n  tool b user_id=u-1\nspan c user_id=u-2").assert_propagated("user_id")


def test_not_propagated():
    partly = captured(
        "span answer user_id=u-1\n  retriever search\n  2x generation llm\nspan other user_id=u-1 session_id=s"
    )
    assert failure(partly.assert_propagated, "user_id", "session_id") == text(
        """
        not propagated to every observation:
          user_id in trace answer: 'u-1' on answer; not set on search, llm (2 times)
          session_id in trace answer: not set on answer, search, llm (2 times)
        """
    )
    assert failure(captured("span a user_id=u-1\n  tool b user_id=u-2").assert_propagated, "user_id") == text(
        """
        not propagated to every observation:
          user_id in trace a: 'u-1' on a; 'u-2' on b
        """
    )
    assert failure(captured(TREE).assert_propagated, "user_id", value="u-2") == text(
        """
        not propagated to every observation:
          user_id in trace answer: 'u-1' on answer, search, llm (2 times), expected 'u-2'
        """
    )


def test_equal_names_are_numbered():
    spans = captured(
        """
        span answer user_id=u-1
          generation llm user_id=u-1
          generation llm
          generation llm user_id=u-1
          2x tool search
        span answer
        """
    )
    set_on, not_set_on = "answer, llm (1 of 3), llm (3 of 3)", "llm (2 of 3), search (2 times)"
    assert failure(spans.assert_propagated, "user_id").splitlines()[1:] == [
        f"  user_id in trace answer (1 of 2): 'u-1' on {set_on}; not set on {not_set_on}",
        "  user_id in trace answer (2 of 2): not set on answer",
    ]
    assert failure(spans.trace, "answer") == text(
        """
        2 traces are named 'answer', expected one; the traces are:
          answer (1 of 2)
          answer (2 of 2)
        """
    )
    assert failure(spans.assert_single_trace).splitlines()[1:] == [
        "  answer (1 of 2): 6 observations starting with span answer",
        "  answer (2 of 2): 1 observation starting with span answer",
    ]
    many = captured("span root user_id=u-1\n" + "\n".join(f"  tool t{number}" for number in range(25)))
    assert failure(many.assert_propagated, "user_id").endswith("t18, t19, 5 more")


def test_propagation_of_nothing():
    assert failure(of([]).assert_propagated, "user_id") == NOTHING
    with pytest.raises(LiteralError, match="unknown key 'usr_id', did you mean 'user_id'"):
        captured(TREE).assert_propagated("usr_id")
    with pytest.raises(TypeError, match="needs at least one field"):
        captured(TREE).assert_propagated()


def test_a_trace_without_a_root_is_called_by_its_first_observation():
    dangling = observation("generation", "llm", parent_id="feed" * 4)
    assert failure(of([dangling]).assert_propagated, "user_id").splitlines()[1] == (
        "  user_id in trace llm: not set on llm"
    )


def test_single_trace():
    captured(TREE).assert_single_trace()
    assert failure(of([]).assert_single_trace) == NOTHING
    assert failure(
        captured("span answer\n  tool a\ngeneration llm", unexported=[FILTERED]).assert_single_trace
    ) == text(
        """
        2 traces, expected one (was the context lost in a thread or task, or a header not passed on?):
          answer: 2 observations starting with span answer
          llm: 1 observation starting with generation llm
        """
    )


# -- flushed -----------------------------------------------------------------------------------------------------------


def test_traces_that_were_started_in_another_thread_or_lost_their_parent():
    filtered = observation("span", "GET /x", id=90, trace_id="b" * 32)
    answer = observation("span", "answer")
    llm = observation("generation", "llm", id=2, trace_id="b" * 32, parent_id=filtered.id)
    answer.record.thread, llm.record.thread = "MainThread", "worker_0"
    unexported = [Unexported(filtered, "filtered", "default span filter")]
    assert failure(of([answer, llm], unexported=unexported).assert_single_trace) == text(
        """
        2 traces, expected one (was the context lost in a thread or task, or a header not passed on?):
          answer: 1 observation starting with span answer
          llm: 1 observation starting with generation llm in thread worker_0

        Not exported:
          `llm` is shown as a root: its parent `GET /x` was not exported: default span filter
        """
    )


def test_flushed():
    captured(TREE).assert_flushed()
    captured(TREE, unexported=[FILTERED, UNENDED]).assert_flushed()
    lost = [
        Unexported(observation("generation", "llm", id=80), "dropped", "Langfuse did not accept it"),
        Unexported(observation("span", "late one", id=81), "dropped", "its process ended first"),
    ]
    lost.append(Unexported(observation("span", "later one", id=82), "dropped", "its process ended first"))
    assert failure(captured(TREE, undelivered=lost, unexported=[FILTERED, UNENDED]).assert_flushed) == text(
        """
        3 observations were not delivered:
          `llm`: Langfuse did not accept it
          `late one`, `later one`: its process ended first

        Not exported:
          `stream` was recorded but not exported: it never ended
        """
    )
    assert failure(captured(TREE, undelivered=lost[:1]).assert_flushed).startswith("1 observation was not delivered:")


def test_what_was_not_delivered_is_told_once():
    lost = [Unexported(observation("generation", "llm", id=80), "dropped", "its process ended first")]
    assert failure(captured("", undelivered=lost, unexported=lost).assert_flushed) == text(
        """
        1 observation was not delivered:
          `llm`: its process ended first
        """
    )


# -- not exported ------------------------------------------------------------------------------------------------------

SECRET = 's3cret "é/+?'


def body(attribute: str, name: str = "llm", **span: object) -> bytes:
    """An export body (OTLP/JSON) with one span."""
    spans = {
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "1",
        "name": name,
        "attributes": [{"key": "input", "value": {"stringValue": attribute}}],
        **span,
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [spans]}]}]}).encode()


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps({"q": SECRET}),
        json.dumps({"q": SECRET}, ensure_ascii=False),
        json.dumps(SECRET)[1:-1].replace("\\u00e9", "\\u00E9"),
        json.dumps(SECRET, ensure_ascii=False).replace("/", "\\/"),
        json.dumps(json.dumps({"q": SECRET})),
        f"https://x/?q={quote(SECRET, safe='')}",
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"a" + SECRET.encode() + b"bc").decode(),
        base64.urlsafe_b64encode(b"ab" + SECRET.encode() + b"c").decode(),
    ],
)
def test_a_text_is_found_however_it_is_written(written):
    observations = captured(TREE, wire=[WireBody("Langfuse", body(f"before {written} after"))])
    shown = failure(observations.assert_not_exported, "other text", SECRET)
    assert shown == "exported, but must not be:\n  's3**********': exporter Langfuse, llm, attribute input"
    assert SECRET not in shown
    observations.assert_not_exported("s3cret 'é", "secret")


def test_every_place_is_named_and_the_text_is_masked():
    spans = {
        "name": "call hunter22 now",
        "attributes": [
            {"key": "hunter22.key", "value": {"intValue": "1"}},
            {"key": "ok", "value": {"stringValue": "ok"}},
        ],
        "status": {"code": 2, "message": "no hunter22"},
        "events": [{"name": "exception", "attributes": [{"key": "stack", "value": {"stringValue": "at hunter22"}}]}],
    }
    wire = [
        WireBody("Langfuse", body("", **spans)),
        WireBody("Langfuse", body("", **spans)),
        WireBody("Console", b"hunter22"),
    ]
    assert failure(captured(TREE, wire=wire).assert_not_exported, "hunter22") == text(
        """
        exported, but must not be:
          'hu******': exporter Langfuse, call ******** now, its name
          'hu******': exporter Langfuse, call ******** now, its status message
          'hu******': exporter Langfuse, call ******** now, attribute ********.key
          'hu******': exporter Langfuse, call ******** now, event exception, attribute stack
          'hu******': exporter Console, outside any span that could be decoded
        """
    )


def test_a_short_text_is_masked_as_a_whole():
    shown = failure(captured(TREE, wire=[WireBody("Langfuse", body("pin 1234"))]).assert_not_exported, "1234")
    assert shown == "exported, but must not be:\n  '****': exporter Langfuse, llm, attribute input"


def test_nothing_to_look_for_or_in():
    with pytest.raises(ValueError, match="needs at least one text"):
        captured(TREE).assert_not_exported()
    with pytest.raises(ValueError, match="needs at least one text"):
        captured(TREE).assert_not_exported("a", "")
    assert failure(of([]).assert_not_exported, "s3cret") == NOTHING
    of([], unexported=[FILTERED]).assert_not_exported("s3cret")


# -- waiting -----------------------------------------------------------------------------------------------------------


class Arriving(StaticSource):
    """A source whose observations arrive with each wait."""

    def __init__(self, literal: str) -> None:
        super().__init__()
        self.coming = forest(literal)
        self.waits: list[float] = []

    def wait(self, timeout: float) -> None:
        self.waits.append(timeout)
        if self.coming:
            self._observations.append(self.coming.pop(0))


def test_wait_for_a_selector():
    source = Arriving("span a\nspan b\ngeneration llm model=x\nspan c")
    found = Observations(source).wait_for("generation llm", model="x")
    assert [one.name for one in found] == ["llm"]
    assert len(source.waits) == 3
    assert all(0 < nap <= 5 for nap in source.waits)
    # What is there already is not waited for.
    assert len(Observations(source).wait_for("span *")) == 2
    assert len(source.waits) == 3


def test_wait_for_a_count():
    source = Arriving("4x span a")
    assert len(Observations(source).wait_for(count=3)) == 3
    assert len(Observations(source).wait_for("span a", count=4)) == 4
    assert len(source.waits) == 4


def test_wait_in_vain():
    observations = captured("span a\n  tool b", unexported=[UNENDED, FILTERED])
    assert failure(observations.wait_for, "generation stream", timeout=0.01) == text(
        """
        timed out after 0.01 s: no observation matching `generation stream` arrived.

        Captured:
          span a
            tool b

        Not exported:
          `stream` was recorded but not exported: it never ended
        """
    )
    assert failure(observations.wait_for, count=3, timeout=0).startswith(
        "timed out after 0 s: 2 of 3 observations matching `any *` arrived.\n\nCaptured:"
    )
    assert (
        failure(of([]).wait_for, count=1, timeout=0)
        == f"timed out after 0 s: no observation matching `any *` arrived.\n\n{NOTHING}"
    )


def test_a_frozen_clock_does_not_make_a_wait_endless(monkeypatch):
    class Patient(StaticSource):
        waits = 0

        def wait(self, timeout: float) -> None:
            self.waits += 1
            assert self.waits < 1000
            super().wait(0.001)

    # As freezegun does.
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    monkeypatch.setattr("time.time", lambda: 0.0)
    with pytest.raises(TreeMismatch):
        Observations(Patient()).wait_for("span a", timeout=0.01)
    monkeypatch.undo()


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"^order must be 'start' or 'any', not 'random'$"):
        captured(TREE).assert_tree(TREE, order="random")
    with pytest.raises(LiteralError, match="the literal has no observation to look for"):
        captured(TREE).assert_contains("# nothing")
