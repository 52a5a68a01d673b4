"""The page docs/settings.md: all settings of production tracing, from `TracingConfig` itself. `make docs` writes it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from pytest_langfuse.tracing import config
from pytest_langfuse.tracing.config import SETTINGS, TracingConfig

_HEAD = """\
# Settings of production tracing

Fields of `TracingConfig` and keywords of `init_tracing`, with the variables that set them, the first one wins
([Production tracing](tracing.md#settings)). "preset" depends on `environment`. Written by `make docs`.

| setting | default | unit | variables | |
|---|---|---|---|---|
"""
_UNITS = {
    "sample_rate": "0.0 to 1.0",
    "flush_at": "spans",
    "max_buffer_spans": "spans",
    "max_buffer_bytes": "bytes",
    "breaker_failure_threshold": "failures",
}
_SECONDS = {
    "flush_interval",
    "timeout",
    "shutdown_timeout",
    "breaker_recovery_timeout",
    "breaker_slow_call",
    "keep_slower_than",
}
_PRESET = {"sample_rate", "flush_interval", "flush_at"}


def page() -> str:
    """Return the page."""
    comments = _comments()
    return _HEAD + "".join(
        _row(field, comments.get(field.name, "")) for field in dataclasses.fields(TracingConfig) if field.init
    )


def _row(field: dataclasses.Field[object], comment: str) -> str:
    name, setting = field.name, SETTINGS[field.name]
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    default = "preset" if name in _PRESET else f"`{value!r}`"
    unit = "seconds" if name in _SECONDS else _UNITS.get(name, "")
    variables = [*setting.langfuse, *(variable for variable, _ in setting.otel)]
    shown = ", ".join(f"`{variable}`" for variable in dict.fromkeys(variables))
    return f"| `{name}` | {default} | {unit} | {shown} | {comment} |\n"


def _comments() -> dict[str, str]:
    """Return what the source says of each field, by its name; a comment holds for all fields up to the next."""
    found: dict[str, str] = {}
    lines: list[str] = []
    after_field = False
    source = (
        Path(str(config.__file__)).read_text().partition("class TracingConfig:")[2].partition("def __post_init__")[0]
    )
    for line in source.splitlines():
        text = line.strip()
        if text.startswith("#: "):
            lines = [text[3:]] if after_field else [*lines, text[3:]]
            after_field = False
        elif match := re.match(r"(\w+): .* = ", text):
            found[match[1]] = " ".join(lines).replace("|", "\\|")
            after_field = True
        elif not text:
            lines = []
    return found
