"""Requests to the stand-in that no mock of a test sees, and that fail as httpx fails."""

import asyncio
import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest
import respx

from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.recording.http.unmocked import AsyncUnmockedTransport, UnmockedTransport
from pytest_langfuse.standin.http.exchange import Exchange

SCORES = "/api/public/scores"
SCORE = {"name": "s", "value": 1, "traceId": "t"}
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
Post = Callable[..., httpx.Response]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangfuseServer]:
    monkeypatch.setattr(Exchange, "wait", lambda _exchange, _seconds: True)
    with LangfuseServer() as server:
        yield server


def post_sync(url: str, *, timeout: float, direct: bool) -> httpx.Response:
    with httpx.Client(transport=UnmockedTransport(TLS) if direct else None, timeout=timeout, trust_env=False) as client:
        return client.post(url, json=SCORE)


def post_async(url: str, *, timeout: float, direct: bool) -> httpx.Response:
    async def post() -> httpx.Response:
        transport = AsyncUnmockedTransport(TLS) if direct else None
        async with httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client:
            return await client.post(url, json=SCORE)

    return asyncio.run(post())


@pytest.mark.parametrize("post", [post_sync, post_async])
def test_a_mock_of_everything_does_not_see_it(
    server: LangfuseServer, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, post: Post
) -> None:
    def not_mocked(*_: object) -> None:
        pytest.fail("seen by a mock such as that of pytest-httpx")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", not_mocked)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", not_mocked)
    response = post(f"{server.url}{SCORES}", timeout=20, direct=True)
    assert response.json()["id"]
    # Its connection is closed.
    assert "network_stream" not in response.extensions
    assert len(server.stand_in.scores) == 1
    assert respx_mock.calls.call_count == 0


def outcome(post: Post, server: LangfuseServer, fault: str, *, direct: bool) -> object:
    with Outage.of(fault).activate(server):
        url = server.base_url_for(SCORES)
        try:
            response = post(f"{url}{SCORES}", timeout=0.2 if fault == "hang" else 20, direct=direct)
        except httpx.HTTPError as error:
            return type(error), str(error.request.url).removeprefix(url)
        return response.status_code, response.headers.get("content-type"), len(response.content)


@pytest.mark.slow
@pytest.mark.parametrize("post", [post_sync, post_async])
@pytest.mark.parametrize(
    "fault",
    ["refused", "hang", "reset", "drip", "http_503", "redirect", "garbage", "truncated", "tls_error", "dns_error"],
)
def test_it_fails_as_httpx_does(server: LangfuseServer, post: Post, fault: str) -> None:
    assert outcome(post, server, fault, direct=True) == outcome(post, server, fault, direct=False)


def test_a_connection_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpcore

    asked: list[object] = []

    def connect_tcp(_backend: object, host: str, port: int, timeout: float | None = None, **_: object) -> None:
        asked.append((host, port, timeout))
        raise httpcore.ConnectTimeout("timed out")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    with pytest.raises(httpx.ConnectTimeout, match="timed out"):
        post_sync("http://127.0.0.1/x", timeout=3, direct=True)
    assert asked == [("127.0.0.1", 80, 3)]
