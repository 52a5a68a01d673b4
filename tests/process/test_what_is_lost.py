"""The observations that each way to end a process loses, with the plain SDK and with `init_tracing`.

The expectations for the plain SDK were measured with langfuse 5.0.4 and opentelemetry-sdk 1.45.2, three times each and
without a ledger: ten ended observations, a Langfuse that works, nothing sent before the end.
"""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from urllib.error import HTTPError

import pytest

from pytest_langfuse.process.app import App
from tests.helpers.tiers import only
from tests.helpers.traced_service import SENT_AT_THE_END, SERVICE, SET_UP, ask, span_names

# Slow: starts processes and ends them with signals.
pytestmark = pytest.mark.slow

PLAIN, OURS = "plain", "init_tracing"
#: What the plain SDK loses is the other half of the table; it changes with the SDK alone.
SET_UPS = [pytest.param(PLAIN, marks=pytest.mark.exhaustive), OURS]
BOTH, NEITHER = frozenset({PLAIN, OURS}), frozenset()
ONLY_PLAIN = frozenset({PLAIN})


@dataclass(frozen=True)
class ScriptCase:
    """A script that ends. The set-ups in `lost` lose the observations of `prefix`; those of `kept` always arrive."""

    name: str
    body: str
    lost: frozenset[str]
    send: signal.Signals | None = None
    status: int = 0
    prefix: str = "s"
    kept: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


#: They show once more what another script does.
REPEATS = {
    "sys.exit(3)",
    "SIGABRT",
    "SIGQUIT",
    "SIGUSR1",
    "os.fork, the child flushes and calls os._exit",
    "multiprocessing forkserver, set up by the main module",
    "multiprocessing fork, the child flushes",
    "ProcessPoolExecutor spawn",
    "ProcessPoolExecutor forkserver, set up by the main module",
}

WAIT = "ready(); time.sleep(60)"
#: These signals leave a core dump.
NO_CORE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"

#: Start methods of `multiprocessing` whose children run the exit handlers that they registered.
RUN_EXIT_HANDLERS = {"spawn", "forkserver"} if sys.version_info >= (3, 13) else {"spawn"}

