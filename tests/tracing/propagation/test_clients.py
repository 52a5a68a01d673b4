"""Requests of httpx and requests carry the trace to the hosts on the list, and are otherwise as they were."""

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import httpcore
import httpx
import pytest
import requests
from langfuse import propagate_attributes
from opentelemetry import propagate, trace
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth

from pytest_langfuse.tracing import (
    init_tracing,
    inject_headers,
    instrument_aiohttp,
    instrument_httpx,
    instrument_requests,
    request_context,
    shutdown_tracing,
)
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.propagation import hops
from tests.helpers.loopback_service import Service

OURS = ("traceparent", "tracestate", "baggage")


@pytest.fixture
def service():
    server = Service()
    yield server
    server.close()


@pytest.fixture
def client(fresh, keys):
    failures.forget()
    yield init_tracing(**keys, propagate_to=("127.0.0.1",))
    assert failures.total == 0


@pytest.fixture
def untouched():
    before = _methods()
    yield
    assert _methods() == before


def _methods():
    return (
        httpx.Client._send_single_request,
        httpx.AsyncClient._send_single_request,
        httpcore.ConnectionPool.handle_request,
        httpcore.AsyncConnectionPool.handle_async_request,
        requests.Session.send,
        HTTPAdapter.send,
    )


def with_httpx(method, url, **arguments):
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        return client.request(method, url, **arguments)


def with_async_httpx(method, url, **arguments):
    async def send():
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
            return await client.request(method, url, **arguments)

    return asyncio.run(send())


def with_httpx2(method, url, **arguments):
    with pytest.importorskip("httpx2").Client(follow_redirects=True, trust_env=False) as client:
        return client.request(method, url, **arguments)


def with_async_httpx2(method, url, **arguments):
    httpx2 = pytest.importorskip("httpx2")

    async def send():
        async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as client:
            return await client.request(method, url, **arguments)

    return asyncio.run(send())


class Read:
    """A response of aiohttp, as far as these tests read it."""

    def __init__(self, status_code):
        self.status_code = status_code


def with_aiohttp(method, url, **arguments):
    aiohttp = pytest.importorskip("aiohttp")

    async def send():
        async with aiohttp.ClientSession() as session, session.request(method, url, **arguments) as response:
            await response.read()
            return Read(response.status)

    return asyncio.run(send())


def with_requests(method, url, **arguments):
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=10, **arguments)


SENDERS = [with_httpx, with_async_httpx, with_httpx2, with_async_httpx2, with_aiohttp, with_requests]
INSTRUMENTS = {with_requests: instrument_requests, with_aiohttp: instrument_aiohttp}


@pytest.fixture(params=SENDERS, ids=lambda send: send.__name__)
def send(request):
    with INSTRUMENTS.get(request.param, instrument_httpx)():
        yield request.param


def parents(service):
    return [got.one("traceparent") and got.one("traceparent").split("-")[2] for got in service.got]


def users(service):
    return ["langfuse_user_id=u" in (got.one("baggage") or "") for got in service.got]


# -- where headers go ------------------------------------------------------------------------------------------------


def test_hosts_on_the_list_get_them(client, service, send):
    with request_context(user_id="u"), client.start_as_current_observation(name="a") as observation:
        send("GET", service.here)
        send("GET", service.elsewhere)

    assert parents(service) == [observation.id, None]
    assert users(service) == [True, False]


def test_redirects_are_looked_at_one_by_one(client, service, send):
    url = service.chain(service.here, service.elsewhere, service.elsewhere, service.here, service.here)
    with request_context(user_id="u"), client.start_as_current_observation(name="a") as observation:
        response = send("GET", url, headers={"x-app": "1"})

    assert response.status_code == 200
    assert [got.host for got in service.got] == ["127.0.0.1", "localhost", "localhost", "127.0.0.1", "127.0.0.1"]
    assert parents(service) == [observation.id, None, None, observation.id, observation.id]
    assert users(service) == [True, False, False, True, True]
    for got in service.got:
        assert got.one("x-app") == "1"
        assert bool(got.one("baggage")) == (got.host == "127.0.0.1")


