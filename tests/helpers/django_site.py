"""A Django project in one file: `settings()` once, then `wsgi()` and `asgi()`."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any, ClassVar

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import sync_and_async_middleware

from pytest_langfuse.tracing import get_langfuse_client, get_request_context, request_context


def observe(name: str) -> str:
    with get_langfuse_client().start_as_current_observation(name=name):
        return str(get_request_context().user_id)


def item(request: Any, tenant: str, pk: int) -> HttpResponse:
    return HttpResponse(observe("sync view"))


async def item_async(request: Any, tenant: str, pk: int) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse(observe("async view"))


def missing(request: Any, tenant: str, pk: int) -> HttpResponse:
    raise Http404


def fails(request: Any) -> HttpResponse:
    raise ValueError("boom")


def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(observe(f"part {letter}") for letter in "ab")


def stream_async(request: Any) -> StreamingHttpResponse:
    async def parts() -> Any:
        for letter in "ab":
            await asyncio.sleep(0)
            yield observe(f"part {letter}")

    return StreamingHttpResponse(parts())


def file(request: Any) -> FileResponse:
    observe("file view")
    return FileResponse(Path(__file__).open("rb"))


sub = [
    path("items/<int:pk>/", item),
    path("async/<int:pk>/", item_async),
    path("missing/<int:pk>/", missing),
    re_path(r"^years/(?P<year>[0-9]{4})/(?:x\.)?$", lambda request, tenant, year: HttpResponse(observe("year view"))),
]
urlpatterns = [
    path("shop/<slug:tenant>/", include(sub)),
    path("fails/", fails),
    path("stream/", stream),
    path("stream-async/", stream_async),
    path("file/", file),
]


@sync_and_async_middleware
def user_of_session(get_response: Any) -> Any:
    """The recipe of the documentation: whom Django's authentication has found."""
    if iscoroutinefunction(get_response):

        async def middleware(request: Any) -> Any:
            async with request_context(user_id=request.headers.get("x-auth")):
                return await get_response(request)
    else:

        def middleware(request: Any) -> Any:
            with request_context(user_id=request.headers.get("x-auth")):
                return get_response(request)

    return middleware


class Alternative:
    """Another URLconf for some requests."""

    urlpatterns: ClassVar = [path("<str:only>/", lambda request, only: HttpResponse(observe("alternative view")))]


def alternative_urls(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        if request.headers.get("host", "").startswith("alternative"):
            request.urlconf = Alternative
        return get_response(request)

    return middleware


@functools.cache
def configure() -> None:
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="made up", LOGGING_CONFIG=None, USE_TZ=True,
        MIDDLEWARE=[f"{__name__}.user_of_session", f"{__name__}.alternative_urls"],
    )  # fmt: skip
    django.setup()


def wsgi() -> Any:
    configure()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def asgi() -> Any:
    configure()
    from django.core.asgi import get_asgi_application

    return get_asgi_application()
