"""Whose messages go to Langfuse with which keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.log_text import mask_in_logs
from pytest_langfuse.tracing.setting_parsers import Invalid
from pytest_langfuse.tracing.shown import shown


class Project(NamedTuple):
    """The keys of a project."""

    public_key: str
    secret_key: str


class Projects:
    """The keys by the public key that a message names.

    `default` are those of the environment: for messages that name no project, and for those that name this one.
    """

    def __init__(self, default: Project | None, others: Mapping[str, str]) -> None:
        self.default = default
        self._known = {public: Project(public, secret) for public, secret in others.items()}
        if default is not None:
            self._known[default.public_key] = default
        # The first are forgotten first, and a key that does not begin with "sk-" is known by its value only.
        mask_in_logs(*others.values(), default and default.secret_key)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, public_key: str) -> Project | None:
        """Return the keys for a message; `None` if they are not known: it must not be sent with others."""
        return self._known.get(public_key) if public_key else self.default


def read_projects(path: Path) -> dict[str, str]:
    """Return the public and secret keys that a file has as a JSON object.

    Raises:
        ValueError: It can't be read, or has something else; the message names no secret.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error.msg} in line {error.lineno}") from None
    except _TwiceError as error:
        raise ValueError(f"{path} has the key {shown(str(error))} twice") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError(f'{path} is not a JSON object such as {{"pk-lf-...": "sk-lf-..."}}')  # noqa: TRY004
    keys = {}
    for public, secret in found.items():
        try:
            checked, key = parsing.public_key(public), parsing.secret_key(secret)
        except Invalid as invalid:
            # Neither is shown: they may be interchanged.
            where = list(found).index(public) + 1
            raise ValueError(f"{path}: entry {where} {invalid.problem}; allowed: {invalid.allowed}") from None
        if checked in keys:
            raise ValueError(f"{path} has the key {shown(checked)} twice")
        keys[checked] = key
    return keys


class _TwiceError(Exception):
    """A key of an object that is there twice."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(name)
        found[name] = value
    return found
