"""The plugin beside other plugins, and in other ways of running tests."""

import sys

import pytest
from opentelemetry.sdk.trace import Tracer

# Slow: loads every installed plugin.
pytestmark = pytest.mark.slow

SUITE = """
    import pytest
    from app import answer

    @pytest.mark.parametrize("i", range(6))
    def test_answer(i, langfuse_spans):
        answer(f"why {i}?")
        assert langfuse_spans.one("generation llm").input == f"why {i}?"
"""


def test_xdist_merges_the_summary(app: pytest.Pytester) -> None:
    app.makepyfile(SUITE)
    result = app.runpytest("--langfuse-capture", "-n", "2")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["langfuse: 18 observations in 6 tests"])


def test_xdist_shows_the_trace_of_a_failing_test(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer

        def test_red():
            assert answer("why?") == "no"
    """)
    result = app.runpytest("--langfuse-capture", "-n", "1")
    result.stdout.fnmatch_lines(["*Langfuse trace*", "*generation llm*"])


def test_a_client_built_by_a_conftest(app: pytest.Pytester) -> None:
    app.makeconftest("from app import langfuse")
    app.makepyfile(SUITE)
    for arguments in ([], ["-n", "1"]):
        app.runpytest("--langfuse-capture", *arguments).assert_outcomes(passed=6)


def test_randomly(app: pytest.Pytester) -> None:
    app.makepyfile(SUITE)
    app.runpytest("--langfuse-capture", "-p", "randomly", "-p", "no:xdist").assert_outcomes(passed=6)


def test_asyncio(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import asyncio
        import pytest
        from app import answer, langfuse, observe

        @observe()
        async def child(n):
            await asyncio.sleep(0)
            return n

        @pytest.mark.asyncio
        async def test_tasks(langfuse_spans):
            with langfuse.start_as_current_observation(name="root"):
                await asyncio.gather(*(child(n) for n in range(3)))
            langfuse_spans.assert_tree('''
                span root
                  3x span child
            ''')
    """)
    app.runpytest("-p", "asyncio").assert_outcomes(passed=1)


def test_anyio(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from app import answer

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_it(langfuse_spans):
            answer("why?")
            assert len(langfuse_spans) == 3
    """)
    app.runpytest("-p", "anyio").assert_outcomes(passed=1)


def test_unittest(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import unittest
        from app import answer

        class AnswerTest(unittest.TestCase):
            def test_red(self):
                answer("why?")
                self.fail()
    """)
    result = app.runpytest("--langfuse-capture")
    result.stdout.fnmatch_lines(["*Langfuse trace*", "*span answer*", "langfuse: 3 observations in 1 test"])


def test_reruns_start_clean(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer
        attempts = []

        def test_flaky(langfuse_spans):
            attempts.append(1)
            answer(f"attempt {len(attempts)}")
            assert len(langfuse_spans) == 3
            assert len(attempts) == 2
    """)
    result = app.runpytest("-p", "rerunfailures", "--reruns", "1")
    result.assert_outcomes(passed=1)
    assert "1 rerun" in result.stdout.str()


def test_collect_only_and_exitfirst(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer

        def test_red():
            answer("why?")
            assert False

        def test_not_run():
            answer("never")
    """)
    result = app.runpytest("--langfuse-capture", "--co")
    assert result.ret == 0
    result = app.runpytest("--langfuse-capture", "-x", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["langfuse: 3 observations in 1 test"])


def test_a_broken_conftest(app: pytest.Pytester) -> None:
    app.makeconftest("from app import langfuse\nraise RuntimeError('broken')")
    app.makepyfile("def test_it(): pass")
    result = app.runpytest_subprocess("--langfuse-capture")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "pytest_langfuse" not in result.stderr.str()


def test_a_broken_conftest_leaves_no_hook_behind(app: pytest.Pytester) -> None:
    start_span = Tracer.start_span
    app.makeconftest("raise RuntimeError('broken')")
    assert app.runpytest_inprocess("--langfuse-capture").ret == pytest.ExitCode.USAGE_ERROR
    assert Tracer.start_span is start_span


def test_without_the_cache_provider(app: pytest.Pytester) -> None:
    app.makepyfile(SUITE)
    app.runpytest("--langfuse-capture", "-p", "no:cacheprovider").assert_outcomes(passed=6)


def test_switched_off(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # Loaded by its entry point, as where it is installed.
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    app.makepyfile("""
        import pytest

        def test_it(request):
            with pytest.raises(pytest.FixtureLookupError):
                request.getfixturevalue("langfuse_spans")
    """)
    app.runpytest_subprocess().assert_outcomes(failed=1)
    app.runpytest_subprocess("-p", "no:langfuse").assert_outcomes(passed=1)


def test_a_pytester_run_inside_a_captured_test(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer
        pytest_plugins = ["pytester"]

        def test_outer(langfuse_spans, pytester):
            answer("outer before")
            pytester.makepyfile('''
                from langfuse import Langfuse

                def test_inner(langfuse_spans):
                    Langfuse(environment="inner").start_observation(name="inner").end()
                    (inner,) = langfuse_spans
                    assert inner.environment == "inner"
            ''')
            pytester.runpytest_inprocess("--langfuse-capture", "-p", "no:randomly").assert_outcomes(passed=1)
            answer("outer after")
            assert [o.input["args"][0] for o in langfuse_spans.all("span answer")] == ["outer before", "outer after"]
            assert len(langfuse_spans) == 6
    """)
    app.runpytest_subprocess("--langfuse-capture").assert_outcomes(passed=1)


def test_getfixturevalue(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer

        def test_it(request):
            spans = request.getfixturevalue("langfuse_spans")
            answer("why?")
            assert len(spans) == 3
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_unused_imports_nothing(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    app.makepyfile("""
        import sys

        def test_it():
            heavy = {"langfuse", "opentelemetry", "httpx", "respx", "freezegun"}
            assert not heavy & {name.partition(".")[0] for name in sys.modules}
    """)
    # Other plugins of this environment import some of these themselves.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # Spelled like this, it is a new interpreter.
    result = app.run(sys.executable, "-m", "pytest", "-p", "pytest_langfuse.plugin")
    result.assert_outcomes(passed=1)
    assert "langfuse:" not in result.stdout.str()
