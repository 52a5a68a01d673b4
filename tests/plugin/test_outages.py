"""Outage tests: marker and fixtures, on the real SDK over real sockets."""

import re
import sys

import pytest

# Slow: waits for the SDK's retries.
pytestmark = pytest.mark.slow


def test_markers_and_parametrization(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from app import answer, langfuse

        @pytest.mark.langfuse_outage("http_500", "http_401", "redirect", "captive_portal", "reset")
        def test_survives(langfuse_spans, langfuse_outage):
            assert answer("why?") == "because"
            langfuse.flush()
            langfuse_spans.assert_tree('''
                span answer
                  retriever search
                  generation llm
            ''')
            assert langfuse_outage.attempts >= 1
            with pytest.raises(AssertionError, match="3 observations were not delivered"):
                langfuse_spans.assert_flushed()

        def test_healthy_afterwards(langfuse_spans):
            answer("why?")
            langfuse_spans.assert_flushed()
    """)
    result = app.runpytest("-v")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*test_survives[[]redirect]*"])


def test_the_description_of_the_marker_points_to_what_is_installed(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_subprocess("--markers").stdout.str()
    (description,) = [line for line in text.splitlines() if line.startswith("@pytest.mark.langfuse_outage")]
    command = re.search(r"`python (-m pytest_langfuse\S+ --help)`", description)
    assert command is not None
    assert "docs/" not in description
    help_text = pytester.run(sys.executable, *command[1].split()).stdout.str()
    assert "  http_503 " in help_text
    for option in ("--after", "--times", "--delay", "--rate", "--seed", "--retry-after", "--paths"):
        assert option in help_text


def test_a_prompt_is_fetched_again_when_the_clock_has_moved(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import threading
        from app import langfuse

        def test_cache(langfuse_api, langfuse_clock):
            langfuse_api.prompt("greeting", "Hello")
            assert langfuse.get_prompt("greeting", cache_ttl_seconds=60).prompt == "Hello"
            langfuse_api.prompt("greeting", "Good day")
            langfuse_clock.advance(seconds=30)
            assert langfuse.get_prompt("greeting", cache_ttl_seconds=60).prompt == "Hello"
            langfuse_clock.advance(seconds=40)
            # An expired prompt is fetched in the background; the one that is there is returned meanwhile.
            for _ in range(200):
                if langfuse.get_prompt("greeting", cache_ttl_seconds=60).prompt == "Good day":
                    return
                threading.Event().wait(0.02)
            raise AssertionError("the cached prompt never expired")
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_a_server_that_is_well(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer, langfuse

        def test_arrives(langfuse_server, langfuse_spans):
            answer("why?")
            langfuse.create_score(name="s", value=1.0, trace_id="0" * 31 + "1")
            langfuse.flush()
            langfuse_server.spans.assert_tree(str(langfuse_spans))
            assert [s.name for s in langfuse_server.scores] == ["s"]
            langfuse_spans.assert_flushed()
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_not_yet_sent_is_not_delivered(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from app import answer, langfuse

        def test_waiting(langfuse_server, langfuse_spans):
            answer("why?")
            with pytest.raises(AssertionError, match="still waiting"):
                langfuse_spans.assert_flushed()
            langfuse.flush()
            langfuse_spans.assert_flushed()
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_why_it_was_not_delivered(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from app import langfuse

        NEVER = "it was still waiting to be sent: flush() was never called after it ended"

        def refused(langfuse_spans):
            with pytest.raises(AssertionError) as failure:
                langfuse_spans.assert_flushed()
            return [f"  {sentence}" for sentence in failure.value.differences]

        @pytest.mark.parametrize("fault", ["http_503", "reset", "refused", "dns_error", "hang", "captive_portal"])
        def test_one_fault(fault, langfuse_outage, langfuse_spans):
            with langfuse_outage(fault):
                langfuse.start_observation(name="sent").end()
                langfuse.flush()
                langfuse.start_observation(name="waiting").end()
            assert refused(langfuse_spans) == [
                f"  `waiting`: {NEVER}",
                f"  `sent`: Langfuse did not accept it (fault {fault})",
            ] or refused(langfuse_spans) == [
                f"  `sent`: Langfuse did not accept it (fault {fault})",
                f"  `waiting`: {NEVER}",
            ]
            langfuse.flush()
            assert refused(langfuse_spans) == [f"  `sent`: Langfuse did not accept it (fault {fault})"]

        def test_several_faults(langfuse_outage, langfuse_spans):
            for fault in ("http_401", "refused", "http_401", "slow"):
                with langfuse_outage(fault):
                    langfuse.start_observation(name=fault).end()
                    langfuse.flush()
            assert refused(langfuse_spans) == [
                "  `http_401` (2 times), `refused`: Langfuse did not accept it (fault refused, fault http_401)"
            ]
    """)
    app.runpytest().assert_outcomes(passed=7)


