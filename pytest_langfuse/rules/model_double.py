"""Test doubles of models: what they leave out is not the fault of the application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation

#: As LangChain's FakeListChatModel, LlamaIndex's MockLLM and MockEmbedding, and stubs of people's own are called.
_DOUBLE: Final = re.compile(r"fake|mock|stub|dummy", re.IGNORECASE)


def is_double(observation: Observation) -> bool:
    """Return whether a generation was made by a test double, by its name, model or provider."""
    provider = observation.metadata.get("ls_provider")
    return any(
        isinstance(text, str) and _DOUBLE.search(text) for text in (observation.name, observation.model, provider)
    )
