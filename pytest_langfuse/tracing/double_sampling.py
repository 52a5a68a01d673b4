"""Combinations of settings with which a sampling forwarder can't keep whole traces."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_langfuse.tracing import config as settings
from pytest_langfuse.tracing.config import TracingConfig
from pytest_langfuse.tracing.shown import shown

#: The forwarder's variable. Where an application sees it, too, nothing has to be guessed.
FORWARD_SAMPLE = "LANGFUSE_FORWARD_SAMPLE"


def doubts(config: TracingConfig) -> Iterator[str]:
    """Yield a sentence for each doubtful combination; none if it is known that the forwarder does not sample."""
    exports = config.exports
    if exports == ("http",):
        return
    forwarder = _rate_of_forwarder()
    if forwarder is not None and forwarder >= 1.0:
        return
    samples = config.sample_rate < 1.0 or bool(config.sampling)
    by_http = exports[0] != "http" and "http" in exports
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
                f"kept in part. Fix: export={exports[0]!r}, with a spool_path for outages."
            )
    elif samples and (by_http or "sample_rate" in config.unset):
        from_preset = "sample_rate" in config.unset and not config.sampling
        origin = f", the preset of {config.environment!r}," if from_preset else ""
        yield (
            f"{here}{origin} and export={shown(config.export)}: if the forwarder samples, too (--sample), both rates "
            "multiply, and traces lose spans. Fix: sample in one place: LANGFUSE_SAMPLE_RATE=1, no sampling= and "
            f"export={exports[0]!r} here, or no --sample there, which {FORWARD_SAMPLE}=1 tells this process."
        )


def _rate_of_forwarder() -> float | None:
    try:
        return float(settings.environ.get(FORWARD_SAMPLE, ""))
    except ValueError:
        return None
