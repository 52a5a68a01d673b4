"""Values of environment variables that nobody should read in a report or a log."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pytest_langfuse.rules.secrets.key_names import is_key
from pytest_langfuse.rules.secrets.sought_secret import SoughtSecret, has_cut

#: Shorter values are words such as "test", which stand in many texts.
SHORTEST: Final = 12
#: The first and the last line of a key or a certificate in the format PEM (RFC 7468), the same in all of them.
_ARMOUR: Final = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")


class EnvironmentKeys:
    """The keys that were in the environment at any time since `look` or `watch`; they stay when they are gone there."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        #: Each with the name of its variable.
        self._values: dict[str, str] = {}
        self._secrets: dict[str, SoughtSecret] = {}
        #: One of these is in each text that holds one of them; a dict, so that there is an order.
        self._words: dict[str, None] = {}
        self._ends: dict[str, None] = {}
        self._handed_on = 0
        for value, name in (values or {}).items():
            self._add(name, value)

    @property
    def secrets(self) -> list[SoughtSecret]:
        """The values, and the parts of those that have several lines or are JSON."""
        return list(self._secrets.values())

    def may_be_in(self, text: str) -> bool:
        """Return whether one can be in a text without letters by their numbers; fast."""
        # Another thread may put one into the environment.
        return any(word in text for word in list(self._words)) or (
            has_cut(text) and any(end in text for end in list(self._ends))
        )

    def look(self) -> None:
        """Take what is in the environment now."""
        for name, value in list(os.environ.items()):
            self.note(name, value)

    def note(self, name: str, value: str) -> None:
        """Take the value of a variable, if it is a key."""
        if len(value) >= SHORTEST and value not in self._values and is_key(name, value):
            self._add(name, value)

    def _add(self, name: str, value: str) -> None:
        self._values[value] = name
        mark = f"[redacted: {name}]"
        for text in (value, *_parts(value)):
            if text not in self._secrets:
                self._secrets[text] = secret = SoughtSecret(text, mark)
                self._words.update(dict.fromkeys(secret.words))
                self._ends.update(dict.fromkeys(secret.ends))

    def news(self) -> dict[str, str]:
        """Return the values that this has not returned before, each with the name of its variable."""
        found = dict(list(self._values.items())[self._handed_on :])
        self._handed_on += len(found)
        return found

    def take(self, values: Mapping[str, str]) -> None:
        """Take over what another process has seen."""
        for value, name in values.items():
            if value not in self._values:
                self._add(name, value)

    def watch(self) -> Callable[[], None]:
        """Take what is there, and what is put there from now on: Python calls `os.putenv`. Return what ends that."""
        self.look()
        before = os.putenv

        def putenv(name: Any, value: Any, /) -> None:
            before(name, value)
            self.note(os.fsdecode(name), os.fsdecode(value))

        def restore() -> None:
            if os.putenv is putenv:
                os.putenv = before

        os.putenv = putenv
        return restore


def keys_of_environment() -> EnvironmentKeys:
    """Return the keys that are in the environment now."""
    keys = EnvironmentKeys()
    keys.look()
    return keys


def _parts(value: str) -> Iterator[str]:
    """Yield the lines of a value, since a text may show them apart, and the keys in one that is JSON."""
    if "\n" in value or "\r" in value:
        lines = map(str.strip, value.splitlines())
        yield from (line for line in lines if len(line) >= SHORTEST and not _ARMOUR.fullmatch(line))
    if value.lstrip().startswith("{"):
        try:
            stack = [json.loads(value)]
        except (ValueError, RecursionError):
            return
        while stack:
            one = stack.pop()
            items = one.items() if isinstance(one, dict) else [("", item) for item in one]
            for name, item in items:
                if isinstance(item, dict | list):
                    stack.append(item)
                elif isinstance(item, str) and len(item) >= SHORTEST and is_key(name, item):
                    yield item
                    yield from _parts(item)
