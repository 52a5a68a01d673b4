"""The middlewares with the frameworks that they are for, served over loopback."""

import asyncio
import logging
from contextlib import asynccontextmanager

import aiohttp
import django.test
import flask
import httpx
import pytest
from aiohttp import web
from django.test import override_settings
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from websockets.sync.client import connect
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    langfuse_aiohttp_middleware,
    request_context,
    shutdown_tracing,
    tracing_health,
)
from tests.helpers import django_site
from tests.helpers.limited_runs import LIMIT
from tests.helpers.web_calls import aiohttp_serving, uvicorn_serving, wsgiref_serving

# Slow: starts servers.
pytestmark = pytest.mark.slow

USER = {"x-user-id": "u-1", "x-session-id": "s-1", "x-request-id": "r-1"}


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.fixture(autouse=True)
def client(langfuse_tracing, caplog):
    # An unhandled error of an application is logged by its framework, here on purpose.
    caplog.set_level(logging.CRITICAL)
    return langfuse_tracing()


def observe(name="work"):
    with get_langfuse_client().start_as_current_observation(name=name):
        return get_request_context().user_id


def of_everyone(langfuse_spans):
    assert {(one.user_id, one.session_id) for one in langfuse_spans} == {("u-1", "s-1")}


# -- FastAPI and Starlette -----------------------------------------------------------------------------------------


async def signed_in(connection: HTTPConnection):
    async with request_context(user_id=connection.headers.get("x-auth")):
        yield


def fastapi_app():  # noqa: C901 - one route after the other
    router = APIRouter(prefix="/v1")

    @router.get("/items/{i}")
    async def item(i: int):
        return observe()

    @router.get("/threaded/{i}")
    def threaded(i: int):
        return observe()

    @router.get("/signed-in/{i}", dependencies=[Depends(signed_in)])
    async def personal(i: int):
        return observe()

    @router.get("/background")
    async def background(tasks: BackgroundTasks):
        tasks.add_task(observe, "background")
        return observe()

    @router.get("/refused")
    async def refused():
        raise HTTPException(503)

    @router.get("/fails")
    async def fails():
        raise ValueError("boom")

    app = FastAPI()
    app.include_router(router, prefix="/api")
    sub = FastAPI()
    sub.include_router(router)
    app.mount("/sub/{tenant}", sub)

    @app.get("/events")
    async def events():
        async def stream():
            try:
                for number in range(1_000_000):
                    yield f"data: {observe('event')} {number}\n\n"
                    await asyncio.sleep(0.001)
            finally:
                observe("closing")

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.websocket("/ws", dependencies=[Depends(signed_in)])
    async def ws(socket: WebSocket):
        await socket.accept()
        await socket.send_text(str(observe("message")))
        await socket.close()

    return app


@pytest.fixture(params=["wrapped", "added"])
def fastapi_url(request):
    app = fastapi_app()
    if request.param == "added":
        app.add_middleware(LangfuseASGIMiddleware, trusted=True)
    else:
        app = LangfuseASGIMiddleware(app, trusted=True)
    with uvicorn_serving(app) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/items/3", "GET /api/v1/items/{i}"),
        ("/api/v1/threaded/3", "GET /api/v1/threaded/{i}"),
        ("/sub/acme/v1/items/3", "GET /sub/{tenant}/v1/items/{i}"),
        ("/sub/acme/v1/threaded/3", "GET /sub/{tenant}/v1/threaded/{i}"),
    ],
)
def test_fastapi(langfuse_spans, fastapi_url, path, name):
    assert httpx.get(fastapi_url + path, headers=USER).json() == "u-1"

    langfuse_spans.wait_for(count=2)
    langfuse_spans.assert_tree(
        f'* user_id=u-1 session_id=s-1 metadata.request_id=r-1\nspan "{name}" output={{"status_code":200}}\n  span work'
    )


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("GET", "/none/3", "GET", 404),
        ("POST", "/api/v1/items/3", "POST /api/v1/items/{i}", 405),
        ("GET", "/api/v1/items/x", "GET /api/v1/items/{i}", 422),
        ("GET", "/api/v1/refused", "GET /api/v1/refused", 503),
        ("GET", "/api/v1/fails", "GET /api/v1/fails", 500),
        ("GET", "/openapi.json", "GET /openapi.json", 200),
    ],
)
def test_fastapi_answers_of_other_kinds(langfuse_spans, fastapi_url, method, path, name, status):
    assert httpx.request(method, fastapi_url + path).status_code == status

    [root] = langfuse_spans.wait_for(count=1)
    assert (root.name, root.output) == (name, {"status_code": status})
    assert root.level == ("ERROR" if status >= 500 else "DEFAULT")
    if path.endswith("fails"):
        assert root.status_message == "ValueError: boom"