SCRIPTS = [
    ScriptCase("normal exit", "set_up(); observe()", NEITHER),
    ScriptCase("sys.exit(3)", "set_up(); observe(); sys.exit(3)", NEITHER, status=3),
    ScriptCase("unhandled exception", "set_up(); observe(); raise ValueError", NEITHER, status=1),
    ScriptCase("os._exit", "set_up(); observe(); os._exit(0)", BOTH),
    ScriptCase("SIGTERM", f"set_up(); observe(); {WAIT}", ONLY_PLAIN, signal.SIGTERM, -signal.SIGTERM),
    ScriptCase("SIGHUP", f"set_up(); observe(); {WAIT}", ONLY_PLAIN, signal.SIGHUP, -signal.SIGHUP),
    ScriptCase("SIGQUIT", f"{NO_CORE}; set_up(); observe(); {WAIT}", ONLY_PLAIN, signal.SIGQUIT, -signal.SIGQUIT),
    ScriptCase("SIGABRT", f"{NO_CORE}; set_up(); observe(); {WAIT}", BOTH, signal.SIGABRT, -signal.SIGABRT),
    ScriptCase("SIGUSR1", f"set_up(); observe(); {WAIT}", BOTH, signal.SIGUSR1, -signal.SIGUSR1),
    ScriptCase("SIGKILL", f"set_up(); observe(); {WAIT}", BOTH, signal.SIGKILL, -signal.SIGKILL),
    ScriptCase(
        "SIGTERM with a handler calling sys.exit, with an open span",
        f"""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
        set_up(); observe()
        with get_client().start_as_current_observation(name="open"):
            {WAIT}
        """,
        NEITHER,
        signal.SIGTERM,
        4,
        extra=("open",),
    ),
    ScriptCase(
        "SIGINT with an open span",
        f"""
        set_up(); observe()
        with get_client().start_as_current_observation(name="open"):
            {WAIT}
        """,
        NEITHER,
        signal.SIGINT,
        -signal.SIGINT,
        extra=("open",),
    ),
    ScriptCase(
        "SIGINT of asyncio.run",
        """
        async def main():
            set_up(); observe(); ready()
            await asyncio.sleep(60)
        asyncio.run(main())
        """,
        NEITHER,
        signal.SIGINT,
        -signal.SIGINT,
    ),
    ScriptCase(
        "ThreadPoolExecutor",
        """
        from concurrent.futures import ThreadPoolExecutor
        set_up()
        with ThreadPoolExecutor() as pool: pool.submit(observe)
        """,
        NEITHER,
    ),
    ScriptCase(
        "daemon thread",
        """
        set_up()
        done = threading.Event()
        threading.Thread(target=lambda: (observe(), done.set(), time.sleep(60)), daemon=True).start()
        done.wait()
        """,
        NEITHER,
    ),
    ScriptCase(
        "os.fork, the child falls off the end",
        """
        set_up(); observe(10, "parent ")
        if os.fork() == 0: observe(10, "child ")
        else: os.wait()
        """,
        NEITHER,
        prefix="child ",
        kept=("parent ",),
    ),
    ScriptCase(
        "os.fork, the child calls os._exit",
        """
        set_up(); observe(10, "parent ")
        if os.fork() == 0:
            observe(10, "child ")
            os._exit(0)
        os.wait()
        """,
        BOTH,
        prefix="child ",
        kept=("parent ",),
    ),
    ScriptCase(
        "os.fork, the child flushes and calls os._exit",
        """
        set_up(); observe(10, "parent ")
        if os.fork() == 0:
            observe(10, "child ")
            get_client().flush()
            os._exit(0)
        os.wait()
        """,
        NEITHER,
        prefix="child ",
        kept=("parent ",),
    ),
    *(
        ScriptCase(
            f"multiprocessing {method}",
            f"""
            def work():
                set_up(); observe(10, "child ")
            if __name__ == "__main__":
                set_up(); observe(10, "parent ")
                child = multiprocessing.get_context("{method}").Process(target=work)
                child.start(); child.join()
                assert child.exitcode == 0
            """,
            ONLY_PLAIN if method not in RUN_EXIT_HANDLERS else NEITHER,
            prefix="child ",
            kept=("parent ",),
        )
        for method in ("fork", "forkserver", "spawn")
    ),
    *(
        ScriptCase(
            f"{pool} forkserver, set up by the main module",
            f"""
            from concurrent.futures import ProcessPoolExecutor
            set_up()
            def work():
                observe(10, "child ")
            def main(context):
                {body}
            if __name__ == "__main__":
                main(multiprocessing.get_context("forkserver"))
            """,
            ONLY_PLAIN if "forkserver" not in RUN_EXIT_HANDLERS else NEITHER,
            prefix="child ",
        )
        for pool, body in (
            ("multiprocessing", "child = context.Process(target=work); child.start(); child.join()"),
            ("ProcessPoolExecutor", "ProcessPoolExecutor(1, mp_context=context).submit(work).result()"),
        )
    ),
    ScriptCase(
        "multiprocessing fork, the child flushes",
        """
        def work():
            observe(10, "child ")
            get_client().flush()
        set_up(); observe(10, "parent ")
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start(); child.join()
        """,
        NEITHER,
        prefix="child ",
        kept=("parent ",),
    ),
    *(
        ScriptCase(
            f"ProcessPoolExecutor {method}",
            f"""
            from concurrent.futures import ProcessPoolExecutor
            def work():
                set_up(); observe(10, "child ")
            if __name__ == "__main__":
                set_up(); observe(10, "parent ")
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("{method}")) as pool:
                    pool.submit(work).result()
            """,
            NEITHER if method == "spawn" else ONLY_PLAIN,
            prefix="child ",
            kept=("parent ",),
        )
        for method in ("fork", "spawn")
    ),
]


def check(app: App, row_lost: bool, prefix: str = "s", others: tuple[str, ...] = (), count: int = 10) -> None:
    """Check that the ten observations arrived or were lost, that the others arrived, and that nothing else did."""
    expected = span_names(count, prefix)
    arrived, lost = sorted(o.name for o in app.spans), sorted(o.name for o in app.lost)
    assert lost == (expected if row_lost else []), app.output
    assert arrived == sorted([*others, *([] if row_lost else expected)]), app.output
    assert app.spans.unended == []


