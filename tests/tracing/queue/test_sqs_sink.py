"""Export bodies on their way into SQS: the messages, what becomes of each, and threads that end."""

import functools
import hashlib
import json
import os
import sys
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.standin.http.free_ports import free_port
from pytest_langfuse.tracing import ConfigError
from pytest_langfuse.tracing.delivery.export_body import ExportBody
from pytest_langfuse.tracing.delivery.sink import Verdict
from pytest_langfuse.tracing.queue import endpoints, sqs_message
from pytest_langfuse.tracing.queue.sqs_client import region_of
from pytest_langfuse.tracing.queue.sqs_sink import SqsSink
from tests.helpers.hostile_server import HostileServer, head
from tests.helpers.sqs_server import CREDENTIALS

pytestmark = pytest.mark.usefixtures("aws_credentials")

ACCEPTED, FAILED, REFUSED, TOO_LARGE = Verdict.ACCEPTED, Verdict.FAILED, Verdict.REFUSED, Verdict.TOO_LARGE
KIB = 1024


def body(trace, *names, size=0, told=True):
    """Spans of a trace, padded to `size` bytes; `told=False` as from a spool, where the trace is not noted."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in names or ("span",):
        scope.spans.add(name=str(name), trace_id=bytes.fromhex(trace))
    if size:
        # Two bytes of each length are there already, for a text of one byte.
        scope.spans[0].trace_state = "x"
        scope.spans[0].trace_state = "x" * (size - request.ByteSize() - 8)
        scope.spans[0].trace_state += "x" * (size - request.ByteSize())
        assert request.ByteSize() == size
    return ExportBody(request.SerializeToString(), len(scope.spans), trace if told else "")


def trace(number):
    return f"{number:032x}"


def bodies(count, **more):
    return [body(trace(number), f"s{number}", **more) for number in range(1, count + 1)]


def names(message):
    request = ExportTraceServiceRequest.FromString(message.data)
    return [span.name for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]


class Sending:
    """A sink, and what it has confirmed."""

    def __init__(self, url, timeout=10.0):
        self.sink = SqsSink(url, public_key="pk-lf-test", timeout=timeout)
        self.calls = []
        self._confirmed = threading.Condition()

    def __call__(self, bodies, *, wait=True):
        """Send a group and return the outcome of each body."""
        with self._confirmed:
            number = len(self.calls)
            self.calls.append(None)

        def confirm(outcome):
            with self._confirmed:
                assert self.calls[number] is None, "confirmed twice"
                self.calls[number] = list(outcome) if isinstance(outcome, tuple) else [outcome] * len(bodies)
                self._confirmed.notify_all()

        self.sink.send(bodies, confirm)
        return self.outcomes(number) if wait else None

    def outcomes(self, number=0):
        with self._confirmed:
            assert self._confirmed.wait_for(lambda: self.calls[number] is not None, 30), "never confirmed"
        return self.calls[number]


@pytest.fixture
def sending():
    made = []

    def make(url, **more):
        made.append(Sending(url, **more))
        return made[-1]

    yield make
    for one in made:
        one.sink.close(5)


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


def service(*answers):
    """An SQS that gives these answers in turn, the last for ever: (status, JSON, headers...)."""
    requests = []

    def answer(request):
        requests.append(json.loads(request.partition(b"\r\n\r\n")[2]))
        status, content, *headers = answers[min(len(requests), len(answers)) - 1]
        data = json.dumps(content(requests[-1]) if callable(content) else content).encode()
        yield head("content-type: application/x-amz-json-1.0", f"content-length: {len(data)}", "connection: close",
                   *headers, status=f"{status} Said So") + data  # fmt: skip

    server = HostileServer(answer)
    server.calls = requests
    server.queue = f"{server.url}/000000000000/q"
    return server


def stored(request):
    return {"Successful": [{"Id": entry["Id"], "MessageId": "1"} for entry in request["Entries"]]}


def error(code, message="it says so"):
    return {"__type": f"com.amazonaws.sqs#{code}", "message": message}


def entry_error(code, *, sender=True, message="it says so"):
    return {"Failed": [{"Id": "0", "Code": code, "SenderFault": sender, "Message": message}]}


class TestMessages:
    def test_bodies_of_several_traces_are_one_message_of_a_standard_queue(self, sqs, queue, sending):
        url, sent = queue(), bodies(30)
        assert verdicts(sending(url)(sent)) == [ACCEPTED] * 30

        (message,) = sqs.messages(url)
        assert message.data == b"".join(one.data for one in sent)
        assert names(message) == [f"s{number}" for number in range(1, 31)]
        assert message.attributes == {"x-langfuse-public-key": "pk-lf-test"}

    def test_a_message_has_at_most_what_older_queues_take(self, sqs, queue, sending):
        url = queue()
        outcomes = sending(url)(bodies(20, size=30_000))

        assert verdicts(outcomes) == [ACCEPTED] * 20
        messages = sqs.messages(url)
        assert [name for message in messages for name in names(message)] == [f"s{number}" for number in range(1, 21)]
        # Six bodies have room, seven have not.
        assert [len(names(message)) for message in messages] == [6, 6, 6, 2]
        assert all(message.size <= sqs_message.USUAL_BYTES for message in messages)

    def test_the_largest_body_that_a_sink_asks_for_fills_such_a_message(self, sqs, queue, sending):
        url = queue()
        sends = sending(url)
        assert not sends.sink.by_trace
        assert verdicts(sends(bodies(2, size=sends.sink.largest_body))) == [ACCEPTED] * 2

        assert [sqs_message.USUAL_BYTES - message.size < 8 for message in sqs.messages(url)] == [True, True]

    @pytest.mark.parametrize(("beyond", "messages"), [(0, 1), (1, 2)])
    def test_a_message_is_filled_to_the_last_byte(self, sqs, queue, sending, beyond, messages):
        url = queue()
        sends = sending(url)
        half, rest = sends.sink.largest_body // 2, sends.sink.largest_body - sends.sink.largest_body // 2
        assert verdicts(sends([*bodies(1, size=half), *bodies(1, size=rest + beyond)])) == [ACCEPTED] * 2

        assert len(sqs.messages(url)) == messages

    @pytest.mark.parametrize("size", [100, 1_000, 9_000, 50_000, 196_000, 400_000, 786_000])
    def test_a_group_of_the_size_that_a_sink_asks_for_is_one_request(self, sending, size):
        with service((200, stored)) as server:
            sends = sending(server.queue)
            count = max(min(sends.sink.most_bytes // size, 2048), 1)
            assert verdicts(sends(bodies(count, size=size))) == [ACCEPTED] * count

        assert len(server.calls) == 1

    def test_more_than_a_batch_may_have_goes_in_several_requests(self, sending):
        with service((200, stored)) as server:
            sent = [*bodies(30, size=150_000), *bodies(3, size=700_000)]
            assert verdicts(sending(server.queue)(sent)) == [ACCEPTED] * 33

        batches = [[len(entry["MessageBody"]) for entry in call["Entries"]] for call in server.calls]
        attributes = len("x-langfuse-public-key") + len("String") + len("pk-lf-test")
        assert sum(map(len, batches)) == 33
        assert all(len(batch) <= 10 and sum(batch) + len(batch) * attributes <= 1024 * KIB for batch in batches)
        # Five messages of 200 KB have room in one.
        assert len(batches) == 6 + 3

    def test_a_message_of_a_fifo_queue_has_one_trace(self, sqs, queue, sending):
        url, sent = queue(fifo=True), bodies(12)
        sends = sending(url)
        assert sends.sink.by_trace
        assert verdicts(sends(sent)) == [ACCEPTED] * 12

        messages = sqs.messages(url)
        assert [message.data for message in messages] == [one.data for one in sent]
        assert [message.group for message in messages] == [one.trace for one in sent]
        assert [message.deduplication for message in messages] == [hashlib.sha256(one.data).hexdigest() for one in sent]

    def test_a_body_of_which_no_trace_is_known_is_split_for_a_fifo_queue(self, sqs, queue, sending):
        url = queue(fifo=True)
        mixed = body(trace(1), "a", told=False).data + body(trace(2), "b").data + body(trace(1), "c").data
        assert verdicts(sending(url)([ExportBody(mixed, 3)])) == [ACCEPTED]

        assert {message.group: names(message) for message in sqs.messages(url)} == {
            trace(1): ["a", "c"],
            trace(2): ["b"],
        }

    def test_spans_without_a_valid_trace_have_a_group_too(self, sqs, queue, sending):
        url = queue(fifo=True)
        without = ExportTraceServiceRequest()
        without.resource_spans.add().scope_spans.add().spans.add(name="lost")
        assert verdicts(sending(url)([ExportBody(without.SerializeToString(), 1)])) == [ACCEPTED]

        (message,) = sqs.messages(url)
        assert message.group == message.deduplication

    def test_what_is_sent_again_is_stored_once_by_a_fifo_queue(self, sqs, queue, sending):
        url = queue(fifo=True)
        sends = sending(url)
        for _ in range(2):
            assert verdicts(sends(bodies(3))) == [ACCEPTED] * 3

        assert len(sqs.messages(url)) == 3

    def test_a_fifo_body_that_is_not_readable_is_refused_alone(self, sqs, queue, sending):
        url = queue(fifo=True)
        outcomes = sending(url)([*bodies(1), ExportBody(b"\xff\xff", 4)])

        assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [(ACCEPTED, ""), (REFUSED, "undecodable")]
        assert len(sqs.messages(url)) == 1

    def test_a_body_without_content_costs_no_message(self, sending):
        with service((200, stored)) as server:
            assert verdicts(sending(server.queue)([ExportBody(b"", 0)])) == [ACCEPTED]

        assert server.calls == []


def test_a_harness_names_another_queue_or_none(sqs, queue, sending, monkeypatch):
    configured, other = queue(), queue()
    sends = sending(configured)
    monkeypatch.setattr(endpoints, "sqs", lambda _: endpoints.SqsEndpoint(other, ("other", "secret")))
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    assert verdicts(sends(bodies(1))) == [ACCEPTED]
    monkeypatch.setattr(endpoints, "sqs", lambda _: None)
    assert verdicts(sends(bodies(2))) == [ACCEPTED] * 2

    assert [len(sqs.messages(url)) for url in (configured, other)] == [0, 1]


class TestTooLarge:
    def test_what_no_queue_takes_is_not_sent(self, sqs, queue, sending):
        with service((200, stored)) as server:
            most = sqs_message.room_for_data({"x-langfuse-public-key": "pk-lf-test"}, sqs_message.MOST_BYTES)
            outcomes = sending(server.queue)([*bodies(1, size=most + 3), *bodies(1, size=most), *bodies(1)])

        assert verdicts(outcomes) == [TOO_LARGE, ACCEPTED, ACCEPTED]
        assert outcomes[0].reason == "message_too_large"
        assert sum(len(call["Entries"]) for call in server.calls) == 2

    def test_bodies_that_a_queue_refused_together_are_sent_alone(self, sqs, queue, sending):
        url = queue(MaximumMessageSize="20000")
        sends = sending(url)
        outcomes = sends([*bodies(4, size=9_000), *bodies(1, size=30_000), *bodies(1, size=9_000)])

        assert verdicts(outcomes) == [ACCEPTED] * 4 + [TOO_LARGE] + [ACCEPTED]
        assert "20000 bytes" in outcomes[4].detail
        assert len(sqs.messages(url)) == 5

    def test_the_queues_own_limit_is_learned(self, sending):
        limit = "One or more parameters are invalid. Reason: Message must be shorter than 65536 bytes."
        with service((200, entry_error("InvalidParameterValue", message=limit)), (200, stored)) as server:
            sends = sending(server.queue)
            assert verdicts(sends(bodies(10, size=10_000))) == [ACCEPTED] * 10
            before = len(server.calls)
            assert verdicts(sends(bodies(10, size=10_000))) == [ACCEPTED] * 10

        assert [len(call["Entries"]) for call in server.calls[before:]] == [3]

    @pytest.mark.parametrize("answer", [(400, error("BatchRequestTooLong")), (413, {})])
    def test_a_batch_that_is_refused_as_too_large_is_sent_message_by_message(self, sending, answer):
        with service(answer, (200, stored)) as server:
            assert verdicts(sending(server.queue)(bodies(5, size=150_000))) == [ACCEPTED] * 5

        assert [len(call["Entries"]) for call in server.calls] == [5, 1, 1, 1, 1, 1]


ERRORS = {
    "AccessDenied": "sqs_access_denied",
    "AccessDeniedException": "sqs_access_denied",
    "ExpiredTokenException": "sqs_access_denied",
    "InvalidClientTokenId": "sqs_access_denied",
    "KmsAccessDenied": "sqs_access_denied",
    "SignatureDoesNotMatch": "sqs_access_denied",
    "UnrecognizedClientException": "sqs_access_denied",
    "QueueDoesNotExist": "sqs_queue_does_not_exist",
    "AWS.SimpleQueueService.NonExistentQueue": "sqs_queue_does_not_exist",
    "RequestThrottled": "sqs_throttled",
    "ThrottlingException": "sqs_throttled",
    "KMS.ThrottlingException": "sqs_throttled",
    "OverLimit": "sqs_throttled",
    "InternalError": "sqs_internal",
    "ServiceUnavailable": "sqs_service_unavailable",
    "KmsDisabled": "sqs_kms_disabled",
    "InvalidAddress": "sqs_invalid_address",
    "Brand!New\nOne": "sqs_brand_new_one",
}


class TestErrors:
    def test_an_error_of_the_request_keeps_all(self, sending):
        with service(*((400, error(code)) for code in ERRORS)) as server:
            sends = sending(server.queue)
            found = [sends(bodies(2)) for _ in ERRORS]

        assert [outcomes[0].reason for outcomes in found] == list(ERRORS.values())
        assert {outcome.verdict for outcomes in found for outcome in outcomes} == {FAILED}
        assert found[0][0].detail == "it says so"

    @pytest.mark.parametrize("sender", [True, False])
    def test_so_does_an_entry_that_fails_for_what_can_be_mended(self, sending, sender):
        with service(*((200, entry_error(code, sender=sender)) for code in ERRORS)) as server:
            sends = sending(server.queue)
            found = [sends(bodies(1))[0] for _ in ERRORS]

        assert [outcome.reason for outcome in found] == list(ERRORS.values())
        of_message = {"sqs_internal", "sqs_brand_new_one", "sqs_service_unavailable"}
        mended = [outcome.verdict for outcome in found if outcome.reason not in of_message]
        assert set(mended) == {FAILED}
        assert {outcome.verdict for outcome in found} == ({FAILED, REFUSED} if sender else {FAILED})

    def test_a_message_that_is_at_fault_itself_is_refused(self, sending):
        with service((200, entry_error("InvalidMessageContents"))) as server:
            (outcome,) = sending(server.queue)(bodies(1))

        assert (outcome.verdict, outcome.reason) == (REFUSED, "sqs_invalid_message_contents")

    def test_each_body_has_the_outcome_of_its_message(self, sending):
        def mixed(request):
            first, second, *others = request["Entries"]
            failed = [
                {"Id": first["Id"], "Code": "InvalidMessageContents", "SenderFault": True},
                {"Id": second["Id"], "Code": "InternalError", "SenderFault": False},
                {"Id": "77", "Code": "InternalError", "SenderFault": False},
            ]
            return {"Failed": failed, **stored({"Entries": others[1:]})}

        with service((200, mixed)) as server:
            outcomes = sending(server.queue)(bodies(5, size=150_000))

        assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [
            (REFUSED, "sqs_invalid_message_contents"),
            (FAILED, "sqs_internal"),
            (FAILED, "sqs_no_answer"),
            (ACCEPTED, ""),
            (ACCEPTED, ""),
        ]

    def test_bodies_that_were_refused_together_are_sent_alone(self, sending):
        with service((200, entry_error("InvalidMessageContents")), (200, stored)) as server:
            assert verdicts(sending(server.queue)(bodies(3))) == [ACCEPTED] * 3

        assert [len(call["Entries"]) for call in server.calls] == [1, 3]

    def test_the_rest_of_a_group_is_not_tried_after_a_batch_that_failed(self, sending):
        with service((503, {}), (200, stored)) as server:
            outcomes = sending(server.queue)(bodies(10, size=700_000))

        assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [(FAILED, "sqs_http_503")] * 10
        assert len(server.calls) == 1

    def test_a_pause_that_was_asked_for_is_reported(self, sending):
        with service((400, error("ThrottlingException"), "retry-after: 17")) as server:
            (outcome,) = sending(server.queue)(bodies(1))

        assert (outcome.reason, outcome.retry_after) == ("sqs_throttled", 17.0)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (head("content-type: text/html", "content-length: 5") + b"hello", None),
            (head("content-length: 2") + b"[]", None),
            (head("location: /login", "content-length: 0", status="302 Found"), "sqs_http_302"),
            (head("content-length: 0", status="500 No"), "sqs_http_500"),
            (b"", "sqs_connection_closed"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", None),
        ],
    )
    def test_an_answer_that_is_not_of_sqs_keeps_all(self, sending, answer, reason):
        with HostileServer(lambda _: [answer]) as server:
            outcomes = sending(f"{server.url}/000000000000/q")(bodies(2))

        assert verdicts(outcomes) == [FAILED] * 2
        assert outcomes[0].reason == reason or (reason is None and outcomes[0].reason.startswith("sqs_"))
        # No retries of botocore.
        assert len(server.requests) == 1

    def test_a_queue_that_is_not_there_is_named(self, sqs, sending):
        outcomes = sending(f"{sqs.url}/000000000000/none")(bodies(2))

        assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [(FAILED, "sqs_queue_does_not_exist")] * 2

    def test_nobody_listens(self, sending):
        (outcome,) = sending(f"http://127.0.0.1:{free_port()}/000000000000/q")(bodies(1))

        assert (outcome.verdict, outcome.reason) == (FAILED, "sqs_endpoint_connection")

    def test_credentials_that_come_later_are_used(self, sqs, queue, sending, monkeypatch):
        secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        sends = sending(queue())
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        first, *_ = sends(bodies(1))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        second, *_ = sends(bodies(1))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        third, *_ = sends(bodies(1))

        assert [(outcome.verdict, outcome.reason) for outcome in (first, second, third)] == [
            (FAILED, "sqs_no_credentials"),
            (FAILED, "sqs_no_credentials"),
            (ACCEPTED, ""),
        ]

    def test_credentials_that_are_refused_are_read_again(self, sending, monkeypatch):
        used = []
        with service((400, error("ExpiredTokenException")), (200, stored)) as server:
            sends = sending(server.queue)
            for key in ("FIRST", "SECOND"):
                monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
                used.append(sends(bodies(1))[0].verdict)

        assert used == [FAILED, ACCEPTED]
        assert [b"Credential=SECOND/" in request for request in server.requests] == [False, True]

    def test_boto3_that_is_missing_is_one_sentence(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        with pytest.raises(ConfigError, match=r"SQS needs boto3 .*pip install 'pytest-langfuse\[sqs\]'"):
            SqsSink("https://sqs.eu-west-1.amazonaws.com/1/q", public_key="pk", timeout=1)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("vpce-0a1.sqs.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("sqs.us-east-1.api.aws", "us-east-1"),
        ("eu-central-1.queue.amazonaws.com", "eu-central-1"),
        ("queue.amazonaws.com", "us-east-1"),
        ("sqs.us-west-2.localhost.localstack.cloud", "us-west-2"),
        ("localhost", None),
        ("my-sqs.eu-west-1.example", None),
        ("127.0.0.1", None),
    ],
)
def test_the_region_is_that_of_the_queues_host(host, region):
    assert region_of(host) == region


@pytest.mark.parametrize(("variable", "region"), [("AWS_REGION", "eu-north-1"), ("AWS_DEFAULT_REGION", "eu-south-1"),
                                                  ("OTHER", "us-east-1")])  # fmt: skip
def test_another_hosts_region_is_the_environments(sending, monkeypatch, variable, region):
    monkeypatch.setenv(variable, region)
    with service((200, stored)) as server:
        assert verdicts(sending(server.queue)(bodies(1))) == [ACCEPTED]

    assert f"/{region}/sqs/aws4_request".encode() in server.requests[0]


def never_ending(kind, _request, until=None):
    """An answer that does not come, or never ends."""
    server_end = until or threading.Event()
    if kind == "drip":
        yield head("content-length: 1000000")
    for _ in range(3000):
        if server_end.wait(0.01):
            return
        yield b" " if kind == "drip" else b""


class TestThreads:
    def test_four_groups_are_under_way_at_once(self, sending):
        together = threading.Barrier(4, timeout=20)

        def content(request):
            together.wait()
            return stored(request)

        with service((200, content)) as server:
            sends = sending(server.queue)
            for number in range(8):
                sends(bodies(number + 1), wait=False)
            assert [verdicts(sends.outcomes(number)) for number in range(8)] == [[ACCEPTED] * n for n in range(1, 9)]

        assert sends.sink.max_in_flight == 4

    def test_a_thread_serves_one_group_after_the_other(self, sending):
        before = threading.active_count()
        with service((200, stored)) as server:
            sends = sending(server.queue)
            for _ in range(5):
                sends(bodies(1))
            ours = [thread for thread in threading.enumerate() if thread.name.startswith("langfuse-tracing-sqs")]
            assert len(ours) == 2
            assert all(thread.daemon for thread in ours)
            sends.sink.close(10)
        for thread in ours:
            thread.join(10)

        assert threading.active_count() <= before + 1

    @pytest.mark.parametrize("kind", ["hang", "drip"])
    def test_a_request_has_one_limit_for_all_of_it(self, sending, kind):
        with HostileServer(functools.partial(never_ending, kind)) as server:
            sends = sending(f"{server.url}/000000000000/q", timeout=0.2)
            outcomes = sends(bodies(3))

            assert verdicts(outcomes) == [FAILED] * 3
            # botocore has a limit for each wait, and says which it was.
            assert (
                outcomes[0].reason in {"hang": {"sqs_read_timeout", "sqs_timed_out"}, "drip": {"sqs_timed_out"}}[kind]
            )
            server.closing.set()

    @pytest.mark.slow
    def test_requests_that_never_end_hold_no_more_than_some_threads(self, sending):
        late = threading.Event()

        def answer(request):
            yield from never_ending("drip", request, until=late) if not late.is_set() else []
            content = json.dumps(stored(json.loads(request.partition(b"\r\n\r\n")[2]))).encode()
            yield head("content-type: application/x-amz-json-1.0", f"content-length: {len(content)}") + content

        with HostileServer(answer) as server:
            sends = sending(f"{server.url}/000000000000/q", timeout=0.3)
            reasons = [sends(bodies(1))[0].reason for _ in range(10)]
            ours = [thread for thread in threading.enumerate() if thread.name == "langfuse-tracing-sqs"]

            # On a busy machine botocore may be the first to give one up.
            assert set(reasons) <= {"sqs_timed_out", "sqs_read_timeout"}
            assert len(ours) <= 8
            # When they end, others take their place.
            late.set()
            for thread in ours:
                thread.join(20)
            assert not any(thread.is_alive() for thread in ours)
            assert verdicts(sends(bodies(1))) == [ACCEPTED]

    def test_where_no_thread_can_be_started_a_group_is_sent_at_once(self, sqs, queue, sending, monkeypatch):
        url = queue()
        sends = sending(url)

        def refuse(_):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        sends(bodies(2), wait=False)

        assert sends.calls == [[sends.calls[0][0]] * 2]
        assert verdicts(sends.calls[0]) == [ACCEPTED] * 2
        assert len(sqs.messages(url)) == 1

    def test_a_forked_child_has_a_client_of_its_own(self, sqs, queue, sending):
        url = queue()
        sends = sending(url)
        assert verdicts(sends(bodies(1))) == [ACCEPTED]
        (client,) = sends.sink._clients.values()
        made = client._client
        if (pid := os.fork()) == 0:
            try:
                sends.sink.after_fork()
                ok = verdicts(sends(bodies(1))) == [ACCEPTED] and client._client is not made
                sends.sink.close(5)
                # The connection of the parent was not shut down.
                os._exit(0 if ok and made in client._of_parent else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

        assert verdicts(sends(bodies(1))) == [ACCEPTED]
        assert len(sqs.messages(url)) == 3
