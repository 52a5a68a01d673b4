"""LF012: several clients or tracer providers where the application uses them as if there were one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_langfuse.recording.why_not_exported import NO_PROCESSOR
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.built_client import BuiltClient
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
    from pytest_langfuse.rules.evidence import Evidence


@rule("LF012", "several clients", each="all")
def several_clients(evidence: Evidence) -> Sequence[Fact] | None:
    """`get_client()` can't choose between clients of several keys, and gives one that makes nothing.

    Several tracer providers of one project each have a queue, a sampler and a shutdown of their own, and what a library
    makes with another provider than Langfuse's does not arrive.
    """
    facts = evidence.application
    if facts.origin is None:
        return None
    return [*_undecided(facts), *_several_providers(evidence), *_beside_langfuse(evidence)]


def _undecided(facts: ApplicationFacts) -> Iterator[Fact]:
    told: set[str] = set()
    for client in facts.clients:
        if not client.instead_of or client.is_of_fixture or client.is_of_test:
            continue
        if str(client.place) in told or not all(_is_the_applications(one, facts) for one in client.instead_of):
            continue
        told.add(str(client.place))
        at = "" if client.place is None else f" at {client.place}"
        yield Fact(
            f"get_client(){at} returned a client that makes nothing, since there are {len(client.instead_of)}: "
            f"{' and '.join(map(_named, client.instead_of))}",
            "pass public_key= to get_client(), and langfuse_public_key= to observed functions, or build one client",
            place=client.place,
        )


def _is_the_applications(client: BuiltClient | None, facts: ApplicationFacts) -> bool:
    """Return whether a client is there outside of this test run, too, and not left by another test or a fixture."""
    if client is None or client.is_of_fixture or client.is_of_test:
        return False
    return client.is_imported or client in facts.clients


def _named(client: BuiltClient | None) -> str:
    if client is None:
        return "one more"
    return client.public_key if client.place is None else f"{client.public_key} ({client.place})"


def _several_providers(evidence: Evidence) -> Iterator[Fact]:
    for project, spans in evidence.application.providers().items():
        started = " and ".join(evidence.called(one.name, one.place) for one in spans)
        yield Fact(
            f"{len(spans)} tracer providers export to the project {project}: "
            f"{started} have different ones, each with a queue and a shutdown of its own",
            "make one TracerProvider and one Langfuse client when the process starts, and use get_client() elsewhere",
            place=spans[-1].place,
        )


def _beside_langfuse(evidence: Evidence) -> Iterator[Fact]:
    """Yield facts about model calls, agents and tools of a tracer provider that exports nowhere."""
    unseen: dict[str, list[Observation]] = {}
    for item in evidence.unexported:
        if (
            item.detail == NO_PROCESSOR
            and item.observation.type != "span"
            and _goes_nowhere(item.observation, evidence)
        ):
            unseen.setdefault(item.observation.record.scope_name, []).append(item.observation)
    if not unseen or not evidence.application.has_client():
        return
    for scope, observations in unseen.items():
        library = evidence.shown(scope.partition(".")[0])
        first, *others = observations
        who = evidence.named(first) + (f" and {len(others)} more" if others else "")
        has, its = ("have", "their") if others else ("has", "its")
        yield Fact(
            f"{who} of {evidence.quoted(scope)} {has} a tracer provider of {its} own, at which Langfuse is not, and "
            "which exports nowhere",
            f"set {library} up before the first Langfuse client, which then takes its tracer provider, "
            "or pass that to Langfuse(tracer_provider=...)",
            first,
        )


def _goes_nowhere(observation: Observation, evidence: Evidence) -> bool:
    """Return whether only a console gets it: an application may have a second backend for its model calls."""
    record = evidence.record_of(observation)
    return record is not None and evidence.application.goes_nowhere(record)
