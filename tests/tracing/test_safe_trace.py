"""A traced function runs exactly once, and behaves as without tracing, whatever tracing does."""

import asyncio
import inspect
import logging

import pytest
from langfuse import Langfuse
from opentelemetry.sdk.trace import Span
from opentelemetry.trace import get_current_span

from pytest_langfuse.tracing import request_context, safe_trace
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.failures import failures


@pytest.fixture
def spans(client, langfuse_spans):
    """What the traced functions made."""
    failures.forget()
    return langfuse_spans


# -- what is observed ------------------------------------------------------------------------------------------


def test_a_function(spans):
    @safe_trace
    def answer(question, *, model="m"):
        """Docs."""
        return f"{question}!"

    assert answer("why", model="x") == "why!"
    assert (answer.__name__, answer.__doc__, str(inspect.signature(answer))) == (
        "answer",
        "Docs.",
        "(question, *, model='m')",
    )
    spans.assert_tree("""
        span answer  input={"args": ["why"], "kwargs": {"model": "x"}} output="why!"
    """)


@pytest.mark.parametrize("decorate", [safe_trace(), safe_trace(None), safe_trace("answer"), safe_trace(name="answer")])
def test_each_spelling(spans, decorate):
    @decorate
    def answer():
        return 1

    assert answer() == 1
    spans.assert_tree("span answer")


def test_a_type_and_nothing_captured(spans):
    @safe_trace("search", as_type="retriever", capture_input=False, capture_output=False)
    def search(secret):
        return secret

    search("s3cret")
    spans.assert_tree("retriever search  !input !output")
    spans.assert_not_exported("s3cret")


def test_a_name_that_is_none():
    with pytest.raises(TypeError, match=r"takes a function, or a name, not 3. Fix: @safe_trace\('answer'\)"):
        safe_trace(3)


def test_methods_leave_self_out_of_the_input(spans):
    class Bot:
        @safe_trace
        def method(self, x):
            return x

        @classmethod
        @safe_trace
        def made(cls, x):
            return x

        @staticmethod
        @safe_trace
        def static(x):
            return x

    assert [Bot().method(1), Bot.made(1), Bot.static(1)] == [1, 1, 1]
    assert [observation.input["args"] for observation in spans] == [[1], [1], [1]]


def test_nested_calls_are_a_tree(spans):
    @safe_trace
    def outer():
        assert get_current_span().name == "outer"
        inner()
        assert get_current_span().name == "outer"

    @safe_trace
    def inner():
        return None

    outer()
    spans.assert_tree("""
        span outer
          span inner
    """)
    assert not get_current_span().is_recording()


async def test_a_coroutine_function(spans):
    @safe_trace
    async def answer(x):
        await asyncio.sleep(0)
        return x

    assert inspect.iscoroutinefunction(answer)
    assert await asyncio.gather(answer(1), answer(2)) == [1, 2]
    assert sorted(observation.output for observation in spans) == [1, 2]


def test_a_generator_joins_text_and_is_current_only_in_its_steps(spans):
    @safe_trace
    def stream():
        yield "a"
        assert get_current_span().name == "stream"
        yield "b"
        return "end"

    assert inspect.isgeneratorfunction(stream)
    steps = stream()
    assert list(spans) == []
    for item in ("a", "b"):
        assert next(steps) == item
        assert not get_current_span().is_recording()
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "end"
    spans.assert_tree("span stream  output=ab")


async def test_an_async_generator(spans):
    @safe_trace
    async def stream():
        yield 1
        await asyncio.sleep(0)
        assert get_current_span().name == "stream"
        yield 2

    assert inspect.isasyncgenfunction(stream)
    found = []
    async for item in stream():
        found.append(item)
        assert not get_current_span().is_recording()
    assert found == [1, 2]
    spans.assert_tree("span stream  output=[1, 2]")


def test_a_generator_that_is_never_started_makes_no_observation(spans):
    @safe_trace
    def stream():
        yield 1

    stream().close()
    assert list(spans) == []
    assert spans.unended == []


def test_a_generator_that_is_left_early_ends_with_what_it_gave(spans):
    closed = []

    @safe_trace
    def stream():
        try:
            yield from "abc"
        finally:
            closed.append(get_current_span().name)

    steps = stream()
    next(steps)
    steps.close()
    assert closed == ["stream"]
    spans.assert_tree("span stream  output=a level=DEFAULT")


async def test_an_async_generator_that_is_closed_from_another_task(spans, caplog):
    @safe_trace
    async def stream():
        while True:
            yield 1

    steps = stream()
    await steps.__anext__()
    await asyncio.create_task(steps.aclose())
    spans.assert_tree("span stream")
    assert caplog.text == ""


def test_what_is_sent_and_thrown_goes_to_the_generator(spans):
    @safe_trace
    def echo():
        got = yield "ready"
        while True:
            try:
                got = yield got
            except KeyError as error:
                got = error

    steps = echo()
    next(steps)
    assert steps.send(1) == 1
    error = KeyError("k")
    assert steps.throw(error) is error


@pytest.mark.slow
async def test_what_is_sent_and_thrown_goes_to_the_async_generator(spans):
    @safe_trace
    async def echo():
        got = yield "ready"
        while True:
            try:
                got = yield got
            except KeyError as error:
                got = error

    steps = echo()
    await steps.__anext__()
    assert await steps.asend(1) == 1
    error = KeyError("k")
    assert await steps.athrow(error) is error
    await steps.aclose()


def test_contexts_of_a_request_reach_the_observation(spans):
    @safe_trace
    def answer():
        return None

    with request_context(user_id="u"):
        answer()
    spans.assert_tree("span answer  user_id=u")


# -- errors of the application ---------------------------------------------------------------------------------


class AppError(Exception):
    pass


