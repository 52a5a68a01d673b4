"""A client of the service, and a Langfuse that has its prompt."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from naive_bot.app import app


@pytest.fixture
def client(langfuse_server: Any) -> TestClient:
    """A client of the service. An unhandled error becomes status 500, as a customer sees it."""
    langfuse_server.stand_in.prompt("naive-answer", "Answer from these articles only:\n{{articles}}")
    return TestClient(app, raise_server_exceptions=False)
