"""The WSGI middleware, request by request, in process and behind a real server."""

import asyncio
import contextlib
import io
import sys
import wsgiref.util
import wsgiref.validate

import pytest

from pytest_langfuse.tracing import (
    LangfuseWSGIMiddleware,
    RequestContext,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    request_context,
    shutdown_tracing,
)
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.singleton import fresh
from tests.helpers.web_calls import call_wsgi, environ_of, raw, wsgiref_serving

OK = ("200 OK", [("Content-Type", "text/plain")])


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.fixture(autouse=True)
def client(langfuse_tracing):
    return langfuse_tracing()


def observe(name="work"):
    with get_langfuse_client().start_as_current_observation(name=name):
        pass


def answer(environ, start_response):
    observe()
    start_response(*OK)
    return [b"done"]


def user(name="u-1", session="s-1", request="r-1"):
    return [("x-user-id", name), ("x-session-id", session), ("x-request-id", request)]


def test_an_observation_for_a_request(langfuse_spans):
    app = LangfuseWSGIMiddleware(answer, trusted=True, route=lambda environ: "/items/<int:i>")
    response = call_wsgi(app, "/items/3", headers=user())

    assert (response.status, response.headers, response.body) == (*OK, b"done")
    langfuse_spans.assert_tree("""
        * user_id=u-1 session_id=s-1 metadata.request_id=r-1
        span "GET /items/{i}" input={"method":"GET","path":"/items/3"} output={"status_code":200} level=DEFAULT
            span work
    """)
    assert langfuse_spans[0].metadata == {"user_id": "u-1", "session_id": "s-1", "request_id": "r-1"}
    assert get_request_context() == RequestContext()


def test_the_query_only_when_asked_for_and_the_whole_path(langfuse_spans):
    environ = environ_of("/é", SCRIPT_NAME="/app", QUERY_STRING="q=\xc3\xa9")
    call_wsgi(LangfuseWSGIMiddleware(answer), environ={**environ})
    call_wsgi(LangfuseWSGIMiddleware(answer, capture_query=True), environ={**environ})

    assert [root.input for root in langfuse_spans.all("span GET")] == [
        {"method": "GET", "path": "/app/é"},
        {"method": "GET", "path": "/app/é", "query": "q=é"},
    ]


def test_the_context_holds_while_the_body_is_produced_and_not_in_between(langfuse_spans):
    seen = []

    def app(environ, start_response):
        start_response(*OK)
        with get_langfuse_client().start_as_current_observation(name="stream"):
            for letter in "ab":
                observe(f"chunk-{letter}")
                seen.append(get_request_context().user_id)
                yield letter.encode()

    body = LangfuseWSGIMiddleware(app, trusted=True)(environ_of("/", headers=user()), lambda *_: None)
    assert not seen
    seen.extend(get_request_context().user_id for _ in body)
    assert len(langfuse_spans.all("span GET")) == 1
    body.close()

    assert seen == ["u-1", None] * 2
    langfuse_spans.assert_tree("""
        span GET output={"status_code":200}
            span stream
                span chunk-a
                span chunk-b
    """)


def test_a_client_that_leaves_after_one_part(langfuse_spans):
    closed = []

    def app(environ, start_response):
        start_response(*OK)
        try:
            yield b"1"
            yield b"2"
        finally:
            closed.append(get_request_context().user_id)
            observe("cleanup")

    body = LangfuseWSGIMiddleware(app, trusted=True)(environ_of("/", headers=user()), lambda *_: None)
    assert next(iter(body)) == b"1"
    body.close()
    body.close()

    assert closed == ["u-1"]
    langfuse_spans.assert_tree("""
        span GET level=WARNING status_message="the client left before the response was complete"
            span cleanup
    """)


def test_no_body_is_asked_of_an_answer_to_head(langfuse_spans):
    def app(environ, start_response):
        start_response(*OK)
        yield b"1"

    LangfuseWSGIMiddleware(app)(environ_of("/", "HEAD"), lambda *_: None).close()

    assert langfuse_spans.one("span HEAD").level == "DEFAULT"


