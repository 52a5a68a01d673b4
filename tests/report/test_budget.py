"""Budgets: the marker and the ini option fail tests whose traces are right, but too much."""

from __future__ import annotations

import pytest

APP = """
    import pytest
    from langfuse import Langfuse

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")
    budget = pytest.mark.langfuse_budget

    def call(name="llm", tokens=200, cost=0.1, **fields):
        if cost is not None:
            fields["cost_details"] = {"total": cost}
        langfuse.start_observation(
            name=name, as_type="generation", model="m", usage_details={"input": tokens - 50, "output": 50}, **fields
        ).end()

    def answer(*calls):
        with langfuse.start_as_current_observation(name="answer"):
            for tokens in calls:
                call(tokens=tokens)
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    pytester.makepyfile(bot=APP)

    def of(tests: str, *arguments: str, ini: str = "") -> pytest.RunResult:
        pytester.makepyfile(test_bot="from bot import *\n" + tests)
        pytester.makeini(f"[pytest]\n{ini}")
        return pytester.runpytest("-p", "no:randomly", "-p", "no:asyncio", *arguments)

    return of


def failure(result: pytest.RunResult, test: str) -> list[str]:
    """The lines of a test's failure, up to its trace."""
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.strip("_ ") == test)
    end = next(number for number in range(start + 1, len(lines)) if lines[number].startswith(("---", "___", "===")))
    return lines[start + 1 : end]


WITHIN = """
@budget(tokens=600, cost=0.3, generations=3, observations=4, duration=60, errors=0)
def test_within(): answer(200, 200, 200)

@budget(tokens=0, cost=0, generations=0, observations=0, duration=0, errors=0)
def test_nothing(): pass

@budget(tokens=0)
@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): answer(100)
"""


def test_what_is_within_its_limits_passes(run):
    run(WITHIN).assert_outcomes(passed=2, xfailed=1)


OVER = """
@budget(tokens=599)
def test_tokens(): answer(100, 300, 200)

@budget(cost=0.29)
def test_cost(): answer(200, 200, 200)

@budget(generations=1)
def test_generations():
    answer(100, 100)
    call("other")

@budget(observations=3)
def test_observations(): answer(100, 100, 100)

@budget(duration=1.5)
def test_duration():
    start = 10**18
    tracer = langfuse._otel_tracer
    with langfuse.start_as_current_observation(name="short"):
        pass
    root = tracer.start_span("slow", start_time=start)
    from opentelemetry.trace import set_span_in_context
    tracer.start_span("part", context=set_span_in_context(root), start_time=start).end(end_time=start + 10**9)
    root.end(end_time=start + 2 * 10**9)

@budget(errors=0)
def test_errors():
    call("broken", level="ERROR", status_message="no answer")

@budget(tokens=10, observations=0)
def test_both(): call(tokens=100)

@budget(tokens=0)
def test_many():
    for number in range(7): call(f"llm-{number}", tokens=100 + number)
"""


def test_what_is_over_fails_with_what_went_over_by_observation(run):
    result = run(OVER)
    result.assert_outcomes(failed=8)
    assert failure(result, "test_tokens") == [
        "over budget: 600 tokens, 599 tokens allowed",
        "  llm: 300 tokens",
        "  llm: 200 tokens",
        "  llm: 100 tokens",
    ]
    assert failure(result, "test_cost")[:2] == ["over budget: $0.3000, $0.2900 allowed", "  llm: $0.1000"]
    assert failure(result, "test_generations") == [
        "over budget: 3 generations, 1 generation allowed",
        "  2 x generation llm",
        "  1 x generation other",
    ]
    assert failure(result, "test_observations") == [
        "over budget: 4 observations, 3 observations allowed",
        "  3 x generation llm",
        "  1 x span answer",
    ]
    assert failure(result, "test_duration") == [
        "over budget: 2.000 s, 1.500 s allowed",
        "  slow: 2.000 s",
        "  part: 1.000 s",
    ]
    assert failure(result, "test_errors") == ["over budget: 1 error, 0 errors allowed", "  broken: no answer"]
    assert failure(result, "test_both") == [
        "over budget: 100 tokens, 10 tokens allowed",
        "  llm: 100 tokens",
        "over budget: 1 observation, 0 observations allowed",
        "  1 x generation llm",
    ]
    assert failure(result, "test_many")[-2:] == ["  llm-2: 102 tokens", "  and 2 more"]
    # The tree follows.
    result.stdout.fnmatch_lines(["over budget: 600 tokens*", "*Langfuse trace*", "span answer *", "  generation llm*"])
    result.stdout.no_fnmatch_line("*budget.py*")


