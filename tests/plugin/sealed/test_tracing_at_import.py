"""An application that sets production tracing up at import, before fixtures alone capture some of its tests."""

import inspect

import pytest
from langfuse import Langfuse

from tests.helpers.loopback_langfuse import Collector

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
