"""Signals, deadlines, and what is shown on a terminal or logged."""

import json
import os
import pty
import signal
import subprocess
import threading
import time

import pytest

from pytest_langfuse.tracing.forward import forwarder as module
from pytest_langfuse.tracing.forward.forward_service import progress_line
from tests.helpers.forwarding import COMMAND, KEYS, export_body, produce, without_settings
from tests.helpers.loopback_langfuse import Reply


def test_a_stop_waits_for_the_wire_commits_and_drops_the_rest(collector, forwarding):
    collector.reply = Reply(delay=0.3)
    one = forwarding(threads=1, max_bytes=2000)
    for number in range(100):
        one.queue.put(export_body(f"a{number}"))
    thread = threading.Thread(target=one.forwarder.run)
    thread.start()
    collector.wait_for(lambda: collector.requests)
    one.forwarder.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert one.queue.committed[-1] == len(collector.accepted) < 100
    assert one.queue.calls[-1] == "close"


def test_a_stop_does_not_exceed_its_deadline(collector, forwarding, lines):
    collector.reply = Reply(hang=True)
    one = forwarding(timeout=60.0, stop_timeout=0.3)
    one.queue.put(export_body("a"))
    one.forwarder.source.start(one.forwarder)
    one.until(lambda: collector.requests)
    one.forwarder.stop()
    begun = time.monotonic()
    assert one.forwarder.run() is False
    one.poster.stop()
    # What was cut by the stop is no outage, also when the group takes the partition away at the end.
    one.forwarder.revoked([one.queue.assignment])
    assert lines() == []
    # A request that hangs for a minute did not hold it up.
    assert time.monotonic() - begun < 20
    assert one.queue.committed == []
    collector.released.set()


def test_requests_on_the_wire_are_waited_for_when_partitions_go(collector, forwarding):
    collector.reply = Reply(delay=0.3)
    one = forwarding(threads=2, max_bytes=300)
    for number in range(10):
        one.queue.put(export_body(f"a{number}"))
    one.queue.start(one.forwarder)
    one.until(lambda: collector.requests)
    one.forwarder.revoked([one.queue.assignment])
    assert one.deliveries.idle
    assert one.queue.committed == [len(collector.accepted)]
    assert 0 < len(collector.accepted) < 10


def test_dead_letters_on_their_way_are_waited_for_when_partitions_go(forwarding):
    one = forwarding()
    one.queue.buries_later, one.queue.late_may_come = True, False
    one.queue.put(b"{}")
    one.queue.start(one.forwarder)
    one.until(lambda: one.queue.late)
    one.queue.late_may_come = True
    one.forwarder.revoked([one.queue.assignment])
    assert one.queue.committed == [1]


def test_those_that_fail_after_partitions_went_are_not_sent_again(collector, forwarding, monkeypatch):
    monkeypatch.setattr(module, "_ON_THE_WIRE", 0.01)
    collector.reply = Reply(status=503, delay=0.3)
    one = forwarding()
    one.queue.put(export_body("a"))
    one.queue.start(one.forwarder)
    one.until(lambda: collector.requests)
    one.forwarder.revoked([one.queue.assignment])
    collector.reply = Reply()
    one.until(lambda: one.deliveries.idle)
    assert collector.accepted == []
    assert one.queue.committed == []


def test_what_is_lost_is_dropped_without_waiting(collector, forwarding):
    collector.reply = Reply(hang=True)
    one = forwarding(threads=1)
    for number in range(3):
        one.queue.put(export_body(f"a{number}"))
    one.queue.start(one.forwarder)
    one.until(lambda: collector.requests)
    one.queue.put(export_body("b"))
    one.forwarder.step()
    one.forwarder.lost([one.queue.assignment])
    assert len(one.deliveries.done) == 0
    assert not one.deliveries.waiting
    collector.released.set()


@pytest.mark.slow
@pytest.mark.long
def test_signals(broker, collector, forwarder_process):
    broker.create_topic("signals")
    produce(broker.address, "signals", [("k", export_body("a"), {})])
    collector.reply = Reply(hang=True)
    arguments = ("--from", f"kafka://{broker.address}/signals?group=", "--to", collector.url)

    def started(group, *more):
        before = len(collector.requests)
        process = forwarder_process(*arguments[:1], arguments[1] + group, *arguments[2:], *more)
        collector.wait_for(lambda: len(collector.requests) > before)
        return process

    patient = started("patient", "--stop-timeout", "600")
    patient.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        patient.wait(1.0)
    # The second one ends it at once, as the first would end a program that knows nothing of signals.
    patient.process.send_signal(signal.SIGINT)
    assert patient.wait() == -signal.SIGINT

    for number in (signal.SIGTERM, signal.SIGINT):
        hasty = started(f"hasty-{number}", "--stop-timeout", "1")
        hasty.process.send_signal(number)
        assert hasty.wait() == 0, hasty.raw
        hasty.wait_for_line("Requests were still on the wire")
    collector.released.set()


@pytest.mark.slow
def test_a_line_of_progress_on_a_terminal():
    """Also: a broker that is not there is waited for, and does not hold up the end."""
    terminal, other = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--from", "kafka://127.0.0.1:9/t", "--to", "http://127.0.0.1:9"],
        env={**without_settings(), **KEYS},
        stderr=other,
        stdout=subprocess.DEVNULL,
    )
    os.close(other)
    shown = b""
    try:
        while b"spans delivered" not in shown or b"Kafka" not in shown:
            shown += os.read(terminal, 1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"\r\x1b[K0 spans delivered, ? messages behind, 0.0 MiB held, 0 requests on the wire" in shown
    assert b"info: pytest-langfuse-forward forwards kafka://127.0.0.1:9/t?group=pytest-langfuse-forward to" in shown


def test_the_line_of_progress_says_what_is_wrong(collector, forwarding):
    collector.reply = Reply(status=401)
    one = forwarding()
    one.queue.start(one.forwarder)
    one.queue.put(export_body("a"))
    one.queue.put(b"{}")
    one.until(one.deliveries.problems)
    one.forwarder._look_at = 0.0
    one.forwarder.step()
    line = progress_line(one.forwarder)
    assert line.startswith("0 spans delivered, 0 messages behind, 0.0 MiB held, ")
    assert line.endswith(", 1 dead-lettered; Langfuse refuses the key pk-lf-test (http_401)")


def test_a_log_line_is_one_json_object_without_secrets(monkeypatch):
    import io
    import logging

    from pytest_langfuse.tracing.forward.forward_log import ForwardLog

    stream = io.StringIO()
    log = ForwardLog(stream)
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "two\nlines of %s é", ("sk-lf-hunter2",), None)
    log.emit(record)
    log.progress(lambda: "never shown")
    line, rest = stream.getvalue().split("\n")
    assert rest == ""
    found = json.loads(line)
    assert (found["level"], found["message"]) == ("warning", "two\\nlines of *** é")
    stream.close()
    # A stream that is closed ends nothing.
    log.emit(record)
