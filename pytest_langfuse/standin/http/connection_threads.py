"""The connections of a server, each served by a thread; none is left when the server stops."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import weakref
from collections.abc import Callable

from pytest_langfuse.standin.http.listener import Listener, readable

_numbers = itertools.count(1)


class ConnectionThreads:
    """Accepts connections on `host:port` and calls `serve` for each, in a new thread.

    `serve(connection, stopping)` returns when it is done with the connection, which is then closed. `stopping` is set
    when the server stops.
    """

    def __init__(self, host: str, port: int, serve: Callable[[socket.socket, threading.Event], None]) -> None:
        self.stopping = threading.Event()
        self._serve = serve
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self.listener = Listener(host, port)
        self._name = f"langfuse-stand-in:{self.listener.port}"
        self._acceptor = threading.Thread(target=self._accept, name=self._name, daemon=True)
        _living.add(self)
        self._acceptor.start()

    def refuse(self) -> None:
        """Refuse new connections and close the open ones, as if the process had died."""
        self.listener.refuse()
        self.drop()

    def drop(self) -> None:
        """Close all connections; requests under way get no answer."""
        for connection in self._snapshot():
            _shut(connection)

    def unread(self, busy: Callable[[socket.socket], bool]) -> bool:
        """Return whether anything that clients have sent may be unread; `busy` tells if a connection is being read."""
        # In this order: a connection leaves the listener's queue before it is open, and a connection is busy before
        # its bytes leave the socket.
        return self.listener.pending or any(
            readable(connection) or busy(connection) for connection in self._snapshot() if connection.fileno() >= 0
        )

    def stop(self) -> None:
        """Close everything; when it returns, no thread and no socket is left."""
        self.stopping.set()
        self.listener.close()
        self._acceptor.join()
        self.listener.release()
        self.drop()
        for thread in list(self._open):
            thread.join()

    def _snapshot(self) -> list[socket.socket]:
        with self._lock:
            return list(self._open.values())

    def _accept(self) -> None:
        while (connection := self.listener.accept()) is not None:
            thread = threading.Thread(
                target=self._run, args=(connection,), name=f"{self._name}-{next(_numbers)}", daemon=True
            )
            with self._lock:
                # Finished threads are kept until here, so that `stop` can join them.
                self._open = {other: its for other, its in self._open.items() if other.is_alive()}
                self._open[thread] = connection
                thread.start()

    def _run(self, connection: socket.socket) -> None:
        try:
            self._serve(connection, self.stopping)
        finally:
            connection.close()

    def close_after_fork(self) -> None:
        """Close the sockets in a forked child, where they would keep the parent's port open. No thread runs there."""
        self.listener.close_after_fork()
        for connection in self._open.values():
            connection.close()


def _shut(connection: socket.socket) -> None:
    """Wake the thread that reads from or writes to `connection`, which then closes it."""
    with contextlib.suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


_living: weakref.WeakSet[ConnectionThreads] = weakref.WeakSet()


def _after_fork() -> None:
    for connections in list(_living):
        connections.close_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
