"""Forwarding from a real SQS server, and what is left there."""

import json
import os
import re
import signal
import threading
import time

import pytest

from pytest_langfuse.tracing.forward import sqs_receipts as receipts_module
from pytest_langfuse.tracing.forward import sqs_source as source_module
from pytest_langfuse.tracing.forward.queue_source import AssignedPartition, DeadLetter, SourceFailed
from pytest_langfuse.tracing.forward.sqs_dead_letters import dead_letter_queue
from pytest_langfuse.tracing.forward.sqs_source import SqsSource
from tests.helpers.forwarding import KEYS, export_body, run_forwarder, span_names
from tests.helpers.hostile_server import HostileServer, head
from tests.helpers.loopback_langfuse import TRACES, Reply
from tests.helpers.sqs_server import CREDENTIALS

pytestmark = pytest.mark.usefixtures("aws_credentials")

PUBLIC_KEY = {"x-langfuse-public-key": "pk-lf-test"}
ENVIRONMENT = {**KEYS, **CREDENTIALS, "AWS_EC2_METADATA_DISABLED": "true"}


def fill(sqs, url, count, *, prefix="s", **attributes):
    bodies = [export_body(f"{prefix}{number}.0", f"{prefix}{number}.1") for number in range(count)]
    for start in range(0, count, 10):
        sqs.send_batch(url, bodies[start : start + 10], **{**PUBLIC_KEY, **attributes})
    return sorted(name for body in bodies for name in span_names(body))


def address(url):
    return f"sqs+{url}"


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Watcher:
    def __init__(self):
        self.partitions = []

    def assigned(self, assignments):
        self.partitions += assignments


class Reading:
    """A source, polled by the test."""

    def __init__(self, url, **options):
        self.source = SqsSource(url, **options)
        self.watcher = Watcher()
        self.source.start(self.watcher)

    def read(self, count):
        found = []

        def enough():
            found.extend(self.source.poll(count - len(found), 0.05))
            return len(found) >= count

        until(enough)
        return found

    def ended(self):
        self.source.poll(100, 0.01)
        return self.source.at_end()


@pytest.fixture
def reading(monkeypatch):
    monkeypatch.setattr(source_module, "_WAIT", 1)
    made = []

    def make(url, **options):
        made.append(Reading(url, **options))
        return made[-1]

    yield make
    for one in made:
        one.source.close(0)


