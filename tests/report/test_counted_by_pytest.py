"""Everything that pytest counts, and the exit status, is in the lines, on the page, in the summary and in JUnit."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_langfuse.report import prices
from pytest_langfuse.report.page.html_page import html_of
from pytest_langfuse.report.run_summary import RunSummary
from pytest_langfuse.report.step_summary import markdown
from tests.helpers.json_lines import lines_of
from tests.helpers.report_page import index

OPTIONS = ("--langfuse-json=run.jsonl", "--langfuse-report=report.html", "--junit-xml=junit.xml")
GOOD = "def test_good(): pass\n"


class Places:
    """What each place says of a run."""

    def __init__(self, folder: Path) -> None:
        self.run, *rows = lines_of(folder / "run.jsonl")
        self.tests: dict[str, dict[str, Any]] = {row["test"]: row for row in rows if row["kind"] == "test"}
        self.page = (folder / "report.html").read_text()
        self.on_page: dict[str, dict[str, Any]] = {test["test"]: test for test in index(self.page)["tests"]}
        self.summary = (folder / "summary.md").read_text()
        self.suite = ET.parse(folder / "junit.xml").getroot()[0]

    @property
    def outcomes(self) -> dict[str, str]:
        assert set(self.tests) == set(self.on_page)
        return {name: row["outcome"] for name, row in self.tests.items()}

    @property
    def is_well(self) -> bool:
        return "Nothing is wrong" in self.page


@pytest.fixture(autouse=True)
def _summary(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    monkeypatch.setattr(prices, "_prices", lambda: None)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))


def run(app: pytest.Pytester, *options: str, status: int) -> Places:
    result = app.runpytest(*OPTIONS, "-p", "no:randomly", *options, no_reraise_ctrlc=True)
    places = Places(app.path)
    assert (int(result.ret), places.run["exit_status"]) == (status, status)
    assert places.is_well == (status == 0)
    return places


# -- what could not be collected ---------------------------------------------------------------------------------

BROKEN = {
    "import nosuchmodule": "ModuleNotFoundError: No module named 'nosuchmodule'",
    "def (": "SyntaxError: invalid syntax",
    "raise ValueError('one\\ntwo')": "ValueError: one",
    "import warnings\nwarnings.warn('old', DeprecationWarning)": "DeprecationWarning: old",
    "import pytest\npytestmark = pytest.mark.nosuch": "Failed: 'nosuch' not found in `markers` configuration option",
}


@pytest.mark.parametrize(("code", "message"), BROKEN.items())
def test_a_module_that_can_not_be_collected(app: pytest.Pytester, code: str, message: str) -> None:
    app.makepyfile(test_good=GOOD, test_broken=code)
    options = ("--continue-on-collection-errors", "--strict-markers", "-W", "error::DeprecationWarning")
    places = run(app, *options, status=1)
    assert places.outcomes == {"test_broken.py": "error", "test_good.py::test_good": "passed"}
    broken = places.tests["test_broken.py"]
    assert (broken["message"], broken["collection"]) == (message, True)
    assert message.removeprefix("Failed: ") in broken["failure"]
    assert places.run["incomplete"] == ["test_broken.py could not be collected: its tests are missing"]
    assert places.run["errors"] == []
    assert (places.suite.get("errors"), places.suite.get("tests")) == ("1", "2")
    assert "## Langfuse traces: 1 of 2 tests failed" in places.summary
    assert "test&#95;broken" in places.summary
    assert places.on_page["test_broken.py"]["message"] == message
    assert '<li class="outcome error">1 error</li>' in places.page


@pytest.mark.parametrize("options", [(), ("--maxfail=1", "--continue-on-collection-errors"), ("-x",)], ids=" ".join)
def test_files_say_why_no_test_ran(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile(test_good=GOOD)
    run(app, status=0)
    app.makepyfile(test_broken="import nosuchmodule")
    places = run(app, *options, status=1 if options else 2)
    assert places.outcomes == {"test_broken.py": "error"}
    assert places.run["incomplete"][0] == "test_broken.py could not be collected: its tests are missing"


def test_a_module_that_is_skipped_as_a_whole(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD, test_skipped="import pytest\npytest.importorskip('nosuchmodule')\n")
    places = run(app, status=0)
    skipped = places.tests["test_skipped.py"]
    assert (skipped["outcome"], skipped["collection"], skipped["failure"]) == ("skipped", True, "")
    assert skipped["message"] == "could not import 'nosuchmodule': No module named 'nosuchmodule'"
    assert places.suite.get("skipped") == "1"


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-x",), ("--continue-on-collection-errors",)], ids=" ".join)
def test_collection_errors_of_workers(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile(test_good=GOOD, test_broken="import nosuchmodule")
    result = app.runpytest(*OPTIONS, "-n2", *options)
    places = Places(app.path)
    assert (places.run["exit_status"], places.is_well) == (int(result.ret), False)
    assert places.outcomes["test_broken.py"] == "error"


# -- what fails outside of tests ---------------------------------------------------------------------------------

CONNECTS = """
    import socket

    def {hook}:
        try:
            socket.create_connection(("cloud.langfuse.com", 443))
        except OSError:
            pass
