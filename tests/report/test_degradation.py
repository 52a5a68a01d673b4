"""`pytest --langfuse-outage` runs the whole suite while Langfuse fails, and reports the tests that did worse."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.helpers.json_lines import lines_of
from tests.helpers.tiers import first_of, only

# Slow: runs suites under several faults.
pytestmark = pytest.mark.slow

SUITE = """
    from app import answer, langfuse

    def test_robust():
        assert answer("why?") == "because"

    def test_flushes_in_the_request_path():
        answer("why?")
        langfuse.flush()

    def test_needs_its_prompt():
        assert langfuse.get_prompt("greeting", fallback="hello", max_retries=0).prompt == "hello"

    def test_needs_its_prompt_without_a_fallback():
        langfuse.create_prompt(name="other", prompt="Hello", labels=["production"])
        assert langfuse.get_prompt("other", max_retries=0).prompt == "Hello"
"""


@pytest.mark.long
def test_against_a_healthy_run(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # Far apart, so that a busy machine is not taken for an outage, nor the other way round.
    app.makeini("[pytest]\nlangfuse_max_slowdown = 2\n")
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "4")
    app.makepyfile(SUITE)
    app.runpytest("--langfuse-capture").assert_outcomes(passed=4)
    result = app.runpytest("--langfuse-outage=hang,http_500", "--langfuse-json=lines.jsonl", "-p", "no:randomly")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*= Langfuse degradation =*",
            "hang: [23] of 4 tests degraded, * observations lost",
            "  *::test_flushes_in_the_request_path: * s -> * s",
            "    blocked * s at *:* in test_flushes_in_the_request_path, calling Langfuse.flush",
            "  *::test_needs_its_prompt_without_a_fallback: passed -> failed",
            "    blocked * s at *:* in test_needs_its_prompt_without_a_fallback, calling Langfuse.create_prompt",
            "http_500: [123] of 4 tests degraded, 6 observations lost",
        ]
    )
    assert "test_robust: " not in result.stdout.str()
    lines = lines_of(app.path / "lines.jsonl", "outage")
    assert {(line["kind"], line["fault"]) for line in lines} == {("outage", "hang"), ("outage", "http_500")}
    assert len(lines) == 8


def test_an_app_that_survives(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_slowdown = 60\n")
    app.makepyfile("""
        from app import answer

        def test_robust():
            assert answer("why?") == "because"
    """)
    app.runpytest("--langfuse-capture").assert_outcomes(passed=1)
    result = app.runpytest("--langfuse-outage=refused,captive_portal")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["refused: none of 1 test degraded, 3 observations lost"])


def test_under_xdist(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_slowdown = 60\n")
    app.makepyfile(SUITE)
    app.runpytest("--langfuse-capture").assert_outcomes(passed=4)
    result = app.runpytest("--langfuse-outage=http_401", "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["http_401: 1 of 4 tests degraded*", "  *without_a_fallback: passed -> failed"])


@pytest.mark.parametrize(
    "options", only([("-n", "1")], [("-v",), ("-q",), ("-n", "1")]), ids=["verbose", "quiet", "xdist"]
)
def test_says_which_of_several_faults_is_in_force(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile("""
        import pytest
        from app import answer

        @pytest.mark.parametrize("number", range(2))
        def test_robust(number):
            assert answer("why?") == "because"
    """)
    result = app.runpytest("--langfuse-outage=http_401,redirect", *options)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["Langfuse outage 1 of 2: http_401", "Langfuse outage 2 of 2: redirect"])
    assert result.stdout.str().count("Langfuse outage ") == 2


@pytest.mark.parametrize("options", [("--langfuse-outage=http_401",), ("--langfuse-outage=http_401,redirect", "-qq")])
def test_one_fault_or_a_very_quiet_run_needs_no_progress(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    app.makepyfile("def test_nothing():\n    pass\n")
    assert "Langfuse outage " not in app.runpytest(*options).stdout.str()


BLOCKED = """
    import pytest
    from app import answer, langfuse

    def test_robust():
        assert answer("why?") == "because"

    def test_flushes():
        answer("why?")
        langfuse.flush()

    @pytest.mark.skip(reason="not today")
    def test_skipped():
        pass