@pytest.mark.parametrize("fault", ["refused", "dns_error"])
def test_what_no_server_sees_is_counted(app: pytest.Pytester, fault: str) -> None:
    app.makepyfile(f"""
        from app import langfuse

        def test_prompt(langfuse_outage):
            with langfuse_outage({fault!r}) as outage:
                prompt = langfuse.get_prompt("greeting", fallback="hello", max_retries=0)
            assert prompt.prompt == "hello"
            assert outage.attempts == outage.refused > 0
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_an_outage_that_is_never_reached_fails_the_test(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest

        from app import answer, langfuse

        @pytest.mark.langfuse_outage("hang")
        def test_nothing_sent(): pass

        @pytest.mark.langfuse_outage("hang", required=False)
        def test_optional(): pass

        @pytest.mark.langfuse_outage("flapping")
        def test_too_little(): langfuse.start_observation(name="x").end(); langfuse.flush()

        def test_block(langfuse_outage):
            with langfuse_outage("hang", after=5):
                for _ in range(2):
                    langfuse.start_observation(name="x").end()
                    langfuse.flush()
    """)
    result = app.runpytest()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "the outage 'hang' was never reached: nothing was sent to Langfuse*",
            "the outage 'flapping' was never reached: its schedule let the only request through*",
            "E*AssertionError: the outage 'hang' was never reached: its schedule let each of the 2 requests through*",
        ]
    )
    shown = result.stdout.str()
    # Lines of the test at most: none of the plugin, nor of its callers.
    for stranger in ("pytest_langfuse/", "contextlib.py", "another exception"):
        assert stranger not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('"hangs"', "*unknown fault 'hangs', did you mean 'hang'*"),
        ('"hang", afer=1', "*unknown option 'afer', did you mean 'after'*"),
        ('"hang", rate=2', "*rate: expected a number above 0 and at most 1, got 2"),
        ('"hang", max_block=-1', "*max_block: expected a number of at least 0, got -1"),
        ("3", "*the name of a fault*"),
        ("", '*needs the name of a fault, such as langfuse_outage("hang")'),
    ],
)
@pytest.mark.parametrize("base", ["object", "unittest.TestCase"])
def test_a_bad_marker_is_one_clear_error(app: pytest.Pytester, arguments: str, message: str, base: str) -> None:
    app.makepyfile(
        test_it=f"""
        import pytest
        import unittest

        class TestIt({base}):
            @pytest.mark.langfuse_outage({arguments})
            def test_it(self): pass
    """
    )
    result = app.runpytest()
    # A function's marker is looked at before the first test runs.
    result.assert_outcomes(errors=1)
    shown = result.stdout.str()
    result.stdout.fnmatch_lines([f"test_it.py::TestIt::test_it: {message}"])
    assert "Error: " not in shown
    assert "marker.py" not in shown


