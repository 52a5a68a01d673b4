"""The stand-in SQS answers botocore's own client, as SQS does."""

from __future__ import annotations

import base64
import itertools
import json

import httpx
import pytest
from botocore import handlers
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.session import get_session

from pytest_langfuse.standin.queue.queue_failure import QueueFailure
from pytest_langfuse.standin.queue.sqs_stand_in import SqsStandIn

NAME = "langfuse"


@pytest.fixture
def sqs():
    stand_in = SqsStandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture(scope="module")
def session():
    """Reads the description of SQS once."""
    return get_session()


@pytest.fixture
def client(sqs, session):
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5, proxies={})
    made = session.create_client(
        "sqs",
        endpoint_url=sqs.url,
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=config,
    )
    yield made
    made.close()


@pytest.fixture
def queue(sqs):
    return sqs.url_of("https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse")


@pytest.fixture
def fifo(sqs):
    return sqs.url_of("https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse.fifo")


def text(value):
    return base64.b64encode(value).decode()


def attribute(value):
    return {"x-langfuse-public-key": {"DataType": "String", "StringValue": value}}


def error_of(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]["Code"]


def failing(kind, pattern=None):
    pattern = itertools.repeat(True) if pattern is None else iter(pattern)
    return QueueFailure(kind, delay=0.0, strikes=lambda: next(pattern, False))


def test_nothing_listens_before_it_is_asked_for():
    assert (SqsStandIn().running, SqsStandIn().read()) == (False, [])


def test_a_queue_keeps_the_path_of_the_configured_one(sqs, queue):
    assert queue == f"{sqs.url}/123456789012/langfuse"


def test_what_was_sent_is_read_once_and_decoded(sqs, client, queue):
    client.send_message(QueueUrl=queue, MessageBody=text(b"one"), MessageAttributes=attribute("pk"))
    client.send_message_batch(
        QueueUrl=queue,
        Entries=[{"Id": "0", "MessageBody": text(b"two")}, {"Id": "1", "MessageBody": "not base64!"}],
    )
    one, two, three = sqs.read()
    assert (one.key, one.value, one.topic, one.headers) == ("", b"one", NAME, {"x-langfuse-public-key": "pk"})
    assert (two.value, two.headers, three.value) == (b"two", {}, b"not base64!")
    assert sqs.read() == []


