"""The first requests of tracing's threads import nothing.

A child that is forked while a thread imports a module inherits the lock of that module, held for ever, and its own
threads wait for it.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

import pytest

from tests.helpers.loopback_langfuse import SCORES, TRACES, Collector, Reply, Seen
from tests.helpers.paths import ROOT

PROMPT = {"name": "p", "version": 1, "prompt": "hi", "type": "text", "config": {}, "labels": [], "tags": []}

#: What the collector answers to spans of these names.
FAULTS = {
    "later": Reply(503, b"busy", headers={"retry-after": format_datetime(datetime.now(UTC) + timedelta(hours=1))}),
    "soon": Reply(429, b"busy", headers={"retry-after": "1"}),
    "portal": Reply(200, b"<html>", content_type="text/html; charset=utf-16"),
    "partial": Reply(
        200, b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "\\u00fc"}}', content_type="application/json"
    ),
    "refused": Reply(400, "für".encode("utf-16")),
    "garbage": Reply(200, b"\xff\xff"),
    "compressed": Reply(200, b"no gzip", headers={"content-encoding": "gzip"}),
    "redirect": Reply(302, headers={"location": "https://elsewhere.invalid/"}),
    "drip": Reply(drip=0.05),
    "hang": Reply(hang=True),
    "reset": Reply(reset=True),
}

SCRIPT = """
import os, sys, threading

from langfuse.media import LangfuseMedia
from pytest_langfuse.tracing import init_tracing, shutdown_tracing

url, faults = sys.argv[1], sys.argv[2:]
port = url.rpartition(":")[2]
found, now = [], "127.0.0.1"


class Imports:
    def find_spec(self, name, path=None, target=None):
        found.append(f"{name} ({threading.current_thread().name}, {now})")


def use(base_url, name, **settings):
    client = init_tracing(base_url=base_url, public_key="pk-lf-x", secret_key="sk-lf-x", sample_rate=1.0, **settings)
    if Imports not in map(type, sys.meta_path):
        sys.meta_path.insert(0, Imports())
    media = LangfuseMedia(content_bytes=name.encode(), content_type="image/png")
    client.start_observation(name=name, input=media).end()
    client.create_score(name=name, value=1, trace_id="a" * 32)
    for _ in range(2):
        # The second one is fetched in a thread: what is in the cache is too old.
        client.get_prompt("p", cache_ttl_seconds=-1, fallback="hi")
    client.flush()
    shutdown_tracing(timeout=settings.get("timeout", 5.0))


use(url, "address")
for now in "localhost", "langfuse.invalid":
    os.environ["HTTP_PROXY"] = url if now == "langfuse.invalid" else ""
    use(f"http://{now}:{port}", now)
for now in faults:
    use(url, now, timeout=0.1)
now = "https"
use(f"https://localhost:{port}", now, timeout=0.5)
now = "no such name"
use(f"http://langfuse.invalid:{port}", now, timeout=0.5)
print(*found, sep="\\n")
"""


def answer(url: str, seen: Seen) -> Reply:
    """Answer as Langfuse does, unless the name of the span says otherwise."""
    if seen.path.endswith(TRACES):
        return FAULTS.get(seen.spans[0], Reply())
    if "/prompts/" in seen.path:
        return Reply(body=json.dumps(PROMPT).encode(), content_type="application/json")
    if seen.method == "POST" and seen.path.endswith("/media"):
        # A URL-safe part of the digest, which the SDK compares with its own.
        media_id = json.loads(seen.body)["sha256Hash"].replace("+", "-").replace("/", "_")[:22]
        body = json.dumps({"mediaId": media_id, "uploadUrl": f"{url}/upload"})
        return Reply(body=body.encode(), content_type="application/json")
    return Reply(body=b'{"id": "1", "successes": [], "errors": []}', content_type="application/json")


@pytest.mark.slow
def test_first_requests_import_nothing(collector: Collector):
    collector.reply = functools.partial(answer, collector.url)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, collector.url, *FAULTS],
        # Plugins of pydantic may import what applications would not.
        env={"PYTHONPATH": str(ROOT), "PYDANTIC_DISABLE_PLUGINS": "__all__", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "\n"
    ways = {(seen.method, urlsplit(seen.path).path) for seen in collector.requests}
    media = {("POST", "/api/public/media"), ("PUT", "/upload")}
    assert ways >= {("POST", TRACES), ("POST", SCORES), ("GET", "/api/public/v2/prompts/p"), *media}
    names = [name for seen in collector.requests if urlsplit(seen.path).path == TRACES for name in seen.spans]
    assert {"address", "localhost", "langfuse.invalid", *FAULTS} <= set(names)
