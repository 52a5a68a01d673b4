"""Values that no parameter of a kind takes, and the check of what is said about them."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "pytest_langfuse"

#: A secret in the wrong place must not be shown.
SECRET = "sk-lf-hunter2"
HUGE = 10**5000
NAN, INFINITY = float("nan"), float("inf")


class Broken:
    """An object without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


NOT_A_NUMBER: tuple[Any, ...] = ("x", "5", SECRET, "", True, [], {}, b"1", object(), Broken())
NOT_A_TEXT: tuple[Any, ...] = (5, HUGE, NAN, True, b"x", [], {}, object(), Broken())
NOT_CALLABLE: tuple[Any, ...] = (5, HUGE, "f", SECRET, [], Broken())

SECONDS = (*NOT_A_NUMBER, None, NAN, -1, -INFINITY, INFINITY)
COUNT = (*NOT_A_NUMBER, None, NAN, 1.5, 0, -1, -HUGE)
SWITCH = (None, 0, 1, "yes", "false", SECRET, [], Broken())
FUNCTION = (*NOT_CALLABLE, None)
MAPPING = (5, HUGE, "x", SECRET, b"x", ["a"], object(), Broken(), None)
TEXT = (*NOT_A_TEXT, None)
NOT_TEXTS: tuple[Any, ...] = (5, NAN, True, b"x", {"a": "b"}, [5], ["a", None], [b"x"], object(), Broken())


def without_none(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values for a parameter for which `None` stands for its default."""
    return tuple(value for value in values if value is not None)


def refusal(call: Callable[[], object], name: str, kinds: tuple[type[Exception], ...] = (TypeError, ValueError)) -> str:
    """Return the message with which a call refuses its input; `name` is the parameter that the message has to name."""
    __tracebackhide__ = True
    try:
        call()
    except kinds as error:
        refused = error
    except Exception as error:
        raise AssertionError(f"not one of {kinds}: {error!r}") from error
    else:
        pytest.fail("it was accepted")
    message = str(refused)
    assert name in message, message
    assert SECRET not in message, message
    assert all(line.isprintable() for line in message.splitlines()), message
    assert len(message.splitlines()) == 1, message
    assert len(message) < 600, message
    assert refused.__cause__ is None, repr(refused.__cause__)
    assert refused.__context__ is None or refused.__suppress_context__, repr(refused.__context__)
    # The first frame is the one above, the others are the caller's until ours begin.
    files = [frame.filename for frame in traceback.extract_tb(refused.__traceback__)][1:]
    first = next((index for index, file in enumerate(files) if PACKAGE in Path(file).parents), len(files))
    deep = [file for file in files[first:] if PACKAGE not in Path(file).parents and file != "<string>"]
    assert deep == [], deep
    return message


def called(function: Callable[..., object], name: str, value: object, others: Mapping[str, Any]) -> object:
    """Call `function` with `value` for the parameter `name`, and for the required others what `others` has."""
    positional, keywords = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == name:
            given = value
        elif parameter.default is parameter.empty and parameter.name in others:
            given = others[parameter.name]
        else:
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            positional.append(given)
        else:
            keywords[parameter.name] = given
    if name not in inspect.signature(function).parameters:
        # One of its `**keywords`.
        keywords[name] = value
    return function(*positional, **keywords)
