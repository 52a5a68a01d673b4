"""Faults of pace: the right answer, but late, byte by byte, or only every other time."""

from __future__ import annotations

from pytest_langfuse.outage.faults.fault import Strike, at_server
from pytest_langfuse.outage.faults.status import http_502


@at_server(delivers=True)
def slow(strike: Strike) -> None:
    """The right answer, late.

    A database under load, a garbage collection, a cold start behind an autoscaler. `delay`: seconds before the
    answer, default 0.5. A client with a shorter timeout gives up, although Langfuse has accepted what it sent.
    """
    response = strike.answer(strike.exchange.request)
    strike.exchange.wait(strike.delay(0.5))
    strike.exchange.respond(response)


@at_server(delivers=True)
def drip(strike: Strike) -> None:
    """The right answer, one byte at a time.

    A congested link, or a proxy that trickles. It defeats timeouts that count from the last byte, as those of
    requests and httpx do. `delay`: seconds between two bytes, default 0.5.
    """
    response = strike.answer(strike.exchange.request)
    strike.exchange.drip(strike.exchange.encode(response), strike.delay(0.5))


@at_server(repeating=True)
def flapping(strike: Strike) -> None:
    """Up, down, up, down: every second request fails with a 502.

    One of several backends behind a load balancer is broken, or a service is restarted again and again. `after=3,
    times=2`: three are answered, two fail, three are answered, and so on.
    """
    http_502.strike(strike)
