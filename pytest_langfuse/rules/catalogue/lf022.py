"""LF022: a second client of the same key, whose other settings the SDK ignores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.built_client import BuiltClient
    from pytest_langfuse.recording.origin import Origin
    from pytest_langfuse.rules.evidence import Evidence


@rule("LF022", "settings ignored", each="all")
def settings_ignored(evidence: Evidence) -> Sequence[Fact] | None:
    """The SDK gives a further client of a public key the exporter, mask and sampling of the first and tells nobody."""
    facts = evidence.application
    if not facts.clients:
        return None
    found: dict[tuple[str, ...], Fact] = {}
    for client in facts.clients:
        first = client.first
        if first is None or not _both_are_the_applications(client, first, facts.origin):
            continue
        if names := sorted(client.ignored()):
            fact = _fact(client, first, names, evidence)
            found.setdefault((str(client.place), *names), fact)
    return list(found.values())


def _both_are_the_applications(client: BuiltClient, first: BuiltClient, origin: Origin | None) -> bool:
    """Return whether they meet outside of tests, too, or a test's own settings are those that are ignored."""
    if client.is_of_fixture or first.is_of_fixture or (first.is_of_test and not client.is_of_test):
        return False
    # Else it was left by another test.
    return first.is_imported or first.origin is client.origin or first.origin is origin


def _fact(client: BuiltClient, first: BuiltClient, names: list[str], evidence: Evidence) -> Fact:
    at = "" if client.place is None else f" built at {client.place}"
    first_at = "" if first.place is None else f" ({first.place})"
    given = " and ".join(client.shown(name) for name in names)
    before = " and ".join(first.shown(name) for name in names)
    return Fact(
        f"the client{at} asks for {given}, but what is exported, get_client() and @observe keep to {before} of the "
        f"first client of its key{first_at}",
        f"build one client with all settings and use get_client(public_key={evidence.quoted(client.public_key)}) "
        "elsewhere",
        place=client.place,
    )