"""


def test_connections_refused_between_tests(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD)
    app.makeconftest(CONNECTS.format(hook="pytest_runtest_logfinish(nodeid)"))
    places = run(app, status=1)
    (error,) = places.run["errors"]
    assert error.startswith("Langfuse: refused connections outside of captured tests: conftest.py:")
    assert f"The run failed: {error.split(' (')[0][:40]}" in places.page
    assert "The run failed&#58;" in places.summary or "The run failed: Langfuse" in places.summary
    assert places.suite.get("errors") == "1"
    [case] = [case for case in places.suite.iter("testcase") if case.find("error") is not None]
    assert case.find("error").get("message") == error  # type: ignore[union-attr]


def test_connections_refused_after_the_tests(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD)
    app.makeconftest(CONNECTS.format(hook="pytest_sessionfinish(session)"))
    places = run(app, status=1)
    assert places.run["errors"][0].startswith("Langfuse: refused connections outside of captured tests: ")


STATUS = {
    "a hook": "def pytest_sessionfinish(session): session.exitstatus = 3",
    "the last hook": (
        "@pytest.hookimpl(wrapper=True)\ndef pytest_sessionfinish(session):\n    yield\n    session.exitstatus = 3"
    ),
    "before all": (
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\ndef pytest_sessionfinish(session):\n"
        "    yield\n    session.exitstatus = 3"
    ),
    "its end": (
        "def pytest_sessionstart(session): session.config.kept = session\n"
        "def pytest_unconfigure(config): config.kept.exitstatus = 3"
    ),
}


@pytest.mark.parametrize("hook", STATUS.values(), ids=STATUS)
def test_an_exit_status_that_a_plugin_has_set(app: pytest.Pytester, hook: str) -> None:
    app.makepyfile(test_good=GOOD)
    app.makeconftest(f"import pytest\n{hook}\n")
    places = run(app, status=3)
    error = "pytest has ended with exit status 3, and no test has failed: a plugin has set it"
    assert places.run["errors"] == [error]
    assert f"The run failed: {error}" in places.page
    # Once, also if it was written before that.
    assert places.summary.count("## Langfuse traces: ") == 1
    assert "## Langfuse traces: 1 test, exit status 3" in places.summary


def test_a_limit_of_another_plugin(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD)
    # As pytest-cov does for --cov-fail-under.
    app.makeconftest(
        "import pytest\n@pytest.hookimpl(wrapper=True)\ndef pytest_runtestloop(session):\n"
        "    yield\n    session.testsfailed += 1\n    return True\n"
    )
    places = run(app, status=1)
    assert places.run["errors"] == ["pytest has ended with exit status 1, and no test has failed: a plugin has set it"]


@pytest.mark.parametrize("options", ["", "tryfirst=True", "trylast=True"])
def test_a_plugin_that_fails_when_the_run_ends(app: pytest.Pytester, options: str) -> None:
    app.makepyfile(test_good=GOOD)
    app.makeconftest(
        f"import pytest\n@pytest.hookimpl({options})\ndef pytest_sessionfinish(session): raise OSError('no disk')\n"
    )
    result = app.runpytest_subprocess(*OPTIONS, "-p", "no:randomly")
    assert result.ret == 1
    (first, *_) = lines_of(app.path / "run.jsonl")
    assert (first["exit_status"], first["errors"]) == (1, ["a plugin has failed after the tests: OSError: no disk"])
    assert "Nothing is wrong" not in (app.path / "report.html").read_text()
    result.stdout.fnmatch_lines(["langfuse: report in report.html"])


def test_an_internal_error(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD)
    app.makeconftest("def pytest_runtest_logfinish(nodeid): raise OSError('no disk')\n")
    places = run(app, status=3)
    assert places.run["incomplete"] == ["the run has ended by an internal error: OSError: no disk"]


def test_an_internal_error_before_the_first_test(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD)
    app.makeconftest("def pytest_collection_modifyitems(items): raise OSError('no disk')\n")
    places = run(app, status=3)
    assert places.run["incomplete"] == ["the run has ended by an internal error: OSError: no disk"]


@pytest.mark.slow
def test_stopping_at_the_first_failure_with_workers(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_it(n): assert n > 2\n")
    result = app.runpytest(*OPTIONS, "-n2", "-x")
    places = Places(app.path)
    assert (places.run["exit_status"], places.is_well) == (int(result.ret), False)
    assert any("stopping after" in why for why in places.run["incomplete"])


def test_where_pytest_prints_no_summary_its_lines_are_printed_all_the_same(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="import pytest\ndef test_it(): pytest.exit('bye', returncode=7)\n")
    for options in (OPTIONS, ("--langfuse-capture",)):
        result = app.runpytest(*options)
        assert result.ret == 7
        lines = [line for line in result.stdout.lines if line.startswith("langfuse: ")]
        assert "langfuse: 0 observations in 0 tests" in lines
        assert ("langfuse: report in report.html" in lines) == (options == OPTIONS)


# -- tests -------------------------------------------------------------------------------------------------------

TWICE = """
    import pathlib
    from app import answer

    def test_it():
        is_first = not pathlib.Path("marks").exists()
        pathlib.Path("marks").touch()
        answer("first" if is_first else "second")
        assert not is_first, "the first one"
