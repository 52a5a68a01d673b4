"""LF017: a test that waits for Langfuse, as the application's users would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.recording.langfuse_waits import blocked_seconds
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.langfuse_waits import LangfuseWait
    from pytest_langfuse.rules.evidence import Evidence

_FIXES: Final = {
    "flush": "leave sending to the SDK's threads, and flush() where the process ends alone",
    "shutdown": "call shutdown() where the process ends alone",
    "get_prompt": "fetch prompts when the process starts, or pass fallback=, fetch_timeout_seconds= and max_retries=0",
}
_FIX: Final = "call it outside of requests, or with a shorter timeout= of Langfuse()"


@rule("LF017", "blocked in Langfuse", severity="warning", each="all", options={"max_block": 1.0})
def blocked_in_langfuse(evidence: Evidence) -> Sequence[Fact] | None:
    """Whoever uses the application waits as long, and while Langfuse is away for the timeout of each call."""
    waits = evidence.application.waits
    allowed = evidence.options["max_block"]
    if not waits or sum(blocked_seconds(waits)) <= allowed:
        return None
    by_line: dict[tuple[str, str], list[LangfuseWait]] = {}
    for wait in waits:
        if wait.place is not None:
            by_line.setdefault((wait.call, str(wait.place)), []).append(wait)
    if not by_line:
        return None
    # Threads of the SDK's, which the application waits for in a call of its own: that call may be cut short by them.
    behind = [wait for wait in waits if wait.place is None]
    for some in by_line.values():
        some += [wait for wait in behind if any(call.began < wait.ended and wait.began < call.ended for call in some)]
    # The longest first. Where no line is too long by itself, it stands for all.
    lines = sorted(by_line.values(), key=lambda some: sum(blocked_seconds(some)), reverse=True)
    too_long = [some for some in lines if sum(blocked_seconds(some)) > allowed]
    return [_fact(some, some, allowed) for some in too_long] or [_fact(waits, lines[0], allowed)]


def _fact(waits: Sequence[LangfuseWait], longest: Sequence[LangfuseWait], allowed: float) -> Fact:
    seconds, shortened = blocked_seconds(waits)
    call, place = longest[0].call, longest[0].place
    at = "" if place is None else f" ({place})"
    most = "" if waits is longest else f"{blocked_seconds(longest)[0]:.1f} s of them "
    # As far as is known: the timeout is the one that capture supplies.
    longer = f" (up to {seconds + shortened:.1f} s without the time limit of the capture)" if shortened else ""
    return Fact(
        f"the test waited {seconds:.1f} s{longer} for Langfuse, {most}in {call}(){at}, and {allowed:g} s is allowed",
        _FIXES.get(call.rpartition(".")[2], _FIX),
        place=place,
    )
