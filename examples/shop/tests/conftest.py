"""The shop, and the OpenAI that it talks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, fake_openai
from npm import NpmError, install
from processes import RECOMMENDATIONS, Shop


@pytest.fixture
def openai_api() -> Iterator[FakeOpenAI]:
    """OpenAI."""
    with fake_openai() as server:
        yield server


@pytest.fixture
def shop(langfuse_process: Any, openai_api: FakeOpenAI, tmp_path: Path) -> Shop:
    """The shop, none of whose processes runs yet."""
    return Shop(langfuse_process, openai_api.url, tmp_path)


@pytest.fixture(scope="session")
def _packages_of_node() -> None:
    """What the service in Node needs."""
    try:
        install(RECOMMENDATIONS)
    except NpmError as reason:
        # CI has both: there, a test that can't run is a test that fails.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(reason))
