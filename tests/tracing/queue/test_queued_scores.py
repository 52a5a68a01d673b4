"""`export_scores=True`: scores go the way of the spans, and are posted by the forwarder."""

import base64
import json

import pytest

from pytest_langfuse.tracing import init_tracing, shutdown_tracing, tracing_health
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON
from pytest_langfuse.tracing.queue import endpoints
from tests.helpers.forwarding import KEYS, run_forwarder
from tests.helpers.loopback_langfuse import SCORES, TRACES, Reply
from tests.helpers.sqs_server import CREDENTIALS
from tests.tracing.queue.test_sqs_export import until
from tests.tracing.queue.test_sqs_sink import error, service, stored

pytestmark = pytest.mark.usefixtures("fresh", "aws_credentials")

TRACE, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def settings(keys):
    usual = {**keys, "export": "sqs", "export_scores": True, "flush_at": 100, "flush_interval": 60}
    return lambda url, **more: {**usual, "sqs_queue_url": url, **more}


def name_of(score):
    return score["name"] if METADATA_IS_JSON else score["body"]["name"]


def paths(collector):
    return [seen.path for seen in collector.requests]


@pytest.mark.parametrize("fifo", [False, True])
def test_a_score_is_a_message_of_its_own_beside_the_spans(settings, sqs, queue, collector, fifo):
    url = queue(fifo=fifo)
    client = init_tracing(**settings(url))
    with client.start_as_current_observation(name="a") as a:
        client.create_score(name="kept", value=0.5, trace_id=a.trace_id, comment="half \ud83d, ü")
    client.create_score(name="session", value=1, session_id="s-1")
    client.flush()

    scores, spans = [], []
    for message in sqs.messages(url):
        (scores if message.attributes.get("x-langfuse-type") == "score" else spans).append(message)
    assert len(spans) == 1
    assert "x-langfuse-type" not in spans[0].attributes
    assert {message.attributes["x-langfuse-public-key"] for message in scores} == {"pk-lf-test"}
    by_name = {name_of(json.loads(message.data)): message for message in scores}
    assert set(by_name) == {"kept", "session"}
    body = json.loads(by_name["kept"].data)
    body = body if METADATA_IS_JSON else body["body"]
    assert (body["traceId"], body["value"], body["comment"]) == (a.trace_id, 0.5, "half \ufffd, ü")
    assert (body["id"] != "") if METADATA_IS_JSON else True
    if fifo:
        assert by_name["kept"].group == a.trace_id == spans[0].group
        assert len(by_name["session"].group) == 32
    assert collector.requests == []


def test_over_kafka_the_key_is_the_trace(keys, broker, topic, collector):
    client = init_tracing(
        **keys, export="kafka", kafka_brokers=broker.address, kafka_topic=topic, export_scores=True, flush_interval=60,
        flush_at=100,
    )  # fmt: skip
    for number in range(3):
        client.create_score(name=f"s{number}", value=number, trace_id=TRACE)
    client.create_score(name="session", value=1, session_id="s-1")
    client.flush()

    messages = broker.messages(topic, count=4)
    found = {name_of(json.loads(message.value())): message for message in messages}
    assert {found[f"s{number}"].key() for number in range(3)} == {TRACE.encode()}
    assert len(found["session"].key()) == 32
    assert {tuple(map(tuple, message.headers())) for message in messages} == {
        (("x-langfuse-public-key", b"pk-lf-test"), ("x-langfuse-type", b"score"))
    }
    assert collector.requests == []


def test_without_it_or_without_a_queue_they_go_to_langfuse(settings, keys, sqs, queue, collector):
    collector.reply = Reply(200, b'{"successes": [], "errors": []}', "application/json")
    for more in ({"export_scores": False}, {"export": "http"}):
        client = init_tracing(**settings(queue(), **more))
        client.create_score(name="s", value=1, trace_id=TRACE)
        client.flush()
        shutdown_tracing()

    assert paths(collector) == [SCORES] * 2


