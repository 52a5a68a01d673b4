"""Counts of a forwarder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class ForwardCounts:
    """Counts since the start. Written by one thread; others may read them."""

    #: Messages that were read, and their bytes.
    messages: int = 0
    bytes: int = 0
    #: Spans and scores that Langfuse took.
    spans: int = 0
    scores: int = 0
    #: Messages that are done, whatever became of them.
    done: int = 0
    #: Messages that the sampling has dropped.
    dropped: int = 0
    #: Spans that Langfuse rejected of requests that it took (OTLP's partial success).
    rejected: int = 0
    #: Requests, and of these those that failed, by reason.
    requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    #: Spans and scores that were dead-lettered, by reason.
    dead: Counter[str] = field(default_factory=Counter)
    #: Traces by decision of the sampling: the reason why they were kept, or "dropped"; and those decided early, for
    #: want of memory.
    decisions: Counter[str] = field(default_factory=Counter)
    early: int = 0
    #: Traces that are not decided now.
    undecided: int = 0
    #: How often this process got and lost partitions.
    rebalances: int = 0
