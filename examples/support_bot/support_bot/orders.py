"""The tool that the model may call: it looks up the status of an order."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx

from pytest_langfuse.tracing import safe_trace

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "order_status",
        "description": "Look up where an order is.",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
            "additionalProperties": False,
        },
    },
}


class OrderService:
    """A client of the order service."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    @safe_trace("order_status", as_type="tool")
    async def status(self, order_id: str) -> dict[str, Any]:
        """Return the status of an order. An unknown order is an answer, not an error."""
        response = await self._http.get(f"{self._url}/orders/{order_id}")
        if response.status_code == HTTPStatus.NOT_FOUND:
            return {"error": "no such order"}
        response.raise_for_status()
        status: dict[str, Any] = response.json()
        return status
