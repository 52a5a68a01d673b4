"""Threads that post groups to Langfuse, each one request at a time."""

from __future__ import annotations

import queue
import threading
import zlib

import httpx

from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, Permit
from pytest_langfuse.tracing.delivery.exporter import langfuse_headers
from pytest_langfuse.tracing.delivery.sink import Outcome, Verdict
from pytest_langfuse.tracing.delivery.transport import PERMITTED, BoundedTransport, TransportPool
from pytest_langfuse.tracing.forward.lane import Group
from pytest_langfuse.tracing.forward.project_keys import Project
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.untraced import UntracedClient

#: What a thread gets and gives back.
Sent = tuple[Group, Permit, Outcome]
_Job = tuple[Group, Permit]


class Poster:
    """Posts groups in `threads` threads. Each outcome is in `answers`, in the order in which they become known."""

    def __init__(
        self, *, base_url: str, timeout: float, threads: int, breaker: CircuitBreaker, compress: bool = False
    ) -> None:
        self.threads = threads
        self.answers: queue.SimpleQueue[Sent] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._base_url, self._compress = base_url, compress
        self._transports = TransportPool()
        # It has its permit already; the breaker of the transport is never asked.
        bounded = BoundedTransport(self._transports, host=httpx.URL(base_url).host, breaker=breaker)
        self._client = UntracedClient(transport=bounded, timeout=timeout)
        self._threads: list[threading.Thread] = []
        self._headers: dict[tuple[Project, str], dict[str, str]] = {}

    def start(self) -> None:
        """Start the threads. They are daemons: a request that hangs does not delay the exit."""
        for number in range(self.threads):
            thread = lasting_thread(self._run, name=f"langfuse-forward-{number}", doing="posting to Langfuse")
            thread.start()
            self._threads.append(thread)

    def post(self, group: Group, permit: Permit) -> None:
        """Post a group as soon as a thread is free."""
        self._jobs.put((group, permit))

    def stop(self, timeout: float = 1.0) -> None:
        """Cut what is on the wire, and wait `timeout` seconds for the threads to end."""
        for _ in self._threads:
            self._jobs.put(None)
        self._transports.abort()
        until = now() + timeout
        for thread in self._threads:
            thread.join(max(until - now(), 0.0))
        self._client.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            group, permit = job
            self.answers.put((group, permit, self._posted(group)))

    def _posted(self, group: Group) -> Outcome:
        kind = group.lane.posts
        try:
            content = kind.body(group.data)
            response = self._client.post(
                self._base_url + kind.path,
                content=_gzip(content) if self._compress else content,
                headers=self._headers_for(group.lane.project, kind.content_type),
                extensions=dict(PERMITTED),
            )
            return kind.judge(response, len(group.data))
        except Exception as error:  # noqa: BLE001 - a transport may raise anything; the thread has to live on
            return Outcome(Verdict.FAILED, type(error).__name__, detail=str(error))

    def _headers_for(self, project: Project, content_type: str) -> dict[str, str]:
        key = (project, content_type)
        if (headers := self._headers.get(key)) is None:
            headers = langfuse_headers(project.public_key, project.secret_key, {"content-type": content_type})
            if self._compress:
                headers["content-encoding"] = "gzip"
            self._headers[key] = headers
        return headers


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()