def test_scores_that_the_queue_did_not_take_are_kept_and_sent_later(settings):
    def some(request):
        kept, *others = request["Entries"]
        failed = [{"Id": kept["Id"], "Code": "InternalError", "SenderFault": False, "Message": "later"}]
        return {"Failed": failed, **stored({"Entries": others})}

    with service((400, error("ThrottlingException")), (200, some), (200, stored)) as server:
        client = init_tracing(**settings(server.queue))
        for number in range(3):
            client.create_score(name=f"s{number}", value=number, trace_id=TRACE)
        until(lambda: client.flush() or len(server.calls) >= 3)

    sent = [[name_of(json.loads(sqs_text(entry))) for entry in call["Entries"]] for call in server.calls]
    assert sent == [["s0", "s1", "s2"], ["s0", "s1", "s2"], ["s0"]]
    # The breaker is the one of the spans.
    assert dict(tracing_health().breakers) == {"sqs": "closed"}


def sqs_text(entry):
    return base64.b64decode(entry["MessageBody"]).decode()


def test_while_the_breaker_is_open_they_go_the_second_way(settings, collector):
    collector.reply = lambda seen: (
        Reply() if seen.path == TRACES else Reply(200, b'{"successes": [], "errors": []}', "application/json")
    )
    with service((403, error("AccessDenied"))) as server:
        client = init_tracing(
            **settings(server.queue, export=("sqs", "http"), breaker_failure_threshold=1, breaker_recovery_timeout=60)
        )
        client.create_score(name="s", value=1, trace_id=TRACE)
        client.flush()
        assert tracing_health().breaker == "open"
        client.flush()
        until(lambda: paths(collector) == [SCORES])

    assert len(server.calls) == 1


def test_a_score_that_no_queue_takes_is_given_up_and_said(settings, lines):
    refused = {"Failed": [{"Id": "0", "Code": "InvalidMessageContents", "SenderFault": True}]}
    with service((200, lambda request: {**refused, **stored({"Entries": request["Entries"][1:]})})) as server:
        client = init_tracing(**settings(server.queue))
        for number in range(2):
            client.create_score(name=f"s{number}", value=number, trace_id=TRACE)
        client.flush()
        client.flush()

    assert len(server.calls) == 1
    assert lines() == ["1 scores were dropped: the queue refused them (sqs_invalid_message_contents)."]


def test_a_harness_that_keeps_the_queue_out_of_reach_gets_them_by_http(settings, collector, monkeypatch, queue):
    collector.reply = Reply(200, b'{"successes": [], "errors": []}', "application/json")
    monkeypatch.setattr(endpoints, "sqs", lambda _: None)
    client = init_tracing(**settings(queue()))
    client.create_score(name="s", value=1, trace_id=TRACE)
    client.flush()

    assert paths(collector) == [SCORES]


def test_at_the_end_they_are_sent_too(settings, sqs, queue):
    url = queue()
    client = init_tracing(**settings(url))
    client.create_score(name="last", value=1, trace_id=TRACE)
    shutdown_tracing()

    assert [name_of(json.loads(message.data)) for message in sqs.messages(url)] == ["last"]


@pytest.mark.slow
def test_the_forwarder_posts_them(settings, sqs, queue, collector):
    collector.reply = lambda seen: (
        Reply() if seen.path == TRACES else Reply(200, b'{"successes": [], "errors": []}', "application/json")
    )
    url = queue()
    client = init_tracing(**settings(url))
    for number in range(20):
        client.create_score(name=f"s{number}", value=number, trace_id=OTHER)
    shutdown_tracing()
    done = run_forwarder(
        "--from", f"sqs+{url}", "--to", collector.url, "--once",
        env={**KEYS, **CREDENTIALS, "AWS_EC2_METADATA_DISABLED": "true"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert set(paths(collector)) == {SCORES}
    bodies = [json.loads(seen.body) for seen in collector.requests]
    posted = [score for body in bodies for score in (body if METADATA_IS_JSON else body["batch"])]
    assert sorted(map(name_of, posted)) == sorted(f"s{number}" for number in range(20))
