"""One hop of a request: its headers on the way to one address, which a redirect may copy on to another."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from pytest_langfuse.tracing import singleton
from pytest_langfuse.tracing.propagation import w3c_headers
from pytest_langfuse.tracing.propagation.headers import allows, outgoing, replace, stripped
from pytest_langfuse.tracing.propagation.w3c_headers import BAGGAGE


@dataclass(frozen=True, slots=True)
class Hop:
    """The changes made to the headers for one hop."""

    allowed: bool = False
    #: By the name of each header that was changed: what it is now, and what it was before.
    changes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def keep(self, headers: MutableMapping[Any, Any]) -> bool:
        """Bring the headers back to what they were for this hop, after others changed them. Return whether any was."""
        wanted = {name: ours for name, (ours, _) in self.changes.items()}
        if not self.allowed:
            wanted |= {name: value or "" for name, value in stripped(w3c_headers.values(headers, BAGGAGE)).items()}
        return _set(headers, wanted)

    def undo(self, headers: MutableMapping[Any, Any]) -> None:
        """Bring the headers back to what they were before this hop, but for those that others changed since."""
        _set(
            headers,
            {
                name: before
                for name, (ours, before) in self.changes.items()
                if w3c_headers.values(headers, name) == ours
            },
        )


def start(headers: MutableMapping[Any, Any], url: str, last: Hop | None) -> Hop:
    """Write the headers for a request to `url`, after undoing what the `last` hop of the same request did to them.

    Addresses that `propagate_to` does not name get nothing, and no user or session that is there already.
    """
    if last is not None:
        last.undo(headers)
    allowed = allows(url) and not _is_langfuse(url)
    wanted = outgoing(headers, allowed=True) if allowed else stripped(w3c_headers.values(headers, BAGGAGE))
    changes = {name: (value or "", w3c_headers.values(headers, name)) for name, value in wanted.items()}
    _set(headers, {name: ours for name, (ours, _) in changes.items()})
    return Hop(allowed, changes)


def _set(headers: MutableMapping[Any, Any], wanted: dict[str, str]) -> bool:
    changed = {name: value for name, value in wanted.items() if w3c_headers.values(headers, name) != value}
    for name, value in changed.items():
        replace(headers, name, value or None)
    return bool(changed)


def _is_langfuse(url: str) -> bool:
    """Return whether the SDK itself sends this request, which must not be traced."""
    installed = singleton.singleton.installation
    return installed is not None and url.startswith(f"{httpx.URL(str(installed.config.base_url))}/api/public/")
