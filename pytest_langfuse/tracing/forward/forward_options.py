"""The options of `pytest-langfuse-forward`, each from the command line or from its variable."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.config import DEFAULT_BASE_URL
from pytest_langfuse.tracing.forward.project_keys import Project, Projects, read_projects
from pytest_langfuse.tracing.forward.source_address import EXAMPLE, KafkaAddress, SqsAddress, queue_address
from pytest_langfuse.tracing.forward.undecided_traces import TracePolicy
from pytest_langfuse.tracing.setting_parsers import Invalid, Parser
from pytest_langfuse.tracing.shown import shown

PROGRAM = "pytest-langfuse-forward"
#: Options that say how `sample` decides.
_OF_SAMPLING = ("keep_errors", "keep_slower_than", "decision_wait")
#: A trace is decided at the latest after so many times the wait.
_AGES = 10
_HIGHEST_PORT = 65535
_KAFKA, _SQS = "kafka://HOST:PORT[,HOST:PORT…]/TOPIC?group=NAME", "sqs://HOST/ACCOUNT/NAME"
_LISTENER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]*):(?P<port>\d{1,5})")


class HttpListener(NamedTuple):
    """The address for `/healthz`, `/readyz` and `/metrics`; an empty host is all interfaces."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ForwardOptions:
    """The options, checked. Times are seconds."""

    address: KafkaAddress | SqsAddress
    base_url: str
    projects: Projects
    kafka_options: Mapping[str, Any]
    once: bool
    dry_run: bool
    http: HttpListener | None
    requests: int
    timeout: float
    max_bytes: int
    stop_timeout: float
    compress: bool
    #: `None` to forward all.
    sampling: TracePolicy | None = None


class _Option(NamedTuple):
    """An option: how its text is read, and its default."""

    parse: Parser
    default: Any
    #: The variables that are asked, the first one wins; beside `LANGFUSE_FORWARD_…`.
    others: tuple[str, ...] = ()
    #: Its value is not shown.
    secret: bool = False


def _parser_of(read: Callable[[str], Any], allowed: str, example: str) -> Parser:
    """Return a parser of texts that makes the sentence of a `ValueError` its own."""

    def check(value: Any) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise Invalid(str(error), allowed, example) from None

    return Parser(check)


def _kafka_options(text: str) -> dict[str, Any]:
    from pytest_langfuse.tracing.forward.kafka_source import RESERVED_OPTIONS

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict) or not all(isinstance(value, str | int | float) for value in found.values()):
        raise ValueError("is not a JSON object of names and values")
    if reserved := sorted(RESERVED_OPTIONS & found.keys()):
        raise ValueError(f"has {reserved[0]!r}, which the forwarder sets itself")
    return found


def _listener(text: str) -> HttpListener:
    found = _LISTENER.fullmatch(text.strip())
    if found is None or int(found["port"]) > _HIGHEST_PORT:
        raise ValueError("is not HOST:PORT")
    return HttpListener(found["host"].strip("[]"), int(found["port"]))


OPTIONS: Mapping[str, _Option] = {
    "from": _Option(_parser_of(queue_address, f"{_KAFKA} or {_SQS}", EXAMPLE), None),
    "to": _Option(parsing.base_url, DEFAULT_BASE_URL, ("LANGFUSE_BASE_URL", "LANGFUSE_HOST")),
    "projects": _Option(parsing.file_path, None),
    "once": _Option(parsing.boolean, default=False),
    "dry_run": _Option(parsing.boolean, default=False),
    "http": _Option(_parser_of(_listener, "HOST:PORT, or :PORT for all interfaces", "0.0.0.0:8080"), None),
    "sample": _Option(parsing.number(0.0, 1.0, example="0.1"), 1.0),
    "keep_errors": _Option(parsing.boolean, default=False),
    "keep_slower_than": _Option(parsing.number(0.001, 86400.0, example="5"), None),
    "decision_wait": _Option(parsing.number(0.1, 3600.0, example="30"), 30.0),
    "requests": _Option(parsing.integer(1, example="4"), 4),
    "timeout": _Option(parsing.number(0.001, 3600.0, example="30"), 30.0),
    "max_bytes": _Option(parsing.integer(1, example="67108864"), 64 * 1024 * 1024),
    "stop_timeout": _Option(parsing.number(0.0, 3600.0, example="10"), 10.0),
    "compression": _Option(parsing.choice("none", "gzip"), "none"),
    "kafka_options": _Option(
        _parser_of(_kafka_options, "a JSON object of librdkafka's options", """'{"security.protocol": "ssl"}'"""),
        {},
        secret=True,
    ),
}