def test_what_is_done_when_the_body_is_closed_is_below_the_request(langfuse_spans):
    class Body:
        def __iter__(self):
            return iter([b"1"])

        def close(self):
            observe("afterwards")

    def app(environ, start_response):
        start_response(*OK)
        return Body()

    call_wsgi(LangfuseWSGIMiddleware(app))

    langfuse_spans.assert_tree("span GET level=DEFAULT\n    span afterwards")
    assert langfuse_spans.one("span GET").end_time <= langfuse_spans.one("span afterwards").start_time


def test_a_body_that_has_no_close(langfuse_spans):
    def app(environ, start_response):
        start_response(*OK)
        return iter([b"1", b"2"])

    assert call_wsgi(LangfuseWSGIMiddleware(app)).body == b"12"
    assert langfuse_spans.one("span GET").level == "DEFAULT"


def test_a_body_with_a_length_keeps_it(langfuse_spans):
    class Body:
        def __iter__(self):
            return iter([b"1"])

        def __len__(self):
            return 1

    def app(environ, start_response):
        start_response(*OK)
        return Body()

    middleware = LangfuseWSGIMiddleware(app)
    with wsgiref_serving(middleware) as url:
        assert b"Content-Length: 1\r\n" in raw(url, b"GET / HTTP/1.0\r\n\r\n")
    assert langfuse_spans.one("span GET")


def test_a_list_passes_as_it_is(langfuse_spans):
    parts = [b"1"]

    def app(environ, start_response):
        start_response(*OK)
        return parts

    assert LangfuseWSGIMiddleware(app)(environ_of("/"), lambda *_: None) is parts
    assert langfuse_spans.one("span GET")


def test_start_response_at_the_last_moment_and_write(langfuse_spans):
    def app(environ, start_response):
        yield b""
        write = start_response("201 Created", [])
        write(b"written ")
        yield b"yielded"

    response = call_wsgi(LangfuseWSGIMiddleware(app))

    assert (response.status, response.body) == ("201 Created", b"written yielded")
    assert langfuse_spans.one("span GET").output == {"status_code": 201}


def test_an_error_answered_by_the_application(langfuse_spans):
    def app(environ, start_response):
        start_response(*OK)
        try:
            int("boom")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    response = call_wsgi(LangfuseWSGIMiddleware(app))

    assert response.status == "500 Oops"
    assert isinstance(response.exc_info[1], ValueError)
    langfuse_spans.assert_tree('span GET level=ERROR status_message~"ValueError.*boom" output={"status_code":500}')


def test_a_server_that_raises_exc_info_again(langfuse_spans):
    def app(environ, start_response):
        try:
            int("boom")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    def start_response(status, headers, exc_info=None):
        raise exc_info[1].with_traceback(exc_info[2])

    with pytest.raises(ValueError, match="boom"):
        LangfuseWSGIMiddleware(app)(environ_of("/"), start_response)

    assert langfuse_spans.one("span GET").level == "ERROR"


@pytest.mark.parametrize("when", ["call", "body"])
def test_an_exception_is_raised_and_marked(langfuse_spans, when):
    class Body:
        def __iter__(self):
            raise ValueError("boom")

    def app(environ, start_response):
        if when == "call":
            raise ValueError("boom")
        start_response(*OK)
        return Body()

    with pytest.raises(ValueError, match="boom"):
        call_wsgi(LangfuseWSGIMiddleware(app))

    status = 500 if when == "call" else 200
    root = langfuse_spans.one("span GET")
    assert (root.level, root.status_message, root.output) == ("ERROR", "ValueError: boom", {"status_code": status})
    assert get_request_context() == RequestContext()


@pytest.mark.parametrize("read", [True, False])
def test_an_exception_of_close(langfuse_spans, read):
    class Body:
        def __iter__(self):
            return iter([])

        def close(self):
            raise ValueError("boom")

    def app(environ, start_response):
        start_response(*OK)
        return Body()

    body = LangfuseWSGIMiddleware(app)(environ_of("/"), lambda *_: None)
    assert not read or list(body) == []
    with pytest.raises(ValueError, match="boom"):
        body.close()

    # What is raised after the last part is no concern of the request any more.
    assert langfuse_spans.one("span GET").level == ("DEFAULT" if read else "ERROR")


