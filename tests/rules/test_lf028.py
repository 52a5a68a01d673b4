"""LF028: an observation that is still running when its parent has ended."""

import threading
import time
from contextvars import copy_context

import pytest
from langfuse import Langfuse
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.tracing import carry_context


def test_work_in_the_background(client, find):
    """As a thread that the request starts and does not wait for."""
    proceed = threading.Event()

    def save() -> None:
        observation = client.start_observation(name="save")
        proceed.wait(10)
        # As slow as a database is.
        observation.end(end_time=time.time_ns() + 250_000_000)

    with client.start_as_current_observation(name="answer"):
        (thread := threading.Thread(target=carry_context(save))).start()
    proceed.set()
    thread.join()
    (finding,) = find("LF028")
    assert finding.severity == "warning"
    assert finding.observation == "save"
    assert "s after its parent 'answer' (tests/rules/test_lf028.py:26)" in finding.text
    assert finding.fix == "await or join it before 'answer' ends, or start a new trace with a link to 'answer'"


def test_what_starts_below_an_observation_that_a_library_has_left_current(client, find):
    def leaking() -> None:
        parent = client.start_observation(name="chain")
        context.attach(trace.set_span_in_context(parent._otel_span))
        parent.end()

    def work() -> None:
        leaking()
        client.start_observation(name="reply").end(end_time=time.time_ns() + 250_000_000)

    copy_context().run(work)
    (finding,) = find("LF028")
    assert "'reply' (tests/rules/test_lf028.py:" in finding.text
    assert ") started when its parent 'chain' (tests/rules/test_lf028.py:" in finding.text
    assert finding.text.endswith(" s after it")
    assert finding.fix.endswith(
        "if a library has left 'chain' current, call that with contextvars.copy_context().run(...)"
    )


def late(client, nanoseconds: int, as_type: str = "span") -> None:
    now = time.time_ns()
    parent = client.start_observation(name="answer", as_type=as_type)
    parent.start_observation(name="save").end(end_time=now + 10**9 + nanoseconds)
    parent.end(end_time=now + 10**9)


@pytest.mark.parametrize(
    ("nanoseconds", "tolerance", "number"),
    [
        # As much as `@observe` on a function that returns a generator: 0.08 to 0.3 ms, always.
        (300_000, 0.01, 0),
        (9_900_000, 0.01, 0),
        (10_100_000, 0.01, 1),
        (10_100_000, 0.5, 0),
        (300_000, 0, 1),
        (0, 0, 0),
        (-1_000_000, 0, 0),
        # A clock that a test moves.
        (2 * 86_400 * 10**9, 0.01, 0),
    ],
)
def test_the_tolerance(client, find, nanoseconds, tolerance, number):
    late(client, nanoseconds)
    assert len(find("LF028", f"LF028.tolerance={tolerance}")) == number


def test_the_tolerance_of_a_project_that_sets_none(client, find):
    late(client, 9_000_000)
    assert find("LF028") == []
    late(client, 11_000_000)
    assert len(find("LF028")) == 1


def test_silent_below_the_one_that_is_late(client, find):
    now = time.time_ns()
    parent = client.start_observation(name="answer")
    child = parent.start_observation(name="save")
    child.start_observation(name="insert").end(end_time=now + 3 * 10**9)
    child.end(end_time=now + 3 * 10**9)
    parent.end(end_time=now + 10**9)
    assert [finding.observation for finding in find("LF028")] == ["save"]


def test_silent_below_another_service(client, find, langfuse_spans):
    provider = TracerProvider(resource=Resource({"service.name": "warehouse"}))
    other = Langfuse(public_key="pk-lf-wh", secret_key="sk-lf", base_url="http://127.0.0.1:9", tracer_provider=provider)
    now = time.time_ns()
    order = client.start_observation(name="POST /orders")
    context = {"trace_id": order.trace_id, "parent_span_id": order.id}
    other.start_observation(name="ship", trace_context=context).end(end_time=now + 3 * 10**9)
    order.end(end_time=now + 10**9)
    assert langfuse_spans.one("span ship").parent is langfuse_spans.one("span POST*")
    assert find("LF028") == []