def variable_of(name: str) -> str:
    """Return the variable of an option."""
    return f"LANGFUSE_FORWARD_{name.upper()}"


class BadOption(Exception):  # noqa: N818 - becomes a line of the command
    """An option that can't be used: one sentence that names it and the fix."""


def read_options(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> ForwardOptions:
    """Return the options; an option of the command line wins over its variable.

    Raises:
        BadOption: Something can't be used.
        SystemExit: `--help` was asked for.
    """
    given = vars(_command_line().parse_args(arguments))
    values, places = {}, {}
    for name, option in OPTIONS.items():
        values[name], place = _value(name, option, given.get(name), environ)
        if place is not None:
            places[name] = place
    if values["from"] is None:
        raise BadOption(f"--from is missing. Fix: --from {EXAMPLE}, or set {variable_of('from')}.")
    if isinstance(values["from"], SqsAddress) and values["kafka_options"]:
        raise BadOption(
            f"{places['kafka_options']} is for Kafka, and --from is an SQS queue. Fix: leave it out; boto3 has "
            "variables of its own, such as AWS_REGION."
        )
    return ForwardOptions(
        address=values["from"],
        base_url=values["to"],
        projects=_projects(values["projects"], environ),
        kafka_options=values["kafka_options"],
        once=values["once"],
        dry_run=values["dry_run"],
        http=values["http"],
        requests=values["requests"],
        timeout=values["timeout"],
        max_bytes=values["max_bytes"],
        stop_timeout=values["stop_timeout"],
        compress=values["compression"] == "gzip",
        sampling=_sampling(values, places),
    )


def _value(name: str, option: _Option, given: Any, environ: Mapping[str, str]) -> tuple[Any, str | None]:
    """Return the value, and where it was given; `None` for the default."""
    flag = f"--{name.replace('_', '-')}"
    if given is True:
        return True, flag
    places = [(flag, f"{flag} ", given)]
    places += [(place, f"{place}=", environ.get(place)) for place in (variable_of(name), *option.others)]
    for place, before, text in places:
        if text is None or (place != flag and not text.strip()):
            continue
        try:
            return option.parse.of_text(text), place
        except Invalid as invalid:
            value = "***" if option.secret else shown(text)
            raise BadOption(
                f"{before}{value} {invalid.problem}. Allowed: {invalid.allowed}. Fix: {before}{invalid.example}."
            ) from None
    return option.default, None


def _sampling(values: Mapping[str, Any], places: Mapping[str, str]) -> TracePolicy | None:
    rate, wait = values["sample"], values["decision_wait"]
    without_effect = [places[name] for name in _OF_SAMPLING if name in places and values[name] is not False]
    if isinstance(values["from"], SqsAddress) and (rate < 1.0 or without_effect):
        place = places["sample"] if rate < 1.0 else without_effect[0]
        raise BadOption(
            f"{place} needs Kafka: an SQS queue gives the spans of a trace to different forwarders. "
            f"Fix: leave {place} out, and set sample_rate in the applications."
        )
    if without_effect and "sample" not in places:
        place = without_effect[0]
        raise BadOption(
            f"{place} does nothing without --sample: all is forwarded. Fix: add --sample 0.1 "
            f"({variable_of('sample')}=0.1), or leave {place} out."
        )
    if rate >= 1.0:
        return None
    return TracePolicy(rate, values["keep_errors"], values["keep_slower_than"], wait, _AGES * wait)


def _projects(path: Path | None, environ: Mapping[str, str]) -> Projects:
    keys = []
    for name, parse in (("LANGFUSE_PUBLIC_KEY", parsing.public_key), ("LANGFUSE_SECRET_KEY", parsing.secret_key)):
        text = environ.get(name, "").strip()
        try:
            keys.append(parse(text) if text else "")
        except Invalid as invalid:
            value = shown(text) if name == "LANGFUSE_PUBLIC_KEY" else "***"
            raise BadOption(f"{name}={value} {invalid.problem}. Allowed: {invalid.allowed}.") from None
    public, secret = keys
    if bool(public) != bool(secret):
        missing = "LANGFUSE_SECRET_KEY" if public else "LANGFUSE_PUBLIC_KEY"
        raise BadOption(f"{missing} is missing: both keys of a project belong together. Fix: set it.")
    if public and public == secret:
        raise BadOption("LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are the same. Fix: copy both from Langfuse.")
    default = Project(public, secret) if public else None
    try:
        others = {} if path is None else read_projects(path)
    except ValueError as error:
        raise BadOption(f"--projects: {error}.") from None
    if default is not None and others.get(public, secret) != secret:
        raise BadOption(
            f"--projects: {path} has another secret key for {public} than LANGFUSE_SECRET_KEY. Fix: remove one of them."
        )
    projects = Projects(default, others)
    if not len(projects):
        raise BadOption("there are no keys. Fix: set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, or give --projects.")
    return projects


class _OneLineErrors(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> Any:
        raise BadOption(f"{message} (see {PROGRAM} --help)")


def _command_line() -> argparse.ArgumentParser:
    parser = _OneLineErrors(
        prog=PROGRAM,
        usage=f"{PROGRAM} --from 'kafka://HOST:PORT/TOPIC?group=NAME' [--to URL] [--once] [--dry-run] …",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def option(name: str, metavar: str, text: str) -> None:
        default = OPTIONS[name].default
        shown_default = "" if default in (None, {}) else f" (default: {default})"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar=metavar,
            help=f"{text}{shown_default} [{variable_of(name)}]",
        )

    def switch(name: str, text: str) -> None:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            action="store_const",
            const=True,
            help=f"{text} [{variable_of(name)}]",
        )

    option("from", "ADDRESS", f"the queue: {_KAFKA}, or {_SQS}, the URL of a queue (sqs+http:// without TLS)")
    option("to", "URL", "Langfuse's address; also LANGFUSE_BASE_URL")
    switch("once", "end, with status 0, when all is delivered that was in the queue at the start")
    switch("dry_run", "read and report only: nothing is sent, nothing is committed, nobody loses a partition to it")
    option("projects", "FILE", 'keys of more projects, as JSON: {"pk-lf-…": "sk-lf-…", …}')
    option("sample", "RATE", "keep this share of the traces, each as a whole over all services (Kafka)")
    switch("keep_errors", "with --sample: keep each trace with an error")
    option("keep_slower_than", "SECONDS", "with --sample: keep each trace that took so long")
    option("decision_wait", "SECONDS", "with --sample: a trace is decided when nothing came of it for so long")
    option("http", "HOST:PORT", "serve /healthz, /readyz and /metrics here")
    option("requests", "N", "requests to Langfuse at the same time")
    option("timeout", "SECONDS", "for one request to Langfuse")
    option(
        "max_bytes",
        "BYTES",
        "messages in memory, with --sample also the undecided traces; beyond, the queue is not read",
    )
    option("stop_timeout", "SECONDS", "after SIGTERM or Ctrl-C, for requests on the wire, the commit and the exit")
    option("compression", "none|gzip", "gzip takes some 15 microseconds of CPU a span, and a tenth of the network")
    option("kafka_options", "JSON", "more of librdkafka's options, for TLS and SASL")
    return parser


_DESCRIPTION = """\
Forwards the spans and scores in a queue to Langfuse, at least once: a message is committed when Langfuse has taken it.

The keys of the project are read from LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY. The variable of each option stands
behind it, in brackets. What Langfuse refuses (400, 413, 422) is split down to the single span and then stored in
TOPIC.dead (SQS: NAME-dead), with the reason; while Langfuse can't be reached, limits the rate or refuses the key,
messages wait."""

_EPILOG = f"""\
examples:
  Forward for ever; start more of them to share the work:
    {PROGRAM} --from 'kafka://kafka:9092/langfuse_spans?group=langfuse' --to https://langfuse.example.com
  See what is there, and change nothing:
    {PROGRAM} --from 'kafka://kafka:9092/langfuse_spans?group=langfuse' --dry-run --once
  Drain the queue before a release, then go on:
    {PROGRAM} --from 'kafka://kafka:9092/langfuse_spans?group=langfuse' --once && deploy
  Keep a tenth of the traces, and all that failed or took 5 seconds, over all services:
    {PROGRAM} --from kafka://kafka:9092/langfuse_spans --sample 0.1 --keep-errors --keep-slower-than 5
  Send dead letters again, after the cause is mended:
    {PROGRAM} --from 'kafka://kafka:9092/langfuse_spans.dead?group=again' --once
  From SQS, with the credentials that boto3 finds:
    {PROGRAM} --from sqs://sqs.eu-west-1.amazonaws.com/123456789012/langfuse
  In a container, with health and metrics:
    LANGFUSE_FORWARD_FROM=kafka://kafka:9092/langfuse_spans LANGFUSE_FORWARD_HTTP=:8080 {PROGRAM}

exit status: 0 after --once, SIGTERM or Ctrl-C; 1 if the queue can't be read any more; 2 for bad input."""
