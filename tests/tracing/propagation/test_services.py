"""One trace over services on real sockets, asserted in one literal; and what it looks like when a header is missing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests
from opentelemetry import context as otel_context

from pytest_langfuse import TreeMismatch
from pytest_langfuse.standin.http.free_ports import free_port
from pytest_langfuse.tracing import (
    carry_context,
    extract_context,
    get_langfuse_client,
    get_request_context,
    init_tracing,
    inject_headers,
    instrument_httpx,
    instrument_requests,
    request_context,
    safe_trace,
    shutdown_tracing,
)
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON
from tests.helpers.loopback_service import Service

# Slow: starts servers.
pytestmark = pytest.mark.slow

#: The fixtures of this folder take away what the plugin has in the environment.
KEYS = {"public_key": "pk-lf-services", "secret_key": "sk-lf-services"}


class Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True


@pytest.fixture
def serve():
    """Run a function for each request, in a thread of a server of its own; returns the address."""
    servers = []

    def start(handle):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                """Nothing."""

            def do_GET(self):
                token = otel_context.attach(extract_context(self.headers))
                try:
                    body = handle(self.path).encode()
                finally:
                    otel_context.detach(token)
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = Server(("127.0.0.1", free_port()), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def service():
    server = Service()
    yield server
    server.close()


@safe_trace("query", as_type="retriever")
def query(sku):
    return f"{sku} for {get_request_context().user_id}"


@safe_trace("stock")
def stock(path):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(carry_context(query), path.strip("/")).result()


def with_httpx(url):
    with httpx.Client(trust_env=False) as session:
        return session.get(url).text


def with_requests(url):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=10).text


def by_hand(url):
    with httpx.Client(trust_env=False, headers=inject_headers({}, url=url)) as session:
        return session.get(url).text


@pytest.mark.parametrize("call", [with_httpx, with_requests, by_hand])
def test_one_tree_over_three_services(langfuse_tracing, langfuse_spans, serve, call):
    init_tracing(**KEYS, propagate_to=("127.0.0.1",))
    stock_url = serve(stock)

    @safe_trace("orders")
    def orders(path):
        return call(stock_url + path)

    orders_url = serve(orders)
    with (
        instrument_httpx(),
        instrument_requests(),
        request_context(user_id="u@x.org", session_id="s 1"),
        get_langfuse_client().start_as_current_observation(name="gateway"),
    ):
        assert call(orders_url + "/sku-1") == "sku-1 for u@x.org"

    langfuse_spans.assert_tree("""
        * user_id=u@x.org session_id="s 1"
        span gateway
          span orders
            span stock
              retriever query
    """)
    langfuse_spans.assert_single_trace()
    langfuse_spans.assert_propagated("user_id", "session_id")
    if METADATA_IS_JSON:  # version 5 of the SDK, which marks the application's root
        assert [observation.name for observation in langfuse_spans if observation.is_app_root] == ["gateway"]
    assert shutdown_tracing(60.0).exported == 4


def test_a_service_that_is_not_on_the_list_starts_a_trace_of_its_own(langfuse_tracing, langfuse_spans, serve):
    init_tracing(**KEYS, propagate_to=("other.example",))
    stock_url = serve(stock)
    gateway = get_langfuse_client().start_as_current_observation(name="gateway")
    with instrument_httpx(), request_context(user_id="u"), gateway:
        assert with_httpx(stock_url + "/sku-1") == "sku-1 for None"

    with pytest.raises(AssertionError, match="gateway"):
        langfuse_spans.assert_single_trace()
    with pytest.raises(AssertionError, match="user_id in trace"):
        langfuse_spans.assert_propagated("user_id")
    with pytest.raises(TreeMismatch, match="stock"):
        langfuse_spans.assert_tree("span gateway\n  span stock\n    retriever query")


def test_an_error_downstream_of_an_unsampled_caller_is_seen(langfuse_tracing, langfuse_spans, serve):
    init_tracing(**KEYS, propagate_to=("127.0.0.1",))

    @safe_trace("failing")
    def failing(path):
        raise ValueError(path)

    def answered(path):
        try:
            return failing(path)
        except ValueError:
            return "failed"

    url = serve(answered)
    fine = serve(stock)
    unsampled = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-00", "baggage": "langfuse_user_id=u"}
    with httpx.Client(trust_env=False) as session:
        assert session.get(url + "/x", headers=unsampled).text == "failed"
        assert session.get(fine + "/y", headers={**unsampled, "traceparent": f"00-{'3' * 32}-{'4' * 16}-00"}).text

    langfuse_spans.assert_tree("span failing level=ERROR user_id=u")
    assert shutdown_tracing(60.0).dropped == {"sampled_out": 2}
