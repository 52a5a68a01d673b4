"""Rules in runs of pytest: counted with capture, failures in strict mode, none with fixtures alone."""

import pytest

APP = """
    from langfuse import Langfuse, observe

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")

    def warned():
        with langfuse.start_as_current_observation(
            name="warned", as_type="generation"
        ):
            pass

    def wrong(tracer=langfuse._otel_tracer):
        tracer.start_span("wrong", start_time=2 * 10**18).end(end_time=2 * 10**18 - 10**9)

    @observe(as_type="generation")
    def decorated():
        wrong()
"""
TESTS = """
    import bot, pytest

    def test_warned():
        bot.warned()

    def test_wrong():
        bot.wrong()

    @pytest.mark.langfuse_rules(ignore=["LF029"])
    def test_ignored():
        bot.wrong()

    @pytest.mark.xfail(reason="another error is expected")
    def test_expected_to_fail():
        bot.wrong()
        assert 0
"""
WRONG = "LF029 ends before it starts: 'wrong' (bot.py:12) ends 1.000 s before it starts. Fix: pass end_time= in*"


@pytest.fixture
def app(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(bot=APP, test_bot=TESTS)
    return pytester


def test_counted_with_capture(app):
    result = app.runpytest("--langfuse-capture", "-q", "-p", "no:randomly")
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "langfuse: LF006 no model (warning, once): 'warned' (bot.py:6) names no model*",
            "langfuse: LF029 ends before it starts (error, 2 times): 'wrong' (bot.py:12) ends*",
            "langfuse: `python -m pytest_langfuse.rules explain CODE`*",
        ]
    )


def test_an_error_fails_its_test_in_strict_mode(app):
    result = app.runpytest("--langfuse-strict", "-p", "no:randomly")
    # An expected failure is another one.
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines([WRONG, "FAILED test_bot.py::test_wrong*"])
    result.stdout.no_fnmatch_line("*_getframe*")


def test_a_warning_fails_where_it_is_selected_by_its_code(app):
    app.makeini("[pytest]\nlangfuse_strict = true\nlangfuse_rules_select = LF006")
    app.runpytest("-p", "no:randomly").assert_outcomes(failed=1, passed=2, xfailed=1)


@pytest.mark.parametrize("ini", ["langfuse_rules_select =", "langfuse_rules_ignore = LF006, LF029"])
def test_switched_off(app, ini):
    app.makeini(f"[pytest]\n{ini}")
    result = app.runpytest("--langfuse-strict", "-p", "no:randomly")
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.no_fnmatch_line("langfuse: LF*")


def test_none_with_fixtures_alone(app):
    app.makepyfile(
        test_bot="""
        import bot
        from pytest_langfuse.recording.sdk import hooks

        def test_it(langfuse_spans):
            bot.wrong()
            assert hooks.recorder.places is None
        """
    )
    result = app.runpytest("-p", "no:randomly")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("langfuse: LF*")


@pytest.mark.slow
def test_workers_of_xdist_hand_them_on(app):
    result = app.runpytest("--langfuse-capture", "-n", "2", "-p", "no:randomly")
    result.assert_outcomes(passed=3, xfailed=1)
    result.stdout.fnmatch_lines("langfuse: LF029 ends before it starts (error, 2 times): *")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "langfuse_rules_select=LF06",
            "ini option langfuse_rules_select: 'LF06' is not the code of a rule, did you mean*",
        ),
        (
            "langfuse_rules_ignore=LF06",
            "ini option langfuse_rules_ignore: 'LF06' is not the code of a rule, did you mean*",
        ),
        ("langfuse_rules=LF006.x=1", "ini option langfuse_rules: 'LF006.x=1': LF006 has no option 'x'*"),
        ("langfuse_strict=maybe", "ini option langfuse_strict: 'maybe' is not one of true, false"),
    ],
)
@pytest.mark.parametrize("capture", [(), ("--langfuse-capture",)], ids=["plain", "captured"])
def test_mistakes_are_one_line_before_any_test(app, option, message, capture):
    result = app.runpytest(*capture, "-o", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line.startswith("ERROR")]
    assert len(lines) == 1
    result.stderr.fnmatch_lines(f"ERROR: {message}")


_TAKES = 'langfuse_rules takes ignore= alone, such as @pytest.mark.langfuse_rules(ignore=["LF005"])'


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("", _TAKES),
        ("()", _TAKES),
        ('("LF006")', _TAKES),
        ("(only=[])", _TAKES),
        ('(ignore=["LF006"], only=[])', _TAKES),
        ('(ignore="LF013")', "langfuse_rules(ignore='LF013'): expected a list of codes, such as ['LF006']"),
        ("(ignore=6)", "langfuse_rules(ignore=6): expected a list of codes, such as ['LF006']"),
        ("(ignore=[6])", "langfuse_rules(ignore=6): expected a list of codes, such as ['LF006']"),
        (
            '(ignore=["LF006", "LF6"])',
            "langfuse_rules(ignore=...): 'LF6' is not the code of a rule, did you mean 'LF006'?",
        ),
    ],
)
def test_a_bad_marker_is_one_line_before_the_test_runs(app, marker, message):
    app.makepyfile(
        test_bot=f"""
        import bot, pytest

        @pytest.fixture
        def traced():
            yield
            bot.wrong()

        @pytest.mark.langfuse_rules{marker}
        def test_it(traced):
            1 / 0
        """
    )
    for options in (("--langfuse-capture", "--langfuse-strict"), ()):
        result = app.runpytest(*options)
        result.assert_outcomes(errors=1)
        assert result.outlines.count(f"test_bot.py::test_it: {message}") == 1
        result.stdout.no_fnmatch_line("*ZeroDivision*")
        result.stdout.no_fnmatch_line("*Traceback*")


def test_markers_add_up_and_may_ignore_nothing(app):
    app.makepyfile(
        test_bot="""
        import bot, pytest

        pytestmark = pytest.mark.langfuse_rules(ignore=["lf029"])

        @pytest.mark.langfuse_rules(ignore=())
        def test_it():
            bot.wrong()
        """
    )
    app.runpytest("--langfuse-capture", "--langfuse-strict").assert_outcomes(passed=1)


def test_a_bad_marker_that_a_test_adds_while_it_runs_fails_it(app):
    app.makepyfile(
        test_bot="""
        import bot, pytest

        def test_it(request):
            request.node.add_marker(pytest.mark.langfuse_rules(ignore="LF029"))
            bot.wrong()
        """
    )
    result = app.runpytest("--langfuse-capture")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("test_bot.py::test_it: langfuse_rules(ignore='LF029'): expected a list of codes*")


def test_the_place_of_a_decorated_function_and_of_what_it_calls(app):
    app.makepyfile(test_bot="import bot\ndef test_it(): bot.decorated()")
    result = app.runpytest("--langfuse-capture", "-q")
    result.stdout.fnmatch_lines(
        ["langfuse: LF006 no model (warning, once): 'decorated' (bot.py:14)*", "langfuse: LF029 *'wrong' (bot.py:12)*"]
    )