@pytest.mark.parametrize("first", ["here", "elsewhere"])
def test_the_applications_own_headers_come_back_elsewhere(client, service, send, first):
    hosts = [service.here, service.elsewhere, service.here]
    own = {"TraceParent": "own", "tracestate": "own=1", "baggage": "tenant=acme,langfuse_user_id=own"}
    with request_context(user_id="u"), client.start_as_current_observation(name="a") as observation:
        send("GET", service.chain(*(hosts if first == "here" else hosts[1:])), headers=own)

    for got in service.got:
        here = got.host == "127.0.0.1"
        assert got.one("traceparent") == (got.one("traceparent") if here else "own")
        assert (observation.id in got.one("traceparent")) == here
        assert got.one("tracestate") == (None if here else "own=1")
        assert got.one("baggage").startswith("tenant=acme")
        assert "langfuse_user_id=own" not in got.one("baggage")
        assert ("langfuse_user_id=u" in got.one("baggage")) == here


def test_baggage_of_the_sdk_does_not_get_elsewhere(client, service, send):
    with client.start_as_current_observation(name="a"), propagate_attributes(user_id="u", as_baggage=True):
        carrier = {}
        propagate.inject(carrier)
        assert "langfuse_user_id=u" in carrier["baggage"]
        send("GET", service.chain(service.elsewhere, service.here), headers=carrier)

    assert users(service) == [False, True]
    assert service.got[0].one("baggage") is None


def test_the_body_goes_on_with_the_redirect(client, service, send):
    url = service.chain(service.here, service.elsewhere, service.here, status=307)
    with client.start_as_current_observation(name="a"):
        send("POST", url, json={"q": "é"})

    assert [(got.method, len(got.body)) for got in service.got] == [("POST", len(service.got[0].body))] * 3
    assert len(service.got[0].body) > 5


def test_a_span_that_langfuse_never_gets_is_no_parent(client, service, send):
    start = trace.get_tracer("opentelemetry.instrumentation.httpx").start_as_current_span
    with client.start_as_current_observation(name="a") as observation, start("GET"):
        send("GET", service.here)

    assert parents(service) == [observation.id]


def test_without_a_span_or_without_tracing_nothing_is_added(client, service, send):
    send("GET", service.here, headers={"baggage": "tenant=acme"})
    shutdown_tracing(0.1)
    with trace.get_tracer("langfuse-sdk").start_as_current_span("a"):
        send("GET", service.here)

    assert [got.all("traceparent") for got in service.got] == [[], []]
    assert [got.all("baggage") for got in service.got] == [["tenant=acme"], []]


def test_langfuse_itself_is_told_nothing(fresh, keys, collector, send):
    with instrument_httpx():
        client = init_tracing(**keys, propagate_to=("*",))
        with request_context(user_id="u"), client.start_as_current_observation(name="a"):
            client.create_score(name="s", value=1.0, trace_id="0" * 31 + "1")
            # Not answered as they should be; what counts is that they are sent.
            with contextlib.suppress(Exception):
                client.auth_check()
            asyncio.run(_prompt(client))
            send("GET", collector.url + "/api/public/health")
            send("GET", collector.url + "/other")
        client.flush()
        shutdown_tracing()

    paths = {seen.path for seen in collector.requests if "traceparent" in seen.headers or "baggage" in seen.headers}
    assert len({seen.path for seen in collector.requests}) >= 5
    assert paths == {"/other"}


async def _prompt(client):
    with contextlib.suppress(Exception):
        await client.async_api.prompts.get("p")
    await client.async_api._client_wrapper.httpx_client.httpx_client.aclose()


# -- what stays as it was --------------------------------------------------------------------------------------------


def test_digest_authentication(client, service, send):
    if send is with_aiohttp:
        pytest.skip("aiohttp has a middleware for it")
    kind = HTTPDigestAuth if send is with_requests else httpx.DigestAuth
    auth = (pytest.importorskip("httpx2").DigestAuth if "httpx2" in send.__name__ else kind)("me", "pw")
    with client.start_as_current_observation(name="a") as observation:
        response = send("GET", service.here + "/x?challenge=1", auth=auth)

    assert response.status_code == 200
    assert parents(service) == [observation.id] * 2
    assert [bool(got.one("authorization")) for got in service.got] == [False, True]


