"""What the pipeline does with each answer that Langfuse, or something in its place, can give. Real sockets."""

import email.utils
import inspect
import math
import threading
import time

import httpx
import pytest
from langfuse import Langfuse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing import singleton as singleton_module
from pytest_langfuse.tracing.delivery import route as route_module
from pytest_langfuse.tracing.delivery import sender as sender_module
from pytest_langfuse.tracing.delivery import settlement as settlement_module
from pytest_langfuse.tracing.delivery.export_body import LARGEST_BODY
from pytest_langfuse.tracing.delivery.http_sink import judge
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON
from tests.helpers.loopback_langfuse import TRACES, Reply

pytestmark = pytest.mark.usefixtures("fresh", "_impatient")


@pytest.fixture
def _impatient(monkeypatch):
    """Pauses between tries in milliseconds: what is tested is how often, not how long."""
    monkeypatch.setattr(route_module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(route_module, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(route_module, "_LAST_PAUSE", 0.001)
    monkeypatch.setattr(sender_module, "_LOOK_AGAIN", 0.01)


def pipeline():
    return singleton_module.singleton.installation.pipeline


def observe(client, count, *, prefix="s", **values):
    for number in range(count):
        with client.start_as_current_observation(name=f"{prefix}{number}", **values):
            pass


def names(count, prefix="s"):
    return [f"{prefix}{number}" for number in range(count)]


def push(client):
    """Move what has ended from the SDK's queue to the buffer, without waiting for delivery."""
    pipeline()._head.force_flush()


def balanced(health):
    assert health.unaccounted == 0, health
    return health.ended == health.exported + health.buffered + sum(health.dropped.values())


# -- what an answer means --------------------------------------------------------------------------------------


def partial(rejected, message=""):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return answer.SerializeToString()


PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json; charset=utf-8"}
HTML = {"content-type": "text/html"}
ANSWERS = [
    (httpx.Response(200, headers=PROTOBUF), Outcome(Verdict.ACCEPTED)),
    (httpx.Response(202, headers=JSON), Outcome(Verdict.ACCEPTED)),
    (httpx.Response(200), Outcome(Verdict.ACCEPTED)),
    (httpx.Response(200, headers=JSON, content=b"{}"), Outcome(Verdict.ACCEPTED)),
    (httpx.Response(200, headers=JSON, content=b'{"message": "OK"}'), Outcome(Verdict.ACCEPTED)),
    (
        httpx.Response(200, headers=PROTOBUF, content=partial(3, "too old")),
        Outcome(Verdict.ACCEPTED, rejected=3, detail="too old"),
    ),
    (
        httpx.Response(200, headers=JSON, content=b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}}'),
        Outcome(Verdict.ACCEPTED, rejected=2, detail="no"),
    ),
    (httpx.Response(200, headers=HTML), Outcome(Verdict.FAILED, "not_otlp")),
    (
        httpx.Response(200, headers=HTML, content=b"<html>log in"),
        Outcome(Verdict.FAILED, "not_otlp", detail="<html>log in"),
    ),
    (httpx.Response(200, headers=JSON, content=b"[1]"), Outcome(Verdict.FAILED, "not_otlp", detail="[1]")),
    (httpx.Response(200, headers=JSON, content=b"{"), Outcome(Verdict.FAILED, "not_otlp", detail="{")),
    (httpx.Response(200, headers=PROTOBUF, content=b"\xff"), Outcome(Verdict.FAILED, "not_otlp", detail="\ufffd")),
    (httpx.Response(200, content=b"hello"), Outcome(Verdict.FAILED, "not_otlp", detail="hello")),
    (httpx.Response(413), Outcome(Verdict.TOO_LARGE, "http_413")),
    *[(httpx.Response(status), Outcome(Verdict.REFUSED, f"http_{status}")) for status in (400, 415, 422)],
    *[
        (httpx.Response(status), Outcome(Verdict.FAILED, f"http_{status}"))
        for status in (301, 302, 307, 308, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504)
    ],
    (
        httpx.Response(429, headers={"retry-after": "7"}),
        Outcome(Verdict.FAILED, "http_429", retry_after=7.0),
    ),
]


@pytest.mark.parametrize(("response", "outcome"), ANSWERS, ids=lambda value: getattr(value, "status_code", None))
def test_what_each_answer_means(response, outcome):
    assert judge(response) == outcome


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0), ("1.5", 1.5), ("-3", 0), ("999999", 999999), ("soon", None), ("nan", None), ("", None),
     ("inf", math.inf), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)  # fmt: skip
