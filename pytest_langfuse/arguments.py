"""Checks of arguments where users pass them: a value that can't be used is one sentence that names the place.

`call` is how the sentence names the call, `wait_for`; the value is shown short and without secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, NoReturn

#: pytest shows no frame of this module: a bad argument is the test's, not ours.
__tracebackhide__ = True

#: The longest wait, in seconds (11 days): what every clock, lock and socket takes.
LONGEST_WAIT: Final = 1_000_000
#: The largest count: what C takes.
LARGEST: Final = 2**63 - 1
_LONGEST: Final = 100
#: A secret key, and what stands before the host in an address.
_SECRET: Final = re.compile(r"\bsk-[\w-]+|(?<=://)[^/\s]*(?=@)")


def shown(value: object) -> str:
    """Return the `repr` of a value for a message, cut where it is long; a secret in it is masked."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an integer of thousands of digits has none, nor has an object that is broken
        text = f"<{type(value).__name__}>"
    text = masked(text)
    if not text.isprintable():
        text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def masked(text: str, *secrets: str | None) -> str:
    """Return a text for a message without secret keys, passwords of addresses and the given `secrets`."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return _SECRET.sub("***", text)


class Masked:
    """Stands for a secret in a message."""

    def __repr__(self) -> str:
        return "***"


def refuse(call: str, name: str, value: object, expected: str, error: type[Exception] = TypeError) -> NoReturn:
    """Raise `error` for an argument."""
    raise error(f"{call}({name}={shown(value)}): expected {expected}") from None


def number(
    call: str,
    name: str,
    value: object,
    *,
    least: float = 0,
    most: float = LONGEST_WAIT,
    whole: bool = False,
    what: str = "a number of seconds",
) -> None:
    """Raise unless `value` is a number within bounds, both included."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        refuse(call, name, value, what)
    # Not `<`: NaN must be refused, too.
    if not least <= value <= most:
        bounds = f"of at least {least}" if most == LARGEST else f"from {least} to {most}"
        refuse(call, name, value, f"{what} {bounds}", ValueError)


def count(call: str, name: str, value: object, *, least: int = 1, most: int = LARGEST) -> None:
    """Raise unless `value` is a whole number within bounds."""
    number(call, name, value, least=least, most=most, whole=True, what="a whole number")


def text(
    call: str, name: str, value: object, *, expected: str = "a text", filled: bool = False, secret: bool = False
) -> None:
    """Raise unless `value` is a string, with something in it if it must be `filled`. A `secret` is not shown."""
    if not isinstance(value, str):
        refuse(call, name, Masked() if secret else value, expected)
    if filled and not value.strip():
        refuse(call, name, value, f"{expected} that is not empty", ValueError)


def path(call: str, name: str, value: object) -> Path:
    """Return the path of a file."""
    if not isinstance(value, str | PathLike) or not isinstance(given := fspath(value), str):
        refuse(call, name, value, "the path of a file")
    if not given or "\0" in given:
        refuse(call, name, value, "the path of a file", ValueError)
    return Path(given)


def instance(call: str, name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise unless `value` is an object of the class, or of one of the classes."""
    if not isinstance(value, kind):
        refuse(call, name, value, expected)


def function(call: str, name: str, value: object) -> None:
    """Raise unless `value` can be called."""
    if not callable(value):
        refuse(call, name, value, "a function")


def mapping(call: str, name: str, value: object, expected: str) -> None:
    """Raise unless `value` is a dict or another mapping."""
    instance(call, name, value, Mapping, expected)


def elements(call: str, name: str, value: object, expected: str) -> Iterable[Any]:
    """Return `value` if it is a list or another iterable of single things."""
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        refuse(call, name, value, expected)
    return value


def each(call: str, name: str, values: Iterable[object], check: Callable[[object], bool], expected: str) -> None:
    """Raise for the first of the values that the check turns down."""
    for value in values:
        if not check(value):
            refuse(call, name, value, expected)
