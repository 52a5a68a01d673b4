"""The second line in a child process: no socket connects to a Langfuse or an exporter that is known.

Only the names of `socket` are replaced when that is imported. The guard itself is the one of the test's process, loaded
from its file by the first connection: the package may not be installed for the Python that runs here.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_GUARDED = ("socket.connect", "socket.connect_ex", "getaddrinfo", "gethostbyname", "gethostbyname_ex")
#: The name under which the files of `pytest_langfuse.recording` are loaded, without the package.
_RECORDING = "_pytest_langfuse_recording"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


def guard_sockets(module: Any, url: str) -> None:
    """Replace what connects and resolves in the module `socket`; the Langfuse at `url` is the stand-in."""
    _Guarded(module, _Settings(url)).install()


class _Settings:
    """The variables that the test has handed over: as they are, or as they were if the application has cleared them."""

    def __init__(self, url: str) -> None:
        started = getattr(sys.modules.get("_pytest_langfuse_imports"), "at_start", {})
        self._at_start = {**started, "PYTEST_LANGFUSE_URL": url}
        self._said: set[str] = set()

    def _value(self, name: str) -> str:
        return os.environ.get(name) or self._at_start.get(name, "")

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Yield what the test's process knows, and the addresses that were in the code of this one."""
        for line in self._value("PYTEST_LANGFUSE_KNOWN").splitlines():
            address, _, owner = line.partition(" ")
            yield f"//{address}", owner
        redirected = getattr(sys.modules.get("_pytest_langfuse_addresses"), "redirected", {})
        yield from list(redirected.items())

    def is_stand_in(self, port: int) -> bool:
        """Return whether a port of this machine is the stand-in's, or one that the test gave to this process."""
        from urllib.parse import urlsplit

        given = [self._value("PYTEST_LANGFUSE_URL"), *self._value("PYTEST_LANGFUSE_GIVEN").split()]
        return port in {urlsplit(url).port for url in given}

    def refused(self, refusal: object) -> None:
        """Hand the refusal over to the test, and print it."""
        text = str(refusal)
        try:
            file = os.open(self._value("PYTEST_LANGFUSE_REFUSED"), _FLAGS, 0o600)
            try:
                # One write: other processes append to the same file.
                os.write(file, f"{text}\n".encode(errors="replace"))
            finally:
                os.close(file)
        except OSError:
            # The test's process has gone, and its folder with it.
            pass
        # An exporter tries again and again.
        if text not in self._said and sys.stderr is not None:
            self._said.add(text)
            try:
                print(f"pytest-langfuse: refused: {text}", file=sys.stderr, flush=True)  # noqa: T201 - not pytest's
            except (OSError, ValueError):
                return


class _Guarded:
    """The names of `socket` that load the guard when they are first used."""

    def __init__(self, module: Any, settings: _Settings) -> None:
        self._module = module
        self._settings = settings
        self._lock = _thread.RLock()
        self._loaded = False
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        for path in _GUARDED:
            owner, _, name = path.rpartition(".")
            self._replace(getattr(self._module, owner) if owner else self._module, name)
        # A fork waits until a thread has loaded the guard: its child would wait for that thread for ever.
        if hasattr(os, "register_at_fork"):
            release = self._lock.release
            os.register_at_fork(before=self._lock.acquire, after_in_parent=release, after_in_child=release)

    def _replace(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)
        inherited = name not in vars(owner)

        def hooked(*args: Any, **kwargs: Any) -> Any:
            if self._loaded:
                # Something has wrapped this function, and is itself wrapped by the guard.
                return original(*args, **kwargs)
            self._load()
            return getattr(owner, name)(*args, **kwargs)

        for attribute in ("__name__", "__qualname__", "__doc__"):
            setattr(hooked, attribute, getattr(original, attribute))
        hooked.__wrapped__ = original  # type: ignore[attr-defined] # read by inspect.signature

        def undo() -> None:
            if getattr(owner, name) is hooked:
                if inherited:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)

        setattr(owner, name, hooked)
        self._undo.append(undo)

    def _load(self) -> None:
        """Put the guard in the place of these functions, once."""
        with self._lock:
            if self._loaded:
                return
            try:
                guard = _guard(self._settings)
            except Exception as error:  # noqa: BLE001 - said; the application continues
                print(f"pytest-langfuse: this process may reach the real Langfuse: {error!r}", file=sys.stderr)  # noqa: T201
                guard = None
            for restore in self._undo:
                restore()
            if guard is not None:
                guard.install_for_new_connections()
            self._loaded = True


def _guard(settings: _Settings) -> Any:
    folder = __file__
    for _ in range(3):
        folder = os.path.dirname(folder)  # noqa: PTH120 - pathlib takes milliseconds to import
    package = type(sys)(_RECORDING)
    package.__path__ = [os.path.join(folder, "recording")]  # noqa: PTH118 - see above
    sys.modules[_RECORDING] = package
    calling_code = __import__(f"{_RECORDING}.calling_code", fromlist=["calling_code"]).calling_code
    guard_class = __import__(f"{_RECORDING}.network_guard", fromlist=["NetworkGuard"]).NetworkGuard
    return guard_class(
        is_captive=lambda: True,
        addresses=settings.addresses,
        is_stand_in=settings.is_stand_in,
        refused=settings.refused,
        caller=lambda: f"{calling_code()} (in a child process)",
    )
