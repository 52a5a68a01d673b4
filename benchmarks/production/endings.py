"""The ways in which a process is told to end: what is started, which signals it gets, and what arrives."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from production.processes import HERE, environment, langfuse

_WAIT = 60.0
_UVICORN = ("-m", "uvicorn", "ended_service:asgi", "--port", "{port}", "--log-level", "critical")
_GUNICORN = ("-m", "gunicorn", "-b", "127.0.0.1:{port}", "-w", "1", "--log-level", "critical")
_WORKERS = {
    "sync": "wsgi",
    "gthread": "wsgi",
    "gevent": "wsgi",
    "uvicorn.workers.UvicornWorker": "asgi",
    "uvicorn.workers.UvicornH11Worker": "asgi",
    "uvicorn_worker.UvicornWorker": "asgi",
}
TERM, INT, HUP, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT


@dataclass(frozen=True)
class Ending:
    """A process that is started, asked once if it serves, and told to end."""

    name: str
    #: Arguments of the interpreter; `{port}` is replaced.
    command: tuple[str, ...]
    #: Sent one after the other, a millisecond apart. Empty: it ends by itself.
    signals: tuple[signal.Signals, ...] = ()
    #: Modules that it needs beside this package.
    needs: tuple[str, ...] = ()
    serves: bool = True
    #: Requested last, by a client that is not going to get an answer.
    last: str | None = None

    @property
    def label(self) -> str:
        """As the table shows it."""
        sent = " + ".join(number.name for number in self.signals)
        return f"{self.name}, {sent}" if sent else self.name

    def missing(self, python: str) -> list[str]:
        """Return the modules that an interpreter lacks for it."""
        if python == sys.executable:
            return [name for name in self.needs if importlib.util.find_spec(name) is None]
        code = f"import importlib.util as u; print(*[n for n in {self.needs!r} if u.find_spec(n) is None])"
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def _of(name: str, command: Sequence[str], needs: Sequence[str], *signals: signal.Signals) -> Iterator[Ending]:
    for number in signals:
        yield Ending(name, tuple(command), (number,), tuple(needs))


def _all() -> Iterator[Ending]:
    script = str(HERE / "ended_service.py")
    for signals in ((TERM,), (INT,), (HUP,), (QUIT,), (TERM, INT), (INT, INT)):
        yield Ending("script", (script, "script"), signals, serves=False)
    for method in ("fork", "spawn", "forkserver"):
        yield Ending(f"child of multiprocessing, {method}", (script, f"process-{method}"), serves=False)
        yield Ending(f"child of ProcessPoolExecutor, {method}", (script, f"pool-{method}"), serves=False)
    yield from _of("uvicorn", _UVICORN, ("uvicorn",), TERM, INT)
    yield from _of("uvicorn --loop uvloop", (*_UVICORN, "--loop", "uvloop"), ("uvicorn", "uvloop"), TERM, INT)
    yield from _of("uvicorn --workers 2", (*_UVICORN, "--workers", "2"), ("uvicorn",), TERM, INT)
    hypercorn = ("-m", "hypercorn", "ended_service:asgi", "-b", "127.0.0.1:{port}", "--log-level", "critical")
    yield from _of("hypercorn", hypercorn, ("hypercorn",), TERM, INT)
    yield from _of("hypercorn --workers 2", (*hypercorn, "--workers", "2"), ("hypercorn",), TERM, INT)
    granian = ("-m", "granian", "--port", "{port}", "--no-log", "--interface")
    yield from _of("granian, ASGI", (*granian, "asgi", "ended_service:asgi"), ("granian",), TERM, INT)
    yield from _of("granian, WSGI", (*granian, "wsgi", "ended_service:wsgi"), ("granian",), TERM, INT)
    yield from _of("waitress", (script, "waitress"), ("waitress",), TERM, INT)
    yield from _of("gevent pywsgi, patched", (script, "gevent"), ("gevent",), TERM, INT)
    for worker, interface in _WORKERS.items():
        for preload in ((), ("--preload",)):
            command = (*_GUNICORN, "-k", worker, *preload, f"ended_service:{interface}")
            needs = ("gunicorn", *([worker.split(".")[0]] if worker not in {"sync", "gthread"} else []))
            name = f"gunicorn -k {worker}{' --preload' if preload else ''}"
            # uvicorn's workers do not end at SIGQUIT, which gunicorn makes of SIGINT: they are killed after 30 s.
            yield from _of(name, command, needs, *((TERM,) if interface == "asgi" else (TERM, INT, QUIT)))
            if worker not in {"gthread", "gevent"}:
                # Their workers do not hang with one request.
                hung = (*command, "--timeout", "2")
                yield Ending(f"{name}, worker timeout", hung, (TERM,), needs, last="/hang")
    celery = ("-m", "celery", "-A", "ended_celery", "--quiet", "worker", "-c", "1")
    yield Ending("celery, prefork", celery, (TERM,), ("celery",), serves=False)


ENDINGS = tuple(_all())


@dataclass(frozen=True)
class Ended:
    """The result of one run."""

    arrived: int
    status: int
    #: From the first signal, or from the start, to the end.
    seconds: float


def run(ending: Ending, way: str, python: str = sys.executable) -> Ended:
    """Start it, tell it to end, and count."""
    folder = tempfile.mkdtemp()
    try:
        with langfuse() as server, socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            process = _start(ending, way, python, folder=folder, port=port, url=server.url)
            try:
                _use(ending, process, port)
                started = time.monotonic()
                for number in ending.signals:
                    process.send_signal(number)
                    time.sleep(0.001)
                status = process.wait(_WAIT)
                seconds = time.monotonic() - started
            finally:
                process.kill()
                process.communicate()
            return Ended(server.counts()["distinct"], status, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(ending: Ending, way: str, python: str, *, folder: str, port: int, url: str) -> subprocess.Popen[bytes]:
    command = [python, "-W", "ignore", *(part.format(port=port) for part in ending.command)]
    variables = {
        **environment(),
        "WAY": way,
        "PORT": str(port),
        "FOLDER": folder,
        "LANGFUSE_BASE_URL": url,
        "LANGFUSE_PUBLIC_KEY": "pk-lf-benchmark",
        "LANGFUSE_SECRET_KEY": "sk-lf-benchmark",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
    }
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    with _default_action(signal.SIGINT):
        return subprocess.Popen(
            command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )


@contextlib.contextmanager
def _default_action(number: int) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


def _use(ending: Ending, process: subprocess.Popen[bytes], port: int) -> None:
    """Let it make its observations."""
    if not ending.serves:
        if ending.signals:
            assert process.stdout is not None  # noqa: S101 - it is piped
            if process.stdout.readline().strip() != b"ready":
                raise RuntimeError(f"{ending.label}: it ended before it was ready")
        return
    until = time.monotonic() + _WAIT
    while True:
        try:
            _request(port, "/")
            break
        except OSError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.05)
    if ending.last is not None:
        with contextlib.suppress(OSError):
            _request(port, ending.last)


def _request(port: int, path: str) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        response.read()
