"""The pages of docs/reference about what pytest shows, and of the commands beside it. `make docs` writes them."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import public_api
import pytest

from pytest_langfuse import fixtures as fixtures_module
from pytest_langfuse import plugin
from pytest_langfuse.options import add_options
from pytest_langfuse.outage.server import command as server_command
from pytest_langfuse.report import __main__ as report_command
from pytest_langfuse.rules import __main__ as rules_command
from pytest_langfuse.tracing.forward import forward_command

_FIXTURES = """\
A test that requests one of them is captured, with or without `--langfuse-capture`. Each is of one test. The types are
in [`pytest_langfuse`](pytest_langfuse.md)."""
_MARKERS = """\
A test with one of them is captured, with or without `--langfuse-capture`."""
_OPTIONS = """\
Options of the command line, each with its twin in the ini file (`pytest.ini`, `[tool.pytest.ini_options]` in
`pyproject.toml`, …). The command line wins. A name or a value that is wrong is an error of one line. `pytest --help`
shows the same."""
_VARIABLES = """\
The plugin sets none, and reads these. Variables of the application (`LANGFUSE_*`, `OTEL_*`) keep their meaning, but for
where it sends to ([capture](../capture.md)); those of production tracing are in [settings](../settings.md)."""
_COMMAND_LINES = """\
Beside pytest. Each prints its options, with examples, for `--help`, and ends with status 2 for an option that is
wrong."""
#: Where a fixture, a marker or an option is explained.
GUIDES = {
    "langfuse_api": "getting-started.md#prompts-scores-and-other-calls-to-langfuse",
    "langfuse_budget": "assertions.md#budgets",
    "langfuse_capture": "capture.md",
    "langfuse_clock": "outages.md",
    "langfuse_compare": "reports.md#compare-with-an-earlier-run",
    "langfuse_fresh_client": "capture.md#set-up-code",
    "langfuse_json": "reports.md",
    "langfuse_outage": "outages.md",
    "langfuse_process": "processes.md",
    "langfuse_queue": "queues-in-tests.md",
    "langfuse_report": "report.md",
    "langfuse_rules": "rules/README.md",
    "langfuse_rules_baseline": "rules/README.md#accept-what-is-there-a-baseline",
    "langfuse_server": "stand-in.md",
    "langfuse_show": "capture.md#options",
    "langfuse_spans": "assertions.md",
    "langfuse_strict": "rules/README.md",
    "langfuse_tracing": "tracing.md",
}
#: Variables that the plugin itself reads. Those of the application stay the application's.
VARIABLES = {
    "COLUMNS": "the width to which trees are cut, where there is no terminal",
    "GITHUB_STEP_SUMMARY": "where GitHub Actions takes the summary of a job from: a captured run writes one",
    "LANGFUSE_EXPORT": "names the queues whose faults belong to `--langfuse-outage=all`",
    "NO_COLOR": "trees and differences without colour; else pytest's `--color` decides",
}
#: The commands beside pytest: their functions, and where they are explained.
COMMANDS = {
    "pytest-langfuse-forward": (forward_command.main, "../forwarder.md"),
    "python -m pytest_langfuse.outage.server": (server_command.main, "../stand-in.md"),
    "python -m pytest_langfuse.report": (report_command.main, "../report.md#later-and-elsewhere"),
    "python -m pytest_langfuse.rules": (rules_command.main, "../rules/README.md"),
}


def fixtures() -> str:
    """The page of all fixtures."""
    parts = [
        "# Fixtures",
        _FIXTURES,
    ]
    tree = ast.parse(Path(str(fixtures_module.__file__)).read_text(encoding="utf-8"))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in plugin.__all__:
        node = defined[name]
        assert node.returns is not None  # noqa: S101 - mypy asks for it
        kind = re.sub(r"^Iterator\[(.*)\]$", r"\1", ast.unparse(node.returns))
        shown = "Callable[..., Langfuse]" if kind == "ClientFactory" else kind
        plain = kind.partition("[")[0]
        link = (
            f" ([its methods](pytest_langfuse.md#{plain.lower()}))"
            if plain in public_api.exported("pytest_langfuse")
            else ""
        )
        parts += [f"## {name}", f"`{shown}`{link}", *_paragraphs(ast.get_docstring(node) or ""), _guide(name)]
    return "\n\n".join(parts) + "\n"


def markers() -> str:
    """The page of all markers."""
    parts = ["# Markers", _MARKERS]
    for marker in sorted(plugin.MARKERS):
        signature, _, text = marker.partition("): ")
        name = signature.partition("(")[0]
        parts += [f"## {name}", f"`@pytest.mark.{signature})`", f"{text[0].upper()}{text[1:]}", _guide(name)]
    return "\n\n".join(parts) + "\n"


class _Declared:
    """What `add_options` declares."""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {}
        self.ini: dict[str, dict[str, Any]] = {}

    def getgroup(self, *_: str) -> _Declared:
        return self

    def addoption(self, name: str, **settings: Any) -> None:
        self.options[name] = settings

    def addini(self, name: str, help: str, **settings: Any) -> None:  # noqa: A002 - pytest's name for it
        self.ini[name] = {"help": help, **settings}


def declared() -> _Declared:
    """The options and ini settings of the plugin."""
    found = _Declared()
    add_options(cast("pytest.Parser", found))
    return found


def options() -> str:
    """The page of all options, ini settings and environment variables."""
    given = declared()
    parts = [
        "# Options and ini settings",
        _OPTIONS,
        "## Options",
    ]
    for name, settings in given.options.items():
        twin = name.removeprefix("--").replace("-", "_")
        value = f"={settings['metavar']}" if "metavar" in settings else ""
        default = _shown(given.ini[twin]["default"])
        text = re.sub(r" \(ini: [^)]*\)$", "", settings["help"])
        beside = ", relative to the ini file" if "relative to the ini file" in settings["help"] else ""
        parts += [f"### {name}", f"`{name}{value}`; ini: `{twin}`{beside}; default: {default}."]
        parts += [f"{text[0].upper()}{text[1:].rstrip('.')}.", _guide(twin)]
    parts += ["## Ini settings without an option", "| setting | default | |\n|---|---|---|"]
    twins = {name.removeprefix("--").replace("-", "_") for name in given.options}
    rows = [
        _row(f"`{name}`", _shown(settings["default"]), settings["help"])
        for name, settings in sorted(given.ini.items())
        if name not in twins
    ]
    parts[-1] += "\n" + "\n".join(rows)
    parts += [
        "## Environment variables",
        _VARIABLES,
        "| variable | |\n|---|---|\n" + "\n".join(f"| `{name}` | {text} |" for name, text in VARIABLES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _shown(default: object) -> str:
    return f"`{default}`" if str(default) else "none"


def _guide(name: str) -> str:
    path = GUIDES[name]
    heading = (public_api.ROOT / "docs" / path.partition("#")[0]).read_text(encoding="utf-8").partition("\n")[0]
    return f"More: [{heading.removeprefix('# ')}](../{path})."


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in text.split("\n\n") if paragraph]


class _FoundError(Exception):
    """Raised instead of parsing: it holds the parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser)
        self.parser = parser


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command.

    Raises:
        LookupError: the command does not parse its arguments by argparse.
    """

    def refuse(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _FoundError(parser)

    main, _ = COMMANDS[command]
    try:
        with patch.object(argparse.ArgumentParser, "parse_known_args", refuse):
            cast("Any", main)([])
    except _FoundError as found:
        return found.parser
    raise LookupError(command)


def commands() -> str:
    """The page of all commands."""
    parts = ["# Commands", _COMMAND_LINES]
    for name, (_, guide) in COMMANDS.items():
        shown = _command(name, parser_of(name))
        parts += [f"## {name.removeprefix('python -m ')}", *shown, f"More: [the guide]({guide})."]
    return "\n\n".join(parts) + "\n"


def _command(name: str, parser: argparse.ArgumentParser, said: str = "") -> list[str]:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]  # noqa: SLF001
    said = " ".join((parser.description or said).partition("\n\n")[0].split())
    parts = [f"`{name}`: {said}"]
    rows = []
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            helped = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for word, below in action.choices.items():
                parts += [
                    f"### {name.removeprefix('python -m ')} {word}",
                    *_command(f"{name} {word}", below, helped[word]),
                ]
            continue
        value = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else "")
        value = "" if action.nargs == 0 else str(value)
        shown = ", ".join(f"{option} {value}".strip() for option in action.option_strings) or value
        text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
        rows.append(_row(f"`{shown}`", text))
    if rows:
        parts.append("\n".join(["| argument | |", "|---|---|", *rows]))
    return parts


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
