"""The text of a failing assertion, to the letter."""

import re

import pytest

from pytest_langfuse.expect.text import style

FAILING = '''
    from app import answer

    def test_answer(langfuse_spans):
        answer("why?", model="gpt-4o-mini")
        langfuse_spans.assert_tree("""
            * user_id=u-1
            span answer
              generation llm  model=gpt-4o  usage.total<=4
                retriever search
        """)
'''


def test_both_trees_and_every_difference(app: pytest.Pytester) -> None:
    app.makepyfile(FAILING)
    result = app.runpytest("--color=no")
    result.stdout.fnmatch_lines(
        [
            "E       pytest_langfuse.TreeMismatch: 3 differences (- expected, + captured):",
            "E       ",
            "E         * user_id=u-1",
            "E         span answer",
            "E       +   retriever search",
            "E       -   generation llm model=gpt-4o usage.total<=4",
            "E       +   generation llm model=gpt-4o-mini usage.total=5",
            "E       -     retriever search",
            "E       ",
            "E       Differences:",
            "E         search: parent is answer, expected llm",
            "E         llm: model is 'gpt-4o-mini', expected 'gpt-4o'",
            "E         llm: usage.total is 5, expected <= 4",
        ],
        consecutive=True,
    )
    assert "\x1b" not in result.stdout.str()


def test_in_colour_on_a_terminal(app: pytest.Pytester) -> None:
    app.makepyfile(FAILING)
    text = app.runpytest("--color=yes").stdout.str()
    assert "\x1b[31m-   generation llm model=gpt-4o usage.total<=4\x1b[0m" in text
    assert "\x1b[32m+   generation llm model=gpt-4o-mini usage.total=5\x1b[0m" in text


def test_a_run_inside_of_a_test_leaves_the_colours_alone(app: pytest.Pytester) -> None:
    before = style.current()
    app.makepyfile(FAILING)
    app.runpytest("--color=yes", "-vv")
    assert style.current() == before


