"""Secrets in what is written about a run: replaced by the names of what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.rules.secrets.environment_keys import EnvironmentKeys
from pytest_langfuse.rules.secrets.own_pattern import BadPattern, OwnPattern
from pytest_langfuse.rules.secrets.redactor import Redactor, clean, encode, not_searched

#: Fields of rows that hold ids of traces and observations.
_IDS: Final = frozenset(("kind", "trace", "id", "parent"))
#: Fields of rows whose texts are this package's, and those that are objects or null.
_OWN_WORDS: Final = frozenset(("outcome", "type", "level", "reason", "otel_status", "data_type", "code", "severity"))
#: Characters of an attribute that are written. Inputs and outputs are written whole, in fields of that name.
LONGEST_ATTRIBUTE: Final = 10_000
_PARTS: Final = frozenset(("difference", "outage", "health", "comparison"))


class Redaction(Redactor):
    """Writes rows as lines of JSON without secrets.

    What can't be searched by a pattern, since that takes too long, is not written.
    """

    def __init__(self, keys: EnvironmentKeys, patterns: Sequence[OwnPattern] = ()) -> None:
        super().__init__(keys, patterns)
        #: What rows call the tests of files, by what these call them; and those names.
        self._tests: dict[str, str] = {}
        self._taken: set[str] = set()

    def line(self, ids: Mapping[str, Any], row: Mapping[str, Any]) -> str:
        """Return the line of a row. `ids` come first; they are not looked at, since trace ids look like keys."""
        head, body = encoded(ids), encoded(row)
        if self.has_to_search(body):
            body = encoded(self.without_secrets(json.loads(body)))
        return f"{head[:-1]}, {body[1:]}"

    def shortened(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of an observation with long attributes cut, after secrets were taken out of these.

        What is left of a secret that was cut is not recognised.
        """
        attributes = row.get("attributes")
        if not isinstance(attributes, Mapping):
            return row
        long = [key for key, value in attributes.items() if isinstance(value, str) and len(value) > LONGEST_ATTRIBUTE]
        if not long:
            return row
        return {
            **row,
            "attributes": {**attributes, **{key: self._shortened(self.text(attributes[key])) for key in long}},
        }

    def _shortened(self, text: str) -> str:
        if len(text) <= LONGEST_ATTRIBUTE:
            return text
        # It is searched again, as a part of the line.
        shown = self.trimmed_end(text[:LONGEST_ATTRIBUTE])
        return f"{shown}… [{len(text) - len(shown):,} more characters]"

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row that was read from a file, without secrets; as `line`, it does not look at ids."""
        row = self.shortened(row)
        # The bytes of an image may look like anything.
        ids = _IDS | {"content"} if row.get("kind") == "media" else _IDS
        body = {key: value for key, value in row.items() if key not in ids and key != "test"}
        found = {**row, **self.without_secrets(body)} if self.has_to_search(encoded(body)) else dict(row)
        if isinstance(test := row.get("test"), str):
            found["test"] = self._test(test)
        return found

    def _test(self, test: str) -> str:
        """Return what rows call a test; numbered, where it would be called as another one without its secrets."""
        found = self._tests.get(test)
        if found is None:
            shown = found = self.text(test)
            number = 1
            while found in self._taken:
                number += 1
                found = f"{shown} ({number})"
            self._tests[test] = found
            self._taken.add(found)
        return found

    def without_secrets(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row without secrets; of one that can't be searched, what this package has put into it."""
        try:
            found: dict[str, Any] = self.value(row)
        except BadPattern as error:
            return _withheld(clean(row), not_searched(error))
        return found


def _withheld(row: Mapping[str, Any], mark: str) -> dict[str, Any]:
    empty: Mapping[type, Any] = {str: mark, dict: {}, list: []}
    return {
        key: item if key in _OWN_WORDS else None if key in _PARTS else empty.get(type(item), item)
        for key, item in row.items()
    }


def encoded(row: Any) -> str:
    """Return a row as a line of JSON: ASCII, null for NaN and infinity, for what JSON can't hold its `repr`."""
    try:
        return encode(row)
    except (ValueError, TypeError, RecursionError):
        return encode(clean(row))
