"""Wrappers that look like the function they call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Wrapper = TypeVar("Wrapper", bound=Callable[..., Any])


def named_as(function: Callable[..., Any]) -> Callable[[Wrapper], Wrapper]:
    """Return a decorator that gives a wrapper the name, docstring and attributes of `function`, as far as it has them.

    `functools.wraps` raises for a callable object whose `__name__` is not text: proxies and mocks have such.
    """

    def decorate(wrapper: Wrapper) -> Wrapper:
        for name in functools.WRAPPER_ASSIGNMENTS:
            # An attribute may be missing, of a type that functions don't take, or computed by code that raises.
            with suppress(Exception):
                setattr(wrapper, name, getattr(function, name))
        with suppress(Exception):
            wrapper.__dict__.update(function.__dict__)
        wrapper.__wrapped__ = function  # type: ignore[attr-defined]
        return wrapper

    return decorate