def test_fastapi_users_of_its_own_authentication(langfuse_spans, fastapi_url):
    assert httpx.get(f"{fastapi_url}/api/v1/signed-in/3", headers={"x-auth": "u-2"}).json() == "u-2"

    langfuse_spans.wait_for(count=2)
    langfuse_spans.assert_tree('* user_id=u-2\nspan "GET /api/v1/signed-in/{i}"\n    span work')


def test_fastapi_background_tasks(langfuse_spans, fastapi_url):
    httpx.get(f"{fastapi_url}/api/v1/background", headers=USER)

    langfuse_spans.wait_for("span background")
    langfuse_spans.assert_tree('span "GET /api/v1/background"\n    span work\n    span background')
    of_everyone(langfuse_spans)


def test_fastapi_server_sent_events_that_nobody_reads_any_more(langfuse_spans, fastapi_url):
    with httpx.stream("GET", f"{fastapi_url}/events", headers=USER) as response:
        assert next(response.iter_lines()) == "data: u-1 0"

    langfuse_spans.wait_for('span "GET /events"', timeout=20)
    langfuse_spans.wait_for("span closing", timeout=20)
    langfuse_spans.assert_tree("""
        * user_id=u-1
        span "GET /events" level=WARNING output={"status_code":200}
            1+x span event
            span closing
    """)


def test_fastapi_websockets_pass(langfuse_spans, fastapi_url):
    with connect(fastapi_url.replace("http", "ws") + "/ws", additional_headers=USER) as connection:
        assert connection.recv() == "None"

    langfuse_spans.wait_for(count=1)
    langfuse_spans.assert_tree("span message")


def test_fastapi_users_of_websockets(langfuse_spans, fastapi_url):
    headers = {**USER, "x-auth": "u-2"}
    with connect(fastapi_url.replace("http", "ws") + "/ws", additional_headers=headers) as connection:
        assert connection.recv() == "u-2"

    langfuse_spans.wait_for(count=1)
    langfuse_spans.assert_tree("span message user_id=u-2")


def test_fastapi_with_the_lifespan_of_the_recipe(langfuse_spans, langfuse_tracing):
    shutdown_tracing()

    @asynccontextmanager
    async def lifespan(app):
        init_tracing()
        try:
            yield
        finally:
            await asyncio.to_thread(shutdown_tracing)

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(LangfuseASGIMiddleware)
    app.get("/items/{i}")(lambda i: observe())
    with uvicorn_serving(app, lifespan="on") as url:
        httpx.get(f"{url}/items/3")

    langfuse_spans.assert_tree('span "GET /items/{i}"\n    span work')
    assert tracing_health().exported == 2


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        observe("dispatch")
        return response


def test_starlette_with_its_base_middleware(langfuse_spans, tmp_path):
    (tmp_path / "a.txt").write_text("static")

    async def stream(request):
        async def parts():
            for letter in "ab":
                observe(f"part {letter}")
                await asyncio.sleep(0)
                yield letter

        return StreamingResponse(parts())

    async def file(request):
        return FileResponse(tmp_path / "a.txt")

    app = Starlette(
        routes=[
            Mount("/t/{t}", routes=[Route("/stream", stream), Route("/file/{name:path}", file)]),
            Mount("/static", app=StaticFiles(directory=tmp_path)),
        ],
        middleware=[Middleware(LangfuseASGIMiddleware, trusted=True), Middleware(Passing)],
    )
    with uvicorn_serving(app) as url:
        assert httpx.get(f"{url}/t/acme/stream", headers=USER).text == "ab"
        assert httpx.get(f"{url}/t/acme/file/a/b", headers=USER).text == "static"
        assert httpx.get(f"{url}/static/a.txt", headers=USER).text == "static"

    langfuse_spans.assert_tree(
        """
        span "GET /t/{t}/stream" level=DEFAULT
            span dispatch
            span "part a"
            span "part b"
        span "GET /t/{t}/file/{name}" level=DEFAULT
            span dispatch
        span "GET /static/{path}" level=DEFAULT
            span dispatch
    """,
        order="any",
    )
    of_everyone(langfuse_spans)


