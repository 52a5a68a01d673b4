"""`mask` covers what errors say: status messages, exception events and their tracebacks."""

import asyncio

import pytest

from pytest_langfuse.tracing import LangfuseASGIMiddleware, LangfuseWSGIMiddleware, safe_trace
from pytest_langfuse.tracing.observed_error import MASK_FAILED

SECRET = "4111-1111-1111-1111"


def mask(*, data, **_):
    if isinstance(data, str):
        return data.replace(SECRET, "****")
    if isinstance(data, dict):
        return {key: mask(data=value) for key, value in data.items()}
    return [mask(data=value) for value in data] if isinstance(data, list | tuple) else data


def fail(*_):
    raise ValueError(f"card {SECRET} refused")


@safe_trace("function")
def function():
    fail()


@safe_trace("coroutine")
async def coroutine():
    fail()


@safe_trace("generator")
def generator():
    yield 1
    fail()


def through_function():
    function()


def through_coroutine():
    asyncio.run(coroutine())


def through_generator():
    list(generator())


def through_wsgi():
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/x", "SERVER_NAME": "a", "SERVER_PORT": "80"}
    list(LangfuseWSGIMiddleware(fail)(environ, lambda *_: None))


def through_asgi():
    async def app(scope, receive, send):
        fail()

    scope = {"type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "query_string": b"", "headers": []}
    asyncio.run(LangfuseASGIMiddleware(app)(scope, None, None))


WAYS = [through_function, through_coroutine, through_generator, through_wsgi, through_asgi]


def texts(langfuse_spans):
    (observation,) = langfuse_spans
    (event,) = observation.span.events
    return observation, [observation.status_message, *map(str, event.attributes.values())]


@pytest.mark.parametrize("call", WAYS)
def test_errors_are_masked(tracing, langfuse_spans, call):
    tracing(mask=mask)
    with pytest.raises(ValueError, match=SECRET):
        call()

    observation, found = texts(langfuse_spans)
    assert SECRET not in "".join(found)
    assert "card **** refused" in observation.status_message
    assert "Traceback" in "".join(found)
    assert observation.level == "ERROR"
    langfuse_spans.assert_not_exported(SECRET)


@pytest.mark.parametrize("call", WAYS)
def test_without_a_mask_they_are_as_they_were(tracing, langfuse_spans, call):
    tracing()
    with pytest.raises(ValueError, match=SECRET):
        call()

    _, found = texts(langfuse_spans)
    assert all(SECRET in text for text in found if "card" in text)


@pytest.mark.parametrize("call", WAYS)
def test_a_mask_that_raises_hides_all_of_it_and_its_own_error_is_not_printed(tracing, langfuse_spans, call, lines):
    def broken(*, data, **_):
        raise RuntimeError(f"can't mask {data}")

    tracing(mask=broken)
    with pytest.raises(ValueError, match=SECRET):
        call()

    observation, found = texts(langfuse_spans)
    assert observation.status_message == MASK_FAILED
    assert SECRET not in "".join(found)
    assert SECRET not in "".join(line for line in lines() if "pytest_langfuse" in line or "masking an error" in line)


def test_a_mask_that_returns_something_else_is_shown_as_text(tracing, langfuse_spans):
    tracing(mask=lambda *, data, **_: {"masked": True})
    with pytest.raises(ValueError, match=SECRET):
        function()

    observation, _ = texts(langfuse_spans)
    assert observation.status_message == "{'masked': True}"
