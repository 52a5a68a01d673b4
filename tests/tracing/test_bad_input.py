"""A call of the tracing module that can't be used is one clear error, at the call: no silent pass, no crash later.

`CALLS` has every public callable with every parameter; `test_every_parameter_is_tried` fails for one that is missing.
"""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import typing
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest

from pytest_langfuse import tracing
from pytest_langfuse.tracing import (
    CircuitBreaker,
    ConfigError,
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    RequestContext,
    SamplingRule,
    TracingConfig,
    carry_context,
    extract_context,
    get_tracing_config,
    init_tracing,
    inject_headers,
    instrument_aiohttp,
    instrument_httpx,
    instrument_requests,
    langfuse_aiohttp_middleware,
    request_context,
    run_with_context,
    safe_trace,
    shutdown_tracing,
    tracing_health,
)
from pytest_langfuse.tracing.config import CLIENT_SETTINGS, SETTINGS
from tests.helpers import bad_input as bad
from tests.helpers.bad_input import called, refusal

UNPRINTABLE = ("a\r\nb", "a\x1b[31mb", "a\0b", "\ud800")


async def asgi(scope, receive, send): ...


#: For each field of the configuration; every one also refuses what `ANY_FIELD` has.
FIELDS: dict[str, tuple[Any, ...]] = {
    "public_key": (5, bad.HUGE, True, b"pk", "", " ", "pk-lf-ü", "pk lf", "pk:lf", *UNPRINTABLE, bad.SECRET),
    "secret_key": (5, bad.HUGE, True, b"sk", "", " ", "sk-lf-ü", "sk lf", *UNPRINTABLE, "pk-lf-1"),
    "base_url": (
        5, True, b"http://x", "", "x", "ftp://x", "http://", "http://x:99999", "http://x:0", "http://a..b",
        "http://x y",
        f"http://{'a' * 64}.example", f"http://{'a.' * 200}b", f"https://u:{bad.SECRET}@x", "http://x?y", "http://[::1",
        "http://ü..b", *UNPRINTABLE, bad.SECRET,
    ),
    "environment": (5, True, b"x", "", "Prod", "langfuse-x", "a" * 41, "a b", "ü", *UNPRINTABLE, bad.SECRET),
    "release": (5, True, b"x", "", " ", *UNPRINTABLE),
    "sample_rate": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, -0.1, 1.1, bad.HUGE, -bad.HUGE),
    "flush_interval": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, 0, -1, bad.HUGE),
    "flush_at": (*bad.NOT_A_NUMBER, bad.NAN, 1.5, 0, -1, bad.HUGE),
    "timeout": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, 0, -1, bad.HUGE),
    "shutdown_timeout": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, -1, bad.HUGE),
    "max_buffer_spans": (*bad.NOT_A_NUMBER, 1.5, 0, -1, bad.HUGE),
    "max_buffer_bytes": (*bad.NOT_A_NUMBER, 1.5, 0, -1, bad.HUGE),
    "spool_path": (5, True, b"x", "", " ", "\0", "x" * 300 + "/y", "/nowhere/spool", "~nobody-here/x", object()),
    "breaker_failure_threshold": (*bad.NOT_A_NUMBER, 1.5, 0, -1, bad.HUGE),
    "breaker_recovery_timeout": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, 0, -1, bad.HUGE),
    "breaker_slow_call": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, 0, -1, bad.HUGE),
    "export": (
        5, True, b"http", "", "HTTP", "htp", "grpc", [], ["htp"], [5], ("kafka", "kafka"),
        ("kafka", bad.SECRET), bad.SECRET,
    ),
    "kafka_brokers": (5, True, b"x:1", "", " ", "x:99999", "x:0", "http://x", "a b:1", "*:1", [5], *UNPRINTABLE),
    "kafka_topic": (5, True, b"x", "", " ", ".", "..", "a b", "ü", "a/b", "a" * 250, *UNPRINTABLE, bad.SECRET),
    "kafka_options": (
        5, True, b"x", "x", "{}", [], {5: 1}, {"": 1}, {"linger.ms": None}, {"linger.ms": [1]},
        {"bootstrap.servers": "x:1"}, {"message.timeout.ms": 5}, {"message.max.bytes": "abc"}, {"message.max.bytes": 1},
        {"message.max.bytes": bad.NAN}, {"message.max.bytes": True}, {"message.max.bytes": 1e400},
        {"message.max.bytes": 10**400}, {"message.max.bytes": "1_000_000"}, {"queue.buffering.max.kbytes": 0},
        {"transactional.id": "x"}, {"delivery.report.only.error": False}, {"enable.gapless.guarantee": True},
        {"test.mock.num.brokers": 1}, {"acks": 0}, {"request.required.acks": " 0x0"}, {"linger.ms": bad.INFINITY},
    ),
    "sqs_queue_url": (5, True, b"x", "", " ", "x", "ftp://x/q", "http://x", f"https://u:{bad.SECRET}@x/q"),
    "export_scores": (0, 1, "yes", "no", [], bad.SECRET),
    "handle_signals": (0, 1, "yes", "no", [], bad.SECRET),
    "serverless": (0, 1, "yes", "no", [], bad.SECRET),
    "keep_errors": (0, 1, "yes", "no", [], bad.SECRET),
    "keep_slower_than": (*bad.NOT_A_NUMBER, bad.NAN, bad.INFINITY, 0, -1, bad.HUGE),
    "sampling": (
        "x", bad.SECRET, "", True, {}, b"1", object(), 5, 0.5, {"rate": 1}, [5], [-0.1], [bad.NAN], [None], ["vip"],
        [int], [asgi], [[]], [bad.SECRET], [{"rate": 1, "nme": "x"}],
    ),
    "trusted_request_headers": (0, 1, "yes", "no", [], bad.SECRET),
    "reparent_filtered": (0, 1, "yes", "no", [], bad.SECRET),
    "propagate_to": (5, True, b"x", {"a": "b"}, [5], [None], ["https://x"], ["a b"], ["x:99999"], ["[::x]"], "x:0"),
}  # fmt: skip
ANY_FIELD = (bad.Broken(),)
CLIENT = {
    "mask": bad.NOT_CALLABLE,
    "mask_otel_spans": bad.NOT_CALLABLE,
    "should_export_span": bad.NOT_CALLABLE,
    "additional_headers": (
        5, "x", [("a", "b")], {5: "a"}, {"a": 5}, {"a": None}, {"a b": "c"}, {"": "c"}, {"a:": "c"}, {"ü": "c"},
        {"a": "ü"},
        {"a": "b\r\nc"}, {"a\n": "b"}, {"authorization": f"{bad.SECRET}\n"}, {bad.SECRET + " ": "b"},
    ),
}  # fmt: skip
SETTINGS_AND_CLIENT = {**FIELDS, **CLIENT}
NOT_AN_ID = (True, b"u", [], ["u"], {"u": 1}, (), object())
MIDDLEWARE: dict[str, tuple[Any, ...]] = {
    "trusted": bad.without_none(bad.SWITCH),
    "capture_query": bad.SWITCH,
    "exclude": (*bad.NOT_TEXTS, None),
    "user_id": bad.NOT_CALLABLE,
    "session_id": bad.NOT_CALLABLE,
    "route": bad.NOT_CALLABLE,
    "send_request_id": bad.SWITCH,
}
CONTEXT: dict[str, tuple[Any, ...]] = {
    "user_id": NOT_AN_ID,
    "session_id": NOT_AN_ID,
    "request_id": NOT_AN_ID,
    "tags": (5, bad.HUGE, True, b"x", {"a": 1}, object(), None),
    "metadata": bad.MAPPING,
}
NOT_A_CONTEXT = (5, bad.HUGE, "u-1", bad.SECRET, b"u", ["u"], object(), bad.Broken())
NOT_TRACEABLE = (
    *bad.NOT_CALLABLE[:2], [], bad.Broken(), int, property(len), staticmethod(len), classmethod(len)
)  # fmt: skip
PERMIT = (None, 5, "x", object(), bad.Broken())