def test_a_cost_that_nobody_reports_is_not_a_cost_of_nothing(run):
    result = run("@budget(cost=0.01)\ndef test_it(): call(cost=None)\n@budget(cost=1)\ndef test_known(): call()")
    result.assert_outcomes(failed=1, passed=1)
    assert failure(result, "test_it") == [
        "over budget? The cost is not known, $0.0100 allowed",
        "  llm: has usage but no cost that the application reports (Langfuse computes it later): pass cost_details=",
    ]


NEAREST = """
@budget(tokens=100, generations=1)
class TestIt:
    def test_class(self): answer(100, 100)

    @budget(tokens=300)
    def test_own(self): answer(200)

    @budget(tokens=None, generations=None)
    def test_lifted(self): answer(300, 100)

def test_ini(langfuse_spans): answer(200, 300)

def test_at_run_time(request):
    request.getfixturevalue("langfuse_spans")
    answer(200, 300)

def test_not_captured(): answer(200, 300)
"""


def test_the_nearest_marker_counts_and_the_ini_option_last(run):
    result = run(NEAREST, "-rA", ini="langfuse_budget = tokens=400 observations=10")
    result.assert_outcomes(failed=3, passed=3)
    assert failure(result, "TestIt.test_class")[0] == "over budget: 200 tokens, 100 tokens allowed"
    assert failure(result, "test_ini")[0] == "over budget: 500 tokens, 400 tokens allowed"
    assert failure(result, "test_at_run_time")[0] == "over budget: 500 tokens, 400 tokens allowed"


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("tokns=1", "langfuse_budget has no limit 'tokns', did you mean 'tokens'?"),
        ("500", "langfuse_budget takes limits by name, such as @pytest.mark.langfuse_budget(tokens=500)"),
        ("", "langfuse_budget takes limits by name*"),
        ("tokens='x'", "langfuse_budget(tokens='x'): expected a whole number"),
        ("tokens=1.5", "langfuse_budget(tokens=1.5): expected a whole number"),
        ("tokens=True", "langfuse_budget(tokens=True): expected a whole number"),
        ("cost=-1", "langfuse_budget(cost=-1): expected a number of at least 0"),
        ("duration=float('nan')", "langfuse_budget(duration=nan): expected a number*"),
    ],
)
def test_a_bad_marker_is_one_line_before_the_test_runs(run, marker, message):
    result = run(f"@budget({marker})\ndef test_it(): 1 / 0")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(f"test_bot.py::test_it: {message.replace('[', '[[]')}")
    result.stdout.no_fnmatch_line("*ZeroDivision*")


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("tokens", "'tokens' is not LIMIT=number, such as tokens=500"),
        ("tokns=1", "langfuse_budget has no limit 'tokns', did you mean 'tokens'?"),
        ("cost=cheap", "'cost=cheap': 'cheap' is not a number from 0 up"),
        ("tokens=1.5", "'tokens=1.5': '1.5' is not a whole number from 0 up"),
    ],
)
def test_a_bad_ini_option_is_one_line_before_any_test(run, ini, message):
    result = run("def test_it(): pass", ini=f"langfuse_budget = {ini}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(f"ERROR: ini option langfuse_budget: {message}")
