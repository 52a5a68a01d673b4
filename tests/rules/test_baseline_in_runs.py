"""--langfuse-rules-baseline: the first run writes it, later ones count what is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

APP = """
    from langfuse import Langfuse

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")

    def call(name):
        langfuse.start_observation(name=name, as_type="generation").end()

    def wrong(tracer=langfuse._otel_tracer):
        tracer.start_span("wrong", start_time=2 * 10**18).end(end_time=2 * 10**18 - 10**9)
"""
TESTS = """
    import bot, pytest

    @pytest.mark.parametrize("number", [1, 2])
    def test_call(number):
        bot.call(f"call {number}")

    def test_wrong():
        bot.wrong()
"""
BASELINE = ['["LF006", "bot.py", "call", "call #", 1]', '["LF029", "bot.py", "wrong", "wrong", 1]']
OPTION = "--langfuse-rules-baseline=known.txt"


@pytest.fixture
def app(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(bot=APP, test_bot=TESTS)
    return pytester


@pytest.fixture
def run(app):
    def of(*arguments: str):
        return app.runpytest(OPTION, "--langfuse-strict", "-p", "no:randomly", "-p", "no:asyncio", *arguments)

    return of


def entries() -> list[str]:
    return [line for line in Path("known.txt").read_text().splitlines() if not line.startswith("#")]


def write(*rows: str) -> None:
    Path("known.txt").write_text("".join(f"{row}\n" for row in rows))


def langfuse_lines(result) -> list[str]:
    return [line.removeprefix("langfuse: ") for line in result.outlines if line.startswith("langfuse: ")][:-1]


def test_its_paths_begin_at_the_root_of_the_repository(app, run):
    Path(".git").mkdir()
    run("--rootdir=.").assert_outcomes(passed=3)
    assert entries() == BASELINE
    folder = app.mkdir("service")
    for name in ("bot.py", "test_bot.py"):
        Path(name).rename(folder / name)
    Path("known.txt").unlink()
    run("service", f"--rootdir={folder}").assert_outcomes(passed=3)
    assert entries() == [row.replace("bot.py", "service/bot.py") for row in BASELINE]


def test_the_first_run_writes_it_and_the_next_passes(run):
    result = run()
    result.assert_outcomes(passed=3)
    assert langfuse_lines(result) == [
        "findings at 2 places written to known.txt; from now on only new ones count",
        "commit known.txt; to update it, delete it and run all tests again",
    ]
    assert entries() == BASELINE
    result = run()
    result.assert_outcomes(passed=3)
    assert langfuse_lines(result) == ["findings at 2 places are not counted: known.txt has them"]
    assert entries() == BASELINE


def test_it_implies_capture_and_counts_new_ones_without_strict(app):
    write(BASELINE[0])
    result = app.runpytest(OPTION, "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    assert langfuse_lines(result)[1:] == [
        "`python -m pytest_langfuse.rules explain CODE` tells why, and how to mend it",
        "findings at 1 place are not counted: known.txt has them",
        "findings at 1 place are not in known.txt; to accept them, delete it and run all tests",
    ]
    result.stdout.fnmatch_lines("langfuse: LF029 ends before it starts (error, once): *")


def test_only_new_ones_fail(run):
    write(BASELINE[0])
    result = run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines("LF029 ends before it starts: 'wrong' (bot.py:9) *")


def test_one_more_place_in_the_same_function_is_new(app, run):
    write(*BASELINE)
    app.makepyfile(
        bot=APP + "        tracer.start_span('wrong', start_time=2 * 10**18).end(end_time=10**18 * 2 - 10**9)\n"
    )
    result = run()
    result.assert_outcomes(passed=2, failed=1)
    assert "new: LF029 'wrong' in wrong() (bot.py) at 2 places (lines 9, 10), known.txt has 1" in langfuse_lines(result)


def test_moved_lines_and_other_parameters_are_not_new(app, run):
    run()
    app.makepyfile(
        bot=APP.replace("    langfuse =", "    x = 1\n\n    langfuse ="), test_bot=TESTS.replace("[1, 2]", "[5, 6, 7]")
    )
    result = run()
    result.assert_outcomes(passed=4)
    assert langfuse_lines(result) == ["findings at 2 places are not counted: known.txt has them"]


GONE = '["LF029", "bot.py", "gone", "x", 1]'
FEWER = '["LF029", "bot.py", "wrong", "wrong", 3]'


def test_what_no_longer_occurs_is_reported(run):
    write(BASELINE[0], FEWER, GONE)
    result = run()
    result.assert_outcomes(passed=3)
    assert langfuse_lines(result)[1:] == [
        "2 entries occur less often than known.txt says; to drop what is gone, delete it and run all tests",
        "  gone: LF029 'x' in gone() (bot.py)",
        "  fewer: LF029 'wrong' in wrong() (bot.py): 1 of 3 places",
    ]


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.exhaustive)], ids=["alone", "xdist"]
)
def test_tests_that_failed_for_findings_alone_have_shown_all_that_there_is(run, workers):
    write(BASELINE[0], GONE)
    result = run(*workers)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines("langfuse:   gone: LF029 'x' in gone() (bot.py)")


def test_rules_that_were_not_evaluated_are_not_gone(app, run):
    write(BASELINE[0], GONE)
    app.makeini("[pytest]\nlangfuse_rules_ignore = LF029")
    assert langfuse_lines(run()) == ["findings at 1 place are not counted: known.txt has them"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", "call"),
        ("--deselect", "test_bot.py::test_wrong"),
        ("test_bot.py::test_call",),
        ("test_bot.py",),
        ("--lf",),
    ],
    ids=" ".join,
)
def test_nothing_is_gone_after_a_part_of_the_tests(run, arguments):
    write(*BASELINE, GONE)
    result = run(*arguments)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("langfuse: *gone: *")


BROKEN = {
    "failed": ("def test_it(): assert 0", ()),
    "not collected": ("import nowhere", ("--continue-on-collection-errors",)),
    "exit": ("import pytest\ndef test_it(): pytest.exit('enough')", ()),
    "first": ("def test_it(): assert 0", ("-x",)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_nothing_is_gone_after_a_run_that_was_broken(app, run, broken):
    write(*BASELINE, GONE)
    text, arguments = BROKEN[broken]
    app.makepyfile(test_broken=text)
    result = run(*arguments)
    result.stdout.no_fnmatch_line("langfuse: *gone: *")


@pytest.mark.parametrize("broken", sorted(BROKEN.keys() - {"failed"}))
def test_nothing_is_written_after_a_run_that_was_broken_off(app, run, broken):
    text, arguments = BROKEN[broken]
    app.makepyfile(test_broken=text)
    result = run(*arguments)
    result.stdout.fnmatch_lines("langfuse: known.txt was not written: *")
    assert not Path("known.txt").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "note"),
    [
        ("def test_it(): assert 0", (), "1 test failed"),
        ("", ("-k", "call"), "1 test deselected"),
        ("", ("test_bot.py",), "of a part of the tests"),
    ],
)
def test_a_partial_run_writes_it_and_says_so(app, run, text, arguments, note):
    app.makepyfile(test_more=text)
    result = run(*arguments)
    result.stdout.fnmatch_lines(f"langfuse: findings at * (of a run *{note}: other findings will count as new)*")
    assert BASELINE[0] in entries()


def test_in_the_ini_file_it_is_beside_that(app, monkeypatch):
    app.makeini("[pytest]\nlangfuse_rules_baseline = known.txt\nlangfuse_strict = true\npythonpath = .")
    app.mkdir("sub").joinpath("test_sub.py").write_text("import bot\ndef test_it(): bot.wrong()\n")
    app.runpytest("-p", "no:randomly").assert_outcomes(passed=4)
    monkeypatch.chdir("sub")
    assert not Path("known.txt").exists()
    app.runpytest("-p", "no:randomly", "test_sub.py").assert_outcomes(passed=1)
    assert Path("../known.txt").exists()
    # Off again by an empty value.
    app.runpytest("-p", "no:randomly", "--langfuse-rules-baseline=", "test_sub.py").assert_outcomes(failed=1)


def test_a_bad_file_is_one_line_before_any_test(run):
    write("<<<<<<< HEAD")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("ERROR: --langfuse-rules-baseline: */known.txt:1: '<<<<<<< HEAD' is not an entry*")
    result.stdout.no_fnmatch_line("*passed*")


def test_an_existing_file_need_not_be_writable(run):
    write(*BASELINE)
    Path("known.txt").chmod(0o444)
    run().assert_outcomes(passed=3)


@pytest.mark.slow
def test_workers_of_xdist(run):
    result = run("-n", "2")
    result.assert_outcomes(passed=3)
    assert entries() == BASELINE
    # Workers deselect, the controller does not know what.
    result = run("-n", "1", "-k", "call")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("langfuse: *gone: *")


@pytest.mark.slow
def test_two_places_that_no_worker_has_seen_together_fail_the_run(app):
    """Each worker finds one place of a key, which the baseline has once."""
    app.makepyfile(
        bot=APP
        + "\n    def more(which, tracer=langfuse._otel_tracer):\n"
        + "        if which:\n"
        + "            tracer.start_span('wrong', start_time=2 * 10**18).end(end_time=10**18 * 2 - 10**9)\n"
        + "        else:\n"
        + "            tracer.start_span('wrong', start_time=2 * 10**18).end(end_time=10**18 * 2 - 10**9)\n",
        test_bot="""
        import bot, os
        def test_a(): bot.more(os.environ["PYTEST_XDIST_WORKER"] == "gw0")
        def test_b(): bot.more(os.environ["PYTEST_XDIST_WORKER"] == "gw0")
        """,
    )
    write('["LF029", "bot.py", "more", "wrong", 1]')
    result = app.runpytest(OPTION, "--langfuse-strict", "-n", "2", "--dist=each", "-p", "no:randomly")
    result.assert_outcomes(passed=4)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "langfuse: new: LF029 'wrong' in more() (bot.py) at 2 places (lines 13, 15), known.txt has 1",
            "langfuse: findings are not in the baseline (exit status 1)",
        ]
    )


@pytest.mark.exhaustive
def test_nothing_is_written_or_gone_after_a_worker_has_crashed(app, run):
    app.makepyfile(test_crash="import os\ndef test_it(): os._exit(1)")
    result = run("-n", "1")
    result.stdout.fnmatch_lines("langfuse: known.txt was not written: a worker has crashed")
    write(*BASELINE, GONE)
    run("-n", "1").stdout.no_fnmatch_line("langfuse: *gone: *")
