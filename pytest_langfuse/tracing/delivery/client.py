"""The Langfuse client that `init_tracing` returns: its prompt fetches do not retry while Langfuse fails."""

from __future__ import annotations

import time
from typing import Any

import httpx
from langfuse import Langfuse
from langfuse.api import Prompt_Chat, Prompt_Text
from langfuse.model import ChatPromptClient, TextPromptClient

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, CircuitOpen
from pytest_langfuse.tracing.langfuse_internals import single_tries
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.time_limit import time_limit

#: Before the second and the third try to fetch a prompt (seconds).
_PAUSES = (0.2, 0.4)
#: Statuses that say "later": request timeout, conflict, too many requests.
_PASSING = frozenset({408, 409, 429})
_SERVER_ERROR = 500


class GuardedLangfuse(Langfuse):
    """A `Langfuse` whose `get_prompt` takes no longer than one request may take, and does not wait during an outage.

    The SDK retries after any error, `CircuitOpen` included, in two loops around each other, and sleeps before each
    attempt: for up to a minute if the answer asks for it.
    """

    def __init__(self, *, breaker: CircuitBreaker, **arguments: Any) -> None:
        self._breaker = breaker
        super().__init__(**arguments)

    def get_prompt(self, name: str, *, max_retries: int | None = None, **arguments: Any) -> Any:
        """Return a prompt, as `Langfuse.get_prompt` does.

        Without `max_retries`, all tries together take at most `timeout` (`fetch_timeout_seconds`, if given). There is
        one try if there is a fallback, and from the first failed call to Langfuse until one succeeds; otherwise there
        are up to three. While the breaker is open there is none. A client without keys returns the fallback, if there
        is one.
        """
        if self._resources is None and (fallback := arguments.get("fallback")):
            return _fallback(name, fallback, arguments)
        with single_tries():
            if max_retries is not None:
                return super().get_prompt(
                    name, max_retries=0 if self._breaker.state == "open" else max_retries, **arguments
                )
            seconds = arguments.get("fetch_timeout_seconds") or getattr(self._resources, "timeout", None)
            with time_limit(seconds):
                if arguments.get("fallback") or self._breaker.failing:
                    return super().get_prompt(name, max_retries=0, **arguments)
                return self._prompt_within(seconds, name, arguments)

    def _prompt_within(self, seconds: float | None, name: str, arguments: dict[str, Any]) -> Any:
        until = None if seconds is None else now() + seconds
        for pause in _PAUSES:
            try:
                return super().get_prompt(name, max_retries=0, **arguments)
            except Exception as error:
                if not _may_pass(error) or (until is not None and now() + pause >= until):
                    raise
            time.sleep(pause)
        return super().get_prompt(name, max_retries=0, **arguments)


def _may_pass(error: Exception) -> bool:
    """Return whether the next try may succeed."""
    if isinstance(error, httpx.TransportError):
        return not isinstance(error, CircuitOpen | httpx.TimeoutException)
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and (status in _PASSING or status >= _SERVER_ERROR)


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
