"""The file of `--langfuse-json`: a run, its tests, their observations, scores, findings and outages."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pytest_langfuse import Observations
from pytest_langfuse.report import kept_test, packed_lines, prices
from pytest_langfuse.report.captured_lines import CapturedPart
from tests.helpers.json_lines import SCHEMA, lines_of
from tests.helpers.paths import DOCS
from tests.helpers.report_page import index

SUITE = """
    import pytest
    from app import answer, langfuse

    def test_answers():
        answer("why?")
        langfuse.create_score(name="good", value=0.5, trace_id="1" * 32, comment="so so")

    def test_red(langfuse_spans):
        answer("why?")
        langfuse_spans.assert_tree('''
            span answer
              generation llm model=gpt-5
                retriever search
        ''')

    def test_skipped():
        pytest.skip("not today")

    @pytest.fixture
    def broken():
        raise OSError("no disk")

    def test_errs(broken):
        pass

    def test_leaves_one_open():
        langfuse.kept = langfuse.start_observation(name="open")
"""
OPTION = "--langfuse-json=run.jsonl"


@pytest.fixture(autouse=True)
def _no_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_prices", lambda: None)


@pytest.fixture
def suite(app: pytest.Pytester) -> pytest.Pytester:
    app.makepyfile(test_it=SUITE)
    return app


def by_name(folder: pytest.Pytester) -> dict[str, dict]:
    return {row["test"].rpartition("::")[2]: row for row in lines_of(folder.path / "run.jsonl", "test")}


def test_lines_of_a_run(suite: pytest.Pytester) -> None:
    suite.runpytest(OPTION, "-p", "no:randomly")
    rows = lines_of(suite.path / "run.jsonl")
    run, *others = rows
    assert (run["schema"], run["faults"], run["exit_status"], run["incomplete"]) == (1, [], 1, [])
    assert run["command"].startswith(f"{OPTION} -p no:randomly")
    assert run["duration"] >= sum(row["duration"] for row in others if row["kind"] == "test")
    assert "LF006" in run["rules"]
    # Each test, followed by what belongs to it.
    order = list(dict.fromkeys((row["test"], row["kind"]) for row in others))
    assert [f"{test.rpartition('_')[2]} {kind}" for test, kind in order] == [
        "answers test",
        "answers observation",
        "answers score",
        "red test",
        "red observation",
        "skipped test",
        "errs test",
        "open test",
        "open observation",
        "open finding",
    ]


def test_a_test_and_its_observations(suite: pytest.Pytester) -> None:
    suite.runpytest(OPTION, "-k", "answers")
    rows = lines_of(suite.path / "run.jsonl")
    test = by_name(suite)["test_answers"]
    assert {key: test[key] for key in ("outcome", "observations", "generations", "errors", "tokens", "cost")} == {
        "outcome": "passed",
        "observations": 3,
        "generations": 1,
        "errors": 0,
        "tokens": 5,
        "cost": None,
    }
    assert (test["models"], test["message"], test["difference"], test["outage"]) == (["gpt-4o"], "", None, None)
    answer, search, llm = (row for row in rows if row["kind"] == "observation")
    assert test["traces"] == [answer["trace"]]
    assert [one["parent"] for one in (answer, search, llm)] == [None, answer["id"], answer["id"]]
    assert [one["place"] for one in (answer, search, llm)] == ["app.py:11", "app.py:6", "app.py:16"]
    assert {key: llm[key] for key in ("name", "type", "input", "output", "model", "usage", "user", "session")} == {
        "name": "llm",
        "type": "generation",
        "input": "why?",
        "output": "because",
        "model": "gpt-4o",
        "usage": {"input": 3, "output": 2, "total": 5},
        "user": "u-1",
        "session": "s-1",
    }
    assert (search["output"], search["exported"], search["reason"]) == (["doc one", "doc two"], True, "")
    assert 0 < llm["duration"] < answer["duration"]
    (score,) = (row for row in rows if row["kind"] == "score")
    assert (score["name"], score["value"], score["comment"], score["trace"]) == ("good", 0.5, "so so", "1" * 32)


def test_a_failed_assertion_has_both_trees(suite: pytest.Pytester) -> None:
    suite.runpytest(OPTION, "--color=yes")
    test = by_name(suite)["test_red"]
    assert test["outcome"] == "failed"
    assert test["message"] == "search: parent is answer, expected llm (and 1 more)"
    assert "E         llm: model is 'gpt-4o', expected 'gpt-5'" in test["failure"]
    assert "\x1b" not in test["failure"]
    difference = test["difference"]
    pairs = list(zip(difference["expected"], difference["captured"], strict=True))
    cells = [tuple(cell and (cell["text"], cell["state"], cell["number"]) for cell in pair) for pair in pairs]
    assert cells == [
        (("span answer", "same", None), ("span answer", "same", None)),
        (None, ("  retriever search", "moved", 1)),
        (("  generation llm model=gpt-5", "changed", 2), ("  generation llm model=gpt-4o", "changed", 2)),
        (("    retriever search", "moved", 1), None),
    ]
    ids = {row["id"] for row in lines_of(suite.path / "run.jsonl", "observation") if row["test"] == test["test"]}
    assert {captured["observation"] for _, captured in pairs if captured} == ids
    assert difference["sentence"] == "2 differences"


def test_outcomes(suite: pytest.Pytester) -> None:
    suite.runpytest(OPTION)
    tests = by_name(suite)
    assert {name: test["outcome"] for name, test in tests.items()} == {
        "test_answers": "passed",
        "test_red": "failed",
        "test_skipped": "skipped",
        "test_errs": "error",
        "test_leaves_one_open": "passed",
    }
    assert tests["test_errs"]["message"] == "OSError: no disk"
    assert tests["test_leaves_one_open"]["unended"] == 1
    (row,) = (row for row in lines_of(suite.path / "run.jsonl", "observation") if row["name"] == "open")
    assert (row["exported"], row["reason"], row["duration"]) == (False, "never ended", None)


def test_a_test_that_fails_and_then_errs_has_failed(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture
        def broken():
            yield
            raise OSError("no disk")

        def test_both(broken):
            assert False, "the first"
        """
    )
    app.runpytest(OPTION)
    test = by_name(app)["test_both"]
    assert (test["outcome"], test["message"]) == ("failed", "AssertionError: the first")
    assert "OSError: no disk" in test["failure"]


