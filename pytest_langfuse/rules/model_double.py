"""Test doubles of models: what they leave out is not the fault of the application."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation

#: As LangChain's FakeListChatModel, LlamaIndex's MockLLM and MockEmbedding, and stubs of people's own are called.
_DOUBLE: Final = re.compile(r"fake|mock|stub|dummy", re.IGNORECASE)
#: LangChain's word for the integration package of a chat model, and its value for a class that is in none.
_INTEGRATION: Final = "langfuse.observation.metadata.ls_integration"
_NO_PACKAGE: Final = "langchain_chat_model"


def is_double(observation: Observation, *, in_test: bool) -> bool:
    """Return whether a generation was made by a test double, by its name, model or provider.

    In a test, a LangChain chat model that is in no integration package counts as one: people subclass
    `GenericFakeChatModel`, or `BaseChatModel` itself, under names of their own.
    """
    if in_test and _NO_PACKAGE in str(observation.attributes.get(_INTEGRATION, "")):
        return True
    provider = observation.metadata.get("ls_provider")
    return any(
        isinstance(text, str) and _DOUBLE.search(text) for text in (observation.name, observation.model, provider)
    )
