"""The report of `--langfuse-outage` beside other plugins and options, and in runs that end early."""

import pytest

from tests.helpers.json_lines import lines_of

pytestmark = pytest.mark.slow

SUITE = """
    import pytest
    from app import answer, langfuse

    class TestIt:
        seen = None

        def test_flushes(self):
            assert self.seen is None, "each run of a test gets an object of its class"
            self.seen = "once"
            answer("why?")
            langfuse.flush()

        def test_robust(self):
            assert answer("why?") == "because"
"""
FAULTS = "--langfuse-outage=hang,http_401"


@pytest.fixture
def suite(app: pytest.Pytester) -> pytest.Pytester:
    """A suite of which one test waits for Langfuse, for longer than is allowed, when it hangs."""
    app.makeini("[pytest]\nlangfuse_max_block = 0.5\n")
    app.makepyfile(test_it=SUITE)
    return app


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("-n", "2"), marks=pytest.mark.exhaustive),
        pytest.param(("-n", "2", "--dist", "loadscope"), marks=pytest.mark.exhaustive),
        ("-n", "2", "--dist", "loadgroup"),
        pytest.param(("-n", "2", "--dist", "worksteal"), marks=pytest.mark.exhaustive),
        ("-p", "no:cacheprovider"),
    ],
    ids=" ".join,
)
def test_each_test_runs_under_each_fault(suite: pytest.Pytester, options: tuple[str, ...]) -> None:
    result = suite.runpytest(FAULTS, "--junit-xml=junit.xml", *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "hang: 1 of 2 tests degraded, 2 not compared, * lost",
            "  test_it.py::TestIt::test_flushes: waited * s for Langfuse (up to *), 0.5 s is allowed",
            "    blocked * at test_it.py:11 in TestIt.test_flushes, calling Langfuse.flush",
            "http_401: none of 2 tests degraded, 2 not compared, 6 observations lost",
        ]
    )
    assert result.stdout.lines[-1] == "langfuse: 1 of 4 tests degraded by an outage: hang 1 (exit status 1)"
    junit = (suite.path / "junit.xml").read_text()
    assert 'failures="1" skipped="0" tests="4"' in junit


@pytest.mark.exhaustive
def test_a_group_of_xdist_stays_one(suite: pytest.Pytester) -> None:
    source = (suite.path / "test_it.py").read_text()
    marked = source.replace("class TestIt", "@pytest.mark.xdist_group('one')\nclass TestIt")
    (suite.path / "test_it.py").write_text(marked)
    result = suite.runpytest(FAULTS, "-n", "2", "--dist", "loadgroup")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["hang: 1 of 2 tests degraded*", "http_401: none of 2 tests degraded*"])


@pytest.mark.parametrize(
    "options",
    [
        ("-x",),
        pytest.param(("--maxfail=1",), marks=pytest.mark.exhaustive),
        pytest.param(("-x", "-n", "1"), marks=pytest.mark.exhaustive),
    ],
    ids=" ".join,
)
def test_a_run_that_stops_says_what_is_missing(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile(
        test_it="""
        def test_red():
            assert False

        def test_later():
            pass
    """
    )
    result = app.runpytest(FAULTS, *options, "-p", "no:randomly")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "stopping after 1 failures: tests are missing here",
            "hang: 1 of * degraded, *",
            "  test_it.py::test_red: failed, not compared",
            "langfuse: 1 of * degraded by an outage: hang 1 (exit status [12])",
        ]
    )
    if "-n" not in options:
        result.stdout.fnmatch_lines(["hang: 1 of 1 test degraded, *", "http_401: no test ran"])


