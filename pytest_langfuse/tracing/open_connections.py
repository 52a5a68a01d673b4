"""The connections of a client, which can be broken under the threads that wait for them."""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import suppress

import httpcore


class OpenConnections:
    """Connections that are in use. After `abort` there are none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[httpcore.NetworkStream] = weakref.WeakSet()
        self.aborted = False

    def add(self, stream: httpcore.NetworkStream) -> None:
        """Add a connection.

        Raises:
            httpcore.ConnectError: No more connections are wanted.
        """
        with self._lock:
            self._streams.add(stream)
            aborted = self.aborted
        if aborted:
            stream.close()
            raise httpcore.ConnectError("Tracing was shut down.")

    def abort(self) -> None:
        """Break all connections, in whichever thread they are read or written, and let no others be made."""
        with self._lock:
            self.aborted = True
            streams = list(self._streams)
        for stream in streams:
            connection = stream.get_extra_info("socket")
            if isinstance(connection, socket.socket):
                with suppress(OSError):
                    # Not the method of a TLS connection, which also takes its state away from the other thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
