"""A soak of the way through Kafka: applications, broker and forwarders are killed, and no acknowledged span is lost.

Two applications export to Kafka, and a forwarder delivers to a server that keeps the ids of spans. In each turn a
second forwarder joins; the first one is killed and another one started; the broker hangs, and meanwhile an application
is killed; the broker is killed, too, and both are started again; a forwarder leaves. Each kill is a `kill -9`. At the
end, each span that Kafka had acknowledged to an application has to be with the server, and few of them twice.

`python benchmarks/production/soak_scale.py --spans 1000000`
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from production.processes import Langfuse, langfuse
from production.scale_processes import PARTITIONS, Application, IdFile, SoakedForwarder, stored_broker
from tests.helpers.kafka_broker import KafkaBroker

APPLICATIONS = 2
#: Seconds between two lines of progress, and without any progress until the soak gives up; of the broker's hang.
LINE, STUCK, HANG = 5.0, 90.0, 1.0
#: A message for each trace.
IN_TRACE = 10
#: Percent.
MOST_TWICE = 2.0


class Result(NamedTuple):
    """The comparison of what was acknowledged with what arrived."""

    acknowledged: int
    arrived: int
    distinct: int
    lost: int
    #: Faults of a ledger, a sentence each.
    faults: list[str]

    @property
    def twice(self) -> int:
        """Arrivals of spans that had arrived already."""
        return self.arrived - self.distinct

    @property
    def share_twice(self) -> float:
        """The same in percent of the acknowledged spans."""
        return 100 * self.twice / max(self.acknowledged, 1)

    def passed(self, most_twice: float) -> bool:
        """Return whether nothing is lost, not too much came twice, and the ledgers are right."""
        return bool(self.acknowledged) and not self.lost and not self.faults and self.share_twice <= most_twice

    def text(self, most_twice: float) -> str:
        """Return the last lines."""
        counts = (
            f"acknowledged: {self.acknowledged:,} spans; arrived: {self.distinct:,}; "
            f"arrived again: {self.twice:,} ({self.share_twice:.2f} %, at most {most_twice:g} %); "
            f"acknowledged and lost: {self.lost:,}"
        )
        return "\n".join([*self.faults, counts, "PASSED" if self.passed(most_twice) else "FAILED"])


class Soak:
    """The processes, and what happens to them."""

    def __init__(self, broker: KafkaBroker, server: Langfuse, folder: Path, *, rate: float) -> None:
        self._broker, self._server, self._folder, self._rate = broker, server, folder, rate
        self._arrivals = IdFile(folder / "arrived")
        self.applications: list[Application] = []
        self.forwarders: list[SoakedForwarder] = []
        self._started = time.monotonic()
        self._line_at = 0.0
        self._seen, self._seen_at = (0, 0), self._started

    # -- progress ----------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a line of progress."""
        acknowledged, arrived = self._counts()
        seconds = time.monotonic() - self._started
        line = f"{seconds:6.1f} s  {acknowledged:>9,} acknowledged  {arrived:>9,} arrived  {text}"
        print(line.rstrip(), flush=True)
        self._line_at = time.monotonic() + LINE

    def _counts(self) -> tuple[int, int]:
        return sum(application.acknowledged.count() for application in self.applications), self._arrivals.count()

    @property
    def acknowledged(self) -> int:
        """Spans so far."""
        return self._counts()[0]

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something, and give up when nothing has moved for long."""
        while not condition():
            if self._counts() != self._seen:
                self._seen, self._seen_at = self._counts(), time.monotonic()
            if time.monotonic() - self._seen_at > STUCK:
                raise RuntimeError(f"nothing has moved for {STUCK:.0f} s; waited for: {what}")
            for name, process in self._running():
                if (status := process.poll()) is not None:
                    raise RuntimeError(f"{name} ended with status {status}")
            if time.monotonic() > self._line_at:
                self.say("")
            time.sleep(0.1)

    def _running(self) -> list[tuple[str, Popen[str]]]:
        return [
            *(("an application", one.process) for one in self.applications if not (one.killed or one.finished)),
            *(("a forwarder", one.process) for one in self.forwarders),
        ]

    # -- what happens ------------------------------------------------------------------------------------------

    def start_application(self) -> None:
        """Start one more."""
        path = self._folder / f"acknowledged-{len(self.applications)}"
        self.applications.append(Application(self._broker, path, rate=self._rate / APPLICATIONS))

    def kill_application(self) -> None:
        """Kill the oldest that runs, and start another one."""
        next(application for application in self.applications if not application.killed).kill()
        self.say("an application was killed, another one starts")
        self.start_application()

    def join(self) -> None:
        """Start a forwarder."""
        self.forwarders.append(SoakedForwarder(self._broker, self._server.url))

    def shared(self) -> bool:
        """Return whether the forwarders share the partitions, and each has some."""
        counts = [forwarder.partitions for forwarder in self.forwarders]
        return sum(counts) == PARTITIONS and all(counts)

    def caught_up(self) -> bool:
        """Return whether the forwarders are less than a second behind."""
        behind = sum(forwarder.metrics().get("lag_messages", self._rate) for forwarder in self.forwarders)
        return behind < self._rate / IN_TRACE

    def turn(self) -> None:
        """Let everything happen once."""
        self.join()
        self.until(self.shared, "a second forwarder joins")
        self.say("a second forwarder has joined")
        if self._rate:
            # One that catches up has seconds of spans on the wire: too many to repeat for a small soak.
            self.until(self.caught_up, "the forwarders catch up")
        self.forwarders.pop(0).kill()
        self.say("a forwarder was killed, another one starts")
        self.join()
        self.until(self.shared, "the others share the partitions of the killed one")
        self.say("the two others share its partitions")
        self.until(lambda: all(one.acknowledged.count() for one in self.applications), "each application's first span")
        # What is sent to the broker now is lost with it and with the application: it must not count as acknowledged.
        self._broker.hang()
        time.sleep(HANG)
        self.kill_application()
        self._broker.kill()
        self.say("the broker hung and was killed")
        self._broker.start()
        before = self._counts()
        self.until(lambda: all(now > then for now, then in zip(self._counts(), before, strict=True)), "the broker")
        self.say("the broker is back, and spans go both ways")
        self.forwarders.pop(0).leave()
        self.until(self.shared, "one forwarder has all partitions")
        self.say("a forwarder has left")

    # -- the end -----------------------------------------------------------------------------------------------

    def end(self) -> Result:
        """Let the applications end, wait until the queue is empty, and compare."""
        faults = []
        acknowledged: set[bytes] = set()
        for number, application in enumerate(self.applications):
            ledger = None if application.killed else application.finish()
            ids = application.acknowledged.new()
            acknowledged.update(ids)
            if ledger is None:
                continue
            accounted = ledger["exported"] + sum(ledger["dropped"].values())
            if ledger["unaccounted"] or ledger["ended"] != accounted or ledger["exported"] != len(ids):
                faults.append(f"application {number}: {ledger}, but {len(ids)} acknowledged")
        self.say("the applications have ended")
        missing, distinct, arrived = set(acknowledged), set[bytes](), 0

        def drained() -> bool:
            nonlocal arrived
            new = self._arrivals.new()
            arrived += len(new)
            distinct.update(new)
            missing.difference_update(new)
            lags = [forwarder.metrics().get("lag_messages", 1.0) for forwarder in self.forwarders]
            return not new and not any(lags)

        self.until(drained, "the queue is empty")
        while self.forwarders:
            forwarder = self.forwarders.pop()
            if dead := forwarder.metrics().get("dead_letters_total", 0.0):
                faults.append(f"{dead:.0f} messages were dead-lettered")
            forwarder.leave()
        drained()
        return Result(len(acknowledged), arrived, len(distinct), len(missing), faults)

    def close(self) -> None:
        """End what still runs."""
        for application in self.applications:
            if application.process.poll() is None:
                application.kill()
        for forwarder in self.forwarders:
            forwarder.kill()


def soak(*, spans: int, turns: int, rate: float) -> Result:
    """Run it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with langfuse(ids=folder / "arrived") as server, stored_broker(folder) as broker:
            run = Soak(broker, server, folder, rate=rate)
            try:
                run.join()
                for _ in range(APPLICATIONS):
                    run.start_application()
                run.until(run.shared, "the first forwarder")
                for turn in range(turns):
                    share = spans * turn // turns
                    run.until(lambda share=share: run.acknowledged >= share, f"{share:,} spans")  # type: ignore[misc]
                    run.say(f"turn {turn + 1} of {turns}")
                    run.turn()
                run.until(lambda: run.acknowledged >= spans, f"{spans:,} spans")
                return run.end()
            finally:
                run.close()


def main() -> int:
    """Run it; exit status 1 if an acknowledged span is lost, or too many came twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=1_000_000, help="acknowledged spans, at least; default: 1,000,000")
    parser.add_argument("--turns", type=int, default=3, help="how often everything happens; default: %(default)s")
    parser.add_argument("--rate", type=float, default=0.0, help="spans a second; default: as many as possible")
    parser.add_argument(
        "--most-twice",
        type=float,
        default=MOST_TWICE,
        metavar="PERCENT",
        help="of the acknowledged spans; default: %(default)s",
    )
    options = parser.parse_args()
    try:
        result = soak(spans=options.spans, turns=options.turns, rate=options.rate)
    except RuntimeError as error:
        print(f"FAILED: {error}")
        return 1
    print(result.text(options.most_twice))
    return 0 if result.passed(options.most_twice) else 1


if __name__ == "__main__":
    sys.exit(main())
