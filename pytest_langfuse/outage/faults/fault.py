"""A fault: a way in which Langfuse fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pytest_langfuse.outage.fault_options import FaultOptions
from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.http.http_server import Answer
from pytest_langfuse.standin.queue.queue_failure import EITHER, Kind, QueueName


class Addresses(Protocol):
    """The base URLs of a server at which clients meet faults."""

    @property
    def port(self) -> int:
        """The port on which the server listens."""

    @property
    def tls_url(self) -> str:
        """A base URL at which the TLS handshake fails."""

    @property
    def refusing_url(self) -> str:
        """A base URL at which connections are refused."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A request that a fault strikes: the exchange, the options, and `answer`, for faults that let Langfuse answer."""

    exchange: Exchange
    options: FaultOptions
    answer: Answer

    def delay(self, default: float) -> float:
        """Return the option `delay` in seconds, or `default` if it was not given."""
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
    """A fault that strikes when a request has arrived.

    Attributes:
        strike: Lets the fault happen.
        delivers: Whether Langfuse accepts what was sent all the same.
        repeating: Whether `after` and `times` repeat.
        endpoints: The only endpoints that can fail so; `None` for all.
    """

    strike: Callable[[Strike], None]
    delivers: bool = False
    repeating: bool = False
    endpoints: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ClientFault(Fault):
    """A fault that strikes before there is a connection, so the client has to connect to `base_url(server)`."""

    base_url: Callable[[Addresses], str]


@dataclass(frozen=True, slots=True)
class QueueFault(Fault):
    """A fault of the queue that spans are exported to.

    Attributes:
        kind: The queue's way to fail.
        delay: The default of the option `delay`, in seconds; `None` for a fault that has none.
        queues: The queues that can fail so, as messages name them.
    """

    kind: Kind
    delay: float | None = None
    queues: tuple[QueueName, ...] = EITHER

    @property
    def lasting(self) -> bool:
        """True of a state of the queue; the other faults are decided with each request."""
        return self.kind in {"down", "slow"}


def at_server(
    *, delivers: bool = False, repeating: bool = False, endpoints: tuple[str, ...] | None = None
) -> Callable[[Callable[[Strike], None]], ServerFault]:
    """Make a fault of the server out of a function."""

    def make(function: Callable[[Strike], None]) -> ServerFault:
        name, description = _described(function)
        return ServerFault(name, description, function, delivers, repeating, endpoints)

    return make


def at_client(function: Callable[[Addresses], str]) -> ClientFault:
    """Make a fault that the client meets before it has a connection out of a function."""
    name, description = _described(function)
    return ClientFault(name, description, function)


def at_queue(
    kind: Kind, *, delay: float | None = None, queues: tuple[QueueName, ...] = EITHER
) -> Callable[[Callable[[], None]], QueueFault]:
    """Make a fault of the queue out of a function that describes it."""

    def make(function: Callable[[], None]) -> QueueFault:
        return QueueFault(*_described(function), kind, delay, queues)

    return make


def _described(function: Callable[..., object]) -> tuple[str, str]:
    return function.__name__, inspect.getdoc(function) or ""