"""


def test_a_test_that_waits_is_degraded_without_a_healthy_run(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_block = 0.5\n")
    app.makepyfile(BLOCKED)
    result = app.runpytest("--langfuse-outage=hang", "--color=yes", "-p", "no:randomly")
    result.assert_outcomes(passed=2, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "no healthy run to compare with: record one with pytest --langfuse-capture",
            "hang: 1 of 3 tests degraded, 3 not compared, * observations lost",
            "  *::test_flushes: waited [0-9].[0-9] s for Langfuse (up to *), 0.5 s is allowed",
            "    blocked * at test_*.py:9 in test_flushes, calling Langfuse.flush",
        ]
    )
    last = result.stdout.lines[-1]
    assert last.startswith("\x1b[31m")
    assert "langfuse: 1 of 3 tests degraded by an outage: hang 1 (exit status 1)" in last


def test_a_short_wait_is_allowed(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_block = 60\n")
    app.makepyfile(BLOCKED)
    result = app.runpytest("--langfuse-outage=hang")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["hang: none of 3 tests degraded, 3 not compared, * observations lost"])
    assert "degraded by" not in result.stdout.str()


@pytest.mark.parametrize("options", first_of([(), ("-n1",)]), ids=["", "xdist"])
def test_a_wait_that_capture_has_cut_short_counts_as_the_one_of_production(
    app: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """4.9 s are allowed: a client with a timeout of its own waits for a second, and a test need not wait at all."""
    app.makeini("[pytest]\nlangfuse_max_block = 4.9\n")
    app.makepyfile(
        test_it="""
        import asyncio
        import threading
        import time
        from langfuse import Langfuse, get_client

        def fetch(client=None, **arguments):
            client = client or get_client()
            assert client.get_prompt("greeting", fallback="hello", max_retries=0, **arguments).prompt == "hello"

        def test_default(): fetch()

        def test_flush():
            get_client().start_observation(name="answer").end()
            get_client().flush()

        def test_threads():
            threads = [threading.Thread(target=fetch) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()

        def test_async():
            async def answer():
                await asyncio.wait([asyncio.create_task(ask()), asyncio.create_task(ask())])
            async def ask():
                try:
                    await get_client().async_api.prompts.get("greeting")
                except Exception:
                    pass
            asyncio.run(answer())

        def test_timeout_of_the_client(): fetch(Langfuse(public_key="pk-lf-other", secret_key="sk-lf-other", timeout=1))

        def test_timeout_of_the_call(): fetch(fetch_timeout_seconds=1)

        def test_nobody_waits():
            thread = threading.Thread(target=fetch)
            thread.start()
            while thread.is_alive(): time.sleep(0.01)
    """
    )
    result = app.runpytest("--langfuse-outage=hang", "--langfuse-json=lines.jsonl", "-p", "no:randomly", *options)
    result.assert_outcomes(passed=7)
    waited = "1.? s{} (up to 5.? s without the time limit of the capture)"
    result.stdout.fnmatch_lines(
        [
            "hang: 4 of 7 tests degraded, *",
            f"  test_it.py::test_default: waited {waited.format(' for Langfuse')}, 4.9 s is allowed",
            f"    blocked {waited.format('')} at test_it.py:8 in fetch, calling Langfuse.get_prompt",
        ]
    )
    lines = lines_of(app.path / "lines.jsonl", "outage")
    assert {line["test"].rpartition("_")[2]: line["shortened_seconds"] for line in lines} == {
        **dict.fromkeys(("default", "flush", "threads", "async"), 4.0),
        **dict.fromkeys(("client", "call", "waits"), 0.0),
    }


def test_a_second_is_more_than_a_second_is_allowed(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from langfuse import Langfuse

        @pytest.mark.parametrize("time", range(4))
        def test_timeout_of_the_client(time):
            client = Langfuse(public_key="pk-lf-other", secret_key="sk-lf-other", timeout=1)
            client.get_prompt("greeting", fallback="hello", max_retries=0)
    """)
    app.runpytest("--langfuse-outage=hang").stdout.fnmatch_lines(["hang: 4 of 4 tests degraded, *"])


