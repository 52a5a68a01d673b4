"""Dead letters in SQS: a queue beside the one that is read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from pytest_langfuse.tracing.forward.dead_letter_headers import dead_letter_headers
from pytest_langfuse.tracing.forward.queue_source import DeadLetter
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.queue import sqs_message
from pytest_langfuse.tracing.queue.sqs_client import SqsClient, outcome_of, without_valid_credentials
from pytest_langfuse.tracing.queue.sqs_message import SqsMessage

#: SQS takes no more attributes; ours are the last.
_MOST_ATTRIBUTES = 10

Stored = Callable[[str | None], None]


class SqsDeadLetters:
    """Stores dead letters in `NAME-dead` (FIFO: `NAME-dead.fifo`) in a thread, which starts with the first one."""

    def __init__(self, queue_url: str, *, timeout: float) -> None:
        self.queue_url = dead_letter_queue(queue_url)
        self._client = SqsClient(self.queue_url, timeout=timeout, connections=1)
        self._fifo = queue_url.endswith(".fifo")
        self._changed = threading.Condition()
        self._waiting: deque[tuple[SqsMessage, Stored]] = deque()
        self._told: deque[tuple[Stored, str | None]] = deque()
        self._thread: threading.Thread | None = None
        self._busy = False

    def bury(self, letter: DeadLetter, stored: Stored) -> None:
        """See `QueueSource`. `stored` is called by `poll`."""
        pairs = [(name, (value or b"").decode("utf-8", "replace")) for name, value in dead_letter_headers(letter)]
        attributes = dict([(name, value) for name, value in pairs if value][-_MOST_ATTRIBUTES:])
        trace = (letter.message.key or b"").decode("utf-8", "replace")
        message = sqs_message.message(letter.body, attributes, fifo=self._fifo, trace=trace)
        with self._changed:
            self._waiting.append((message, stored))
            if self._thread is None:
                self._thread = lasting_thread(self._run, name="langfuse-forward-sqs-dead", doing="storing dead letters")
                self._thread.start()
            self._changed.notify_all()

    def poll(self) -> None:
        """Tell what was stored, in this thread."""
        while self._told:
            stored, error = self._told.popleft()
            stored(error)

    def close(self, timeout: float) -> None:
        """Wait a moment for what is not stored yet; what is not acknowledged comes again."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout=max(timeout, 0.0))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                letters, self._busy = list(self._waiting), True
                self._waiting.clear()
            told = {id(message): stored for message, stored in letters}
            for batch in sqs_message.batches(message for message, _ in letters):
                for message, error in zip(batch, self._stored(batch), strict=True):
                    self._told.append((told[id(message)], error))

    def _stored(self, batch: Sequence[SqsMessage]) -> list[str | None]:
        """Store some letters, and return the error of each."""
        try:
            entries = [message.entry(number) for number, message in enumerate(batch)]
            answer: dict[str, Any] = self._client.call("send_message_batch", Entries=entries)
            errors: list[str | None] = [f"SQS did not say that it stored it ({self.queue_url})"] * len(batch)
            for entry in answer.get("Successful") or ():
                errors[int(entry["Id"])] = None
            for entry in answer.get("Failed") or ():
                said = readable(str(entry.get("Message")))
                errors[int(entry["Id"])] = f"{said} ({entry.get('Code')}, {self.queue_url})"
        except Exception as error:  # noqa: BLE001 - the whole variety of botocore, urllib3 and the operating system
            outcome = outcome_of(error)
            if without_valid_credentials(outcome):
                self._client.renew()
            return [f"{readable(outcome.detail)} ({outcome.reason}, {self.queue_url})"] * len(batch)
        return errors


def dead_letter_queue(queue_url: str) -> str:
    """Return the URL of the queue for dead letters."""
    name = queue_url.removesuffix(".fifo")
    return f"{name}-dead{queue_url[len(name) :]}"
