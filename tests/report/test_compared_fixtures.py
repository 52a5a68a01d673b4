"""Comparing a part of a suite, or in another order: what fixtures of a wider scope than one test make is told apart."""

from __future__ import annotations

import json

import pytest

from pytest_langfuse.report.compared_run import ComparedRun
from pytest_langfuse.report.run_comparison import RunComparison
from tests.helpers.json_lines import lines_of

SUITE = """
    import unittest
    import pytest
    from langfuse import Langfuse

    langfuse = Langfuse()

    def gen(name, tokens, cost=None):
        with langfuse.start_as_current_observation(name=name, as_type="generation", model=f"model of {name}") as one:
            one.update(usage_details={"total": tokens}, cost_details={"total": tokens / 1000 if cost is None else cost})

    @pytest.fixture(scope="session", autouse=True)
    def index():
        gen("embed documents", DOCUMENTS)
        yield
        gen("drop documents", 2000)

    @pytest.fixture(scope="module")
    def module_data(index):
        gen("module data", 300)
        with langfuse.start_as_current_observation(name="open while the module runs"):
            yield
        gen("module end", 400)

    def setup_module():
        gen("setup_module", 50)

    def teardown_module():
        gen("teardown_module", 60)

    @pytest.fixture
    def own():
        gen("own", 5)

    def test_m1(module_data, own):
        gen("one", 1)

    @pytest.mark.parametrize("number", [1, 2])
    def test_m2(module_data, number):
        gen("two", 1)

    class TestU(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            gen("class begins", 70)

        @classmethod
        def tearDownClass(cls):
            gen("class ends", 80)

        def test_x(self):
            gen("x", 10)

        def test_y(self):
            gen("y", 10)
"""
LIMITS = "[pytest]\nlangfuse_max_token_increase = 10%\nlangfuse_max_cost_increase = 10%\n"
COMPARE = "--langfuse-compare=base.jsonl"


@pytest.fixture
def suite(any_duration: None, app: pytest.Pytester) -> pytest.Pytester:
    """A suite with fixtures of each scope, that has run as a whole."""
    app.makeini(LIMITS)
    app.makepyfile(test_it=SUITE.replace("DOCUMENTS", "1000"))
    app.runpytest("--langfuse-json=base.jsonl", "-p", "no:randomly").assert_outcomes(passed=5)
    return app


def change(suite: pytest.Pytester, *replaced: tuple[str, str]) -> None:
    """Write the suite anew, otherwise."""
    text = SUITE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    suite.makepyfile(test_it=text.replace("DOCUMENTS", "1000"))
    for cached in suite.path.rglob("test_it.*.pyc"):
        cached.unlink()


@pytest.mark.parametrize(
    "part",
    [
        ["-k", "m2"],
        ["--deselect", "test_it.py::TestU::test_y"],
        ["test_it.py::TestU", "test_it.py::test_m1"],
        pytest.param(["-n2"], marks=pytest.mark.slow),
        ["-k", "nothing or test_x"],
    ],
    ids=" ".join,
)
def test_a_part_is_as_it_is_in_the_whole(suite: pytest.Pytester, part: list[str]) -> None:
    result = suite.runpytest(COMPARE, *part, "-p", "no:randomly")
    result.stdout.fnmatch_lines(["with base.jsonl: none of * changed*"])
    result.stdout.no_fnmatch_line("too much*")
    result.stdout.no_fnmatch_line("*judges*")
    assert result.ret == 0


def test_a_part_of_the_earlier_run_is_compared_with_the_whole(suite: pytest.Pytester) -> None:
    suite.runpytest("--langfuse-json=base.jsonl", "-k", "m2")
    result = suite.runpytest(COMPARE)
    result.stdout.fnmatch_lines(["with base.jsonl: none of 2 tests changed, 3 new; tokens *"])
    assert result.ret == 0


def test_a_test_that_uses_more_is_found_in_a_part(suite: pytest.Pytester) -> None:
    change(suite, ('gen("two", 1)', 'gen("two", 2)'))
    result = suite.runpytest(COMPARE, "-k", "m2-1 or m2 and 1", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["too much: test_it.py::test_m2[[]1]: tokens 1 -> 2 (+100%), 10% allowed"])
    assert result.ret == 1


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ('"embed documents", DOCUMENTS', '"embed documents", 5000', "session fixture index: tokens 3,000 -> 7,000*"),
        ('"drop documents", 2000', '"drop documents", 4000', "session fixture index: tokens 3,000 -> 5,000*"),
        ('"module end", 400', '"module end", 500', "module fixture module_data of test_it.py: tokens 700 -> 800*"),
        ('"class ends", 80', '"class ends", 800', "class fixture setUpClass of test_it.py::TestU: tokens 150 -> 870*"),
        (
            '"teardown_module", 60',
            '"teardown_module", 600',
            "module fixture setup_module of test_it.py: tokens 110 -> 650*",
        ),
    ],
)
def test_a_fixture_that_uses_more_fails_the_test_that_sets_it_up(
    suite: pytest.Pytester, old: str, new: str, changed: str
) -> None:
    change(suite, (old, new))
    result = suite.runpytest(COMPARE, "--langfuse-json=now.jsonl", "-k", "m2 or TestU", "-p", "no:randomly")
    first = "test_it.py::TestU::test_x" if "class" in old else "test_it.py::test_m2[[]1]"
    result.stdout.fnmatch_lines([f"too much: {first}: {changed}, 10% allowed"])
    assert result.ret == 1
    [row] = lines_of(suite.path / "now.jsonl", "comparison")
    assert [sentence.partition(": ")[0] for sentence in row["changes"]] == [changed.partition(": ")[0]] * 2
    [exceeded] = [line for line in lines_of(suite.path / "now.jsonl", "test") if line["outcome"] == "exceeded"]
    assert exceeded["test"] == row["test"] == first.replace("[[]", "[")


