"""From a message to Langfuse's yes, over real HTTP: what is merged, put off, split, dead-lettered, committed."""

import base64
import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pytest_langfuse.tracing.forward import burials, deliveries, forwarder
from pytest_langfuse.tracing.forward.project_keys import Project, Projects
from pytest_langfuse.tracing.forward.queue_source import SCORE
from tests.helpers.forwarding import export_body, span_names
from tests.helpers.loopback_langfuse import TRACES, Reply


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(deliveries, "_FIRST_PAUSE", 0.002)


def test_messages_are_merged_and_committed_after_the_yes(collector, forwarding):
    one = forwarding()
    for number in range(200):
        one.queue.put(export_body(f"a{number}", f"b{number}"))
    one.drain()
    assert sorted(collector.accepted) == sorted(f"{letter}{number}" for number in range(200) for letter in "ab")
    assert len(collector.exports) < 5
    assert one.queue.committed[-1] == 200
    assert (one.counts.spans, one.counts.messages, one.counts.done) == (400, 200, 200)
    [headers] = {tuple(sorted(seen.headers.items())) for seen in collector.exports[:1]}
    headers = dict(headers)
    assert headers["authorization"] == "Basic " + base64.b64encode(b"pk-lf-test:sk-lf-test").decode()
    assert headers["x-langfuse-ingestion-version"] == "4"
    assert "content-encoding" not in headers


def test_nothing_is_committed_without_a_yes(collector, forwarding):
    collector.reply = Reply(status=503)
    one = forwarding()
    one.queue.put(export_body("a"))
    one.until(lambda: len(collector.exports) >= 7)
    assert one.queue.committed == []
    assert one.breaker.state != "closed"
    assert one.deliveries.problems() == ["Langfuse can't be reached (http_503)"]
    collector.reply = Reply()
    one.drain()
    assert collector.accepted == ["a"]
    assert one.queue.committed == [1]
    assert one.deliveries.problems() == []


def test_retry_after_is_obeyed_and_only_one_request_tries(collector, forwarding, monkeypatch):
    asked = []
    original = deliveries._pause
    monkeypatch.setattr(deliveries, "_pause", lambda *given: asked.append(original(*given)) or 0.01)
    collector.reply = Reply(status=503, headers={"retry-after": "7"})
    one = forwarding(threads=4)
    for number in range(8):
        one.queue.put(export_body(f"a{number}"))
    one.until(lambda: len(asked) >= 3)
    assert all(pause >= 7 for pause in asked)
    # The first failure is met by those that were sent together; from then on one request at a time.
    assert one.deliveries.in_flight <= 1
    collector.reply = Reply()
    one.drain()
    assert len(collector.accepted) == 8


def test_429_of_one_project_leaves_the_others_alone(collector, forwarding):
    limited = base64.b64encode(b"pk-lf-busy:sk-lf-busy").decode()

    def reply(seen):
        busy = limited in seen.headers["authorization"]
        return Reply(status=429, headers={"retry-after": "600"}) if busy else Reply()

    collector.reply = reply
    one = forwarding(projects=Projects(Project("pk-lf-test", "sk-lf-test"), {"pk-lf-busy": "sk-lf-busy"}))
    one.queue.put(export_body("busy"), public_key="pk-lf-busy")
    one.until(lambda: len(collector.exports) == 1 and not one.deliveries.in_flight)
    for number in range(5):
        one.queue.put(export_body(f"a{number}"))
        one.until(lambda: collector.accepted)
        collector.accepted.clear()
    assert len([seen for seen in collector.exports if limited in seen.headers["authorization"]]) == 1
    assert one.queue.committed == []
    assert one.breaker.state == "closed"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_waits_and_is_loud(collector, forwarding, lines, status):
    collector.reply = Reply(status=status, body=b"Invalid credentials", content_type="text/plain")
    one = forwarding()
    one.queue.put(export_body("a"))
    one.until(lambda: len(collector.exports) >= 3)
    assert one.deliveries.problems() == [f"Langfuse refuses the key pk-lf-test (http_{status})"]
    [line] = lines()
    assert line == (
        f"Langfuse refuses the key pk-lf-test (http_{status}): its messages wait, and so do their partitions. Correct "
        "the keys and start again: Invalid credentials"
    )
    assert one.queue.committed == []
    assert one.queue.dead == []
    collector.reply = Reply()
    one.drain()
    assert collector.accepted == ["a"]
    assert one.deliveries.problems() == []


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_is_split_to_the_span_and_dead_lettered(collector, forwarding, status):
    def reply(seen):
        bad = any(name.startswith("bad") for name in seen.spans)
        return Reply(status=status, body=b"no sk-lf-hunter2", content_type="text/plain") if bad else Reply()

    collector.reply = reply
    one = forwarding()
    for number in range(100):
        names = [f"a{number}", f"b{number}", f"c{number}"]
        if number in {17, 60}:
            names[1] = f"bad{number}"
        one.queue.put(export_body(*names), public_key="pk-lf-test")
    one.drain()
    assert len(collector.accepted) == len(set(collector.accepted)) == 298
    assert sorted(span_names(letter.body)[0] for letter in one.queue.dead) == ["bad17", "bad60"]
    for letter in one.queue.dead:
        assert len(span_names(letter.body)) == 1
        assert (letter.reason, letter.status) == (f"http_{status}", status)
        assert "hunter2" not in letter.detail
        assert letter.message.headers == [("x-langfuse-public-key", b"pk-lf-test")]
    # Halves, not one request a message.
    assert len(collector.exports) < 60
    assert one.queue.committed[-1] == 100
    assert sum(one.counts.dead.values()) == 2


