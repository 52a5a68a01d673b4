"""Faults of the connection: there is no HTTP answer at all."""

from __future__ import annotations

from pytest_langfuse.outage.faults.fault import Addresses, Strike, at_client, at_server

#: A host name that does not exist (RFC 6761, 6.4).
UNKNOWN_HOST = "langfuse.invalid"


@at_client
def refused(server: Addresses) -> str:
    """Nothing listens on the port: connection refused.

    The process has crashed, is being restarted by a deploy, or the client has the wrong port.
    """
    return server.refusing_url


@at_server()
def hang(strike: Strike) -> None:
    """The connection and the request are accepted, and no answer ever comes.

    A load balancer in front of backends that are all stuck (a full worker pool, a database that is locked), or a
    firewall that drops packets of connections that it has forgotten. `delay` has no effect.
    """
    strike.exchange.hang()


@at_server()
def reset(strike: Strike) -> None:
    """The connection is reset (RST) after the request was read.

    The process was killed (out of memory) while it worked on the request, or a proxy cut an idle keep-alive
    connection at the very moment at which it was used again. `delay`: seconds before the reset, default 0.
    """
    strike.exchange.wait(strike.delay(0))
    strike.exchange.reset()


@at_client
def tls_error(server: Addresses) -> str:
    """The TLS handshake fails.

    An expired certificate, a company proxy with a CA that the container does not trust, or a TLS version that one side
    no longer supports.
    """
    return server.tls_url


@at_client
def dns_error(server: Addresses) -> str:
    """The host name does not resolve.

    A typo in `LANGFUSE_BASE_URL`, a cluster DNS under load, a container without network.
    """
    return f"http://{UNKNOWN_HOST}:{server.port}"