def test_a_servers_file_wrapper_is_still_one(langfuse_spans):
    file = io.BytesIO(b"file")

    def app(environ, start_response):
        start_response(*OK)
        return environ["wsgi.file_wrapper"](file)

    environ = environ_of("/", **{"wsgi.file_wrapper": wsgiref.util.FileWrapper})
    body = LangfuseWSGIMiddleware(app)(environ, lambda *_: None)
    assert isinstance(body, wsgiref.util.FileWrapper)
    assert not langfuse_spans
    body.close()

    assert file.closed
    assert langfuse_spans.one("span GET").level == "DEFAULT"


def test_a_file_wrapper_that_can_not_be_watched(langfuse_spans):
    class Wrapper:
        __slots__ = ()

        def __iter__(self):
            return iter([b"1"])

    def app(environ, start_response):
        start_response(*OK)
        return environ["wsgi.file_wrapper"]()

    environ = environ_of("/", **{"wsgi.file_wrapper": Wrapper})
    assert isinstance(LangfuseWSGIMiddleware(app)(environ, lambda *_: None), Wrapper)
    assert langfuse_spans.one("span GET")


def test_it_keeps_to_the_specification():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"done"])

    checked = wsgiref.validate.validator(LangfuseWSGIMiddleware(wsgiref.validate.validator(app), send_request_id=True))
    environ = environ_of("/", **{"wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()})
    response = call_wsgi(checked, environ=environ)

    assert response.body == b"done"
    assert dict(response.headers)["x-request-id"]


def stream(environ, start_response):
    start_response(*OK)
    yield b"done"


@pytest.mark.parametrize("inner", [answer, stream])
def test_mounted_twice_it_observes_once(langfuse_spans, inner):
    environ = environ_of("/")
    app = LangfuseWSGIMiddleware(LangfuseWSGIMiddleware(inner))
    call_wsgi(app, environ=environ)
    call_wsgi(app, environ=environ)

    assert len(langfuse_spans.all("span GET")) == 2


def test_requests_one_after_the_other_in_a_thread_have_nothing_in_common(langfuse_spans):
    def app(environ, start_response):
        start_response(*OK)
        # Left open by an application that does not tidy up.
        request_context(tags=[environ["HTTP_X_USER_ID"]]).__enter__()
        observe()
        yield b"1"

    middleware = LangfuseWSGIMiddleware(app, trusted=True)
    for number in range(3):
        # A server that neither finishes nor closes.
        next(middleware(environ_of("/", headers=user(f"u-{number}")), lambda *_: None))
        assert get_request_context() == RequestContext()

    assert [(work.user_id, list(work.tags)) for work in langfuse_spans.all("span work")] == [
        (f"u-{number}", [f"u-{number}"]) for number in range(3)
    ]


@pytest.mark.parametrize("state", ["never", "no keys", "shut down"])
def test_without_tracing_there_is_the_context(langfuse_spans, state, monkeypatch):
    shutdown_tracing()
    if state == "no keys":
        # Two missing keys are supplied where a client is captured; one alone is a mistake of the application.
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-alone")
        init_tracing()
    seen = []

    def app(environ, start_response):
        seen.append(get_request_context().user_id)
        start_response(*OK)
        yield b"1"

    with fresh() if state == "never" else contextlib.nullcontext():
        call_wsgi(LangfuseWSGIMiddleware(app, trusted=True), headers=user())

    assert seen == ["u-1"]
    assert not langfuse_spans


def test_a_failure_of_tracing_does_not_reach_the_application(langfuse_spans, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise RuntimeError("broken SDK")

    failures.forget()
    monkeypatch.setattr(type(get_langfuse_client()), "start_as_current_observation", broken)

    def app(environ, start_response):
        start_response(*OK)
        return [b"done"]

    assert call_wsgi(LangfuseWSGIMiddleware(app)).body == b"done"
    assert "Tracing failed while starting a request's observation" in caplog.text


async def test_within_an_asynchronous_server(langfuse_spans):
    """As asgiref and others run a WSGI application: in a thread, with the caller's context."""
    await asyncio.to_thread(call_wsgi, LangfuseWSGIMiddleware(answer, trusted=True), headers=user())

    langfuse_spans.assert_tree("* user_id=u-1\nspan GET\n    span work")
