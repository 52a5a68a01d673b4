"""A call of the harness that can't be used is one clear error, at the call; that of `tracing` has a file like this.

`CALLS` has every public callable with every parameter; `test_every_parameter_is_tried` fails for one that is missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

import pytest_langfuse
from pytest_langfuse import (
    App,
    Clock,
    LangfuseQueue,
    LangfuseRouter,
    LangfuseServer,
    LiteralError,
    Observation,
    Observations,
    Outage,
    OutageControl,
    Processes,
    QueuedMessage,
    Score,
    Trace,
    Unexported,
    recording,
)
from pytest_langfuse.outage import server as outage_server
from pytest_langfuse.recording import (
    build_traces,
    decode_otlp,
    decode_records,
    from_readable_span,
    link,
    observe,
)
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.standin.stand_in import StandIn
from tests.helpers import bad_input as bad
from tests.helpers.bad_input import called, refusal

OUT_OF_RANGE = (bad.HUGE, -bad.HUGE, 1e300)
SECONDS = (*bad.SECONDS, *OUT_OF_RANGE)
COUNT = (*bad.COUNT, bad.HUGE)
NOT_BYTES = (5, bad.HUGE, None, "x", [], [1, 2], {}, object(), bad.Broken(), bad.SECRET)
PATH = (5, bad.HUGE, None, b"x", [], object(), bad.Broken(), "", "\0", "a\0b")
NAMES = (
    5,
    bad.HUGE,
    None,
    b"x",
    ["hang"],
    {},
    object(),
    bad.Broken(),
    "",
    "hng",
    "Hang ",
    bad.SECRET,
    "x" * 10**6,
    "h\x1b",
)
LITERAL = (
    *bad.TEXT, "999999999999x span y", f"{'9' * 5000}x span y", f"1-{'9' * 5000}x span y", "spam x", "span", "span x y",
    "span x colour=1", "span x usage.total<y", "span x name~(", 'span x "y', "span x input={", "span \x1b[31m",
    f"span x input={'[' * 10**5}", f"span x input=[{'9' * 5000}]", "\0", "  span x\n span y", "span x $y",
    "1x", ">>", "...  x",
)  # fmt: skip
SELECTOR = (*LITERAL, "", "x", "span x\nspan y", "2x span x", ">> span x")
FAULT_OPTIONS = {
    "after": (*bad.NOT_A_NUMBER, None, 1.5, bad.NAN, -1, *OUT_OF_RANGE),
    "times": (*bad.NOT_A_NUMBER, 1.5, bad.NAN, 0, -1, *OUT_OF_RANGE),
    "delay": (*bad.without_none(SECONDS),),
    "rate": (*bad.NOT_A_NUMBER, None, bad.NAN, bad.INFINITY, 0, 1.1, *OUT_OF_RANGE),
    "seed": (*bad.NOT_A_NUMBER, None, 1.5, bad.NAN, 1e300),
    "retry_after": (*bad.NOT_A_NUMBER, 1.5, bad.NAN, -1, *OUT_OF_RANGE),
    "paths": (5, bad.HUGE, True, b"x", {"otlp": 1}, [5], [None], "spans", [], "", "OTLP", object(),
              bad.Broken(), bad.SECRET),
    "required": bad.SWITCH,
    "max_block": (*bad.without_none(SECONDS),),
    "afer": (1,),
}  # fmt: skip
ENCODING = (5, bad.HUGE, b"gzip", [], "zstd", "g\x1bzip", bad.SECRET, bad.Broken())
ORDER = (None, 5, bad.HUGE, [], "ny", "x" * 10**6, bad.SECRET, bad.Broken())
KEY = (5, True, b"x", "", " ", [], bad.Broken())


@pytest.fixture(scope="module")
def objects() -> Iterator[Mapping[type, object]]:
    """An object of each class whose methods are called."""
    with LangfuseServer() as server:
        yield {Observations: Observations(StaticSource([])), LangfuseServer: server}


def names(*classes: type) -> set[str]:
    return {cls.__name__ for cls in classes}


#: Each callable with the values that it refuses, by parameter. Of a method, the object is made by a fixture.
CALLS: dict[Callable[..., object], dict[str, tuple[Any, ...]]] = {
    decode_otlp: {"body": NOT_BYTES, "encoding": ENCODING},
    decode_records: {"body": NOT_BYTES, "encoding": ENCODING},
    from_readable_span: {"span": (5, None, "x", object(), bad.Broken(), bad.SECRET)},
    link: {"observations": (5, None, "x", [5], [None], {"a": 1}, [bad.Broken(), 5], [bad.SECRET])},
    build_traces: {"observations": (5, None, "x", [5], [None], {"a": 1}, [bad.Broken(), 5], [bad.SECRET])},
    observe: {"record": (5, None, "x", object(), bad.Broken(), bad.SECRET)},
    Observations.from_otlp: {"body": NOT_BYTES, "encoding": ENCODING},
    Observations.from_file: {"path": PATH, "test": bad.NOT_A_TEXT},
    Observations.from_api: {
        "client": (5, None, "x", bad.SECRET, object(), bad.Broken()),
        "trace_id": (*bad.TEXT, "", " "),
    },
    Observations.below: {"selector": SELECTOR},
    Observations.in_trace: {"name": bad.TEXT},
    Observations.assert_tree: {"literal": LITERAL, "order": ORDER},
    Observations.assert_contains: {"literal": (*LITERAL, "", "# x")},
    Observations.assert_propagated: {"fields": (*bad.TEXT, "", "user", "colour", bad.SECRET)},
    Observations.assert_clean: {
        "ignore": (5, None, b"x", "LF006", object(), [5], [bad.SECRET], ["LF06"], [""], {"LF006": 1}, [bad.Broken()]),
    },
    Observations.assert_not_exported: {"secrets": (*bad.TEXT, "")},
    Observations.one: {"selector": SELECTOR},
    Observations.all: {"selector": SELECTOR},
    Observations.trace: {"name": bad.TEXT},
    Observations.wait_for: {"selector": SELECTOR, "count": COUNT, "timeout": SECONDS},
    Outage.of: {"names": NAMES, **FAULT_OPTIONS},
    LangfuseServer: {
        "stand_in": (5, "x", object(), bad.Broken()),
        "host": (*bad.TEXT, "", " "),
        "port": (*bad.NOT_A_NUMBER, None, 1.5, bad.NAN, -1, 65536, 99999, bad.HUGE),
        "public_key": (*KEY, "pk-lf-alone"),
        "secret_key": (*KEY, bad.SECRET),
        "on_arrival": bad.NOT_CALLABLE,
        "observations": bad.NOT_CALLABLE,
    },
    StandIn: {"public_key": (*KEY, "pk-lf-alone"), "secret_key": (*KEY, bad.SECRET)},
    Outage.of("hang").apply: {"server": (5, None, "x", object(), bad.Broken(), bad.SECRET)},
    LangfuseServer.base_url_for: {"path": bad.TEXT},
    LangfuseServer.wait_for_arrivals: {"count": (*bad.NOT_A_NUMBER, None, 1.5, -1, bad.HUGE), "timeout": SECONDS},
    LangfuseServer.wait_for_next_arrival: {"timeout": SECONDS},
    LangfuseServer.settle: {"timeout": SECONDS},
    LangfuseRouter: {"stand_in": (5, None, "x", object(), bad.Broken()), "assert_all_called": bad.SWITCH},
}  # fmt: skip
#: What else a call needs, by the name of the parameter.
OTHERS = {
    "names": "http_503",
    "trace_id": "0" * 32,
    "count": 1,
    "timeout": 0.0,
    "body": b"{}",
    "path": "missing.jsonl",
    "literal": "span x",
    "client": SimpleNamespace(api=None),
    "stand_in": StandIn(),
}
#: Handed out by fixtures: tests/plugin/test_bad_calls_of_fixtures.py has their methods, which need a running test.
BY_FIXTURE = {App, Clock, LangfuseQueue, OutageControl, Processes}
#: What the harness hands out, and errors: not made by a test.
RESULTS = {outage_server.Arrival, Observation, QueuedMessage, Score, Trace, Unexported, recording.SpanRecord}
#: Keywords whose values are compared by `==`: anything has one.
COMPARED = {"self", "fields", "values", "value", "thread", "options"}
#: Functions for the wiring of the harness, which a test has no reason to call.
WIRING = {
    "StandIn.add_prompt", "StandIn.also_showing", "StandIn.exports_shown_to", "StandIn.find_media", "Outage.activate",
    "Outage.apply",
    "Outage.named",
    "AddsPrompts.prompt",
}  # fmt: skip
EXPORTED = [
    getattr(module, name) for module in (pytest_langfuse, recording, outage_server) for name in module.__all__
]  # fmt: skip


def spelt(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


@pytest.mark.parametrize(
    ("function", "name"),
    [pytest.param(call, name, id=f"{spelt(call)}-{name}") for call, tried in CALLS.items() for name in tried],
)
def test_a_value_that_cannot_be_used_is_one_sentence_that_names_the_place(function, name, objects):
    values, call = CALLS[function][name], function
    owner = next(
        (
            cls
            for cls in objects
            if vars(cls).get(function.__name__) is function or getattr(cls, function.__name__, None) is function
        ),
        None,
    )
    if owner is not None and function is not owner:
        call = getattr(objects[owner], function.__name__)
    wrong = []
    for number, value in enumerate(values):
        try:
            refusal(lambda value=value: called(call, name, value, OTHERS), named(name, value))
        except (AssertionError, pytest.fail.Exception) as failure:
            wrong.append(f"value {number} ({type(value).__name__}): {failure}")
    assert not wrong, "\n".join(wrong)


def named(name: str, value: object) -> str:
    """The word that the message has to have: the parameter, where it is not the only one."""
    return (
        "" if name in {"names", "selector", "literal", "secrets", "fields", "body", "afer"} else name.removesuffix("s")
    )


def test_every_parameter_is_tried():
    missing = []
    for exported in EXPORTED:
        if exported in RESULTS | BY_FIXTURE or (isinstance(exported, type) and issubclass(exported, Exception)):
            continue
        # The methods of the router are those of respx; `prompt` has a test beside it.
        inner = methods(exported) if isinstance(exported, type) and exported is not LangfuseRouter else ()
        for function in (exported, *inner):
            tried = set(CALLS.get(function, {})) | COMPARED
            if function in {Observations, Outage} or spelt(function) in WIRING:
                continue
            missing += [
                f"{spelt(function)}({name})" for name in inspect.signature(function).parameters if name not in tried
            ]
    assert not missing, missing


def methods(cls: type) -> Iterator[Callable[..., object]]:
    for name in dir(cls):
        ours = any(name in vars(base) and base.__module__.startswith("pytest_langfuse") for base in cls.__mro__)
        member = getattr(cls, name)
        if ours and not name.startswith("_") and inspect.isroutine(member):
            yield member


def test_what_raises_says_so():
    assert [spelt(call) for call in CALLS if "Raises:" not in (inspect.getdoc(call) or "")] == []


@pytest.mark.parametrize("count", ["1000000x", "1-1000000x", "1000000+x"])
def test_a_count_is_limited(count, objects):
    with pytest.raises(LiteralError) as error:
        objects[Observations].assert_tree(f"{count} span y")
    assert str(error.value) == f"count {count!r} on line 1 is too large, at most 999999"


def test_a_key_of_another_type_is_not_shown():
    with pytest.raises(TypeError) as error:
        StandIn(public_key="pk", secret_key=b"own-secret")
    assert str(error.value) == "StandIn(secret_key=***): expected a key, or None"