def test_no_color_in_the_environment_wins(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app.makepyfile(FAILING)
    assert "\x1b[32m+" not in app.runpytest("--color=yes").stdout.str()


LONG = """
    from app import answer

    def test_long(langfuse_spans):
        answer("a" * 300 + "X" + "b" * 300)
        langfuse_spans.assert_contains('generation llm input="' + "a" * 300 + "Y" + "b" * 300 + '"')
"""


def test_long_values_are_cut_around_the_first_difference(app: pytest.Pytester) -> None:
    app.makepyfile(LONG)
    result = app.runpytest()
    result.stdout.re_match_lines([r"E       - generation llm input=\"…a{10,40}Yb{10,60}…\"$"])


def test_vv_shows_them_whole(app: pytest.Pytester) -> None:
    app.makepyfile(LONG)
    assert f"input={'a' * 300}Y{'b' * 300}" in app.runpytest("-vv").stdout.str().replace('"', "")


def test_what_was_recorded_but_not_exported(app: pytest.Pytester) -> None:
    app.makepyfile('''
        from app import answer
        from opentelemetry import trace

        def test_filtered(langfuse_spans):
            with trace.get_tracer("some.http").start_as_current_span("GET /x"):
                answer("why?")
            langfuse_spans.assert_tree("""
                any "GET /x"
                  span answer
                    ...
            """)
    ''')
    app.runpytest("--color=no").stdout.fnmatch_lines(
        [
            "E         answer: parent is GET /x (not exported: default span filter), expected",
            "E           GET /x",
            "E       ",
            "E       Not exported:",
            "E         `GET /x` was recorded but not exported: default span filter",
        ],
        consecutive=True,
    )


def test_a_trace_that_was_started_in_another_thread(app: pytest.Pytester) -> None:
    app.makepyfile('''
        from concurrent.futures import ThreadPoolExecutor
        from app import langfuse

        def llm():
            with langfuse.start_as_current_observation(name="llm", as_type="generation"):
                pass

        def test_thread(langfuse_spans):
            with langfuse.start_as_current_observation(name="answer"):
                with ThreadPoolExecutor(1, thread_name_prefix="pool-1") as pool:
                    pool.submit(llm).result()
            langfuse_spans.assert_tree("""
                span answer
                  generation llm
            """)
    ''')
    app.runpytest("--color=no").stdout.fnmatch_lines(
        [
            "E         llm: parent is none (it is a root of another trace, started in thread",
            "E           pool-1_0), expected answer",
        ],
        consecutive=True,
    )


SECTION = """
    from app import answer, langfuse
    from opentelemetry import trace

    def test_section():
        http = trace.get_tracer("some.http")
        for name in ("dependency", "endpoint", "endpoint"):
            http.start_span(f"fastapi.{name}").end()
        with langfuse.start_as_current_observation(name="ask", input="a long question " * 9) as ask:
            ask.score(name="grounded", value=1.0)
            ask.score_trace(name="helpful", value=0.5)
        langfuse.start_observation(name="other").end()
        assert False
"""


@pytest.mark.slow
def test_the_section_with_the_traces_of_a_test(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    app.makepyfile(SECTION)
    for arguments in (["--langfuse-capture"], ["--langfuse-capture", "-n1"]):
        result = app.runpytest("--color=no", *arguments)
        section = result.stdout.str().partition(" Langfuse trace -")[2].splitlines()
        assert [re.sub(r" +# +[\d.]+ (µs|ms|s)$", "  # TIME", line) for line in section[1:13]] == [
            "# trace ask  # TIME",
            "span ask  # TIME",
            '  # input="a long question a long questio…"',
            "  score grounded value=1.0",
            "score helpful value=0.5",
            "",
            "# trace other  # TIME",
            "span other  # TIME",
            "",
            "Recorded but not exported:",
            "  `fastapi.dependency` and `fastapi.endpoint` (2 times):",
            "    default span filter",
        ]


def test_a_request_whose_response_nobody_read(app: pytest.Pytester) -> None:
    app.makepyfile('''
        from app import answer, langfuse

        def test_unread(langfuse_spans):
            request = langfuse.start_observation(name="GET")
            answer("why?")
            try:
                langfuse_spans.assert_tree("""
                    span "GET /items/{i}"
                    span answer
                      ...
                """)
            finally:
                request.end()
    ''')
    app.runpytest("--color=no").stdout.fnmatch_lines(
        [
            "E           Not exported:",
            "E             `GET` was recorded but not exported: it never ended; a request ends",
            "E               when its response was read or closed, which Flask's test client",
            "E               leaves to the test",
        ],
        consecutive=True,
    )


def test_equality_is_explained(app: pytest.Pytester) -> None:
    app.makepyfile('''
        from app import answer

        def test_equal(langfuse_spans):
            answer("why?", model="gpt-4o-mini")
            assert langfuse_spans == """
                span answer
                  retriever search
                  generation llm  model=gpt-4o
            """
    ''')
    app.runpytest("--color=no").stdout.fnmatch_lines(
        ["E       AssertionError: assert 1 difference:", "E*llm: model is 'gpt-4o-mini', expected 'gpt-4o'"],
        consecutive=True,
    )


@pytest.mark.parametrize(
    ("literal", "message"),
    [
        ("span answer\n  generation llm modle=gpt-4o", "unknown key 'modle' on line 2, did you mean 'model'?"),
        ("spann answer", "unknown type 'spann' on line 1, did you mean 'span'?"),
        ('span "answer', "*unclosed quote*line 1*"),
        ("span answer\n     span a\n   span b", "*indentation*line 3*"),
        ("span answer usage.total=<3", "*operator*line 1*"),
    ],
)
def test_a_bad_literal_is_one_line(app: pytest.Pytester, literal: str, message: str) -> None:
    app.makepyfile(f"""
        from app import answer

        def test_bad(langfuse_spans):
            answer("why?")
            langfuse_spans.assert_tree({literal!r})
    """)
    result = app.runpytest()
    result.stdout.fnmatch_lines([f"E       pytest_langfuse.LiteralError: {message}"])
    assert "expect/literal/parse.py" not in result.stdout.str()
