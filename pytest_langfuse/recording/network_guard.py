"""The second line behind the hooks on the SDK: no socket of a captured test connects to a known Langfuse or exporter.

It does not know how the application sends. It wraps `connect` and `connect_ex` of `socket.socket` on the class, so that
asyncio, requests, httpx, urllib and aiohttp pass through it, and the resolution of names, by which the address of a
Langfuse is told from that of another service behind the same load balancer. The methods that send are wrapped, too: a
connection may have been opened before, and be kept alive. An audit hook can't be removed, and sees no such connection.
"""

from __future__ import annotations

import errno
import functools
import socket
import sys
import weakref
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from operator import index
from typing import Any

# Relative: child processes load these files without the package, under another name.
from .calling_code import calling_code
from .known_endpoints import THIS_MACHINE, KnownEndpoints, normalized

_SERVICES = {"http": 80, "https": 443}
#: Names are forgotten beyond this number of addresses: a session may be long.
_REMEMBERED = 10_000


class RefusedConnection:
    """An attempt to connect that was refused. `known_as` says whose endpoint it is."""

    def __init__(self, caller: str, endpoint: str, known_as: str) -> None:
        self.caller, self.endpoint, self.known_as = caller, endpoint, known_as

    def __str__(self) -> str:
        return (
            f"{self.caller} tried to connect to {self.endpoint} ({self.known_as}), which a captured test must not "
            "reach: send to the stand-in (fixture langfuse_server), or mock the request"
        )


class CapturedConnectionError(ConnectionRefusedError):
    """Raised when a captured test connects to a Langfuse or to an exporter's endpoint."""

    def __init__(self, refusal: RefusedConnection) -> None:
        super().__init__(errno.ECONNREFUSED, str(refusal))
        self.refusal = refusal


class _Resolution:
    def __init__(self, name: str, addresses: frozenset[tuple[str, int]]) -> None:
        self.name, self.addresses = name, addresses


