"""Health, readiness, and the project of the keys."""

from __future__ import annotations

import httpx

from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint

#: The server release whose answers are reproduced.
SERVER_VERSION = "4.16.0"
PROJECT_ID = "pytest-langfuse"


def endpoints() -> list[Endpoint]:
    """Return the endpoints of this resource."""
    return [
        Endpoint("GET", "/health", _health, authenticated=False),
        Endpoint("GET", "/ready", _health, authenticated=False),
        Endpoint("GET", "/projects", _projects),
    ]


def _health(_call: ApiCall) -> httpx.Response:
    return httpx.Response(200, json={"status": "OK", "version": SERVER_VERSION})


def _projects(_call: ApiCall) -> httpx.Response:
    project = {
        "id": PROJECT_ID,
        "name": "pytest-langfuse",
        "organization": {"id": "pytest-langfuse-org", "name": "pytest-langfuse"},
        "metadata": {},
    }
    return httpx.Response(200, json={"data": [project]})