def kinds():
    """The four kinds of functions, as something to call that runs them to their end and counts the runs."""
    runs = []

    @safe_trace("f")
    def function(error=None):
        runs.append(1)
        if error:
            raise error
        return 1

    @safe_trace("f")
    async def coroutine(error=None):
        function.__wrapped__(error)
        return 1

    @safe_trace("f")
    def generator(error=None):
        function.__wrapped__(error)
        yield 1

    @safe_trace("f")
    async def async_generator(error=None):
        function.__wrapped__(error)
        yield 1

    async def last(steps):
        return [item async for item in steps][-1]

    return runs, {
        "function": function,
        "coroutine": lambda *args: asyncio.run(coroutine(*args)),
        "generator": lambda *args: list(generator(*args))[-1],
        "async_generator": lambda *args: asyncio.run(last(async_generator(*args))),
    }


KINDS = ["function", "coroutine", "generator", "async_generator"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_application_is_its_own_and_marked(spans, kind):
    runs, calls = kinds()
    error = AppError("no such item")
    with pytest.raises(AppError) as raised:
        calls[kind](error)

    assert raised.value is error
    assert len(runs) == 1
    failed = spans.one("span f", level="ERROR", status_message="no such item")
    assert failed.span.status.status_code.name == "ERROR"
    assert [event.name for event in failed.span.events] == ["exception"]
    assert failures.total == 0


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (AppError(), "ERROR"),
        (KeyboardInterrupt(), "ERROR"),
        (SystemExit(3), "ERROR"),
        (SystemExit(0), "DEFAULT"),
        (asyncio.CancelledError(), "WARNING"),
    ],
    ids=repr,
)
def test_the_level_of_each_kind_of_error(spans, error, level):
    @safe_trace
    def fails():
        raise error

    with pytest.raises(type(error)):
        fails()
    assert spans.one("span fails").level == level


def test_the_traceback_points_into_the_application(spans):
    @safe_trace
    def fails():
        raise AppError

    with pytest.raises(AppError) as raised:
        fails()
    assert raised.traceback[-1].name == "fails"
    assert raised.value.__context__ is None


# -- errors of tracing -----------------------------------------------------------------------------------------


class BrokenTracerError(Exception):
    pass


def broken(*args, **kwargs):
    raise BrokenTracerError("tracer is broken")


BREAKAGES = {
    "client": lambda patch: patch.setattr(singleton_module, "get_langfuse_client", broken),
    "start": lambda patch: patch.setattr(Langfuse, "start_as_current_observation", broken),
    "start of the span": lambda patch: patch.setattr("opentelemetry.sdk.trace.Tracer.start_span", broken),
    "update": lambda patch: patch.setattr("langfuse.LangfuseSpan.update", broken),
    "attributes": lambda patch: patch.setattr(Span, "set_attributes", broken),
    "exception": lambda patch: patch.setattr(Span, "record_exception", broken),
    "end": lambda patch: patch.setattr("langfuse.LangfuseSpan.end", broken),
    "end of the span": lambda patch: patch.setattr(Span, "end", broken),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("breakage", BREAKAGES)
@pytest.mark.parametrize("app_error", [None, AppError("mine")], ids=["returns", "raises"])
def test_a_broken_tracer_never_reaches_the_application(spans, monkeypatch, caplog, kind, breakage, app_error):
    caplog.set_level(logging.WARNING, "pytest_langfuse")
    runs, calls = kinds()
    BREAKAGES[breakage](monkeypatch)

    if app_error is None:
        assert calls[kind]() == 1
    else:
        with pytest.raises(AppError) as raised:
            calls[kind](app_error)
        assert raised.value is app_error

    assert len(runs) == 1
    if not (breakage == "exception" and app_error is None):
        assert failures.total > 0
        assert "Tracing failed while" in caplog.text
        assert "tracer is broken" in caplog.text


@pytest.mark.parametrize("breakage", ["start", "update", "end"])
def test_the_context_is_clean_after_a_failure(spans, monkeypatch, breakage):
    BREAKAGES[breakage](monkeypatch)

    @safe_trace
    def answer():
        return 1

    answer()
    assert not get_current_span().is_recording()


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __repr__
    __iter__ = __repr__

    def __getattr__(self, name):
        raise RuntimeError("no")


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_and_errors_that_can_not_even_be_printed(spans, kind):
    class HostileError(Exception):
        __str__ = Hostile.__repr__  # not __repr__: asyncio prints that

    _, calls = kinds()
    error = HostileError()
    with pytest.raises(HostileError) as raised:
        calls[kind](error)
    assert raised.value is error

    @safe_trace
    def identity(value):
        return value

    hostile = Hostile()
    assert identity(hostile) is hostile


def test_failures_are_logged_once_a_minute(spans, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "pytest_langfuse")
    BREAKAGES["start"](monkeypatch)
    answer = safe_trace(lambda: 1)
    for _ in range(50):
        answer()

    assert failures.total == 50
    assert len([record for record in caplog.records if record.name == "pytest_langfuse.tracing"]) == 1


def test_an_endless_stream_is_not_kept_in_memory(spans, monkeypatch):
    monkeypatch.setattr("pytest_langfuse.tracing.decorator.LONGEST_OUTPUT", 3)

    @safe_trace
    def endless():
        while True:
            yield "x"

    steps = endless()
    for _ in range(100):
        next(steps)
    steps.close()
    spans.assert_tree("span endless  output=xxx")


class Odd:
    """Callable, with a name that is no text."""

    __name__ = 5

    def __call__(self, item):
        return item


def test_a_callable_whose_name_is_no_text_is_named_after_its_class(langfuse_spans):
    assert safe_trace()(Odd())("item") == "item"
    langfuse_spans.one("span Odd")