#: What else a call needs, by the name of the parameter.
OTHERS = {"rate": 0.5, "app": asgi, "function": len, "context": {"user_id": "u-1"}, "headers": {}}

#: Each callable with the values that it refuses, by parameter.
CALLS: dict[Callable[..., object], dict[str, tuple[Any, ...]]] = {
    init_tracing: {"config": (5, bad.HUGE, "x", {"timeout": 1}, TracingConfig), **SETTINGS_AND_CLIENT},
    TracingConfig: FIELDS,
    get_tracing_config: FIELDS,
    shutdown_tracing: {"timeout": (*bad.SECONDS, bad.HUGE)},
    CircuitBreaker: {
        "failure_threshold": bad.COUNT,
        "recovery_timeout": (*bad.SECONDS, 0),
        "slow_call": (*bad.without_none(bad.SECONDS), 0),
        "clock": bad.FUNCTION,
    },
    CircuitBreaker().add_listener: {"listener": bad.FUNCTION},
    CircuitBreaker().success: {"permit": PERMIT},
    CircuitBreaker().failure: {"permit": PERMIT},
    CircuitBreaker().release: {"permit": PERMIT},
    SamplingRule: {
        "rate": (
            "x",
            bad.SECRET,
            "",
            [],
            {},
            b"1",
            object(),
            bad.Broken(),
            None,
            bad.NAN,
            bad.INFINITY,
            -0.1,
            1.1,
            bad.HUGE,
        ),
        **dict.fromkeys(
            ("name", "user_id", "session_id", "tag"), (5, True, b"x", "", [], [5], [""], {"a": 1}, object())
        ),
        "reason": (5, True, b"x", "", " ", "error", "rate", *UNPRINTABLE, bad.SECRET),
    },
    RequestContext: CONTEXT,
    request_context: {"context": NOT_A_CONTEXT, **CONTEXT},
    run_with_context: {"context": NOT_A_CONTEXT, "function": bad.FUNCTION},
    safe_trace: {
        "name": (*NOT_TRACEABLE, "", " ", *UNPRINTABLE),
        "as_type": (None, 5, "", "genration", "event", [], bad.SECRET),
        "capture_input": bad.SWITCH,
        "capture_output": bad.SWITCH,
    },
    safe_trace("answer"): {"function": (*NOT_TRACEABLE, None, "answer")},
    carry_context: {"function": (*bad.NOT_CALLABLE, property(len))},
    carry_context(): {"function": (*bad.FUNCTION, property(len))},
    instrument_aiohttp: {"session": (5, "x", aiohttp, aiohttp.ClientSession, bad.SECRET, bad.Broken())},
    instrument_httpx: {"client": (5, "x", httpx, httpx.Client, bad.SECRET, bad.Broken())},
    instrument_requests: {"session": (5, "x", httpx.Client, bad.SECRET, bad.Broken())},
    LangfuseASGIMiddleware: {"app": bad.FUNCTION, **MIDDLEWARE},
    LangfuseWSGIMiddleware: {"app": bad.FUNCTION, **MIDDLEWARE},
    langfuse_aiohttp_middleware: MIDDLEWARE,
}
#: Callables that say in their docstring that they never raise: tracing must not break a request.
NEVER_RAISE = {inject_headers, extract_context}
#: What tracing hands out, and errors: not made by an application.
RESULTS = {"CircuitOpen", "ConfigError", "SampledTrace", "ShutdownReport", "TracingHealth"}
#: Parameters that stand for the keywords that are listed here one by one.
KEYWORDS = {"overrides", "values", "options", "args", "kwargs"}