"""


@pytest.mark.parametrize("options", [(), pytest.param(("-n1",), marks=pytest.mark.slow)], ids=" ".join)
def test_a_test_that_runs_twice_under_one_id(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile(test_it=TWICE)
    places = run(app, *options, "--keep-duplicates", "test_it.py", "test_it.py", status=1)
    assert places.outcomes == {"test_it.py::test_it": "failed", "test_it.py::test_it (2)": "passed"}
    assert (places.suite.get("failures"), places.suite.get("tests")) == ("1", "2")
    inputs = {
        row["test"]: row["input"] for row in lines_of(app.path / "run.jsonl", "observation") if row["name"] == "llm"
    }
    assert inputs == {"test_it.py::test_it": "first", "test_it.py::test_it (2)": "second"}
    assert [test["observations"] for test in places.tests.values()] == [3, 3]
    assert "1 of 2 tests failed" in places.summary


@pytest.mark.slow
def test_workers_that_all_run_all_tests(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="from app import answer\ndef test_it(worker_id): answer(worker_id)\n")
    places = run(app, "--dist=each", "--tx=2*popen", status=0)
    assert places.outcomes == {"test_it.py::test_it": "passed", "test_it.py::test_it (2)": "passed"}
    rows = [row for row in lines_of(app.path / "run.jsonl", "observation") if row["name"] == "llm"]
    assert {row["input"] for row in rows} == {"gw0", "gw1"}
    assert {row["test"] for row in rows} == set(places.outcomes)


@pytest.mark.parametrize("options", [(), pytest.param(("-n1",), marks=pytest.mark.slow)], ids=" ".join)
def test_attempts_that_were_run_again(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile(
        test_it="""
        from app import langfuse
        attempts = []

        def test_flaky():
            attempts.append(1)
            with langfuse.start_as_current_observation(name="llm", as_type="generation", model="m", input="q") as one:
                one.update(output="a", cost_details={"total": 0.1}, usage_details={"total": 5})
            assert len(attempts) == 3, f"attempt {len(attempts)}"
        """
    )
    places = run(app, "-p", "rerunfailures", "--reruns=2", *options, status=0)
    test = places.tests["test_it.py::test_flaky"]
    assert (test["outcome"], test["observations"], test["cost"], test["failure"]) == ("passed", 1, 0.1, "")
    assert [(one["outcome"], one["cost"], one["tokens"], one["observations"]) for one in test["attempts"]] == [
        ("failed", 0.1, 5, 1)
    ] * 2
    assert [one["message"].partition("\n")[0] for one in test["attempts"]] == [
        "AssertionError: attempt 1",
        "AssertionError: attempt 2",
    ]
    assert "attempt 1" in test["attempts"][0]["failure"]
    assert "<li>2 rerun</li>" in places.page
    assert places.on_page["test_it.py::test_flaky"]["reruns"] == 2
    assert "### Run again" in places.summary
    assert [one.get("value") for one in places.suite.iter("property") if one.get("name") == "langfuse_reruns"] == ["2"]


def test_an_attempt_whose_teardown_fails_too_is_one(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import pytest
        attempts = []

        @pytest.fixture
        def made():
            yield
            assert len(attempts) == 2, "in the teardown"

        def test_flaky(made):
            attempts.append(1)
            assert len(attempts) == 2, "in the call"
        """
    )
    places = run(app, "-p", "rerunfailures", "--reruns=2", status=0)
    (attempt,) = places.tests["test_it.py::test_flaky"]["attempts"]
    assert attempt["message"].startswith("AssertionError: in the call")
    assert "in the teardown" in attempt["failure"]


