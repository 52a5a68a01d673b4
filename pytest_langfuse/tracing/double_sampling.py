"""Combinations of settings with which a sampling forwarder can't keep whole traces."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_langfuse.tracing import config as settings
from pytest_langfuse.tracing.config import TracingConfig
from pytest_langfuse.tracing.setting_parsers import Invalid, number
from pytest_langfuse.tracing.shown import shown

#: The forwarder's variable. Where an application sees it, too, nothing has to be guessed.
FORWARD_SAMPLE = "LANGFUSE_FORWARD_SAMPLE"


_RATE = number(0.0, 1.0, example="0.1")


def doubts(config: TracingConfig) -> Iterator[str]:
    """Yield a sentence for each doubtful combination; none if it is known that the forwarder does not sample."""
    text, forwarder = settings.environ.get(FORWARD_SAMPLE, "").strip(), None
    try:
        forwarder = None if not text else _RATE.of_text(text)
    except Invalid as invalid:
        yield (
            f"{FORWARD_SAMPLE}={shown(text)} {invalid.problem}, so it is not known whether the forwarder samples. "
            f"Allowed: {invalid.allowed}. Fix: set it to what the forwarder has as --sample, or unset it."
        )
    exports = config.exports
    queue = next((export for export in exports if export != "http"), None)
    if queue is None or (forwarder is not None and forwarder >= 1.0):
        return
    samples = config.sample_rate < 1.0 or bool(config.sampling)
    by_http = "http" in exports
    here = "sampling=" if config.sampling else f"sample_rate={config.sample_rate:g}"
    if forwarder is not None:
        known = f"the forwarder samples ({FORWARD_SAMPLE}={forwarder:g})"
        if samples:
            yield (
                f"{here} and export={shown(config.export)}, while {known}: both rates multiply, and traces with errors "
                "lose spans. Fix: sample_rate=1.0 and no sampling= here."
            )
        if by_http:
            yield (
                f"export={shown(config.export)}, while {known}: what goes by HTTP is not sampled, so that traces are "
                f"kept in part. Fix: export={queue!r}, with a spool_path for outages."
            )
    elif samples and (by_http or "sample_rate" in config.unset):
        from_preset = "sample_rate" in config.unset and not config.sampling
        origin = f", the preset of {config.environment!r}," if from_preset else ""
        yield (
            f"{here}{origin} and export={shown(config.export)}: if the forwarder samples, too (--sample), both rates "
            "multiply, and traces lose spans. Fix: sample in one place: LANGFUSE_SAMPLE_RATE=1, no sampling= and "
            f"export={queue!r} here, or no --sample there, which {FORWARD_SAMPLE}=1 tells this process."
        )
