"""Hooks on the start of child processes: they get an environment in which Langfuse is the stand-in.

`os.environ` itself is never changed, so the application sees its own. What is hooked: `subprocess.Popen` (and with it
asyncio's subprocesses and `os.popen`), `os.posix_spawn`, `os.posix_spawnp`, `os.system`, `os.execv` and `os.execve` (to
which `os.exec*` and `os.spawn*` come down), and multiprocessing's start of `spawn` and `forkserver` processes. A fork
needs no hook: it has the hooks of its parent. uvloop starts processes natively, past these hooks.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, spawn, util
from typing import Any

from pytest_langfuse.process.sealed_environment import CHILD, SealedEnvironment, sealed

#: The position of `env` among the parameters of `subprocess.Popen`, after `self`.
_POPEN_ENV = 10
#: Starts xdist's workers, which are not children of the application.
_XDIST = "execnet"


class SealedChildren:
    """Seals the child processes that are started while `url()` returns the address of their Langfuse.

    `url` is called for each process, in the thread that starts it; `None` leaves the process as it is. `others` returns
    further variables for a process that is sealed, by those that it was to get.
    """

    def __init__(self, url: Callable[[], str | None], others: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        self._url = url
        self._others = others
        self._undo: list[Callable[[], None]] = []
        #: The address of the fork server that runs, if it was started for a captured test.
        self._fork_server: str | None = None

    def install(self) -> None:
        """Hook the functions that start processes."""
        self._patch(subprocess.Popen, "__init__", self._popen)
        for name in ("posix_spawn", "posix_spawnp"):
            if hasattr(os, name):
                self._patch(os, name, self._posix_spawn)
        self._patch(os, "execv", self._execv)
        self._patch(os, "execve", self._execve)
        self._patch(os, "system", self._system)
        if sys.platform != "win32":
            self._patch(util, "spawnv_passfds", self._spawnv_passfds)
            self._patch(forkserver.ForkServer, "ensure_running", self._ensure_running)
            self._patch(spawn, "get_preparation_data", self._preparation_data)

    def uninstall(self) -> None:
        """Remove the hooks. One that something else has wrapped meanwhile stays in place, and does nothing."""
        self._url = lambda: None
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def _patch(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original, updated=())
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return hook(original, *args, **kwargs)

        def undo() -> None:
            if getattr(owner, name) is hooked:
                setattr(owner, name, original)

        setattr(owner, name, hooked)
        self._undo.append(undo)

    def _sealed(self, env: Mapping[Any, Any] | None, url: str | None) -> Mapping[Any, Any] | None:
        """Return the environment for a child that was to get `env`; as it is if it needs no sealing."""
        if url is None:
            return env
        if isinstance(env, SealedEnvironment):
            return SealedEnvironment({**env, **self._others(env)})
        variables = os.environ if env is None else env
        try:
            text = {os.fsdecode(name): os.fsdecode(value) for name, value in variables.items()}
        except TypeError:
            # What the application passes is wrong, and starting the process will tell it so.
            return env
        return sealed(text, url, self._others(text))

    # -- hooks -------------------------------------------------------------------------------------------------

    def _popen(self, original: Callable[..., None], process: Any, *args: Any, **kwargs: Any) -> None:
        if not _is_for_xdist() and (url := self._url()) is not None:
            if len(args) > _POPEN_ENV:
                args = (*args[:_POPEN_ENV], self._sealed(args[_POPEN_ENV], url), *args[_POPEN_ENV + 1 :])
            else:
                kwargs["env"] = self._sealed(kwargs.get("env"), url)
        original(process, *args, **kwargs)

    def _posix_spawn(self, original: Callable[..., int], path: Any, argv: Any, env: Any, /, *a: Any, **kw: Any) -> int:
        # subprocess comes here, too, with an environment that is decided.
        if not _is_called_by("subprocess"):
            env = self._sealed(env, self._url())
        return original(path, argv, env, *a, **kw)

    def _execv(self, original: Callable[..., Any], path: Any, argv: Any, /) -> Any:
        if (env := self._sealed(None, self._url())) is not None:
            return os.execve(path, argv, env)  # noqa: S606 - what the application asks for
        return original(path, argv)

    def _execve(self, original: Callable[..., Any], path: Any, argv: Any, env: Any) -> Any:
        return original(path, argv, self._sealed(env, self._url()))

    def _system(self, original: Callable[..., int], command: Any) -> int:
        if (url := self._url()) is None:
            return original(command)
        # As the C function does: SIGINT and SIGQUIT are the child's while it runs.
        ignored = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
        in_main_thread = threading.current_thread() is threading.main_thread()
        process = subprocess.Popen(command, shell=True, env=self._sealed(None, url))  # noqa: S602 - as `os.system` does
        try:
            if in_main_thread:
                for number in ignored:
                    signal.signal(number, signal.SIG_IGN)
            returncode = process.wait()
        finally:
            if in_main_thread:
                for number, handler in ignored.items():
                    signal.signal(number, handler)
        # The status that `os.wait` would return.
        return -returncode if returncode < 0 else returncode << 8

    # -- multiprocessing -----------------------------------------------------------------------------------------

    def _spawnv_passfds(
        self, original: Callable[..., int], path: Any, args: Sequence[Any], passfds: Sequence[Any]
    ) -> int:
        """Start an interpreter of `spawn`, the fork server or the resource tracker, which inherit C's environment."""
        env = self._sealed(None, self._url())
        if env is None:
            return original(path, args, passfds)
        process = subprocess.Popen(  # noqa: S603 - what multiprocessing starts
            args, executable=path, env=env, pass_fds=tuple(map(int, passfds)), restore_signals=False
        )
        # multiprocessing waits for the process by its id.
        process.returncode = 0
        return process.pid

    def _ensure_running(self, original: Callable[..., None], server: Any) -> None:
        """Start the fork server again if its environment is not the one for the process that is about to start.

        The modules that it has preloaded may have built clients. While processes of it run, it can't be ended.
        """
        url = self._url()
        stop = getattr(server, "_stop", None)
        if url != self._fork_server and stop is not None and not multiprocessing.active_children():
            stop()
        original(server)
        self._fork_server = url

    def _preparation_data(self, original: Callable[..., dict[str, Any]], name: str) -> dict[str, Any]:
        """Hand over the environment to a process of the fork server, which may have been started with another one."""
        data = original(name)
        if (url := self._url()) is not None:
            data["pytest_langfuse"] = _Sealing(url, self._others(os.environ))
        return data


