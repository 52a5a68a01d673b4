"""The plain SDK loses spans while Langfuse fails, and `assert_flushed` catches each loss.

Each request that a test counts is one to the OTLP endpoint. docs/faults.md has the same, measured, for all faults.
"""

from importlib.util import find_spec

import pytest

# Slow: waits for the SDK's own retries.
pytestmark = pytest.mark.slow

#: Before it shared its retries with the gRPC exporter, OpenTelemetry's exporter tried 500 again, and 429 not.
as_the_specification_has_it = pytest.mark.skipif(
    find_spec("opentelemetry.exporter.otlp.common") is None, reason="an OpenTelemetry that retries other statuses"
)

#: Two batches, each followed by a flush.
TWO_BATCHES = """
    import pytest
    from app import langfuse

    def two_batches():
        for name in ("first", "second"):
            langfuse.start_observation(name=name).end()
            langfuse.flush()

    def all_lost(langfuse_spans):
        with pytest.raises(AssertionError, match="2 observations were not delivered") as failure:
            langfuse_spans.assert_flushed()
        return "first" in str(failure.value) and "second" in str(failure.value)
"""


@pytest.fixture
def suite(app: pytest.Pytester) -> pytest.Pytester:
    app.makepyfile(batches=TWO_BATCHES)
    return app


def test_a_healthy_langfuse_gets_both(suite: pytest.Pytester) -> None:
    """So that what the other tests of this file count is the fault's doing."""
    suite.makepyfile("""
        from batches import two_batches

        def test_it(langfuse_server, langfuse_spans):
            two_batches()
            langfuse_spans.assert_flushed()
            assert [arrival.status for arrival in langfuse_server.arrivals] == [200, 200]
    """)
    suite.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "fault",
    [pytest.param("http_500", marks=as_the_specification_has_it), "http_400", "http_401", "http_403", "http_413"],
)
def test_a_batch_that_is_turned_down_is_dropped_after_one_try(suite: pytest.Pytester, fault: str) -> None:
    suite.makepyfile(f"""
        import pytest
        from batches import all_lost, two_batches

        @pytest.mark.langfuse_outage({fault!r}, paths="otlp")
        def test_it(langfuse_outage, langfuse_spans):
            two_batches()
            assert langfuse_outage.attempts == langfuse_outage.refused == 2
            assert all_lost(langfuse_spans)
    """)
    suite.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "fault", [pytest.param("http_429", marks=as_the_specification_has_it), "http_502", "http_503", "http_504"]
)
def test_a_status_that_passes_is_tried_again(
    suite: pytest.Pytester, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With the 1 second of outage tests the exporter may find no time for a second try.
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "20")
    suite.makepyfile(f"""
        import pytest
        from batches import two_batches

        @pytest.mark.langfuse_outage({fault!r}, paths="otlp", times=1)
        def test_it(langfuse_outage, langfuse_server, langfuse_spans):
            two_batches()
            assert (langfuse_outage.attempts, langfuse_outage.refused) == (3, 1)
            assert [observation.name for observation in langfuse_server.spans] == ["first", "second"]
            langfuse_spans.assert_flushed()
    """)
    suite.runpytest().assert_outcomes(passed=1)


def test_what_is_tried_in_vain_is_lost(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest
        from batches import all_lost, two_batches

        @pytest.mark.langfuse_outage("http_503", paths="otlp")
        def test_it(langfuse_outage, langfuse_spans):
            two_batches()
            assert langfuse_outage.refused >= 2
            assert all_lost(langfuse_spans)
    """)
    suite.runpytest().assert_outcomes(passed=1)


def test_a_flush_waits_until_its_batch_that_hangs_is_given_up(suite: pytest.Pytester) -> None:
    """One try a batch, each as long as the timeout: the seconds in flush() are batches x timeout."""
    suite.makepyfile("""
        import pytest
        from app import langfuse
        from batches import all_lost

        @pytest.mark.langfuse_outage("hang", paths="otlp")
        def test_it(langfuse_outage, langfuse_server, langfuse_spans):
            for number, name in enumerate(("first", "second"), 1):
                langfuse.start_observation(name=name).end()
                langfuse.flush()
                assert len(langfuse_server.arrivals) == langfuse_outage.attempts == number
                with pytest.raises(AssertionError, match="not delivered") as failure:
                    langfuse_spans.assert_flushed()
                # When flush() returns, the request is over: it has waited for it.
                assert "still waiting" not in str(failure.value)
            assert all_lost(langfuse_spans)
    """)
    suite.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize("fault", ["redirect", "captive_portal"])
def test_a_page_is_taken_for_success(suite: pytest.Pytester, fault: str) -> None:
    suite.makepyfile(f"""
        import logging
        import pytest
        from batches import all_lost, two_batches

        @pytest.mark.langfuse_outage({fault!r}, paths="otlp")
        def test_it(langfuse_outage, langfuse_spans, caplog):
            with caplog.at_level(logging.WARNING):
                two_batches()
            assert caplog.records == []
            assert langfuse_outage.attempts == 2
            assert all_lost(langfuse_spans)
    """)
    suite.runpytest().assert_outcomes(passed=1)


def test_half_of_a_batch_is_lost_without_a_word(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import logging
        import pytest
        from app import langfuse

        @pytest.mark.langfuse_outage("partial_success", paths="otlp")
        def test_it(langfuse_spans, langfuse_server, caplog):
            with caplog.at_level(logging.WARNING):
                for name in ("first", "second", "third", "fourth"):
                    langfuse.start_observation(name=name).end()
                langfuse.flush()
            assert caplog.records == []
            assert [observation.name for observation in langfuse_server.spans] == ["first", "second"]
            with pytest.raises(AssertionError, match="2 observations were not delivered") as failure:
                langfuse_spans.assert_flushed()
            assert "third" in str(failure.value)
            assert "fourth" in str(failure.value)
    """)
    suite.runpytest().assert_outcomes(passed=1)
