"""A ledger that can fail: a loss that is planted in any stage shows, and without one nothing is missing."""

import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import pipeline as pipeline_module
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from pytest_langfuse.tracing.delivery import settlement as settlement_module
from pytest_langfuse.tracing.delivery.buffer import BatchQueue, MemoryBuffer
from pytest_langfuse.tracing.delivery.decided_traces import DecidedTraces
from pytest_langfuse.tracing.delivery.exporter import StoreForwardExporter
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.settlement import Settlement
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.spool_files import SpoolFile
from pytest_langfuse.tracing.langfuse_internals import SpanQueue
from tests.helpers.loopback_langfuse import Reply
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.usefixtures("fresh", "_impatient")


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(route_module, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(sender_module, "_LOOK_AGAIN", 0.01)


def pipeline():
    return singleton_module.singleton.installation.pipeline


def observe(client, count, **values):
    for number in range(count):
        client.start_observation(name=f"s{number}", **values).end()


# -- losses that are planted -----------------------------------------------------------------------------------


class Once:
    """Replaces a method by one that loses something, the first time."""

    NOT_YET = object()

    def __init__(self, monkeypatch, owner, name, lossy):
        original = getattr(owner, name)
        self.done = False

        def method(*args, **kwargs):
            if self.done:
                return original(*args, **kwargs)
            answer = lossy(original, *args, **kwargs)
            self.done = answer is not self.NOT_YET
            return answer if self.done else original(*args, **kwargs)

        monkeypatch.setattr(owner, name, method)


def nothing(original, *args, **kwargs):
    return None


def queue_does_not_add(original, queue, span):
    queue._watcher.came(span)


def dropped_forgets(original, ledger, reason, spans=1):
    return None if spans else Once.NOT_YET


def export_forgets(original, exporter, spans):
    return original(exporter, spans[1:])


def put_forgets(original, buffer, body, moved=None):
    moved()
    return 0


def queue_of_batches_forgets(original, queue, batches=()):
    pass


def take_forgets(original, buffer, *args, moved, **kwargs):
    return original(buffer, *args, moved=lambda batches: moved([]), **kwargs)


def settle_forgets(original, settlement, batches, outcome):
    batches.clear()


def settle_twice(original, settlement, batches, outcome):
    again = list(batches)
    original(settlement, batches, outcome)
    original(settlement, again, outcome)


def give_back_forgets(original, settlement, batches, **kwargs):
    batches.clear()


def halves_forget(original, body):
    return original(body)[:1]


LOSSES = {
    "the SDK's queue": (SpanQueue, "appendleft", queue_does_not_add, {}),
    "on the way to an export": (pipeline_module._Transformations, "export", nothing, {}),
    "the exporter": (StoreForwardExporter, "export", export_forgets, {}),
    "the buffer does not keep it": (MemoryBuffer, "put", put_forgets, {}),
    "the buffer's queue": (BatchQueue, "add", queue_of_batches_forgets, {}),
    "on the way to the sender": (MemoryBuffer, "take", take_forgets, {}),
    "a confirmed body": (Settlement, "settle", settle_forgets, {}),
    "a body counted twice": (Settlement, "settle", settle_twice, {}),
    "a failed body": (Settlement, "_give_back", give_back_forgets, {"first": Reply(401)}),
    "a body that is split": (settlement_module, "halves", halves_forget, {"first": Reply(413)}),
    "exported is not counted": (SpanLedger, "exported", nothing, {}),
    "a drop is not counted": (SpanLedger, "dropped", dropped_forgets, {"first": Reply(400), "only": True}),
    "the sampler forgets a span": (DecidedTraces, "keep", lambda original, way, spans, size: None, {"trace": True}),
    "the sampler forgets to count a drop": (SpanLedger, "dropped", dropped_forgets, {"sample_rate": 0.0}),
    "the entrance": (Intake, "end", nothing, {"trace": True}),
    "the spool does not write": (SpoolFile, "write", nothing, {"spool": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_planted_shows(collector, keys, monkeypatch, tmp_path, lines, name):
    owner, method, lossy, options = LOSSES[name]
    settings = {"flush_at": 512, "flush_interval": 60, "sample_rate": options.get("sample_rate", 1.0)}
    if "spool" in options:
        settings["spool_path"] = tmp_path / "spool"
    if "trace" in options:
        settings["sample_rate"] = 0.0
    first = [options.get("first", Reply())]
    collector.reply = lambda seen: first[0] if "only" in options else first.pop() if first else Reply()
    client = init_tracing(**keys, **settings, breaker_failure_threshold=1000)
    loss = Once(monkeypatch, owner, method, lossy)
    if "trace" in options:
        with client.start_as_current_observation(name="root", level="ERROR"):
            observe(client, 3)
    else:
        observe(client, 4)
    client.flush()
    report = shutdown_tracing(timeout=2)
    health = tracing_health()

    assert loss.done
    lost = health.unaccounted != 0 or set(health.dropped) & {"mask_failed", "shutdown", "spool_damaged"}
    assert lost, health
    assert health.ended == health.exported + health.buffered + sum(health.dropped.values()) + health.unaccounted
    assert not report.timed_out or name == "on the way to the sender"
    if health.unaccounted:
        assert f"{health.unaccounted} spans are unaccounted for" in "\n".join(lines())


@pytest.mark.parametrize("options", [{}, {"trace": True}, {"sample_rate": 0.0}, {"spool": True}])
def test_without_one_nothing_is_missing(collector, keys, tmp_path, lines, options):
    settings = {"flush_at": 512, "flush_interval": 60, "sample_rate": 0.0 if options else 1.0}
    if "spool" in options:
        settings |= {"spool_path": tmp_path / "spool", "sample_rate": 1.0}
    client = init_tracing(**keys, **settings)
    with client.start_as_current_observation(name="root", **({"level": "ERROR"} if "trace" in options else {})):
        observe(client, 3)
    client.flush()
    shutdown_tracing(timeout=2)
    health = tracing_health()

    assert (health.ended, health.unaccounted, health.buffered) == (4, 0, 0)
    assert not [line for line in lines() if "dropped" in line or "unaccounted" in line]


# -- each kind of span ---------------------------------------------------------------------------------------------


def test_what_is_held_is_counted_where_it_is(collector, keys):
    """In the sampler, in the SDK's queue, in an export, in a request and in the buffer, at once."""
    gate, in_export, release = threading.Event(), threading.Event(), threading.Event()
    collector.reply = lambda seen: Reply() if gate.wait(30) else Reply(503)
    client = init_tracing(**keys, flush_at=2, flush_interval=3600, sample_rate=0.0, timeout=60)
    undecided = client.start_observation(name="undecided")
    undecided.start_observation(name="held").end()
    assert tracing_health().buffered == 1
    observe(client, 2, level="ERROR")
    collector.wait_for(lambda: collector.requests or pipeline().sender._in_flight)
    observe(client, 2, level="ERROR")
    collector.wait_for(lambda: pipeline().buffer.counts()[0] == 4)
    export = pipeline().exporter.export

    def slow(spans):
        in_export.set()
        release.wait(30)
        return export(spans)

    pipeline().exporter.export = slow
    observe(client, 2, level="ERROR")
    assert in_export.wait(30)
    observe(client, 1, level="ERROR")
    health = tracing_health()
    assert (health.ended, health.buffered, health.exported, health.unaccounted) == (8, 8, 0, 0)
    release.set()
    gate.set()
    undecided.end()
    report = shutdown_tracing(timeout=30)

    assert (report.exported, report.buffered, report.dropped) == (7, 0, {"sampled_out": 2})
    assert tracing_health().unaccounted == 0


@pytest.mark.parametrize("rate", [1.0, 0.0])
def test_a_filter_that_raises(collector, keys, rate, lines):
    def wanted(span):
        if span.name == "s1":
            raise KeyError("its own fault")
        return True

    client = init_tracing(**keys, sample_rate=rate, should_export_span=wanted)
    observe(client, 3)
    client.flush()
    report = shutdown_tracing()
    health = tracing_health()

    assert health.dropped == ({"filter_failed": 1} if rate else {"filter_failed": 1, "sampled_out": 2})
    assert (health.ended, health.unaccounted, report.exported) == (3, 0, 2 if rate else 0)
    assert "1 span dropped (filter_failed): the application's should_export_span failed." in lines()


def test_the_filter_is_asked_once_at_the_end_of_a_span(collector, keys):
    asked = []

    def wanted(span):
        if span.end_time is not None:
            asked.append(span.name)
        return span.name != "unwanted"

    client = init_tracing(**keys, sample_rate=0.0, should_export_span=wanted)
    with client.start_as_current_observation(name="root"):
        client.start_observation(name="unwanted").end()
        client.start_observation(name="bad", level="ERROR").end()
    with client.start_as_current_observation(name="dropped"):
        pass
    shutdown_tracing()

    assert sorted(asked) == ["bad", "dropped", "root", "unwanted"]
    assert sorted(collector.accepted) == ["bad", "root"]
    assert tracing_health().dropped == {"sampled_out": 1}


def test_after_the_application_shut_its_provider_down(collector, keys):
    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    client = init_tracing(**keys, sample_rate=0.5)
    observe(client, 2, level="ERROR")
    held = client.start_observation(name="held")
    held.start_observation(name="child").end()
    provider.shutdown()
    health = tracing_health()
    assert (health.enabled, health.healthy) == (False, False)
    assert health.reason == "the application shut its tracer provider down"
    observe(client, 3, level="ERROR")
    held.end()
    provider.get_tracer("fastapi").start_span("not for Langfuse").end()
    report = shutdown_tracing()
    health = tracing_health()

    assert report.exported + report.dropped.get("sampled_out", 0) + report.dropped["after_shutdown"] == 7
    assert report.dropped["after_shutdown"] >= 3
    assert (health.ended, health.unaccounted) == (7, 0)


def test_foreign_spans_that_langfuse_never_gets_are_not_sampled_out(collector, keys):
    client = init_tracing(**keys, sample_rate=0.0)
    tracer = pipeline().provider.provider.get_tracer("opentelemetry.instrumentation.fastapi")
    with tracer.start_as_current_span("GET /"):
        tracer.start_span("send").end()
        client.start_observation(name="answer").end()
        assert tracing_health().buffered == 1
    health = tracing_health()
    assert (health.ended, health.dropped) == (1, {"sampled_out": 1})

    with tracer.start_as_current_span("GET /") as server:
        client.start_observation(name="kept").end()
        server.set_status(trace.StatusCode.ERROR)
    client.flush()
    health = tracing_health()
    assert collector.accepted == ["kept"]
    assert (health.ended, health.exported, health.unaccounted) == (2, 1, 0)


def test_random_seed_of_the_application_makes_no_equal_ids_and_stays_undisturbed(collector, keys):
    client = init_tracing(**keys)
    made = []
    for _ in range(3):
        random.seed(1)
        first = random.random()
        made.append(client.start_observation(name="x"))
        made[-1].end()
        assert (first, random.random()) == (0.13436424411240122, 0.8474337369372327)
    assert len({one.id for one in made}) == len({one.trace_id for one in made}) == 3


def test_two_spans_of_one_id_are_two(collector, keys, monkeypatch):
    client = init_tracing(**keys)
    monkeypatch.setattr(client._otel_tracer.id_generator, "generate_span_id", lambda: 7)
    observe(client, 2)
    client.flush()
    health = tracing_health()

    assert (health.ended, health.exported, health.unaccounted) == (2, 2, 0)


@pytest.mark.slow
def test_a_hundred_threads_and_a_reader(collector, keys):
    """`ended == …` at every instant, with nothing unaccounted, while all stages hand over."""
    count = [0]

    def flap(seen):
        count[0] += 1
        return Reply(503) if count[0] % 3 == 0 else Reply(413) if count[0] % 7 == 0 else Reply()

    collector.reply = flap
    client = init_tracing(**keys, flush_at=7, sample_rate=0.5, breaker_failure_threshold=1000, max_buffer_spans=300)
    stop, wrong, looks = threading.Event(), [], [0]

    def watch():
        while not stop.is_set():
            health = tracing_health()
            looks[0] += 1
            if health.unaccounted or min(health.buffered, health.exported, health.ended) < 0:
                wrong.append(health)

    def work():
        for number in range(20):
            with client.start_as_current_observation(name="root", level="ERROR" if number % 2 else "DEFAULT"):
                client.start_observation(name="child").end()

    watcher = threading.Thread(target=watch)
    watcher.start()
    threads = [threading.Thread(target=work) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collector.reply = Reply()
    report = shutdown_tracing(timeout=30)
    stop.set()
    watcher.join()

    assert wrong == []
    assert looks[0] > 10
    assert tracing_health().ended == 4000 == report.exported + sum(report.dropped.values())


# -- what is said ----------------------------------------------------------------------------------------------


def test_an_outage_that_never_opened_the_breaker_ends_with_a_line(collector, keys, lines):
    collector.reply = Reply(503, b"busy", "text/plain")
    client = init_tracing(**keys, breaker_failure_threshold=1000)
    observe(client, 1)
    collector.wait_for(lambda: len(collector.exports) > 2)
    collector.reply = Reply()
    collector.wait_for(lambda: tracing_health().exported == 1)
    observe(client, 1)
    client.flush()

    assert lines() == [
        "Spans can't be sent to Langfuse (http_503), they are kept: busy",
        "Langfuse is reachable again: sending the buffered spans.",
    ]


def test_a_new_kind_of_failure_is_said_at_once(collector, keys, lines):
    client = init_tracing(**keys, breaker_failure_threshold=1000)
    for reply in (Reply(503), Reply(), Reply(401, b"no such key", "text/plain"), Reply(), Reply(503)):
        collector.reply = reply
        observe(client, 1)
        tries = len(collector.exports)
        collector.wait_for(lambda tries=tries: len(collector.exports) > tries + 1 or not tracing_health().buffered)
    collector.reply = Reply()
    collector.wait_for(lambda: tracing_health().exported == 5)

    assert lines() == [
        "Spans can't be sent to Langfuse (http_503), they are kept",
        "Langfuse is reachable again: sending the buffered spans.",
        "Spans can't be sent to Langfuse (http_401), they are kept: no such key",
        "Langfuse is reachable again: sending the buffered spans.",
    ]


def test_each_reason_has_one_row_in_the_documentation():
    folder = ROOT / "pytest_langfuse" / "tracing"
    source = "\n".join(path.read_text() for path in folder.rglob("*.py"))
    used = set(re.findall(r'drop(?:ped)?\((?:\w+, )*"(\w+)"', source))
    text = (ROOT / "docs" / "tracing.md").read_text().partition("The reasons in `dropped`:\n\n")[2]
    cells = [line.split(" | ")[0] for line in text.partition("\n\n")[0].splitlines()]
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell) if not name.startswith("http_")]
    assert sorted(documented) == sorted(used)


def test_what_a_full_buffer_drops_is_said_with_count_and_reason(collector, keys, lines):
    collector.reply = Reply(503)
    client = init_tracing(**keys, max_buffer_spans=10, flush_at=10, flush_interval=3600, breaker_failure_threshold=1)
    observe(client, 10)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    for _ in range(3):
        observe(client, 10)
        pipeline()._head.force_flush()
    shutdown_tracing()
    dropped = tracing_health().dropped["buffer_full"]

    said = [line for line in lines() if "buffer_full" in line]
    assert sum(int(line.split()[0]) for line in said) == dropped == 30
    assert said[0].endswith("dropped (buffer_full): the buffer was full, see max_buffer_spans and max_buffer_bytes.")
    assert len(said) <= 2


def test_what_a_shutdown_drops_is_said_with_count_and_reason(collector, keys, lines):
    collector.reply = Reply(503, b"busy", "text/plain")
    client = init_tracing(**keys, breaker_failure_threshold=1)
    observe(client, 5)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    report = shutdown_tracing(timeout=2)

    assert report.dropped == {"shutdown": 5}
    (line,) = [line for line in lines() if "did not accept all" in line]
    assert line.endswith("s: 5 are dropped (shutdown). The last failure: http_503: busy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "earlier"),
    [
        (Reply(hang=True), []),
        (Reply(drip=0.05), []),
        (Reply(hang=True), ["Spans can't be sent to Langfuse (http_503), they are kept: busy"]),
    ],
    ids=["hang", "drip", "hang after a failure"],
)
@pytest.mark.parametrize("threshold", [1, 1000])
def test_an_end_without_an_answer_says_so_and_nothing_after_it(collector, keys, lines, reply, earlier, threshold):
    """The connection is cut at the deadline: that is no failure of Langfuse's."""
    client = init_tracing(**keys, flush_interval=60, flush_at=512, breaker_failure_threshold=threshold + len(earlier))
    answers = [Reply(503, b"busy", "text/plain") for _ in earlier]
    collector.reply = lambda _: answers.pop() if answers else reply
    observe(client, 5)
    sender = pipeline().sender
    report = shutdown_tracing(timeout=0.5)
    sender.join(10)

    assert not sender.alive
    assert report.dropped == {"shutdown": 5}
    *before, line = lines()
    assert before == earlier
    said = re.fullmatch(
        r"Langfuse did not accept all spans within (\d\.\d) s: 5 are dropped \(shutdown\)\. "
        r"The last failure: no complete answer within (\d\.\d) s",
        line,
    )
    assert said is not None, line
    assert 0 < float(said[2]) <= float(said[1])
    assert tracing_health().last_error == line.partition("failure: ")[2]
    assert tracing_health().breaker == "closed"


def test_a_breaker_that_opens_at_the_end_promises_no_next_attempt(collector, keys, lines):
    collector.reply = Reply(503, b"busy", "text/plain")
    client = init_tracing(**keys, flush_interval=60, flush_at=512, breaker_failure_threshold=1)
    observe(client, 5)
    assert shutdown_tracing(timeout=5).dropped == {"shutdown": 5}
    first, last = lines()
    assert first == "Spans can't be sent to Langfuse (http_503), they are kept: busy"
    assert last.endswith("5 are dropped (shutdown). The last failure: http_503: busy")


def test_what_a_shutdown_leaves_in_the_spool_is_said(collector, keys, lines, tmp_path):
    collector.reply = Reply(503)
    client = init_tracing(**keys, breaker_failure_threshold=1, spool_path=tmp_path / "s")
    observe(client, 5)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    assert shutdown_tracing(timeout=2).buffered == 5
    (line,) = [line for line in lines() if "did not accept all" in line]
    assert line.endswith("s: 5 are in the spool for the next start. The last failure: http_503")


SERVERLESS = """
import os, signal, sys, time
from pytest_langfuse.tracing import init_tracing
client = init_tracing(serverless=True, spool_path="spool", flush_at=500, flush_interval=600.0, timeout=0.5)
outer = client.start_observation(name="invocation")
outer.start_observation(name="step").end()
print("ended", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_frozen_process_that_is_killed_has_each_span_in_the_spool(collector, keys, tmp_path):
    """The invocation is still under way: its step was written when it ended, long before anything is sent by itself."""
    variables = {f"LANGFUSE_{name.upper()}": value for name, value in keys.items()}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVERLESS],
        env={**variables, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ended\n"

    def written():
        # Only its process may open it.
        for name in ("spool", "spool-wal"):
            if (tmp_path / name).exists():
                shutil.copy(tmp_path / name, tmp_path / f"copy-of-{name}")
        reader = sqlite3.connect(tmp_path / "copy-of-spool")
        try:
            return reader.execute("SELECT COUNT(*) FROM batches").fetchone()[0] or collector.accepted
        except sqlite3.Error:
            return 0
        finally:
            reader.close()

    collector.wait_for(written)
    process.kill()
    process.communicate()
    init_tracing(**keys, spool_path=tmp_path / "spool")
    collector.wait_for(lambda: "step" in collector.accepted)