def test_retry_after_in_both_forms(value, seconds):
    assert judge(httpx.Response(503, headers={"retry-after": value})).retry_after == seconds


def test_retry_after_as_a_date():
    value = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < judge(httpx.Response(503, headers={"retry-after": value})).retry_after <= 100


# -- on the wire -----------------------------------------------------------------------------------------------


def test_bodies_are_compressed_and_connections_kept(collector, keys):
    client = init_tracing(**keys)
    for number in range(5):
        observe(client, 1, prefix=f"{number}-")
        client.flush()
    sent = collector.exports

    assert len(sent) == 5
    assert {seen.headers["content-encoding"] for seen in sent} == {"gzip"}
    assert len({seen.port for seen in sent}) == 1


def test_flush_waits_until_langfuse_has_it(collector, keys):
    collector.reply = Reply(delay=0.1)
    client = init_tracing(**keys)
    observe(client, 20)
    client.flush()

    assert sorted(collector.accepted) == sorted(names(20))
    assert tracing_health().exported == 20


def test_what_waits_goes_in_one_request(collector, keys):
    gate = threading.Event()

    def wait(seen):
        gate.wait(10)
        return Reply()

    collector.reply = wait
    client = init_tracing(**keys, flush_at=1)
    observe(client, 50)
    push(client)
    gate.set()
    client.flush()

    assert sorted(collector.accepted) == sorted(names(50))
    assert len(collector.exports) <= 3


def test_a_large_batch_is_split_below_the_limit(collector, keys):
    client = init_tracing(**keys, flush_at=100, flush_interval=60)
    observe(client, 20, input="x" * 400_000)
    shutdown_tracing()

    assert sorted(collector.accepted) == sorted(names(20))
    assert all(len(seen.body) <= LARGEST_BODY for seen in collector.exports)


def test_one_giant_does_not_take_the_others_with_it(collector, keys):
    collector.reply = lambda seen: Reply(413) if len(seen.body) > 2_000_000 else Reply()
    client = init_tracing(**keys, flush_at=100, flush_interval=60)
    observe(client, 10)
    observe(client, 1, prefix="giant", input="x" * 5_000_000)
    observe(client, 10, prefix="t")
    report = shutdown_tracing()

    assert sorted(collector.accepted) == sorted(names(10) + names(10, "t"))
    assert (report.exported, report.dropped) == (20, {"http_413": 1})


@pytest.mark.slow
def test_a_413_halves_until_it_fits_and_is_learned_from(collector, keys):
    collector.reply = lambda seen: Reply(413) if len(seen.body) > 8_000 else Reply()
    client = init_tracing(**keys, flush_at=64, flush_interval=60)
    observe(client, 64)
    client.flush()
    assert sorted(collector.accepted) == sorted(names(64))
    before = len(collector.exports)
    observe(client, 8)
    client.flush()

    assert len(collector.exports) - before <= 2
    assert shutdown_tracing().exported == 72


def test_a_refused_batch_is_dropped_alone_and_counted(collector, keys, lines):
    gate = threading.Event()

    def refuse_the_poison(seen):
        gate.wait(10)
        return Reply(400, b"bad span") if "poison0" in seen.spans else Reply()

    collector.reply = refuse_the_poison
    client = init_tracing(**keys, flush_at=1)
    observe(client, 10)
    observe(client, 1, prefix="poison")
    observe(client, 10, prefix="t")
    push(client)
    gate.set()
    report = shutdown_tracing()

    assert sorted(collector.accepted) == sorted(names(10) + names(10, "t"))
    assert (report.exported, report.dropped) == (20, {"http_400": 1})
    assert "Langfuse refused 1 span (http_400): bad span" in lines()


def test_partly_rejected(collector, keys, lines):
    collector.reply = Reply(body=partial(2, "too old"))
    client = init_tracing(**keys, flush_at=5, flush_interval=60)
    observe(client, 5)
    report = shutdown_tracing()

    assert (report.exported, report.dropped) == (3, {"rejected": 2})
    assert "Langfuse took 3 of 5 spans: too old" in lines()


def test_more_rejected_than_sent(collector, keys):
    collector.reply = Reply(body=partial(99))
    client = init_tracing(**keys)
    observe(client, 1)
    report = shutdown_tracing()

    assert (report.exported, report.dropped) == (0, {"rejected": 1})


