"""Proxies of the environment: httpx's rules, networks in NO_PROXY, and proxies that can't be used."""

import importlib.util
import os

import httpx
import pytest

from pytest_langfuse.tracing import CircuitBreaker, init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing.delivery.proxies import UnusableProxies, all_usable, proxy_for
from pytest_langfuse.tracing.delivery.transport import AsyncBoundedTransport, AsyncTransportPool

pytestmark = pytest.mark.usefixtures("fresh")

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
PROXY = "http://proxy:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("", "http://langfuse.example.com", True),
        ("langfuse.example.com:3000", "http://langfuse.example.com:3000", False),
        ("langfuse.example.com:3000", "http://langfuse.example.com:3001", True),
        ("example.com", "http://langfuse.example.com", False),
        (".example.com", "http://example.com", True),
        ("ample.com", "http://langfuse.example.com", True),
        ("*", "http://langfuse.example.com", False),
        ("10.0.0.0/8", "http://10.1.2.3:3000", False),
        ("10.0.0.0/8", "http://11.1.2.3:3000", True),
        ("10.1.2.3/8", "http://10.9.9.9", False),
        ("fd00::/8", "http://[fd00::1]:3000", False),
        ("::1", "http://[::1]", False),
        ("localhost, 127.0.0.1", "http://127.0.0.1:3000", False),
        ("https://langfuse.example.com", "http://langfuse.example.com", True),
        ("nonsense://[,%%%,10.0.0.0/99", "http://langfuse.example.com", True),
    ],
)
def test_no_proxy(monkeypatch, no_proxy, url, proxied):
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert proxy_for(httpx.URL(url)) == (PROXY if proxied else None)


@pytest.mark.parametrize(
    "no_proxy", ["a.example:3000", "example.com", ".example.com", "*", "127.0.0.1", "::1", "http://x.y"]
)
@pytest.mark.parametrize(
    "url", ["http://a.example:3000/", "http://a.example/", "https://x.example.com", "http://127.0.0.1"]
)
def test_it_is_as_httpx_has_it(monkeypatch, no_proxy, url):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{name.lower().replace('_', '-')}:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    client = httpx.Client(verify=False)
    transport = client._transport_for_url(httpx.URL(url))
    theirs = None if transport is client._transport else transport._pool._proxy_url

    ours = proxy_for(httpx.URL(url))
    assert (ours and httpx.URL(ours).host.encode()) == (theirs and theirs.host)


UNUSABLE = ["socks5://user:s3cret-word@proxy:1080", "ftp://proxy:21", "http://proxy:port"]


@pytest.mark.parametrize("proxy", UNUSABLE)
async def test_a_proxy_that_can_t_be_used_is_one_line_and_the_application_runs(
    monkeypatch, collector, keys, lines, proxy
):
    assert importlib.util.find_spec("socksio") is None
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert not all_usable()
    client = init_tracing(**keys, breaker_failure_threshold=2)
    client.start_observation(name="x").end()
    client.flush()
    assert client.get_prompt("greeting", fallback="Hi").is_fallback
    with pytest.raises(httpx.TransportError):
        await client.async_api.projects.get()
    collector.wait_for(lambda: tracing_health().breaker == "open")

    assert tracing_health().buffered == 1
    assert collector.requests == []
    (said,) = [line for line in lines() if "nothing reaches Langfuse" in line]
    assert "s3cret" not in "".join(lines())
    assert ("pip install 'httpx[socks]'" in said) == proxy.startswith("socks")
    shutdown_tracing(timeout=0.1)


def test_the_environment_is_as_before(monkeypatch, keys):
    monkeypatch.setenv("ALL_PROXY", UNUSABLE[0])
    monkeypatch.setenv("NO_PROXY", "a.example")
    init_tracing(**keys)

    assert (os.environ["NO_PROXY"], os.environ.get("no_proxy")) == ("a.example", None)


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "127.0.0.0/8"])
def test_langfuse_is_reached_past_an_unusable_proxy(monkeypatch, collector, keys, lines, no_proxy):
    monkeypatch.setenv("ALL_PROXY", UNUSABLE[0])
    monkeypatch.setenv("NO_PROXY", no_proxy)
    client = init_tracing(**keys)
    client.start_observation(name="x").end()
    client.flush()

    assert collector.accepted == ["x"]
    assert lines() == []


async def test_the_asynchronous_client_uses_the_proxy(monkeypatch, collector):
    monkeypatch.setenv("HTTP_PROXY", collector.url)
    pool = AsyncTransportPool(UnusableProxies())
    transport = AsyncBoundedTransport(pool, host="langfuse.invalid", breaker=CircuitBreaker())
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("http://langfuse.invalid/y")

    assert [seen.path for seen in collector.requests] == ["http://langfuse.invalid/y"]
