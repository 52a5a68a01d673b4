"""Ids of traces and spans that are the application's own random numbers in no way.

OpenTelemetry takes them from Python's shared generator. An application that calls `random.seed` (for a repeatable
experiment, in each worker) then makes the same ids again, of which Langfuse keeps one each, and its own sequence
changes with every span.
"""

from __future__ import annotations

import os
import random

from opentelemetry.sdk.trace.id_generator import IdGenerator

#: Seeded by the operating system, which costs a tenth of asking it for each id.
_random = random.Random()  # noqa: S311 - ids, not secrets

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


class EntropyIdGenerator(IdGenerator):
    """Makes ids that neither a seed nor a fork repeats."""

    def generate_span_id(self) -> int:
        """Return a new span id; 0 is invalid (W3C Trace Context)."""
        return _random.getrandbits(64) or self.generate_span_id()

    def generate_trace_id(self) -> int:
        """Return a new trace id; 0 is invalid (W3C Trace Context)."""
        return _random.getrandbits(128) or self.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Return that all bits are random: the trace flag of W3C Trace Context level 2 may say so."""
        return True
