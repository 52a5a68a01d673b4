"""What the plugin prints goes to the logs of a CI: no secret is in it."""

from __future__ import annotations

import re
import textwrap

import pytest

from pytest_langfuse.expect.text.style import Style
from tests.helpers.application import _no_keys, app

__all__ = ["_no_keys", "app"]

#: Parts of each secret of the application, which nothing may show.
PARTS = ("R4nD0mT0k3n", "Zq8vN3kLm2", "9f3bd1c27e", "Value-77q3", "hunter-2718", "ORD-5551", "child-7281")

SECRETS = """
    import os

    GITHUB = "gh" + "p_R4nD0mT0k3nV4lu3Ab8dEf7hIjKlMn2pQrSt"
    LONG = "Zq8vN3kLm2Xw7TbR5yHd9FgJ4sPc6AeUbq1vN3kLm2Xw7TbR5yHd9FgJ4sPc6AeU1aBcD4f7hJ"
    OPENAI = "sk-pr" + f"oj-{LONG[:74]}T3Bl" + f"bkFJ{LONG[:74]}"
    LANGFUSE = "sk-l" + "f-9f3bd1c27e-4a6b-8c9d-e0f1a2b3c4d5"
    os.environ["LATE_API_KEY"] = KEY = 'quoted"Val' + "ue-77q3 z9w1"
    ORDER = "OR" + "D-5551"
    SECRETS = (GITHUB, OPENAI, LANGFUSE, KEY, ORDER)
"""

TESTS = """
    import sys

    import pytest
    from app import langfuse
    from secrets_of_app import *

    @pytest.fixture(params=range(5))
    def trace(request):
        secret = SECRETS[request.param]
        given = {"a": {"b": f"first\\n{secret}"}}
        with langfuse.start_as_current_observation(name=f"call {secret}", input=given) as one:
            one.update(output=secret, status_message=f"no {secret} accepted", level="ERROR", metadata={secret: secret})
            one.score(name="good", value=secret, data_type="CATEGORICAL", comment=secret)
        return secret

    def test_trace(trace):
        assert 0

    def test_tree(trace, langfuse_spans):
        langfuse_spans.assert_tree('span call* output="x" input="y"')

    def test_cut_literal(trace, langfuse_spans):
        langfuse_spans.assert_tree("span call* output=$value", value=f"{trace * 2} and more")

    def test_expected(trace, langfuse_spans):
        langfuse_spans.assert_tree("span call* output=$value", value=f"{trace}!")

    def test_literal(trace, langfuse_spans):
        langfuse_spans.assert_tree(f'span call "{trace}' if '"' not in trace else "span call [")

    def test_two_secrets(trace, langfuse_spans):
        langfuse_spans.assert_tree("span call* output=$value", value=SECRETS[SECRETS.index(trace) - 1])

    def test_contains(trace, langfuse_spans):
        langfuse_spans.assert_contains("tool search input=1")

    def test_equal(trace, langfuse_spans):
        assert langfuse_spans == 'span call output="x"'

    def test_one(trace, langfuse_spans):
        langfuse_spans.one("span nothing", output="x")

    def test_propagated(trace, langfuse_spans):
        with langfuse.start_as_current_observation(name="second"):
            pass
        langfuse_spans.assert_propagated("output", value="x")

    def test_single(trace, langfuse_spans):
        with langfuse.start_as_current_observation(name="second"):
            pass
        langfuse_spans.assert_single_trace()

    def test_clean(trace, langfuse_spans):
        langfuse_spans.assert_clean()

    @pytest.mark.langfuse_budget(errors=0)
    def test_budget(trace):
        pass

    def test_passes(trace):
        pass
"""

PROCESS = """
    import sys

    CODE = "import os; print(os.environ['CHILD_API_KEY'], 'gh' + 'p_R4nD0mT0k3nV4lu3Ab8dEf7hIjKlMn2pQrSt', flush=True)"

    def test_process(langfuse_process):
        key = "child-72" + "81-of-env"
        one = langfuse_process.start("-c", CODE, env={"CHILD_API_KEY": key})
        one.wait_for_output("never", timeout=5)
"""


@pytest.fixture
def tests(app: pytest.Pytester) -> pytest.Pytester:
    app.path.joinpath("secrets_of_app.py").write_text(textwrap.dedent(SECRETS))
    app.makepyfile(test_it=TESTS)
    app.makeini("[pytest]\nlangfuse_rules = LF010.pattern.order=ORD-\\d{4}\n")
    return app