def test_streams_hooks_and_retries_of_httpx(client, service):
    asked, answered = [], []

    class Flaky(httpx.BaseTransport):
        def __init__(self):
            self.inner, self.calls = httpx.HTTPTransport(), 0

        def handle_request(self, request):
            self.calls += 1
            if self.calls == 1:
                self.inner.handle_request(request).close()
            return self.inner.handle_request(request)

        def close(self):
            self.inner.close()

    transport = Flaky()
    hooks = {"request": [lambda request: asked.append(dict(request.headers))], "response": [answered.append]}
    with (
        httpx.Client(mounts={"http://127.0.0.1": transport}, event_hooks=hooks, trust_env=False) as session,
        instrument_httpx(session),
        client.start_as_current_observation(name="a") as observation,
        session.stream("POST", service.here, content=iter([b"one", b"two"])) as response,
    ):
        chunks = list(response.iter_bytes(1000))

    assert b"".join(chunks) == b"answer" * 1000
    assert len(chunks) > 1
    assert [got.body for got in service.got][-1] in {b"onetwo", b""}
    assert (len(asked), len(answered), transport.calls) == (1, 1, 1)
    assert set(asked[0]) & set(OURS) == set()
    assert parents(service) == [observation.id] * 2
    assert session.event_hooks == hooks


def test_clients_that_are_answered_in_process(client):
    seen = []

    def answer(request):
        seen.append(request.headers.get("traceparent"))
        return httpx.Response(200)

    async def app(scope, receive, send):
        seen.append(dict(scope["headers"])[b"traceparent"].decode())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def both():
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as session:
            await session.get("http://127.0.0.1/")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as session:
            await session.get("http://127.0.0.1/")

    with instrument_httpx(), client.start_as_current_observation(name="a") as observation:
        with httpx.Client(transport=httpx.MockTransport(answer)) as session:
            session.get("http://127.0.0.1/")
        asyncio.run(both())

    assert [value.split("-")[2] for value in seen] == [observation.id] * 3


def test_an_adapter_of_the_application(client):
    seen = []

    class Adapter(BaseAdapter):
        def send(self, request, *args, **kwargs):
            seen.append(request.headers["traceparent"])
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url
            response.raw = None
            return response

        def close(self):
            pass

    with requests.Session() as session, instrument_requests(session):
        session.mount("http://127.0.0.1", Adapter())
        with client.start_as_current_observation(name="a") as observation:
            session.get("http://127.0.0.1/", timeout=10)

    assert observation.id in seen[0]


def test_a_redirect_that_the_application_follows_itself(client, service):
    with instrument_requests(), instrument_httpx(), client.start_as_current_observation(name="a") as observation:
        with requests.Session() as session:
            first = session.get(service.chain(service.here, service.elsewhere), allow_redirects=False, timeout=10)
            session.send(first.next, timeout=10)
        with httpx.Client(trust_env=False) as session:
            first = session.get(service.chain(service.here, service.elsewhere))
            session.send(first.next_request)

    assert parents(service) == [observation.id, None] * 2


def test_the_applications_dicts_stay_its_own(client, service):
    headers, extensions = {"x-app": "1"}, {"trace": lambda *event: None}
    with instrument_httpx(), instrument_requests(), client.start_as_current_observation(name="a"):
        with_httpx("GET", service.here, headers=headers, extensions=extensions)
        with_requests("GET", service.here, headers=headers)

    assert headers == {"x-app": "1"}
    assert list(extensions) == ["trace"]
    assert all(got.one("traceparent") for got in service.got)


def test_requests_of_one_prepared_object_differ(client, service):
    with requests.Session() as session, instrument_requests(session):
        prepared = session.prepare_request(requests.Request("GET", service.here))
        ids = []
        for _ in range(2):
            with client.start_as_current_observation(name="a") as observation:
                session.send(prepared, timeout=10)
                ids.append(observation.id)

    assert parents(service) == ids


def test_what_goes_wrong_does_not_reach_the_application(fresh, keys, service, send, monkeypatch, lines):
    def broken(*args):
        raise RuntimeError("broken")

    client = init_tracing(**keys, propagate_to=("127.0.0.1",))
    failures.forget()
    monkeypatch.setattr(hops, "start", broken)
    with client.start_as_current_observation(name="a"):
        assert send("GET", service.here).status_code == 200
    assert any("Tracing failed while adding headers to a request" in line for line in lines())
    assert failures.total == 1
    failures.forget()


