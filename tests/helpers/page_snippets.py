"""Snippets of the documentation, and what must be true after each. Run as a script, it runs them, each in a fork."""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helpers.page_blocks import Block


@dataclass(frozen=True)
class Snippet:
    """A block of a page that has these words, and Python that fails if its outcome is another than the page says."""

    page: str
    words: str
    then: str

    def __str__(self) -> str:
        return f"{self.page}: {self.words}"

    def is_for(self, block: Block) -> bool:
        """Whether it is this block."""
        return block.name == self.page and block.language == "python" and self.words in block.text


SERVED = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass

server = HTTPServer(("127.0.0.1", 0), Answering)
server.seen = []
threading.Thread(target=server.serve_forever, daemon=True).start()
"""
#: Tracing is on with this configuration, and knows where to send.
CONFIGURED = """
from pytest_langfuse.tracing import init_tracing, tracing_health
init_tracing(config)
exports = (config.export,) if isinstance(config.export, str) else config.export
assert tracing_health().enabled
assert tuple(tracing_health().breakers) == exports
"""
SNIPPETS = (
    Snippet(
        "docs/propagation.md",
        "instrument_requests()",
        """
import httpx
from pytest_langfuse.tracing import get_langfuse_client, request_context
seen = {}
def answer(request):
    seen[request.url.host] = request.headers
    return httpx.Response(200)
client = httpx.Client(transport=httpx.MockTransport(answer))
with get_langfuse_client().start_as_current_observation(name="root"), request_context(user_id="u-1"):
    for host in ("orders.example.com", "stock.internal.example.com", "elsewhere.example.org"):
        client.get(f"http://{host}/")
assert {host: "u-1" in headers.get("baggage", "") for host, headers in seen.items()} == {
    "orders.example.com": True, "stock.internal.example.com": True, "elsewhere.example.org": False}
assert ["traceparent" in headers for headers in seen.values()] == [True, True, False]
""",
    ),
    Snippet(
        "docs/propagation.md",
        "import urllib.request",
        SERVED
        + """
from pytest_langfuse.tracing import get_langfuse_client, init_tracing
init_tracing()
with get_langfuse_client().start_as_current_observation(name="root") as root:
    assert get(f"http://127.0.0.1:{server.server_port}/") == b"ok"
[headers] = server.seen
assert headers["traceparent"].split("-")[1] == root.trace_id
""",
    ),
    Snippet(
        "docs/propagation.md",
        "def handle(message)",
        """
from types import SimpleNamespace
from opentelemetry import trace
from pytest_langfuse.tracing import init_tracing
init_tracing()
traces = []
real = get_langfuse_client
class Watched:
    def start_as_current_observation(self, *, name):
        traces.append(trace.get_current_span().get_span_context().trace_id)
        return real().start_as_current_observation(name=name)
get_langfuse_client = Watched
handle(SimpleNamespace(headers={"traceparent": f"00-{'a1' * 16}-{'b2' * 8}-01"}))
assert traces == [int("a1" * 16, 16)]
assert not trace.get_current_span().get_span_context().is_valid
""",
    ),
    *(
        Snippet(
            "docs/queues.md",
            f'export="{queue}"',
            f"""
from pytest_langfuse.tracing import get_langfuse_client, tracing_health
get_langfuse_client().start_observation(name="a").end()
health = tracing_health()
assert (set(health.breakers), health.ended, health.unaccounted) == ({{"{queue}"}}, 1, 0)
""",
        )
        for queue in ("kafka", "sqs")
    ),
    Snippet(
        "docs/sampling.md",
        "def expensive(trace)",
        """
from types import SimpleNamespace
from pytest_langfuse.tracing import get_langfuse_client, request_context, tracing_health
for name, user, times in (("GET /healthz", "u-1", 20), ("GET /", "vip-1", 7)):
    for _ in range(times):
        with request_context(user_id=user):
            get_langfuse_client().start_observation(name=name).end()
health = tracing_health()
assert (health.ended, dict(health.dropped), health.buffered) == (27, {"sampled_out": 20}, 7), health
spans = [SimpleNamespace(attributes={"gen_ai.usage.output_tokens": 6_000})] * 2
assert (expensive(SimpleNamespace(spans=spans)), expensive(SimpleNamespace(spans=spans[:1]))) == (True, None)
""",
    ),
    Snippet(
        "docs/tracing.md", "import init_tracing, request_context, safe_trace, shutdown_tracing, tracing_health", ""
    ),
    Snippet(
        "docs/rules/README.md",
        "def test_guest()",
        """
[marker] = test_guest.pytestmark
assert (marker.name, marker.kwargs) == ("langfuse_rules", {"ignore": ["LF005"]})
""",
    ),
    *(Snippet("docs/scale.md", f"# {size}.py", CONFIGURED) for size in ("starter", "growth", "enterprise")),
    Snippet(
        "docs/tracing.md",
        "async def lifespan(app)",
        """
from pytest_langfuse.tracing import tracing_health
async def main():
    async with lifespan(None):
        assert tracing_health().enabled
asyncio.run(main())
assert not tracing_health().enabled
""",
    ),
    Snippet(
        "docs/tracing.md",
        "def healthz()",
        """
import json
assert json.loads(json.dumps(healthz()))["tracing"]["enabled"] is False
from pytest_langfuse.tracing import init_tracing
init_tracing()
assert json.loads(json.dumps(healthz()))["status"] == "ok"
assert healthz()["tracing"]["enabled"] is True
""",
    ),
)


def outcome(text: str) -> str:
    """Run a text in a fork; return the traceback, or nothing."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        said = ""
        try:
            exec(compile(text, "snippet", "exec"), {"__name__": "snippet", "pytest": pytest})
        except BaseException:  # noqa: BLE001 - the parent shows it
            said = traceback.format_exc()
        with os.fdopen(sender, "w") as file:
            file.write(said)
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def main() -> None:
    """Run what standard input holds, and print the outcomes."""
    # Nobody listens there. Nothing is sampled out but by what a page says.
    os.environ |= {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}
    os.environ["LANGFUSE_BASE_URL"] = "http://127.0.0.1:9"
    # Once for all: what a page imports is there.
    for module in ("httpx", "langfuse", "requests", "pytest_langfuse.tracing.singleton"):
        import_module(module)
    found = {name: outcome(text) for name, text in json.load(sys.stdin).items()}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
