"""Settings of production tracing: one frozen value, and where each of its fields comes from.

Order: argument, then `LANGFUSE_*`, then `OTEL_*`, then the preset of the environment. The names of environment
variables are Langfuse's own where it has one; an empty variable counts as unset (OpenTelemetry specification,
"Environment Variable Specification: Parsing empty value").
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from pytest_langfuse.tracing import kafka_parsers
from pytest_langfuse.tracing import otel_variables as otel
from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.lazy import exported_by
from pytest_langfuse.tracing.otel_variables import OtelReader
from pytest_langfuse.tracing.sampling import Rule, sampling_rules
from pytest_langfuse.tracing.setting_parsers import Invalid, Parser
from pytest_langfuse.tracing.shown import shown
from pytest_langfuse.tracing.suggest import did_you_mean

#: pytest shows no frame of this module: what is wrong is the caller's argument.
__tracebackhide__ = True

Export = Literal["http", "kafka", "sqs"]

DEFAULT_BASE_URL = "https://cloud.langfuse.com"


@exported_by("pytest_langfuse.tracing")
class ConfigError(ValueError, TypeError):
    """A setting that can't be used. The message names each bad setting, its value, what is allowed and the fix.

    It is a `TypeError`, too, as for any wrong keyword argument.
    """


class Preset(NamedTuple):
    """The settings that the name of an environment decides."""

    flush_interval: float
    flush_at: int
    sample_rate: float


PRESETS = {
    "development": Preset(flush_interval=1.0, flush_at=1, sample_rate=1.0),
    "staging": Preset(flush_interval=5.0, flush_at=25, sample_rate=0.5),
    "production": Preset(flush_interval=10.0, flush_at=100, sample_rate=0.1),
}

# The type says what a reader of a finished config gets; `None` stands for "not given" until `__post_init__`.
_PRESET: Any = None


@exported_by("pytest_langfuse.tracing")
@dataclass(frozen=True)
class TracingConfig:
    """The settings of tracing. Times are seconds, sizes are bytes.

    Built directly, it takes nothing from the environment: what is left out has the default shown here, and
    `flush_interval`, `flush_at` and `sample_rate` are those of `environment`'s preset. `init_tracing` completes
    what was left out and has no default here (keys, `base_url`, `release`, the preset's three) from the environment's
    variables. `get_tracing_config` reads them for every field.

    Raises:
        ConfigError: Values can't be used; the message names all of them.
    """

    public_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    #: Langfuse's address; `None` is Langfuse Cloud (EU).
    base_url: str | None = None
    #: Lower case letters, digits, `-`, `_`; at most 40; not starting with "langfuse" (langfuse propagation.py).
    environment: str = "development"
    #: Version of the application, shown by Langfuse beside each trace.
    release: str | None = None
    #: Share of traces that is kept, 0.0 to 1.0; see `keep_errors` and `keep_slower_than`.
    sample_rate: float = _PRESET
    #: The longest time that a span waits to be sent with others.
    flush_interval: float = _PRESET
    #: The number of waiting spans that are sent at once.
    flush_at: int = _PRESET
    #: For one request to Langfuse.
    timeout: float = 5.0
    #: Deadline of the shutdown at exit.
    shutdown_timeout: float = 5.0
    #: Spans kept while Langfuse can't be reached; a full buffer drops the oldest and counts them.
    max_buffer_spans: int = 100_000
    max_buffer_bytes: int = 64 * 1024 * 1024
    #: A file that keeps unsent spans over a crash or an exit; `None` keeps them in memory only.
    spool_path: Path | None = None
    #: The breaker opens after so many failures in a row, and tries again after the recovery timeout.
    breaker_failure_threshold: int = 10
    breaker_recovery_timeout: float = 300.0
    #: An answer that took longer counts as a failure, unless this is `None`.
    breaker_slow_call: float | None = None
    #: Where finished spans go: to Langfuse, or into a queue that `pytest-langfuse-forward` drains. Of several, the
    #: first whose breaker is not open.
    export: Export | tuple[Export, ...] = "http"
    #: Addresses of Kafka brokers, HOST:PORT, separated by commas.
    kafka_brokers: str | None = None
    #: The topic that spans go to.
    kafka_topic: str = "langfuse_spans"
    #: Further options of the producer, by librdkafka's names.
    kafka_options: Mapping[str, str | float | bool] = field(default_factory=dict, hash=False)
    #: The SQS queue that spans go to.
    sqs_queue_url: str | None = None
    #: Scores go into the queue, too, rather than to Langfuse.
    export_scores: bool = False
    #: Shut tracing down on SIGTERM, SIGINT, SIGHUP and SIGQUIT, before their default action ends the process.
    handle_signals: bool = True
    #: The process may be frozen or killed between two invocations: what one has made is sent, or in the spool, before
    #: its outermost observation ends.
    serverless: bool = False
    #: Keep a trace with an error whatever the sample rate.
    keep_errors: bool = True
    #: Keep a trace that took longer, whatever the sample rate.
    keep_slower_than: float | None = None
    #: Rules that decide about a trace before `sample_rate` does (docs/sampling.md); the first verdict counts.
    sampling: tuple[Rule, ...] = ()
    #: Believe `traceparent`, baggage, `x-user-id` and `x-session-id` of incoming requests.
    trusted_request_headers: bool = False
    #: Hosts (globs allowed) that may get trace and user headers of outgoing requests.
    propagate_to: tuple[str, ...] = ()
    #: Export an observation whose parent Langfuse does not get below its nearest ancestor that it gets.
    reparent_filtered: bool = True

    #: Names of fields that were left out and have no default here.
    unset: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Check every field, and fill the preset's."""
        unset = frozenset(name for name in _WITHOUT_DEFAULT if getattr(self, name) is None)
        errors: list[str] = []
        values: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            if (value := getattr(self, name)) is not None:
                _add_parsed(values, errors, name, setting, value)
            elif name not in _OPTIONAL:
                errors.append(_sentence(f"{name}=None", Invalid("is missing", "a value", ""), f"leave {name} out"))
        errors += _cross_checks(values)
        if errors:
            raise ConfigError("\n".join(errors))
        preset = preset_of(values["environment"])
        preset = preset._replace(flush_at=min(preset.flush_at, values["max_buffer_spans"]))
        values = {**preset._asdict(), **values, "unset": unset}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def exports(self) -> tuple[Export, ...]:
        """The destinations of `export`, the first is preferred."""
        return self.export if isinstance(self.export, tuple) else (self.export,)

    def __repr__(self) -> str:
        """All settings; the secret key only as present or missing."""
        return (
            f"TracingConfig({', '.join(f'{name}={item.show(getattr(self, name))}' for name, item in SETTINGS.items())})"
        )


class Setting(NamedTuple):
    """One field: how a value is checked, and the environment variables that may set it, the first one wins."""

    parse: Parser
    #: Langfuse's or our own variables.
    langfuse: tuple[str, ...]
    #: OpenTelemetry's, each with what reads it.
    otel: tuple[tuple[str, OtelReader], ...] = ()
    secret: bool = False

    def show(self, value: object) -> str:
        """Return the value for a message; a secret that was put in the wrong place is masked too."""
        if isinstance(value, Mapping) and self.secret:
            return f"{{{', '.join(f'{shown(name)}: ***' for name in value)}}}"
        return "***" if self.secret and value is not None else shown(value)

    @property
    def example(self) -> str:
        """A value that would do, as a shell assigns it."""
        try:
            self.parse(object())
        except Invalid as invalid:
            return invalid.variable
        raise AssertionError


SETTINGS: Mapping[str, Setting] = {
    "public_key": Setting(parsing.public_key, ("LANGFUSE_PUBLIC_KEY",)),
    "secret_key": Setting(parsing.secret_key, ("LANGFUSE_SECRET_KEY",), secret=True),
    "base_url": Setting(parsing.base_url, ("LANGFUSE_BASE_URL", "LANGFUSE_HOST")),
    "environment": Setting(
        parsing.environment,
        ("LANGFUSE_TRACING_ENVIRONMENT",),
        (
            ("OTEL_RESOURCE_ATTRIBUTES", otel.resource_attribute("deployment.environment.name")),
            ("OTEL_RESOURCE_ATTRIBUTES", otel.resource_attribute("deployment.environment")),
        ),
    ),
    "release": Setting(
        parsing.text,
        ("LANGFUSE_RELEASE",),
        (("OTEL_RESOURCE_ATTRIBUTES", otel.resource_attribute("service.version")),),
    ),
    "sample_rate": Setting(
        parsing.number(0.0, 1.0, example="0.1"),
        ("LANGFUSE_SAMPLE_RATE",),
        (("OTEL_TRACES_SAMPLER", otel.constant_sampler), ("OTEL_TRACES_SAMPLER_ARG", otel.sampler_argument)),
    ),
    "flush_interval": Setting(
        parsing.number(0.001, 3600.0, example="5.0"),
        ("LANGFUSE_FLUSH_INTERVAL",),
        (("OTEL_BSP_SCHEDULE_DELAY", otel.milliseconds(0.001, 3600.0, example="5000")),),
    ),
    "flush_at": Setting(
        parsing.integer(1, example="100"),
        ("LANGFUSE_FLUSH_AT",),
        (("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", otel.plain),),
    ),
    "timeout": Setting(
        parsing.number(0.001, 3600.0, example="5.0"),
        ("LANGFUSE_TIMEOUT",),
        # Seconds, as OpenTelemetry's Python SDK reads them (its specification says milliseconds).
        (("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", otel.plain), ("OTEL_EXPORTER_OTLP_TIMEOUT", otel.plain)),
    ),
    "shutdown_timeout": Setting(parsing.number(0.0, 3600.0, example="5.0"), ("LANGFUSE_SHUTDOWN_TIMEOUT",)),
    "max_buffer_spans": Setting(parsing.integer(1, example="100000"), ("LANGFUSE_MAX_BUFFER_SPANS",)),
    "max_buffer_bytes": Setting(parsing.integer(1, example="67108864"), ("LANGFUSE_MAX_BUFFER_BYTES",)),
    "spool_path": Setting(parsing.file_path, ("LANGFUSE_SPOOL_PATH",)),
    "breaker_failure_threshold": Setting(parsing.integer(1, example="10"), ("LANGFUSE_BREAKER_FAILURE_THRESHOLD",)),
    "breaker_recovery_timeout": Setting(
        parsing.number(0.001, 86400.0, example="300.0"), ("LANGFUSE_BREAKER_RECOVERY_TIMEOUT",)
    ),
    "breaker_slow_call": Setting(parsing.number(0.001, 3600.0, example="2.0"), ("LANGFUSE_BREAKER_SLOW_CALL",)),
    "export": Setting(parsing.choices("http", "kafka", "sqs"), ("LANGFUSE_EXPORT",)),
    "kafka_brokers": Setting(kafka_parsers.brokers, ("LANGFUSE_KAFKA_BROKERS",)),
    "kafka_topic": Setting(kafka_parsers.topic, ("LANGFUSE_KAFKA_TOPIC",)),
    "kafka_options": Setting(kafka_parsers.kafka_options, ("LANGFUSE_KAFKA_OPTIONS",), secret=True),
    "sqs_queue_url": Setting(parsing.queue_url, ("LANGFUSE_SQS_QUEUE_URL",)),
    "export_scores": Setting(parsing.boolean, ("LANGFUSE_EXPORT_SCORES",)),
    "handle_signals": Setting(parsing.boolean, ("LANGFUSE_HANDLE_SIGNALS",)),
    "serverless": Setting(parsing.boolean, ("LANGFUSE_SERVERLESS",)),
    "keep_errors": Setting(parsing.boolean, ("LANGFUSE_KEEP_ERRORS",)),
    "keep_slower_than": Setting(parsing.number(0.001, 86400.0, example="2.0"), ("LANGFUSE_KEEP_SLOWER_THAN",)),
    "sampling": Setting(sampling_rules, ("LANGFUSE_SAMPLING",)),
    "trusted_request_headers": Setting(parsing.boolean, ("LANGFUSE_TRUSTED_REQUEST_HEADERS",)),
    "propagate_to": Setting(parsing.hosts, ("LANGFUSE_PROPAGATE_TO",)),
    "reparent_filtered": Setting(parsing.boolean, ("LANGFUSE_REPARENT_FILTERED",)),
}

#: Arguments of `Langfuse` that `init_tracing` passes on.
CLIENT_SETTINGS: Mapping[str, Setting] = {
    "additional_headers": Setting(parsing.headers, ()),
    "mask": Setting(parsing.function, ()),
    "mask_otel_spans": Setting(parsing.function, ()),
    "should_export_span": Setting(parsing.function, ()),
}

_WITHOUT_DEFAULT = frozenset(
    {
        "public_key",
        "secret_key",
        "base_url",
        "release",
        "sample_rate",
        "flush_interval",
        "flush_at",
        "kafka_brokers",
        "sqs_queue_url",
    }
)
_OPTIONAL = _WITHOUT_DEFAULT | {"spool_path", "keep_slower_than", "breaker_slow_call"}


#: Where settings are looked up. For test harnesses, which supply what the environment lacks without changing it.
environ: Mapping[str, str] = os.environ


def preset_of(environment: str) -> Preset:
    """Return the preset of an environment; development's for an unknown one."""
    return PRESETS.get(environment, PRESETS["development"])


def get_tracing_config(**overrides: Any) -> TracingConfig:
    """Return the settings that `init_tracing(**overrides)` would use. `None` counts as not given.

    Raises:
        ConfigError: Arguments or environment variables can't be used; the message names all of them.
    """
    _check_names(overrides, SETTINGS)
    return resolved(RequestedSettings({name: value for name, value in overrides.items() if value is not None}, {}, []))


class RequestedSettings(NamedTuple):
    """The decisions of who called `init_tracing`, and what is wrong with those about the client."""

    settings: dict[str, Any]
    client_arguments: dict[str, Any]
    errors: list[str]


def given_settings(config: TracingConfig | None, overrides: Mapping[str, Any]) -> RequestedSettings:
    """Return what the caller of `init_tracing(config, **overrides)` decided; the rest has to be looked up.

    Raises:
        ConfigError: `config` is something else, or a keyword is unknown.
    """
    if config is not None and not isinstance(config, TracingConfig):
        raise ConfigError(
            f"config={shown(config)} is not a TracingConfig. Allowed: a TracingConfig, or settings as keywords. "
            f"Fix: init_tracing(TracingConfig(timeout=5.0)) or init_tracing(timeout=5.0)."
        )
    _check_names(overrides, {**SETTINGS, **CLIENT_SETTINGS})
    given = RequestedSettings({}, {}, [])
    if config is not None:
        given.settings.update({name: getattr(config, name) for name in SETTINGS if name not in config.unset})
    for name, value in overrides.items():
        if value is None:
            continue
        if name in CLIENT_SETTINGS:
            _add_parsed(given.client_arguments, given.errors, name, CLIENT_SETTINGS[name], value)
        else:
            given.settings[name] = value
    return given


def requested_public_key(given: RequestedSettings) -> str | None:
    """Return the public key that `resolved(given)` is going to have."""
    key = given.settings.get("public_key")
    if key is None and (found := _winner(SETTINGS["public_key"])) is not None:
        key = found.text
    return key


def resolved(given: RequestedSettings) -> TracingConfig:
    """Return the given settings, completed from the environment's variables.

    Raises:
        ConfigError: Something can't be used; the message names all of it.
    """
    values, errors = dict(given.settings), list(given.errors)
    bad: set[str] = set()
    for name, setting in SETTINGS.items():
        if name not in values and (found := _winner(setting)) is not None:
            try:
                values[name] = found.parse.of_text(found.text)
            except Invalid as invalid:
                what = f"{found.place}={setting.show(found.text)}"
                errors.append(_sentence(what, invalid, found.fix(setting, invalid)))
                bad.add(name)
    errors += _sdk_variables()
    # What another setting has to fit to is not known: one mistake is one error.
    for name in bad & {"max_buffer_spans"}:
        values[name] = parsing.LARGEST
    values.setdefault("base_url", DEFAULT_BASE_URL)
    config = None
    try:
        config = TracingConfig(**values)
        errors += _missing_for_export(config, bad)
    except ConfigError as error:
        errors.append(str(error))
    if errors or config is None:
        raise ConfigError("\n".join(errors))
    return config


def _add_parsed(values: dict[str, Any], errors: list[str], name: str, setting: Setting, value: object) -> None:
    """Check an argument: add it to the values, or a sentence to the errors."""
    try:
        values[name] = setting.parse(value)
    except Invalid as invalid:
        errors.append(_sentence(f"{name}={setting.show(value)}", invalid, f"pass {name}={invalid.example}"))


def _check_names(overrides: Mapping[str, Any], known: Mapping[str, Setting]) -> None:
    """Raise `ConfigError` for an unknown keyword, with a suggestion."""
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise ConfigError("\n".join(_unknown(name, known) for name in unknown))


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    return f"unknown setting {shown(name)}{did_you_mean(name, known, what='settings')}"


def _sdk_variables() -> list[str]:
    """Check what the SDK reads itself; it would raise a bare `ValueError` (langfuse 5.0.4, resource_manager.py)."""
    name = "LANGFUSE_MEDIA_UPLOAD_THREAD_COUNT"
    try:
        parsing.integer(0, example="1").of_text(os.environ.get(name, "1"))
    except Invalid as invalid:
        return [_sentence(f"{name}={shown(os.environ[name])}", invalid, f"set {name}={invalid.example}, or unset it")]
    return []


class _Variable(NamedTuple):
    """An environment variable that is set for a field: its text, and how it is read."""

    name: str
    text: str
    parse: Parser
    part: str = ""

    @property
    def place(self) -> str:
        """The variable, or the part of it that is meant."""
        return f"{self.name}: {self.part}" if self.part else self.name

    def fix(self, setting: Setting, invalid: Invalid) -> str:
        """Return how to mend it."""
        first = setting.langfuse[0]
        if self.name == first:
            return f"set {first}={invalid.variable}"
        ours = f"set {first}={setting.example}, which wins over {self.name}"
        return ours if self.parse is setting.parse else f"{ours}, or set {self.name}={invalid.variable}"


def _winner(setting: Setting) -> _Variable | None:
    """Return the environment variable that decides about this field, if one does."""
    for name in setting.langfuse:
        if text := environ.get(name, "").strip():
            return _Variable(name, text, setting.parse)
    for name, read in setting.otel:
        if (text := os.environ.get(name, "").strip()) and (reading := read(text, setting.parse)) is not None:
            return _Variable(name, *reading)
    return None


def _cross_checks(values: Mapping[str, Any]) -> list[str]:
    errors = []
    public, secret = values.get("public_key"), values.get("secret_key")
    if public is not None and public == secret:
        errors.append("public_key and secret_key are the same. Fix: copy both from the project's settings in Langfuse.")
    flush_at, spans = values.get("flush_at"), values.get("max_buffer_spans")
    if flush_at is not None and spans is not None and flush_at > spans:
        errors.append(
            f"flush_at={flush_at} exceeds the size of the buffer. Allowed: at most max_buffer_spans={spans}. "
            f"Fix: lower flush_at (LANGFUSE_FLUSH_AT) or raise max_buffer_spans (LANGFUSE_MAX_BUFFER_SPANS)."
        )
    return errors


def _missing_for_export(config: TracingConfig, bad: Collection[str]) -> list[str]:
    return [
        f"export={shown(config.export)} needs {name}. "
        f"Fix: set LANGFUSE_{name.upper()}={SETTINGS[name].example}, or pass {name}."
        for export, name in (("kafka", "kafka_brokers"), ("sqs", "sqs_queue_url"))
        if export in config.exports and getattr(config, name) is None and name not in bad
    ]


def _sentence(what: str, invalid: Invalid, fix: str) -> str:
    return f"{what} {invalid.problem}. Allowed: {invalid.allowed}. Fix: {fix}."


def differences(installed: TracingConfig, given: Mapping[str, Any]) -> list[str]:
    """Return the differences between the installed and the given settings: one phrase a field, secrets masked."""
    asked = TracingConfig(**cast("dict[str, Any]", {"environment": installed.environment, **given}))
    phrases = []
    for name in given:
        ours, theirs = getattr(installed, name), getattr(asked, name)
        if ours != theirs:
            setting = SETTINGS[name]
            phrases.append(
                f"{name} stays {'as it was' if setting.secret else setting.show(ours)} (asked: {setting.show(theirs)})"
            )
    return phrases
