"""Checks of single values, of settings and arguments: each returns the value to use, or raises `Invalid`."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_langfuse.tracing.shown import shown
from pytest_langfuse.tracing.suggest import closest

#: pytest shows no frame of this module: what is wrong is the caller's argument.
__tracebackhide__ = True

# langfuse/_client/propagation.py (4.5.1, 5.0.4) and the server's schema; 40 characters is the server's limit.
_HOST = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[\w*-]+(\.[\w*-]+)*\.?)(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_SECRET_KEY = "sk-lf-"  # noqa: S105 - how secret keys begin
_HIGHEST_PORT = 65535
_LONGEST_LABEL = 63
_LONGEST_HOST = 253
#: What SQLite and C can count to.
LARGEST = 2**63 - 1
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class Invalid(Exception):  # noqa: N818 - never leaves this package
    """A value that can't be used: what is wrong, what is allowed, an example that would do.

    `wrong_type` says that no value of this type is allowed. `variable` is the example as a shell assigns it, where
    that is another text.
    """

    def __init__(
        self, problem: str, allowed: str, example: str, *, wrong_type: bool = False, variable: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem, self.allowed, self.example, self.wrong_type = problem, allowed, example, wrong_type
        self.variable = example if variable is None else variable


class Parser:
    """Checks a value that the application passed; `of_text` checks the text of an environment variable.

    `read` makes a value of a text; where it raises `ValueError`, `check` says what is wrong with the text.
    """

    def __init__(self, check: Callable[[Any], Any], read: Callable[[str], Any] = str) -> None:
        self._check, self._read = check, read

    def __call__(self, value: Any) -> Any:
        """Return the value to use, or raise `Invalid`."""
        return self._check(value)

    def of_text(self, text: str) -> Any:
        """Return the value that the text of a variable stands for, or raise `Invalid`."""
        try:
            value = self._read(text)
        except ValueError:
            value = text
        return self._check(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("is not a text", "a text", "'1.4.2'", wrong_type=True)
    if not value.strip():
        raise Invalid("is empty", "a text", "'1.4.2'")
    if not value.strip().isprintable():
        raise Invalid("has control characters", "a text of one line", "'1.4.2'")
    if value.strip().startswith(_SECRET_KEY):
        raise Invalid("looks like a secret key", "a text that others may see", "'1.4.2'")
    return value.strip()


#: Any text of one line with something in it.
text = Parser(_text)


def _key(kind: str, other: str, prefix: str, *, forbidden: str = "") -> Parser:
    """Return a parser of keys, which go into HTTP headers; `forbidden` characters would end them there."""
    allowed, example = f"the {kind} key of a project", f"'{prefix}-lf-...'"

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise Invalid("is not a key", allowed, example, wrong_type=True)
        key = value.strip()
        if key.startswith(other):
            raise Invalid(f"looks like a {'secret' if kind == 'public' else 'public'} key", allowed, example)
        if not key:
            raise Invalid("is not a key", allowed, example)
        if not key.isascii() or not key.isprintable() or " " in key or any(char in key for char in forbidden):
            raise Invalid("has characters that no key has", allowed, example)
        return key

    return Parser(check)


public_key = _key("public", _SECRET_KEY, "pk", forbidden=":")
secret_key = _key("secret", "pk-lf-", "sk")


def _base_url(value: Any) -> str:
    """An http(s) address, without a slash at its end."""
    example = "'https://langfuse.example.com'"
    allowed = "http://HOST or https://HOST, with a port and a path if needed"
    if not isinstance(value, str):
        raise Invalid("is not an address", allowed, example, wrong_type=True)
    address = value.strip()
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and _resolvable(parts.hostname or "") and parts.port != 0
    except ValueError:
        raise Invalid("is not an address", allowed, example) from None
    if not usable or not address.isprintable() or " " in address:
        raise Invalid("is not an address", allowed, example)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Invalid("has more than host, port and path", allowed, example)
    return address.rstrip("/")


base_url = Parser(_base_url)


def _resolvable(host: str) -> bool:
    """Return whether a host name can be looked up: no empty label, none over 63 bytes (RFC 1035, 2.3.4)."""
    if ":" in host:
        return True
    # As HTTP clients encode it; raises a `ValueError` for what has no such form.
    encoded = host if host.isascii() else host.encode("idna").decode("ascii")
    labels = encoded.removesuffix(".").split(".")
    return all(0 < len(label) <= _LONGEST_LABEL for label in labels) and len(encoded) <= _LONGEST_HOST


def names(pattern: str, *, problem: str, allowed: str, example: str) -> Parser:
    """Return a parser of names that match a pattern. A secret key is none: it would be sent and shown as one."""
    matches = re.compile(pattern).fullmatch

    def check(value: Any) -> str:
        if isinstance(value, str) and matches(value) and not value.startswith(_SECRET_KEY):
            return str(value)
        raise Invalid(problem, allowed, example, wrong_type=not isinstance(value, str))

    return Parser(check)


#: A name of a Langfuse environment.
environment = names(
    r"(?!langfuse)[a-z0-9_-]{1,40}",
    problem="is not the name of an environment",
    allowed="lower case letters, digits, '-' and '_', at most 40, not starting with 'langfuse'",
    example="'production'",
)


def number(lowest: float, highest: float, *, example: str) -> Parser:
    """Return a parser of numbers within bounds, both included."""

    def check(value: Any) -> float:
        allowed = f"a number from {lowest:.10g} to {highest:.10g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid("is not a number", allowed, example, wrong_type=True)
        # Refuses NaN, too; and an integer that is too large for a float is compared as it is.
        if not lowest <= value <= highest:
            raise Invalid("is out of range", allowed, example)
        return float(value)

    return Parser(check, float)


def integer(lowest: int, *, example: str) -> Parser:
    """Return a parser of whole numbers from `lowest` on."""

    def check(value: Any) -> int:
        allowed = f"a whole number, {lowest} or more"
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid("is not a whole number", allowed, example, wrong_type=True)
        if not lowest <= value <= LARGEST:
            raise Invalid("is out of range", allowed, example)
        return int(value)

    return Parser(check, int)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid("is neither true nor false", "true or false", "True", wrong_type=True)
    return value


def _truth(value: str) -> bool:
    word = value.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(word)
    return word in _TRUE


#: True or false; in a variable also 1/0, yes/no, on/off.
boolean = Parser(_boolean, _truth)


def choice(*allowed: str) -> Parser:
    """Return a parser of one of a few words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            close = closest(value, allowed) if isinstance(value, str) else None
            raise Invalid(
                "is not known" + (f" (did you mean {close!r}?)" if close else ""),
                ", ".join(map(repr, allowed)),
                repr(close or allowed[0]),
                wrong_type=not isinstance(value, str),
            )
        return value

    return Parser(check)


