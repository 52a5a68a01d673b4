"""LF013: a value that the application sets, and that never arrives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.evidence import COST_DETAILS, Evidence
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.lost_value import LostValue
    from pytest_langfuse.recording.observation import Observation

#: Names in one message.
_NAMES: Final = 3
_PREFIXES: Final = ("langfuse.observation.metadata.", "langfuse.trace.metadata.", "langfuse.observation.")
#: Arguments that people give to `update()`, and where they belong.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "as_type": "pass as_type= when it is started",
    "cost": "pass cost_details=",
    "tags": "pass tags= to propagate_attributes()",
    "usage": "pass usage_details=",
    "session_id": "pass session_id= to propagate_attributes()",
    "user_id": "pass user_id= to propagate_attributes()",
}
_FULL: Final = "put the values into one object under one metadata key, or raise OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
_CUT: Final = 'give it to text.encode(errors="replace").decode()'


@rule("LF013", "value lost", each="all")
def value_lost(evidence: Evidence) -> Sequence[Fact] | None:
    """The SDK drops the value, with one line in a log or without any, and Langfuse shows the observation without it."""
    facts = [_fact(lost, evidence) for lost in evidence.application.lost_values]
    for one in evidence.doubtful:
        if one.record.is_incomplete():
            facts += _left_out(one, evidence)
        if COST_DETAILS in one.record.attributes:
            facts += _unreadable_cost(one, evidence)
    return facts or None


def _fact(lost: LostValue, evidence: Evidence) -> Fact:
    about = evidence.of_lost(lost)
    named = evidence.quoted(lost.observation) if about is None else evidence.named(about)
    names, place = _listed(lost.names, evidence), lost.place
    call = f"{lost.call}()" if place is None else f"{lost.call}() ({place})"
    if lost.why == "form":
        of = f", so that {named} and what is below has none" if about is not None else ""
        return Fact(f"{call} drops {names}, since it {lost.detail}{of}", _form_fix(lost), about, place)
    if lost.why == "full":
        text = f"{named} loses {names}, since a span has at most {lost.detail} attributes"
        return Fact(text, _FULL, about, place)
    arguments = _listed([f"{name}=" for name in lost.names], evidence)
    if lost.why == "type":
        article = "an" if lost.detail[:1] in "ae" else "a"
        text = f"{call} gives {arguments} to {named}, and the SDK drops what {article} {lost.detail} has no field for"
        return Fact(text, 'pass as_type="generation" or "embedding" where it is started', about, place)
    if lost.why == "unknown":
        fix = next((_ELSEWHERE[name] for name in lost.names if name in _ELSEWHERE), "pass it in metadata={...}")
        return Fact(f"{call} ignores {arguments} for {named}, since it has no such argument", fix, about, place)
    why, fix = (
        ("is an event", f"pass {arguments} to create_event()")
        if lost.why == "event"
        else ("had ended before", "update it inside of its with block, or before end()")
    )
    return Fact(f"{call} drops {arguments}, since {named} {why}", fix, about, place)


def _form_fix(lost: LostValue) -> str:
    if "not a string" in lost.detail:
        return "pass a string, such as str(...)"
    if lost.names[0] == "prompt":
        return "pass what get_prompt() returns"
    if lost.names[0] == "environment":
        return "pass a short name of lower-case letters, digits, hyphens and underscores"
    return "pass an id or a short label, and put long texts into the input or metadata of an observation"


def _left_out(observation: Observation, evidence: Evidence) -> Iterator[Fact]:
    """Yield what a full span has dropped, and what the exporter can't encode."""
    named, record = evidence.named(observation), observation.record
    if record.dropped_attributes:
        text = f"{named} loses {record.dropped_attributes:,} attributes, since a span has no room for more"
        yield Fact(text, _FULL, observation)
    recorded = evidence.record_of(observation)
    if recorded is None or not evidence.application.leaves_out(recorded):
        return
    if keys := record.left_out():
        text = f"{_listed(keys, evidence)} of {named} {'is' if len(keys) == 1 else 'are'} not sent, since OpenTelemetry"
        yield Fact(
            f"{text} can't encode lone surrogates (half of an emoji) nor integers of more than 64 bits",
            _CUT,
            observation,
        )
    if part := record.unencodable_part():
        what = "name of an event" if part == "event" else part
        text = f"the {what} of {named} has lone surrogates (half of an emoji), which OpenTelemetry can't encode"
        yield Fact(f"{text}: its exporter loses all observations of the same export", _CUT, observation)


def _unreadable_cost(observation: Observation, evidence: Evidence) -> Iterator[Fact]:
    """Yield the costs that are not numbers: of a `Decimal` the SDK sends the name of its type, of NaN a text."""
    for name, value in observation.cost.items():
        if value is not None and not _is_number(value):
            text = f"the cost {evidence.quoted(name)} of {evidence.named(observation)} arrives as"
            fix = "pass numbers in cost_details=, such as float(...), and nothing where the cost is not known"
            sent = evidence.quoted(value) if isinstance(value, str) else evidence.shown(str(value))
            yield Fact(f"{text} {sent}, which is not a number", fix, observation)
            # The total is made of the others.
            return


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _listed(keys: Sequence[str], evidence: Evidence) -> str:
    shown = [_shown(key, evidence) for key in keys[:_NAMES]]
    if len(keys) > _NAMES:
        return f"{', '.join(shown)} and {len(keys) - _NAMES:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _shown(key: str, evidence: Evidence) -> str:
    if key.startswith("metadata."):
        return f"metadata {evidence.quoted(key.removeprefix('metadata.'))}"
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            return evidence.shown(name) if prefix == _PREFIXES[-1] else f"metadata {evidence.quoted(name)}"
    return evidence.shown(key)
