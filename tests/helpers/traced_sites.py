"""One small site on each framework, with and without OpenTelemetry's instrumentations, which all make the same tree."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import flask
import httpx
import sqlalchemy
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer as AiohttpServer
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from fastapi import Depends, FastAPI, Request
from opentelemetry import trace
from opentelemetry.instrumentation import aiohttp_server
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as OtelASGI
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as OtelWSGI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pytest_langfuse.tracing import (
    LangfuseASGIMiddleware,
    LangfuseWSGIMiddleware,
    get_langfuse_client,
    instrument_httpx,
    langfuse_aiohttp_middleware,
    request_context,
)
from tests.helpers import django_site
from tests.helpers.web_calls import aiohttp_serving, uvicorn_serving, wsgiref_serving

INSTRUMENTORS = (AioHttpServerInstrumentor, HTTPXClientInstrumentor, RedisInstrumentor, SQLAlchemyInstrumentor)

#: Its instrumentation replaces the class by one with its middleware outside of all others.
AiohttpApplication = web.Application

#: How OpenTelemetry's own instrumentations stand to our middleware.
ORDERS = ("without", "inside", "outside")

#: What each of them makes of one request, in Langfuse.
TREE = """
    * user_id=u-1 session_id=s-1
    span "GET /items/{i}" output={"status_code":200} level=DEFAULT
      span work
        retriever rows
        span "GET /stock" level=DEFAULT
          tool count
"""

HEADERS = {"x-auth": "u-1", "x-session-id": "s-1"}


def observe(name: str, as_type: Any = "span") -> Any:
    return get_langfuse_client().start_as_current_observation(name=name, as_type=as_type)


class Work:
    """What a handler does, over a database, a cache and a service `stock`, which are instrumented or not."""

    def __init__(self, stock: str) -> None:
        self._stock = stock
        self._engine = sqlalchemy.create_engine(
            "sqlite://", poolclass=sqlalchemy.StaticPool, connect_args={"check_same_thread": False}
        )
        self._cache = fakeredis.FakeRedis()

    def close(self) -> None:
        """Close the connection to the database; Python 3.13 complains of one that is left open."""
        self._engine.dispose()

    def __call__(self) -> str:
        spans = trace.get_tracer("a.library").start_as_current_span
        with spans("handle"), observe("work"):
            with spans("load"), spans("select"), observe("rows", "retriever"):
                with self._engine.connect() as connection:
                    connection.execute(sqlalchemy.text("select 1"))
                self._cache.get("key")
            with httpx.Client(trust_env=False) as client:
                return client.get(f"{self._stock}/stock").text


# -- the sites -----------------------------------------------------------------------------------------------------


def fastapi_async(order: str, work: Work) -> Any:
    return _fastapi(order, work, asynchronous=True)


def fastapi_sync(order: str, work: Work) -> Any:
    return _fastapi(order, work, asynchronous=False)


def _fastapi(order: str, work: Work, *, asynchronous: bool) -> Any:
    async def signed_in(request: Request) -> Any:
        async with request_context(user_id=request.headers.get("x-auth")):
            yield

    async def item(i: int) -> str:
        await asyncio.sleep(0)
        return work()

    app = FastAPI()
    app.get("/items/{i}", dependencies=[Depends(signed_in)])(item if asynchronous else lambda i: work())
    if order == "outside":
        app.add_middleware(LangfuseASGIMiddleware, trusted=True)
        FastAPIInstrumentor.instrument_app(app)
        return app
    if order == "inside":
        FastAPIInstrumentor.instrument_app(app)
    return LangfuseASGIMiddleware(app, trusted=True)


def fastapi_added(order: str, work: Work) -> Any:
    """Our middleware inside of FastAPI's own spans, or of none."""
    app = FastAPI() if order != "inside" else FastAPI(telemetry={"tracing": False})

    @app.middleware("http")
    async def signed_in(request: Request, call_next: Any) -> Any:
        async with request_context(user_id=request.headers.get("x-auth")):
            return await call_next(request)

    app.get("/items/{i}")(lambda i: work())
    app.add_middleware(LangfuseASGIMiddleware, trusted=True)
    return app


def starlette(order: str, work: Work) -> Any:
    async def item(request: Any) -> Any:
        async with request_context(user_id=request.headers["x-auth"]):
            return PlainTextResponse(await asyncio.to_thread(work))

    app: Any = Starlette(routes=[Route("/items/{i}", item)])
    return _both(order, app, LangfuseASGIMiddleware, OtelASGI)


def _both(order: str, app: Any, ours: Callable[..., Any], theirs: Callable[..., Any]) -> Any:
    if order == "without":
        return ours(app, trusted=True)
    return ours(theirs(app), trusted=True) if order == "inside" else theirs(ours(app, trusted=True))


