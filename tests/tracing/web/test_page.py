"""The recipes of docs/middleware.md, served over loopback as they stand there."""

import importlib
import re
import sys

import httpx
import pytest

from tests.helpers import django_site
from tests.helpers.paths import DOCS
from tests.helpers.web_calls import uvicorn_serving, wsgiref_serving
from tests.tracing.web.test_frameworks import aiohttp_serving

PAGE = DOCS / "middleware.md"


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.fixture
def recipe(tmp_path, monkeypatch, langfuse_tracing):
    """A file of the page, imported."""

    def load(name):
        text = re.search(rf"^```python\n(# {name}\.py\n.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)[1]
        (tmp_path / f"{name}.py").write_text(text)
        return importlib.import_module(name)

    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield load
    for name in set(sys.modules) - before:
        if name.startswith("shop_"):
            del sys.modules[name]


def expect(langfuse_spans, user="u-1"):
    [root] = langfuse_spans.wait_for(count=1)
    assert (root.name, root.user_id, root.output) == ("GET /items/{i}", user, {"status_code": 200})


def test_fastapi(recipe, langfuse_spans):
    with uvicorn_serving(recipe("shop_fastapi").app, lifespan="on") as url:
        assert httpx.get(f"{url}/items/3", headers={"authorization": "u-1"}).json() == {"user": "u-1"}
    expect(langfuse_spans)


def test_flask(recipe, langfuse_spans):
    app = recipe("shop_flask").app

    def authenticating_server(environ, start_response):
        return app({**environ, "REMOTE_USER": "u-1"}, start_response)

    with wsgiref_serving(authenticating_server) as url:
        assert httpx.get(f"{url}/items/3").json() == {"user": "u-1"}
    expect(langfuse_spans)


def test_aiohttp(recipe, langfuse_spans):
    with aiohttp_serving(recipe("shop_aiohttp").application()) as url:
        assert httpx.get(f"{url}/items/3?user=u-1").json() == {"user": "u-1"}
    expect(langfuse_spans)


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_django(recipe, langfuse_spans, server):
    django_site.configure()
    application = getattr(recipe("shop_django"), server)()
    with (wsgiref_serving if server == "wsgi" else uvicorn_serving)(application) as url:
        httpx.get(f"{url}/shop/acme/items/3/", headers={"x-auth": "u-1"})

    langfuse_spans.wait_for(count=2)
    langfuse_spans.assert_tree('* user_id=u-1\nspan "GET /shop/{tenant}/items/{pk}/"\n    span "sync view"')


async def test_djangos_users(recipe, langfuse_spans):
    """The middleware of the recipe around views of both kinds."""
    django_site.configure()
    from pytest_langfuse.tracing import get_request_context

    user_context = recipe("shop_django").user_context

    class Request:
        class user:
            pk = 7

        async def auser(self):
            return self.user

    async def view(request):
        return get_request_context().user_id

    assert await user_context(view)(Request()) == "7"
    assert user_context(lambda request: get_request_context().user_id)(Request()) == "7"
    assert get_request_context().user_id is None
