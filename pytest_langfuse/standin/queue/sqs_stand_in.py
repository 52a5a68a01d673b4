"""SQS on loopback, in this process."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx

from pytest_langfuse.standin.http.exchange import Exchange
from pytest_langfuse.standin.http.http_server import Answer, HttpServer
from pytest_langfuse.standin.queue.in_process_sqs import copy_in_process
from pytest_langfuse.standin.queue.queue_failure import QueueFailure
from pytest_langfuse.standin.queue.queued_message import QueuedMessage
from pytest_langfuse.standin.queue.sqs_queue import SqsEntry
from pytest_langfuse.standin.queue.sqs_service import SqsRefusal, SqsService, batch_too_long, operation_of

_REFUSALS: Final[dict[str, Callable[[], SqsRefusal]]] = {
    "too_large": batch_too_long,
    "not_authorized": lambda: SqsRefusal(
        "AccessDeniedException",
        "AccessDenied",
        "User is not authorized to perform: sqs:sendmessage on resource",
        status=403,
    ),
    "throttled": lambda: SqsRefusal("RequestThrottled", "RequestThrottled", "Rate exceeded"),
}
#: How the names of the operations that send begin.
_SENDS: Final = "SendMessage"


class SqsStandIn:
    """Queues that a server offers from the moment in which its address is first asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._service = SqsService(self._arrived)
        self._server = HttpServer(self._answer, self)
        #: The URLs that the queues stand for, by their paths.
        self._configured: dict[str, str] = {}
        self._started = False
        self._read: list[QueuedMessage] = []
        self._failures: list[QueueFailure] = []
        self._counts: dict[QueueFailure, int] = {}

    def url_of(self, queue: str) -> str:
        """Return the URL of the queue that has the path of `queue`, a URL. Starts the server."""
        with self._lock:
            if not self._started:
                self._server.start()
                self._started = True
                self._apply()
            path = urlsplit(queue).path
            self._configured[path] = queue
            return f"{self._server.url}{path}"

    @property
    def running(self) -> bool:
        """True once the server has been started."""
        return self._started

    @property
    def url(self) -> str:
        """The address of the server, without a queue. Starts it."""
        return self.url_of("")

    def read(self) -> list[QueuedMessage]:
        """Return what arrived since the last call."""
        with self._lock:
            found, self._read = self._read, []
            return found

    def empty(self) -> None:
        """Delete all messages."""
        with self._lock:
            self._service.empty()
            self._read.clear()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if operation_of(request).startswith(_SENDS):
            copy_in_process(request, self._configured)
        return self._service(request)

    def _arrived(self, queue: str, entry: SqsEntry) -> None:
        try:
            value = base64.b64decode(entry.body, validate=True)
        except (binascii.Error, ValueError):
            value = entry.body.encode()
        headers = {
            name: str(attribute.get("StringValue", ""))
            for name, attribute in entry.attributes.items()
            if isinstance(attribute, dict)
        }
        with self._lock:
            self._read.append(QueuedMessage(entry.group, value, headers, queue))

    # -- failures ------------------------------------------------------------------------------------------------

    def begin(self, failure: QueueFailure) -> None:
        """Fail in this way, until `end`."""
        with self._lock:
            self._failures.append(failure)
            self._counts[failure] = 0
            failure.arrived[self] = lambda: self._counts[failure]
            self._apply()

    def end(self, failure: QueueFailure) -> None:
        """Fail no more in this way."""
        with self._lock:
            if failure not in self._failures:
                return
            self._failures.remove(failure)
            final = self._counts.pop(failure)
            failure.arrived[self] = lambda: final
            self._apply()

    def _apply(self) -> None:
        if not self._started:
            return
        if any(failure.kind == "down" for failure in self._failures):
            self._server.refuse()
        else:
            self._server.resume()

    def intercept(self, exchange: Exchange, answer: Answer, record: Callable[[str], None]) -> bool:
        """Let the failure that is due strike. See `Interceptor`."""
        del answer
        if not operation_of(exchange.request).startswith(_SENDS):
            return False
        met: QueueFailure | None = None
        delay = 0.0
        with self._lock:
            for failure in self._failures:
                number, self._counts[failure] = self._counts[failure], self._counts[failure] + 1
                if failure.kind == "slow":
                    delay = max(delay, failure.delay)
                elif failure.kind in _REFUSALS and failure.is_struck(number):
                    # The one that began last decides.
                    met = failure
        exchange.wait(delay)
        if met is None:
            return False
        record(met.kind)
        exchange.respond(_REFUSALS[met.kind]().answer())
        return True

    def close(self) -> None:
        """End the server, and delete the queues."""
        with self._lock:
            self._started = False
        self._server.stop()
        self._service.clear()