def _joined(words: str | tuple[str, ...]) -> str:
    return words if isinstance(words, str) else ",".join(words)


def choices(*allowed: str) -> Parser:
    """Return a parser of one of a few words, or of several of them in order; in a text separated by commas."""
    one, several = choice(*allowed), f"one or several of {', '.join(map(repr, allowed))}"

    def check(value: Any) -> str | tuple[str, ...]:
        if isinstance(value, str) and "," in value:
            # As in a variable. An argument that is one of a few words, or a tuple of them, is what a type checker sees.
            words = check(read(value))
            raise Invalid(f"is not known (did you mean {words!r}?)", several, repr(words), variable=_joined(words))
        if isinstance(value, str) or not isinstance(value, list | tuple):
            return str(one(value))
        try:
            words = tuple(str(one(word)) for word in value)
        except Invalid as invalid:
            meant = tuple(closest(word, allowed) if isinstance(word, str) else None for word in value)
            words = tuple(word for word in meant if word is not None)
            if None in meant or len(set(words)) < len(words):
                raise
            raise Invalid(invalid.problem, several, repr(words), variable=_joined(words)) from None
        if not words or len(set(words)) < len(words):
            problem = "names one twice" if words else "is empty"
            distinct = tuple(dict.fromkeys(words)) or allowed[:2]
            raise Invalid(problem, several, repr(distinct), variable=_joined(distinct))
        return words[0] if len(words) == 1 else words

    def read(value: str) -> str | tuple[str, ...]:
        words = tuple(word.strip() for word in value.split(",") if word.strip())
        return words[0] if len(words) == 1 else words

    return Parser(check, read)


def _queue_url(value: Any) -> str:
    allowed, example = "the URL of an SQS queue", "'https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse'"
    if not isinstance(value, str):
        raise Invalid("is not an address", allowed, example, wrong_type=True)
    try:
        address = _base_url(value)
    except Invalid as invalid:
        raise Invalid(invalid.problem, allowed, example) from None
    if not urlsplit(address).path.strip("/"):
        raise Invalid("names no queue", allowed, example)
    return address


