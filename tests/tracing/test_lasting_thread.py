"""Threads that go on whatever is raised in them."""

import ast
from pathlib import Path

import pytest

import pytest_langfuse.tracing
from pytest_langfuse.tracing import lasting_thread as lasting_module
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.lasting_thread import lasting_thread

#: Threads that do one thing and end, and threads that catch what is raised themselves.
OTHERS = {
    "langfuse-forward-close",
    "langfuse-forward-progress",
    "langfuse-kafka-end",
    "langfuse-tracing-dns",
    "langfuse-tracing-flush",
    "langfuse-tracing-retire",
    "langfuse-tracing-sampler",
    "self._name",
}


def test_what_is_raised_is_counted_and_the_work_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(lasting_module, "_PAUSE", 0.0)
    results = [ValueError("first"), KeyError("second"), None]

    def work():
        if (error := results.pop(0)) is not None:
            raise error

    before = failures.total
    thread = lasting_thread(work, name="x", doing="working")
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert thread.daemon
    assert failures.total == before + 2
    assert results == []
    assert "working" in caplog.text


def test_every_thread_of_tracing_is_a_lasting_one_or_known_to_end():
    found = set()
    for path in Path(pytest_langfuse.tracing.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "threading.Thread":
                named = {keyword.arg: keyword.value for keyword in node.keywords}.get("name")
                found.add(named.value if isinstance(named, ast.Constant) else ast.unparse(named))
    assert found - {"name"} == OTHERS


@pytest.mark.parametrize("thread", ["langfuse-tracing-sqs-watch", "langfuse-tracing-sqs"])
def test_the_threads_of_sqs_survive_a_confirmation_that_raises(monkeypatch, thread):
    """The sender's own does not, but nobody else would watch over requests."""
    import threading

    from pytest_langfuse.tracing.delivery.export_body import ExportBody
    from pytest_langfuse.tracing.queue.sqs_sink import SqsSink

    pytest.importorskip("botocore")
    monkeypatch.setattr(lasting_module, "_PAUSE", 0.0)
    sink = SqsSink("http://127.0.0.1:1/1/q", public_key="pk", timeout=1.0)
    confirmed = threading.Event()

    def fail(_):
        confirmed.set()
        raise RuntimeError("by surprise")

    try:
        for _ in range(2):
            confirmed.clear()
            sink.send([ExportBody(b"x", 1)], fail)
            assert confirmed.wait(20)
        assert thread in {one.name for one in threading.enumerate()}
    finally:
        sink.close(1)
