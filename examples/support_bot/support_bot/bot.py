"""Answers to questions: search, let the model use its tool, stream the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from langfuse.openai import AsyncOpenAI

from pytest_langfuse.tracing import get_langfuse_client, safe_trace
from support_bot.knowledge import Article, KnowledgeBase
from support_bot.orders import TOOL, OrderService
from support_bot.settings import Settings

PROMPT = "support-answer"
FALLBACK_PROMPT = "You are the support bot of a shop. Answer briefly, from these articles only:\n{{articles}}"


@dataclass(frozen=True, slots=True)
class Started:
    """The model has begun to answer."""

    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer's text."""

    text: str


class SupportBot:
    """Answers questions."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, knowledge: KnowledgeBase | None = None) -> None:
        self._model = settings.model
        self._knowledge = knowledge or KnowledgeBase()
        self._orders = OrderService(http, settings.orders_url)
        # One connection pool for every service that is called.
        pool: Any = http
        openai = AsyncOpenAI(api_key=settings.openai_api_key, http_client=pool, max_retries=0)
        # Any: Langfuse's integration takes keywords (name, langfuse_prompt) that OpenAI's types don't know.
        self._completions: Any = openai.chat.completions

    @safe_trace("answer", capture_input=False, capture_output=False)
    async def answer(self, question: str) -> AsyncGenerator[Started | Piece, None]:
        """Stream the answer to a question. Raises `openai.OpenAIError` before the first item if OpenAI fails."""
        langfuse = get_langfuse_client()
        langfuse.update_current_span(input=question)
        # In a thread: ranking is CPU-bound, and the first fetch of a prompt goes over the network.
        articles = await asyncio.to_thread(self._knowledge.search, question)
        system, prompt = await asyncio.to_thread(_system_message, articles)
        messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        messages += await self._use_tool(messages)

        stream = await self._completions.create(
            name="reply",
            model=self._model,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            langfuse_prompt=prompt,
        )
        pieces: list[str] = []
        try:
            # The client may disconnect at any yield. Closing the stream ends its observation with the text so far.
            async with stream:
                yield Started(langfuse.get_current_trace_id())
                async for chunk in stream:
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        pieces.append(text)
                        yield Piece(text)
        finally:
            langfuse.update_current_span(output="".join(pieces))

    async def _use_tool(self, messages: Sequence[Any]) -> list[Any]:
        """Ask the model whether it needs the tool, and return the messages to send next."""
        completion = await self._completions.create(
            name="decide", model=self._model, messages=list(messages), tools=[TOOL]
        )
        message = completion.choices[0].message
        if not message.tool_calls:
            return []
        results = [
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": json.dumps(await self._orders.status(**json.loads(call.function.arguments))),
            }
            for call in message.tool_calls
        ]
        return [message.model_dump(exclude_none=True), *results]


def _system_message(articles: Sequence[Article]) -> tuple[str, Any]:
    """Return the system message and the Langfuse prompt that it comes from."""
    prompt = get_langfuse_client().get_prompt(PROMPT, fallback=FALLBACK_PROMPT, max_retries=0, fetch_timeout_seconds=2)
    text = "\n".join(f"{article.title}: {article.text}" for article in articles) or "(none)"
    return prompt.compile(articles=text), prompt