class NetworkGuard:
    """Refuses connections to known endpoints while `is_captive()` says that the caller is captured.

    `addresses()` yields the URLs of clients and exporters, each with what it belongs to. `is_stand_in(port)` says
    whether a server of this run has a port of this machine. `refused` is told of each refusal, in the thread that
    tried. `caller()` names the code that tries. Thread-safe.
    """

    def __init__(
        self,
        *,
        is_captive: Callable[[], bool],
        addresses: Callable[[], Iterable[tuple[str, str]]],
        is_stand_in: Callable[[int], bool],
        refused: Callable[[RefusedConnection], None],
        caller: Callable[[], str] = calling_code,
    ) -> None:
        self._is_captive = is_captive
        self._known = KnownEndpoints(addresses)
        self._is_stand_in = is_stand_in
        self._refused = refused
        self._caller = caller
        self._undo: list[Callable[[], None]] = []
        self._is_checked_in_tasks = False
        #: Sockets whose connection has been checked: each is looked at once.
        self._checked_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        #: The last name that was resolved in this thread or task: what it connects to next.
        self._last: ContextVar[_Resolution | None] = ContextVar("pytest_langfuse_resolution", default=None)
        #: All names of an address: a connection may be made in another task than the resolution.
        self._names: dict[tuple[str, int], set[str]] = {}

    # -- install -----------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Wrap sockets, also those that are connected already, and the resolution of names."""
        # Imported here: a child process does without, and both take long.
        import ssl
        from asyncio import base_events

        self.install_for_new_connections()
        for name in ("send", "sendall", "sendmsg"):
            if hasattr(socket.socket, name):
                self._patch(socket.socket, name, self._send)
        # Its `sendall` calls it.
        self._patch(ssl.SSLSocket, "send", self._send)
        self._patch_loop(base_events.BaseEventLoop)
        self._is_checked_in_tasks = True

    def install_for_new_connections(self) -> None:
        """Wrap what connects sockets, and the resolution of names."""
        self._original_connect = socket.socket.connect
        self._patch(socket.socket, "connect", self._connect)
        self._patch(socket.socket, "connect_ex", self._connect_ex)
        self._patch(socket, "getaddrinfo", self._getaddrinfo)
        self._patch(socket, "gethostbyname", self._gethostbyname)
        self._patch(socket, "gethostbyname_ex", self._gethostbyname_ex)

    def uninstall(self) -> None:
        """Remove the wraps. One that something else has wrapped meanwhile stays in place, and lets all pass."""
        self._is_captive = bool
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def restore(self) -> None:
        """Wrap sockets again if another plugin has put the original methods back (pytest-socket does)."""
        if self._undo and socket.socket.connect is self._original_connect:
            self._patch(socket.socket, "connect", self._connect)

    def _patch(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original, updated=())
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return hook(original, *args, **kwargs)

        self._replace(owner, name, hooked)

    def _patch_loop(self, loop_class: Any) -> None:
        original = loop_class.getaddrinfo

        @functools.wraps(original)
        async def getaddrinfo(loop: Any, host: Any, port: Any, **options: Any) -> Any:
            # In the task of the caller; the socket module resolves in a thread of the loop's executor.
            self._check_name(host, port)
            found = await original(loop, host, port, **options)
            self._remember(host, found)
            return found

        self._replace(loop_class, "getaddrinfo", getaddrinfo)

    def _replace(self, owner: Any, name: str, hooked: Any) -> None:
        inherited = name not in vars(owner)
        original = getattr(owner, name)

        def undo() -> None:
            if getattr(owner, name) is not hooked:
                return
            if inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

        setattr(owner, name, hooked)
        self._undo.append(undo)

    # -- connections -------------------------------------------------------------------------------------------

    def known_endpoints(self) -> dict[tuple[str, int], str]:
        """Return the hosts and ports that are refused, each with what it belongs to."""
        return {
            (known.host, known.port): owner for known, owner in self._known.all().items() if not self._is_ours(*known)
        }

    def refuse(self, endpoint: str, known_as: str) -> None:
        """Refuse an attempt that no socket of Python shows (gRPC), if the caller is captured.

        Raises:
            CapturedConnectionError: The caller is captured.
        """
        if self._is_captive():
            raise self._refusal(endpoint, known_as)

    def _connect(self, original: Callable[..., Any], sock: socket.socket, *args: Any) -> Any:
        if args and (refusal := self._checked(args[0], sock)) is not None:
            raise refusal
        return original(sock, *args)

    def _connect_ex(self, original: Callable[..., int], sock: socket.socket, *args: Any) -> int:
        if args and self._checked(args[0], sock) is not None:
            return errno.ECONNREFUSED
        return original(sock, *args)

    def _send(self, original: Callable[..., Any], sock: socket.socket, *args: Any) -> Any:
        """Refuse to use a connection that was opened by code that is not captured."""
        if self._is_captive() and sock not in self._checked_sockets:
            try:
                peer = sock.getpeername()
            except OSError:
                peer = None
            if (refusal := self._checked(peer, sock)) is not None:
                raise refusal
        return original(sock, *args)

    def _checked(self, address: Any, sock: socket.socket) -> CapturedConnectionError | None:
        """Return the refusal of a connection to the address of a socket; `None` if it is to pass."""
        if not self._is_captive():
            return None
        self._checked_sockets.discard(sock)
        if (endpoint := _endpoint(address)) is not None and not self._is_ours(*endpoint):
            name, known_as = self._known_as(*endpoint)
            if known_as is not None:
                return self._refusal(f"{name}:{endpoint[1]}", known_as)
        self._checked_sockets.add(sock)
        return None

    def _known_as(self, address: str, port: int) -> tuple[str, str | None]:
        """Return how the endpoint was called, and what it belongs to."""
        # An address that is known is refused, whatever name else has been resolved to it.
        if (known_as := self._known.find(address, port)) is not None:
            return address, known_as
        host = normalized(address)
        last = self._last.get()
        if last is not None and not last.addresses.isdisjoint({(host, port), (host, 0)}):
            return last.name, self._known.find(last.name, port)
        names = self._names.get((host, port), set()) | self._names.get((host, 0), set())
        found = {name: self._known.find(name, port) for name in sorted(names)}
        # Another service on the same address passes, unless it is certain that none is meant.
        if found and None not in found.values():
            return next(iter(found.items()))
        return address, None

    def _is_ours(self, host: str, port: int) -> bool:
        return self._is_stand_in(port) and normalized(host) == THIS_MACHINE

    def _refusal(self, endpoint: str, known_as: str) -> CapturedConnectionError:
        refusal = RefusedConnection(self._caller(), endpoint, known_as)
        self._refused(refusal)
        return CapturedConnectionError(refusal)

    # -- names ---------------------------------------------------------------------------------------------------

    def _getaddrinfo(self, original: Callable[..., Any], host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        self.restore()
        # asyncio's executor: checked before, in the task.
        caller = sys._getframe(2).f_globals.get("__name__")  # noqa: SLF001 - see calling_code
        if not self._is_checked_in_tasks or caller != "concurrent.futures.thread":
            self._check_name(host, port)
        found = original(host, port, *args, **kwargs)
        self._remember(host, found)
        return found

    def _gethostbyname(self, original: Callable[..., str], host: Any) -> str:
        found = original(host)
        self._remember(host, [(None, None, None, None, (found, 0))])
        return found

    def _gethostbyname_ex(self, original: Callable[..., Any], host: Any) -> Any:
        found = original(host)
        self._remember(host, [(None, None, None, None, (address, 0)) for address in found[2]])
        return found

    def _check_name(self, host: Any, port: Any) -> None:
        """Refuse to resolve a known endpoint: where there is no network, the test is to fail all the same."""
        name = _text(host)
        number = _SERVICES.get(port, port) if isinstance(port, str) else port
        if isinstance(number, str) and number.isdecimal():
            number = int(number)
        if name is None or not isinstance(number, int) or number == 0:
            return
        if self._is_captive() and not self._is_ours(name, number):
            known_as = self._known.find(name, number)
            if known_as is not None:
                raise self._refusal(f"{name.rstrip('.').lower()}:{number}", known_as)

    def _remember(self, host: Any, found: Iterable[Any]) -> None:
        name = _text(host)
        if name is None:
            return
        addresses = frozenset((normalized(address[0]), address[1]) for *_, address in found if len(address) > 1)
        self._last.set(_Resolution(normalized(name), addresses))
        if len(self._names) > _REMEMBERED:
            self._names.clear()
        for address in addresses:
            if address[0] != normalized(name):
                self._names.setdefault(address, set()).add(normalized(name))


def _endpoint(address: Any) -> tuple[str, int] | None:
    """Return host and port of a socket's address; `None` for one of another kind."""
    if not isinstance(address, tuple) or len(address) < 2 or (host := _text(address[0])) is None:  # noqa: PLR2004
        return None
    try:
        return host, index(address[1])
    except TypeError:
        return None


def _text(host: Any) -> str | None:
    if isinstance(host, bytes | bytearray):
        return bytes(host).decode("ascii", "replace")
    return host if isinstance(host, str) else None