def test_a_method_of_unittest_runs_under_one_fault(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        import unittest

        class TestIt(unittest.TestCase):
            @pytest.mark.langfuse_outage("hang", "reset")
            def test_it(self): pass
    """)
    result = app.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unittest.TestCase can run under one fault only: write one method for each fault*"])


def test_stacked_and_scheduled(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from app import answer, langfuse

        @pytest.mark.langfuse_outage("http_500", paths="prompts", required=False)
        @pytest.mark.langfuse_outage("http_400", paths="otlp", after=1, times=1)
        def test_second_export_fails(langfuse_spans, langfuse_outage, langfuse_server):
            for n in range(3):
                langfuse.start_observation(name=f"o{n}").end()
                langfuse.flush()
            assert [o.name for o in langfuse_server.spans] == ["o0", "o2"]
            with pytest.raises(AssertionError, match="o1"):
                langfuse_spans.assert_flushed()
            assert langfuse_outage.refused == 1
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_a_wait_that_is_too_long_fails_the_test(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import pytest
        from app import langfuse

        def fetch():
            langfuse.get_prompt("greeting", fallback="hello", max_retries=0)

        @pytest.mark.langfuse_outage("hang", max_block=0.4)
        def test_marker():
            fetch()

        @pytest.mark.langfuse_outage("hang", max_block=4.9)
        def test_marker_without_the_time_limit():
            fetch()

        @pytest.mark.langfuse_outage("hang", max_block=60)
        def test_allowed(): fetch()

        def test_block(langfuse_outage):
            with langfuse_outage("hang"):
                fetch()
            with langfuse_outage("hang", max_block=60):
                fetch()
            with langfuse_outage("hang", max_block=0.4):
                fetch()

        def test_an_error_is_not_replaced(langfuse_outage):
            with langfuse_outage("hang", max_block=0.4):
                fetch()
                raise ValueError("the application's own")
    """
    )
    result = app.runpytest("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=4)
    longer = "(up to ?.? s without the time limit of the capture)"
    sentence = (
        "the test waited ?.? s for Langfuse during the outage 'hang', max_block allows 0.4 s: "
        f"blocked ?.? s {longer} at "
    )
    result.stdout.fnmatch_lines(
        [
            f"{sentence}test_it.py:5 in fetch, calling Langfuse.get_prompt",
            f"*max_block allows 4.9 s: blocked ?.? s {longer} at test_it.py:5 in fetch*",
            f"E*AssertionError: {sentence}test_it.py:5 in fetch, calling Langfuse.get_prompt",
            "E*ValueError: the application's own",
        ]
    )


def test_the_breaker_and_the_clock(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from pytest_langfuse.tracing import shutdown_tracing, tracing_health

        def test_opens_and_heals(langfuse_tracing, langfuse_outage, langfuse_clock, langfuse_spans, langfuse_server):
            client = langfuse_tracing(breaker_failure_threshold=3, environment="production", sample_rate=1.0)
            with langfuse_outage("http_503"):
                for _ in range(4):
                    client.get_prompt("greeting", fallback="hello", max_retries=0)
            assert tracing_health().breaker == "open"
            langfuse_clock.advance(seconds=299)
            assert tracing_health().breaker == "open"
            langfuse_clock.advance(seconds=1.1)
            client.start_observation(name="after").end()
            report = shutdown_tracing(timeout=10.0)
            assert report.exported == 1
            langfuse_spans.assert_flushed()
            assert [o.name for o in langfuse_server.spans] == ["after"]
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_under_unittest(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import unittest
        import pytest
        from app import answer, langfuse

        class AppTest(unittest.TestCase):
            @pytest.mark.langfuse_outage("http_500")
            def test_survives(self):
                self.assertEqual(answer("why?"), "because")
                langfuse.flush()
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_a_mock_of_everything_else_is_not_in_the_way(app: pytest.Pytester) -> None:
    """The way to the stand-in goes through httpx, of which respx sees all."""
    app.makepyfile("""
        import pytest
        import respx
        from app import langfuse

        @pytest.mark.langfuse_outage("http_401", paths="prompts")
        def test_prompt(langfuse_outage):
            with respx.mock(assert_all_mocked=True) as others:
                prompt = langfuse.get_prompt("greeting", fallback="hello", max_retries=0)
                others.calls.assert_not_called()
            assert prompt.prompt == "hello"
            assert langfuse_outage.refused >= 1
    """)
    app.runpytest().assert_outcomes(passed=1)


@pytest.mark.long
def test_nothing_is_left_and_no_port_is_used_again(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import os
        import threading
        import time
        import pytest
        from app import answer, langfuse

        ports, left = [], []

        def counts():
            return len(os.listdir("/proc/self/fd")), threading.active_count()

        @pytest.fixture(autouse=True)
        def counted():
            yield
            left.append(counts())

        @pytest.mark.parametrize("n", range(2))
        @pytest.mark.langfuse_outage(
            "refused", "reset", "http_503", "garbage", "truncated", "tls_error", "captive_portal", "dns_error"
        )
        def test_outage(n, langfuse_server, langfuse_outage):
            ports.append(langfuse_server.port)
            answer("why?")
            langfuse.flush()
            langfuse.get_prompt("greeting", fallback="hello", max_retries=0)

        def test_left():
            assert len(set(ports)) == len(ports) == 16
            # Descriptors and threads now, compared with those while the second test was under way. A thread whose
            # connection is gone may need a moment for its end.
            deadline = time.monotonic() + 10
            while not all(now <= before for now, before in zip(counts(), left[1])) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert all(now <= before for now, before in zip(counts(), left[1])), (counts(), left)
    """)
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=17)


@pytest.mark.parametrize("arguments", ["langfuse_api, langfuse_outage", "langfuse_outage, langfuse_api"])
def test_prompts_of_langfuse_api_meet_the_outage(app: pytest.Pytester, arguments: str) -> None:
    """Its routes are still asked first, in whatever order the fixtures come, and nothing of it outlives the test."""
    app.makepyfile(f"""
        import httpx
        from app import langfuse
        from pytest_langfuse.recording.sdk import hooks

        def test_prompt({arguments}):
            langfuse_api.prompt("greeting", "Hello")
            with langfuse_outage("http_401") as outage:
                assert langfuse.get_prompt("greeting", fallback="fallback", max_retries=0).prompt == "fallback"
                assert outage.refused >= 1
                langfuse_api.get("/api/public/v2/prompts/greeting").respond(503)
                refused = outage.refused
                assert langfuse.get_prompt("greeting", fallback="fallback", max_retries=0).prompt == "fallback"
                assert outage.refused == refused
            assert langfuse_api.calls

        def test_healthy_afterwards(langfuse_spans):
            assert hooks.handlers.front is None
            langfuse.create_prompt(name="other", prompt="Hello", labels=["production"])
            assert langfuse.get_prompt("other", max_retries=0).prompt == "Hello"
    """)
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=2)
