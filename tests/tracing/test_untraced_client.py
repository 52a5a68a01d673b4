"""The HTTP client of production tracing."""

from __future__ import annotations

import gc
import weakref

import httpx
import pytest

from pytest_langfuse.tracing.untraced import UntracedClient


@pytest.mark.parametrize("status", [200, 207, 503])
def test_a_request_is_gone_with_its_response(status: int) -> None:
    """Bodies of megabytes wait for no garbage collector: there is no cycle of references."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, stream=httpx.ByteStream(b"answer")))
    with UntracedClient(transport=transport) as client:
        gc.collect()
        gc.disable()
        try:
            response = client.post("http://langfuse.test/", content=b"body")
            request = weakref.ref(response.request)
            assert (response.content, request()) == (b"answer", response.request)
            del response
            assert request() is None
        finally:
            gc.enable()


def test_a_response_that_is_still_to_be_read() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"answer")))
    with UntracedClient(transport=transport) as client, client.stream("GET", "http://langfuse.test/") as response:
        assert response.read() == b"answer"


def test_cookies_are_neither_kept_nor_sent() -> None:
    """A jar has a lock that a forked child would never get."""
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "sticky=1"})

    with UntracedClient(transport=httpx.MockTransport(answer), cookies={"session": "1"}) as client:
        client.cookies = {"session": "2"}
        for _ in range(2):
            client.get("http://langfuse.test/")
        assert (sent, dict(client.cookies)) == ([None, None], {})
