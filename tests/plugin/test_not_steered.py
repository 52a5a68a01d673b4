"""With the plugin on, the application takes the same decisions as without it."""

import pytest

# Slow: runs suites in processes.
pytestmark = pytest.mark.slow

MODES = pytest.mark.parametrize("mode", [[], ["--langfuse-capture"]], ids=["by fixture", "by option"])


@MODES
def test_the_environment_is_the_applications_own(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: list[str]
) -> None:
    monkeypatch.setenv("LANGFUSE_HOST", "https://langfuse.example")
    app.makeconftest(
        """
        import os

        BEFORE = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        """
    )
    app.makepyfile(
        """
        import os
        from conftest import BEFORE

        from langfuse import Langfuse, get_client

        early = Langfuse()


        def test_same(langfuse_spans, langfuse_server):
            late = Langfuse()
            late.start_observation(name="late").end()
            early.start_observation(name="early").end()
            late.flush()
            assert {o.name for o in langfuse_spans} == {"late", "early"}
            assert {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} == BEFORE
            assert late._resources.timeout == 1
            assert late._base_url == "https://langfuse.example"
        """
    )
    app.runpytest(*mode).assert_outcomes(passed=1)


@MODES
def test_strands_asks_the_environment_for_the_address(app: pytest.Pytester, mode: list[str]) -> None:
    """strands-agents makes other spans where the address is Langfuse's."""
    app.makepyfile(
        """
        import os

        def is_langfuse():
            return "langfuse" in os.getenv("LANGFUSE_BASE_URL", "") or "LANGFUSE_HOST" in os.environ

        def test_decision(langfuse_spans):
            assert not is_langfuse()
        """
    )
    app.runpytest(*mode).assert_outcomes(passed=1)


@MODES
def test_haystack_skips_its_live_tests_without_keys(app: pytest.Pytester, mode: list[str]) -> None:
    app.makepyfile(
        """
        import os
        import pytest

        def test_recorded(langfuse_spans):
            pass

        @pytest.mark.skipif(
            not all(os.environ.get(f"LANGFUSE_{kind}_KEY") for kind in ("PUBLIC", "SECRET")), reason="no keys"
        )
        def test_live():
            raise AssertionError("live")
        """
    )
    app.runpytest(*mode).assert_outcomes(passed=1, skipped=1)


@MODES
def test_an_application_that_traces_only_with_keys(app: pytest.Pytester, mode: list[str]) -> None:
    app.makepyfile(
        """
        import os

        from langfuse import get_client

        def answer():
            if os.environ.get("LANGFUSE_PUBLIC_KEY") and os.environ.get("LANGFUSE_SECRET_KEY"):
                get_client().start_observation(name="answer").end()

        def test_it(langfuse_spans):
            answer()
            assert len(langfuse_spans) == EXPECTED
        """.replace("EXPECTED", "int(os.environ['EXPECTED'])")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPECTED", "0")
        app.runpytest(*mode).assert_outcomes(passed=1)
        patch.setenv("EXPECTED", "1")
        app.makeini("[pytest]\nlangfuse_env_keys = true")
        app.runpytest(*mode).assert_outcomes(passed=1)


def test_a_frozen_clock_in_a_suite_without_langfuse(app: pytest.Pytester) -> None:
    app.makepyfile(
        """
        import datetime
        import time

        from freezegun import freeze_time

        @freeze_time("2020-01-01")
        def test_frozen():
            assert datetime.datetime.now().year == 2020

        def test_thawed():
            assert datetime.datetime.now().year > 2020
            assert time.time() > 1_600_000_000
        """
    )
    result = app.runpytest_subprocess("-p", "no:randomly", "--langfuse-capture")
    result.assert_outcomes(passed=2)
    assert result.ret == 0


def test_frozen_clocks_of_the_application_beside_that_of_the_plugin(app: pytest.Pytester) -> None:
    """Langfuse is spared by the one, and its cache of prompts is moved by the other, in either order."""
    app.makepyfile(
        """
        import datetime
        import threading

        from app import answer, langfuse
        from freezegun import freeze_time

        @freeze_time("2020-01-01")
        def test_frozen(langfuse_spans):
            answer("why?")
            assert datetime.datetime.now().year == 2020
            assert langfuse_spans.one("span answer").user_id == "u-1"

        def test_cache_expires(langfuse_api, langfuse_clock):
            langfuse_api.prompt("greeting", "Hello")
            assert langfuse.get_prompt("greeting", cache_ttl_seconds=60).prompt == "Hello"
            langfuse_api.prompt("greeting", "Good day")
            langfuse_clock.advance(seconds=59)
            assert langfuse.get_prompt("greeting", cache_ttl_seconds=60).prompt == "Hello"
            langfuse_clock.advance(seconds=2)
            # An expired prompt is given once more while a thread refreshes it.
            for _ in range(1000):
                if langfuse.get_prompt("greeting", cache_ttl_seconds=60).prompt == "Good day":
                    return
                threading.Event().wait(0.01)
            raise AssertionError("the cached prompt never expired")

        @freeze_time("2021-01-01")
        def test_frozen_again(langfuse_spans):
            answer("why?")
            assert datetime.datetime.now().year == 2021

        def test_thawed():
            assert datetime.datetime.now().year > 2021
        """
    )
    result = app.runpytest_subprocess("-p", "no:randomly", "--langfuse-capture")
    result.assert_outcomes(passed=4)
