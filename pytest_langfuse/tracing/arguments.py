"""Arguments of public functions: a value that can't be used is one clear error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_langfuse.tracing.setting_parsers import Invalid
from pytest_langfuse.tracing.shown import shown

#: pytest shows no frame of this module: what is wrong is the caller's argument.
__tracebackhide__ = True


def checked(call: str, name: str, value: Any, parse: Callable[[Any], Any]) -> Any:
    """Return what `parse` makes of the argument `name`; `call` begins the message of an error, `shutdown_tracing()`.

    Raises:
        TypeError: No value of this type is allowed.
        ValueError: This value is not allowed.
    """
    try:
        return parse(value)
    except Invalid as invalid:
        kind = TypeError if invalid.wrong_type else ValueError
        message = (
            f"{call}: {name}={shown(value)} {invalid.problem}. Allowed: {invalid.allowed}. "
            f"Fix: pass {name}={invalid.example}."
        )
    # Outside of the except block: the error that a parser raises is not the application's.
    raise kind(message)
