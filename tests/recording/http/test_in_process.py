"""Clients that are answered in this process: what they keep of the app's, what they cost, where requests pass to."""

import gc
import socket
import ssl
import weakref
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import respx

import pytest_langfuse
from pytest_langfuse.recording.http.in_process import HandlerStack, adopt_client, async_client, sync_client

URL = "https://langfuse.invalid/api/public/health"


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"answered": request.content.decode()})


@pytest.fixture
def no_tls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The TLS contexts that were made: one costs 20 ms."""
    made: list[str] = []
    original = ssl.create_default_context

    def create_default_context(*args: object, **kwargs: object) -> ssl.SSLContext:
        made.append("context")
        return original(*args, **kwargs)

    monkeypatch.setattr(ssl, "create_default_context", create_default_context)
    return made


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_no_socket_and_no_tls_context(no_tls: list[str], no_network: None) -> None:
    with sync_client(None, timeout=5, headers={"x-a": "b"}, handlers=HandlerStack(answer)) as client:
        assert client.post(URL, content=b"hi").json() == {"answered": "hi"}
    assert (client.headers["x-a"], client.timeout.read) == ("b", 5)
    assert no_tls == []


@pytest.mark.asyncio
async def test_no_socket_and_no_tls_context_async(no_tls: list[str], no_network: None) -> None:
    async def body() -> Iterator[bytes]:
        yield b"hi"

    async with async_client(None, timeout=5, headers=None, handlers=HandlerStack(answer)) as client:
        assert (await client.post(URL, content=body())).json() == {"answered": "hi"}
    assert no_tls == []


def test_no_handler_or_none_passes_through_to_a_client_built_then(no_tls: list[str]) -> None:
    handlers = HandlerStack()
    with sync_client(None, timeout=5, headers=None, handlers=handlers) as client, respx.mock() as real:
        route = real.get(URL).respond(201)
        assert client.get(URL).status_code == 201
        handlers.handler = lambda _request: None
        assert client.get(URL).status_code == 201
        handlers.handler = answer
        assert client.get(URL).status_code == 200
    assert (route.call_count, len(no_tls)) == (2, 1)


@pytest.mark.asyncio
async def test_passing_through_async() -> None:
    async with async_client(None, timeout=5, headers=None, handlers=HandlerStack()) as client:
        with respx.mock() as real:
            real.get(URL).respond(302, headers={"Location": f"{URL}/"})
            real.get(f"{URL}/").respond(204)
            assert (await client.get(URL)).status_code == 204


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("using", ["httpcore", "httpx"])
def test_a_users_own_respx_does_not_see_it(using: str, own: bool) -> None:
    with (
        sync_client(httpx.Client() if own else None, timeout=5, headers=None, handlers=HandlerStack(answer)) as client,
        respx.mock(using=using, assert_all_called=False) as users,
    ):
        users.post("https://api.openai.com/v1/chat").respond(200)
        assert client.get(URL).status_code == 200
        assert httpx.post("https://api.openai.com/v1/chat").status_code == 200
        assert users.calls.call_count == 1


def test_a_twin_keeps_what_the_app_set_and_leaves_the_original_alone() -> None:
    seen: list[str] = []
    original = httpx.Client(
        headers={"x-gateway": "g"},
        auth=("u", "p"),
        timeout=7,
        cookies={"c": "1"},
        event_hooks={"request": [lambda _r: seen.append("request")], "response": [lambda _r: seen.append("response")]},
    )
    sent: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    before = dict(vars(original))
    twin = sync_client(original, timeout=1, headers={"x-not": "used"}, handlers=HandlerStack(handler))
    twin.get(URL)

    assert sent[0].headers["x-gateway"] == "g"
    assert "x-not" not in sent[0].headers
    assert sent[0].headers["authorization"] == httpx.BasicAuth("u", "p")._auth_header
    assert sent[0].headers["cookie"] == "c=1"
    assert (sent[0].extensions["timeout"]["read"], seen) == (7, ["request", "response"])
    assert vars(original) == before
    twin.close()
    assert not original.is_closed


def test_a_twin_passes_through_to_the_originals_transport() -> None:
    class Own(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(299, headers={"x-hops": str(request.headers.get("x-hop", ""))})

    original = httpx.Client(
        transport=Own(),
        event_hooks={"request": [lambda r: r.headers.update({"x-hop": r.headers.get("x-hop", "") + "1"})]},
    )
    twin = sync_client(original, timeout=None, headers=None, handlers=HandlerStack())
    response = twin.get(URL)
    assert (response.status_code, response.headers["x-hops"]) == (299, "1")  # hooks run once
    other = sync_client(original, timeout=None, headers=None, handlers=HandlerStack())
    other.get(URL)
    other.close()
    assert not original.is_closed
    original.close()
    with pytest.raises(RuntimeError, match="the client has been closed"):
        twin.get(URL)


@pytest.mark.asyncio
async def test_an_async_twin() -> None:
    original = httpx.AsyncClient(headers={"x-gateway": "g"})
    twin = async_client(
        original, timeout=None, headers=None, handlers=HandlerStack(lambda r: httpx.Response(200, headers=r.headers))
    )
    assert (await twin.get(URL)).headers["x-gateway"] == "g"
    await twin.aclose()
    assert not original.is_closed
    await original.aclose()


def test_an_apps_own_stand_in_stays_in_force() -> None:
    original = httpx.Client(transport=httpx.MockTransport(lambda _r: httpx.Response(218)))
    client = sync_client(original, timeout=None, headers=None, handlers=HandlerStack(answer))
    assert client is original
    undo = adopt_client(original, HandlerStack(answer))
    assert client.get(URL).status_code == 218
    undo()


def test_adopting_a_client_that_exists_and_giving_it_back() -> None:
    client = httpx.Client()
    with respx.mock() as real:
        real.get("https://other.invalid/").respond(201)
        real.get(URL).respond(202)
        undo = adopt_client(client, HandlerStack(answer), host="langfuse.invalid")
        assert client.get(URL).status_code == 200
        assert client.get("https://other.invalid/").status_code == 201
        undo()
        assert client.get(URL).status_code == 202


@pytest.mark.asyncio
async def test_adopting_an_async_client() -> None:
    async with httpx.AsyncClient() as client:
        handlers = HandlerStack(answer)
        undo = adopt_client(client, handlers)
        assert (await client.get(URL)).status_code == 200
        handlers.handler = None
        with respx.mock() as real:
            real.get(URL).respond(202)
            assert (await client.get(URL)).status_code == 202
        undo()
        assert "_transport_for_url" not in vars(client)


def test_what_the_handler_raises_reaches_the_app() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down", request=request)

    with (
        sync_client(None, timeout=5, headers=None, handlers=HandlerStack(broken)) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.get(URL)


@pytest.mark.slow
def test_a_client_that_is_dropped_is_gone() -> None:
    handlers = HandlerStack(answer)
    client = sync_client(None, timeout=5, headers=None, handlers=handlers)
    client.get(URL)
    dropped = weakref.ref(client), weakref.ref(client._transport)
    del client
    gc.collect()
    assert [reference() for reference in dropped] == [None, None]


def test_no_other_file_of_the_harness_names_private_attributes_of_httpx():
    private = ("._transport_for_url", "._mounts", '"_transport_for_url"', '"_mounts"', '"_transport"')
    package = Path(pytest_langfuse.__file__).parent
    files = [path for path in package.rglob("*.py") if "tracing" not in path.relative_to(package).parts]
    naming = [path.name for path in files if any(name in path.read_text(encoding="utf-8") for name in private)]
    assert naming == ["in_process.py"]


class Counting(httpx.BaseTransport):
    """A transport around another, as a breaker is."""

    def __init__(self, inner: httpx.BaseTransport, seen: list[str]) -> None:
        self.inner, self.seen = inner, seen

    def around(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        return Counting(inner, self.seen)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.url.path)
        return self.inner.handle_request(request)


def test_a_transport_that_wraps_another_keeps_working():
    seen: list[str] = []
    original = httpx.Client(transport=Counting(httpx.HTTPTransport(), seen))
    twin = sync_client(original, timeout=None, headers=None, handlers=HandlerStack(lambda _: httpx.Response(204)))
    assert twin.get("http://langfuse.invalid/api").status_code == 204
    assert seen == ["/api"]