# -- Django --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["wsgi", "asgi"])
def django_url(request):
    if request.param == "wsgi":
        with wsgiref_serving(LangfuseWSGIMiddleware(django_site.wsgi(), trusted=True)) as url:
            yield url
    else:
        with uvicorn_serving(LangfuseASGIMiddleware(django_site.asgi(), trusted=True)) as url:
            yield url


@pytest.mark.parametrize(
    ("path", "name", "below"),
    [
        ("/shop/acme/items/3/", "GET /shop/{tenant}/items/{pk}/", ["sync view"]),
        ("/shop/acme/async/3/", "GET /shop/{tenant}/async/{pk}/", ["async view"]),
        ("/shop/acme/years/2026/", "GET /shop/{tenant}/years/{year}/", ["year view"]),
        ("/stream/", "GET /stream/", ["part a", "part b"]),
        ("/stream-async/", "GET /stream-async/", ["part a", "part b"]),
        ("/file/", "GET /file/", ["file view"]),
    ],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_django(langfuse_spans, django_url, path, name, below):
    assert httpx.get(django_url + path, headers=USER).status_code == 200

    langfuse_spans.wait_for(count=1 + len(below))
    children = "".join(f'\n    span "{child}"' for child in below)
    langfuse_spans.assert_tree(
        f'* user_id=u-1 session_id=s-1\nspan "{name}" output={{"status_code":200}} level=DEFAULT{children}'
    )


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/none/3/", "GET", 404),
        ("/shop/acme/missing/3/", "GET /shop/{tenant}/missing/{pk}/", 404),
        ("/fails/", "GET /fails/", 500),
    ],
)
def test_django_answers_of_other_kinds(langfuse_spans, django_url, path, name, status):
    assert httpx.get(django_url + path).status_code == status

    [root] = langfuse_spans.wait_for(count=1)
    assert (root.name, root.output) == (name, {"status_code": status})
    assert root.level == ("ERROR" if status >= 500 else "DEFAULT")


@pytest.mark.parametrize("path", ["/shop/acme/items/3/", "/shop/acme/async/3/"])
def test_django_users_of_its_own_authentication(langfuse_spans, django_url, path):
    assert httpx.get(django_url + path, headers={"x-auth": "u-2"}).text == "u-2"

    langfuse_spans.wait_for(count=2)
    assert {one.user_id for one in langfuse_spans} == {"u-2"}
    assert len(langfuse_spans.traces) == 1


def test_django_with_another_urlconf_for_a_request(langfuse_spans, django_url):
    assert httpx.get(f"{django_url}/x/", headers={"host": "alternative.example"}).status_code == 200

    langfuse_spans.wait_for(count=2)
    langfuse_spans.assert_tree('span "GET /{only}/"\n    span "alternative view"')


INSIDE = ["pytest_langfuse.tracing.LangfuseWSGIMiddleware", f"{django_site.__name__}.user_of_session"]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("path", "name", "below"),
    [
        ("/shop/acme/items/3/", "GET /shop/{tenant}/items/{pk}/", ["sync view"]),
        ("/shop/acme/async/3/", "GET /shop/{tenant}/async/{pk}/", ["async view"]),
        ("/stream/", "GET /stream/", ["part a", "part b"]),
        ("/stream-async/", "GET /stream-async/", ["part a", "part b"]),
    ],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_djangos_test_client(langfuse_spans, path, name, below, asynchronous):
    django_site.configure()

    async def get():
        response = await django.test.AsyncClient().get(path, headers={"x-auth": "u-2"})
        return [part async for part in response] if response.streaming else None

    with override_settings(MIDDLEWARE=INSIDE):
        if asynchronous:
            asyncio.run(get())
        else:
            response = django.test.Client().get(path, headers={"x-auth": "u-2"})
            assert not response.streaming or len(list(response)) == 2

    children = "".join(f'\n    span "{child}"' for child in below)
    langfuse_spans.assert_tree(f'span "{name}" user_id=u-2 output={{"status_code":200}} level=DEFAULT{children}')


