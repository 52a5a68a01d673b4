"""OpenTelemetry's environment variables as settings: in their own units, and silent where they say nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.setting_parsers import Parser, choice, number
from pytest_langfuse.tracing.shown import shown
from pytest_langfuse.tracing.suggest import closest


class Reading(NamedTuple):
    """The text of a variable that is about a setting, and the parser for it. `part` names a part of the variable."""

    text: str
    parse: Parser
    part: str = ""


#: Takes the text of a variable and the parser of the setting. Returns `None` if the text says nothing about it.
OtelReader = Callable[[str, Parser], Reading | None]

#: Samplers of the specification that take no argument, with their rates.
_CONSTANT = {
    "always_on": "1.0",
    "always_off": "0.0",
    "parentbased_always_on": "1.0",
    "parentbased_always_off": "0.0",
}
_RATIO = ("traceidratio", "parentbased_traceidratio")
_KNOWN_SAMPLERS = (*_CONSTANT, *_RATIO, "parentbased_jaeger_remote", "jaeger_remote", "xray")


def plain(text: str, parse: Parser) -> Reading:
    """Return the variable as it is."""
    return Reading(text, parse)


def milliseconds(lowest: float, highest: float, *, example: str) -> OtelReader:
    """Return a reader of milliseconds; the bounds are those of the setting, in seconds."""
    in_milliseconds = number(lowest * 1000, highest * 1000, example=example)

    def check(value: Any) -> float:
        milliseconds: float = in_milliseconds(value)
        return milliseconds / 1000

    return lambda text, _parse: Reading(text, Parser(check, float))


def resource_attribute(key: str) -> OtelReader:
    """Return a reader of one attribute of `OTEL_RESOURCE_ATTRIBUTES` (`key=value,key=value`, percent-encoded)."""

    def read(text: str, parse: Parser) -> Reading | None:
        for item in text.split(","):
            name, separator, encoded = item.partition("=")
            if separator and name.strip() == key and encoded.strip():
                return Reading(unquote(encoded.strip()), parse, part=key)
        return None

    return read


def constant_sampler(text: str, parse: Parser) -> Reading | None:
    """Return the rate of `OTEL_TRACES_SAMPLER` if that is a sampler that takes no argument.

    Distributions may have samplers of other names, which are logged once; a name that is nearly one of the
    specification is a mistake.
    """
    name = text.lower()
    if name in _CONSTANT:
        return Reading(_CONSTANT[name], parse)
    if name not in _KNOWN_SAMPLERS:
        if closest(name, _KNOWN_SAMPLERS) is not None:
            return Reading(name, choice(*_KNOWN_SAMPLERS))
        failures.say_once(
            f"OTEL_TRACES_SAMPLER={shown(text)} does not set sample_rate: it is not a sampler of OpenTelemetry's "
            "specification. Fix: set LANGFUSE_SAMPLE_RATE."
        )
    return None


def sampler_argument(text: str, parse: Parser) -> Reading | None:
    """Return `OTEL_TRACES_SAMPLER_ARG`; it is a rate only for the ratio samplers."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    return Reading(text, parse) if sampler in _RATIO else None
