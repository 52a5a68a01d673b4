"""Feedback of a customer becomes a score."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from openai_api import OpenAIApi

from pytest_langfuse import Observations


@pytest.mark.parametrize("helpful", [True, False])
def test_feedback_scores_the_trace_of_the_answer(
    client: TestClient, openai_api: OpenAIApi, langfuse_spans: Observations, *, helpful: bool
) -> None:
    openai_api.decides()
    openai_api.streams("Two days.")
    answer = client.post("/chat", json={"question": "How long is delivery?"})
    found = re.search(r'"trace_id": "([0-9a-f]{32})"', answer.text)
    assert found is not None

    body = {"trace_id": found[1], "helpful": helpful, "comment": "thanks"}
    assert client.post("/feedback", json=body).status_code == 202

    [score] = langfuse_spans.scores
    assert (score.name, score.value, score.comment) == ("helpful", float(helpful), "thanks")
    assert score.trace_id == langfuse_spans.trace("answer").id


def test_a_made_up_trace_id_is_refused(client: TestClient, langfuse_spans: Observations) -> None:
    assert client.post("/feedback", json={"trace_id": "nope", "helpful": True}).status_code == 422
    assert not langfuse_spans.scores