@pytest.mark.slow
def test_threads_do_not_share_a_user(client, service):
    with httpx.Client(trust_env=False) as one, requests.Session() as other, instrument_httpx(), instrument_requests():

        def call(number):
            with request_context(user_id=f"u{number}"), client.start_as_current_observation(name="a"):
                one.get(f"{service.here}/{number}")
                other.get(f"{service.here}/{number}", timeout=10)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(100)))

    assert len(service.got) == 200
    for got in service.got:
        assert f"langfuse_user_id=u{got.path[1:]}" in got.one("baggage").split(",")


# -- beside other instrumentations -----------------------------------------------------------------------------------


def contrib(owner, name):
    """Around a method as OpenTelemetry's contrib packages have it: a span of its own, and headers that name it."""
    original = getattr(owner, name)

    def call(self, request, *args, **kwargs):
        with trace.get_tracer("opentelemetry.instrumentation.client").start_as_current_span("GET"):
            propagate.inject(request.headers)
            return original(self, request, *args, **kwargs)

    async def acall(self, request, *args, **kwargs):
        with trace.get_tracer("opentelemetry.instrumentation.client").start_as_current_span("GET"):
            propagate.inject(request.headers)
            return await original(self, request, *args, **kwargs)

    return acall if "async" in name else call


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("earlier", [True, False])
def test_another_instrumentation_does_not_name_its_own_span(client, service, earlier):
    with contextlib.ExitStack() as both:
        ours = [instrument_httpx, instrument_requests]
        if not earlier:
            for instrument in ours:
                both.enter_context(instrument())
        patched = both.enter_context(pytest.MonkeyPatch.context())
        for owner, name in (
            (httpx.HTTPTransport, "handle_request"),
            (httpx.AsyncHTTPTransport, "handle_async_request"),
            (requests.Session, "send"),
        ):
            patched.setattr(owner, name, contrib(owner, name))
        if earlier:
            for instrument in ours:
                both.enter_context(instrument())
        with (
            client.start_as_current_observation(name="a") as observation,
            propagate_attributes(user_id="u", as_baggage=True),
        ):
            for send in (with_httpx, with_async_httpx, with_requests):
                send("GET", service.chain(service.here, service.elsewhere, service.here))

    assert [parent == observation.id for parent in parents(service)] == [True, False, True] * 3
    assert users(service) == [True, False, True] * 3
    assert all("langfuse" not in (got.one("baggage") or "") for got in service.got if got.host == "localhost")