def test_after_413_requests_stay_small(collector, forwarding):
    def reply(seen):
        return Reply(status=413) if len(seen.body) > 10_000 else Reply()

    collector.reply = reply
    one = forwarding(threads=1)
    for _ in range(2):
        for number in range(100):
            one.queue.put(export_body(f"a{number}", size=500))
        one.drain()
    refused = [seen for seen in collector.exports if len(seen.body) > 10_000]
    assert len(collector.accepted) == 200
    # Of the second hundred none was too large.
    assert len(refused) < 12
    assert one.queue.dead == []


def test_a_message_that_only_langfuse_cannot_digest_stops_no_other(collector, forwarding, monkeypatch):
    monkeypatch.setattr(deliveries, "_pause", lambda *_: 0.001)
    collector.reply = lambda seen: Reply(status=500) if "poison" in seen.spans else Reply()
    one = forwarding(recovery=0.01)
    one.queue.put(export_body("x", "poison"))
    for number in range(400):
        one.queue.put(export_body(f"a{number}"))
        one.forwarder.step()
    # As long as others are accepted, it is given up after a while.
    for number in range(400, 1000):
        if not one.queue.dead:
            one.queue.put(export_body(f"a{number}"))
            one.until(lambda: not one.queue.waiting)
    one.drain()
    [letter] = one.queue.dead
    assert (span_names(letter.body), letter.reason) == (["poison"], "http_500")
    assert "x" in collector.accepted
    assert len(collector.accepted) == len(set(collector.accepted))


def test_partial_success_is_counted_and_logged(collector, forwarding, lines):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old"
    collector.reply = Reply(body=answer.SerializeToString())
    one = forwarding()
    one.queue.put(export_body("a", "b", "c"))
    one.drain()
    assert (one.counts.spans, one.counts.rejected) == (1, 2)
    assert lines() == ["Langfuse took 1 of 3 spans: too old"]
    assert one.queue.committed == [1]


def test_a_project_gets_its_own_messages_only(collector, forwarding):
    keys = {"pk-lf-a": "sk-lf-aaaa", "pk-lf-b": "sk-lf-bbbb"}
    one = forwarding(projects=Projects(Project("pk-lf-test", "sk-lf-test"), keys))
    for _ in range(10):
        for key in ("", "pk-lf-test", "pk-lf-a", "pk-lf-b", "pk-lf-unknown"):
            one.queue.put(export_body(key or "pk-lf-test"), public_key=key)
    one.drain()
    for seen in collector.exports:
        public, _, secret = base64.b64decode(seen.headers["authorization"].split()[1]).decode().partition(":")
        assert set(seen.spans) == {public}
        assert seen.headers["x-langfuse-public-key"] == public
        assert secret == {**keys, "pk-lf-test": "sk-lf-test"}[public]
    assert len(collector.accepted) == 40
    assert {letter.reason for letter in one.queue.dead} == {"unknown_project"}
    assert len(one.queue.dead) == 10
    assert one.queue.committed[-1] == 50


def test_without_keys_in_the_environment_a_message_without_a_project_is_dead(forwarding, collector):
    one = forwarding(projects=Projects(None, {"pk-lf-a": "sk-lf-aaaa"}))
    one.queue.put(export_body("a"))
    one.drain()
    assert [letter.reason for letter in one.queue.dead] == ["unknown_project"]
    assert collector.requests == []


