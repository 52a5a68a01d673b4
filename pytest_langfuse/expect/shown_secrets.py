"""Secrets in what is printed: failures and traces end up in the logs of a CI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The shortest text that can hold one.
_SHORTEST: Final = 6
_REPLACED: Final = "[redacted: "
_NOTE: Final = "secrets are replaced by [redacted: ...]; print(langfuse_spans) shows them"


def hidden(text: str) -> str:
    """Return a text without secrets. Call it before a text is cut: what is left of a secret is not recognised."""
    if len(text) < _SHORTEST:
        return text
    # Imported here: most runs print nothing.
    from pytest_langfuse.rules.secrets.chosen_redactor import chosen_redactor

    return chosen_redactor().text(text)


def trimmed_end(text: str) -> str:
    """Return the beginning of a text that `hidden` has returned, so that it is not taken for a part of a secret.

    What is innocent may begin as a key does. Call it before the mark of what is left out is added.
    """
    from pytest_langfuse.rules.secrets.chosen_redactor import chosen_redactor

    return chosen_redactor().trimmed_end(text)


def trimmed_start(text: str) -> str:
    """Return the rest of a text that `hidden` has returned; as `trimmed_end`."""
    from pytest_langfuse.rules.secrets.chosen_redactor import chosen_redactor

    return chosen_redactor().trimmed_start(text)


def with_note(text: str, *, mark: str = "") -> str:
    """Return a text without secrets, which says so behind `mark` if it had any, or if these were replaced before."""
    text = hidden(text)
    return f"{text}\n\n{mark}{_NOTE}" if _REPLACED in text and _NOTE not in text else text


def note_variables(variables: Mapping[str, str | None]) -> None:
    """Hide the keys among the variables that a process is given, too."""
    from pytest_langfuse.rules.secrets.chosen_redactor import chosen_redactor

    keys = chosen_redactor().keys
    for name, value in variables.items():
        if value is not None:
            keys.note(name, value)