def test_receive_hide_and_delete(client, queue):
    for number in range(3):
        client.send_message(QueueUrl=queue, MessageBody=str(number), MessageAttributes=attribute("pk"))
    got = client.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=2, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )["Messages"]
    assert [message["Body"] for message in got] == ["0", "1"]
    assert got[0]["MessageAttributes"] == attribute("pk")
    assert got[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    counts = client.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("1", "2")

    client.delete_message(QueueUrl=queue, ReceiptHandle=got[0]["ReceiptHandle"])
    answer = client.change_message_visibility_batch(
        QueueUrl=queue,
        Entries=[
            {"Id": "a", "ReceiptHandle": got[1]["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "b", "ReceiptHandle": "unknown", "VisibilityTimeout": 0},
        ],
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["a"]
    assert [entry["Id"] for entry in answer["Failed"]] == ["b"]
    again = client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    assert [message["Body"] for message in again["Messages"]] == ["1", "2"]
    assert again["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "2"
    entries = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in again["Messages"]]
    assert len(client.delete_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == 2
    assert "Messages" not in client.receive_message(QueueUrl=queue)
    client.send_message(QueueUrl=queue, MessageBody="x")
    client.purge_queue(QueueUrl=queue)
    assert "Messages" not in client.receive_message(QueueUrl=queue)


def test_a_hidden_message_comes_back_and_is_waited_for(client, queue):
    client.send_message(QueueUrl=queue, MessageBody="0")
    assert client.receive_message(QueueUrl=queue, VisibilityTimeout=1)["Messages"]
    assert "Messages" not in client.receive_message(QueueUrl=queue)
    assert client.receive_message(QueueUrl=queue, WaitTimeSeconds=4)["Messages"][0]["Body"] == "0"


def test_a_fifo_queue_keeps_the_order_of_a_group_and_each_message_once(sqs, client, fifo):
    def send(body, group, deduplication):
        return client.send_message(
            QueueUrl=fifo, MessageBody=text(body), MessageGroupId=group, MessageDeduplicationId=deduplication
        )["MessageId"]

    first = send(b"a1", "a", "1")
    send(b"a2", "a", "2")
    send(b"b1", "b", "3")
    assert send(b"a1", "a", "1") == first
    assert [(message.key, message.value) for message in sqs.read()] == [("a", b"a1"), ("a", b"a2"), ("b", b"b1")]
    received = [client.receive_message(QueueUrl=fifo)["Messages"][0] for _ in range(2)]
    # While a1 is held, a2 is not handed out.
    assert [message["Body"] for message in received] == [text(b"a1"), text(b"b1")]
    assert "Messages" not in client.receive_message(QueueUrl=fifo)
    client.delete_message(QueueUrl=fifo, ReceiptHandle=received[0]["ReceiptHandle"])
    assert client.receive_message(QueueUrl=fifo)["Messages"][0]["Body"] == text(b"a2")
    assert error_of(client.send_message, QueueUrl=fifo, MessageBody="x") == "MissingParameter"


def test_limits(client, queue):
    large = "x" * (1024 * 1024)
    client.send_message(QueueUrl=queue, MessageBody=large)
    assert error_of(client.send_message, QueueUrl=queue, MessageBody=f"{large}x") == "InvalidParameterValue"
    with_attribute = {"QueueUrl": queue, "MessageBody": large, "MessageAttributes": attribute("pk")}
    assert error_of(client.send_message, **with_attribute) == "InvalidParameterValue"
    half = "x" * (512 * 1024 + 1)
    batch = [{"Id": str(number), "MessageBody": half} for number in range(2)]
    too_long = error_of(client.send_message_batch, QueueUrl=queue, Entries=batch)
    assert too_long == "AWS.SimpleQueueService.BatchRequestTooLong"
    many = [{"Id": str(number), "MessageBody": "x"} for number in range(11)]
    assert error_of(client.send_message_batch, QueueUrl=queue, Entries=many).endswith("TooManyEntriesInBatchRequest")
    assert error_of(client.send_message_batch, QueueUrl=queue, Entries=[]).endswith("EmptyBatchRequest")


def test_a_queue_by_name(client, sqs):
    url = client.create_queue(QueueName="made")["QueueUrl"]
    assert url == client.get_queue_url(QueueName="made")["QueueUrl"] == f"{sqs.url}/000000000000/made"


def test_bad_requests_are_refused(sqs, client):
    assert error_of(client.list_queues) == "InvalidAction"
    for content in (b"", b"[]", b"{", json.dumps({"QueueUrl": sqs.url}).encode()):
        answer = httpx.post(
            sqs.url, content=content, headers={"x-amz-target": "AmazonSQS.SendMessage"}, trust_env=False
        )
        assert answer.status_code == 400, content
        assert answer.json()["__type"] == "com.amazonaws.sqs#InvalidParameterValue"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("too_large", "AWS.SimpleQueueService.BatchRequestTooLong"),
        ("not_authorized", "AccessDenied"),
        ("throttled", "RequestThrottled"),
    ],
)
def test_requests_are_refused_by_a_pattern(sqs, client, queue, kind, code):
    refusing = failing(kind, [False, True])
    sqs.begin(refusing)
    batch = {"QueueUrl": queue, "Entries": [{"Id": "0", "MessageBody": text(b"x")}]}
    assert client.send_message_batch(**batch)["Successful"]
    assert error_of(client.send_message_batch, **batch) == code
    # Others than those that send are let through.
    assert client.receive_message(QueueUrl=queue)["Messages"]
    sqs.end(refusing)
    assert client.send_message_batch(**batch)["Successful"]
    assert (refusing.attempts, refusing.struck, len(sqs.read())) == (2, 1, 2)


def test_down_and_up_again(sqs, client, queue):
    down = failing("down")
    sqs.begin(down)
    with pytest.raises(EndpointConnectionError):
        client.send_message(QueueUrl=queue, MessageBody="x")
    sqs.end(down)
    client.send_message(QueueUrl=queue, MessageBody="x")
    assert len(sqs.read()) == 1


def test_it_starts_as_it_was_told_to_fail(sqs):
    sqs.begin(failing("down"))
    with pytest.raises(httpx.ConnectError):
        httpx.get(sqs.url, trust_env=False)


def test_emptied_it_has_nothing_for_a_consumer(sqs, client, queue):
    client.send_message(QueueUrl=queue, MessageBody=text(b"old"))
    sqs.empty()
    assert "Messages" not in client.receive_message(QueueUrl=queue)
    assert sqs.read() == []
    client.send_message(QueueUrl=queue, MessageBody=text(b"new"))
    assert client.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == text(b"new")


class Library:
    """Answers for SQS in this process, as moto does."""

    def __init__(self, error=None):
        self.enabled = True
        self.asked = []
        self._error = error

    def __call__(self, event_name, request, **_):
        if ".amazonaws.com" not in request.url:
            return None
        self.asked.append((event_name, request.url, json.loads(request.body)))
        if self._error is not None:
            raise self._error
        return AWSResponse(request.url, 400, {}, None)


@pytest.mark.parametrize("error", [None, KeyError("no such queue")], ids=["answers", "raises"])
def test_a_library_in_this_process_gets_a_copy_and_decides_nothing(sqs, client, queue, monkeypatch, error):
    library = Library(error)
    monkeypatch.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, ("before-send", library)])
    client.send_message(QueueUrl=queue, MessageBody=text(b"one"))
    client.receive_message(QueueUrl=queue)
    [(event, url, call)] = library.asked
    assert (event, url) == ("before-send.sqs.SendMessage", "https://sqs.eu-west-1.amazonaws.com/")
    assert call["QueueUrl"] == "https://sqs.eu-west-1.amazonaws.com/123456789012/langfuse"
    assert call["MessageBody"] == text(b"one")
    throttled = failing("throttled")
    sqs.begin(throttled)
    assert error_of(client.send_message, QueueUrl=queue, MessageBody="x") == "RequestThrottled"
    sqs.end(throttled)
    library.enabled = False
    client.send_message(QueueUrl=queue, MessageBody="y")
    assert len(library.asked) == 1
    assert [message.value for message in sqs.read()] == [b"one", b"y"]
