"""The handlers of signals, without processes. Real signals: tests/process/test_shutdown.py."""

import faulthandler
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pytest_langfuse.tracing.shutdown import default_action
from pytest_langfuse.tracing.shutdown.default_action import DefaultAction, has_default_action
from pytest_langfuse.tracing.shutdown.prestarted_thread import PrestartedThread
from pytest_langfuse.tracing.shutdown.signal_channel import SignalChannel
from pytest_langfuse.tracing.shutdown.signals import Signals

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*HANDLED, signal.SIGABRT, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def taken(monkeypatch) -> list[int]:
    """The signals whose default action was taken, which does not happen."""
    numbers: list[int] = []
    monkeypatch.setattr(DefaultAction, "take", lambda _, number: numbers.append(number))
    monkeypatch.setattr(DefaultAction, "take_in_handler", lambda _, number: numbers.append(number))
    return numbers


class Calls:
    """What the handlers have called, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.release = threading.Event()
        self.signals = Signals(shut_down=self.shut_down, start_flushing=lambda: self.names.append("flush"))

    def shut_down(self) -> None:
        self.names.append("shut down")
        self.release.wait(20)

    def finish(self) -> list[str]:
        """Let the shutdown end, then the thread."""
        thread = self.signals._thread
        self.release.set()
        self.signals._channel.send(0)
        thread.join(20)
        self.signals.stop()
        self.signals._ending_since = None
        self.signals.uninstall()
        return self.names


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def default(*numbers: int) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def test_the_handler_hands_over_and_returns(taken):
    default(*HANDLED)
    calls = Calls()
    calls.signals.install()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.raise_signal(number)
    assert taken == []

    assert calls.finish() == ["shut down"]
    assert taken == [signal.SIGTERM]


def test_ctrl_c_ends_the_wait_after_a_second(taken, monkeypatch):
    default(*HANDLED)
    calls = Calls()
    calls.signals.install()
    clock = iter([100.0, 100.9, 101.1])
    monkeypatch.setattr("pytest_langfuse.tracing.shutdown.signals.now", lambda: next(clock))
    signal.raise_signal(signal.SIGTERM)
    wait_for(lambda: calls.signals.ending)
    signal.raise_signal(signal.SIGINT)
    assert taken == []
    signal.raise_signal(signal.SIGINT)
    assert taken == [signal.SIGINT]
    calls.finish()


def test_a_handler_of_the_application_runs_at_once_and_what_is_left_is_sent_meanwhile(taken):
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append((number, frame is not None)))
    calls = Calls()
    calls.signals.install()
    signal.raise_signal(signal.SIGTERM)
    assert seen == [(signal.SIGTERM, True)]
    assert set(calls.finish()) == {"flush"}
    assert taken == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "handled"])
def test_signals_that_have_another_purpose_are_left_alone(number, handler):
    signal.signal(number, handler)
    calls = Calls()
    calls.signals.install()
    assert signal.getsignal(number) is handler
    calls.finish()


def test_signals_that_are_never_handled():
    before = [signal.getsignal(number) for number in (signal.SIGABRT, signal.SIGUSR1)]
    calls = Calls()
    calls.signals.install()
    assert [signal.getsignal(number) for number in (signal.SIGABRT, signal.SIGUSR1)] == before
    calls.finish()


def test_a_handler_below_python_counts():
    default(signal.SIGQUIT)
    assert has_default_action(signal.SIGQUIT)
    faulthandler.register(signal.SIGQUIT)
    try:
        assert signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
        assert not has_default_action(signal.SIGQUIT)
        calls = Calls()
        calls.signals.install()
        assert signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
        calls.finish()
    finally:
        faulthandler.unregister(signal.SIGQUIT)


def test_without_the_c_api_the_handler_takes_the_action_itself(monkeypatch):
    """As on PyPy: the thread can only signal the process again."""
    sent = []
    monkeypatch.setattr(default_action, "_c_function", lambda *_: None)
    monkeypatch.setattr("os.kill", lambda _, number: sent.append(number))
    default(*HANDLED)
    calls = Calls()
    calls.signals.install()
    signal.raise_signal(signal.SIGTERM)
    calls.release.set()
    wait_for(lambda: sent)
    assert sent == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == calls.signals._handle

    signal.raise_signal(signal.SIGTERM)
    assert sent == [signal.SIGTERM, signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    calls.finish()


def test_the_first_process_of_a_container_is_not_ended_by_a_default_action(taken, monkeypatch):
    default(*HANDLED)
    calls = Calls()
    calls.signals.install()
    monkeypatch.setattr("os.getpid", lambda: 1)
    signal.raise_signal(signal.SIGTERM)
    assert set(calls.finish()) == {"flush"}
    assert taken == []


def test_after_the_shutdown_a_handler_that_could_not_be_removed_does_what_was_there_before(taken):
    default(*HANDLED)
    calls = Calls()
    calls.signals.install()
    handler = signal.getsignal(signal.SIGTERM)
    calls.finish()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, handler)
    signal.raise_signal(signal.SIGTERM)
    assert taken == [signal.SIGTERM]
    assert calls.names == []


class TestPrestartedThread:
    def test_a_job_that_hangs_is_not_waited_for_and_one_that_raises_does_not_end_the_thread(self):
        thread, release = PrestartedThread("test"), threading.Event()
        assert not thread.run(lambda: release.wait(20), 0.0)
        release.set()
        assert thread.run(lambda: 1 / 0, 20)
        assert thread.run(lambda: None, 20)
        thread.stop()

    def test_submitting_from_a_handler_that_interrupts_submitting(self):
        """The queue is reentrant: no lock is held while a handler may run."""
        thread, seen = PrestartedThread("test"), []
        signal.signal(signal.SIGUSR1, lambda *_: thread.submit(lambda: seen.append(1)))
        sent = 2000
        for _ in range(sent):
            signal.raise_signal(signal.SIGUSR1)
            thread.submit(lambda: seen.append(1))
        assert thread.run(lambda: None, 20)
        assert len(seen) == 2 * sent
        thread.stop()


class TestChannel:
    def test_the_interpreter_writes_to_it_and_no_longer_after_it_is_closed(self):
        channel = SignalChannel()
        channel.listen()
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.raise_signal(signal.SIGUSR1)
        assert next(channel.receive()) == signal.SIGUSR1
        channel.stop()
        assert list(channel.receive()) == []
        channel.close()
        assert signal.set_wakeup_fd(-1) == -1

    def test_the_descriptor_of_somebody_else_stays(self):
        theirs, other = socket.socketpair()
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno())
        channel = SignalChannel()
        channel.listen()
        channel.stop()
        channel.close()
        assert signal.set_wakeup_fd(-1) == theirs.fileno()
        theirs.close()
        other.close()

    def test_one_that_could_not_be_closed_is_closed_by_the_next(self):
        """Another thread has shut tracing down: the interpreter goes on writing to a file that must stay."""
        first, second = SignalChannel(), SignalChannel()
        first.listen()
        first.stop()
        second.listen()
        assert first._writer.fileno() == -1
        second.stop()
        second.close()
        assert second._writer.fileno() == -1

    def test_trio_has_its_own(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "trio", object())
        channel = SignalChannel()
        channel.listen()
        assert signal.set_wakeup_fd(-1) == -1
        channel.stop()
        channel.close()

    def test_a_full_channel_does_not_block(self):
        channel = SignalChannel()
        for _ in range(100_000):
            channel.send(1)
        channel.stop()
        channel.close()