def test_lines_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_lines, "_BLOCK", 100)
    parts = [((f"test_{number}", 1), CapturedPart({"n": number}, ["x" * 60] * (number % 4))) for number in range(20)]
    blocks = list(packed_lines.packed(parts))
    assert len(blocks) > 3
    assert list(packed_lines.unpacked(blocks)) == parts


def test_findings_name_their_observation(suite: pytest.Pytester) -> None:
    suite.runpytest(OPTION, "-k", "open")
    (finding,) = lines_of(suite.path / "run.jsonl", "finding")
    (row,) = lines_of(suite.path / "run.jsonl", "observation")
    assert (finding["code"], finding["trace"], finding["id"]) == ("LF001", row["trace"], row["id"])


def test_places_are_there_without_rules(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nlangfuse_rules_select =\n")
    suite.runpytest(OPTION, "-k", "answers")
    assert lines_of(suite.path / "run.jsonl", "run")[0]["rules"] == []
    assert {row["place"] for row in lines_of(suite.path / "run.jsonl", "observation")} == {
        "app.py:11",
        "app.py:6",
        "app.py:16",
    }


@pytest.mark.slow
def test_an_outage_of_the_suite(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer, langfuse

        def test_sends():
            answer("why?")
            langfuse.kept = langfuse.start_observation(name="open")
            langfuse.flush()
        """
    )
    app.runpytest("--langfuse-outage=http_401,http_413", OPTION, "-p", "no:randomly").assert_outcomes(passed=2)
    rows = lines_of(app.path / "run.jsonl")
    assert rows[0]["faults"] == ["http_401", "http_413"]
    tests = [row for row in rows if row["kind"] == "test"]
    assert [(row["test"], row["fault"]) for row in tests] == [
        ("test_it.py::test_sends", "http_401"),
        ("test_it.py::test_sends", "http_413"),
    ]
    for row in tests:
        assert (row["observations"], row["lost"], row["unended"]) == (0, 3, 1)
        assert (row["outage"]["faults"], row["outage"]["refused"]) == ([row["fault"]], row["outage"]["attempts"])
        assert {one["result"] for one in row["outage"]["requests"]} == {row["fault"]}
        assert all(row["outage"]["begun"] <= one["start"] for one in row["outage"]["requests"])
    observations = [row for row in rows if row["kind"] == "observation" and row["fault"] == "http_413"]
    assert Counter((row["reason"], row["detail"]) for row in observations) == {
        ("lost", "Langfuse did not accept it (fault http_413)"): 3,
        ("never ended", "it never ended"): 1,
    }
    # What rules find is there beside what the outage has shown.
    findings = [row for row in rows if row["kind"] == "finding" and row["code"] == "LF001"]
    assert [(row["test"], row["fault"]) for row in findings] == [(row["test"], row["fault"]) for row in tests]
    assert [row["fault"] for row in rows if row["kind"] == "outage"] == ["http_401", "http_413"]


def test_an_outage_of_one_test_that_recovers(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer, langfuse

        def test_recovers(langfuse_outage):
            with langfuse_outage("http_401"):
                answer("why?")
                langfuse.flush()
            answer("and now?")
            langfuse.flush()
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=1)
    test = by_name(app)["test_recovers"]
    assert (test["observations"], test["lost"], test["fault"]) == (3, 3, None)
    outage = test["outage"]
    assert outage["begun"] < outage["ended"]
    assert [one["result"] for one in outage["requests"]] == ["http_401", "200"]
    for one in outage["requests"]:
        assert 0 <= one["duration"] < outage["ended"]
    # Without production tracing there is no breaker.
    assert (outage["breaker"], outage["health"]) == ([], [])


def test_requests_that_never_arrive_are_in_an_outage(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer, langfuse

        def test_sends(langfuse_outage):
            with langfuse_outage("dns_error"):
                try:
                    langfuse.api.health.health()
                except Exception:
                    pass
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=1)
    [request] = by_name(app)["test_sends"]["outage"]["requests"]
    assert (request["result"], request["duration"], request["path"]) == ("dns_error", 0, "/api/public/health")


def test_a_request_that_still_waits_has_no_duration(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import socket

        def test_waits(langfuse_outage, langfuse_server, pytestconfig):
            with langfuse_outage("hang", required=False):
                connection = socket.create_connection(("127.0.0.1", langfuse_server.port))
                connection.sendall(b"GET /api/public/health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                assert langfuse_server.wait_for_arrivals(1, timeout=20)
            pytestconfig.add_cleanup(connection.close)
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=1)
    [request] = by_name(app)["test_waits"]["outage"]["requests"]
    assert (request["result"], request["duration"]) == ("hang", None)


@pytest.mark.slow
def test_breaker_and_counts_over_time(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from pytest_langfuse.tracing import get_langfuse_client, init_tracing, tracing_health

        def tracing():
            return init_tracing(
                public_key="pk-lf-t", secret_key="sk-lf-t", breaker_failure_threshold=1, breaker_recovery_timeout=60
            )

        def test_before():
            tracing().start_observation(name="earlier").end()
            tracing().flush()
            assert tracing_health().exported == 1

        def test_it(langfuse_outage, langfuse_clock):
            langfuse = tracing()
            with langfuse_outage("http_503") as outage:
                langfuse.start_observation(name="answer").end()
                langfuse.flush()
                while tracing_health().breaker == "closed":
                    pass
            langfuse_clock.advance(seconds=61)
            while tracing_health().exported < 2:
                langfuse.flush()
        """
    )
    app.runpytest_subprocess(OPTION, "-p", "no:randomly").assert_outcomes(passed=2)
    outage = by_name(app)["test_it"]["outage"]
    assert [(one["route"], one["before"], one["state"]) for one in outage["breaker"]] == [
        ("http", "closed", "open"),
        ("http", "open", "half_open"),
        ("http", "half_open", "closed"),
    ]
    assert [one["result"] for one in outage["requests"]] == ["http_503", "200"]
    times = [one["at"] for one in outage["breaker"]]
    assert times == sorted(times)
    assert outage["begun"] <= times[0]
    assert outage["health"][-1] == {**outage["health"][-1], "exported": 1, "buffered": 0, "dropped": 0}
    assert any(one["buffered"] for one in outage["health"])


@pytest.mark.slow
def test_the_last_counts_are_those_of_the_end(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from pytest_langfuse.tracing import shutdown_tracing, tracing_health

        def test_it(langfuse_tracing, langfuse_outage, langfuse_clock):
            client = langfuse_tracing(breaker_failure_threshold=3)
            with langfuse_outage("http_503"):
                for _ in range(3):
                    client.get_prompt("greeting", fallback="Hello", max_retries=0)
                client.start_observation(name="during").end()
            langfuse_clock.advance(seconds=301)
            client.start_observation(name="after").end()
            assert shutdown_tracing(timeout=10.0).exported == 2
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=1)
    test = by_name(app)["test_it"]
    counts = [{name: one[name] for name in ("ended", "exported", "dropped")} for one in test["outage"]["health"]]
    assert counts[0] == {"ended": 0, "exported": 0, "dropped": 0}
    # When the outage ended.
    assert {"ended": 1, "exported": 0, "dropped": 0} in counts
    assert counts[-1] == {"ended": 2, "exported": 2, "dropped": 0}
    assert test["outage"]["health"][0]["at"] <= test["outage"]["ended"]
    assert test["health"]["exported"] == 2


@pytest.mark.slow
def test_health_of_production_tracing(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        def test_it(langfuse_tracing):
            with langfuse_tracing().start_as_current_observation(name="made"):
                pass

        def test_without():
            pass
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=2)
    tests = by_name(app)
    assert (tests["test_it"]["health"]["enabled"], tests["test_it"]["health"]["breaker"]) == (True, "closed")
    assert tests["test_without"]["health"] is None


@pytest.mark.slow
def test_other_processes(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        def test_it(langfuse_process):
            app = langfuse_process.start("-c", "from app import answer, langfuse; answer('why?'); langfuse.flush()")
            assert app.wait() == 0
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=1)
    observations = lines_of(app.path / "run.jsonl", "observation")
    assert [row["name"] for row in observations] == ["answer", "search", "llm"]
    assert all(row["process"].startswith("python") and "(pid " in row["process"] for row in observations)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-n2",), pytest.param(("-n2", "-x"), marks=pytest.mark.exhaustive)], ids=" ".join)
def test_workers_of_xdist_hand_on_what_they_have(suite: pytest.Pytester, options: tuple[str, ...]) -> None:
    suite.runpytest(OPTION, *options, "-p", "no:randomly")
    rows = lines_of(suite.path / "run.jsonl")
    (red,) = (row for row in rows if row["kind"] == "test" and row["test"].endswith("test_red"))
    assert (red["outcome"], red["observations"], red["difference"]["sentence"]) == ("failed", 3, "2 differences")
    observations = Counter(row["test"] for row in rows if row["kind"] == "observation")
    assert {row["test"]: row["observations"] + row["unended"] for row in rows if row["kind"] == "test"} == {
        row["test"]: observations[row["test"]] for row in rows if row["kind"] == "test"
    }
    if "-x" not in options:
        assert len(observations) == 3
        assert rows[0]["incomplete"] == []


@pytest.mark.slow
def test_a_worker_that_crashes_leaves_what_its_tests_have_sent(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import os
        from app import answer, langfuse

        def test_answers():
            answer("why?")
            langfuse.create_score(name="good", value=0.5, trace_id="1" * 32)

        def test_crashes():
            answer("why?")
            os._exit(3)

        def test_later():
            answer("why?")
        """
    )
    app.runpytest(OPTION, "--langfuse-report=report.html", "-n1", "-p", "no:randomly")
    tests = by_name(app)
    assert {name: (test["outcome"], test["observations"], test["missing"]) for name, test in tests.items()} == {
        "test_answers": ("passed", 3, None),
        "test_crashes": ("failed", 0, "what it has recorded is missing, since its worker has crashed"),
        "test_later": ("passed", 3, None),
    }
    assert "crashed while running" in tests["test_crashes"]["message"]
    rows = lines_of(app.path / "run.jsonl")
    assert Counter(row["test"].partition("::")[2] for row in rows if row["kind"] in {"observation", "score"}) == {
        "test_answers": 4,
        "test_later": 3,
    }
    assert rows[0]["incomplete"] == ["the worker gw0 has crashed: what the test that it ran has recorded is missing"]
    page = (app.path / "report.html").read_text()
    assert "Not all is here: the worker gw0 has crashed" in page
    [crashed] = [test for test in index(page)["tests"] if test.get("missing")]
    assert crashed["test"] == "test_it.py::test_crashes"


@pytest.mark.slow
def test_of_a_repeated_test_the_last_attempt_that_a_worker_sent_counts(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import langfuse
        attempts = []

        def test_flaky():
            attempts.append(1)
            langfuse.start_observation(name=f"attempt {len(attempts)}").end()
            assert len(attempts) == 2
        """
    )
    app.runpytest(OPTION, "-n1", "-p", "rerunfailures", "--reruns", "1")
    assert by_name(app)["test_flaky"]["outcome"] == "passed"
    assert [row["name"] for row in lines_of(app.path / "run.jsonl", "observation")] == ["attempt 2"]


def test_a_run_that_is_interrupted_has_what_was_there(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer

        def test_answers():
            answer("why?")

        def test_stops():
            raise KeyboardInterrupt

        def test_never():
            pass
        """
    )
    app.runpytest(OPTION, "-p", "no:randomly", no_reraise_ctrlc=True)
    tests = by_name(app)
    assert {name: (test["outcome"], test["observations"]) for name, test in tests.items()} == {
        "test_answers": ("passed", 3),
        "test_stops": ("error", 0),
    }
    assert tests["test_stops"]["message"] == "the run ended before the test did"


def test_a_repeated_test_is_one_test_with_its_last_attempt(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer
        attempts = []

        def test_flaky():
            attempts.append(1)
            answer(f"attempt {len(attempts)}")
            assert len(attempts) > 1
        """
    )
    app.runpytest(OPTION, "-p", "rerunfailures", "--reruns", "1")
    test = by_name(app)["test_flaky"]
    assert (test["outcome"], test["failure"], test["observations"]) == ("passed", "", 3)
    assert {row["input"] for row in lines_of(app.path / "run.jsonl", "observation") if row["name"] == "llm"} == {
        "attempt 2"
    }


def test_values_that_json_has_not(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import langfuse

        def test_it():
            with langfuse.start_as_current_observation(name="odd", metadata={"nan": float("nan")}) as one:
                one._otel_span.set_attribute("nan", float("nan"))
                one._otel_span.set_attribute("long", "x" * 20_000)
                one.update(input="\\u2028 </script> é", output=eval("[" * 15 + "]" * 15))
        """
    )
    app.runpytest(OPTION).assert_outcomes(passed=1)
    (row,) = lines_of(app.path / "run.jsonl", "observation")
    assert row["input"] == "\u2028 </script> é"
    assert row["attributes"]["nan"] is None
    assert row["attributes"]["long"] == "x" * 10_000 + "… [10,000 more characters]"
    assert json.dumps(row["output"]) == "[" * 15 + "]" * 15


@pytest.mark.parametrize("reruns", [(), ("-p", "rerunfailures", "--reruns", "1")], ids=["", "reruns"])
def test_a_long_run_keeps_compressed_lines(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, reruns: tuple[str, ...]
) -> None:
    monkeypatch.setattr(kept_test, "MOST_SPANS", 6)
    app.makepyfile(
        test_it="""
        import pytest
        from app import answer
        attempts = []

        @pytest.mark.parametrize("number", range(6))
        def test_it(number, pytestconfig):
            answer(f"{number}")
            attempts.append(number)
            kept = pytestconfig.pluginmanager.get_plugin("langfuse_session")._active.kept
            assert len(kept._tests) < 3
            assert len(kept.blocks) == number // 2
            assert number != 5 or len(attempts) == 7 or not pytestconfig.getoption("reruns", 0)
        """
    )
    app.runpytest(OPTION, *reruns, "-p", "no:randomly").assert_outcomes(passed=6)
    tests = lines_of(app.path / "run.jsonl", "test")
    assert [(row["test"][-3:], row["observations"]) for row in tests] == [(f"[{number}]", 3) for number in range(6)]
    assert len(lines_of(app.path / "run.jsonl", "observation")) == 18


def test_a_score_says_what_it_is_of_wherever_it_is_shown(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from app import answer, langfuse

        def test_it():
            answer("why?")
            langfuse.create_score(name="a", value=1, session_id="S1", metadata={"judge": "me"})
            langfuse.create_score(name="b", value=1, dataset_run_id="D1")
            langfuse.create_score(name="c", value="yes", data_type="CATEGORICAL", trace_id="1" * 32)
            assert False
        """
    )
    result = app.runpytest(OPTION)
    told = "a trace or an observation that is not here"
    result.stdout.fnmatch_lines_random(
        [f"*# score {name} * of {of}" for name, of in (("a", "session S1"), ("b", "dataset run D1"), ("c", told))]
    )
    rows = lines_of(app.path / "run.jsonl", "score")
    keys = ("trace", "observation", "session", "dataset_run", "metadata", "environment")
    assert [[row[key] for key in keys] for row in rows] == [
        [None, None, "S1", None, {"judge": "me"}, "default"],
        [None, None, None, "D1", None, "default"],
        ["1" * 32, None, None, None, None, "default"],
    ]
    scores = Observations.from_file(app.path / "run.jsonl").scores
    assert [(one.session_id, one.dataset_run_id, one.metadata, one.environment) for one in scores] == [
        ("S1", None, {"judge": "me"}, "default"),
        (None, "D1", None, "default"),
        (None, None, None, "default"),
    ]


def test_nothing_is_kept_unless_it_is_asked_for(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import sys
        from app import answer

        def test_it(pytestconfig):
            answer("why?")
            assert pytestconfig.pluginmanager.get_plugin("langfuse_session")._active.kept is None
            assert "pytest_langfuse.report.run_lines" not in sys.modules
        """
    )
    app.runpytest_subprocess("--langfuse-capture").assert_outcomes(passed=1)


def test_the_schema_is_in_the_wheel_folder() -> None:
    import pytest_langfuse.report

    assert (Path(pytest_langfuse.report.__file__).parent / "lines.schema.json").is_file()


def test_the_page_names_each_field() -> None:
    page = (DOCS / "reports.md").read_text()
    kinds = json.loads(SCHEMA.read_text())["$defs"]
    sections = dict(zip(*[iter(re.split(r"\n### (\w+)\n", page)[1:])] * 2, strict=True))
    assert set(sections) == set(kinds) - {"cell", "figures"}
    for kind, text in sections.items():
        named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in text.splitlines() if "|" in line)))
        assert named == set(kinds[kind]["properties"]) - {"kind"}, kind