def test_retries_for_which_there_was_no_time(app: pytest.Pytester) -> None:
    """With 5 s, an exporter tries again after 1 s and after 2 s; with 1 s, chance decides whether it does at all."""
    app.makepyfile("""
        from langfuse import Langfuse, get_client

        def flush(client):
            client.start_observation(name="answer").end()
            client.flush()

        def test_default(): flush(get_client())

        def test_timeout_of_the_client():
            flush(Langfuse(public_key="pk-lf-other", secret_key="sk-lf-other", timeout=1))
    """)
    result = app.runpytest("--langfuse-outage=http_503,http_401", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["http_503: * of 2 tests degraded, *", "  *::test_default: waited *(up to *"])
    result.stdout.fnmatch_lines(["http_401: none of 2 tests degraded, *"])


def test_a_wait_that_nothing_else_ends(app: pytest.Pytester) -> None:
    """A response that drips defeats the timeouts of clients; without the cap, this takes minutes."""
    app.makeini("[pytest]\nlangfuse_outage_timeout = 0.6\nlangfuse_max_block = 0.5\n")
    app.makepyfile("""
        from app import langfuse

        def test_fetches():
            for name in ("one", "two", "three"):
                assert langfuse.get_prompt(name, fallback="hello").prompt == "hello"
    """)
    result = app.runpytest("--langfuse-outage=drip,hang", "--langfuse-json=lines.jsonl")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "drip: 1 of 1 test degraded, *",
            "    blocked * in test_fetches, calling Langfuse.get_prompt (ended by langfuse_outage_timeout)",
        ]
    )
    lines = lines_of(app.path / "lines.jsonl", "outage")
    # Far from the 60 s that one response takes, nine times.
    assert [0.5 < line["blocked_seconds"] < 30 for line in lines] == [True, True]


def test_slower_only_as_far_as_langfuse_explains_it(app: pytest.Pytester) -> None:
    """The first test of a run pays for imports, on a busy machine seconds."""
    app.makeini("[pytest]\nlangfuse_max_slowdown = 0.2\n")
    app.makepyfile("""
        import os
        import time
        from app import answer

        def test_imports_lazily():
            answer("why?")
            time.sleep(float(os.environ.get("SLOW", 0)))
    """)
    app.runpytest("--langfuse-capture").assert_outcomes(passed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLOW", "0.8")
        result = app.runpytest("--langfuse-outage=hang")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["hang: none of 1 test degraded, * observations lost"])


def test_terminal_json_and_junit_agree(app: pytest.Pytester) -> None:
    app.makeini("[pytest]\nlangfuse_max_block = 0.5\n")
    app.makepyfile(test_it=BLOCKED + "\n    def test_red():\n        assert False\n")
    files = ("--langfuse-json=lines.jsonl", "--junit-xml=junit.xml")
    result = app.runpytest("--langfuse-outage=hang,http_401", *files, "-p", "no:randomly")
    result.assert_outcomes(passed=4, skipped=2, failed=2)
    suite = ET.parse(app.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert {name for name, case in cases.items() if case.find("failure") is not None} == {
        "test_flushes[hang]",
        "test_red[hang]",
        "test_red[http_401]",
    }
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "3", "2")
    why = cases["test_flushes[hang]"].find("failure")
    assert why is not None
    summary = why.get("message", "")
    assert re.fullmatch(r"degraded under hang: waited \d\.\d s for Langfuse \(up to .*\), 0\.5 s is allowed", summary)
    assert re.fullmatch(
        r"blocked \d\.\d s \(up to .*\) at test_it\.py:9 in test_flushes, calling Langfuse\.flush",
        (why.text or "").removeprefix(f"{summary}\n"),
    )
    assert "langfuse_degraded" in [p.get("name") for p in cases["test_red[hang]"].iter("property")]

    lines = lines_of(app.path / "lines.jsonl", "outage")
    degraded = {(line["test"], line["fault"]): line for line in lines if line["degraded"]}
    assert set(degraded) == {
        ("test_it.py::test_flushes", "hang"),
        ("test_it.py::test_red", "hang"),
        ("test_it.py::test_red", "http_401"),
    }
    assert 0.5 < degraded["test_it.py::test_flushes", "hang"]["blocked_seconds"] < 30
    assert {line["degraded"] for line in lines if "red" in line["test"]} == {"failed, not compared"}
    result.stdout.fnmatch_lines(
        [
            "hang: 2 of 4 tests degraded, *",
            "  test_it.py::test_flushes: waited *",
            "  test_it.py::test_red: failed, not compared",
            "http_401: 1 of 4 tests degraded, *",
            "  test_it.py::test_red: failed, not compared",
            "langfuse: 3 of 8 tests degraded by an outage: hang 2, http_401 1 (exit status 1)",
        ]
    )


