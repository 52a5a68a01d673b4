"""Hosts that may get the user and the session: `propagate_to`, matched against the address of a request.

When in doubt a host does not match: what is not sent can't leak.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable

import httpx

from pytest_langfuse.tracing.failures import logger

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
#: Clients disagree on where the host ends when one of these is in it, so no such address matches. The last three are
#: full stops to IDNA.
_AMBIGUOUS = re.compile("[\x00-\x20\x7f\\\\\u3002\uff0e\uff61]")
_AUTHORITY = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//([^/?#]*)", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PATTERN = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]+))?")


class AllowList:
    """Hosts that a request may go to, as `propagate_to` names them.

    `api.example.com` is that host, on any port; `api.example.com:8443` on that port only (the port of an address that
    names none is its scheme's). A leading `*.` stands for one or more labels, so `*.example.com` is every host below
    `example.com` but not `example.com` itself; any other `*` stands for characters within one label; `*` alone is
    every host. Case, a dot at the end and the scheme make no difference. Names beyond ASCII are compared in their IDNA
    form, IPv6 addresses (`[::1]`, `[::1]:8080`) in their short form.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = []
        for pattern in patterns:
            if (rule := _rule(pattern)) is not None:
                self._rules.append(rule)
            else:
                logger.warning("propagate_to has %r, which is not a valid host name: it matches no host.", pattern)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def allows(self, url: object) -> bool:
        """Return whether a request to `url` (a text, or an object whose text is one) may carry user and session."""
        if not self._rules or url is None:
            return False
        found = host_and_port(url)
        return found is not None and self._matches(*found)

    def _matches(self, host: str, port: int | None) -> bool:
        return any(wanted in {None, port} and name.fullmatch(host) for name, wanted in self._rules)


@functools.lru_cache(maxsize=16)
def allow_list(patterns: tuple[str, ...]) -> AllowList:
    """Return the list of these patterns, which is made once."""
    return AllowList(patterns)


def host_and_port(url: object) -> tuple[str, int | None] | None:
    """Return the normalised host and the port of an address, or `None` if it has no unambiguous host."""
    text = url.decode("latin-1") if isinstance(url, bytes) else str(url)
    return _host_and_port(text) if len(text) <= _LONGEST_CACHED else _host_and_port.__wrapped__(text)


#: Longer addresses are not remembered.
_LONGEST_CACHED = 512


@functools.lru_cache(maxsize=1024)
def _host_and_port(url: str) -> tuple[str, int | None] | None:
    authority = _AUTHORITY.match(url)
    if authority is None or _AMBIGUOUS.search(authority[1]) or authority[1].count("@") > 1:
        return None
    try:
        parsed = httpx.URL(f"{authority[0]}/")
        host = _host(parsed.raw_host.decode("ascii"))
        port = parsed.port or _DEFAULT_PORTS.get(parsed.scheme)
    except (httpx.InvalidURL, ValueError):
        return None
    return None if host is None else (host, port)


def _host(name: str) -> str | None:
    """Return the normalised form of a host name or IP address, or `None` if it is neither."""
    if ":" in name:
        try:
            return ipaddress.IPv6Address(name).compressed
        except ValueError:
            return None
    name = name.lower().removesuffix(".")
    if not name.isascii():
        # As httpx sends it, which is what the other clients make of it, or an error.
        name = httpx.URL(f"http://{name}/").raw_host.decode("ascii")
    return name if _NAME.fullmatch(name) else None


def _rule(pattern: str) -> tuple[re.Pattern[str], int | None] | None:
    parts = _PATTERN.fullmatch(pattern.strip().lower())
    if parts is None:
        return None
    port = None if parts["port"] is None else int(parts["port"])
    host = parts["host"]
    if host == "*":
        return re.compile(r".+"), port
    if host.startswith("["):
        found = _host(host[1:-1])
        return None if found is None else (re.compile(re.escape(found)), port)
    below, host = ("(?:[a-z0-9_-]+[.])+", host[2:]) if host.startswith("*.") else ("", host)
    try:
        labels = [_label(label) for label in host.removesuffix(".").split(".")]
    except (httpx.InvalidURL, ValueError):
        return None
    return re.compile(below + "[.]".join(labels)), port


def _label(label: str) -> str:
    if not label:
        raise ValueError
    if "*" in label:
        return "[a-z0-9_-]*".join(re.escape(piece) for piece in label.split("*"))
    found = _host(label)
    if found is None:
        raise ValueError
    return re.escape(found)
