"""LF016: an exception was recorded, but the level says DEFAULT."""

import asyncio
from contextlib import suppress

import pytest
from langfuse import observe
from opentelemetry import trace


def ask_the_index():
    raise TimeoutError("hunter2")


def lookup(client, **told):
    """Falls back to nothing when the index fails."""
    with client.start_as_current_observation(name="search", as_type="retriever") as search:
        try:
            ask_the_index()
        except TimeoutError as error:
            trace.get_current_span().record_exception(error)
            search.update(output=[], **told)


def test_recorded_but_not_told(client, find):
    lookup(client)
    (finding,) = find("LF016")
    assert finding.severity == "error"
    assert finding.observation == "search"
    assert finding.text.startswith("'search' (tests/rules/test_lf016.py:17) recorded TimeoutError, but its level is DE")
    assert "hunter2" not in str(finding)
    assert 'update(level="ERROR"' in finding.fix


def test_each_of_several_is_told(client, find):
    with client.start_as_current_observation(name="answer"):
        lookup(client)
        lookup(client)
    assert [one.observation for one in find("LF016")] == ["search", "search"]


def test_an_event_without_a_type(client, find):
    with client.start_as_current_observation(name="search") as search:
        search._otel_span.add_event("retry")
        search._otel_span.add_event("exception", {})
    (finding,) = find("LF016")
    assert "recorded an exception, but" in finding.text


@pytest.mark.parametrize(
    "told",
    [
        {"level": "WARNING"},
        {"level": "DEBUG"},
        {"level": "ERROR", "status_message": "index down"},
        {"status_message": "empty result"},
    ],
)
def test_told(client, find, told):
    lookup(client, **told)
    assert find("LF016") == []


def test_exceptions_that_the_sdk_tells(client, find):
    @observe()
    def decorated():
        raise ValueError("a")

    with suppress(ValueError), client.start_as_current_observation(name="managed"):
        raise ValueError("b")
    with suppress(ValueError):
        decorated()
    assert find("LF016") == []


def test_a_fallback_under_a_good_parent(client, find):
    with client.start_as_current_observation(name="answer") as answer:
        for model in ("a", "b"):
            with suppress(ConnectionError), client.start_as_current_observation(name=model, as_type="generation"):
                if model == "a":
                    raise ConnectionError("a is down")
        answer.update(output="b")
    assert find("LF016") == []


def test_control_flow(client, find):
    def stream():
        with client.start_as_current_observation(name="stream"):
            yield 1
            yield 2

    async def cancelled():
        with client.start_as_current_observation(name="task"):
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    left = stream()
    next(left)
    left.close()
    asyncio.run(main())
    with suppress(SystemExit), client.start_as_current_observation(name="command"):
        raise SystemExit(1)
    assert find("LF016") == []


def test_other_events_are_not_errors(client, find):
    with client.start_as_current_observation(name="answer") as answer:
        answer._otel_span.add_event("first token")
    assert find("LF016") == []


def test_status_error_set_by_an_instrumentation(client, find):
    tracer = client._otel_tracer
    span = tracer.start_span("call")
    span.record_exception(ValueError("a"))
    span.set_status(trace.StatusCode.ERROR, "a")
    span.end()
    assert find("LF016") == []


def test_a_level_that_was_set_over_an_error(client, find):
    """Whoever sets the level back to DEFAULT has looked at the error."""
    with client.start_as_current_observation(name="search") as search:
        search._otel_span.record_exception(ValueError("a"))
        search._otel_span.set_status(trace.StatusCode.ERROR)
        search.update(level="DEFAULT")
    assert find("LF016") == []


@pytest.mark.parametrize(("error", "found"), [("no such city", 0), ("something else", 1)])
def test_told_further_out(client, find, error, found):
    """As OpenInference records Google ADK: the call of the model was fine, and the tool inside of it failed."""
    with suppress(ValueError), client.start_as_current_observation(name="agent_run", as_type="agent"):
        with trace.get_tracer("gcp.vertex.agent").start_as_current_span("invoke_agent") as call:
            call.set_attributes({"gen_ai.operation.name": "generate_content", "gen_ai.request.model": "gemini"})
            call.record_exception(ValueError("no such city"))
            call.set_status(trace.StatusCode.OK)
        raise ValueError(error)
    assert len(find("LF016")) == found
