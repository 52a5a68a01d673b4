"""`pytest-langfuse-forward` as a benchmark runs it: `python forward_driver.py PARTITIONS --from … --to … --once`.

It joins its group, waits until it has so many partitions, prints `ready`, waits for a line of stdin, drains, and prints
what it measured. The CPU is that of the whole process, the threads of librdkafka included.
"""

from __future__ import annotations

import json
import sys
import time
from unittest.mock import patch

from pytest_langfuse.tracing.forward.forward_command import main
from pytest_langfuse.tracing.forward.forwarder import Forwarder


def run_when_told(forwarder: Forwarder) -> bool:
    """Stand in for `Forwarder.run`."""
    source = forwarder.source
    source.pause()
    source.start(forwarder)
    while forwarder._partitions != PARTITIONS:  # noqa: SLF001 - its state is told while it drains only
        source.poll(1, 0.05)
    print("ready", flush=True)
    sys.stdin.readline()
    source.resume()
    begun, used = time.time(), time.process_time()
    while not forwarder.step():
        pass
    source.commit(wait=True)
    counts = forwarder.counts
    readings = {
        "cpu": time.process_time() - used,
        "begun": begun,
        "ended": time.time(),
        "spans": counts.spans,
        "requests": counts.requests,
    }
    print(json.dumps(readings), flush=True)
    # The others need not drain what this one has left to be drained: they stay members until all are killed.
    sys.stdin.read()
    return True


if __name__ == "__main__":
    PARTITIONS = int(sys.argv.pop(1))
    with patch.object(Forwarder, "run", run_when_told):
        sys.exit(main())
