"""The prompt that Langfuse manages, and the fallback without it."""

from __future__ import annotations

from collections.abc import Callable

from openai_api import OpenAIApi

from pytest_langfuse import Observations


def test_the_prompt_of_langfuse_is_used_and_linked(
    ask: Callable[[str], str], openai_api: OpenAIApi, langfuse_api: object, langfuse_spans: Observations
) -> None:
    langfuse_api.prompt("support-answer", "Be brief. Articles:\n{{articles}}")  # type: ignore[attr-defined]
    openai_api.decides()
    openai_api.streams("Two days.")

    ask("How long is delivery?")

    reply = langfuse_spans.one("generation reply", prompt_name="support-answer", prompt_version=1)
    assert reply.input[0]["content"].startswith("Be brief. Articles:\nShipping:")


def test_without_it_the_fallback_answers(
    ask: Callable[[str], str], openai_api: OpenAIApi, langfuse_spans: Observations
) -> None:
    openai_api.decides()
    openai_api.streams("Two days.")

    ask("How long is delivery?")

    reply = langfuse_spans.one("generation reply", prompt_name=None)
    assert reply.input[0]["content"].startswith("You are the support bot of a shop.")
