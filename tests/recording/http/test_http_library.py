"""Clients of httpx2 get responses and errors of httpx2 from handlers that speak httpx."""

import gzip

import httpx
import pytest

from pytest_langfuse.recording.http.in_process import HandlerStack, adopt_client, async_client, sync_client

httpx2 = pytest.importorskip("httpx2")
URL = "https://langfuse.invalid/api/public/scores"


def answer(request: httpx.Request) -> httpx.Response:
    assert isinstance(request, httpx.Request)
    headers = {"x-sent": request.headers["x-own"], "content-encoding": "gzip"}
    return httpx.Response(201, headers=headers, content=gzip.compress(request.content))


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def check(response) -> None:
    assert isinstance(response, httpx2.Response)
    assert (response.status_code, response.text, response.headers["x-sent"]) == (201, '{"a":1}', "1")


@pytest.mark.parametrize("adopted", [False, True])
def test_a_synchronous_client(adopted):
    handlers = HandlerStack(answer)
    with httpx2.Client(headers={"x-own": "1"}) as original:
        client = original
        if adopted:
            adopt_client(client, handlers, host="langfuse.invalid")
        else:
            client = sync_client(original, timeout=1, headers=None, handlers=handlers)
        check(client.post(URL, json={"a": 1}))
        handlers.handler = refuse
        with pytest.raises(httpx2.ConnectError, match="refused") as failure:
            client.get(URL)
        assert str(failure.value.request.url) == URL


@pytest.mark.asyncio
@pytest.mark.parametrize("adopted", [False, True])
async def test_an_asynchronous_client(adopted):
    handlers = HandlerStack(answer)
    async with httpx2.AsyncClient(headers={"x-own": "1"}) as original:
        client = original
        if adopted:
            adopt_client(client, handlers, host="langfuse.invalid")
        else:
            client = async_client(original, timeout=1, headers=None, handlers=handlers)
        check(await client.post(URL, json={"a": 1}))
        handlers.handler = refuse
        with pytest.raises(httpx2.ConnectError):
            await client.get(URL)


def test_what_no_handler_answers_goes_where_the_client_sends_it():
    handlers = HandlerStack(lambda _request: None)
    seen = []

    class Transport(httpx2.BaseTransport):
        def handle_request(self, request):
            seen.append(request)
            return httpx2.Response(204)

    with httpx2.Client(transport=Transport()) as original:
        assert sync_client(original, timeout=1, headers=None, handlers=handlers).get(URL).status_code == 204
    assert [type(request) for request in seen] == [httpx2.Request]


def test_a_mock_of_the_application_stays_in_place():
    mock = httpx2.MockTransport(lambda _request: httpx2.Response(204))
    with httpx2.Client(transport=mock) as original:
        assert sync_client(original, timeout=1, headers=None, handlers=HandlerStack(answer)) is original
