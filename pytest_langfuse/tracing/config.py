"""Settings of production tracing: one frozen value, and where each of its fields comes from.

Order: argument, then `LANGFUSE_*`, then `OTEL_*`, then the preset of the environment. The names of environment
variables are Langfuse's own where it has one; an empty variable counts as unset (OpenTelemetry specification,
"Environment Variable Specification: Parsing empty value").
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.setting_parsers import Invalid, Parser
from pytest_langfuse.tracing.suggest import did_you_mean

DEFAULT_BASE_URL = "https://cloud.langfuse.com"


class ConfigError(ValueError):
    """A setting that can't be used. The message names each bad setting, its value, what is allowed and the fix."""


class UnknownSettingError(ConfigError, TypeError):
    """An unknown keyword; also a `TypeError`, as for any wrong keyword argument."""


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

#: A secret key, and what stands before the host in an address.
_SECRET = re.compile(r"\bsk-[\w-]+|(?<=://)[^/\s]*(?=@)")

# The type says what a reader of a finished config gets; `None` stands for "not given" until `__post_init__`.
_PRESET: Any = None


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
    #: Where finished spans go.
    export: Literal["http", "kafka", "sqs"] = "http"
    #: Shut tracing down on SIGTERM and SIGINT, before the previous handler runs.
    handle_signals: bool = True
    #: Keep a trace with an error whatever the sample rate.
    keep_errors: bool = True
    #: Keep a trace that took longer, whatever the sample rate.
    keep_slower_than: float | None = None
    #: Believe `traceparent`, baggage, `x-user-id` and `x-session-id` of incoming requests.
    trusted_request_headers: bool = False
    #: Hosts (globs allowed) that may get trace and user headers of outgoing requests.
    propagate_to: tuple[str, ...] = ()

    #: Names of fields that were left out and have no default here.
    unset: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Check every field, and fill the preset's."""
        unset = frozenset(name for name in _WITHOUT_DEFAULT if getattr(self, name) is None)
        errors, values = [], {}
        for name, setting in SETTINGS.items():
            if (value := getattr(self, name)) is not None:
                try:
                    values[name] = setting.parse(value)
                except Invalid as invalid:
                    errors.append(_sentence(f"{name}={setting.show(value)}", invalid, f"pass {name}={invalid.example}"))
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
    #: OpenTelemetry's, each with what makes our value of its text (`None`: the variable says nothing about this).
    otel: tuple[tuple[str, parsing.FromText], ...] = ()
    secret: bool = False

    def show(self, value: object) -> str:
        """Return the value for a message; a secret that was put in the wrong place is masked too."""
        return "***" if self.secret and value is not None else _SECRET.sub("***", repr(value))


SETTINGS: Mapping[str, Setting] = {
    "public_key": Setting(parsing.public_key, ("LANGFUSE_PUBLIC_KEY",)),
    "secret_key": Setting(parsing.secret_key, ("LANGFUSE_SECRET_KEY",), secret=True),
    "base_url": Setting(parsing.base_url, ("LANGFUSE_BASE_URL", "LANGFUSE_HOST")),
    "environment": Setting(
        parsing.environment,
        ("LANGFUSE_TRACING_ENVIRONMENT",),
        (
            ("OTEL_RESOURCE_ATTRIBUTES", parsing.resource_attribute("deployment.environment.name")),
            ("OTEL_RESOURCE_ATTRIBUTES", parsing.resource_attribute("deployment.environment")),
        ),
    ),
    "release": Setting(
        parsing.text,
        ("LANGFUSE_RELEASE",),
        (("OTEL_RESOURCE_ATTRIBUTES", parsing.resource_attribute("service.version")),),
    ),
    "sample_rate": Setting(
        parsing.number(0.0, 1.0, example="0.1"),
        ("LANGFUSE_SAMPLE_RATE",),
        (("OTEL_TRACES_SAMPLER", parsing.constant_sampler), ("OTEL_TRACES_SAMPLER_ARG", parsing.sampler_argument)),
    ),
    "flush_interval": Setting(
        parsing.number(0.001, 3600.0, example="5.0"),
        ("LANGFUSE_FLUSH_INTERVAL",),
        (("OTEL_BSP_SCHEDULE_DELAY", parsing.milliseconds),),
    ),
    "flush_at": Setting(
        parsing.integer(1, example="100"),
        ("LANGFUSE_FLUSH_AT",),
        (("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", parsing.as_text),),
    ),
    "timeout": Setting(
        parsing.number(0.001, 3600.0, example="5.0"),
        ("LANGFUSE_TIMEOUT",),
        # Seconds, as OpenTelemetry's Python SDK reads them (its specification says milliseconds).
        (("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", parsing.as_text), ("OTEL_EXPORTER_OTLP_TIMEOUT", parsing.as_text)),
    ),
    "shutdown_timeout": Setting(parsing.number(0.0, 3600.0, example="5.0"), ("LANGFUSE_SHUTDOWN_TIMEOUT",)),
    "max_buffer_spans": Setting(parsing.integer(1, example="100000"), ("LANGFUSE_MAX_BUFFER_SPANS",)),
    "max_buffer_bytes": Setting(parsing.integer(1, example="67108864"), ("LANGFUSE_MAX_BUFFER_BYTES",)),
    "spool_path": Setting(parsing.file_path, ("LANGFUSE_SPOOL_PATH",)),
    "breaker_failure_threshold": Setting(parsing.integer(1, example="10"), ("LANGFUSE_BREAKER_FAILURE_THRESHOLD",)),
    "breaker_recovery_timeout": Setting(
        parsing.number(0.001, 86400.0, example="300.0"), ("LANGFUSE_BREAKER_RECOVERY_TIMEOUT",)
    ),
    "export": Setting(parsing.choice("http", "kafka", "sqs"), ("LANGFUSE_EXPORT",)),
    "handle_signals": Setting(parsing.boolean, ("LANGFUSE_HANDLE_SIGNALS",)),
    "keep_errors": Setting(parsing.boolean, ("LANGFUSE_KEEP_ERRORS",)),
    "keep_slower_than": Setting(parsing.number(0.001, 86400.0, example="2.0"), ("LANGFUSE_KEEP_SLOWER_THAN",)),
    "trusted_request_headers": Setting(parsing.boolean, ("LANGFUSE_TRUSTED_REQUEST_HEADERS",)),
    "propagate_to": Setting(parsing.hosts, ("LANGFUSE_PROPAGATE_TO",)),
}

