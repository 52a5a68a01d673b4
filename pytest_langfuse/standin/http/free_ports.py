"""Ports for servers of other processes, which bind them some time after they were chosen."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

#: Below the ports that systems give to outgoing connections (Linux from 32,768; macOS and Windows from 49,152), and
#: above those of well-known services: no client's connection takes the port before the server has bound it.
_FIRST: Final = 10_000
_LAST: Final = 32_767
#: Without a free port after so many tries, the system is asked for any.
_TRIES: Final = 1_000


class PortClaims:
    """Ports claimed by this process until it ends, which no other test run on this machine takes meanwhile.

    Two runs, or two workers of pytest-xdist, can be about to start a server on the same port: neither has bound it, so
    nothing but an agreement tells them apart. It is a lock for each port, in one file of this user's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: set[int] = set()
        self._file: int | None = None
        self._process = 0

    def claim(self, port: int) -> bool:
        """Claim a port. Return whether nobody has claimed it before."""
        with self._lock:
            if port in self._claimed or not self._locked(port):
                return False
            self._claimed.add(port)
            return True

    def _locked(self, port: int) -> bool:
        if sys.platform == "win32":
            return True
        try:
            if self._file is None or self._process != os.getpid():
                # After a fork, too: the locks are the parent's.
                path = Path(tempfile.gettempdir(), f"pytest-langfuse-ports-{os.getuid()}")
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                self._process = os.getpid()
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except BlockingIOError:
            return False
        except OSError:
            # Without a place for the file, or locks on its file system: as unsafe as asking the system for a port.
            return True
        return True


claims: Final = PortClaims()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens and that no test run of this user has been given, for another process.

    Raises:
        OSError: `host` is not an address of this machine.
    """
    for _ in range(_TRIES):
        # Not `random`, which pytest-randomly seeds alike in each worker.
        port = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
        if _unused(host, port) and claims.claim(port):
            return port
    while True:
        with contextlib.closing(_bound(host, 0)) as held:
            number: int = held.getsockname()[1]
        if claims.claim(number):
            return number


def _unused(host: str, port: int) -> bool:
    try:
        _bound(host, port).close()
    except PermissionError:
        return False
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
