"""The observations of processes as a source: what arrives late, and how the test hears of it."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_langfuse.process.ledger_reader import LedgerReader
from pytest_langfuse.process.process_source import ProcessSource
from pytest_langfuse.process.received_exports import ReceivedExports
from pytest_langfuse.process.stand_in_view import StandInView
from pytest_langfuse.standin.received_export import ReceivedExport

IDS = ("a" * 32, "b" * 16)
SPAN = {"traceId": IDS[0], "spanId": IDS[1], "name": "s", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
BODY = json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "x"}, "spans": [SPAN]}]}]}).encode()


@pytest.fixture
def source_with(tmp_path: Path) -> Callable[[ReceivedExports, Callable[[], object]], ProcessSource]:
    """A function that makes the source of one process, whose ledger has one span that ended."""
    lines = [["interpreter", 1], ["started", *IDS, None, 1, 1, 1, "s"], ["taken", *IDS, 2, "s", {}]]
    (tmp_path / "7").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    app = SimpleNamespace(label="app", base_path="/process-1", ledger=LedgerReader(tmp_path), why_lost="lost")

    def source(received: ReceivedExports, settle: Callable[[], object]) -> ProcessSource:
        view = StandInView(received, settle=settle, wait=lambda _timeout: None, scores=list)
        return ProcessSource(view, lambda: [app], everything=False)

    return source


def test_what_is_on_its_way_is_not_lost(source_with):
    received = ReceivedExports(lambda: None)
    source = source_with(received, lambda: received.add(ReceivedExport("/process-1", BODY, is_json=True)))

    assert source.undelivered() == []
    assert [observation.name for observation in source.observations()] == ["s"]


def test_what_another_process_sent_is_not_shown(source_with):
    received = ReceivedExports(lambda: None)
    source = source_with(received, lambda: None)
    received.add(ReceivedExport("/process-2", BODY, is_json=True))

    assert source.observations() == []


def test_what_never_arrives_is_lost(source_with):
    source = source_with(ReceivedExports(lambda: None), lambda: None)

    assert [(item.observation.name, item.detail) for item in source.undelivered()] == [("s", "lost")]


def test_each_export_is_announced():
    counts = []
    received = ReceivedExports(lambda: counts.append(len(received)))
    received.add(ReceivedExport("/process-1", BODY, is_json=True))
    received.add(ReceivedExport("/process-1", BODY, is_json=True))

    assert counts == [1, 2]
    assert received.span_keys() == {IDS}