def test_reasons_of_skips_and_expected_failures(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import pytest, unittest

        def test_skips():
            pytest.skip("not today")

        @pytest.mark.skip(reason="never")
        def test_is_skipped(): pass

        @pytest.mark.xfail(reason="bug 7")
        def test_known(): assert 0, "the known bug"

        @pytest.mark.xfail
        def test_without_reason(): assert 0, "the known bug"

        def test_imperative(): pytest.xfail("gave up")

        @pytest.mark.xfail(reason="was fixed")
        def test_fixed(): pass

        class TestOld(unittest.TestCase):
            @unittest.skip("old one")
            def test_it(self): pass

            @unittest.expectedFailure
            def test_expected(self): self.fail("as expected")
        """
    )
    places = run(app, status=0)
    told = {
        name.rpartition("::")[2]: (row["outcome"], row["xfail"], row["message"]) for name, row in places.tests.items()
    }
    assert told.pop("test_without_reason")[:2] == ("skipped", "")
    assert told.pop("test_expected")[0] == "skipped"
    assert told == {
        "test_skips": ("skipped", None, "not today"),
        "test_is_skipped": ("skipped", None, "never"),
        "test_known": ("skipped", "bug 7", "bug 7"),
        "test_imperative": ("skipped", "gave up", "gave up"),
        "test_fixed": ("passed", "was fixed", "was fixed"),
        "test_it": ("skipped", None, "old one"),
    }
    assert "the known bug" in places.tests["test_it.py::test_known"]["failure"]
    assert places.tests["test_it.py::test_without_reason"]["message"] == "AssertionError: the known bug"
    # As pytest counts them.
    for count in ("3 skipped", "4 xfailed", "1 xpassed"):
        assert f"{count}</li>" in places.page


def test_an_expected_failure_that_passes_and_must_not(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="import pytest\n@pytest.mark.xfail(strict=True, reason='bug 7')\ndef test_it(): pass\n")
    places = run(app, status=1)
    assert places.tests["test_it.py::test_it"]["message"] == "[XPASS(strict)] bug 7"


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest 9 has subtests")
def test_subtests(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import pytest, unittest

        def test_one_skipped(subtests):
            with subtests.test("a"):
                pytest.skip("not a")
            with subtests.test("b"):
                pass

        def test_one_failed(subtests):
            with subtests.test("a"):
                assert 0, "in a"
            with subtests.test("b"):
                pass

        class TestOld(unittest.TestCase):
            def test_old(self):
                for number in range(3):
                    with self.subTest(number=number):
                        assert number != 1, "one"
        """
    )
    places = run(app, status=1)
    assert {name.rpartition("::")[2]: outcome for name, outcome in places.outcomes.items()} == {
        "test_one_skipped": "passed",
        "test_one_failed": "failed",
        "test_old": "failed",
    }
    assert places.tests["test_it.py::test_one_failed"]["message"].startswith("AssertionError: in a")
    assert places.tests["test_it.py::TestOld::test_old"]["message"].startswith("AssertionError: one")