class TestSource:
    def test_messages_have_what_the_sender_gave_them(self, sqs, queue, reading):
        url = queue(fifo=True)
        body, trace = export_body("a"), os.urandom(16).hex()
        sqs.send(url, body, group=trace, **PUBLIC_KEY, **{"x-langfuse-type": "score", "mine": "kept"})
        before = time.time()
        source = reading(url)
        (message,) = source.read(1)

        assert (message.body, message.key) == (body, trace.encode())
        assert (message.public_key, message.kind) == ("pk-lf-test", "score")
        assert sorted(message.headers) == [
            ("mine", b"kept"),
            ("x-langfuse-public-key", b"pk-lf-test"),
            ("x-langfuse-type", b"score"),
        ]
        assert abs(message.time - before) < 60
        assert [type(partition) for partition in source.watcher.partitions] == [AssignedPartition]

    def test_a_message_of_someone_else_is_read_as_it_is(self, sqs, queue, reading):
        url = queue()
        sqs.client.send_message(QueueUrl=url, MessageBody="no base64: é")
        (message,) = reading(url).read(1)

        assert (message.body, message.key, message.public_key) == ("no base64: é".encode(), None, "")
        assert message.kind == "spans"

    def test_what_is_acknowledged_is_deleted_and_the_rest_given_back(self, sqs, queue, reading):
        url = queue()
        fill(sqs, url, 25)
        source = reading(url)
        messages = source.read(25)
        source.source.acknowledge(messages[3:20])
        assert sqs.counts(url) == (0, 25)
        source.source.commit(wait=True)
        assert sqs.counts(url) == (0, 8)
        source.source.close(10)

        assert sqs.counts(url) == (8, 0)
        left = {name for message in sqs.messages(url) for name in span_names(message.data)}
        assert left == {name for message in [*messages[:3], *messages[20:]] for name in span_names(message.body)}

    def test_a_pause_holds_what_was_received(self, sqs, queue, reading):
        url = queue()
        fill(sqs, url, 5)
        source = reading(url)
        source.read(1)
        source.source.pause()
        assert source.source.poll(10, 0.0) == []
        source.source.resume()

        assert len(source.read(4)) == 4

    def test_no_more_is_received_ahead_than_there_is_room_for(self, sqs, queue, reading, monkeypatch):
        monkeypatch.setattr(source_module, "_AHEAD_MESSAGES", 20)
        url = queue()
        fill(sqs, url, 200)
        source = reading(url)
        until(lambda: len(source.source._ready) >= 20)
        # Each of the receivers had asked for ten at most when it got enough.
        time.sleep(0.2)
        assert sqs.counts(url)[1] <= 20 + 10 * 4
        assert len(source.read(200)) == 200

    def test_what_is_held_stays_hidden_from_others(self, sqs, queue, reading, monkeypatch):
        monkeypatch.setattr(source_module, "VISIBILITY", 1)
        monkeypatch.setattr(receipts_module, "VISIBILITY", 1)
        monkeypatch.setattr(receipts_module, "_EXTEND_AFTER", 0.2)
        monkeypatch.setattr(receipts_module, "_LOOK", 0.05)
        url = queue()
        fill(sqs, url, 15)
        source = reading(url)
        held = source.read(15)
        extended = []
        original = source.source._client.call
        monkeypatch.setattr(
            source.source._client,
            "call",
            lambda operation, **more: extended.append(operation) or original(operation, **more),
        )
        # Two batches each time.
        until(lambda: extended.count("change_message_visibility_batch") >= 14)
        assert sqs.counts(url) == (0, 15)
        source.source.acknowledge(held)
        source.source.commit(wait=True)

        assert sqs.counts(url) == (0, 0)

    def test_a_delete_that_fails_is_tried_again(self, sqs, queue, reading, monkeypatch, caplog):
        monkeypatch.setattr(receipts_module, "_PAUSE", 0.01)
        url = queue()
        fill(sqs, url, 12)
        source = reading(url)
        messages = source.read(12)
        client, tries = source.source._client, []
        original = client.call

        def call(operation, **parameters):
            if operation == "delete_message_batch" and len(tries) < 3:
                tries.append(operation)
                if len(tries) == 1:
                    raise OSError("no route to host")
                entries = parameters["Entries"]
                return {"Failed": [{"Id": entry["Id"], "Code": "InternalError", "Message": "no"} for entry in entries]}
            return original(operation, **parameters)

        monkeypatch.setattr(client, "call", call)
        source.source.acknowledge(messages)
        source.source.commit(wait=True)

        assert sqs.counts(url) == (0, 0)
        assert len(tries) == 3
        assert "SQS: messages can't be deleted (sqs_os): no route to host" in caplog.text

    @pytest.mark.slow
    @pytest.mark.parametrize("fifo", [False, True])
    def test_the_end_is_reached_when_nothing_is_left(self, sqs, queue, reading, fifo):
        url = queue(fifo=fifo)
        for number in range(12):
            # Of a FIFO queue, two of a group are not received at once by this server.
            sqs.send(url, export_body(f"s{number}"), group=f"g{number % 2}" if fifo else "", **PUBLIC_KEY)
        source, found = reading(url, once=True), []

        def ended():
            messages = source.source.poll(100, 0.05)
            found.extend(messages)
            source.source.acknowledge(messages)
            source.source.commit(wait=False)
            return source.source.at_end()

        until(ended, 60)
        assert len(found) == 12

    @pytest.mark.slow
    def test_the_end_of_a_fifo_queue_is_not_what_held_messages_hide(self, sqs, queue, reading, monkeypatch):
        url = queue(fifo=True)
        for number in range(12):
            sqs.send(url, export_body(f"s{number}"), group="g", **PUBLIC_KEY)
        source = reading(url, once=True)
        client, empty, may_delete = source.source._client, [], threading.Event()
        original = client.call

        def call(operation, **parameters):
            if operation == "delete_message_batch":
                may_delete.wait(30)
            answer = original(operation, **parameters)
            if operation == "receive_message" and not answer.get("Messages"):
                empty.append(answer)
            return answer

        monkeypatch.setattr(client, "call", call)
        first = source.read(1)
        first += source.source.poll(20, 0.5)
        # Nothing more comes while these are held, and while they are about to be deleted.
        until(lambda: len(empty) > 1)
        assert len(first) < 12
        assert not source.source.at_end()
        source.source.acknowledge(first)
        source.source.commit(wait=False)
        before = len(empty)
        until(lambda: len(empty) > before + 1)
        assert not source.source.at_end()
        may_delete.set()
        rest = source.read(12 - len(first))
        source.source.acknowledge(rest)
        source.source.commit(wait=True)
        until(source.ended)

    def test_an_old_message_between_later_ones_puts_the_end_off(self, reading):
        release, now = threading.Semaphore(0), time.time()

        def receive(_request):
            release.acquire(timeout=20)
            age = ages.pop(0)
            message = {"MessageId": "1", "ReceiptHandle": "r", "Body": "YQ==", "Attributes": {}}
            message["Attributes"]["SentTimestamp"] = str(round((now - age) * 1000))
            return {"Messages": [message]}

        def answer(request):
            operation = re.search(rb"AmazonSQS\.(\w+)", request)[1]
            content = receive(request) if operation == b"ReceiveMessage" else {}
            data = json.dumps(content).encode()
            yield head("content-type: application/x-amz-json-1.0", f"content-length: {len(data)}", "connection: close")
            yield data

        later, old = -1000, 1000
        ages = [later, later, old, later, later, later]
        with HostileServer(answer) as server:
            source = reading(f"{server.url}/000000000000/q", once=True)
            for _ in range(5):
                release.release()
                source.read(1)
            assert not source.source.at_end()
            release.release()
            source.read(1)
            assert source.source.at_end()

    def test_the_end_is_reached_while_others_go_on_sending(self, sqs, queue, reading):
        url = queue()
        fill(sqs, url, 30)
        stop = threading.Event()

        def send():
            while not stop.wait(0.05):
                sqs.send(url, export_body("later"), **PUBLIC_KEY)

        # The clock of the server counts whole seconds.
        time.sleep(1.1)
        source, found = reading(url, once=True), []
        thread = threading.Thread(target=send, daemon=True)
        until(lambda: found.extend(source.source.poll(100, 0.05)) or len(found) >= 30)
        thread.start()
        until(lambda: found.extend(source.source.poll(100, 0.05)) or source.source.at_end(), 60)
        stop.set()
        thread.join(20)

        assert len(found) >= 30

    def test_a_queue_that_is_not_there_ends_once_and_is_waited_for_otherwise(self, sqs, queue, reading, caplog):
        url = f"{sqs.url}/000000000000/comes-later"
        once = reading(url, once=True)
        with pytest.raises(SourceFailed, match=r"can\'t be read \(sqs_queue_does_not_exist\)"):
            until(lambda: once.source.poll(1, 0.05))
        once.source.close(0)
        for_ever = reading(url)
        until(lambda: "can't be read (sqs_queue_does_not_exist), tried again" in caplog.text)
        assert for_ever.watcher.partitions == []
        until(lambda: "can't be read (sqs_queue_does_not_exist): " in str(for_ever.source.problems()))
        sqs.create_queue("comes-later")
        sqs.send(url, export_body("a"), **PUBLIC_KEY)

        assert len(for_ever.read(1)) == 1
        assert len(for_ever.watcher.partitions) == 1
        assert for_ever.source.problems() == []

    def test_a_service_that_goes_away_is_a_problem_until_it_answers_again(self, sqs, queue, reading, monkeypatch):
        source = reading(queue())
        assert source.source.problems() in (["SQS: the queue has not answered yet"], [])
        until(lambda: source.source.problems() == [])
        original = source.source._client.call

        def refused(*_, **__):
            raise ConnectionRefusedError(111, "Connection refused")

        source.source._client.call = refused
        until(source.source.problems)
        [problem] = source.source.problems()
        assert problem.startswith("SQS: the queue can't be read (")
        assert problem.endswith("Connection refused")
        source.source._client.call = original
        until(lambda: source.source.problems() == [])

    def test_the_lag_counts_what_waits_and_what_is_held(self, sqs, queue, reading, monkeypatch):
        monkeypatch.setattr(source_module, "_LAG", 0.05)
        monkeypatch.setattr(source_module, "_AHEAD_MESSAGES", 1)
        url = queue()
        fill(sqs, url, 60)
        source = reading(url)
        assert SqsSource(url).lag() is None
        until(lambda: source.source.lag() == 60)
        messages = source.read(30)
        source.source.acknowledge(messages)
        source.source.commit(wait=True)

        until(lambda: source.source.lag() == 30)


