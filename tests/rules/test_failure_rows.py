"""Failures of tracing set-ups that teams report most, each in a small application, and the rules that name them."""

import signal

import pytest
from opentelemetry import propagate, trace

from pytest_langfuse.tracing import tracing_health
from tests.helpers.traced_service import SENT_AT_THE_END
from tests.helpers.tracing_waits import until
from tests.rules.test_lf014 import noise
from tests.rules.test_lf022 import run

KEYS = "secret_key='sk-lf-app', base_url='http://127.0.0.1:9'"


def test_several_instances_of_the_sdk(pytester):
    """A web application and its jobs, each with a client at import, and an observed function for both."""
    result = run(
        pytester,
        web=f"""
            from langfuse import Langfuse
            langfuse = Langfuse(public_key="pk-lf-web", {KEYS})
        """,
        jobs=f"""
            from langfuse import Langfuse
            langfuse = Langfuse(public_key="pk-lf-jobs", {KEYS})
            sampled = Langfuse(public_key="pk-lf-jobs", {KEYS}, sample_rate=0.1)
        """,
        bot="""
            from langfuse import observe
            @observe()
            def answer():
                return "Paris"
        """,
        test_bot="""
            import bot, jobs, web
            def test_answer():
                assert bot.answer() == "Paris"
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines_random(
        [
            "LF012 several clients: get_client() at bot.py:2 returned a client that makes nothing, since *",
            "LF022 settings ignored: the client built at jobs.py:3 asks for sample_rate=0.1, but *",
        ]
    )


SERVICE = """
import sys, time
from langfuse import get_client
if sys.argv[1] == "init_tracing":
    from pytest_langfuse.tracing import init_tracing
    init_tracing()
for number in range(3):
    with get_client().start_as_current_observation(name="order"):
        pass
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_traces_lost_on_deploy(find, langfuse_process):
    """A deployment ends a service by SIGTERM, with the plain SDK and with `init_tracing`."""
    apps = []
    for set_up in ("plain", "init_tracing"):
        app = langfuse_process.start("-c", SERVICE, set_up, env=SENT_AT_THE_END)
        app.wait_for_output("ready")
        app.terminate()
        assert app.wait() == -signal.SIGTERM
        apps.append(app)
    plain, ours = apps
    assert (len(plain.lost), len(ours.lost)) == (3, 0)
    (finding,) = find("LF019")
    assert finding.text.startswith("3 observations ('order') of ")
    assert finding.text.endswith("it was terminated by SIGTERM")


STOCK = """
import os
from langfuse import get_client
from opentelemetry import context, propagate
context.attach(propagate.extract({"traceparent": os.environ["TRACEPARENT"]}))
with get_client().start_as_current_observation(name="stock"):
    pass
"""


@pytest.mark.slow
def test_a_gap_between_services(client, find, langfuse_process):
    """The span of an HTTP client, which Langfuse's filter keeps back, is the parent of what the next service does."""
    with client.start_as_current_observation(name="order"):
        provider = client._resources.tracer_provider
        with provider.get_tracer("opentelemetry.instrumentation.httpx").start_as_current_span("POST"):
            headers: dict[str, str] = {}
            propagate.inject(headers)
        over_the_gap = headers["traceparent"]
        propagate.inject(headers, context=trace.set_span_in_context(trace.get_current_span()))
        direct = headers["traceparent"]
    for traceparent in (over_the_gap, direct):
        assert langfuse_process.start("-c", STOCK, env={"TRACEPARENT": traceparent}).wait() == 0
    (finding,) = find("LF003")
    assert finding.text.startswith("'stock' has the parent 'POST' (tests/rules/test_failure_rows.py:")
    assert find("LF004") == []


def peak(client):
    """What many users retrieve in the same seconds: 6 MB in one body."""
    for _ in range(40):
        with client.start_as_current_observation(name="retrieve", as_type="retriever") as retrieve:
            retrieve.update(output=noise(150_000))


@pytest.mark.slow
def test_a_bottleneck_at_scale(langfuse_tracing, client, find, langfuse_outage, langfuse_spans):
    """A peak makes bodies that Langfuse refuses, and more observations than it takes at once."""
    peak(client)
    client.flush()
    (finding,) = find("LF014")
    assert finding.text.startswith("40 observations are a body of ")
    assert "LANGFUSE_FLUSH_AT=" in finding.fix
    langfuse_spans.clear()
    with langfuse_outage("http_413"):
        peak(client)
        client.flush()
    # The SDK has dropped the body with all that is in it.
    lost = langfuse_spans._source.undelivered()
    assert [item.observation.name for item in lost] == ["retrieve"] * 40
    assert "413" in lost[0].detail

    langfuse_spans.clear()
    ours = langfuse_tracing(public_key="pk-lf-ours", secret_key="sk-lf-ours", max_buffer_spans=30, flush_interval=0.1)
    with langfuse_outage("http_503") as outage:
        peak(ours)
        until(lambda: outage.attempts and tracing_health().dropped == {"buffer_full": 10})
        health = tracing_health()
    # It splits bodies, and counts what its buffer does not hold.
    assert find("LF014") == []
    assert (health.ended, health.buffered, health.unaccounted) == (40, 30, 0)
