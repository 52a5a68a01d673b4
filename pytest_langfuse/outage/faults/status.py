"""Faults that are an HTTP status. `delay`: seconds before the answer, default 0. `retry_after`: seconds."""

from __future__ import annotations

import httpx

from pytest_langfuse.outage.faults.fault import Strike, at_server

_HTML = "text/html; charset=utf-8"


@at_server()
def http_400(strike: Strike) -> None:
    """400: Langfuse does not understand the request.

    A version of the SDK that the self-hosted server is too old for, or a proxy that damages bodies. Retrying does not
    help.
    """
    _json(strike, 400, {"message": "Invalid request data", "error": []})


@at_server()
def http_401(strike: Strike) -> None:
    """401: the keys do not belong to a project.

    Keys that were rotated or deleted, keys of another region or of staging, a secret that was not mounted.
    """
    message = "Invalid credentials. Confirm that you've configured the correct host."
    _json(strike, 401, {"message": message})


@at_server()
def http_403(strike: Strike) -> None:
    """403: the keys are valid, but do not allow this.

    The plan's quota is used up and ingestion is suspended, or an organisation's key is used where a project's belongs.
    """
    message = "Ingestion suspended: Usage threshold exceeded. Please upgrade your plan."
    _json(strike, 403, {"message": message, "error": "ForbiddenError"})


@at_server()
def http_404(strike: Strike) -> None:
    """404 with an HTML page: this is not Langfuse's API.

    A base URL with a wrong path, a reverse proxy without the route, a server too old for the endpoint.
    """
    _page(strike, 404, "This page could not be found")


@at_server()
def http_413(strike: Strike) -> None:
    """413: the body is too large.

    nginx's limit of 1 MB in front of a self-hosted Langfuse, or traces with whole documents and images in them.
    """
    _page(strike, 413, "Request Entity Too Large")


@at_server()
def http_429(strike: Strike) -> None:
    """429: too many requests.

    The rate limit of the plan, hit by a load test or by an agent that loops.
    """
    _respond(strike, httpx.Response(429, text="429 - rate limit exceeded"))


@at_server()
def http_500(strike: Strike) -> None:
    """500: internal error.

    A bug, a failed migration, a full disk. The SDK does not retry spans, but prompts, scores and media.
    """
    _json(strike, 500, {"message": "Internal Server Error", "error": "An unknown error occurred"})


@at_server()
def http_502(strike: Strike) -> None:
    """502: the load balancer got no proper answer from Langfuse.

    The container crashed or is being replaced while the load balancer still sends to it.
    """
    _page(strike, 502, "Bad Gateway")


@at_server()
def http_503(strike: Strike) -> None:
    """503: no instance of Langfuse is available.

    A deploy without a rolling update, a health check that fails, maintenance.
    """
    _page(strike, 503, "Service Temporarily Unavailable")


@at_server()
def http_504(strike: Strike) -> None:
    """504: the load balancer timed out waiting for Langfuse.

    A database that takes minutes to answer. Langfuse may have accepted what was sent all the same; here it has not.
    """
    _page(strike, 504, "Gateway Time-out")


def _json(strike: Strike, status: int, body: object) -> None:
    _respond(strike, httpx.Response(status, json=body))


def _page(strike: Strike, status: int, title: str) -> None:
    html = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>\n"
    _respond(strike, httpx.Response(status, content=html, headers={"Content-Type": _HTML}))


def _respond(strike: Strike, response: httpx.Response) -> None:
    if strike.options.retry_after is not None:
        response.headers["Retry-After"] = str(strike.options.retry_after)
    strike.exchange.wait(strike.delay(0))
    strike.exchange.respond(response)
