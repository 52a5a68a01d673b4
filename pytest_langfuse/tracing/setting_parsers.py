"""Checks of single settings: each takes an argument or the text of an environment variable, or raises `Invalid`."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Parser = Callable[[Any], Any]
FromText = Callable[[str], str | None]

# langfuse/_client/propagation.py (4.5.1, 5.0.4) and the server's schema; 40 characters is the server's limit.
_ENVIRONMENT = re.compile(r"(?!langfuse)[a-z0-9_-]+")
_ENVIRONMENT_LENGTH = 40
_HOST = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[\w*-]+(\.[\w*-]+)*\.?)(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_HIGHEST_PORT = 65535
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class Invalid(Exception):  # noqa: N818 - never leaves this package
    """A value that can't be used: what is wrong, what is allowed, an example that would do."""

    def __init__(self, problem: str, allowed: str, example: str) -> None:
        super().__init__(problem)
        self.problem, self.allowed, self.example = problem, allowed, example


def text(value: Any) -> str:
    """Any text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid("is not a text" if not isinstance(value, str) else "is empty", "a text", "'1.4.2'")
    return value.strip()


def public_key(value: Any) -> str:
    """A public key of a Langfuse project."""
    if not isinstance(value, str) or not value.strip() or value.startswith("sk-lf-"):
        problem = "looks like a secret key" if isinstance(value, str) and value.startswith("sk-") else "is not a key"
        raise Invalid(problem, "the public key of a project", "'pk-lf-...'")
    return value.strip()


def secret_key(value: Any) -> str:
    """A secret key of a Langfuse project."""
    if not isinstance(value, str) or not value.strip() or value.startswith("pk-lf-"):
        problem = "looks like a public key" if isinstance(value, str) and value.startswith("pk-") else "is not a key"
        raise Invalid(problem, "the secret key of a project", "'sk-lf-...'")
    return value.strip()


def base_url(value: Any) -> str:
    """An http(s) address, without a slash at its end."""
    example = "'https://langfuse.example.com'"
    allowed = "http://HOST or https://HOST, with a port and a path if needed"
    if not isinstance(value, str):
        raise Invalid("is not an address", allowed, example)
    address = value.strip()
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise Invalid("is not an address", allowed, example) from None
    if not usable or any(character.isspace() for character in address):
        raise Invalid("is not an address", allowed, example)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Invalid("has more than host, port and path", allowed, example)
    return address.rstrip("/")


def environment(value: Any) -> str:
    """A name of a Langfuse environment."""
    if isinstance(value, str) and len(value) <= _ENVIRONMENT_LENGTH and _ENVIRONMENT.fullmatch(value):
        return value
    raise Invalid(
        "is not the name of an environment",
        "lower case letters, digits, '-' and '_', at most 40, not starting with 'langfuse'",
        "'production'",
    )


def number(lowest: float, highest: float, *, example: str) -> Parser:
    """A number within bounds, both included."""

    def parse(value: Any) -> float:
        allowed = f"a number from {lowest:g} to {highest:g}"
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Invalid("is not a number", allowed, example)
        try:
            parsed = float(value)
        except ValueError:
            raise Invalid("is not a number", allowed, example) from None
        if not math.isfinite(parsed) or not lowest <= parsed <= highest:
            raise Invalid("is out of range", allowed, example)
        return parsed

    return parse


def integer(lowest: int, *, example: str) -> Parser:
    """Return a parser of whole numbers from `lowest` on."""

    def parse(value: Any) -> int:
        allowed = f"a whole number, {lowest} or more"
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise Invalid("is not a whole number", allowed, example)
        try:
            parsed = int(value)
        except ValueError:
            raise Invalid("is not a whole number", allowed, example) from None
        if parsed < lowest:
            raise Invalid("is out of range", allowed, example)
        return parsed

    return parse


def boolean(value: Any) -> bool:
    """True or false; in a variable also 1/0, yes/no, on/off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise Invalid("is neither true nor false", "true or false", "true")


def choice(*allowed: str) -> Parser:
    """One of a few words."""

    def parse(value: Any) -> str:
        if value not in allowed:
            raise Invalid("is not known", ", ".join(map(repr, allowed)), repr(allowed[0]))
        return str(value)

    return parse


def file_path(value: Any) -> Path:
    """A file in a directory that exists."""
    example = "'/var/lib/app/langfuse-spool.sqlite'"
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise Invalid("is not a path", "the path of a file", example)
    path = Path(value).expanduser()
    if path.is_dir():
        raise Invalid("is a directory", "the path of a file", example)
    if not path.parent.is_dir():
        raise Invalid("is in a directory that does not exist", "a file in an existing directory", example)
    return path


def hosts(value: Any) -> tuple[str, ...]:
    """Host names or globs (see `AllowList`); in a variable separated by commas."""
    allowed = "host names ('*' allowed), IPv4 addresses or [IPv6] ones, each with a port if needed"
    example = "('*.internal.example.com',)"
    if isinstance(value, str):
        example = "'*.internal.example.com,orders'"
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Iterable) or isinstance(value, bytes | dict):
        raise Invalid("is not a list of hosts", allowed, example)
    names = tuple(value)
    for name in names:
        if not isinstance(name, str) or not _is_host(name):
            raise Invalid(f"has {name!r}, which is not a host", allowed, example)
    return tuple(name.lower() for name in names)


def _is_host(name: str) -> bool:
    parts = _HOST.fullmatch(name)
    if parts is None or not 0 < int(parts["port"] or 1) <= _HIGHEST_PORT:
        return False
    if parts["host"].startswith("["):
        try:
            ipaddress.IPv6Address(parts["host"][1:-1])
        except ValueError:
            return False
    return True


def as_text(value: str) -> str:
    """The variable's text as it is."""
    return value


def milliseconds(value: str) -> str:
    """Return seconds from milliseconds; anything but a number is passed on, to be refused with its name."""
    try:
        return repr(float(value) / 1000)
    except ValueError:
        return value


def resource_attribute(key: str) -> FromText:
    """One attribute of `OTEL_RESOURCE_ATTRIBUTES` (`key=value,key=value`, percent-encoded)."""

    def convert(value: str) -> str | None:
        for item in value.split(","):
            name, separator, encoded = item.partition("=")
            if separator and name.strip() == key and encoded.strip():
                return unquote(encoded.strip())
        return None

    return convert


def constant_sampler(value: str) -> str | None:
    """The rate of `OTEL_TRACES_SAMPLER` if it is a sampler that takes no argument."""
    return {
        "always_on": "1.0",
        "always_off": "0.0",
        "parentbased_always_on": "1.0",
        "parentbased_always_off": "0.0",
    }.get(value.lower())


def sampler_argument(value: str) -> str | None:
    """`OTEL_TRACES_SAMPLER_ARG`; it is a rate only for the ratio samplers."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    return value if sampler in {"traceidratio", "parentbased_traceidratio"} else None