@pytest.mark.parametrize("asynchronous", [False, True])
def test_django_with_a_middleware_inside_and_another_around(langfuse_spans, asynchronous):
    django_site.configure()
    with override_settings(MIDDLEWARE=INSIDE):
        serving = (
            uvicorn_serving(LangfuseASGIMiddleware(django_site.asgi()))
            if asynchronous
            else wsgiref_serving(LangfuseWSGIMiddleware(django_site.wsgi()))
        )
        with serving as url:
            assert httpx.get(f"{url}/shop/acme/items/3/", headers={"x-auth": "u-2"}).text == "u-2"

    langfuse_spans.wait_for(count=2)
    langfuse_spans.assert_tree('* user_id=u-2\nspan "GET /shop/{tenant}/items/{pk}/"\n    span "sync view"')


def test_django_that_fails_in_its_test_client(langfuse_spans):
    django_site.configure()
    with override_settings(MIDDLEWARE=INSIDE):
        assert django.test.Client(raise_request_exception=False).get("/fails/").status_code == 500

    langfuse_spans.assert_tree('span "GET /fails/" level=ERROR output={"status_code":500}')


# -- Flask ---------------------------------------------------------------------------------------------------------


def flask_app():  # noqa: C901 - as above
    app = flask.Flask("shop")

    @app.get("/items/<int:i>")
    def item(i):
        return str(observe())

    @app.get("/stream/<path:name>")
    def stream(name):
        def parts():
            for letter in "ab":
                observe(f"part {letter}")
                yield f"{flask.request.path}{letter}"

        return flask.Response(flask.stream_with_context(parts()))

    @app.get("/refused")
    def refused():
        flask.abort(403)

    @app.get("/fails")
    def fails():
        raise ValueError("boom")

    @app.get("/signed-in")
    def personal():
        return str(observe())

    @app.before_request
    def sign_in():
        if user := flask.request.headers.get("x-auth"):
            flask.g.context = request_context(user_id=user)
            flask.g.context.__enter__()

    @app.teardown_request
    def sign_out(error):
        if context := flask.g.pop("context", None):
            context.__exit__(None, None, None)

    return app


@pytest.fixture
def flask_url():
    app = flask_app()
    app.wsgi_app = LangfuseWSGIMiddleware(app.wsgi_app, trusted=True)
    with wsgiref_serving(app) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "name", "below"),
    [
        ("/items/3", "GET /items/{i}", ["work"]),
        ("/stream/a/b", "GET /stream/{name}", ["part a", "part b"]),
    ],
)
def test_flask(langfuse_spans, flask_url, path, name, below):
    assert httpx.get(flask_url + path, headers=USER).status_code == 200

    langfuse_spans.wait_for(count=1 + len(below))
    children = "".join(f'\n    span "{child}"' for child in below)
    langfuse_spans.assert_tree(f'* user_id=u-1\nspan "{name}" output={{"status_code":200}} level=DEFAULT{children}')


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [("/none/3", "GET", 404), ("/refused", "GET /refused", 403), ("/fails", "GET /fails", 500)],
)
def test_flask_answers_of_other_kinds(langfuse_spans, flask_url, path, name, status):
    assert httpx.get(flask_url + path).status_code == status

    [root] = langfuse_spans.wait_for(count=1)
    assert (root.name, root.output) == (name, {"status_code": status})
    assert root.level == ("ERROR" if status >= 500 else "DEFAULT")


def test_flask_users_of_its_own_authentication(langfuse_spans, flask_url):
    for user in ("u-2", "u-3"):
        assert httpx.get(f"{flask_url}/signed-in", headers={"x-auth": user}).text == user
    assert httpx.get(f"{flask_url}/signed-in").text == "None"

    langfuse_spans.wait_for(count=6)
    assert [one.user_id for one in langfuse_spans.all("span work")] == ["u-2", "u-3", None]
    assert [one.user_id for one in langfuse_spans.all('span "GET /signed-in"')] == ["u-2", "u-3", None]


