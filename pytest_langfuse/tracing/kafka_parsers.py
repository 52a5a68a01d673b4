"""Checks of the settings of Kafka: see `setting_parsers`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.tracing.setting_parsers import Invalid, Parser, is_host, names
from pytest_langfuse.tracing.shown import shown

#: pytest shows no frame of this module: what is wrong is the caller's argument.
__tracebackhide__ = True

#: Options of librdkafka that settings of ours decide.
_DECIDED: Final = {
    "bootstrap.servers": "kafka_brokers",
    "metadata.broker.list": "kafka_brokers",
    "message.timeout.ms": "timeout",
    "delivery.timeout.ms": "timeout",
}
#: Options with which librdkafka starts, and no span is ever delivered or acknowledged.
_UNUSABLE: Final = {
    "transactional.id": "spans are sent without transactions",
    "delivery.report.only.error": "a span is exported when its delivery is reported",
    "enable.gapless.guarantee": "one message that times out would end the producer",
    "test.mock.num.brokers": "spans would go to a broker inside of this process",
}
#: A number in digits, and 0 in one of the forms that librdkafka reads.
_DIGITS: Final = re.compile(r"[0-9]{1,12}")
_ZERO: Final = re.compile(r"\s*[+-]?0[0x.]*\s*", re.IGNORECASE)
_ACKNOWLEDGEMENTS: Final = frozenset({"acks", "request.required.acks"})
#: Options that tracing reads itself, with librdkafka's limits.
_WHOLE_NUMBERS: Final = {
    "message.max.bytes": (1000, 1_000_000_000),
    "queue.buffering.max.kbytes": (1, 2_147_483_647),
}


def _brokers(value: Any) -> str:
    allowed, example = "HOST:PORT, or several separated by commas", "'kafka-1:9092,kafka-2:9092'"
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        value = ",".join(value)
    if not isinstance(value, str):
        raise Invalid("is not an address", allowed, example, wrong_type=True)
    addresses = [part.strip() for part in value.split(",") if part.strip()]
    for address in addresses:
        if not is_host(address) or "*" in address:
            raise Invalid(f"has {shown(address)}, which is not an address", allowed, example)
    if not addresses:
        raise Invalid("is empty", allowed, example)
    return ",".join(addresses)


#: Addresses of Kafka brokers.
brokers = Parser(_brokers)


#: A name of a Kafka topic (Kafka, Topic.java: legal characters and length, and neither "." nor "..").
topic = names(
    r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}",
    problem="is not the name of a topic",
    allowed="letters, digits, '.', '_' and '-', at most 249",
    example="'langfuse_spans'",
)


def _kafka_options(value: Any) -> dict[str, str | int | float | bool]:
    if not isinstance(value, Mapping):
        raise _bad_options("is not a dict", wrong_type=True)
    for name, option in value.items():
        if not isinstance(name, str) or not name.strip():
            raise _bad_options(f"has {shown(name)}, which is not the name of an option")
        if name in _DECIDED:
            raise _bad_options(f"has {shown(name)}, which {_DECIDED[name]} decides")
        if name in _UNUSABLE:
            raise _bad_options(f"has {shown(name)}, which can't be used: {_UNUSABLE[name]}")
        # Never with the value, which may be a secret.
        if not isinstance(option, str | int | float) or (isinstance(option, float) and not math.isfinite(option)):
            raise _bad_options(f"has a value for {shown(name)} that no option can have")
        if name in _WHOLE_NUMBERS and not _is_whole(option, *_WHOLE_NUMBERS[name]):
            lowest, highest = _WHOLE_NUMBERS[name]
            raise _bad_options(f"has a value for {shown(name)} that is not a whole number from {lowest} to {highest}")
        if name in _ACKNOWLEDGEMENTS and _ZERO.fullmatch(str(option)):
            raise _bad_options(f"has {shown(name)} without acknowledgements: nothing would say that a span was stored")
    return dict(value)


def _bad_options(problem: str, *, wrong_type: bool = False) -> Invalid:
    return Invalid(
        problem,
        "a dict (in a variable: a JSON object) of names of librdkafka to texts, numbers, true or false",
        "{'security.protocol': 'ssl'}",
        wrong_type=wrong_type,
        variable='\'{"security.protocol": "ssl"}\'',
    )


def _is_whole(option: str | float, lowest: int, highest: int) -> bool:
    if isinstance(option, bool) or (isinstance(option, str) and not _DIGITS.fullmatch(option)):
        return False
    number = int(option) if isinstance(option, str) else option
    return lowest <= number <= highest and number == int(number)


def _json(text_of_variable: str) -> Any:
    # Its errors are `ValueError`s, but for a text that is nested too deeply.
    try:
        return json.loads(text_of_variable)
    except RecursionError as error:
        raise ValueError(text_of_variable) from error


#: Options of librdkafka.
kafka_options = Parser(_kafka_options, _json)
