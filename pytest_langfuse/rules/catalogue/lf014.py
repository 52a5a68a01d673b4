"""LF014: an export that is too large for Langfuse, or for the proxy before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.recording.exported_body import size_at_most
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from pytest_langfuse.recording.exported_body import ExportedBody
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

_MEGABYTE: Final = 1_000_000
#: The part of the limit from which on a body is near it.
_NEAR: Final = 0.8
#: The share from which on one observation is the cause, and not their number.
_MOST: Final = 0.5


@rule("LF014", "body too large", severity="warning", each="all", options={"max_body": 5.0})
def body_too_large(evidence: Evidence) -> Sequence[Fact] | None:
    """Langfuse, or a proxy before it, refuses a body that is too large (413), and the SDK drops all that is in it."""
    bodies = evidence.application.bodies
    if not bodies:
        return None
    limit = evidence.options["max_body"] * _MEGABYTE
    worst: dict[str, tuple[int, Fact]] = {}
    for body in _too_large(bodies, limit):
        sizes = [size_at_most(span) for span in body.spans]
        largest = max(sizes)
        # Before the test has ended, a trace that still runs is not judged.
        if (about := _observation(body.spans[sizes.index(largest)], evidence)) is None:
            continue
        is_most = largest >= _MOST * sum(sizes)
        key = evidence.named(about) if is_most else ""
        if key not in worst or worst[key][0] < body.size:
            worst[key] = body.size, _fact(body, about, limit, evidence, is_most=is_most)
    return [fact for _, fact in worst.values()] or None


def _too_large(bodies: Sequence[ExportedBody], limit: float) -> Iterator[ExportedBody]:
    for body in bodies:
        dropped = body.encoding.largest
        least = limit * _NEAR if dropped is None else min(limit * _NEAR, dropped)
        for part in body.parts():
            if part.may_exceed(least) and (part.size >= limit * _NEAR or _is_dropped(part)):
                yield part


def _is_dropped(body: ExportedBody) -> bool:
    """Return whether the exporter drops the body by itself."""
    largest = body.encoding.largest
    return largest is not None and body.uncompressed > largest


def _observation(span: ReadableSpan, evidence: Evidence) -> Observation | None:
    context = span.context
    if context is None:
        return None
    key = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return next((one for one in evidence.observations if (one.trace_id, one.id) == key), None)


def _fact(body: ExportedBody, about: Observation, limit: float, evidence: Evidence, *, is_most: bool) -> Fact:
    number, size, allowed = len(body.spans), body.size, limit
    refused = "all of it" if number > 1 else "it"
    if _is_dropped(body):
        size, allowed = body.uncompressed, body.encoding.largest or 0
        verdict = f"before compression, and above {_megabytes(allowed)} the exporter drops {refused}"
    elif size > limit:
        verdict = f"and above {_megabytes(limit)} Langfuse refuses {refused} (413)"
    else:
        verdict = f"near the {_megabytes(limit)} above which Langfuse refuses {refused} (413)"
    text = f"{evidence.named(about)} is a body of {_megabytes(size)}"
    if number > 1:
        share = "most of it" if is_most else "the largest of them"
        text = f"{number} observations are a body of {_megabytes(size)}, {share} {evidence.named(about)}"
    if is_most:
        fix = "trace an excerpt or an id in place of the content, or wrap files in LangfuseMedia(), which uploads them"
    else:
        fits = max(1, int(number * allowed / size / 2))
        fix = f"set LANGFUSE_FLUSH_AT={fits}, or call init_tracing(), which splits bodies"
    return Fact(f"{text}, {verdict}", fix, about)


def _megabytes(size: float) -> str:
    return f"{size / _MEGABYTE:.3g} MB"
