"""The contact of a consumer to its brokers, as librdkafka's statistics and errors tell of it."""

from __future__ import annotations

import json

from pytest_langfuse.tracing.monotonic import now

#: Seconds between two statistics. A member of a group hears of its brokers more often than every `_PATIENCE` seconds:
#: heartbeats are answered, and metadata are asked for every 10 seconds.
STATISTICS, _PATIENCE = 1.0, 12.0
#: Names of librdkafka's own errors begin so, all others are answers of a broker; this one only sums up others.
_LOCAL, _SUMMARY = "_", "_ALL_BROKERS_DOWN"


class KafkaContact:
    """Knows why nothing is read. For the thread that polls.

    The names in the statistics are those of librdkafka 2.16, STATISTICS.md.
    """

    def __init__(self) -> None:
        self._heard_at: float | None = None
        self._error, self._error_at = "", 0.0
        self._began = now()
        #: Seconds from librdkafka's clock to ours: the smallest difference, that of the promptest statistics.
        self._ahead: float | None = None

    def told(self, statistics: str) -> None:
        """Take librdkafka's statistics."""
        read = json.loads(statistics)
        # They may have waited in a queue, and are about the moment in which they were made.
        made = read["ts"] / 1e6
        ahead = now() - made
        self._ahead = ahead if self._ahead is None else min(self._ahead, ahead)
        at = made + self._ahead
        # Microseconds since the broker sent something; -1 on a connection on which nothing came.
        idle = [broker["rxidle"] / 1e6 for broker in read["brokers"].values() if broker["rxidle"] >= 0]
        if idle:
            self._heard_at = max(self._heard_at or 0.0, at - min(idle))
        # A member does not know that it is none any more while no broker answers.
        heard = self._heard_at is not None and self._heard_at > self._error_at
        if heard and read.get("cgrp", {}).get("join_state") == "steady":
            self._error = ""

    def failed(self, name: str, text: str) -> None:
        """Take an error: its name and its text."""
        if not name.startswith(_LOCAL):
            self._heard_at = now()
        if name != _SUMMARY or not self._error:
            self._error, self._error_at = text, now()

    def problems(self, *, joined: bool) -> list[str]:
        """Return why nothing is read. `joined`: the group has told this process which partitions it has, maybe none."""
        heard, at = self._heard_at, now()
        if heard is None and self._error:
            return [f"Kafka can't be reached: {self._error}"]
        silent = at - (self._began if heard is None else heard)
        if silent > _PATIENCE:
            new = bool(self._error) and (heard is None or self._error_at > heard)
            return [f"Kafka can't be reached: {self._error if new else f'no answer for {silent:.0f} s'}"]
        if joined:
            return []
        return [f"{NO_PARTITIONS}: {self._error}" if self._error else NO_PARTITIONS]


#: The state before the first assignment, and in a rebalance.
NO_PARTITIONS = "the queue has not given it any partitions yet"
