"""Options and ini names with values that can't be used: one line, exit status 4, before any test runs."""

from __future__ import annotations

import pytest

from pytest_langfuse import arguments, options

SECRET = "sk-lf-hunter2"
WORDS = ("x", "1", "faild", SECRET, "\x1b[31mall", "ä", "x" * 5000)
SECONDS = (
    "soon",
    "-1",
    "nan",
    "inf",
    "1e300",
    "9" * 5000,
    "1,5",
    "1_0",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "\x1b[31m1",
    SECRET,
    "",
)
SWITCHES = ("maybe", "2", "-1", "trü", "\x1b", "x" * 5000, SECRET)
PERCENTAGES = (
    "10",
    "0.1",
    "-1%",
    "ten%",
    "nan%",
    "inf%",
    "10%%",
    "1_0%",
    "\N{ARABIC-INDIC DIGIT ONE}%",
    "10 % more",
    f"{SECRET}%",
    "9" * 5000 + "%",
)
FILES = ("nowhere/file", "x" * 5000 + "/y", "a\0b", ".", SECRET + "/file", "test_a.py", "-")

#: The values that each ini option refuses.
INI = {
    "langfuse_capture": SWITCHES,
    "langfuse_env_keys": SWITCHES,
    "langfuse_show": WORDS,
    "langfuse_outage": (*WORDS, ",", "hang,hng"),
    "langfuse_json": FILES,
    "langfuse_report": FILES,
    # A file that does not exist is none to compare with yet.
    "langfuse_compare": ("a\0b", ".", "test_a.py", "-"),
    "langfuse_max_cost_increase": PERCENTAGES,
    "langfuse_max_token_increase": PERCENTAGES,
    "langfuse_rules_baseline": FILES,
    "langfuse_budget": (
        *WORDS,
        "tokens=x",
        "tokens=1.5",
        "tokens=1_0",
        "cost=1_0",
        "cost=\N{ARABIC-INDIC DIGIT ONE}",
        "tokens=-1",
        "cost=nan",
        "cost=inf",
        f"cost={SECRET}",
        "tokns=1",
    ),
    "langfuse_max_block": SECONDS,
    "langfuse_max_slowdown": SECONDS,
    "langfuse_outage_timeout": SECONDS,
    "langfuse_strict": SWITCHES,
    "langfuse_rules_select": WORDS,
    "langfuse_rules_ignore": WORDS,
    "langfuse_rules": (
        *WORDS,
        "LF006",
        "LF006.x=1",
        "LF028.tolerance=1_0",
        f"LF006.x={SECRET}",
        "LF006.\x1b=1",
        "LF099.x=1",
        "LF010.pattern.a=(",
        "LF010.pattern.a=",
        f"LF010.pattern.a=({SECRET}",
        "LF010.pattern.a=(" + "x" * 5000,
    ),
}
#: Those which are options of the command line, too.
COMMAND_LINE = {
    "--langfuse-show": (*WORDS, "", " "),
    "--langfuse-outage": (*WORDS, "", " ", ",", "hang,hng"),
    "--langfuse-json": (*(text for text in FILES if "\0" not in text), "", " "),
    "--langfuse-report": (*(text for text in FILES if "\0" not in text), "", " "),
    "--langfuse-compare": (*(text for text in FILES if "\0" not in text), "", " "),
    "--langfuse-rules-baseline": (*(text for text in FILES if "\0" not in text), "", " "),
}


def outcome(pytester: pytest.Pytester, option: str, value: str) -> str:
    """What is wrong with the answer to a value; "" for nothing."""
    ini = option.startswith("langfuse_")
    arguments = [f"--override-ini={option}={value}"] if ini else [f"{option}={value}"]
    result = pytester.runpytest("--co", "-q", *arguments)
    text = result.stderr.str() + result.stdout.str()
    named = f"ini option {option}" if ini else option
    lines = [line for line in text.splitlines() if named in line]
    problems = {
        f"exit status {result.ret}": result.ret != pytest.ExitCode.USAGE_ERROR,
        "not named": not lines,
        "a traceback": "Traceback" in text or "/pytest_langfuse/" in text,
        "the secret": SECRET in text,
        "unprintable": any(not line.isprintable() for line in lines),
        "too long": any(len(line) > 700 for line in lines),
    }
    return ", ".join(problem for problem, found in problems.items() if found)


@pytest.mark.slow
@pytest.mark.parametrize("option", [*INI, *COMMAND_LINE])
def test_a_value_that_cannot_be_used_is_one_line_that_names_the_option(app: pytest.Pytester, option: str) -> None:
    app.makepyfile(test_a="def test_it(): pass")
    values = INI.get(option) or COMMAND_LINE[option]
    wrong = {value[:20]: problem for value in values if (problem := outcome(app, option, value))}
    assert wrong == {}


def test_every_option_is_tried() -> None:
    parser = pytest.Parser(_ispytest=True)
    options.add_options(parser)
    assert set(INI) == {f"langfuse_{name}" for name in options.Options._fields if name not in options._OF_OTHERS}
    switches = {"--langfuse-capture", "--langfuse-strict"}
    names = {name for option in parser._anonymous.options for name in option.names()}
    names |= {name for group in parser._groups for option in group.options for name in option.names()}
    assert {name for name in names if name.startswith("--langfuse")} - switches == set(COMMAND_LINE)


def test_the_longest_wait_is_the_same_everywhere() -> None:
    assert options.LONGEST_WAIT == arguments.LONGEST_WAIT


@pytest.mark.slow
def test_the_plugin_named_on_the_command_line_is_that_of_the_entry_point(app: pytest.Pytester) -> None:
    app.makepyfile("def test_it(langfuse_spans): assert not langfuse_spans")
    for order in (["entry_point", "plugin"], ["plugin", "entry_point"]):
        names = [part for name in order for part in ("-p", f"pytest_langfuse.{name}")]
        result = app.runpytest_subprocess(*names)
        result.assert_outcomes(passed=1)
