"""The ASGI middleware, request by request, in process."""

import asyncio
import contextlib
import gc
import inspect
import logging
import re
import uuid

import pytest
from langfuse import get_client
from opentelemetry import context as otel_context
from opentelemetry import trace
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    RequestContext,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    langfuse_aiohttp_middleware,
    request_context,
    shutdown_tracing,
)
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.singleton import fresh
from pytest_langfuse.tracing.web.middleware_options import MiddlewareOptions
from tests.helpers.web_calls import call, scope_of

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.fixture(autouse=True)
def client(langfuse_tracing):
    return langfuse_tracing()


async def answer(scope, receive, send):
    """An application that observes something."""
    with get_langfuse_client().start_as_current_observation(name="work"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"done"})


async def item(request):
    with get_langfuse_client().start_as_current_observation(name="work"):
        return JSONResponse({"i": request.path_params.get("i")})


def user(name="u-1", session="s-1", request="r-1"):
    return [("x-user-id", name), ("x-session-id", session), ("x-request-id", request)]


async def test_an_observation_for_a_request(langfuse_spans):
    app = LangfuseASGIMiddleware(Starlette(routes=[Route("/items/{i:int}", item)]), trusted=True)
    sent = await call(app, "/items/3", headers=user(), query=b"secret=1")

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    langfuse_spans.assert_tree("""
        * user_id=u-1 session_id=s-1 metadata.request_id=r-1
        span "GET /items/{i}" input={"method":"GET","path":"/items/3"} output={"status_code":200} level=DEFAULT
            span work
    """)
    root = langfuse_spans.one('span "GET /items/{i}"')
    assert root.metadata == {"user_id": "u-1", "session_id": "s-1", "request_id": "r-1"}
    assert root.is_root
    assert "secret" not in str(root.span.attributes)


async def test_the_query_only_when_asked_for(langfuse_spans):
    await call(LangfuseASGIMiddleware(answer, capture_query=True), "/a", query=b"q=\xff&r=1")

    assert langfuse_spans.one("span GET").input == {"method": "GET", "path": "/a", "query": "q=\ufffd&r=1"}


async def test_the_context_is_there_below_and_gone_afterwards():
    seen = []

    async def app(scope, receive, send):
        seen.append(get_request_context())
        seen.append(await asyncio.to_thread(get_request_context))
        seen.append(await asyncio.create_task(asyncio.sleep(0, get_request_context())))
        await answer(scope, receive, send)

    await call(LangfuseASGIMiddleware(app, trusted=True), headers=user())

    assert seen == [RequestContext(user_id="u-1", session_id="s-1", request_id="r-1")] * 3
    assert get_request_context() == RequestContext()
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/3", "GET /items/{i}"),
        ("/files/a/b/c", "GET /files/{path}"),
        ("/t/acme/v1/items/3", "GET /t/{tenant}/v1/items/{i}"),
        ("/t/acme/static/logo.png", "GET /t/{tenant}/static/{path}"),
        ("/t/acme/none", "GET /t/{tenant}/{path}"),
        ("/none/3", "GET"),
        ("/items/3/", "GET"),
    ],
)
async def test_names_of_routes(langfuse_spans, path, name):
    v1 = Router([Route("/items/{i}", item)])
    app = Starlette(
        routes=[
            Route("/items/{i:int}", item),
            Route("/files/{path:path}", item),
            Mount("/t/{tenant}", routes=[Mount("/v1", app=v1), Mount("/static", app=PlainTextResponse("logo"))]),
            Host("api.example", app=v1),
        ]
    )
    await call(LangfuseASGIMiddleware(app), path)

    assert langfuse_spans.traces[0].name == name


async def test_a_prefix_of_the_server_is_not_a_part_of_the_route(langfuse_spans):
    app = LangfuseASGIMiddleware(Starlette(routes=[Mount("/v1", routes=[Route("/items/{i}", item)])]))
    await call(app, scope=scope_of("/prefix/v1/items/3", root_path="/prefix"))

    root = langfuse_spans.one('span "GET /v1/items/{i}"')
    assert root.input["path"] == "/prefix/v1/items/3"