def spelt(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def cases() -> Iterator[Any]:
    for function, parameters in CALLS.items():
        for name, values in parameters.items():
            yield pytest.param(function, name, values, id=f"{spelt(function)}-{name}")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("function", "name", "values"), [*cases()])
def test_a_value_that_cannot_be_used_is_one_sentence_that_names_the_place(function, name, values):
    wrong = []
    for number, value in enumerate(
        (*values, *(ANY_FIELD if name in FIELDS and function is not RequestContext else ()))
    ):
        try:
            message = refusal(lambda value=value: called(function, name, value, OTHERS), named(function, name))
            assert "Fix: " in message or "did you mean" in message, message
        except (AssertionError, pytest.fail.Exception) as failure:
            wrong.append(f"value {number} ({type(value).__name__}): {failure}")
    assert not wrong, "\n".join(wrong)


def named(function: Callable[..., object], name: str) -> str:
    """What the message names: the parameter, or the call where it has but one."""
    if function in {carry_context, instrument_aiohttp, instrument_httpx, instrument_requests} or name in {
        "function",
        "context",
    }:
        return "()"
    return "safe_trace()" if (function, name) == (safe_trace, "name") else name


def test_every_parameter_is_tried():
    public = {getattr(tracing, name) for name in tracing.__all__ if name not in RESULTS}
    missing = []
    for function in public - NEVER_RAISE:
        tried = CALLS.get(function, {})
        parameters = {name for name in inspect.signature(function).parameters if name not in KEYWORDS}
        missing += [f"{function.__name__}({name})" for name in parameters - set(tried)]
    assert missing == []
    assert set(FIELDS) == set(SETTINGS)
    assert set(CLIENT) == set(CLIENT_SETTINGS)
    assert set(CONTEXT) == {field.name for field in dataclasses.fields(RequestContext)}