def test_the_tree_of_a_fixture_is_compared(suite: pytest.Pytester) -> None:
    change(suite, ("embed documents", "embed pages"), ("def test_m1", "def test_new"))
    result = suite.runpytest(COMPARE, "-p", "no:randomly")
    result.stdout.fnmatch_lines(
        [
            "  test_it.py::test_new*: session fixture index: models model of drop documents, * -> *",
            "    session fixture index: generation embed documents is missing",
            "    session fixture index: generation embed pages is unexpected",
        ]
    )


def test_lines_say_which_fixture_has_made_an_observation(suite: pytest.Pytester) -> None:
    rows = lines_of(suite.path / "base.jsonl", "observation")
    made = {row["name"]: row["fixture"] for row in rows}
    assert [name for name, fixture in made.items() if fixture is None] == ["own", "one", "two", "x", "y"]
    index = made["embed documents"]
    assert index == made["drop documents"]
    assert index == {
        "name": "index",
        "scope": "session",
        "node": "",
        "param": None,
        "set_up": next(row["id"] for row in rows if row["name"] == "embed documents"),
    }
    assert (made["class ends"]["name"], made["class ends"]["node"]) == ("setUpClass", "test_it.py::TestU")


def test_the_time_of_a_fixture_is_not_that_of_the_test(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
            import time
            import pytest
            from app import langfuse

            @pytest.fixture(scope="session")
            def slow():
                time.sleep(0.6)
                yield
                time.sleep(0.6)

            @pytest.fixture(scope="session")
            def slower(request):
                # What another one waits for counts once.
                request.getfixturevalue("slow")
                time.sleep(0.6)

            def test_one(slower):
                langfuse.start_observation(name="one").end()

            def test_two(slower):
                langfuse.start_observation(name="two").end()
        """
    )
    app.runpytest("--langfuse-json=base.jsonl", "-p", "no:randomly").assert_outcomes(passed=2)
    first, last = lines_of(app.path / "base.jsonl", "test")
    assert 1.2 <= first["fixtures_duration"] <= first["duration"]
    assert 0.6 <= last["fixtures_duration"] <= last["duration"]
    app.runpytest(COMPARE, "-k", "two").stdout.fnmatch_lines(["with base.jsonl: none of 1 test changed, 1 did not run"])


def test_parameters_of_a_fixture_are_apart(any_duration: None, app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
            import pytest
            from app import langfuse

            @pytest.fixture(scope="session", params=["small", "large"])
            def size(request):
                with langfuse.start_as_current_observation(name=request.param, as_type="generation") as one:
                    one.update(usage_details={"total": 10 if request.param == "small" else 1000})
                yield
                langfuse.start_observation(name=f"end of {request.param}").end()

            def test_it(size): pass
            def test_other(size): pass
        """
    )
    app.makeini(LIMITS)
    app.runpytest("--langfuse-json=base.jsonl").assert_outcomes(passed=4)
    names = {row["name"]: row["fixture"]["param"] for row in lines_of(app.path / "base.jsonl", "observation")}
    assert names == {"small": 0, "end of small": 0, "large": 1, "end of large": 1}
    for part in ("large", "small", "other"):
        result = app.runpytest(COMPARE, "-k", part)
        result.stdout.fnmatch_lines(["with base.jsonl: none of 2 tests changed, 2 did not run*"])
        assert result.ret == 0


def test_a_file_of_an_earlier_version_is_compared_as_it_was(suite: pytest.Pytester) -> None:
    base = suite.path / "base.jsonl"
    rows = [json.loads(line) for line in base.read_text().splitlines()]
    base.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "fixture"}) + "\n" for row in rows))
    result = suite.runpytest(COMPARE, "-p", "no:randomly")
    result.stdout.fnmatch_lines(["with base.jsonl: none of 5 tests changed; tokens *"])


def test_of_a_fixture_that_each_worker_sets_up_the_largest_counts() -> None:
    def of(*set_ups: tuple[str, int]) -> ComparedRun:
        test = {"fault": None, "outcome": "passed", "duration": 1.0, "tokens": 1, "cost": None, "models": []}
        rows: list[dict] = []
        for number, (id_, tokens) in enumerate(set_ups):
            name = f"test_{number}"
            fixture = {"name": "docs", "scope": "session", "node": "", "param": None, "set_up": id_}
            rows += [
                {"kind": "test", "test": name, **test},
                {
                    "kind": "observation",
                    "test": name,
                    "fault": None,
                    "trace": "t",
                    "id": str(number),
                    "parent": None,
                    "type": "generation",
                    "name": "docs",
                    "start": 1,
                    "exported": True,
                    "usage": {"total": tokens},
                    "fixture": fixture,
                },
            ]
        return ComparedRun.of(map(json.dumps, rows))

    def exceeded(before: ComparedRun, after: ComparedRun) -> list[str]:
        return [str(one) for one in RunComparison(before, after, max_token_increase=0.1).exceeded]

    one, two, more = of(("a", 5)), of(("a", 5), ("b", 5)), of(("a", 5), ("b", 6))
    assert exceeded(one, two) == exceeded(two, one) == []
    assert exceeded(of(("a", 6), ("b", 5)), more) == []
    assert exceeded(one, more) == ["session fixture docs: tokens 5 -> 6 (+20%), 10% allowed"]
    # What one set-up makes in several tests is one sum.
    assert exceeded(one, of(("a", 5), ("a", 5))) == ["session fixture docs: tokens 5 -> 10 (+100%), 10% allowed"]