_WITHOUT_DEFAULT = frozenset(
    {"public_key", "secret_key", "base_url", "release", "sample_rate", "flush_interval", "flush_at"}
)
_OPTIONAL = _WITHOUT_DEFAULT | {"spool_path", "keep_slower_than"}


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
    check_names(overrides)
    values: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    errors = []
    for name, setting in SETTINGS.items():
        if name in values:
            continue
        for variable, raw in _candidates(setting):
            try:
                values[name] = setting.parse(raw)
            except Invalid as invalid:
                first = setting.langfuse[0]
                fix = f"set {first}={invalid.example}" + ("" if variable == first else f", which wins over {variable}")
                errors.append(_sentence(f"{variable}={setting.show(raw)}", invalid, fix))
            break
    errors += _sdk_variables()
    values.setdefault("base_url", DEFAULT_BASE_URL)
    try:
        config = TracingConfig(**values)
    except ConfigError as error:
        raise ConfigError("\n".join([*errors, str(error)])) from None
    if errors:
        raise ConfigError("\n".join(errors))
    return config


def given_settings(config: TracingConfig | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the caller of `init_tracing(config, **overrides)` decided; the rest has to be looked up."""
    check_names(overrides)
    given: dict[str, Any] = {}
    if config is not None:
        given = {name: getattr(config, name) for name in SETTINGS if name not in config.unset}
    return {**given, **{name: value for name, value in overrides.items() if value is not None}}


def check_names(overrides: Mapping[str, Any]) -> None:
    """Raise `UnknownSettingError` for an unknown keyword, with a suggestion."""
    unknown = [name for name in overrides if name not in SETTINGS]
    if unknown:
        raise UnknownSettingError("\n".join(_unknown(name) for name in unknown))


def _unknown(name: str) -> str:
    return f"unknown setting {name!r}{did_you_mean(name, SETTINGS, what='settings')}"


def _sdk_variables() -> list[str]:
    """Check what the SDK reads itself; it would raise a bare `ValueError` (langfuse 5.0.4, resource_manager.py)."""
    name = "LANGFUSE_MEDIA_UPLOAD_THREAD_COUNT"
    try:
        parsing.integer(0, example="1")(os.environ.get(name, "1"))
    except Invalid as invalid:
        return [_sentence(f"{name}={os.environ[name]!r}", invalid, f"set {name}={invalid.example}, or unset it")]
    return []


def _candidates(setting: Setting) -> list[tuple[str, str]]:
    """Environment variables that are set for this field, the winner first, with the text that they give it."""
    found = [(name, environ[name].strip()) for name in setting.langfuse if environ.get(name, "").strip()]
    for name, convert in setting.otel:
        if (text := os.environ.get(name, "").strip()) and (value := convert(text)) is not None:
            found.append((name, value))
    return found


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