async def test_a_route_that_the_application_names(langfuse_spans):
    app = LangfuseASGIMiddleware(answer, route=lambda scope: "/by/{name}" if scope["path"] == "/by/me" else None)
    await call(app, "/by/me")
    await call(app, "/other")

    assert {trace.name for trace in langfuse_spans.traces} == {"GET /by/{name}", "GET"}


@pytest.mark.parametrize(("method", "name"), [("PATCH", "PATCH"), ("X" * 500, "HTTP"), ("get", "HTTP"), ("", "HTTP")])
async def test_methods(langfuse_spans, method, name):
    await call(LangfuseASGIMiddleware(answer), method=method)

    root = langfuse_spans.one(f"span {name}")
    assert len(root.input["method"]) <= 32
    assert root.input["method"][:3] == method[:3]


async def test_an_exception_is_raised_and_marked(langfuse_spans):
    async def app(scope, receive, send):
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await call(LangfuseASGIMiddleware(app))

    langfuse_spans.assert_tree('span GET level=ERROR status_message="ValueError: boom" output={"status_code":500}')


async def test_an_exception_after_the_response_began(langfuse_spans):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await call(LangfuseASGIMiddleware(app))

    langfuse_spans.assert_tree('span GET level=ERROR status_message~boom output={"status_code":200}')


@pytest.mark.parametrize(
    ("status", "level", "message"),
    [(204, "DEFAULT", None), (404, "DEFAULT", None), (503, "ERROR", "503 Service Unavailable"), (599, "ERROR", "599")],
)
async def test_status_codes(langfuse_spans, status, level, message):
    await call(LangfuseASGIMiddleware(PlainTextResponse("", status_code=status)))

    root = langfuse_spans.one("span GET")
    assert (root.output, root.level, root.status_message) == ({"status_code": status}, level, message)


async def test_a_stream_ends_the_observation_with_its_last_chunk(langfuse_spans):
    finished, ended = asyncio.Event(), []

    async def chunks():
        for number in range(3):
            with get_langfuse_client().start_as_current_observation(name=f"chunk-{'abc'[number]}"):
                await asyncio.sleep(0)
            yield b"x"
            ended.append(len(langfuse_spans.all("span GET")))

    async def afterwards():
        ended.append(len(langfuse_spans.all("span GET")))
        with get_langfuse_client().start_as_current_observation(name="background"):
            await asyncio.sleep(0)
        finished.set()

    app = LangfuseASGIMiddleware(StreamingResponse(chunks(), background=BackgroundTask(afterwards)))
    messages = asyncio.Queue()
    await app(scope_of("/"), messages.get, _nowhere)

    assert finished.is_set()
    assert ended == [0, 0, 0, 1]
    langfuse_spans.assert_tree("""
        span GET output={"status_code":200} level=DEFAULT
            span chunk-a
            span chunk-b
            span chunk-c
            span background
    """)
    root, late = langfuse_spans.one("span GET"), langfuse_spans.one("span background")
    assert root.span.end_time <= late.span.start_time


async def test_a_failed_response_ends_with_its_last_part_too(langfuse_spans):
    async def app(scope, receive, send):
        await PlainTextResponse("", status_code=503)(scope, receive, send)
        with get_langfuse_client().start_as_current_observation(name="background"):
            pass

    await call(LangfuseASGIMiddleware(app))

    langfuse_spans.assert_tree('span GET level=ERROR status_message="503 Service Unavailable"\n    span background')
    assert langfuse_spans.one("span GET").span.end_time <= langfuse_spans.one("span background").span.start_time


async def _nowhere(message):
    pass


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.trailers"])
async def test_other_ends_of_a_response(langfuse_spans, kind):
    ended = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "trailers": kind.endswith("trailers")})
        if kind.endswith("trailers"):
            await send({"type": "http.response.body", "body": b""})
            ended.append(len(langfuse_spans))
        await send({"type": kind})
        ended.append(len(langfuse_spans))

    await call(LangfuseASGIMiddleware(app))

    assert ended[-1] == 1
    assert not any(ended[:-1])