@pytest.mark.usefixtures("untouched")
def test_what_another_library_has_wrapped_since_stays_wrapped(client, service, monkeypatch):
    calls = []
    handle = instrument_requests()
    ours = requests.Session.send

    def theirs(self, request, **kwargs):
        calls.append(1)
        return ours(self, request, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(requests.Session, "send", theirs)
        handle.undo()
        with client.start_as_current_observation(name="a"):
            with_requests("GET", service.here)
            with instrument_requests():
                with_requests("GET", service.here)

    assert len(calls) == 2
    assert [bool(parent) for parent in parents(service)] == [False, True]
    # Ours is still there, and goes as soon as it can.
    assert requests.Session.send is ours
    instrument_requests().undo()


def test_the_marks_of_others_stay_theirs(monkeypatch):
    def theirs(self, request, **kwargs):
        raise NotImplementedError

    theirs.applied = True
    monkeypatch.setattr(requests.Session, "send", theirs)
    with instrument_requests():
        assert not hasattr(requests.Session.send, "applied")
        assert requests.Session.send.__wrapped__ is theirs
    assert requests.Session.send is theirs


# -- which clients ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_those_that_exist_and_those_to_come(client, service):
    with httpx.Client(trust_env=False) as existing, requests.Session() as session:
        with instrument_httpx(), instrument_requests(), client.start_as_current_observation(name="a"):
            existing.get(service.here)
            httpx.get(service.here, trust_env=False)
            session.get(service.here, timeout=10)
            requests.get(service.here, timeout=10)
        with client.start_as_current_observation(name="a"):
            existing.get(service.here)
            session.get(service.here, timeout=10)

    assert [bool(parent) for parent in parents(service)] == [True] * 4 + [False] * 2


@pytest.mark.usefixtures("untouched")
def test_one_of_them(client, service):
    with (
        httpx.Client(trust_env=False) as one,
        httpx.Client(trust_env=False) as other,
        requests.Session() as session,
        instrument_httpx(one),
        instrument_requests(session),
        client.start_as_current_observation(name="a"),
    ):
        one.get(service.here)
        other.get(service.here)
        session.get(service.here, timeout=10)
        requests.get(service.here, timeout=10)

    assert [bool(parent) for parent in parents(service)] == [True, False, True, False]


@pytest.mark.usefixtures("untouched")
def test_each_call_is_undone_by_itself(client, service):
    with httpx.Client(trust_env=False) as session:
        first, second, third = instrument_httpx(session), instrument_httpx(session), instrument_httpx()
        for handle in (first, first, third):
            handle.undo()
        with client.start_as_current_observation(name="a"):
            session.get(service.here)
            second.undo()
            session.get(service.here)

    assert [bool(parent) for parent in parents(service)] == [True, False]


@pytest.mark.slow
@pytest.mark.usefixtures("untouched")
def test_a_client_is_not_kept_alive():
    handle = instrument_httpx(session := httpx.Client())
    session.close()
    alive = weakref.ref(session)
    del session
    gc.collect()
    assert alive() is None
    handle.undo()
    instrument_httpx().undo()


@pytest.mark.usefixtures("untouched")
def test_another_object_is_refused():
    with pytest.raises(
        TypeError, match=r"instrument_httpx\(\) takes a httpx.Client or httpx.AsyncClient.*, or nothing"
    ):
        instrument_httpx(requests.Session())
    with pytest.raises(TypeError, match=r"Fix: instrument_requests\(\)"):
        instrument_requests(requests)


def test_aiohttp_is_needed_only_where_it_is_used(monkeypatch):
    from pytest_langfuse.tracing.propagation import aiohttp_client

    aiohttp_client._instrumented.cache_clear()
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ModuleNotFoundError, match="Fix: pip install aiohttp"):
        instrument_aiohttp()


@pytest.mark.slow
def test_a_client_of_openai_carries_the_trace(client, service):
    openai = pytest.importorskip("openai")
    with instrument_httpx(), client.start_as_current_observation(name="a") as observation:
        provider = openai.OpenAI(api_key="sk-x", base_url=service.here, max_retries=0)
        with pytest.raises(Exception):  # noqa: B017, PT011 - the service is none of OpenAI's
            provider.models.list().data[0].id  # noqa: B018
    assert parents(service)[:1] == [observation.id]


def test_requests_is_needed_only_where_it_is_used(monkeypatch):
    from pytest_langfuse.tracing.propagation import requests_client

    requests_client._instrumented.cache_clear()
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(ModuleNotFoundError, match="Fix: pip install requests"):
        instrument_requests()


@pytest.mark.usefixtures("untouched")
def test_threads_that_begin_and_end_at_once():
    def work():
        for _ in range(200):
            with instrument_httpx(), instrument_requests():
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def test_tasks_do_not_share_a_user(client, service):
    async with httpx.AsyncClient(trust_env=False) as session:

        async def call(number):
            with request_context(user_id=f"u{number}"), client.start_as_current_observation(name="a"):
                await session.get(f"{service.here}/{number}")

        with instrument_httpx(session):
            await asyncio.gather(*(call(number) for number in range(50)))

    assert all(f"langfuse_user_id=u{got.path[1:]}" in got.one("baggage").split(",") for got in service.got)


async def test_aiohttp_with_inject_headers(client, service):
    aiohttp = pytest.importorskip("aiohttp")
    with request_context(user_id="u"), client.start_as_current_observation(name="a") as observation:
        async with aiohttp.ClientSession() as session:
            for url in (service.here, service.elsewhere):
                async with session.get(url, headers=inject_headers({}, url=url)):
                    pass

    assert parents(service) == [observation.id] * 2
    assert users(service) == [True, False]