@pytest.mark.parametrize("how", SET_UPS)
@pytest.mark.parametrize(
    "case", only([case for case in SCRIPTS if case.name not in REPEATS], SCRIPTS), ids=lambda case: case.name
)
def test_script(langfuse_process, script: Callable[..., Path], case: ScriptCase, how: str) -> None:
    app = langfuse_process.start(
        "-W", "ignore", script(SET_UP + dedent(case.body)), env={**SENT_AT_THE_END, "SET_UP": how}
    )
    if case.send is not None:
        app.wait_for_output("ready", timeout=30)
        app.send_signal(case.send)

    assert app.wait(30) == case.status, app.output
    others = tuple(name for prefix in case.kept for name in span_names(10, prefix)) + case.extra
    check(app, how in case.lost, case.prefix, others)


UVICORN = ("-m", "uvicorn", "service:asgi", "--port", "{port}", "--log-level", "warning")
GUNICORN = ("-m", "gunicorn", "service:wsgi", "-b", "127.0.0.1:{port}", "-w", "1", "--log-level", "warning")


@dataclass(frozen=True)
class ServerCase:
    """A server that answers one request and then gets a signal. The set-ups in `lost` lose its observations."""

    name: str
    command: tuple[str, ...]
    send: signal.Signals
    lost: frozenset[str]
    statuses: tuple[int, ...] = (0,)
    env: tuple[tuple[str, str], ...] = ()
    #: Another signal to a server that SIGTERM shows already.
    repeats: bool = False