def flask_site(order: str, work: Work) -> Any:
    app = flask.Flask("shop")

    @app.get("/items/<int:i>")
    def item(i: int) -> str:
        with request_context(user_id=flask.request.headers["x-auth"]):
            return work()

    if order == "inside":
        FlaskInstrumentor().instrument_app(app)
    app.wsgi_app = LangfuseWSGIMiddleware(app.wsgi_app, trusted=True)  # type: ignore[method-assign]
    if order == "outside":
        FlaskInstrumentor().instrument_app(app)
    return app


def django_wsgi(order: str, work: Work) -> Any:
    with _django(order, work):
        app = django_site.wsgi()
        return (
            LangfuseWSGIMiddleware(app, trusted=True)
            if order != "outside"
            else OtelWSGI(LangfuseWSGIMiddleware(app, trusted=True))
        )


def django_asgi(order: str, work: Work) -> Any:
    with _django(order, work):
        app = django_site.asgi()
        return (
            LangfuseASGIMiddleware(app, trusted=True)
            if order != "outside"
            else OtelASGI(LangfuseASGIMiddleware(app, trusted=True))
        )


class DjangoUrls:
    """The URLconf of the site."""

    work: Any = None
    urlpatterns = [path("items/<int:i>", lambda request, i: HttpResponse(DjangoUrls.work()))]  # noqa: RUF012


@contextlib.contextmanager
def _django(order: str, work: Work) -> Iterator[None]:
    django_site.configure()
    DjangoUrls.work = staticmethod(work)
    with override_settings(ROOT_URLCONF=DjangoUrls, MIDDLEWARE=[f"{django_site.__name__}.user_of_session"]):
        if order == "inside":
            DjangoInstrumentor().instrument()
        try:
            yield
        finally:
            if order == "inside":
                DjangoInstrumentor().uninstrument()


def aiohttp_site(order: str, work: Work) -> Any:
    async def item(request: Any) -> Any:
        await asyncio.sleep(0)
        with request_context(user_id=request.headers["x-auth"]):
            return web.Response(text=work())

    middlewares = [langfuse_aiohttp_middleware(trusted=True)]
    if order != "without":
        make = getattr(aiohttp_server, "create_aiohttp_middleware", None)
        # Early versions have one middleware for all, which keeps the first provider that it has found.
        aiohttp_server.tracer = trace.get_tracer(aiohttp_server.__name__)
        middlewares.insert(order == "inside", make(trace.get_tracer_provider()) if make else aiohttp_server.middleware)
    app = AiohttpApplication(middlewares=middlewares)
    app.add_routes([web.get("/items/{i}", item)])
    return app


SITES: dict[str, Callable[[str, Work], Any]] = {
    "fastapi, async": fastapi_async,
    "fastapi, sync": fastapi_sync,
    "fastapi, added": fastapi_added,
    "starlette": starlette,
    "flask": flask_site,
    "django, wsgi": django_wsgi,
    "django, asgi": django_asgi,
    "aiohttp": aiohttp_site,
}


# -- how they are called -------------------------------------------------------------------------------------------


def served(site: str, app: Any) -> str:
    """The answer of a real server, over a socket."""
    serving: Any = {"aiohttp": aiohttp_serving, "flask": wsgiref_serving, "django, wsgi": wsgiref_serving}
    serving = serving.get(site, uvicorn_serving)
    with _urls(site), serving(app) as url, httpx.Client(trust_env=False) as client:
        return client.get(f"{url}/items/3", headers=HEADERS).raise_for_status().text


def called(site: str, app: Any) -> str:
    """The answer that a test client of the framework gets."""
    with _urls(site):
        if site == "aiohttp":
            return asyncio.run(_called_aiohttp(app))
        if site == "flask":
            return app.test_client().get("/items/3", headers=HEADERS).text
        if site == "django, wsgi":
            with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
                return client.get("/items/3", headers=HEADERS).text
        return TestClient(app).get("/items/3", headers=HEADERS).text


def _urls(site: str) -> Any:
    return override_settings(ROOT_URLCONF=DjangoUrls) if site.startswith("django") else contextlib.nullcontext()


async def _called_aiohttp(app: Any) -> str:
    async with AiohttpClient(AiohttpServer(app)) as client:
        return await (await client.get("/items/3", headers=HEADERS)).text()


@contextlib.contextmanager
def surroundings(order: str) -> Iterator[Work]:
    """The service that each site calls, and OpenTelemetry's instrumentations of its clients."""

    async def stock(request: Any) -> Any:
        with observe("count", "tool"):
            return PlainTextResponse("3")

    app: Any = LangfuseASGIMiddleware(Starlette(routes=[Route("/stock", stock)]), trusted=True)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(uvicorn_serving(app if order == "without" else OtelASGI(app)))
        for instrumentor in INSTRUMENTORS if order != "without" else ():
            instrumentor().instrument()
            stack.callback(instrumentor().uninstrument)
        stack.enter_context(instrument_httpx())
        work = Work(url)
        stack.callback(work.close)
        yield work
