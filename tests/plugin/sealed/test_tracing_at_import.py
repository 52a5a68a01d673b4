"""An application that sets production tracing up at import, before fixtures alone capture some of its tests."""

import inspect

import pytest
from langfuse import Langfuse

from tests.helpers.loopback_langfuse import SCORES, Collector

# Slow: runs pytest in a process.
pytestmark = pytest.mark.slow

# Tracing goes on in a thread that has no test: what is late in it would be sent in the test that follows.
TESTS = """
    import pytest
    from pytest_langfuse.tracing import get_langfuse_client, init_tracing

    init_tracing(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="{url}", flush_at=1)
    @pytest.mark.parametrize("number", range(3))
    def test_captured(langfuse_spans, number):
        get_langfuse_client().start_observation(name="captured").end()

    def test_uncaptured():
        get_langfuse_client().start_observation(name="plain").end()
        get_langfuse_client().flush()
"""


def test_what_fixtures_capture_is_settled_before_the_next_test(pytester: pytest.Pytester) -> None:
    langfuse = Collector()
    try:
        pytester.makepyfile(TESTS.replace("{url}", langfuse.url))
        result = pytester.runpytest_subprocess("-p", "no:randomly")
        result.assert_outcomes(passed=4)
        assert langfuse.accepted == ["plain"]
    finally:
        langfuse.close()


#: What waits is sent by threads that serve all tests.
WAITING = """
    import atexit, threading, time
    import pytest
    from pytest_langfuse.tracing import get_langfuse_client, init_tracing, tracing_health

    init_tracing(
        public_key="pk-lf-1", secret_key="sk-lf-1", base_url="{url}", flush_interval=60, timeout=5,
        breaker_failure_threshold=1, breaker_recovery_timeout=1.0,
    )
    client = get_langfuse_client()
    kept = []

    def observe(name):
        return client.start_observation(name=name)

    def test_starts(langfuse_spans):
        kept.append(observe("captured, ended in another test"))
        kept.append(observe("captured, ended at exit"))

    def test_plain():
        kept.pop(0).end()
        atexit.register(kept.pop().end)
        observe("plain, flushed").end()
        client.flush()
        observe("plain, waits in the queue").end()

    def test_captured_meanwhile(langfuse_spans):
        observe("captured meanwhile").end()
        client.flush()
        assert [o.name for o in langfuse_spans] == ["captured meanwhile"]

    def until_breaker(*states):
        end = time.monotonic() + 20
        while tracing_health().breaker not in states:
            assert time.monotonic() < end, tracing_health()
            time.sleep(0.005)

    def test_scores(langfuse_outage):
        with langfuse_outage("http_503"):
            observe("captured, refused").end()
            client.flush()
            until_breaker("open")
            client.create_score(name="captured score", value=1, trace_id="1" * 32)

    def test_plain_again():
        until_breaker("closed", "half_open")
        client.create_score(name="plain score", value=1, trace_id="1" * 32)
        observe("plain again").end()
        client.flush()
"""


def test_what_waits_is_sent_for_the_test_that_made_it(pytester: pytest.Pytester) -> None:
    langfuse = Collector()
    try:
        pytester.makepyfile(WAITING.replace("{url}", langfuse.url))
        result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:logfire")
        result.assert_outcomes(passed=5)
        assert sorted(langfuse.accepted) == ["plain again", "plain, flushed", "plain, waits in the queue"]
        scores = [seen.body for seen in langfuse.requests if seen.path == SCORES]
        assert scores
        assert not any(b"captured" in body for body in scores)
    finally:
        langfuse.close()


MASK_RAISES = """
    from pytest_langfuse.tracing import get_langfuse_client, init_tracing

    def mask(**kwargs):
        raise ValueError("not so")

    init_tracing(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", mask_otel_spans=mask)

    def test_captured(langfuse_spans):
        get_langfuse_client().start_observation(name="masked").end()
        langfuse_spans.one("span masked")
"""


@pytest.mark.skipif(
    "mask_otel_spans" not in inspect.signature(Langfuse.__init__).parameters, reason="langfuse 4 has no such mask"
)
def test_a_mask_that_raises_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MASK_RAISES)
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*mask_otel_spans raised ValueError: not so*")
