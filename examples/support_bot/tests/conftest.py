"""The application as it runs in production, with external services mocked at the HTTP level."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import respx
from fastapi.testclient import TestClient
from openai_api import OpenAIApi

from support_bot.app import create_app
from support_bot.settings import Settings


@pytest.fixture
def settings() -> Settings:
    """Settings as they would come from the environment."""
    return Settings(openai_api_key="sk-made-up", orders_url="https://orders.example")


@pytest.fixture(autouse=True)
def _traced(langfuse_tracing: object) -> None:
    """Give each test the tracing state of a fresh process."""


@pytest.fixture
def web() -> Iterator[respx.MockRouter]:
    """The services that this one calls. A request that a test does not expect is an error."""
    with respx.mock(assert_all_called=True, assert_all_mocked=True) as router:
        yield router


@pytest.fixture
def client(web: respx.MockRouter, settings: Settings) -> Iterator[TestClient]:
    """A client of the running service."""
    headers = {"x-user-id": "u-1", "x-session-id": "s-1", "x-request-id": "r-1"}
    with TestClient(create_app(settings), headers=headers) as client:
        yield client


@pytest.fixture
def openai_api(web: respx.MockRouter) -> OpenAIApi:
    """OpenAI's mocked API."""
    return OpenAIApi(web)


@pytest.fixture
def ask(client: TestClient) -> Callable[[str], str]:
    """A function that asks the service a question and returns the text of the answer."""

    def ask(question: str) -> str:
        response = client.post("/chat", json={"question": question})
        assert response.status_code == 200, response.text
        data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
        return "".join(json.loads(item).get("text", "") for item in data)

    return ask