def test_what_is_neither_spans_nor_a_score_is_dead_lettered(collector, forwarding):
    one = forwarding()
    whole = export_body("a")
    bodies = [
        (b"", "spans"),
        (whole[:-3], "spans"),
        (b"{}", "spans"),
        (b"[1]", SCORE),
        (b"{", SCORE),
        (whole, "profile"),
    ]
    for body, kind in bodies:
        one.queue.put(body, kind=kind)
    one.queue.put(whole)
    one.drain()
    reasons = [letter.reason for letter in one.queue.dead]
    assert reasons == ["empty", "undecodable", "undecodable", "undecodable", "undecodable", "unknown_type"]
    assert collector.accepted == ["a"]
    assert one.queue.committed[-1] == 7


def test_scores_of_both_versions_of_the_sdk(collector, forwarding):
    refused = set()

    def reply(seen):
        if seen.path == TRACES:
            return Reply()
        body = json.loads(seen.body)
        scores = body if isinstance(body, list) else [event["body"] for event in body["batch"]]
        bad = [score["id"] for score in scores if score["id"].startswith("bad")]
        refused.update(bad)
        if isinstance(body, list) and bad:
            answer = {"accepted": len(scores) - len(bad), "rejected": len(bad), "errors": [{"message": "no value"}]}
            return Reply(status=207, body=json.dumps(answer).encode(), content_type="application/json")
        if isinstance(body, list):
            return Reply(status=202, body=b'{"message": "Accepted"}', content_type="application/json")
        answer = {"successes": [], "errors": [{"id": one, "status": 400, "message": "no value"} for one in bad]}
        return Reply(status=207, body=json.dumps(answer).encode(), content_type="application/json")

    collector.reply = reply
    one = forwarding()
    for name in ("s1", "s2", "bad1", "s3"):
        one.queue.put(json.dumps({"id": name, "name": "q", "value": 1}).encode(), kind=SCORE)
        event = {"id": f"e-{name}", "type": "score-create", "timestamp": "2026-01-01T00:00:00Z", "body": {"id": name}}
        one.queue.put(json.dumps(event).encode(), kind=SCORE)
    one.queue.put(export_body("a"))
    one.drain()
    taken = {"/api/public/scores": set(), "/api/public/ingestion": set()}
    for seen in collector.requests:
        if seen.path != TRACES:
            body = json.loads(seen.body)
            taken[seen.path] |= {
                score["id"] for score in (body if isinstance(body, list) else map(_body, body["batch"]))
            }
            assert seen.headers["content-type"] == "application/json"
    assert taken == {path: {"s1", "s2", "bad1", "s3"} for path in taken}
    assert [(letter.reason, letter.status) for letter in one.queue.dead] in (
        [("http_207", 207), ("http_400", 400)],
        [("http_400", 400), ("http_207", 207)],
    )
    assert one.counts.scores == 6
    assert one.queue.committed[-1] == 9


def _body(event):
    return event["body"]


def test_dead_letters_that_cannot_be_stored_are_kept(collector, forwarding, monkeypatch, lines):
    monkeypatch.setattr(burials, "_PAUSE", 0.01)
    one = forwarding()
    one.queue.cannot_bury = "no such topic"
    one.queue.put(b"{}")
    one.queue.put(export_body("a"))
    one.until(lambda: collector.accepted and not one.deliveries.in_flight)
    one.forwarder.step()
    assert one.queue.committed == []
    assert one.deliveries.problems() == ["dead letters can't be stored (no such topic)"]
    assert lines() == ["Dead letters can't be stored, their partitions wait: no such topic"]
    one.queue.cannot_bury = None
    one.drain()
    assert len(one.queue.dead) == 1
    assert one.queue.committed[-1] == 2
    assert one.deliveries.problems() == []


def test_beyond_its_memory_nothing_is_read(collector, forwarding, monkeypatch):
    monkeypatch.setattr(forwarder, "_FULL", 0.0)
    collector.reply = Reply(status=503)
    one = forwarding(max_bytes=20_000)
    for number in range(3000):
        one.queue.put(export_body(f"a{number}"))
    one.until(lambda: "pause" in one.queue.calls)
    left = len(one.queue.waiting)
    assert one.deliveries.held < 2 * 20_000
    for _ in range(20):
        one.forwarder.step()
    # Asked on, or the broker takes it for dead; a paused queue gives nothing.
    assert one.queue.calls[-20:].count("poll") >= 18
    assert left >= 2500
    collector.reply = Reply()
    one.drain()
    assert len(collector.accepted) == len(set(collector.accepted)) == 3000
    assert one.queue.calls.count("resume") == one.queue.calls.count("pause")