class TestDeadLetters:
    def test_a_dead_letter_has_the_attributes_of_its_message_and_the_reason(self, sqs, queue, reading):
        url = queue(fifo=True)
        dead = dead_letter_queue(url)
        assert dead == url.removesuffix(".fifo") + "-dead.fifo"
        sqs.create_queue(dead.rpartition("/")[2])
        trace = os.urandom(16).hex()
        sqs.send(url, export_body("a"), group=trace, **PUBLIC_KEY, mine="kept")
        source = reading(url)
        (message,) = source.read(1)
        told = []
        source.source.bury(DeadLetter(message, b"a part", "http_400", "it is bad", 400), told.append)
        until(lambda: source.source.poll(1, 0.01) or told)

        assert told == [None]
        (letter,) = sqs.messages(dead)
        assert (letter.data, letter.group) == (b"a part", trace)
        assert letter.attributes == {
            **PUBLIC_KEY,
            "mine": "kept",
            "x-langfuse-dead-reason": "http_400",
            "x-langfuse-dead-detail": "it is bad",
            "x-langfuse-dead-status": "400",
        }

    def test_many_are_stored_in_batches_and_more_than_ten_attributes_are_not_taken(self, sqs, queue, reading):
        url = queue()
        sqs.create_queue(dead_letter_queue(url).rpartition("/")[2])
        sqs.send(url, export_body("a"), **{f"a{number}": "x" for number in range(9)}, **PUBLIC_KEY)
        source = reading(url)
        (message,) = source.read(1)
        told = []
        for number in range(25):
            letter = DeadLetter(message, b"part %d" % number, "unknown_type", "d", None)
            source.source.bury(letter, told.append)
        until(lambda: source.source.poll(1, 0.01) or len(told) == 25)

        assert told == [None] * 25
        letters = sqs.messages(dead_letter_queue(url))
        assert {letter.data for letter in letters} == {b"part %d" % number for number in range(25)}
        assert all(len(letter.attributes) == 10 for letter in letters)
        assert letters[0].attributes["x-langfuse-dead-reason"] == "unknown_type"
        assert letters[0].attributes["x-langfuse-public-key"] == "pk-lf-test"

    def test_a_queue_for_them_that_is_missing_is_told(self, sqs, queue, reading):
        url = queue()
        fill(sqs, url, 1)
        source = reading(url)
        (message,) = source.read(1)
        told = []
        source.source.bury(DeadLetter(message, b"x", "http_400", "", 400), told.append)
        until(lambda: source.source.poll(1, 0.01) or told)

        assert f"(sqs_queue_does_not_exist, {dead_letter_queue(url)})" in told[0]