class _Sealing:
    """Seals the process in which it is unpickled. It is the first thing that a process of multiprocessing unpickles."""

    def __init__(self, url: str, others: Mapping[str, str]) -> None:
        self._url = url
        self._others = others

    def __reduce__(self) -> tuple[Any, ...]:
        # A builtin: the process may not be able to import this package yet.
        environment = sealed(os.environ, self._url, self._others)
        variables = {name: value for name, value in environment.items() if os.environ.get(name) != value}
        source = f"""
import os, sys
started = "PYTEST_LANGFUSE_URL" in os.environ
os.environ.update({variables!r})
if not started:
    sys.path.insert(0, {str(CHILD)!r})
    import _pytest_langfuse_imports
    sys.path.remove({str(CHILD)!r})
    _pytest_langfuse_imports.start({str(CHILD)!r}, None, {self._url!r})
"""
        return exec, (source, {})


def _is_for_xdist() -> bool:
    """Return whether xdist starts a worker, through its library."""
    frame = sys._getframe(3)  # noqa: SLF001 - the documented way to see the caller
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == _XDIST


def _is_called_by(module: str) -> bool:
    """Return whether the caller of a hooked function is `module`."""
    return sys._getframe(3).f_globals.get("__name__") == module  # noqa: SLF001 - see above