@pytest.mark.parametrize(("path", "status"), [("/items/3", 200), ("/none", 404), ("/fails", 500)])
def test_flasks_test_client_that_reads_no_response(langfuse_spans, path, status):
    app = flask_app()
    app.wsgi_app = LangfuseWSGIMiddleware(app.wsgi_app)
    response = app.test_client().get(path)
    assert response.status_code == status

    assert [one.output for one in langfuse_spans.all('span "GET*"')] == [{"status_code": status}]
    response.close()
    assert len(langfuse_spans.all('span "GET*"')) == 1


def test_flask_below_a_dispatcher(langfuse_spans):
    app = LangfuseWSGIMiddleware(DispatcherMiddleware(flask_app(), {"/v1": flask_app()}))
    with wsgiref_serving(app) as url:
        httpx.get(f"{url}/v1/items/3")

    langfuse_spans.assert_tree('span "GET /v1/items/{i}"\n    span work')
    assert langfuse_spans.one('span "GET *"').input["path"] == "/v1/items/3"


# -- aiohttp -------------------------------------------------------------------------------------------------------


async def aiohttp_item(request):
    await asyncio.sleep(0)
    return web.Response(text=str(observe()))


async def aiohttp_fails(request):
    raise ValueError("boom")


async def aiohttp_refused(request):
    raise web.HTTPServiceUnavailable


async def aiohttp_stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for letter in "ab":
        observe(f"part {letter}")
        await response.write(letter.encode())
    return response


async def aiohttp_socket(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(str(observe("message")))
    await socket.close()
    return socket


@pytest.fixture
def aiohttp_url():
    app = web.Application(middlewares=[langfuse_aiohttp_middleware(trusted=True, send_request_id=True)])
    routes = {
        "/items/{i:\\d+}": aiohttp_item, "/fails": aiohttp_fails, "/refused": aiohttp_refused,
        "/stream": aiohttp_stream, "/ws": aiohttp_socket,
    }  # fmt: skip
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    sub = web.Application(middlewares=[langfuse_aiohttp_middleware()])
    sub.add_routes([web.get("/items/{i}", aiohttp_item)])
    app.add_subapp("/sub", sub)
    with aiohttp_serving(app) as url:
        yield url


@pytest.mark.parametrize(
    ("path", "name", "below"),
    [
        ("/items/3", "GET /items/{i}", ["work"]),
        ("/sub/items/3", "GET /sub/items/{i}", ["work"]),
        ("/stream", "GET /stream", ["part a", "part b"]),
    ],
)
def test_aiohttp(langfuse_spans, aiohttp_url, path, name, below):
    response = httpx.get(aiohttp_url + path, headers=USER)
    assert response.status_code == 200
    assert response.headers.get("x-request-id") == (None if path == "/stream" else "r-1")

    langfuse_spans.wait_for(count=1 + len(below))
    children = "".join(f'\n    span "{child}"' for child in below)
    langfuse_spans.assert_tree(
        f'* user_id=u-1 session_id=s-1 metadata.request_id=r-1\nspan "{name}" output={{"status_code":200}}{children}'
    )


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [("/none/3", "GET", 404), ("/refused", "GET /refused", 503), ("/fails", "GET /fails", 500)],
)
def test_aiohttp_answers_of_other_kinds(langfuse_spans, aiohttp_url, path, name, status):
    assert httpx.get(aiohttp_url + path).status_code == status

    [root] = langfuse_spans.wait_for(count=1)
    assert (root.name, root.output) == (name, {"status_code": status})
    assert root.level == ("ERROR" if status >= 500 else "DEFAULT")


async def test_aiohttp_websockets_pass(langfuse_spans, aiohttp_url):
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{aiohttp_url}/ws", headers=USER) as socket:
        assert await socket.receive_str() == "None"

    langfuse_spans.wait_for(count=1)
    langfuse_spans.assert_tree("span message")


def test_no_framework_is_imported_by_the_middlewares():
    import subprocess
    import sys

    script = (
        "import sys; from pytest_langfuse.tracing import LangfuseASGIMiddleware, LangfuseWSGIMiddleware, "
        "langfuse_aiohttp_middleware; print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'fastapi', 'starlette', 'django', 'flask', 'werkzeug', 'aiohttp', 'asgiref', 'uvicorn'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.strip() == "[]"
