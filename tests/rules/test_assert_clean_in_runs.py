"""`assert_clean()` without `--langfuse-capture`: what rules need is watched where a test asks for it."""

from __future__ import annotations

import pytest

APP = """
    import threading
    from langfuse import get_client

    def step():
        get_client().start_observation(name="step").end()

    def split():
        with get_client().start_as_current_observation(name="answer"):
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()

    def ignored():
        get_client().start_observation(name="user").update(user_id="u").end()
"""
LATE = "*assert_clean() says nothing about rules that watch the application from the start of the run*"


@pytest.fixture
def app(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(bot=APP)
    return pytester


def test_the_function_of_a_test_calls_it(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import bot, functools, pytest

        def decorated(function):
            @functools.wraps(function)
            def inner(*args, **kwargs):
                return function(*args, **kwargs)
            return inner

        def test_split(langfuse_spans):
            bot.split()
            langfuse_spans.assert_clean()

        @decorated
        def test_ignored(langfuse_spans):
            bot.ignored()
            (lambda: langfuse_spans.assert_clean())()

        class TestIt:
            def test_clean(self, langfuse_spans):
                bot.step()
                langfuse_spans.assert_clean(ignore=["LF008"])
    """)
    result = app.runpytest()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*LF004 context lost: 'step' (bot.py:5, *", "*LF013 value lost: update() (bot.py:14)*"]
    )
    result.stdout.no_fnmatch_line(LATE)
    result.stdout.no_fnmatch_line("langfuse: LF*")


def test_a_helper_calls_it(app: pytest.Pytester) -> None:
    app.makepyfile(
        helper="def check(spans): spans.assert_clean()",
        test_it="""
            import bot, helper
            def test_split(langfuse_spans):
                bot.split()
                helper.check(langfuse_spans)
            def test_again(langfuse_spans):
                bot.split()
                helper.check(langfuse_spans)
        """,
    )
    result = app.runpytest("-W", "default")
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines([LATE])
    result = app.runpytest("--langfuse-capture")
    result.assert_outcomes(failed=2)
    result.stdout.no_fnmatch_line(LATE)


def test_it_looks_for_all_where_no_rule_is_selected_for_the_run(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_rules_select =")
    app.makepyfile("""
        import bot
        def test_split(langfuse_spans):
            bot.split()
            langfuse_spans.assert_clean()
    """)
    result = app.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*LF004 context lost: 'step' (bot.py:5, *"])
    result.stdout.no_fnmatch_line(LATE)
