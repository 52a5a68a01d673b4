"""A conversation as Langfuse shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import httpx
import pytest
import respx
from fastapi.testclient import TestClient
from openai_api import OpenAIApi

from pytest_langfuse import Observations
from pytest_langfuse.tracing import init_tracing
from support_bot.bot import Piece, Started, SupportBot
from support_bot.settings import Settings

Ask: TypeAlias = Callable[[str], str]


def test_streams_an_answer(ask: Ask, openai_api: OpenAIApi, langfuse_spans: Observations) -> None:
    openai_api.decides()
    openai_api.streams("Within ", "30 days.")

    assert ask("How long can I return an item?") == "Within 30 days."

    langfuse_spans.assert_tree("""
        * user_id=u-1 session_id=s-1 metadata.request_id=r-1 environment=development release=1.4.0 level=DEFAULT
        span answer  input="How long can I return an item?" output="Within 30 days."
          retriever search   output.0.title=Returns
          generation decide  model=gpt-4o-mini-2024-07-18 usage.total=45
          generation reply   model=gpt-4o-mini-2024-07-18 usage.total=72 output="Within 30 days."
    """)


def test_calls_a_tool(ask: Ask, openai_api: OpenAIApi, web: respx.MockRouter, langfuse_spans: Observations) -> None:
    web.get("https://orders.example/orders/A-7").respond(json={"state": "shipped"})
    openai_api.decides("order_status", order_id="A-7")
    openai_api.streams("It has shipped.")

    ask("Where is my order A-7?")

    langfuse_spans.assert_tree("""
        span answer
          retriever search
          generation decide
          tool order_status  input.kwargs.order_id=A-7 output.state=shipped
          generation reply   input.3.role=tool input.3.content~shipped
    """)


def test_an_unknown_order_is_no_error(
    ask: Ask, openai_api: OpenAIApi, web: respx.MockRouter, langfuse_spans: Observations
) -> None:
    web.get("https://orders.example/orders/A-8").respond(404)
    openai_api.decides("order_status", order_id="A-8")
    openai_api.streams("I can't find it.")

    ask("Where is my order A-8?")

    assert langfuse_spans.one("tool order_status", level="DEFAULT").output == {"error": "no such order"}


def test_every_observation_has_its_user_and_session(
    client: TestClient, ask: Ask, openai_api: OpenAIApi, langfuse_spans: Observations
) -> None:
    for user in ("u-1", "u-2"):
        openai_api.decides()
        openai_api.streams("Hello.")
        client.headers["x-user-id"] = user
        ask("Hi, I am a customer")

    langfuse_spans.assert_propagated("user_id", "session_id")
    assert [trace.user_id for trace in langfuse_spans.traces] == ["u-1", "u-2"]
    # Each conversation is a separate trace, and Langfuse shows its input and output on the trace itself.
    assert [trace.output for trace in langfuse_spans.traces] == ["Hello.", "Hello."]


def test_openai_is_down(client: TestClient, openai_api: OpenAIApi, langfuse_spans: Observations) -> None:
    openai_api.fails(503, "overloaded")

    response = client.post("/chat", json={"question": "Where is my parcel?"})

    assert response.status_code == 502
    langfuse_spans.assert_tree("""
        span answer          level=ERROR status_message~overloaded !output
          retriever search   level=DEFAULT
          generation decide  level=ERROR status_message~overloaded
    """)


def test_the_order_service_is_down(
    client: TestClient, openai_api: OpenAIApi, web: respx.MockRouter, langfuse_spans: Observations
) -> None:
    web.get("https://orders.example/orders/A-7").mock(side_effect=httpx.ConnectTimeout)
    openai_api.decides("order_status", order_id="A-7")

    assert client.post("/chat", json={"question": "Where is my order A-7?"}).status_code == 502

    assert [o.name for o in langfuse_spans if o.level == "ERROR"] == ["answer", "order_status"]


async def test_a_reader_who_leaves_early_still_has_a_trace(
    settings: Settings, openai_api: OpenAIApi, langfuse_spans: Observations
) -> None:
    openai_api.decides()
    openai_api.streams("Within ", "30 days.")
    init_tracing()
    async with httpx.AsyncClient() as http:
        events = SupportBot(settings, http).answer("How long can I return an item?")
        assert isinstance(await anext(events), Started)
        assert await anext(events) == Piece("Within ")
        await events.aclose()

    assert not langfuse_spans.unended
    langfuse_spans.assert_contains("""
        span answer  output="Within "
          generation reply  output="Within "
    """)


@pytest.mark.parametrize("body", [{}, {"question": ""}, {"question": "x" * 2_001}], ids=["none", "empty", "long"])
def test_a_bad_request_leaves_no_trace(client: TestClient, langfuse_spans: Observations, body: dict[str, str]) -> None:
    assert client.post("/chat", json=body).status_code == 422
    langfuse_spans.assert_tree("")
