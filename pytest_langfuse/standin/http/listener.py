"""A listening socket that can refuse connections for a while, on a port that the process never uses twice."""

from __future__ import annotations

import selectors
import socket
import threading

from pytest_langfuse.standin.http.free_ports import claims

#: Those which a stand-in holds now.
_stand_in_ports: set[int] = set()
_BACKLOG = 128


class Listener:
    """Accepts connections. Call `accept` from one thread only; everything else is thread-safe.

    One socket holds the port for as long as the listener lives, without listening; a second one listens. While that
    one is closed, clients are refused as by a machine on which nothing runs.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._lock = threading.Lock()
        self._holder = _hold(host, port)
        self.port: int = self._holder.getsockname()[1]
        _stand_in_ports.add(self.port)
        self._wake, self._woken = socket.socketpair()
        self._listening: socket.socket | None = None
        self._closed = False
        #: True while a connection is being accepted, and until `accept` is called again.
        self.taking = False
        self.resume()

    def accept(self) -> socket.socket | None:
        """Return the next connection, or `None` when the listener is closed."""
        while True:
            self.taking = False
            with self._lock:
                if self._closed:
                    return None
                listening = self._listening
            with selectors.DefaultSelector() as selector:
                selector.register(self._woken, selectors.EVENT_READ)
                try:
                    if listening is not None:
                        selector.register(listening, selectors.EVENT_READ)
                except (ValueError, OSError):
                    continue  # closed by `refuse` meanwhile
                ready = {key.fileobj for key, _ in selector.select()}
            if self._woken in ready:
                self._woken.recv(1)
            elif listening is not None:
                self.taking = True
                try:
                    connection, _ = listening.accept()
                except OSError:
                    continue  # the client has gone, or `refuse` was called in between
                connection.settimeout(None)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection

    @property
    def pending(self) -> bool:
        """True if a client has connected that `accept` may not have handed over yet."""
        with self._lock:
            listening = self._listening
            # Asked first: it is set before a connection leaves the queue.
            return (listening is not None and readable(listening)) or self.taking

    def refuse(self) -> None:
        """Refuse connections from now on, including those that were not accepted yet."""
        with self._lock:
            if self._listening is not None:
                self._listening.close()
                self._listening = None
        self._wake.send(b"w")

    def resume(self) -> None:
        """Accept connections again."""
        with self._lock:
            if self._closed or self._listening is not None:
                return
            self._listening = listening = _bind(self.host, self.port)
            listening.listen(_BACKLOG)
            # Never block in accept: the connection that was announced may be gone by then.
            listening.settimeout(0)
        self._wake.send(b"w")

    def close(self) -> None:
        """Give up the port; `accept` returns `None`. Join the thread that called it before `release`."""
        with self._lock:
            self._closed = True
            if self._listening is not None:
                self._listening.close()
                self._listening = None
        self._wake.send(b"w")

    def release(self) -> None:
        """Close the sockets that `accept` waits on."""
        _stand_in_ports.discard(self.port)
        self._holder.close()
        self._wake.close()
        self._woken.close()

    def close_after_fork(self) -> None:
        """Close in a forked child, without the lock: another thread may have held it, and nothing releases it there."""
        self._closed = True
        if self._listening is not None:
            self._listening.close()
        self.release()


class ClosedPort:
    """A port on which connections are refused, held so that nobody else gets it."""

    def __init__(self, host: str) -> None:
        self._socket = _hold(host, 0)
        self.port: int = self._socket.getsockname()[1]
        _stand_in_ports.add(self.port)

    def close(self) -> None:
        """Give up the port."""
        _stand_in_ports.discard(self.port)
        self._socket.close()


def is_stand_in(port: int) -> bool:
    """Return whether a stand-in of this process holds `port`."""
    return port in _stand_in_ports


def readable(connection: socket.socket) -> bool:
    """Return whether there is something to read or accept, or the end of the stream."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(connection, selectors.EVENT_READ)
        except (ValueError, OSError):
            return False  # closed
        return bool(selector.select(0))


def _hold(host: str, port: int) -> socket.socket:
    """Return a socket bound to `port`, or for 0 to a port that this process has never used.

    Raises:
        OSError: something listens on the port, another stand-in included.
    """
    if port:
        # Two stand-ins would share a port, each with a part of the requests: the option lets them.
        _bind(host, port, shared=False).close()
    rejected: list[socket.socket] = []
    try:
        while True:
            candidate = _bind(host, port)
            number = candidate.getsockname()[1]
            # A client that outlives its server must not reach another one there.
            if claims.claim(number) or port:
                return candidate
            # Kept open so that the next try gets another port.
            rejected.append(candidate)
    finally:
        for candidate in rejected:
            candidate.close()


def _bind(host: str, port: int, *, shared: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # For `Listener`: two sockets on one port. A port that the system picks is not shared even so.
        # (Windows has no such option; there, SO_REUSEADDR means the same.)
        if shared and hasattr(socket, "SO_REUSEPORT"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