@pytest.mark.slow
def test_once_drains_the_queue(sqs, queue, collector, tmp_path):
    url = queue()
    dead = dead_letter_queue(url)
    sqs.create_queue(dead.rpartition("/")[2])
    collector.reply = lambda seen: (
        Reply() if seen.path == TRACES else Reply(202, b'{"message": "Accepted"}', "application/json")
    )
    names = fill(sqs, url, 150) + fill(sqs, url, 5, prefix="o", **{"x-langfuse-public-key": "pk-lf-other"})
    fill(sqs, url, 2, prefix="u", **{"x-langfuse-public-key": "pk-lf-unknown"})
    sqs.send(url, b'{"id": "s-1", "name": "quality", "value": 1.0}', **PUBLIC_KEY, **{"x-langfuse-type": "score"})
    sqs.client.send_message(QueueUrl=url, MessageBody="no spans")
    projects = tmp_path / "projects.json"
    projects.write_text(json.dumps({"pk-lf-other": "sk-lf-other"}))
    arguments = ("--from", address(url), "--to", collector.url, "--projects", str(projects), "--once")

    looked = run_forwarder(*arguments, "--dry-run", env=ENVIRONMENT)
    assert looked.returncode == 0, looked.stderr
    assert collector.requests == []
    first, *rest = looked.stdout.splitlines()
    assert first.startswith("159 messages, ")
    assert sorted(rest) == [
        "  pk-lf-other: 10 spans would be sent",
        "  pk-lf-test: 1 scores would be sent",
        "  pk-lf-test: 300 spans would be sent",
        "  undecodable: 1 would be dead-lettered",
        "  unknown_project pk-lf-unknown: 4 would be dead-lettered",
    ]
    assert sqs.counts(url) == (159, 0)

    done = run_forwarder(*arguments, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert sorted(collector.accepted) == sorted(names)
    assert len(collector.exports) < 20
    last = json.loads(done.stderr.splitlines()[-1])["message"]
    assert last.startswith("310 spans and 1 scores delivered of 159 messages in ")
    assert sqs.counts(url) == (0, 0)
    assert sorted(letter.attributes["x-langfuse-dead-reason"] for letter in sqs.messages(dead)) == [
        "undecodable",
        "unknown_project",
        "unknown_project",
    ]


@pytest.mark.slow
@pytest.mark.exhaustive  # for half a minute nobody gets what a killed one held
def test_a_killed_one_loses_nothing_and_a_stop_gives_all_back(sqs, queue, collector, forwarder_process):
    url = queue()
    names = fill(sqs, url, 100)
    arguments = ("--from", address(url), "--to", collector.url)
    first = forwarder_process(*arguments, env=ENVIRONMENT)
    collector.wait_for(lambda: len(collector.accepted) >= 20)
    first.process.kill()
    assert first.wait() == -signal.SIGKILL
    # What it held comes again when nobody extends it.
    collector.reply = Reply(429, headers={"retry-after": "60"})
    before = len(collector.exports)
    second = forwarder_process(*arguments, env=ENVIRONMENT)
    # A receive that the first one had begun may still take it, for nobody.
    names += fill(sqs, url, 1, prefix="next")
    collector.wait_for(lambda: len(collector.exports) > before, 60)
    later = fill(sqs, url, 20, prefix="later")
    until(lambda: sqs.counts(url)[0] == 0)
    second.process.send_signal(signal.SIGTERM)
    assert second.wait() == 0, second.raw
    assert sqs.counts(url)[0] >= 20

    collector.reply = Reply()
    third = forwarder_process(*arguments, env=ENVIRONMENT)
    collector.wait_for(lambda: set(collector.accepted) == set(names) | set(later), 60)
    until(lambda: sqs.counts(url) == (0, 0))
    third.process.send_signal(signal.SIGTERM)
    assert third.wait() == 0, third.raw
