"""The service as customers see it. The tests pass while Langfuse is up; the README shows what an outage does."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_answers(client: TestClient) -> None:
    response = client.post("/chat", json={"question": "How long is delivery?"})
    assert response.status_code == 200
    assert response.json() == {"answer": "Delivery takes 2 to 4 days."}


def test_takes_feedback(client: TestClient) -> None:
    body = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "helpful": True}
    assert client.post("/feedback", json=body).status_code == 202


def test_is_up(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