def test_doctests(app: pytest.Pytester) -> None:
    code = 'def {name}():\n    """\n    >>> 1 + 1\n    {result}\n    """\n'
    app.makepyfile(test_it=code.format(name="good", result=2) + code.format(name="bad", result=3))
    places = run(app, "--doctest-modules", "test_it.py", status=1)
    assert places.outcomes == {"test_it.py::test_it.bad": "failed", "test_it.py::test_it.good": "passed"}
    assert "Expected:" in places.tests["test_it.py::test_it.bad"]["failure"]


def test_the_message_of_trees_that_differ_is_the_first_difference(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer

        def test_red(langfuse_spans):
            answer("why?")
            langfuse_spans.assert_tree("span answer\\n  generation llm model=gpt-5\\n    retriever search")
        """
    )
    places = run(app, status=1)
    message = places.tests["test_it.py::test_red"]["message"]
    assert message == "search: parent is answer, expected llm (and 1 more)"
    assert places.on_page["test_it.py::test_red"]["message"] == message
    assert "parent is answer, expected llm &#40;and 1 more&#41;" in places.summary


# -- files of an earlier run -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status"), [(("-k", "nothing"), 5), (("--collect-only",), 0), (("nosuch.py",), 4)], ids=str
)
def test_a_run_without_tests_says_of_which_run_files_are(
    app: pytest.Pytester, options: tuple[str, ...], status: int
) -> None:
    app.makepyfile(test_good=GOOD)
    names = ("run.jsonl", "report.html")
    result = app.runpytest(*OPTIONS, *options)
    result.stdout.fnmatch_lines([f"langfuse: no test ran: {name} was not written" for name in names])
    app.runpytest(*OPTIONS)
    before = [(app.path / name).read_bytes() for name in names]
    (app.path / "summary.md").unlink()
    result = app.runpytest(*OPTIONS, *options)
    assert result.ret == status
    result.stdout.fnmatch_lines([f"langfuse: no test ran: {name} is of an earlier run" for name in names])
    assert [(app.path / name).read_bytes() for name in names] == before
    assert (app.path / "summary.md").exists() == (status != 0)


def test_a_conftest_that_can_not_be_imported(app: pytest.Pytester) -> None:
    app.makepyfile(test_good=GOOD)
    app.runpytest(*OPTIONS)
    (app.path / "report.html").unlink()
    app.makeconftest("import nosuchmodule")
    result = app.runpytest_subprocess(*OPTIONS)
    assert result.ret == 4
    assert [line for line in result.stderr.lines if "langfuse: " in line] == [
        "langfuse: no test ran: run.jsonl is of an earlier run",
        "langfuse: no test ran: report.html was not written",
    ]


# -- several files, and those of earlier versions ----------------------------------------------------------------


def test_the_page_of_several_runs_says_what_is_wrong_in_each() -> None:
    run_line = {"kind": "run", "schema": 1, "command": "", "incomplete": [], "exit_status": 0}
    rows: list[dict[str, Any]] = [
        run_line,
        {"kind": "test", "test": "a", "fault": None, "outcome": "passed"},
        {**run_line, "exit_status": 2, "incomplete": ["it was interrupted"]},
    ]
    page = "".join(html_of(rows))
    assert "Nothing is wrong" not in page
    assert "Not all is here: it was interrupted" in page
    rows[2]["incomplete"] = []
    page = "".join(html_of(rows))
    assert "The run failed: pytest has ended with exit status 2, and no test has failed" in page
    assert "Nothing is wrong" in "".join(html_of(rows[:2]))


def test_a_summary_of_lines_of_an_earlier_version() -> None:
    line = '{"kind": "run", "schema": 1, "incomplete": [], "exit_status": 1}'
    assert "0 tests, exit status 1" in markdown(RunSummary.of([line]))