SERVERS = [
    ServerCase("uvicorn SIGINT", UVICORN, signal.SIGINT, NEITHER, (0, -signal.SIGINT), repeats=True),
    ServerCase("uvicorn SIGTERM", UVICORN, signal.SIGTERM, ONLY_PLAIN, (-signal.SIGTERM,)),
    ServerCase(
        "uvicorn SIGTERM, flush in lifespan", UVICORN, signal.SIGTERM, NEITHER, (-signal.SIGTERM,), (("FLUSH", "1"),)
    ),
    ServerCase("uvicorn --workers 2 SIGTERM", (*UVICORN, "--workers", "2"), signal.SIGTERM, ONLY_PLAIN, (0, -15)),
    *(
        ServerCase(
            f"gunicorn {' '.join(options) or 'sync'} {number.name}",
            (*GUNICORN, *options),
            number,
            NEITHER,
            repeats=number == signal.SIGINT or (bool(options) and number != signal.SIGTERM),
        )
        for options in ((), ("--preload",), ("--worker-class", "gthread"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    ),
]


UVICORN_WORKERS = [
    "uvicorn.workers.UvicornWorker",
    pytest.param("uvicorn.workers.UvicornH11Worker", marks=pytest.mark.exhaustive),
]


def gunicorn_with(worker: str, *options: str) -> tuple[str, ...]:
    """The command of gunicorn with a worker of uvicorn."""
    return (
        "-W",
        "ignore",
        *("service:asgi" if part == "service:wsgi" else part for part in GUNICORN),
        "-k",
        worker,
        *options,
    )


@pytest.fixture(params=SET_UPS)
def how(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize(
    "case",
    only([case for case in SERVERS if not case.repeats], SERVERS),
    ids=lambda case: case.name,
)
def test_server(langfuse_process, script: Callable[..., Path], case: ServerCase, how: str) -> None:
    pytest.importorskip(case.command[1])
    path = script(SERVICE, "service.py")
    app = langfuse_process.start(
        *case.command, cwd=path.parent, env={**SENT_AT_THE_END, "SET_UP": how, **dict(case.env)}
    )
    app.wait_ready("/health", timeout=60)
    worker = ask(app)
    app.send_signal(case.send)

    assert app.wait(30) in case.statuses, app.output
    check(app, how in case.lost, f"{worker} ")


def test_a_hung_worker_of_gunicorn(langfuse_process, script: Callable[..., Path], how: str) -> None:
    """`--timeout` aborts the worker, which runs its exit handlers."""
    pytest.importorskip("gunicorn")
    path = script(SERVICE, "service.py")
    app = langfuse_process.start(*GUNICORN, "--timeout", "1", cwd=path.parent, env={**SENT_AT_THE_END, "SET_UP": how})
    app.wait_ready("/health", timeout=60)
    worker = ask(app)
    # gunicorn answers with status 500 or closes the connection, before the request times out.
    with pytest.raises((HTTPError, ConnectionError)):
        ask(app, "/hang")
    app.terminate()

    assert app.wait(30) == 0, app.output
    check(app, False, f"{worker} ")


@pytest.mark.parametrize("worker", UVICORN_WORKERS)
def test_a_preloaded_worker_of_uvicorn_under_gunicorn(
    langfuse_process, script: Callable[..., Path], how: str, worker: str
) -> None:
    """It sets all signals to their default action after the fork, and ends itself by them."""
    pytest.importorskip("gunicorn")
    pytest.importorskip("uvicorn")
    path = script(SERVICE, "service.py")
    command = gunicorn_with(worker, "--preload")
    app = langfuse_process.start(*command, cwd=path.parent, env={**SENT_AT_THE_END, "SET_UP": how})
    app.wait_ready("/health", timeout=60)
    asked = ask(app)
    app.terminate()

    assert app.wait(30) == 0, app.output
    check(app, how == PLAIN, f"{asked} ")


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--preload",), marks=pytest.mark.exhaustive)], ids=["", "preload"]
)
def test_a_hung_worker_of_uvicorn_under_gunicorn(
    langfuse_process, script: Callable[..., Path], how: str, options: tuple[str, ...]
) -> None:
    """Its `--timeout` aborts the worker by SIGABRT, for which uvicorn's workers take gunicorn's own handler away."""
    pytest.importorskip("gunicorn")
    pytest.importorskip("uvicorn")
    path = script(SERVICE, "service.py")
    command = gunicorn_with("uvicorn.workers.UvicornWorker", "--timeout", "2", *options)
    app = langfuse_process.start(*command, cwd=path.parent, env={**SENT_AT_THE_END, "SET_UP": how})
    app.wait_ready("/health", timeout=60)
    asked = ask(app)
    with pytest.raises((HTTPError, ConnectionError)):
        ask(app, "/hang")
    # The next worker has gunicorn's own handlers at first, with which it forgets a SIGTERM.
    app.wait_ready("/health", timeout=60)
    app.terminate()

    assert app.wait(30) == 0, app.output
    check(app, how == PLAIN, f"{asked} ")


def test_a_worker_of_celery(langfuse_process, script: Callable[..., Path], how: str, tmp_path: Path) -> None:
    """The child processes of a Celery worker run no exit handlers."""
    pytest.importorskip("celery")
    path = script(
        SET_UP
        + dedent(f"""
        from celery import Celery
        from celery.signals import worker_ready
        app = Celery("service", broker="filesystem://")
        app.conf.broker_transport_options = dict.fromkeys(["data_folder_in", "data_folder_out"], {str(tmp_path)!r})
        worker_ready.connect(lambda **_: os.write(1, b"ready\\n"), weak=False)  # Celery redirects sys.stdout

        @app.task
        def work():
            observe()
            os.write(1, b"done\\n")

        if "worker" in sys.argv:
            set_up()
        """),
        "service.py",
    )
    worker = langfuse_process.start(
        "-m", "celery", "-A", "service", "--quiet", "worker", "-c", "1",
        cwd=path.parent, env={**SENT_AT_THE_END, "SET_UP": how},
    )  # fmt: skip
    worker.wait_for_output("ready", timeout=60)
    producer = langfuse_process.start("-W", "ignore", "-c", "import service; service.work.delay()", cwd=path.parent)
    assert producer.wait(30) == 0, producer.output
    worker.wait_for_output("done", timeout=30)
    worker.terminate()

    assert worker.wait(30) == 0, worker.output
    check(worker, how == PLAIN)


def test_a_spool_keeps_over_sigkill_what_was_handed_to_it(
    langfuse_process, langfuse_spans, langfuse_outage, script: Callable[..., Path], tmp_path: Path
) -> None:
    """`init_tracing` cannot act on SIGKILL, but the next process sends what is in the spool."""
    env = {**SENT_AT_THE_END, "LANGFUSE_SPOOL_PATH": str(tmp_path / "spool"), "SET_UP": OURS}
    with langfuse_outage("http_503"):
        first = langfuse_process.start(script(f"{SET_UP}set_up(); observe(); get_client().flush(); {WAIT}"), env=env)
        first.wait_for_output("ready", timeout=30)
        first.kill()
        assert first.wait() == -signal.SIGKILL
    assert sorted(o.name for o in first.lost) == span_names()

    second = langfuse_process.start(script(f"{SET_UP}set_up()"), env=env)
    assert second.wait(30) == 0
    assert first.lost == []
    assert sorted(o.name for o in langfuse_spans) == span_names()
    langfuse_spans.assert_flushed()