def test_what_raises_says_so():
    documented = (
        function if inspect.isroutine(function) or isinstance(function, type) else function.__call__
        for function in CALLS
    )
    silent = [spelt(function) for function in documented if "Raises:" not in (inspect.getdoc(function) or "")]
    # The function that `safe_trace("name")` returns has the docstring of nobody.
    assert silent == ["safe_trace.<locals>.decorate"]


def test_headers_never_raise():
    for value in (*NOT_A_CONTEXT, None, {"a": object()}):
        assert inject_headers(value) is value
        assert inject_headers({}, url=value) == {}
        assert extract_context(value) == {}


def test_nothing_is_shut_down_by_a_call_that_is_refused(fresh, keys):
    client = init_tracing(**keys)
    with pytest.raises(TypeError, match=r"^shutdown_tracing\(\): timeout='x' is not a number. Allowed: "):
        shutdown_tracing("x")
    assert init_tracing(**keys) is client


def test_all_mistakes_of_a_call_are_told_at_once(fresh, keys):
    mistakes = {"timeout": "x", "mask": 5, "additional_headers": {"a": "b\n"}}
    for _ in range(2):
        with pytest.raises(ConfigError) as error:
            init_tracing(**keys, **mistakes)
        assert sorted(line.split("=")[0] for line in str(error.value).splitlines()) == sorted(mistakes)
        # The same with an installation.
        init_tracing(**keys)


def test_a_misspelt_argument_of_the_client_suggests(fresh):
    with pytest.raises(ConfigError, match="unknown setting 'maks', did you mean 'mask'"):
        init_tracing(maks=len)


def test_a_timeout_that_only_the_sdk_does_not_take_needs_no_keys(fresh, monkeypatch):
    monkeypatch.setenv("LANGFUSE_TIMEOUT", "2.5")
    init_tracing()
    assert tracing_health().exported == 0


@pytest.mark.parametrize("name", sorted({*tracing.__all__}))
def test_classes_are_known_by_the_name_that_users_import(name):
    exported = getattr(tracing, name)
    if isinstance(exported, type):
        assert exported.__module__ == "pytest_langfuse.tracing"
        assert pickle.loads(pickle.dumps(exported)) is exported
        assert typing.get_type_hints(exported) is not None
