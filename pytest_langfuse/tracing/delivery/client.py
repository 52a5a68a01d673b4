"""The Langfuse client that `init_tracing` returns: its prompt fetches do not retry while Langfuse fails."""

from __future__ import annotations

from typing import Any

from langfuse import Langfuse
from langfuse.api import Prompt_Chat, Prompt_Text
from langfuse.model import ChatPromptClient, TextPromptClient

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker


class GuardedLangfuse(Langfuse):
    """A `Langfuse` whose `get_prompt` makes one attempt while Langfuse is known to fail.

    The SDK retries after any error, `CircuitOpen` included, and sleeps before each attempt.
    """

    def __init__(self, *, breaker: CircuitBreaker, **arguments: Any) -> None:
        self._breaker = breaker
        super().__init__(**arguments)

    def get_prompt(self, name: str, *, max_retries: int | None = None, **arguments: Any) -> Any:
        """Return a prompt, as `Langfuse.get_prompt` does.

        Without `max_retries`, it does not retry from the first failed call to Langfuse until one succeeds.
        A client without keys returns the fallback, if there is one.
        """
        if self._resources is None and (fallback := arguments.get("fallback")):
            return _fallback(name, fallback, arguments)
        if max_retries is None and (self._breaker.failures or self._breaker.state != "closed"):
            max_retries = 0
        return super().get_prompt(name, max_retries=max_retries, **arguments)


def _fallback(name: str, fallback: Any, arguments: dict[str, Any]) -> Any:
    label = arguments.get("label")
    values: dict[str, Any] = {
        "name": name,
        "prompt": fallback,
        "version": arguments.get("version") or 0,
        "config": {},
        "labels": [label] if label else [],
        "tags": [],
    }
    if arguments.get("type") == "chat":
        return ChatPromptClient(prompt=Prompt_Chat(type="chat", **values), is_fallback=True)
    return TextPromptClient(prompt=Prompt_Text(type="text", **values), is_fallback=True)
