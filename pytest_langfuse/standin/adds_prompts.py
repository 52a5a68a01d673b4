"""The method `prompt`, which the stand-in and the router of `langfuse_api` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pytest_langfuse.standin.endpoints.stored_prompt import StoredPrompt

_NEEDED = {"text": "a string", "chat": "a list of messages"}


class AddsPrompts:
    """A class whose method `prompt` adds prompts; a subclass says where they are kept."""

    def prompt(
        self,
        name: str,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        version: int = 1,
        labels: Sequence[str] = ("production", "latest"),
        config: Any = None,
        type: Literal["text", "chat"] | None = None,  # noqa: A002 - the SDK's own word
        tags: Sequence[str] = (),
    ) -> StoredPrompt:
        """Add a prompt: a text, or a list of chat messages. A version that exists is replaced.

        Raises:
            TypeError: `prompt` is neither, or another argument is of the wrong type.
            ValueError: `type` and `prompt` do not fit, or `version` is below 1.
        """
        __tracebackhide__ = True
        if not _is_prompt(prompt):
            raise TypeError(f"prompt {name!r}: expected a text or a list of chat messages, got {prompt!r}")
        kind: Literal["text", "chat"] = "text" if isinstance(prompt, str) else "chat"
        if type not in {None, kind}:
            raise ValueError(f"prompt {name!r}: type={type!r} needs {_NEEDED.get(str(type), 'to be text or chat')}")
        for argument, value in (("labels", labels), ("tags", tags)):
            if not _is_texts(value):
                hint = f"; write {argument}=[{value!r}]" if isinstance(value, str) else ""
                raise TypeError(f"prompt {name!r}: {argument} must be a list of texts, got {value!r}{hint}")
        if not _is_number(version):
            raise TypeError(f"prompt {name!r}: version must be an integer, got {version!r}")
        if version < 1:
            raise ValueError(f"prompt {name!r}: version must be at least 1, got {version}")
        content = prompt if isinstance(prompt, str) else [_message(message) for message in prompt]
        stored = StoredPrompt(
            name=name,
            version=version,
            prompt=content,
            type=kind,
            labels=tuple(labels),
            tags=tuple(tags),
            config={} if config is None else config,
        )
        return self.add_prompt(stored)

    def add_prompt(self, prompt: StoredPrompt) -> StoredPrompt:
        """Keep a prompt, and return it as it is kept."""
        raise NotImplementedError


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


def _is_prompt(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(part, str | Mapping) for part in value)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat message or a placeholder with the type that the server adds."""
    kind = "placeholder" if "name" in message and "role" not in message else "chatmessage"
    return {"type": kind, **message}