FAILURES = {
    **{str(status): Reply(status) for status in (301, 302, 401, 403, 404, 429, 500, 502, 503, 504)},
    "redirect": Reply(307, headers={"location": "http://127.0.0.1:9/elsewhere"}),
    "portal": Reply(200, b"<html>Welcome to the hotel</html>", "text/html"),
    "garbage": Reply(200, b"\x00\xff\x13", "application/x-protobuf"),
    "reset": Reply(reset=True),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_keeps_the_spans_and_recovery_delivers_each_once(collector, keys, failure, lines):
    collector.reply = FAILURES[failure]
    client = init_tracing(**keys, breaker_failure_threshold=1000)
    observe(client, 5)
    collector.wait_for(lambda: len(collector.exports) >= 3)
    health = tracing_health()
    assert (health.ended, health.exported, health.buffered, health.dropped) == (5, 0, 5, {})
    assert not health.healthy
    accepted_by_the_portal = len(collector.accepted)
    collector.reply = Reply()
    # Not by `flush()`: it does not wait while Langfuse is known to fail.
    collector.wait_for(lambda: tracing_health().exported == 5)
    # The breaker hears of it after the ledger.
    collector.wait_for(lambda: tracing_health().healthy)

    assert sorted(collector.accepted[accepted_by_the_portal:]) == names(5)
    health = tracing_health()
    assert (health.exported, health.buffered, health.healthy) == (5, 0, True)
    assert len([line for line in lines() if "are kept" in line]) == 1


def test_nothing_is_followed_to_where_a_redirect_points(collector, keys):
    collector.reply = lambda seen: Reply(302, headers={"location": f"{collector.url}/login"})
    client = init_tracing(**keys)
    observe(client, 1)
    collector.wait_for(lambda: len(collector.exports) >= 2)

    assert {seen.path for seen in collector.requests} == {TRACES}


def test_retry_after_is_honoured(collector, keys):
    collector.reply = Reply(429, headers={"retry-after": "3600"})
    client = init_tracing(**keys)
    observe(client, 3)
    collector.wait_for(lambda: tracing_health().healthy is False)
    time.sleep(0.1)  # a hundred of the shortened pauses

    assert len(collector.exports) == 1
    report = shutdown_tracing(timeout=5)
    assert len(collector.exports) == 1
    assert report.dropped == {"shutdown": 3}
    assert not report.timed_out


def test_a_batch_that_the_server_can_not_digest_does_not_stop_the_others(collector, keys, monkeypatch):
    monkeypatch.setattr(settlement_module, "_HOPELESS", 5)
    collector.reply = lambda seen: Reply(500) if "poison0" in seen.spans else Reply()
    client = init_tracing(**keys, breaker_failure_threshold=1000)
    observe(client, 1, prefix="poison")
    collector.wait_for(lambda: collector.exports)
    for number in range(20):
        observe(client, 1, prefix=f"{number}-")
    collector.wait_for(lambda: len(collector.accepted) == 20)
    report = shutdown_tracing()

    assert report.exported == 20
    assert report.dropped in ({"http_500": 1}, {"shutdown": 1})


def test_the_breaker_opens_stops_all_requests_and_heals(collector, keys, monkeypatch, lines):
    clock = [1000.0]
    collector.reply = Reply(503)
    client = init_tracing(**keys, breaker_failure_threshold=3)
    pipeline().breaker._clock = lambda: clock[0]
    observe(client, 5)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    tries = len(collector.exports)
    assert tries == 3
    observe(client, 5, prefix="t")
    client.flush()
    time.sleep(0.05)
    assert len(collector.exports) == tries
    health = tracing_health()
    assert (health.buffered, health.healthy) == (10, False)

    clock[0] += 299
    time.sleep(0.05)
    assert len(collector.exports) == tries
    clock[0] += 1
    collector.wait_for(lambda: len(collector.exports) == tries + 1)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    collector.reply = Reply()
    clock[0] += 300
    collector.wait_for(lambda: tracing_health().exported == 10)

    assert tracing_health().breaker == "closed"
    assert sorted(collector.accepted) == sorted(names(5) + names(5, "t"))
    said = [line for line in lines() if "the next attempt is in" in line or "reachable again" in line]
    assert said == [
        "Langfuse failed 3 times in a row: the next attempt is in 300 s, spans are buffered meanwhile.",
        "Langfuse is reachable again: sending the buffered spans.",
    ]


def test_nothing_is_sent_at_shutdown_while_the_breaker_is_open(collector, keys):
    collector.reply = Reply(503)
    client = init_tracing(**keys, breaker_failure_threshold=1)
    observe(client, 5)
    collector.wait_for(lambda: tracing_health().breaker == "open")
    report = shutdown_tracing(timeout=30)

    assert len(collector.exports) == 1
    assert (report.dropped, report.timed_out) == ({"shutdown": 5}, False)


@pytest.mark.slow
def test_a_response_that_drips_is_cut_off(collector, keys):
    collector.reply = Reply(drip=0.02)
    client = init_tracing(**keys, timeout=0.1)
    observe(client, 1)
    # Each read gets its byte in time; the request as a whole does not end (70 bytes are 1.4 s).
    collector.wait_for(lambda: len(collector.exports) >= 2)

    assert not tracing_health().healthy


# -- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_outage_beyond_the_buffer_keeps_the_newest_and_counts_the_rest(collector, keys):
    collector.reply = Reply(503)
    client = init_tracing(**keys, max_buffer_spans=50, flush_at=10, breaker_failure_threshold=1)
    observe(client, 1, prefix="first")
    collector.wait_for(lambda: tracing_health().breaker == "open")
    observe(client, 200)
    push(client)
    health = tracing_health()
    assert (health.ended, health.buffered, sum(health.dropped.values())) == (201, 50, 151)
    assert set(health.dropped) <= {"buffer_full", "queue_full"}
    pipeline().breaker._opened_at = -1000.0
    collector.reply = Reply()
    report = shutdown_tracing()

    assert sorted(collector.accepted) == sorted(names(200)[150:])
    assert report.exported == 50


def test_what_the_sdks_own_queue_pushes_out_is_counted(collector, keys, monkeypatch):
    client = init_tracing(**keys, max_buffer_spans=20, flush_at=20, flush_interval=3600)
    gate, export = threading.Event(), pipeline().exporter.export
    # The thread that empties the queue is kept in an export.
    monkeypatch.setattr(pipeline().exporter, "export", lambda spans: gate.wait(30) and export(spans))
    observe(client, 100)
    health = tracing_health()
    assert health.ended == 100
    assert health.dropped.keys() == {"queue_full"}
    assert 60 <= health.dropped["queue_full"] <= 80  # 20 in the queue, and up to 20 on the way
    assert balanced(health)
    gate.set()
    report = shutdown_tracing()

    assert report.exported + sum(report.dropped.values()) == 100
    assert len(collector.accepted) == report.exported
    # The newest were in the queue. If the first are on their way still, the buffer may have no room for all of them.
    assert len(set(names(100)[80:]) - set(collector.accepted)) <= report.dropped.get("buffer_full", 0)


@pytest.mark.slow
def test_twenty_thousand_spans_in_a_tight_loop_to_a_healthy_server(collector, keys):
    client = init_tracing(**keys, flush_at=100)
    tracer = client._otel_tracer
    for _ in range(20_000):
        tracer.start_span("s").end()
    report = shutdown_tracing(timeout=60)

    assert (report.exported, report.dropped) == (20_000, {})
    assert len(collector.accepted) == 20_000


def test_a_span_that_can_not_be_encoded_is_counted_and_takes_none_with_it(collector, keys):
    client = init_tracing(**keys, flush_at=100, flush_interval=60)
    observe(client, 5)
    client._otel_tracer.start_span("before 1970", start_time=-1).end()
    observe(client, 5, prefix="t")
    report = shutdown_tracing()

    assert (report.exported, report.dropped) == (10, {"encode_failed": 1})


def test_what_the_protocol_has_no_form_for_arrives_in_another_form(collector, keys, lines):
    failures.forget()
    client = init_tracing(**keys, flush_at=100, flush_interval=60)
    for _ in range(3):
        client.start_observation(name="half \ud83d", output="cut \ud83d", metadata={"n": 1 << 64}).end()
    report = shutdown_tracing()

    assert (report.exported, report.dropped) == (3, {})
    assert set(collector.accepted) == {"half \N{REPLACEMENT CHARACTER}"}
    assert b"cut \xef\xbf\xbd" in collector.exports[0].body
    # Version 4 of the SDK hands over integers, version 5 makes them JSON.
    about = ["U+FFFD"] if METADATA_IS_JSON else ["U+FFFD", "Integers of more than 64 bits"]
    said = lines()
    assert len(said) == len(about)
    assert all(any(words in line for line in said) for words in about)


def test_a_mask_that_fails_is_counted(collector, keys):
    if "mask_otel_spans" not in inspect.signature(Langfuse).parameters:
        pytest.skip("this SDK has no such mask")

    def broken(*, params):
        raise RuntimeError("mask")

    client = init_tracing(**keys, mask_otel_spans=broken, flush_at=5, flush_interval=60)
    observe(client, 5)
    report = shutdown_tracing()

    assert (report.exported, report.dropped) == (0, {"mask_failed": 5})


def test_a_mask_and_a_filter_of_the_application_are_used(collector, keys):
    client = init_tracing(
        **keys, mask=lambda *, data, **_: "masked", should_export_span=lambda span: span.name != "private"
    )
    observe(client, 1, prefix="public", input="s3cret")
    with client.start_as_current_observation(name="private"):
        pass
    report = shutdown_tracing()

    assert collector.accepted == ["public0"]
    assert b"s3cret" not in collector.exports[0].body
    assert b"masked" in collector.exports[0].body
    assert report.exported == 1


# -- for a test harness ----------------------------------------------------------------------------------------


def test_settle_returns_when_all_was_tried(collector, keys):
    collector.reply = Reply(503)
    client = init_tracing(**keys, breaker_failure_threshold=1000)
    observe(client, 5)
    push(client)
    pipeline().exporter.settle(20)
    assert collector.exports
    collector.reply = Reply()
    pipeline().exporter.settle(20)
    pipeline().exporter.settle(20)

    assert sorted(collector.accepted) == names(5)


@pytest.mark.parametrize("threshold", [1, 1000], ids=["open", "closed"])
def test_discarded_spans_are_counted_and_never_sent(collector, keys, threshold):
    collector.reply = Reply(503)
    client = init_tracing(**keys, breaker_failure_threshold=threshold)
    observe(client, 5)
    push(client)
    pipeline().exporter.settle(20)
    pipeline().exporter.discard()
    collector.wait_for(lambda: tracing_health().buffered == 0)
    assert tracing_health().dropped == {"discarded": 5}
    collector.reply = Reply()
    pipeline().breaker._opened_at = None
    observe(client, 3, prefix="t")
    report = shutdown_tracing()

    assert sorted(collector.accepted) == names(3, "t")
    assert report.exported == 3


def test_discarded_while_they_are_being_sent(collector, keys):
    gate = threading.Event()
    collector.reply = lambda seen: Reply(503) if gate.wait(20) else Reply()
    client = init_tracing(**keys)
    observe(client, 5)
    push(client)
    collector.wait_for(lambda: pipeline().sender._begun == 1)
    pipeline().exporter.discard()
    gate.set()
    collector.wait_for(lambda: tracing_health().buffered == 0)

    assert tracing_health().dropped == {"discarded": 5}


def test_what_follows_a_discard_is_sent(collector, keys):
    gate = threading.Event()
    collector.reply = lambda seen: Reply(503) if not gate.is_set() and gate.wait(20) else Reply()
    client = init_tracing(**keys)
    observe(client, 5)
    push(client)
    # The sender's thread is busy: it does not see the one before the other.
    collector.wait_for(lambda: pipeline().sender._begun == 1)
    pipeline().exporter.discard()
    observe(client, 3, prefix="t")
    push(client)
    gate.set()
    report = shutdown_tracing()

    assert sorted(collector.accepted) == names(3, "t")
    assert (report.exported, report.dropped) == (3, {"discarded": 5})


# -- the ledger ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_ledger_balances_at_every_instant_under_flapping(collector, keys):
    answers = [Reply(), Reply(503), Reply(reset=True), Reply(400), Reply(body=partial(1)), Reply(429)]
    count = [0]

    def flap(seen):
        count[0] += 1
        return answers[count[0] % len(answers)]

    collector.reply = flap
    client = init_tracing(**keys, flush_at=7, breaker_failure_threshold=1000, max_buffer_spans=300)
    stop, wrong = threading.Event(), []

    def watch():
        while not stop.is_set():
            health = tracing_health()
            if not balanced(health) or health.buffered < 0:
                wrong.append(health)

    threads = [threading.Thread(target=observe, args=(client, 250), kwargs={"prefix": f"{n}-"}) for n in range(4)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collector.reply = Reply()
    report = shutdown_tracing(timeout=30)
    stop.set()
    watcher.join()
    health = tracing_health()

    assert wrong == []
    assert health.ended == 1000 == report.exported + report.buffered + sum(report.dropped.values())
    assert report.buffered == 0
    assert len(collector.accepted) - report.dropped.get("rejected", 0) >= report.exported


def test_counts_agree_with_what_is_in_the_buffer(collector, keys):
    collector.reply = Reply(503)
    client = init_tracing(**keys, breaker_failure_threshold=1)
    observe(client, 30)
    push(client)
    collector.wait_for(lambda: tracing_health().breaker == "open")

    assert tracing_health().buffered == pipeline().buffer.counts()[0] == 30


def test_health_before_and_after(keys):
    assert not tracing_health().healthy
    assert tracing_health().ended == 0
    client = init_tracing(**keys)
    observe(client, 3)
    shutdown_tracing()
    health = tracing_health()

    assert (health.ended, health.exported, health.buffered) == (3, 3, 0)


def test_metrics_follow_the_ledger(collector, keys):
    from opentelemetry import metrics

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    before = metrics._internal._METER_PROVIDER
    from pytest_langfuse.tracing.delivery import metrics as ours

    meter = provider.get_meter("test")
    original, ours.get_meter = ours.get_meter, lambda name: meter
    try:
        instruments = ours.register(tracing_health)
    finally:
        ours.get_meter = original
    assert instruments
    assert metrics._internal._METER_PROVIDER is before
    collector.reply = Reply(body=partial(1))
    client = init_tracing(**keys, flush_at=4, flush_interval=60)
    observe(client, 4)
    client.flush()
    data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    found = {
        (metric.name, point.attributes.get("error.type")): point.value
        for metric in data
        for point in metric.data.data_points
    }
    provider.shutdown()

    assert 0 <= found.pop(("langfuse.last_success.age", None)) < 60
    assert found == {
        ("otel.sdk.exporter.span.exported", None): 3,
        ("otel.sdk.exporter.span.exported", "rejected"): 1,
        ("otel.sdk.exporter.span.inflight", None): 0,
        ("langfuse.breaker.state", None): 0,
        ("langfuse.spans.ended", None): 4,
        ("langfuse.spans.sampled", None): 4,
        ("langfuse.spans.reparented", None): 0,
        ("langfuse.spans.unaccounted", None): 0,
        ("langfuse.healthy", None): 0,
    }


# -- the spool -------------------------------------------------------------------------------------------------


def test_what_was_not_sent_is_sent_by_the_next_start(collector, keys, tmp_path):
    collector.reply = Reply(503)
    client = init_tracing(**keys, spool_path=tmp_path / "spool", breaker_failure_threshold=1)
    observe(client, 10)
    report = shutdown_tracing()
    assert (report.exported, report.buffered, report.dropped) == (0, 10, {})

    collector.reply = Reply()
    client = init_tracing(**keys, spool_path=str(tmp_path / "spool"))
    observe(client, 5, prefix="t")
    report = shutdown_tracing()

    assert sorted(collector.accepted) == sorted(names(10) + names(5, "t"))
    assert (report.exported, report.buffered) == (15, 0)
    assert tracing_health().ended == 15


def test_a_spool_that_can_not_be_is_an_error_of_the_setting(keys, tmp_path):
    (tmp_path / "spool.lock").mkdir()
    with pytest.raises(ValueError, match=r"spool_path='.*' can't be used \(.*directory.*LANGFUSE_SPOOL_PATH"):
        init_tracing(**keys, spool_path=tmp_path / "spool")


def test_a_loss_that_nobody_can_count_is_told_until_langfuse_accepts_spans_again(collector, keys, tmp_path):
    (tmp_path / "spool").write_bytes(b"not a database" * 1000)
    client = init_tracing(**keys, spool_path=tmp_path / "spool")
    collector.wait_for(lambda: tracing_health().last_error is not None)
    assert tracing_health().last_error.startswith("an unknown number of spans of the spool ")
    assert not tracing_health().healthy

    observe(client, 1)
    client.flush()
    assert tracing_health().healthy
    assert (tracing_health().exported, tracing_health().dropped, tracing_health().unaccounted) == (1, {}, 0)
