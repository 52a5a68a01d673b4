"""Thousands of requests at once: nobody sees another's user, session or trace."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    RequestContext,
    get_langfuse_client,
    get_request_context,
)
from tests.helpers.web_calls import call

# Slow: sends thousands of requests.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("requests", [1_000, pytest.param(10_000, marks=pytest.mark.exhaustive)]),
]


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.fixture(autouse=True)
def client(langfuse_tracing):
    return langfuse_tracing()


def headers_of(number):
    return [("x-user-id", f"u-{number}"), ("x-session-id", f"s-{number}"), ("x-request-id", f"r-{number}")]


def context_of(number):
    return RequestContext(user_id=f"u-{number}", session_id=f"s-{number}", request_id=f"r-{number}")


def check(langfuse_spans, requests, wrong):
    """Each request has one trace, and all of it is its own."""
    assert not wrong[:3]
    assert get_request_context() == RequestContext()
    traces = {}
    for one in langfuse_spans:
        number = int(one.user_id.removeprefix("u-"))
        assert (one.session_id, one.metadata["request_id"]) == (f"s-{number}", f"r-{number}")
        assert traces.setdefault(one.trace_id, number) == number
    assert sorted(traces.values()) == list(range(requests))
    assert Counter(one.name for one in langfuse_spans) == {"GET": requests, "work": requests}
    roots = {one.id: one.trace_id for one in langfuse_spans if one.name == "GET"}
    assert all(roots[one.parent_id] == one.trace_id for one in langfuse_spans if one.name == "work")


async def test_requests_at_once_over_asgi(langfuse_spans, requests):
    inside, all_in, wrong = 0, asyncio.Event(), []

    async def app(scope, receive, send):
        nonlocal inside
        number = int(scope["path"][1:])
        inside += 1
        if inside == requests:
            all_in.set()
        # Nobody goes on before all are here.
        await all_in.wait()
        for turn in range(1 + number % 3):
            await asyncio.sleep(0)
            if get_request_context() != context_of(number):
                wrong.append((number, turn, get_request_context()))
        with get_langfuse_client().start_as_current_observation(name="work"):
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})
        if get_request_context() != context_of(number):
            wrong.append((number, "after", get_request_context()))

    middleware = LangfuseASGIMiddleware(app, trusted=True)
    await asyncio.gather(*(call(middleware, f"/{number}", headers=headers_of(number)) for number in range(requests)))

    check(langfuse_spans, requests, wrong)


def test_requests_over_wsgi_by_threads_that_serve_several_in_turns(langfuse_spans, requests):
    """Each thread holds the bodies of many requests half-way, as a server with one thread for many clients would."""
    threads, width = 8, 50
    wrong, together = [], threading.Barrier(threads)

    def app(environ, start_response):
        number = int(environ["PATH_INFO"][1:])
        start_response("200 OK", [])
        with get_langfuse_client().start_as_current_observation(name="work"):
            for turn in range(2):
                if get_request_context() != context_of(number):
                    wrong.append((number, turn, get_request_context()))
                yield b"x"

    middleware = LangfuseWSGIMiddleware(app, trusted=True)

    def serve(thread):
        together.wait()
        mine = range(thread, requests, threads)
        for start in range(0, len(mine), width):
            bodies = [
                middleware(environ, lambda *_: None)
                for environ in (environ_for(number) for number in mine[start : start + width])
            ]
            for _ in range(3):
                for body in bodies:
                    next(body, None)
                    if get_request_context() != RequestContext():
                        wrong.append((thread, "between", get_request_context()))
            for body in reversed(bodies):
                body.close()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(serve, range(threads)))

    check(langfuse_spans, requests, wrong)


def environ_for(number):
    from tests.helpers.web_calls import environ_of

    return environ_of(f"/{number}", headers=headers_of(number))