#: An address of an SQS queue.
queue_url = Parser(_queue_url)


def _file_path(value: Any) -> Path:
    """A file in a directory that exists."""
    example = "'/var/lib/app/langfuse-spool.sqlite'"
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise Invalid("is not a path", "the path of a file", example, wrong_type=True)
    given = os.fspath(value)
    if not given.strip() or "\0" in given:
        raise Invalid("is not a path", "the path of a file", example)
    try:
        path = Path(given).expanduser()
        directory, parent = path.is_dir(), path.parent.is_dir()
    except (OSError, RuntimeError, ValueError):
        # A name that is too long, `~` of an unknown user.
        raise Invalid("is not a path", "the path of a file", example) from None
    if directory:
        raise Invalid("is a directory", "the path of a file", example)
    if not parent:
        raise Invalid("is in a directory that does not exist", "a file in an existing directory", example)
    return path


file_path = Parser(_file_path)


def _hosts(value: Any) -> tuple[str, ...]:
    allowed = "host names ('*' allowed), IPv4 addresses or [IPv6] ones, each with a port if needed"
    example = "('*.internal.example.com',)"
    if isinstance(value, str):
        example = "'*.internal.example.com,orders'"
        value = [part.strip() for part in value.split(",") if part.strip()]
    names = []
    for name in elements(value, "hosts", allowed, example):
        if not isinstance(name, str) or not is_host(name):
            raise Invalid(f"has {shown(name)}, which is not a host", allowed, example)
        names.append(name.lower())
    return tuple(names)


#: Host names or globs (see `AllowList`); in a text separated by commas.
hosts = Parser(_hosts)


def texts(kind: str, *, example: str) -> Parser:
    """Return a parser of a list of texts; one text stands for a list of one."""

    def check(value: Any) -> tuple[str, ...]:
        allowed = f"a list of {kind}, all of them texts"
        items = (value,) if isinstance(value, str) else tuple(elements(value, kind, allowed, example))
        for item in items:
            if not isinstance(item, str):
                raise Invalid(f"has {shown(item)}, which is not a text", allowed, example, wrong_type=True)
        return items

    return Parser(check)


def elements(value: Any, kind: str, allowed: str, example: str) -> Iterable[Any]:
    """Return `value` if it is a list or another iterable of single things, or raise `Invalid`."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | bytearray | Mapping):
        raise Invalid(f"is not a list of {kind}", allowed, example, wrong_type=True)
    return value


def is_host(name: str) -> bool:
    """Return whether a text is a host name, a glob of host names or an address, with or without a port."""
    parts = _HOST.fullmatch(name)
    if parts is None or not 0 < int(parts["port"] or 1) <= _HIGHEST_PORT:
        return False
    if parts["host"].startswith("["):
        try:
            ipaddress.IPv6Address(parts["host"][1:-1])
        except ValueError:
            return False
    return True


def functions(*, allowed: str, example: str) -> Parser:
    """Return a parser of what can be called."""

    def check(value: Any) -> Any:
        if not callable(value):
            raise Invalid("is not a function", allowed, example, wrong_type=True)
        return value

    return Parser(check)


function = functions(allowed="a function", example="a_function")


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise Invalid("is not a dict", "a dict", "{'tenant': 'acme'}", wrong_type=True)
    return value


#: A dict, or another mapping.
mapping = Parser(_mapping)


def instance(kind: type, *, allowed: str, example: str) -> Parser:
    """Return a parser of objects of one class."""

    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise Invalid(f"is not a {kind.__name__}", allowed, example, wrong_type=True)
        return value

    return Parser(check)


def _headers(value: Any) -> dict[str, str]:
    allowed = "a dict of header names and values, both texts that HTTP can carry"
    example = "{'x-tenant': 'acme'}"
    if not isinstance(value, Mapping):
        raise Invalid("is not a dict", allowed, example, wrong_type=True)
    for name, text_of_header in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise Invalid(f"has {shown(name)}, which is not the name of a header", allowed, example)
        if not isinstance(text_of_header, str) or not _HEADER_VALUE.fullmatch(text_of_header):
            # Its value may be a secret.
            raise Invalid(f"has a value for {shown(name)} that no header can have", allowed, example)
    return dict(value)


#: Names and values of HTTP headers (RFC 9110, 5.1 and 5.5; HTTP clients send ASCII only).
headers = Parser(_headers)
