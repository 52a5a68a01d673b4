"""Faults that look like success, or are not HTTP at all."""

from __future__ import annotations

import httpx

from pytest_langfuse.outage.faults.fault import Strike, at_server
from pytest_langfuse.outage.faults.partial import reject_some

#: The path to which `redirect` leads; the server answers it with a sign-in page.
SIGN_IN_PATH = "/stand-in/sign-in"
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_SIGN_IN = (
    "<!doctype html><html><head><title>Sign in</title></head><body><form>Sign in to continue</form></body></html>"
)


def sign_in_page() -> httpx.Response:
    """Return a sign-in page, as portals send it: 200 with HTML."""
    return httpx.Response(200, content=_SIGN_IN, headers=_HTML)


@at_server()
def redirect(strike: Strike) -> None:
    """302 to a sign-in page.

    Single sign-on in front of a self-hosted Langfuse, or a base URL with `http:` where `https:` is enforced.
    OpenTelemetry's exporter follows it with a GET, reads the page as success, and the spans are lost silently.
    """
    url = strike.exchange.request.url.copy_with(raw_path=SIGN_IN_PATH.encode())
    strike.exchange.wait(strike.delay(0))
    strike.exchange.respond(httpx.Response(302, headers={"Location": str(url)}))


@at_server()
def captive_portal(strike: Strike) -> None:
    """200 with an HTML page, whatever the request.

    The network of a hotel or a train, a proxy that shows its own page, a parked domain. OpenTelemetry's exporter takes
    it for success.
    """
    strike.exchange.wait(strike.delay(0))
    strike.exchange.respond(sign_in_page())


@at_server(endpoints=("otlp", "scores"))
def partial_success(strike: Strike) -> None:
    """200, and a note in the body that half of the spans were rejected (OTLP "partial success"); scores: 207.

    A collector with a quota or a limit on attributes. OpenTelemetry's exporter does not read the note. The first half
    is kept. Only these two endpoints have such an answer.
    """
    response = reject_some(strike.exchange.request, strike.answer)
    strike.exchange.wait(strike.delay(0))
    strike.exchange.respond(response)


@at_server()
def garbage(strike: Strike) -> None:
    """Bytes that are not HTTP.

    Another service has the port: the client talks to an SSH server.
    """
    strike.exchange.wait(strike.delay(0))
    strike.exchange.send_and_close(b"SSH-2.0-OpenSSH_9.6\r\n\x00\x00\x03\xcc\x0a\x14" + bytes(range(128, 160)))


@at_server()
def truncated(strike: Strike) -> None:
    """200, and the connection ends in the middle of the body.

    A proxy or a pod that dies while it answers. What was sent is not kept.
    """
    exchange = strike.exchange
    exchange.wait(strike.delay(0))
    exchange.over = True
    body = httpx.Response(200, json={"status": "OK"})
    exchange.send_and_close(exchange.encode(body, length=len(body.content) + 100))
