"""The ways in which Langfuse fails. The docstring of each fault names the real incidents that look like it."""

from __future__ import annotations

from typing import Final

from pytest_langfuse.arguments import shown
from pytest_langfuse.outage.faults.connection import dns_error, hang, refused, reset, tls_error
from pytest_langfuse.outage.faults.disguise import captive_portal, garbage, partial_success, redirect, truncated
from pytest_langfuse.outage.faults.fault import ClientFault, Fault, QueueFault, ServerFault, Strike
from pytest_langfuse.outage.faults.pace import drip, flapping, slow
from pytest_langfuse.outage.faults.queue import (
    broker_down,
    broker_slow,
    message_too_large,
    not_authorized,
    sqs_throttled,
)
from pytest_langfuse.outage.faults.status import (
    http_400,
    http_401,
    http_403,
    http_404,
    http_413,
    http_429,
    http_500,
    http_502,
    http_503,
    http_504,
)
from pytest_langfuse.suggest import did_you_mean

__all__ = ["FAULTS", "QUEUE_FAULTS", "ClientFault", "Fault", "QueueFault", "ServerFault", "Strike", "find_fault"]

#: All faults of Langfuse, from the plainest to the strangest: the order in which they are listed and run.
FAULTS: Final[dict[str, Fault]] = {
    "refused": refused,
    "hang": hang,
    "reset": reset,
    "slow": slow,
    "drip": drip,
    "http_400": http_400,
    "http_401": http_401,
    "http_403": http_403,
    "http_404": http_404,
    "http_413": http_413,
    "http_429": http_429,
    "http_500": http_500,
    "http_502": http_502,
    "http_503": http_503,
    "http_504": http_504,
    "redirect": redirect,
    "captive_portal": captive_portal,
    "partial_success": partial_success,
    "garbage": garbage,
    "truncated": truncated,
    "tls_error": tls_error,
    "dns_error": dns_error,
    "flapping": flapping,
}

#: Those of a queue between the application and Langfuse.
QUEUE_FAULTS: Final[dict[str, QueueFault]] = {
    "broker_down": broker_down,
    "broker_slow": broker_slow,
    "message_too_large": message_too_large,
    "not_authorized": not_authorized,
    "sqs_throttled": sqs_throttled,
}


def find_fault(name: str) -> Fault:
    """Return the fault of that name.

    Raises:
        TypeError: `name` is not a string.
        ValueError: there is no such fault; the message suggests one.
    """
    if not isinstance(name, str):
        raise TypeError(f"expected the name of a fault, got {shown(name)}")
    fault = FAULTS.get(name) or QUEUE_FAULTS.get(name)
    if fault is None:
        names = [*FAULTS, *QUEUE_FAULTS]
        raise ValueError(f"unknown fault {shown(name)}{did_you_mean(name, names)} (faults: {', '.join(names)})")
    return fault
