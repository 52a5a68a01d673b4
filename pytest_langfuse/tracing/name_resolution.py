"""Name resolution with a time limit: `getaddrinfo` has none, and can't be interrupted."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future

Addresses = list[str]


class NameResolution:
    """Resolves each name in a thread that the caller waits for no longer than it wants to. Thread-safe.

    Callers that ask for a name that is being resolved wait for the same thread, so a resolver that hangs holds up one
    thread a name.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, int], Future[Addresses]] = {}

    def start(self, host: str, port: int) -> Future[Addresses]:
        """Return the future addresses of a name; `OSError` if it has none. An address is its own, at once."""
        future: Future[Addresses] = Future()
        if _is_address(host):
            future.set_result([host])
            return future
        key = host, port
        with self._lock:
            if (started := self._under_way.get(key)) is not None:
                return started
            self._under_way[key] = future
        # Running: a caller that gives up must not cancel it for the others.
        future.set_running_or_notify_cancel()
        try:
            threading.Thread(target=self._resolve, args=(key, future), name="langfuse-tracing-dns", daemon=True).start()
        except RuntimeError:
            # At the interpreter's end there are no new threads (Python 3.12); the shutdown has its own limit.
            self._resolve(key, future)
        return future

    def _resolve(self, key: tuple[str, int], future: Future[Addresses]) -> None:
        try:
            found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._end(key)
            future.set_exception(error)
        else:
            self._end(key)
            future.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))

    def _end(self, key: tuple[str, int]) -> None:
        with self._lock:
            self._under_way.pop(key, None)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return True
    return False
