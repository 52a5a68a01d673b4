"""What is decoded when: no more of an observation than what is asked for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import Counter
from threading import Thread

import pytest
from langfuse import Langfuse
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pytest_langfuse import Observation, Observations
from pytest_langfuse.recording import (
    SpanRecord,
    build_traces,
    decode_otlp,
    from_readable_span,
    link,
    observe,
    server_view,
    span_record,
)
from tests.helpers.vectors import body

FIELDS = [field.name for field in dataclasses.fields(Observation)]
TREE = {"parent", "children", "record"}
READ_AT_ONCE = {"id", "trace_id", "parent_id", "parent", "children", "record"}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each part of the decoding ran."""
    counts: Counter[str] = Counter()

    def counted(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def count(*args, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, count)

    for name in (
        *("as_ingested", "of_frameworks", "observation_type", "input_output", "stored_metadata", "shown_metadata"),
        *("model_parameters", "usage", "cost"),
    ):
        counted(server_view, name)
    for name in ("name", "level", "prompt", "user_id", "session_id", "tags", "environment", "model", "text_or_none"):
        counted(server_view.fields, name)
    counted(span_record, "encodable")
    return counts


def ended_spans() -> list[ReadableSpan]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("langfuse-sdk", attributes={"public_key": "pk"})
    with (
        tracer.start_as_current_span("answer", attributes={"langfuse.observation.output": '{"a":1}'}),
        tracer.start_as_current_span("llm", attributes={"langfuse.observation.type": "generation"}),
    ):
        pass
    return list(exporter.get_finished_spans())


class TestWork:
    def test_linking_decodes_nothing(self, decoded):
        observations = link(map(observe, map(from_readable_span, ended_spans())))
        assert (len(observations), observations[1].parent) == (2, observations[0])
        assert not decoded

    def test_counting_decodes_nothing(self, decoded):
        observations = Observations.from_otlp(body("nested"))
        assert len(observations) == 3
        assert [one.parent_id is None for one in observations] == [True, False, False]
        assert not decoded

    def test_counting_what_the_test_made_decodes_nothing(self, decoded, langfuse_spans):
        client = Langfuse(public_key="pk-lazy", secret_key="sk")
        with client.start_as_current_observation(name="a", input={"q": 1}):
            client.start_observation(name="b", as_type="generation").end()
        assert len(langfuse_spans) == 2
        assert not decoded
        assert [one.name for one in langfuse_spans] == ["a", "b"]
        assert decoded["encodable"] >= 2

    @pytest.mark.parametrize("field", ["name", "type"])
    def test_name_and_type_are_all_that_is_decoded_for_them(self, decoded, field):
        observation = decode_otlp(body("nested"))[0]
        for _ in range(3):
            getattr(observation, field)
        del decoded["as_ingested"]
        assert decoded == {"of_frameworks": 1, "observation_type": 1, "name": 1}

    @pytest.mark.parametrize("field", ["input", "output", "metadata"])
    def test_content_alone(self, decoded, field):
        observation = decode_otlp(body("nested"))[0]
        observation.name  # noqa: B018 - decodes
        decoded.clear()
        for _ in range(3):
            getattr(observation, field)
        assert decoded.pop("shown_metadata", 1) == 1
        assert decoded == {"input_output": 1, "stored_metadata": 1}

    def test_the_others_without_the_content(self, decoded):
        observation = decode_otlp(body("nested"))[0]
        for field in FIELDS:
            if field not in {"input", "output", "metadata"}:
                getattr(observation, field)
        assert decoded["usage"] == decoded["user_id"] == 1
        assert not decoded.keys() & {"input_output", "stored_metadata", "shown_metadata"}

    @pytest.mark.parametrize("field", ["level", "status_message", "model", "usage", "cost"])
    def test_outcome_alone(self, decoded, field):
        observation = decode_otlp(body("nested"))[0]
        for _ in range(3):
            getattr(observation, field)
        assert decoded["usage"] == decoded["cost"] == decoded["level"] == 1
        assert not decoded.keys() & {"input_output", "model_parameters", "prompt", "user_id", "environment"}

    @pytest.mark.parametrize("field", ["environment", "version", "release", "is_root", "start_time", "end_time"])
    def test_what_no_literal_shows_alone(self, decoded, field):
        observation = decode_otlp(body("nested"))[0]
        for _ in range(3):
            getattr(observation, field)
        assert decoded["environment"] == 1
        assert not decoded.keys() & {"input_output", "usage", "user_id", "model"}

    def test_rendering_decodes_nothing_that_it_does_not_show(self, decoded):
        str(Observations.from_otlp(body("nested")))
        assert (decoded["usage"], decoded["input_output"]) == (3, 3)
        assert decoded["environment"] == 0

    def test_each_step_runs_once(self, decoded):
        observation = decode_otlp(body("nested"))[0]
        for _ in range(3):
            for field in reversed(FIELDS):
                getattr(observation, field)
        once = ("observation_type", "input_output", "usage", "user_id", "environment")
        assert [decoded[name] for name in once] == [1, 1, 1, 1, 1]

    def test_decoding_sets_fields_without_the_check_that_users_need(self, monkeypatch):
        observation = decode_otlp(body("nested"))[0]
        checked = []
        monkeypatch.setattr(
            server_view.LazyObservation, "__setattr__", lambda _self, name, _value: checked.append(name)
        )
        for field in FIELDS:
            getattr(observation, field)
        assert checked == []

    def test_a_tree_without_conditions_decodes_names_and_types(self, decoded):
        Observations.from_otlp(body("nested")).assert_tree("span root\n  chain mid\n    tool leaf")
        del decoded["as_ingested"]
        assert decoded == {"of_frameworks": 3, "observation_type": 3, "name": 3}

    def test_the_resource_of_all_spans_is_read_once(self, decoded):
        observations = decode_otlp(body("nested"))
        assert {observation.environment for observation in observations} == {"default"}
        # One for each span, and one for the resource.
        assert decoded["as_ingested"] == len(observations) + 1

    def test_traces_need_no_content_but_the_root_s(self, decoded):
        assert [trace.name for trace in build_traces(decode_otlp(body("nested")))] == ["root"]
        assert decoded["input_output"] == 1


class TestAnObservation:
    def test_its_fields_are_decoded_but_for_those_of_the_tree(self):
        assert {*FIELDS} - READ_AT_ONCE == server_view.DECODERS.keys() - {"decoding"}

    def test_a_field_that_is_set_stays(self):
        for field in sorted({*FIELDS} - READ_AT_ONCE):
            observation = decode_otlp(body("nested"))[0]
            setattr(observation, field, "set")
            assert [name for name in FIELDS if getattr(observation, name) == "set"] == [field]
            assert getattr(observation, field) == "set"

    def test_a_field_that_is_set_between_two_steps_stays(self):
        for first in ("name", "input", "usage", "tags", "environment"):
            for field in sorted({*FIELDS} - READ_AT_ONCE):
                observation = decode_otlp(body("nested"))[0]
                getattr(observation, first)
                setattr(observation, field, "set")
                assert [name for name in FIELDS if getattr(observation, name) == "set"] == [field]

    def test_it_is_like_any_other_once_all_is_read(self):
        observation = decode_otlp(body("nested"))[0]
        for field in ("end_time", "usage", "name", "tags", "output"):
            assert type(observation) is not Observation
            getattr(observation, field)
        assert type(observation) is Observation
        # What the steps shared is not kept.
        assert observation.decoding is None
        observation.level = "WARNING"
        assert (observation.level, observation.name) == ("WARNING", "root")

    @pytest.mark.parametrize("during", ["observation_type", "input_output", "usage", "model_parameters", "environment"])
    def test_another_thread_may_read_it_while_it_is_decoded(self, monkeypatch, during):
        expected = {name: getattr(decode_otlp(body("nested"))[0], name) for name in {*FIELDS} - TREE}
        observation = decode_otlp(body("nested"))[0]
        owner = server_view.fields if during == "environment" else server_view
        original, seen = getattr(owner, during), []

        def read() -> None:
            seen.append({name: getattr(observation, name) for name in expected})

        def interrupted(*args, **kwargs):
            monkeypatch.setattr(owner, during, original)
            thread = Thread(target=read)
            thread.start()
            thread.join()
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, during, interrupted)
        read()
        assert seen == [expected, expected]

    def test_there_are_no_other_fields(self):
        observation = observe(SpanRecord("a" * 32, "b" * 16, None, "x"))
        with pytest.raises(AttributeError, match="object has no attribute 'modle'"):
            observation.modle  # type: ignore[attr-defined] # noqa: B018
        with pytest.raises(AttributeError):
            observation.modle = "x"  # type: ignore[attr-defined]

    def test_it_can_be_copied_and_pickled_before_it_is_read(self):
        for copied in (copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it)), dataclasses.replace):
            observation = observe(SpanRecord("a" * 32, "b" * 16, None, "x", attributes={"langfuse.user.id": "u"}))
            other = copied(observation)
            assert (type(other), other is observation) == (Observation, False)
            assert other != observation
            assert (other.name, other.type, other.user_id, other.is_root) == ("x", "span", "u", True)


class TestARecordOfASpan:
    def test_what_an_ended_span_holds_is_read_when_it_is_asked_for(self, decoded):
        record = from_readable_span(ended_spans()[0])
        assert (record.name, record.parent_span_id is None, record.start_ns > 0) == ("llm", False, True)
        assert not decoded
        assert record.attributes == record.attributes == {"langfuse.observation.type": "generation"}
        assert decoded == {"encodable": 1}

    def test_every_field_is_there(self):
        record = from_readable_span(ended_spans()[0])
        values = {field.name: getattr(record, field.name) for field in dataclasses.fields(SpanRecord)}
        assert (values["scope_name"], values["scope_attributes"]) == ("langfuse-sdk", {"public_key": "pk"})
        assert (values["status"], values["status_message"], values["events"]) == ("UNSET", None, ())
        assert values["resource"]["telemetry.sdk.language"] == "python"

    def test_a_span_that_runs_is_copied_at_once(self):
        span = TracerProvider(shutdown_on_exit=False).get_tracer("x").start_span("x", attributes={"a": "before"})
        record = from_readable_span(span)
        span.set_attribute("a", "after")
        span.add_event("after")
        assert (record.attributes, record.events) == ({"a": "before"}, ())
        span.end()
