"""The options of the plugin: declared once, read into one typed object."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

Show = Literal["failed", "all", "none"]
#: Options of which an empty value switches the ini option off, if that is set; and a value for messages.
_EXAMPLES = {
    "outage": "hang",
    "json": "run.jsonl",
    "report": "report.html",
    "compare": "main.jsonl",
    "rules_baseline": "baseline.txt",
}
#: The variable in which GitHub Actions names a file for a summary of the step.
_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
#: How a pattern begins in `langfuse_rules`: CODE.option.NAME=
_OWN_PATTERN = re.compile(r"\s*\w+\.\w+\.[^=\s,]*\s*=")
_NUMBER = re.compile(r"\+?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_SHOW = ("failed", "all", "none")
#: What others decide: no options of ours.
_OF_OTHERS = ("junit", "step_summary")
#: As in `arguments`, which is imported for a mistake only.
LONGEST_WAIT = 1_000_000


class Given(NamedTuple):
    """A value, and how messages call the option or ini name that it comes from."""

    value: str
    source: str


class Options(NamedTuple):
    """The values given on the command line and in the ini file; the command line wins."""

    capture: bool
    show: Show
    outage: Given | None
    max_block: float
    max_slowdown: float
    outage_timeout: float
    #: Files, by their absolute paths: of the lines and of the page to write, and of an earlier run.
    json: Given | None
    report: Given | None
    compare: Given | None
    #: How much more a test may use than in that run, as a ratio.
    max_cost_increase: float | None
    max_token_increase: float | None
    env_keys: bool
    strict: bool
    #: Codes of rules to evaluate, "ALL" for each; none: no rules.
    rules_select: Sequence[str]
    rules_ignore: Sequence[str]
    #: Options of rules, like "LF017.max_block=2" and "LF010.pattern.NAME=REGULAR EXPRESSION".
    rules: Sequence[str]
    #: The file with the findings that are known, or in which to write them, by its absolute path.
    rules_baseline: Given | None
    #: Limits of each captured test, like "tokens=500".
    budget: Sequence[str]
    #: Where GitHub Actions takes a summary of the step from, if this run is to write one.
    step_summary: Given | None
    #: Whether pytest writes a file of `--junit-xml`.
    junit: bool

    @property
    def keeps_traces(self) -> bool:
        """True if what tests have recorded is kept until the end of the run."""
        return any(one is not None for one in (self.json, self.report, self.compare, self.step_summary))

    @property
    def idle_limits(self) -> str | None:
        """A sentence on the limits that judge nothing if this run is not compared; `None` if none is set."""
        limits = {"cost": self.max_cost_increase, "token": self.max_token_increase}
        names = [f"langfuse_max_{name}_increase" for name, limit in limits.items() if limit is not None]
        return f"{' and '.join(names)} {'judge' if names[1:] else 'judges'} nothing" if names else None

    @property
    def not_compared(self) -> str | None:
        """A sentence on limits without a run to compare with; `None` if there are none, or a file of one is named."""
        idle = self.idle_limits
        if idle is None or self.compare is not None:
            return None
        return f"{idle}: there is no run to compare with (--langfuse-compare=FILE)"

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """Read the options.

        Raises:
            pytest.UsageError: a value is not allowed, or an ini option that begins with `langfuse_` is unknown.
        """
        _check_ini_names(config)
        option = bool(_command_line(config, "langfuse_capture"))
        strict = bool(_command_line(config, "langfuse_strict")) or _ini_bool(config, "langfuse_strict")
        show, outage = (_given(config, name) for name in ("show", "outage"))
        json, report, compare, baseline = (
            _file(config, name) for name in ("json", "report", "compare", "rules_baseline")
        )
        capture = (
            option
            or strict
            or _ini_bool(config, "langfuse_capture")
            or bool(outage.value.strip())
            or any(given is not None for given in (json, report, compare, baseline))
        )
        summary = os.environ.get(_STEP_SUMMARY, "") if capture else ""
        return cls(
            # A suite in an outage is captured: it must not send anything to the real Langfuse. And a file of the run
            # is one of what was captured.
            capture=capture,
            show=cast("Show", one_of(show.value, _SHOW, show.source)),
            outage=outage if outage.value.strip() else None,
            max_block=_ini_seconds(config, "langfuse_max_block"),
            max_slowdown=_ini_seconds(config, "langfuse_max_slowdown"),
            outage_timeout=_ini_seconds(config, "langfuse_outage_timeout"),
            json=json,
            report=report,
            compare=compare,
            max_cost_increase=_ini_percentage(config, "langfuse_max_cost_increase"),
            max_token_increase=_ini_percentage(config, "langfuse_max_token_increase"),
            env_keys=_ini_bool(config, "langfuse_env_keys"),
            strict=strict,
            rules_select=_ini_words(config, "langfuse_rules_select"),
            rules_ignore=_ini_words(config, "langfuse_rules_ignore"),
            rules=_ini_rule_options(config, "langfuse_rules"),
            rules_baseline=baseline,
            budget=_ini_words(config, "langfuse_budget"),
            step_summary=Given(os.path.abspath(summary), _STEP_SUMMARY) if summary else None,  # noqa: PTH100 - a text
            junit=bool(_command_line(config, "xmlpath")),
        )


def add_options(parser: pytest.Parser) -> None:
    """Declare the command-line options and their ini twins."""
    group = parser.getgroup("langfuse", "Langfuse traces (pytest-langfuse)")
    group.addoption(
        "--langfuse-capture",
        action="store_true",
        default=False,
        help="record what every test sends to Langfuse, without changing the application; nothing leaves this "
        "machine. A failing test shows the tree that Langfuse would have shown. (ini: langfuse_capture)",
    )
    group.addoption(
        "--langfuse-show",
        metavar="{failed,all,none}",
        default=None,
        help="print the section 'Langfuse trace' for these of the captured tests: the tree with durations, tokens and "
        "cost, as wide as the terminal or COLUMNS; -vv shows it whole. Default: failed. (ini: langfuse_show)",
    )
    group.addoption(
        "--langfuse-outage",
        metavar="FAULT[,FAULT...]|all",
        default=None,
        help="run the whole suite while Langfuse fails, once under each fault, and list the tests that waited for it "
        "or did worse than in the last run with --langfuse-capture alone; exit with status 1 if there are any. Faults: "
        "refused, "
        "hang, reset, slow, drip, http_400 to http_504, redirect, captive_portal, partial_success, garbage, truncated, "
        "tls_error, dns_error, flapping; of a queue that spans are exported to: broker_down, broker_slow, "
        "message_too_large, not_authorized, sqs_throttled (in 'all' where LANGFUSE_EXPORT names a queue, or a conftest "
        "calls init_tracing with one). (ini: langfuse_outage)",
    )
    group.addoption(
        "--langfuse-strict",
        action="store_true",
        default=False,
        help="fail a test whose traces break a rule: context lost over a thread, a secret in an input, a parent that "
        "is not exported, and more. `python -m pytest_langfuse.rules explain` lists the rules. Implies "
        "--langfuse-capture. (ini: langfuse_strict)",
    )
    group.addoption(
        "--langfuse-json",
        metavar="FILE",
        default=None,
        help="write the run to FILE as lines of JSON: a line for each test, observation, score, finding of a rule, and "
        "for each test under each fault of --langfuse-outage, without secrets. FILE holds one run. `python -m "
        "pytest_langfuse.rules check FILE` shows the findings as SARIF or annotations. Implies --langfuse-capture. "
        "(ini: langfuse_json, relative to the ini file)",
    )
    group.addoption(
        "--langfuse-report",
        metavar="FILE.html",
        default=None,
        help="write one page to FILE.html that shows the traces of each test, what was wrong and what it cost, without "
        "secrets. It opens from the disk and needs no network; `python -m pytest_langfuse.report` makes it later, of a "
        "file of --langfuse-json. Implies --langfuse-capture. (ini: langfuse_report, relative to the ini file)",
    )
    group.addoption(
        "--langfuse-compare",
        metavar="FILE",
        default=None,
        help="compare the run with the one in FILE, which --langfuse-json has written: what has changed by test in "
        "outcome, errors, trees, tokens, cost, models and duration. langfuse_max_cost_increase and "
        "langfuse_max_token_increase make more of it a failure. Implies --langfuse-capture. (ini: langfuse_compare, "
        "relative to the ini file; it may be missing there)",
    )
    group.addoption(
        "--langfuse-rules-baseline",
        metavar="FILE",
        default=None,
        help="count, and with --langfuse-strict fail for, only the findings of rules that are not in FILE. Without "
        "FILE this run writes it; to update it, delete it and run all tests. Implies --langfuse-capture. "
        "(ini: langfuse_rules_baseline, relative to the ini file)",
    )
    parser.addini("langfuse_outage", "faults to run the suite under, as with --langfuse-outage", default="")
    parser.addini("langfuse_report", "file to write the page of a report to, as with --langfuse-report", default="")
    parser.addini("langfuse_json", "file to write JSON lines to, as with --langfuse-json", default="")
    parser.addini("langfuse_compare", "file of the run to compare with, as with --langfuse-compare", default="")
    for name in ("cost", "token"):
        parser.addini(
            f"langfuse_max_{name}_increase",
            f"how much more {name if name == 'cost' else 'tokens'} a test may use than in the run of "
            "--langfuse-compare, such as 10%; nothing for any",
            default="",
        )
    parser.addini(
        "langfuse_max_block",
        "how many seconds a test may wait for Langfuse under --langfuse-outage",
        default="1.0",
    )
    parser.addini(
        "langfuse_max_slowdown",
        "how many seconds slower a test may be under --langfuse-outage than in a healthy run, as far as it waited for "
        "Langfuse",
        default="1.0",
    )
    parser.addini(
        "langfuse_outage_timeout",
        "how many seconds a test can wait in an outage before its connections to Langfuse are reset",
        default="30.0",
    )
    parser.addini("langfuse_capture", "capture every test, as with --langfuse-capture (true or false)", default="false")
    parser.addini(
        "langfuse_env_keys",
        "set placeholder keys in the environment of captured tests where it has none, for applications that trace "
        "only if keys are there (true or false)",
        default="false",
    )
    parser.addini(
        "langfuse_strict", "fail tests that break a rule, as with --langfuse-strict (true or false)", default="false"
    )
    parser.addini(
        "langfuse_rules_select",
        "codes of the rules to evaluate, such as LF004 LF010; ALL for each, nothing for none. A warning that is named "
        "here fails tests in strict mode, too",
        default="ALL",
    )
    parser.addini("langfuse_rules_ignore", "codes of rules not to evaluate", default="")
    parser.addini(
        "langfuse_rules_baseline", "file of the findings that are known, as with --langfuse-rules-baseline", default=""
    )
    parser.addini(
        "langfuse_rules",
        "options of rules, such as LF028.tolerance=0.05; patterns of own secrets, a line each: "
        r"LF010.pattern.order-id=\bORD-\d{6}\b",
        default="",
    )
    parser.addini(
        "langfuse_budget",
        "limits of each captured test, such as tokens=500 cost=0.01: tokens, cost (USD), generations, observations, "
        "duration (seconds), errors",
        default="",
    )
    parser.addini("langfuse_show", "captured tests to print the trace for: failed, all or none", default="failed")


def one_of(value: str, allowed: Sequence[str], source: str) -> str:
    """Return `value` if it is allowed.

    Raises:
        pytest.UsageError: it is not; the message names `source` and suggests the nearest word.
    """
    if value in allowed:
        return value
    # Imported here, as below: only a message about a mistake needs it.
    from pytest_langfuse.suggest import did_you_mean

    hint = did_you_mean(value, allowed)
    raise pytest.UsageError(f"{source}: {_shown(value)} is not one of {', '.join(allowed)}{hint}")


def _shown(value: object) -> str:
    # Imported here, as above.
    from pytest_langfuse.arguments import shown

    return shown(value)


def _command_line(config: pytest.Config, name: str) -> Any:
    # Before conftest files are loaded there is only the first; a plugin that a conftest loads is only in the second.
    early = getattr(config.known_args_namespace, name, None)
    return early if early is not None else getattr(config.option, name, None)


def _ini_outage(config: pytest.Config) -> str:
    return str(config.getini("langfuse_outage")).strip()


def outage_switched_off(config: pytest.Config) -> str | None:
    """Return a sentence for the header of a run whose ini option asks for an outage, and the command line for none."""
    given, ini = _command_line(config, "langfuse_outage"), _ini_outage(config)
    if given is None or str(given).strip() or not ini:
        return None
    return f"langfuse: no outage: --langfuse-outage is empty, in place of langfuse_outage = {ini} in the ini file"


def nothing_to_show(config: pytest.Config) -> str | None:
    """Return a sentence for the end of a run without a captured test whose command line asks for all traces."""
    if _command_line(config, "langfuse_show") != "all" or config.getoption("collectonly"):
        return None
    return "langfuse: --langfuse-show=all shows no trace, since no test was captured; add --langfuse-capture"


def _ini_bool(config: pytest.Config, name: str) -> bool:
    # Not addini's type "bool", which answers a bad value with a bare ValueError and a traceback.
    text = str(config.getini(name))
    value = text.strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise pytest.UsageError(f"ini option {name}: {_shown(text)} is not one of true, false")


def _ini_words(config: pytest.Config, name: str) -> Sequence[str]:
    """Return the words of an ini option, which spaces, commas or lines separate."""
    return str(config.getini(name)).replace(",", " ").split()


def _ini_rule_options(config: pytest.Config, name: str) -> Sequence[str]:
    """Return the options of rules: words, but a line that begins with a pattern is one, whatever is in it."""
    found: list[str] = []
    for line in str(config.getini(name)).splitlines():
        if _OWN_PATTERN.match(line):
            found.append(line.strip())
        else:
            found += line.replace(",", " ").split()
    return found


def _given(config: pytest.Config, name: str) -> Given:
    value, ini = _command_line(config, f"langfuse_{name}"), str(config.getini(f"langfuse_{name}"))
    option = f"--langfuse-{name.replace('_', '-')}"
    if value is None:
        return Given(ini, f"ini option langfuse_{name}")
    if not value.strip() and not (name in _EXAMPLES and ini.strip()):
        # `--langfuse-outage=$FAULT` with nothing in the variable would test without an outage.
        hint = f", such as {option}={_EXAMPLES[name]}; leave it out for none" if name in _EXAMPLES else ""
        raise pytest.UsageError(f"{option} needs a value{hint or '; leave it out for the default'}")
    return Given(value, option)


def _file(config: pytest.Config, name: str) -> Given | None:
    """Return the absolute path of a file, `None` for none: from the ini file, relative to that, as pytest's own paths.

    Absolute, since a test may change the working directory.
    """
    given = _given(config, name)
    if not (value := given.value.strip()):
        return None
    if "\0" in value:
        raise pytest.UsageError(f"{given.source}: {_shown(value)} is not the path of a file")
    if value == "-":
        # Other programs take it for a standard stream, which has the results of the tests here.
        raise pytest.UsageError(f"{given.source}: '-' is not the name of a file; name one, such as /dev/stdout")
    is_beside_ini = given.source.startswith("ini") and config.inipath is not None
    folder = config.inipath.parent if is_beside_ini and config.inipath is not None else Path.cwd()
    return given._replace(value=str(folder / value))


def number_in(text: str) -> float:
    """Return the number from 0 up in a text, -1 if it is anything else: `1_0` and digits of other scripts, too."""
    return float(text) if _NUMBER.fullmatch(text.strip()) else -1.0


def _ini_seconds(config: pytest.Config, name: str) -> float:
    value = str(config.getini(name))
    seconds = number_in(value)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise pytest.UsageError(
            f"ini option {name}: {_shown(value)} is not a number of seconds, such as 1.0, up to {LONGEST_WAIT}"
        )
    return seconds


def _ini_percentage(config: pytest.Config, name: str) -> float | None:
    """Return a percentage as a ratio; `None` if the option is empty."""
    text = str(config.getini(name)).strip()
    return percentage_in(text, f"ini option {name}") if text else None


def percentage_in(text: str, source: str) -> float:
    """Return the percentage in a text as a ratio.

    Raises:
        pytest.UsageError: there is none; the message names `source`.
    """
    number, sign, rest = text.strip().partition("%")
    # A number alone could be a ratio or a percentage.
    percentage = number_in(number) if sign and not rest else -1.0
    if not 0 <= percentage <= LONGEST_WAIT:
        raise pytest.UsageError(f"{source}: {_shown(text)} is not a percentage from 0 up, such as 10%")
    return percentage / 100


def _check_ini_names(config: pytest.Config) -> None:
    """Refuse a misspelt ini option, which would otherwise silently do nothing."""
    known = [f"langfuse_{name}" for name in Options._fields if name not in _OF_OTHERS]
    with warnings.catch_warnings():
        # Deprecated since pytest 9.2, but there is no other way to see names that nobody declared.
        warnings.simplefilter("ignore")
        names = list(getattr(config, "inicfg", ()))
    for name in names:
        if name.startswith("langfuse_") and name not in known:
            from pytest_langfuse.suggest import did_you_mean

            raise pytest.UsageError(f"unknown ini option {name!r}{did_you_mean(name, known, what='known options')}")
