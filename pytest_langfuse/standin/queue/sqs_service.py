"""SQS's JSON protocol, as botocore 1.35 and later speak it, over queues in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from pytest_langfuse.standin.queue.sqs_queue import VISIBILITY, SqsEntry, SqsQueue

#: Bytes of a message, and of a batch (SQS, "Message quotas").
MOST_BYTES: Final = 1024 * 1024
_MOST_ENTRIES: Final = 10
_TARGET: Final = "AmazonSQS."
_TYPE: Final = "application/x-amz-json-1.0"
_ACCOUNT: Final = "000000000000"


class SqsRefusal(Exception):  # noqa: N818 - an answer, rather than an error of ours
    """An error of SQS, by its name and the code of the older protocol that clients know it by."""

    def __init__(self, name: str, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.name, self.code, self.message, self.status = name, code, message, status

    def answer(self) -> httpx.Response:
        """Return it as a response."""
        body = {"__type": f"com.amazonaws.sqs#{self.name}", "message": self.message}
        headers = {"content-type": _TYPE, "x-amzn-query-error": f"{self.code};Sender"}
        return httpx.Response(self.status, content=json.dumps(body), headers=headers)


class SqsService:
    """Answers requests: `service(request) -> response`. A queue is there when it is first named. Thread-safe.

    `arrived` is called with each message that is new, and the name of its queue.
    """

    def __init__(self, arrived: Callable[[str, SqsEntry], None]) -> None:
        self._arrived = arrived
        self._lock = threading.Lock()
        self._queues: dict[str, SqsQueue] = {}
        self._operations: Mapping[str, Callable[[SqsQueue, dict[str, Any]], dict[str, Any]]] = {
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": _receive,
            "DeleteMessage": _delete,
            "DeleteMessageBatch": _delete_batch,
            "ChangeMessageVisibility": _hide,
            "ChangeMessageVisibilityBatch": _hide_batch,
            "GetQueueAttributes": _attributes,
            "PurgeQueue": _purge,
        }

    def queue(self, name: str) -> SqsQueue:
        """Return the queue of that name."""
        with self._lock:
            return self._queues.setdefault(name, SqsQueue(name))

    def empty(self) -> None:
        """Delete all messages. Who waits for one in a queue goes on waiting in it."""
        with self._lock:
            for queue in self._queues.values():
                queue.clear()

    def clear(self) -> None:
        """Delete all queues."""
        with self._lock:
            self._queues.clear()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request whose body was read."""
        try:
            return httpx.Response(200, json=self._answer(request), headers={"content-type": _TYPE})
        except SqsRefusal as refusal:
            return refusal.answer()

    def _answer(self, request: httpx.Request) -> dict[str, Any]:
        operation = operation_of(request)
        try:
            call = json.loads(request.content or b"{}")
            if operation in {"CreateQueue", "GetQueueUrl"}:
                name = str(call["QueueName"])
                self.queue(name)
                return {"QueueUrl": f"{request.url.scheme}://{request.url.netloc.decode()}/{_ACCOUNT}/{name}"}
            if operation not in self._operations:
                raise SqsRefusal(
                    "InvalidAction", "InvalidAction", f"the stand-in SQS has no operation {operation or '(none)'}"
                )
            queue = self.queue(urlsplit(str(call["QueueUrl"])).path.rpartition("/")[2])
            return self._operations[operation](queue, call)
        except (KeyError, TypeError, ValueError) as error:
            raise SqsRefusal("InvalidParameterValue", "InvalidParameterValue", f"{operation}: {error!r}") from None

    def _send(self, queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
        if _size(call) > MOST_BYTES:
            raise SqsRefusal(
                "InvalidParameterValue",
                "InvalidParameterValue",
                f"One or more parameters are invalid. Reason: Message must be shorter than {MOST_BYTES} bytes.",
            )
        if queue.fifo and not call.get("MessageGroupId"):
            raise SqsRefusal(
                "MissingParameter", "MissingParameter", "The request must contain the parameter MessageGroupId."
            )
        body = str(call["MessageBody"])
        sent = SqsEntry(
            body,
            call.get("MessageAttributes") or {},
            str(call.get("MessageGroupId") or ""),
            str(call.get("MessageDeduplicationId") or "") if queue.fifo else "",
        )
        entry, new = queue.send(sent)
        if new:
            self._arrived(queue.name, entry)
        return {"MessageId": entry.id, "MD5OfMessageBody": _md5(body)}

    def _send_batch(self, queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
        entries = call["Entries"]
        if not entries:
            raise SqsRefusal(
                "EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", "The batch request is empty."
            )
        if len(entries) > _MOST_ENTRIES:
            raise SqsRefusal(
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                f"Maximum number of entries per request are {_MOST_ENTRIES}. You have sent {len(entries)}.",
            )
        if sum(map(_size, entries)) > MOST_BYTES:
            raise batch_too_long()
        return _each(entries, lambda entry: self._send(queue, entry))


def operation_of(request: httpx.Request) -> str:
    """Return the operation that a request asks for: `SendMessageBatch`."""
    return str(request.headers.get("x-amz-target", "")).removeprefix(_TARGET)


def batch_too_long() -> SqsRefusal:
    """Return the refusal of a batch that is larger than a batch may be."""
    return SqsRefusal(
        "BatchRequestTooLong",
        "AWS.SimpleQueueService.BatchRequestTooLong",
        f"Batch requests cannot be longer than {MOST_BYTES} bytes.",
    )


def _each(entries: list[dict[str, Any]], perform: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Perform a batch, in which each entry fails alone."""
    answer: dict[str, Any] = {"Successful": [], "Failed": []}
    for entry in entries:
        try:
            answer["Successful"].append({"Id": entry["Id"], **perform(entry)})
        except SqsRefusal as refusal:
            answer["Failed"].append(
                {"Id": entry["Id"], "SenderFault": True, "Code": refusal.code, "Message": refusal.message}
            )
    return answer


def _size(entry: Mapping[str, Any]) -> int:
    attributes = entry.get("MessageAttributes") or {}
    return len(str(entry["MessageBody"]).encode()) + sum(
        len(name.encode()) + sum(len(str(part).encode()) for part in value.values())
        for name, value in attributes.items()
    )


def _md5(text: str) -> str:
    # The protocol's checksum.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _receive(queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
    found = queue.receive(
        int(call.get("MaxNumberOfMessages", 1)),
        visibility=float(call.get("VisibilityTimeout", VISIBILITY)),
        wait=float(call.get("WaitTimeSeconds", 0)),
    )
    return {"Messages": [_received(entry) for entry in found]} if found else {}


def _received(entry: SqsEntry) -> dict[str, Any]:
    fifo = {"MessageGroupId": entry.group, "MessageDeduplicationId": entry.deduplication} if entry.group else {}
    return {
        "MessageId": entry.id,
        "ReceiptHandle": entry.receipt,
        "Body": entry.body,
        "MD5OfBody": _md5(entry.body),
        "MessageAttributes": dict(entry.attributes),
        "Attributes": {
            "ApproximateReceiveCount": str(entry.received),
            "SentTimestamp": str(round(entry.sent * 1000)),
            **fifo,
        },
    }


def _delete(queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
    queue.delete(str(call["ReceiptHandle"]))
    return {}


def _delete_batch(queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
    return _each(call["Entries"], lambda entry: _delete(queue, entry))


def _hide(queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
    if not queue.hide(str(call["ReceiptHandle"]), float(call["VisibilityTimeout"])):
        code = "InvalidParameterValue"
        raise SqsRefusal(
            "MessageNotInflight", code, "Message does not exist or is not available for visibility change."
        )
    return {}


def _hide_batch(queue: SqsQueue, call: dict[str, Any]) -> dict[str, Any]:
    return _each(call["Entries"], lambda entry: _hide(queue, entry))


def _attributes(queue: SqsQueue, _call: dict[str, Any]) -> dict[str, Any]:
    visible, hidden = queue.counts()
    return {
        "Attributes": {
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
            "ApproximateNumberOfMessagesDelayed": "0",
            "MaximumMessageSize": str(MOST_BYTES),
            "QueueArn": f"arn:aws:sqs:us-east-1:{_ACCOUNT}:{queue.name}",
            "VisibilityTimeout": f"{VISIBILITY:.0f}",
            **({"FifoQueue": "true"} if queue.fifo else {}),
        }
    }


def _purge(queue: SqsQueue, _call: dict[str, Any]) -> dict[str, Any]:
    queue.clear()
    return {}
