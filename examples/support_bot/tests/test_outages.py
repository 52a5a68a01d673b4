"""Outages of Langfuse that customers don't notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openai_api import OpenAIApi

from pytest_langfuse import Observations
from pytest_langfuse.tracing import shutdown_tracing
from support_bot.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Don't wait for a Langfuse that takes nothing at the end of each test."""
    return replace(settings, shutdown_timeout=0.2)


@pytest.mark.langfuse_outage(
    "refused", "hang", "reset", "http_401", "http_503", "redirect", "captive_portal", "garbage"
)
def test_the_answer_still_streams(
    client: TestClient, openai_api: OpenAIApi, langfuse_outage: Any, langfuse_spans: Observations
) -> None:
    openai_api.decides()
    openai_api.streams("Within ", "30 days.")

    response = client.post("/chat", json={"question": "How long can I return an item?"})

    assert response.status_code == 200
    assert 'data: {"text": "Within "}\n\ndata: {"text": "30 days."}\n\nevent: done' in response.text
    # The customer sees nothing of Langfuse, and the trace was still recorded.
    assert "langfuse" not in response.text.lower()
    assert langfuse_spans.one("generation reply", prompt_name=None).output == "Within 30 days."
    assert langfuse_outage.attempts >= 1


@pytest.mark.langfuse_outage("http_500", "reset", paths="scores")
def test_feedback_is_taken(client: TestClient) -> None:
    body = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "helpful": True}
    assert client.post("/feedback", json=body).status_code == 202
    # This sends the score, which fails. The shutdown must not fail.
    shutdown_tracing(timeout=1.0)


def test_a_short_outage_loses_nothing(
    ask: Callable[[str], str],
    openai_api: OpenAIApi,
    langfuse_outage: Any,
    langfuse_server: Any,
    langfuse_spans: Observations,
) -> None:
    openai_api.decides()
    openai_api.streams("Two days.")
    with langfuse_outage("http_503"):
        assert ask("How long is delivery?") == "Two days."

    shutdown_tracing(timeout=10.0)

    langfuse_spans.assert_flushed()
    assert [observation.name for observation in langfuse_server.spans if observation.parent is None] == ["answer"]