def test_without_a_healthy_run_it_says_how_to_record_one(app: pytest.Pytester) -> None:
    app.makepyfile(SUITE)
    result = app.runpytest("--langfuse-outage=http_400")
    result.stdout.fnmatch_lines(["no healthy run to compare with: record one with pytest --langfuse-capture"])


def test_a_test_with_an_outage_of_its_own_runs_as_it_is(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import pytest
        from app import langfuse

        @pytest.mark.langfuse_outage("http_500")
        def test_own():
            langfuse.start_observation(name="x").end()
            langfuse.flush()

        class TestParametrised:
            @pytest.mark.parametrize("n", [1, 2])
            def test_it(self, n): pass
    """)
    result = app.runpytest("--langfuse-outage=http_400", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_it[[]1][[]http_400]*"])


@pytest.mark.parametrize("value", ["hangs", "hang,hangs"])
@pytest.mark.parametrize("ini", [False, True], ids=["option", "ini"])
def test_an_unknown_fault(app: pytest.Pytester, value: str, ini: bool) -> None:
    app.makepyfile(SUITE)
    if ini:
        app.makeini(f"[pytest]\nlangfuse_outage = {value}\n")
    result = app.runpytest(*([] if ini else [f"--langfuse-outage={value}"]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    source = "ini option langfuse_outage" if ini else "--langfuse-outage"
    result.stderr.fnmatch_lines([f"*{source}: unknown fault 'hangs', did you mean 'hang'*"])


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("nowhere/lines.jsonl", "is in a directory that does not exist"),
        (".", "is a directory; name a file in it"),
    ],
)
@pytest.mark.parametrize("ini", [False, True], ids=["option", "ini"])
def test_a_file_that_can_not_be_is_an_error_before_the_first_test(
    app: pytest.Pytester, file: str, why: str, ini: bool
) -> None:
    app.makepyfile(SUITE)
    if ini:
        app.makeini(f"[pytest]\nlangfuse_json = {file}\n")
    result = app.runpytest("--langfuse-outage=http_400", *([] if ini else [f"--langfuse-json={file}"]))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    source = "ini option langfuse_json" if ini else "--langfuse-json"
    result.stderr.fnmatch_lines([f"*{source}: {file!r} {why}"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a disk that is full")
def test_lines_that_could_not_be_written_are_said_to_be_missing(app: pytest.Pytester) -> None:
    app.makepyfile("from app import answer\n\ndef test_robust():\n    answer('why?')\n")
    result = app.runpytest("--langfuse-outage=http_400", "--langfuse-json=/dev/full")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "--langfuse-json: /dev/full could not be written: No space left on device",
            "http_400: none of 1 test degraded*",
        ]
    )


def test_the_lines_are_where_the_run_began(app: pytest.Pytester) -> None:
    app.makepyfile("import os\n\ndef test_moves():\n    os.chdir('/')\n")
    app.runpytest("--langfuse-outage=http_400", "--langfuse-json=lines.jsonl").assert_outcomes(passed=1)
    assert [line["test"] for line in lines_of(app.path / "lines.jsonl", "outage")] == [
        "test_the_lines_are_where_the_run_began.py::test_moves"
    ]


@pytest.mark.parametrize("cached", ["[1]", '{"test_it.py::test_robust": 3}', '{"test_it.py::test_robust": ["passed"]}'])
def test_what_another_version_has_cached_is_no_healthy_run(app: pytest.Pytester, cached: str) -> None:
    app.makepyfile(test_it="from app import answer\n\ndef test_robust():\n    answer('why?')\n")
    folder = app.mkdir(".pytest_cache") / "v" / "langfuse"
    folder.mkdir(parents=True)
    (folder / "healthy").write_text(cached)
    result = app.runpytest("--langfuse-outage=http_400")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["no healthy run to compare with: record one*"])


def test_without_a_cache_it_says_so(app: pytest.Pytester) -> None:
    app.makepyfile("from app import answer\n\ndef test_robust():\n    answer('why?')\n")
    result = app.runpytest("--langfuse-outage=http_400", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["no healthy run to compare with: pytest's cache is switched off"])


@pytest.mark.parametrize("options", [(), ("--langfuse-capture",), ("-n1",)], ids=["", "capture", "xdist"])
def test_a_json_file_holds_nothing_of_an_older_run(app: pytest.Pytester, options: tuple[str, ...]) -> None:
    file = app.path / "lines.jsonl"
    app.makepyfile("def test_one():\n    pass\n")
    for before in ('{"kind": "run", "schema": 1}\n', None):
        if before is not None:
            file.write_text(before)
        else:
            file.unlink()
        app.runpytest(f"--langfuse-json={file}", "--collect-only", *options)
        assert (file.read_text() if file.exists() else None) == before
        app.runpytest(f"--langfuse-json={file}", *options).assert_outcomes(passed=1)
        assert [line["kind"] for line in lines_of(file)] == ["run", "test"]


def test_a_json_file_holds_one_run(app: pytest.Pytester) -> None:
    file = app.path / "lines.jsonl"
    options = ("--langfuse-outage=http_400,redirect", f"--langfuse-json={file}", "-p", "no:randomly")

    def tests() -> list[str]:
        return [line["test"].rpartition("::")[2] for line in lines_of(file, "outage")]

    app.makepyfile(test_it="def test_one():\n    pass\n\ndef test_two():\n    pass\n")
    app.runpytest(*options).assert_outcomes(passed=4)
    assert tests() == ["test_one", "test_two"] * 2
    # A run that ends before its first test has nothing to say.
    for ends in ("nowhere.py", "--langfuse-show=some", "--collect-only"):
        app.runpytest(*options, ends)
        assert tests() == ["test_one", "test_two"] * 2
    app.runpytest(*options, "-k", "one").assert_outcomes(passed=2, deselected=1)
    assert tests() == ["test_one"] * 2
    app.makepyfile(
        test_it=f"""
        def test_stops():
            with open({str(file)!r}) as lines:
                assert "test_one" in lines.read()
            raise KeyboardInterrupt
        """
    )
    app.runpytest(*options, no_reraise_ctrlc=True)
    assert tests() == ["test_stops"]


@pytest.mark.parametrize("ini", [False, True], ids=["option", "ini"])
def test_a_json_file_implies_capture(app: pytest.Pytester, ini: bool) -> None:
    app.makepyfile("""
        from app import answer

        def test_it():
            answer("why?")
    """)
    if ini:
        app.makeini("[pytest]\nlangfuse_json = lines.jsonl\n")
    result = app.runpytest(*([] if ini else ["--langfuse-json=lines.jsonl"]))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["langfuse: 3 observations in 1 test"])


@pytest.mark.slow
def test_workers_of_xdist_write_one_file(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_one(n):\n    pass\n")
    (app.path / "lines.jsonl").write_text('{"kind": "run", "schema": 1}\n')
    app.runpytest("--langfuse-outage=http_400", "--langfuse-json=lines.jsonl", "-n2").assert_outcomes(passed=4)
    lines = lines_of(app.path / "lines.jsonl", "outage")
    assert sorted(line["test"][-3:] for line in lines) == ["[0]", "[1]", "[2]", "[3]"]


def test_an_empty_value_switches_an_ini_option_off(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="def test_one():\n    pass\n")
    for value in ("", " "):
        result = app.runpytest(f"--langfuse-outage={value}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*--langfuse-outage needs a value, such as --langfuse-outage=hang; leave it out for none"]
        )
    app.makeini("[pytest]\nlangfuse_outage = http_400\nlangfuse_json = lines.jsonl\n")
    app.runpytest("--langfuse-json=").assert_outcomes(passed=1)
    assert not (app.path / "lines.jsonl").exists()
    result = app.runpytest()
    result.stdout.fnmatch_lines(["http_400: none of 1 test degraded*"])
    result.stdout.no_fnmatch_line("langfuse: no outage*")
    result = app.runpytest("--langfuse-outage=")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["langfuse: no outage: --langfuse-outage is empty, in place of langfuse_outage = http_400 in the ini file"]
    )
    result.stdout.no_fnmatch_line("*degraded*")