def clean(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        ((), 80),
        pytest.param(("--langfuse-show=all", "--color=yes"), 45, marks=pytest.mark.slow),
        pytest.param(("-vv", "--langfuse-strict"), 100, marks=pytest.mark.slow),
        pytest.param(("-n2", "--langfuse-show=all"), 200, marks=pytest.mark.slow),
    ],
)
def test_nothing_that_the_plugin_prints_has_a_secret(
    tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    # Parts of secrets in what pytest prints itself: values of fixtures.
    result = tests.runpytest("--langfuse-capture", "--tb=short", *arguments)
    text = clean(result.stdout.str())
    for part in PARTS:
        lines = [line for line in text.splitlines() if part in line]
        assert not lines, lines
    joined = "".join(line.removeprefix("E").strip() for line in text.splitlines())
    for part in PARTS:
        assert part not in joined
    for mark in (
        "[redacted: a GitHub token]",
        "[redacted: LATE_API_KEY]",
        "[redacted: a secret of the pattern 'order']",
    ):
        assert mark in text
    assert "secrets are replaced by [redacted: ...]; print(langfuse_spans) shows them" in joined


def test_the_trace_says_so_and_fits_the_terminal(tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = tests.runpytest("--langfuse-capture", "--tb=short", "-k", "test_trace")
    sections = result.stdout.str().split(" Langfuse trace ")[1:]
    assert len(sections) == 5
    for section in sections:
        lines = section.partition("\n")[2].partition("\n____")[0].splitlines()
        trace = lines[: lines.index("# secrets are replaced by [redacted: ...]; print(langfuse_spans) shows them") + 1]
        assert max(map(len, trace)) <= 80


def test_a_sentence_is_searched_before_it_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PASSWORD", "correct horse battery staple")
    sentence = f"the words {'and ' * 8}correct horse battery staple are secret"
    shown = " ".join(map(str.strip, Style(columns=60).wrapped(sentence)))
    assert "[redacted: A_PASSWORD] are secret" in shown
    assert "horse" not in shown
    # The sentence itself is cut, too.
    assert "correct" not in " ".join(Style(columns=60).wrapped("x" * 1_990 + " correct horse battery staple"))


def test_the_repr_of_observations(tests: pytest.Pytester) -> None:
    # pytest shows it as an argument of the test.
    result = tests.runpytest("--langfuse-capture", "-k", "test_tree")
    result.stdout.fnmatch_lines(["*langfuse_spans = <Observations (1): call [[]redacted: a GitHub token]>*"])


def test_what_a_test_prints_itself_is_as_it_was(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        test_it="""
        from app import langfuse
        from secrets_of_app import *

        def test_own(langfuse_spans):
            for secret in SECRETS:
                with langfuse.start_as_current_observation(name=f"call {secret}", input=secret):
                    pass
            literal = str(langfuse_spans)
            assert all(secret.partition('"')[0] in literal for secret in SECRETS)
            langfuse_spans.assert_tree(literal)
            print(literal)
            assert 0
    """
    )
    result = tests.runpytest("--langfuse-capture", "--tb=short")
    text, section = result.stdout.str().split("Captured stdout call"), result.stdout.str().split("Langfuse trace")[1]
    assert "R4nD0mT0k3n" in text[1]
    assert "R4nD0mT0k3n" not in section.split("Captured stdout")[0]


def test_output_of_a_process(app: pytest.Pytester) -> None:
    app.makepyfile(test_it=PROCESS)
    result = app.runpytest("--tb=short")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        ["*Its output:*", "*redacted: CHILD_API_KEY* *redacted: a GitHub token*", "*Langfuse process*"]
    )
    for part in PARTS:
        assert part not in text


def test_an_innocent_value_is_shown_that_begins_as_a_secret_does(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("DB_PASSWORD", "claude-sonnet-4-5-20250929")
    app.makepyfile(
        test_it="""
        from app import langfuse

        def test_cut(langfuse_spans):
            with langfuse.start_as_current_observation(
                name="call https://docs.example.org/help", as_type="generation", model="claude-sonnet-4",
                input="x" * 300, metadata={"long": "y" * 9_990 + "claude-sonnet-4, and a lot more of it"},
            ):
                pass
            langfuse_spans.assert_tree("span x output=nothing")
    """
    )
    result = app.runpytest("--langfuse-json=run.jsonl", "--junit-xml=junit.xml")
    result.assert_outcomes(failed=1)
    assert 'model="claude-…"' in result.stdout.str()
    for text in (result.stdout.str(), *((app.path / name).read_text() for name in ("run.jsonl", "junit.xml"))):
        assert "[redacted" not in text
    # What has the whole of it has no secret at all.
    app.path.joinpath("test_it.py").write_text(
        app.path.joinpath("test_it.py").read_text().replace('"claude-sonnet-4"', '"claude-sonnet-4-5-20250929"')
    )
    assert "model=[redacted: DB_PASSWORD]" in app.runpytest("--langfuse-capture", "-vv").stdout.str()
