"""The errors of confluent-kafka, in words that may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.shown import shown

_MASK: Final = "***"
#: librdkafka cuts its texts; of a value that is longer than this, the beginning is looked for.
_LONGEST: Final = 100
#: Shorter values are masked where they stand alone: `1` is also a part of other numbers.
_SHORTEST: Final = 6
#: Where librdkafka shows values that it has taken apart.
_VALUES: Final = (re.compile(r'(?<=alue )"[^"]*("|$)'), re.compile(r"(?<=value )\S+(?= is outside)"))

#: The beginning of what librdkafka says about options that don't fit to each other.
_TOGETHER: Final = "Failed to create producer"

#: The producer has failed for good, or was never able to send.
FATAL: Final = frozenset({"_FATAL", "_STATE"})
#: Errors that say nothing about the brokers but that they were not reached.
UNREACHABLE: Final = frozenset({"_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_TIMED_OUT", "_TIMED_OUT_QUEUE"})


def error_of(error: BaseException) -> Any:
    """Return the `KafkaError` in an exception of confluent-kafka, which may be the cause of a `SystemError`."""
    for candidate in (error, error.__cause__, error.__context__):
        if candidate is not None and candidate.args and hasattr(candidate.args[0], "code"):
            return candidate.args[0]
    return error


def name_of(error: Any) -> str:
    """Return librdkafka's name of an error, or the class of another exception."""
    return str(error.name()) if hasattr(error, "name") and callable(error.name) else type(error).__name__


def text_of(error: Any) -> str:
    """Return what an error says."""
    found = error_of(error) if isinstance(error, BaseException) else error
    return str(found.str()) if hasattr(found, "str") else str(found)


def is_fatal(error: Any) -> bool:
    """Return whether the producer that reports this error has failed for good."""
    return bool(getattr(error, "fatal", bool)()) or name_of(error) in FATAL


def refused_options(
    make: Callable[[Mapping[str, Any]], object], usual: Mapping[str, Any], options: Mapping[str, Any]
) -> str | None:
    """Return what librdkafka has against some options, without their values; `None` if it takes them."""
    try:
        make({**usual, **options})
    except Exception as error:  # noqa: BLE001 - a KafkaException, or a TypeError of a value
        text = _without_values(text_of(error), options)
    else:
        return None
    if any(name in text for name in options):
        return text
    # librdkafka often names an older synonym, and sometimes nothing.
    refused = [name for name, value in options.items() if _is_refused(make, name, value)] or list(options)
    return f"{text} ({', '.join(map(shown, refused))})"


def _is_refused(make: Callable[[Mapping[str, Any]], object], name: str, value: Any) -> bool:
    """Return whether a value can't be used, whatever the other options are."""
    try:
        make({name: value, "log_level": 0})
    except Exception as error:  # noqa: BLE001 - as above
        return not text_of(error).startswith(_TOGETHER)
    return False


def _without_values(text: str, options: Mapping[str, Any]) -> str:
    for value in sorted(map(_as_text, options.values()), key=len, reverse=True):
        if len(value) > _LONGEST:
            text = re.sub(re.escape(value[:_LONGEST]) + r".*", _MASK, text, flags=re.DOTALL)
        elif len(value) >= _SHORTEST:
            text = text.replace(value, _MASK)
        elif value:
            text = re.sub(rf"(?<![\w.]){re.escape(value)}(?![\w.])", _MASK, text)
    for pattern in _VALUES:
        text = pattern.sub(_MASK, text)
    return readable(" ".join(text.split()))


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except ValueError:
        # An integer of thousands of digits.
        return ""
