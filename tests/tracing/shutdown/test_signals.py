"""Which code a signal handler must not interrupt with a shutdown. Real signals: tests/process/test_shutdown.py."""

import importlib
import sys
import threading

import httpx
import pytest

from pytest_langfuse.tracing import installation, singleton
from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker
from pytest_langfuse.tracing.delivery.client import GuardedLangfuse
from pytest_langfuse.tracing.delivery.exporter import StoreForwardExporter
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.transport import BoundedTransport
from pytest_langfuse.tracing.shutdown import signals
from pytest_langfuse.tracing.shutdown.prestarted_thread import PrestartedThread


class Looking:
    """Calls of it note what `holds_a_lock` says there; also a transport, a buffer and whatever else calls back."""

    def __init__(self):
        self.found = []

    def __call__(self, *args, **kwargs):
        self.found.append(signals.holds_a_lock(sys._getframe()))

    def handle_request(self, request):
        self()
        return httpx.Response(200)


@pytest.mark.parametrize("name", signals._LOCKING)
def test_each_name_is_that_of_a_module(name):
    importlib.import_module(name.removesuffix("."))


def test_the_sdks_queue_is_among_them():
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    processor = BatchSpanProcessor(InMemorySpanExporter())
    assert type(getattr(processor, "_batch_processor", processor)).__module__.startswith(signals._LOCKING)
    processor.shutdown()


def test_code_of_ours_may_hold_a_lock():
    look = Looking()
    breaker = CircuitBreaker(failure_threshold=1)
    breaker.add_listener(look)
    breaker.failure(breaker.try_acquire())
    ledger = SpanLedger()
    ledger.dropped = look
    exporter = StoreForwardExporter(buffer=None, sender=None, ledger=ledger)
    exporter.shutdown()
    exporter.export([])
    PrestartedThread("test").run(look, 5)

    assert look.found == [True, True, True]


def test_a_wait_for_the_network_holds_none():
    look = Looking()
    transport = BoundedTransport(look, host="langfuse", breaker=CircuitBreaker())
    transport.handle_request(httpx.Request("GET", "http://langfuse/"))
    transport.handle_request(httpx.Request("GET", "http://elsewhere/"))

    assert look.found == [False, False]


def test_the_application_and_the_client_hold_none():
    look = Looking()
    look()
    client = object.__new__(GuardedLangfuse)
    client._resources, client._breaker = None, None
    with pytest.raises(ValueError, match="valid string"):
        client.get_prompt("p", fallback=type("Fallback", (), {"__bool__": lambda _: look() or True})())

    assert look.found == [False, False]


def test_modules_that_are_handed_in(monkeypatch):
    seen = []
    monkeypatch.setattr(signals, "holds_a_lock", lambda frame, locking: seen.append(locking) or True)
    handlers = signals.Signals(shut_down=None, start_flushing=None, locking=(singleton.__name__, installation.__name__))
    monkeypatch.setattr(threading, "Timer", lambda *_: threading.Thread())
    handlers._handle(15, None)

    assert set(seen[0]) == {*signals._LOCKING, singleton.__name__, installation.__name__}
