"""The command `python -m pytest_langfuse.outage.server`: a stand-in for applications in any language."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pytest_langfuse.outage.faults import FAULTS, QUEUE_FAULTS, ClientFault
from pytest_langfuse.outage.faults.connection import refused
from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
from pytest_langfuse.recording.server_view.loss import LostRecord
from pytest_langfuse.standin.http.arrivals import Arrival
from pytest_langfuse.standin.paths import ENDPOINTS
from pytest_langfuse.standin.stand_in import StandIn

_HIGHEST_PORT = 65535
_OPTIONS = ("after", "times", "delay", "rate", "seed", "retry_after", "paths")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted. Returns the exit status: 0, 1 if the output can't be written, 2 for invalid arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.public_key is None) != (options.secret_key is None):
        parser.error("--public-key and --secret-key belong together")
    try:
        outage = _outage(options)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    stand_in = StandIn(public_key=options.public_key, secret_key=options.secret_key)
    console = Console(stand_in, as_json=options.json)
    server = LangfuseServer(stand_in, host=options.host, port=options.port, on_arrival=console.arrived)
    try:
        server.start()
    except OSError as error:
        parser.error(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    with _interrupted() as stop, contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        if outage is not None:
            stack.enter_context(outage.activate(server))
        console.on_silence = stop.set
        console.listening(server, outage)
        stop.wait()
    console.summary(outage)
    if console.why_silent is not None:
        parser.exit(1, f"{parser.prog}: error: cannot write to the standard output: {console.why_silent}\n")
    return 0


def _outage(options: argparse.Namespace) -> Outage | None:
    given = {name: getattr(options, name) for name in _OPTIONS if getattr(options, name) is not None}
    if not options.fault:
        if given:
            raise ValueError(f"--{next(iter(given)).replace('_', '-')} says when a fault strikes: give --fault, too")
        return None
    outage = Outage.named("--fault " + " --fault ".join(options.fault), options.fault, given)
    if of_queue := [name for name in options.fault if name in QUEUE_FAULTS]:
        raise ValueError(f"{of_queue[0]} is a fault of a queue, which is met in tests: use the fixture langfuse_outage")
    clients = [name for name in options.fault if isinstance(FAULTS[name], ClientFault)]
    if clients and (given or len(options.fault) > 1):
        raise ValueError(
            f"{clients[0]} strikes before a request arrives: it can't be combined with other faults or options here"
        )
    return outage


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0 to {_HIGHEST_PORT})")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [--port PORT] [--json] [--fault FAULT [--after N] [--times N] …] (see --help)",
        prog="python -m pytest_langfuse.outage.server",
        description="A stand-in Langfuse on this machine that prints what it receives, and can fail in every way.",
        epilog="faults:\n" + "\n".join(f"  {fault.name:16} {fault.summary}" for fault in FAULTS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--public-key", metavar="KEY", help="refuse requests with other keys")
    parser.add_argument("--secret-key", metavar="KEY", help="refuse requests with other keys")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    fault = parser.add_argument_group("faults")
    fault.add_argument(
        "--fault", action="append", metavar="FAULT", help="fail in this way; of several, the first that is due"
    )
    fault.add_argument("--after", type=int, metavar="N", help="answer N requests before the fault begins")
    fault.add_argument("--times", type=int, metavar="N", help="strike N requests, then answer again")
    fault.add_argument(
        "--delay",
        type=float,
        metavar="SECONDS",
        help="wait so long before the fault strikes; with drip, between two bytes (default: 0, with slow and drip 0.5)",
    )
    fault.add_argument("--rate", type=float, metavar="SHARE", help="strike this share of the requests (0 to 1)")
    fault.add_argument("--seed", type=int, metavar="N", help="decides which requests --rate strikes (default: 0)")
    fault.add_argument("--retry-after", type=int, metavar="SECONDS", help="send this header with an HTTP status")
    fault.add_argument(
        "--paths", action="append", metavar="ENDPOINT", help=f"strike only these: {', '.join(ENDPOINTS)}, or /a/path*"
    )
    return parser


class Console:
    """Prints what happens, as text or as JSON lines. Thread-safe."""

    def __init__(self, stand_in: StandIn, *, as_json: bool) -> None:
        self._stand_in = stand_in
        self._json = as_json
        self._lock = threading.Lock()
        self._requests = self._struck = self._exports = self._observations = 0
        #: Why nothing can be printed any more, and what is called when that happens.
        self.why_silent: str | None = None
        self.on_silence: Callable[[], object] = lambda: None

    def listening(self, server: LangfuseServer, outage: Outage | None) -> None:
        """Print the first line: the address."""
        fault = None if outage is None else outage.name
        met = FAULTS.get(fault or "")
        # A fault that strikes before there is a connection is at another address.
        url = met.base_url(server) if isinstance(met, ClientFault) and met is not refused else server.url
        text = f"listening on {url}  (LANGFUSE_BASE_URL={url}  OTEL_EXPORTER_OTLP_ENDPOINT={url}/api/public/otel)"
        self._print(text + (f"\nfault: {fault}" if fault else ""), {"event": "listening", "url": url, "fault": fault})

    def arrived(self, arrival: Arrival) -> None:
        """Print a line for a request, with the names of the observations that it brought."""
        with self._lock:
            self._requests += 1
            self._struck += arrival.fault is not None
        names, lost = self._new_observations()
        outcome = arrival.fault or arrival.status
        text = f"{arrival.method} {arrival.path} ({arrival.size} bytes) -> {outcome}"
        if names:
            text += f"\n    {_counted(len(names), 'observation')}: {', '.join(names)}"
        if lost:
            text += f"\n    {_counted(len(lost), 'observation')} lost: {lost[0].reason}"
        record = {"event": "request", **asdict(arrival), "observations": names}
        self._print(text, record if not lost else {**record, "lost": lost[0].reason})

    def summary(self, outage: Outage | None) -> None:
        """Print the last line."""
        self._new_observations()
        scores = len(self._stand_in.scores)
        counted = {"request": self._requests, "observation": self._observations, "score": scores}
        text = ", ".join(_counted(number, noun) for noun, number in counted.items())
        if outage is not None:
            text += f"; {self._struck} struck by {outage.name}"
        counts = {"requests": self._requests, "observations": self._observations, "scores": scores}
        self._print(text, {"event": "summary", **counts, "struck": self._struck})

    def _new_observations(self) -> tuple[list[str], list[LostRecord]]:
        """Return what arrived since the last call: the names of observations, and the spans that Langfuse loses."""
        with self._lock:
            new = self._stand_in.exports[self._exports :]
            self._exports += len(new)
            names = [record.name for export in new for record in export.records]
            self._observations += len(names)
            return names, [lost for export in new for lost in export.lost]

    def _print(self, text: str, record: dict[str, Any]) -> None:
        line = json.dumps(record) if self._json else text
        # `print` writes the line and its end separately, which would mix up the lines of several threads.
        with self._lock:
            if sys.stdout is None:  # closed by the shell
                self._fall_silent("it is closed")
                return
            try:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            except OSError as error:
                # The bytes still in the buffer would fail again at exit, with status 120 (library reference of Python,
                # module signal, "Note on SIGPIPE").
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                # Who reads a pipe may have had enough; the server is still in use.
                if not isinstance(error, BrokenPipeError):
                    self._fall_silent(error.strerror or str(error))

    def _fall_silent(self, why: str) -> None:
        self.why_silent = self.why_silent or why
        self.on_silence()


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextlib.contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    signals = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
