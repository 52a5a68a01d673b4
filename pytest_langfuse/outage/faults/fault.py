"""The list of faults, filled by the modules beside this one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from pytest_langfuse.outage.fault_options import FaultOptions
from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.paths import suggestion

if TYPE_CHECKING:
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer

#: Answers a request as Langfuse does when all is well, and keeps what was sent.
Answer = Callable[[httpx.Request], httpx.Response]


@dataclass(frozen=True, slots=True)
class Strike:
    """A request that is struck: the exchange, the options, and the healthy server for faults that still use it."""

    exchange: Exchange
    options: FaultOptions
    answer: Answer

    def delay(self, default: float) -> float:
        """Seconds of the option `delay`."""
        return default if self.options.delay is None else self.options.delay


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to fail. `description` is the docstring of its function."""

    name: str
    description: str

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return self.description.split("\n", 1)[0]


@dataclass(frozen=True, slots=True)
class ServerFault(Fault):
    """Strikes when a request has arrived.

    delivers: Langfuse takes what was sent all the same.
    repeating: `after` and `times` repeat.
    endpoints: the only endpoints that can fail so; `None` for all.
    """

    strike: Callable[[Strike], None]
    delivers: bool = False
    repeating: bool = False
    endpoints: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ClientFault(Fault):
    """Strikes before a connection exists, so the client has to be sent elsewhere: `base_url(server)`."""

    base_url: Callable[[LangfuseServer], str]


#: All faults by name, in the order in which they are listed and run; registered by the modules beside this one.
FAULTS: dict[str, Fault] = {}


def find_fault(name: str) -> Fault:
    """The fault of that name. Raises `ValueError` with a suggestion."""
    if not isinstance(name, str):
        raise TypeError(f"expected the name of a fault, got {name!r}")
    fault = FAULTS.get(name)
    if fault is None:
        raise ValueError(f"unknown fault {name!r}{suggestion(name, FAULTS)} (faults: {', '.join(FAULTS)})")
    return fault


def at_server(
    *, delivers: bool = False, repeating: bool = False, endpoints: tuple[str, ...] | None = None
) -> Callable[[Callable[[Strike], None]], ServerFault]:
    """Register a function as a fault of the server."""

    def register(function: Callable[[Strike], None]) -> ServerFault:
        name, description = _described(function)
        fault = ServerFault(name, description, function, delivers, repeating, endpoints)
        FAULTS[name] = fault
        return fault

    return register


def at_client(function: Callable[[LangfuseServer], str]) -> ClientFault:
    """Register a function as a fault that the client meets before it has a connection."""
    name, description = _described(function)
    fault = ClientFault(name, description, function)
    FAULTS[fault.name] = fault
    return fault


def _described(function: Callable[..., object]) -> tuple[str, str]:
    return function.__name__, inspect.getdoc(function) or ""