def test_an_interrupted_test_is_not_healthy(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        def test_stopped():
            raise KeyboardInterrupt
    """
    )
    app.runpytest("--langfuse-capture", no_reraise_ctrlc=True)
    result = app.runpytest("--langfuse-outage=hang", no_reraise_ctrlc=True)
    result.stdout.fnmatch_lines(["hang: none of 1 test degraded, 1 not compared, 1 not finished, 0 observations lost"])


def test_a_repeated_test_is_one_run(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_block = 0.5\n")
    app.makepyfile(
        test_it="""
        import time
        from app import answer, langfuse
        attempts = []

        def test_flaky():
            attempts.append(1)
            if len(attempts) % 2:
                time.sleep(0.5)
                answer("why?")
                langfuse.flush()
                assert False
    """
    )
    plugin = ("-p", "rerunfailures", "--reruns", "1")
    app.runpytest("--langfuse-capture", *plugin)
    result = app.runpytest(FAULTS, "--langfuse-json=lines.jsonl", *plugin)
    result.assert_outcomes(passed=2)
    # What the first attempt has waited, the suite has waited.
    result.stdout.fnmatch_lines(["hang: 1 of 1 test degraded, *", "http_401: none of 1 test degraded, *"])
    lines = lines_of(app.path / "lines.jsonl", "outage")
    assert [(line["outcome"], line["healthy_outcome"]) for line in lines] == [("passed", "passed")] * 2
    assert all(line["duration"] < 0.5 and line["healthy_duration"] < 0.5 for line in lines)


def test_methods_of_unittest(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_block = 0.5\n")
    app.makepyfile(
        test_it="""
        import unittest
        from app import answer, langfuse

        class AnswerTest(unittest.TestCase):
            def setUp(self):
                self.runs = getattr(self, "runs", 0) + 1

            def test_flushes(self):
                self.assertEqual(self.runs, 1)
                answer("why?")
                langfuse.flush()
    """
    )
    result = app.runpytest(FAULTS)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "hang: 1 of 1 test degraded, *",
            "  test_it.py::AnswerTest::test_flushes: waited *",
            "    blocked * at test_it.py:11 in AnswerTest.test_flushes, calling Langfuse.flush",
            "http_401: none of 1 test degraded, *",
        ]
    )


def test_a_worker_that_crashes_is_in_the_report(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import os

        def test_crashes():
            os._exit(3)
    """
    )
    result = app.runpytest("--langfuse-outage=hang", "-n", "1")
    result.stdout.fnmatch_lines(["hang: 1 of 1 test degraded*", "  test_it.py::test_crashes: failed, not compared"])


def test_a_fault_of_the_tests_own_is_not_the_suites(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import pytest
        from app import langfuse

        @pytest.mark.langfuse_outage("http_401", "http_500")
        def test_own():
            langfuse.start_observation(name="x").end()
            langfuse.flush()

        def test_robust():
            pass
    """
    )
    result = app.runpytest("--langfuse-outage=http_401")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["http_401: none of 1 test degraded*"])


NAMED = """
    import pytest

    class TestIt:
        @pytest.mark.parametrize("value", ["hang", "x[y]"])
        def test_values(self, value):
            pass

    def test_other():
        pass
"""


@pytest.mark.parametrize(
    ("named", "run"),
    [
        (["test_other[hang]"], ["test_other[hang]"]),
        (["test_other[http_401]", "test_other[hang]"], ["test_other[hang]", "test_other[http_401]"]),
        (["test_other[hang]", "test_other"], ["test_other[hang]", "test_other[http_401]"]),
        (["TestIt::test_values[x[y]][hang]"], ["TestIt::test_values[x[y]][hang]"]),
        # Its own parameter.
        (["TestIt::test_values[hang]"], ["TestIt::test_values[hang][hang]", "TestIt::test_values[hang][http_401]"]),
        (["TestIt::test_values[http_401]"], [f"TestIt::test_values[{value}][http_401]" for value in ("hang", "x[y]")]),
        (["TestIt[hang]"], [f"TestIt::test_values[{value}][hang]" for value in ("hang", "x[y]")]),
        (
            ["test_other[hang]", "TestIt::test_values[hang][hang]"],
            ["test_other[hang]", "TestIt::test_values[hang][hang]"],
        ),
    ],
)
def test_a_test_can_be_named_as_it_was_reported(app: pytest.Pytester, named: list[str], run: list[str]) -> None:
    app.makepyfile(test_it=NAMED)
    reports = app.inline_run(FAULTS, "-p", "no:randomly", *(f"test_it.py::{test}" for test in named)).getreports(
        "pytest_runtest_logreport"
    )
    assert [report.nodeid for report in reports if report.when == "call"] == [f"test_it.py::{test}" for test in run]


def test_a_test_is_named_with_a_fault_in_a_worker(app: pytest.Pytester) -> None:
    app.makepyfile(test_it=NAMED)
    result = app.runpytest(FAULTS, "-n", "1", "-v", "test_it.py::test_other[http_401]")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*PASSED test_it.py::test_other[[]http_401]*"])
