"""The hosts and ports that are known to be Langfuse's or an OTLP exporter's, and those of proxies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self
from urllib.parse import urlsplit

#: Stands for this machine, by whatever name or address it is called.
THIS_MACHINE = "localhost"
_LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))


class HostPort(tuple[str, int]):
    """A host, as `normalized` returns it, and a port.

    Not a `NamedTuple`, nor are other classes that child processes load late, for a connection at their exit: making one
    evaluates a string, and Python then forgets that it ends by a KeyboardInterrupt, whose exit status is another.
    """

    __slots__ = ()

    def __new__(cls, host: str, port: int) -> Self:
        """Return the pair."""
        return super().__new__(cls, (host, port))

    @property
    def host(self) -> str:
        """The host."""
        return self[0]

    @property
    def port(self) -> int:
        """The port."""
        return self[1]


#: Langfuse's own regions (langfuse.com/security/data-regions).
_CLOUD = frozenset(
    HostPort(f"{region}cloud.langfuse.com", port) for region in ("", "us.", "jp.", "hipaa.") for port in (80, 443)
)
_VARIABLES = (
    "LANGFUSE_BASE_URL",
    "LANGFUSE_HOST",
    "LANGFUSE_OTEL_HOST",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)
#: An endpoint without a scheme is one of gRPC's.
_PORTS = {"http": 80, "https": 443, "": 4317}
_PROXY_PORTS = {"http": 80, "https": 443, "socks": 1080, "socks4": 1080, "socks5": 1080, "socks5h": 1080, "": 80}


class KnownEndpoints:
    """The endpoints that a captured test must not reach.

    They are named by variables (whatever they were when they were looked at), by `addresses()`, which yields pairs of
    a URL and of what it belongs to (clients, exporters), and by Langfuse's cloud regions. Only the exact host and port
    count, and never a proxy's.
    """

    def __init__(self, addresses: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._addresses = addresses
        self._from_variables: dict[HostPort, str] = {}

    def find(self, host: str, port: int) -> str | None:
        """Return what the endpoint belongs to, such as `LANGFUSE_BASE_URL`; `None` if it is not a known one."""
        endpoint = HostPort(normalized(host), port)
        known_as = self._find(endpoint)
        return None if known_as is None or endpoint in _proxies() else known_as

    def all(self) -> dict[HostPort, str]:
        """Return the endpoints that variables, clients and exporters name, each with what it belongs to."""
        self._read_variables()
        named = {found: owner for url, owner in self._addresses() if (found := _endpoint(url)) is not None}
        proxies = _proxies()
        return {
            endpoint: owner for endpoint, owner in {**named, **self._from_variables}.items() if endpoint not in proxies
        }

    def _read_variables(self) -> None:
        for name in _VARIABLES:
            if (value := os.environ.get(name)) and (found := _endpoint(value)) is not None:
                self._from_variables.setdefault(found, name)

    def _find(self, endpoint: HostPort) -> str | None:
        self._read_variables()
        if (name := self._from_variables.get(endpoint, "")) != "":
            return name
        if endpoint in _CLOUD:
            return "Langfuse Cloud"
        return next((owner for url, owner in self._addresses() if _endpoint(url) == endpoint), None)


@lru_cache(maxsize=1024)
def normalized(host: str) -> str:
    """Return the form in which a host is compared: the one address that a socket takes all its spellings for.

    Names and addresses of this machine (`localhost`, 127.0.0.1, ::1, and the unspecified ones, which connect to it)
    are one host: a Langfuse on a developer's machine is called by any of them.
    """
    name = host.rstrip(".").lower()
    if not name.isascii():
        try:
            # As a socket does: digits of other scripts are digits.
            name = name.encode("idna").decode()
        except UnicodeError:
            return name
    address = _address(name)
    if address is None:
        return THIS_MACHINE if name in {"", THIS_MACHINE} or name.endswith(f".{THIS_MACHINE}") else name
    return THIS_MACHINE if address.is_unspecified or address in _LOOPBACK else str(address)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    # A scope ("fe80::1%eth0") belongs to this machine, not to the address.
    text = name.partition("%")[0].strip("[]")
    try:
        address = ip_address(text)
    except ValueError:
        if text.split() != [text]:
            return None
        try:
            # "127.1", "0x7f000001", "2130706433", "0177.0.0.1": resolved without a resolver.
            return IPv4Address(socket.inet_aton(text))
        except OSError:
            return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=256)
def _endpoint(url: str) -> HostPort | None:
    return _parsed(url, _PORTS)


def _parsed(url: str, ports: dict[str, int]) -> HostPort | None:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port or ports.get(parts.scheme)
    except ValueError:
        return None
    return HostPort(normalized(parts.hostname), port) if parts.hostname and port else None


def _proxies() -> set[HostPort]:
    """Return the proxies of the environment, read as clients do; none if `NO_PROXY` is `*`."""
    # Imported here: a child process that connects to nothing saves it.
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    if "*" in (part.strip() for part in proxies.pop("no", "").split(",")):
        return set()
    # A proxy without a scheme speaks HTTP.
    found = (_parsed(url, _PROXY_PORTS) for url in proxies.values())
    return {endpoint for endpoint in found if endpoint is not None}