async def test_a_client_that_leaves_ends_the_observation(langfuse_spans):
    left = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        assert len(langfuse_spans) == 1
        left.set()

    messages = iter([{"type": "http.request", "body": b""}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    await LangfuseASGIMiddleware(app)(scope_of("/"), receive, _nowhere)

    assert left.is_set()
    langfuse_spans.assert_tree("""
        span GET level=WARNING status_message="the client left before the response was complete"
    """)


async def test_a_server_that_raises_on_sending(langfuse_spans):
    async def send(message):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await LangfuseASGIMiddleware(answer)(scope_of("/"), _nowhere, send)

    assert langfuse_spans.one("span GET").level == "ERROR"


async def test_a_cancelled_request(langfuse_spans):
    started = asyncio.Event()

    async def app(scope, receive, send):
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(call(LangfuseASGIMiddleware(app)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    langfuse_spans.assert_tree('span GET level=WARNING status_message~"cancelled" !output')


def test_a_request_that_is_thrown_away_from_elsewhere(langfuse_spans, caplog):
    async def app(scope, receive, send):
        await asyncio.Event().wait()

    coroutine = call(LangfuseASGIMiddleware(app))
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(coroutine)
        loop.call_soon(loop.stop)
        loop.run_forever()
        # As at the end of a loop that is not run to its end: from another context than the task's.
        coroutine.close()
        task.cancel()
        with pytest.raises(RuntimeError):
            loop.run_until_complete(task)
    finally:
        loop.close()

    assert not [record for record in caplog.records if "detach" in record.getMessage()]
    assert langfuse_spans.one("span GET").level == "WARNING"


async def test_an_application_that_says_nothing(langfuse_spans):
    async def app(scope, receive, send):
        pass

    await call(LangfuseASGIMiddleware(app))

    assert langfuse_spans.one("span GET").level == "WARNING"


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something-new"])
async def test_what_is_no_http_request_passes_untouched(langfuse_spans, kind):
    seen = []

    async def app(*given):
        seen.append(given)

    given = ({"type": kind}, object(), object())
    await LangfuseASGIMiddleware(app)(*given)

    assert all(one is other for one, other in zip(seen[0], given, strict=True))
    assert given[0] == {"type": kind}
    assert get_request_context() == RequestContext()
    assert not langfuse_spans


async def test_mounted_twice_it_observes_once(langfuse_spans):
    inner = Starlette(routes=[Route("/items/{i}", item)])
    inner.add_middleware(LangfuseASGIMiddleware)
    app = LangfuseASGIMiddleware(LangfuseASGIMiddleware(Starlette(routes=[Mount("/v1", app=inner)])))
    await call(app, "/v1/items/3")

    langfuse_spans.assert_tree('span "GET /v1/items/{i}"\n    span work')


async def test_a_scope_that_is_used_again_is_another_request(langfuse_spans):
    app, scope = LangfuseASGIMiddleware(answer), scope_of("/")
    keys = set(scope)
    await call(app, scope=scope)
    await call(app, scope=scope)

    assert len(langfuse_spans.traces) == 2
    assert set(scope) == keys


async def test_a_request_within_a_request(langfuse_spans):
    """As with `httpx.ASGITransport`: the outer application is the caller, and keeps its own user."""
    inner = LangfuseASGIMiddleware(answer, trusted=True)

    async def outer(scope, receive, send):
        await call(inner, "/inner", headers=user("u-2", "s-2", "r-2"))
        await answer(scope, receive, send)

    await call(LangfuseASGIMiddleware(outer, trusted=True, route=lambda _: "/outer"), headers=user())

    langfuse_spans.assert_tree("""
        span "GET /outer" user_id=u-1
            span GET user_id=u-2 session_id=s-2 metadata.request_id=r-2
                span work user_id=u-2
            span work user_id=u-1
    """)


@pytest.mark.slow
async def test_user_and_session_of_the_applications_own_authentication(langfuse_spans):
    app = LangfuseASGIMiddleware(
        answer, trusted=True, user_id=lambda scope: scope["state"]["user"], session_id=lambda scope: 17
    )
    await call(app, scope=scope_of("/", headers=user(), state={"user": "authenticated"}))
    await call(app, scope=scope_of("/", headers=user(), state={"user": None}))

    assert [root.user_id for root in langfuse_spans.all("span GET")] == ["authenticated", "u-1"]
    assert {root.session_id for root in langfuse_spans} == {"17"}


@pytest.mark.parametrize("hook", ["user_id", "session_id", "route"])
async def test_a_hook_that_raises_does_not_reach_the_application(langfuse_spans, hook, caplog):
    failures.forget()
    sent = await call(LangfuseASGIMiddleware(answer, **{hook: lambda scope: scope["missing"]}))

    assert sent[0]["status"] == 200
    assert langfuse_spans.one("span GET").output == {"status_code": 200}
    assert f"{hook}= of the middleware" in caplog.text


@pytest.mark.parametrize("middleware", [LangfuseASGIMiddleware, LangfuseWSGIMiddleware, langfuse_aiohttp_middleware])
@pytest.mark.parametrize(
    ("option", "value"),
    [("trusted", "false"), ("trusted", 0), ("capture_query", "no"), ("send_request_id", None)],
)
def test_a_switch_that_is_not_a_bool_is_an_error(middleware, option, value):
    """The text of a variable, `trusted="false"`, would switch trust on."""
    arguments = () if middleware is langfuse_aiohttp_middleware else (answer,)
    with pytest.raises(TypeError) as raised:
        middleware(*arguments, **{option: value})
    said = f"{option}={value!r} is neither true nor false. Allowed: true or false. Fix: pass {option}=True."
    assert str(raised.value) == f"the middleware: {said}"


def test_a_hook_that_is_no_function_is_an_error():
    with pytest.raises(TypeError, match=r"user_id='u-1' is not a function.* Fix: pass user_id=lambda scope"):
        LangfuseASGIMiddleware(answer, user_id="u-1")


@pytest.mark.parametrize(
    "make", [lambda **options: LangfuseASGIMiddleware(answer, **options), langfuse_aiohttp_middleware]
)
def test_an_unknown_option_is_an_error_with_a_suggestion(make):
    with pytest.raises(TypeError, match="unexpected keyword argument 'trust' for the middleware, did you mean 'truste"):
        make(trust=True)
    with pytest.raises(TypeError, match="'colour' for the middleware, options are: trusted, capture_query, exclude"):
        make(colour="blue")


def test_help_teaches_every_option():
    shown = inspect.getdoc(LangfuseASGIMiddleware)
    for name in MiddlewareOptions.__annotations__:
        assert f"\n    {name}: " in shown


@pytest.mark.parametrize("path", ["/health", "/static/a/b.css"])
async def test_excluded_paths_have_the_context_only(langfuse_spans, path):
    app = LangfuseASGIMiddleware(Starlette(routes=[Route("/{p:path}", item)]), exclude=["/health", "/static/*"])
    await call(app, path)

    langfuse_spans.assert_tree("span work metadata.request_id?")
    await call(app, "/healthy")
    assert langfuse_spans.one('span "GET /{p}"')


async def test_the_request_id_is_sent_back_when_asked_for(langfuse_spans):
    own = PlainTextResponse("", headers={"X-Request-Id": "own"})
    plain, asked = [await call(LangfuseASGIMiddleware(answer, send_request_id=asked)) for asked in (False, True)]
    kept = await call(LangfuseASGIMiddleware(own, send_request_id=True))

    assert plain[0]["headers"] == [(b"x-own", b"1")]
    [sent] = [value for name, value in asked[0]["headers"] if name == b"x-request-id"]
    assert sent.decode() == langfuse_spans.all("span GET")[1].metadata["request_id"]
    assert [value for name, value in kept[0]["headers"] if name == b"x-request-id"] == [b"own"]


async def test_without_a_request_id_there_is_a_new_uuid(langfuse_spans):
    for _ in range(2):
        await call(LangfuseASGIMiddleware(answer, trusted=True))

    found = [root.metadata["request_id"] for root in langfuse_spans.all("span GET")]
    assert len(set(found)) == 2
    assert all(UUID.fullmatch(one) and uuid.UUID(one).version == 4 for one in found)


@pytest.mark.parametrize("state", ["never", "no keys", "shut down"])
async def test_without_tracing_there_is_the_context(langfuse_spans, state, monkeypatch, request):
    shutdown_tracing()
    if state == "no keys":
        # Two missing keys are supplied where a client is captured; one alone is a mistake of the application.
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-alone")
        init_tracing()
    seen = []

    async def app(scope, receive, send):
        seen.append((get_request_context().user_id, receive, send))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    given = (scope_of("/", headers=user()), object(), _nowhere)
    with fresh() if state == "never" else contextlib.nullcontext():
        await LangfuseASGIMiddleware(app, trusted=True)(*given)

    assert seen == [("u-1", given[1], given[2])]
    assert not langfuse_spans
    assert get_request_context() == RequestContext()


async def test_a_failure_of_tracing_does_not_reach_the_application(langfuse_spans, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise RuntimeError("broken SDK")

    failures.forget()
    caplog.set_level(logging.WARNING)
    app = LangfuseASGIMiddleware(PlainTextResponse("fine"))
    with monkeypatch.context() as patched:
        patched.setattr(type(get_langfuse_client()), "start_as_current_observation", broken)
        assert (await call(app))[1]["body"] == b"fine"
    assert "Tracing failed while starting a request's observation" in caplog.text
    with monkeypatch.context() as patched:
        patched.setattr(trace.Span, "update_name", broken)
        patched.setattr("pytest_langfuse.tracing.web.served_request.ServedRequest._verdict", broken)
        assert (await call(app))[1]["body"] == b"fine"
    assert "Tracing failed while ending a request's observation" in caplog.text
    langfuse_spans.assert_tree("span GET !output")


async def test_nonsense_from_a_server_does_not_break_the_application(langfuse_spans):
    app = LangfuseASGIMiddleware(PlainTextResponse("fine"))
    sent = []

    async def send(message):
        sent.append(message)

    scope = scope_of("/")
    scope["headers"] = [("not", "bytes"), (b"one",), 7]
    await app(scope, _nowhere, send)

    assert sent[-1]["body"] == b"fine"


async def test_the_clients_mask_sees_input_and_output(langfuse_spans):
    seen = []
    shutdown_tracing()
    init_tracing(mask=lambda data: seen.append(data) or "masked")
    await call(LangfuseASGIMiddleware(PlainTextResponse("fine")), "/secret")

    assert {"method": "GET", "path": "/secret"} in seen
    assert {"status_code": 200} in seen
    langfuse_spans.assert_tree("span GET input=masked output=masked")


async def test_observations_of_the_plain_sdk_are_below_too(langfuse_spans):
    async def app(scope, receive, send):
        with request_context(tags=["t"]), get_client().start_as_current_observation(name="plain"):
            await PlainTextResponse("fine")(scope, receive, send)

    await call(LangfuseASGIMiddleware(app, trusted=True), headers=user())

    langfuse_spans.assert_tree("span GET user_id=u-1\n    span plain user_id=u-1")


@pytest.mark.slow
async def test_nothing_of_a_request_stays_alive():
    class Marker:
        pass

    async def app(scope, receive, send):
        scope["marker"] = marker = Marker()
        if scope["path"] == "/fails":
            raise ValueError(marker)
        await PlainTextResponse("fine")(scope, receive, send)

    gc.collect()
    gc.disable()
    try:
        for path in ("/", "/fails"):
            with pytest.raises(ValueError, match="Marker") if path == "/fails" else otel_context_unchanged():
                await call(LangfuseASGIMiddleware(app), path)
        # Not isinstance, which asks lazy objects of other libraries for their class.
        assert not [found for found in gc.get_objects() if type(found) is Marker]
    finally:
        gc.enable()


class otel_context_unchanged:
    def __enter__(self):
        self.before = otel_context.get_current()

    def __exit__(self, *error):
        assert otel_context.get_current() == self.before
