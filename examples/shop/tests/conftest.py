"""The shop, and a fake OpenAI that it calls."""

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
    """A fake of OpenAI's API."""
    with fake_openai() as server:
        yield server


@pytest.fixture
def shop(langfuse_process: Any, openai_api: FakeOpenAI, tmp_path: Path) -> Shop:
    """The shop, before any of its processes is started."""
    return Shop(langfuse_process, openai_api.url, tmp_path)


@pytest.fixture(scope="session")
def _packages_of_node() -> None:
    """The packages of the Node service."""
    try:
        install(RECOMMENDATIONS)
    except NpmError as reason:
        # CI has Node and npm, so a test that cannot run there fails.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(reason))
