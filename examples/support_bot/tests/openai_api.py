"""A mock of OpenAI's API at the HTTP level."""

from __future__ import annotations

import json
from typing import Any

import httpx
import respx

_HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-4o-mini-2024-07-18"}


class OpenAIApi:
    """Chat completions. Requests get the queued answers in order."""

    def __init__(self, web: respx.MockRouter) -> None:
        self._answers: list[httpx.Response] = []
        self.route = web.post("https://api.openai.com/v1/chat/completions").mock(side_effect=self._next)

    def _next(self, request: httpx.Request) -> httpx.Response:
        return self._answers.pop(0)

    def decides(self, tool: str | None = None, **arguments: Any) -> None:
        """Queue an answer that calls a tool, or none."""
        message: dict[str, Any] = {"role": "assistant", "content": None if tool else "No tool is needed."}
        if tool:
            call = {"name": tool, "arguments": json.dumps(arguments)}
            message["tool_calls"] = [{"id": "call-1", "type": "function", "function": call}]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool else "stop"}
        usage = {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 45}
        body = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
        self._answers.append(httpx.Response(200, json=body))

    def streams(self, *pieces: str) -> None:
        """Queue a streamed answer, which ends with its usage."""
        usage = {"prompt_tokens": 60, "completion_tokens": 12, "total_tokens": 72}
        deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
        chunks: list[dict[str, Any]] = [
            *({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        lines = [f"data: {json.dumps({**_HEAD, 'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
        text = "".join([*lines, "data: [DONE]\n\n"])
        self._answers.append(httpx.Response(200, text=text, headers={"content-type": "text/event-stream"}))

    def fails(self, status: int, message: str) -> None:
        """Queue an error."""
        self._answers.append(httpx.Response(status, json={"error": {"message": message, "type": "server_error"}}))
