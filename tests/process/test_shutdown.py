"""However a process with `init_tracing` ends, its observations arrive once, and it ends as it would without tracing.

`test_what_is_lost.py` has the losses of the plain SDK in the same situations.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from urllib.request import urlopen

import pytest

from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.process.app import App
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON
from tests.helpers.tiers import first_of, only
from tests.helpers.traced_service import SENT_AT_THE_END, SERVICE, ask, span_names

#: Slow: starts processes and ends them with signals.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")]

OURS = {**SENT_AT_THE_END, "SET_UP": "init_tracing"}
TRACING = "from pytest_langfuse.tracing import *\n"

Start = Callable[..., App]
Arrived = Callable[[], list[str]]


@pytest.fixture
def start(langfuse_process, script: Callable[..., Path]) -> Start:
    """A function that starts a script, with the settings of tracing as environment variables."""

    def start(body: str, **env: str) -> App:
        path = script(TRACING + dedent(body), f"script_{len(langfuse_process.apps)}.py")
        return langfuse_process.start("-W", "ignore", path, env={**SENT_AT_THE_END, **env})

    return start


@pytest.fixture
def arrived(langfuse_server: LangfuseServer) -> Arrived:
    """A function that returns the sorted names of what arrived, with duplicates."""

    def arrived() -> list[str]:
        assert langfuse_server.settle(10.0)
        return sorted(observation.name for observation in langfuse_server.spans)

    return arrived


def ready(app: App) -> App:
    """Wait until the script calls `ready()`."""
    app.wait_for_output("ready", timeout=30)
    return app


def end(app: App, number: int) -> int:
    """Send a signal and return the exit status."""
    app.send_signal(number)
    return app.wait(30)


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- signals ---------------------------------------------------------------------------------------------------


def test_sigterm_runs_no_exit_handlers_and_finally_blocks_that_it_would_not_run(start: Start, arrived: Arrived) -> None:
    app = start("""
        import atexit
        atexit.register(print, "exit handler")
        init_tracing(); observe(); ready()
        try:
            time.sleep(60)
        finally:
            print("finally")
    """)

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert app.output == "ready\n"
    assert arrived() == span_names()


def test_ctrl_c_is_a_keyboard_interrupt_as_always(start: Start, arrived: Arrived) -> None:
    app = start("""
        init_tracing()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        observe()
        try:
            ready()
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted")
            sys.exit(5)
    """)

    assert end(ready(app), signal.SIGINT) == 5
    assert app.output == "ready\ninterrupted\n"
    assert arrived() == span_names()


def test_sigint_with_the_default_action(start: Start, arrived: Arrived) -> None:
    app = start("""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        init_tracing(); observe(); ready(); time.sleep(60)
    """)

    assert end(ready(app), signal.SIGINT) == -signal.SIGINT
    assert arrived() == span_names()


@pytest.mark.parametrize("number", first_of([signal.SIGTERM, signal.SIGINT]))
def test_an_ignored_signal_stays_ignored(start: Start, arrived: Arrived, number: int, tmp_path: Path) -> None:
    app = start(f"""
        from pathlib import Path
        signal.signal({number:d}, signal.SIG_IGN)
        init_tracing(); observe(); ready()
        while not Path({str(tmp_path / "sent")!r}).exists(): time.sleep(0.01)
        print("went on")
    """)
    ready(app).send_signal(number)
    (tmp_path / "sent").touch()

    assert app.wait(30) == 0
    assert app.output == "ready\nwent on\n"
    assert arrived() == span_names()


def test_a_handler_of_the_application_that_was_there_first_decides(start: Start, arrived: Arrived) -> None:
    app = start("""
        signal.signal(signal.SIGTERM, lambda number, frame: (os.write(1, b"mine\\n"), sys.exit(7)))
        init_tracing(); observe(); ready(); time.sleep(60)
    """)

    assert end(ready(app), signal.SIGTERM) == 7
    assert app.output == "ready\nmine\n"
    assert arrived() == span_names()


def test_a_handler_of_the_application_that_comes_later_decides(start: Start, arrived: Arrived) -> None:
    app = start("""
        init_tracing()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
        observe(); ready(); time.sleep(60)
    """)

    assert end(ready(app), signal.SIGTERM) == 7
    assert arrived() == span_names()


def test_a_later_handler_that_takes_the_default_action_shuts_down_before(start: Start, arrived: Arrived) -> None:
    app = start("""
        def handle(number, frame):
            os.write(1, f"{shutdown_tracing().dropped}\\n".encode())  # `ready()` may still be in `print`
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        init_tracing()
        signal.signal(signal.SIGTERM, handle)
        observe(); ready(); time.sleep(60)
    """)

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert app.output == "ready\n{}\n"
    assert arrived() == span_names()


def test_a_server_that_ends_itself_without_exit_handlers(start: Start, arrived: Arrived) -> None:
    """Like uvicorn: its handler starts the clean-up, then it restores the default action and signals itself."""
    app = start("""
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        init_tracing(); observe(); ready()
        stop.wait()
        observe(5, "in flight ")
        time.sleep(0.5)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    """)

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == sorted(span_names() + span_names(5, "in flight "))


@pytest.mark.parametrize("ours", ["before", "after"])
def test_asyncios_signal_handlers_before_and_after_ours(start: Start, arrived: Arrived, ours: str) -> None:
    before, after = ("init_tracing()", "") if ours == "before" else ("", "init_tracing()")
    app = start(f"""
        async def main():
            stop = asyncio.Event()
            {before}
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            {after}
            observe(); ready()
            await stop.wait()
            print("stopped")
        asyncio.run(main())
    """)

    assert end(ready(app), signal.SIGTERM) == 0
    assert app.output == "ready\nstopped\n"
    assert arrived() == span_names()


def test_signals_can_be_left_alone(start: Start, arrived: Arrived) -> None:
    app = start("init_tracing(); observe(); ready(); time.sleep(60)", LANGFUSE_HANDLE_SIGNALS="false")

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == []
    assert sorted(observation.name for observation in app.lost) == span_names()


def test_set_up_outside_of_the_main_thread_there_are_no_signal_handlers(start: Start, arrived: Arrived) -> None:
    app = start("""
        thread = threading.Thread(target=lambda: (init_tracing(), observe()))
        thread.start(); thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    """)

    assert app.wait(30) == 0, app.output
    assert arrived() == span_names()


def test_handlers_are_given_back_at_shutdown(start: Start) -> None:
    app = start("""
        mine = lambda number, frame: None
        signal.signal(signal.SIGTERM, mine)
        init_tracing()
        assert signal.getsignal(signal.SIGTERM) is not mine
        shutdown_tracing()
        assert signal.getsignal(signal.SIGTERM) is mine
    """)

    assert app.wait(30) == 0, app.output


def test_handlers_that_another_thread_could_not_take_off_are_seen_through(start: Start, arrived: Arrived) -> None:
    app = start("""
        for _ in range(3):
            init_tracing()
            thread = threading.Thread(target=shutdown_tracing)
            thread.start(); thread.join()
        init_tracing(); observe(); ready(); time.sleep(60)
    """)

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


def test_a_signal_while_the_main_thread_is_inside_a_flush_does_not_deadlock(start: Start, arrived: Arrived) -> None:
    """The flush holds the SDK's export lock, which is not reentrant, during the export."""
    app = start("""
        init_tracing()
        observe()
        from pytest_langfuse.tracing import singleton as singleton_module
        exporter = singleton_module.singleton.installation.pipeline.exporter
        export = exporter.export
        def slow(spans):
            ready()
            time.sleep(0.5)
            return export(spans)
        exporter.export = slow
        get_langfuse_client().flush()
        time.sleep(60)
    """)

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


def test_a_signal_during_a_shutdown_waits_for_its_end(start: Start, arrived: Arrived, langfuse_outage) -> None:
    with langfuse_outage("slow", delay=2.0) as outage:
        app = start("init_tracing(); observe(); ready(); shutdown_tracing(); time.sleep(60)")
        ready(app)
        until(lambda: outage.attempts)

        assert end(app, signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


@pytest.mark.parametrize(
    ("handler", "status", "output"),
    [("", -signal.SIGTERM, "ready\n"), ('lambda *_: os.write(1, b"mine\\n")', 0, "ready\nmine\n")],
    ids=["default", "handled"],
)
def test_a_signal_at_interpreter_exit_waits_for_the_shutdown(
    start: Start, arrived: Arrived, langfuse_outage, handler: str, status: int, output: str
) -> None:
    """At that point no thread can be started any more (Python 3.12)."""
    with langfuse_outage("slow", delay=2.0) as outage:
        app = start(f"""
            if {bool(handler)}: signal.signal(signal.SIGTERM, {handler or None})
            init_tracing(); observe(); ready()
        """)
        ready(app)
        until(lambda: outage.attempts)

        assert end(app, signal.SIGTERM) == status
    assert app.output == output
    assert arrived() == span_names()


def test_a_signal_during_a_shutdown_in_another_thread_waits_for_its_end(
    start: Start, arrived: Arrived, langfuse_outage
) -> None:
    with langfuse_outage("slow", delay=2.0) as outage:
        app = start("""
            init_tracing(); observe(); ready()
            threading.Thread(target=shutdown_tracing).start()
            time.sleep(60)
        """)
        ready(app)
        until(lambda: outage.attempts)

        assert end(app, signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


#: Places in which the application is when the signal comes, and in which no handler of ours may wait: whoever holds the
#: lock of a log handler does not return, and no shutdown log gets through.
BLOCKED = {
    "a module that is called logging_worker": "ready(); time.sleep(60)",
    "a log into a full pipe": """
        reader, writer = os.pipe()
        logging.getLogger().addHandler(logging.StreamHandler(os.fdopen(writer, "w", buffering=1)))
        threading.Timer(0.5, ready).start()
        while True: logging.warning("x" * 10_000)
    """,
    "a call into C that goes on": """
        import hashlib
        threading.Timer(0.5, ready).start()
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2**31 - 1)
    """,
    "a log handler that takes its time": """
        class Slow(logging.Handler):
            def emit(self, record): time.sleep(3600)
        logging.getLogger().addHandler(Slow())
        threading.Timer(0.5, ready).start()
        logging.warning("x")
    """,
}


@pytest.mark.parametrize("where", only(["a call into C that goes on", "a log handler that takes its time"], BLOCKED))
def test_a_signal_while_the_main_thread_is_blocked(
    langfuse_process, script: Callable[..., Path], arrived: Arrived, where: str
) -> None:
    body = "import logging\ninit_tracing(); observe()\n" + dedent(BLOCKED[where])
    app = langfuse_process.start("-W", "ignore", script(TRACING + body, "logging_worker.py"), env=SENT_AT_THE_END)

    assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


def test_a_loss_that_cannot_be_logged_does_not_hold_the_end_up(start: Start, langfuse_outage) -> None:
    with langfuse_outage("hang"):
        app = start(
            f"import logging\ninit_tracing(); observe()\n{dedent(BLOCKED['a log handler that takes its time'])}",
            **SHORT_DEADLINE,
        )

        assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM


def test_two_signals_at_once(start: Start, arrived: Arrived) -> None:
    """The first decides: SIGINT raises KeyboardInterrupt in the main thread, wherever that waits by then."""
    app = start("init_tracing(); observe(); ready(); time.sleep(60)")
    ready(app).terminate()
    app.interrupt()

    assert app.wait(30) == -signal.SIGTERM, app.output
    assert arrived() == span_names()


@pytest.mark.parametrize("at", ["once", "exit"])
def test_ctrl_c_twice(start: Start, arrived: Arrived, langfuse_outage, at: str) -> None:
    with langfuse_outage("slow", delay=0.5) as outage:
        app = start("init_tracing(); observe(); ready(); time.sleep(60)")
        ready(app).interrupt()
        if at == "exit":
            until(lambda: outage.attempts)
        app.interrupt()

        assert app.wait(30) in {-signal.SIGINT, 1}, app.output
    assert arrived() == span_names()


def test_a_handler_of_the_application_that_raises_while_the_process_exits(
    start: Start, arrived: Arrived, langfuse_outage
) -> None:
    with langfuse_outage("slow", delay=1.0) as outage:
        app = start("""
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
            init_tracing(); observe(); ready()
        """)
        ready(app)
        until(lambda: outage.attempts)
        app.terminate()
        app.wait(30)
    assert arrived() == span_names()


def test_a_handler_below_python_stays(start: Start, arrived: Arrived) -> None:
    """`faulthandler` prints where all threads are, and the process goes on."""
    app = start("""
        import faulthandler
        faulthandler.register(signal.SIGQUIT, chain=False)
        init_tracing(); observe(); ready()
        time.sleep(60)
    """)
    ready(app).send_signal(signal.SIGQUIT)
    # To its end, the main thread: it reads frames of threads that run, and other things must not happen meanwhile.
    app.wait_for_output("in <module>")

    assert end(app, signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


def test_exit_handlers_that_come_after_ours(start: Start) -> None:
    """They were registered earlier; with Python 3.12 and later no thread can be started in them."""
    app = start("""
        import atexit

        def health():
            found = tracing_health()
            print(found.ended, found.exported, found.dropped, found.buffered)

        def late():
            get_langfuse_client().start_observation(name="late").end()
            get_client().start_observation(name="late").end()
            safe_trace(lambda: None)()

        atexit.register(health); atexit.register(late)
        init_tracing(); observe()
    """)

    assert app.wait(30) == 0
    assert "Traceback" not in app.output
    assert app.output.splitlines()[-1] == "13 10 {'after_shutdown': 3} 0"


#: Calls of this package in which the application blocks the main thread when the signal comes.
BELOW = {
    "safe_trace": "safe_trace(work)()",
    "a generator": "next(safe_trace(steps)())",
    "request_context": "with request_context(user_id='u'): work()",
    "run_with_context": "run_with_context({'user_id': 'u'}, work)",
    "carry_context": "carry_context(work)()",
    "WSGI": "list(LangfuseWSGIMiddleware(wsgi)({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'}, lambda *_: None))",
    "ASGI": "asyncio.run(LangfuseASGIMiddleware(asgi)({'type': 'http', 'method': 'GET', 'path': '/'}, None, None))",
    "httpx": "instrument_httpx(); httpx.Client(transport=httpx.MockTransport(work)).get('http://orders')",
    "a prompt": "threading.Timer(0.5, ready).start(); get_langfuse_client().get_prompt('p', fallback='Hi')",
}


@pytest.mark.parametrize("where", only(["ASGI", "a prompt"], BELOW))
def test_the_application_below_ours_does_not_hold_a_signal_up(
    start: Start, arrived: Arrived, langfuse_outage, where: str
) -> None:
    with langfuse_outage("hang", paths="prompts", required=where == "a prompt"):
        app = start(
            f"""
            import httpx

            def work(*_):
                ready()
                time.sleep(60)

            def steps():
                work()
                yield

            def wsgi(environ, start_response):
                work()

            async def asgi(scope, receive, send):
                work()

            init_tracing(); observe()
            {BELOW[where]}
            """,
            LANGFUSE_TIMEOUT="3600",
        )

        assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
    assert arrived() == span_names()


def test_a_storm_of_signals_while_spans_are_made(start: Start, arrived: Arrived) -> None:
    body = "init_tracing(); observe(10, 'before '); ready()\nwhile True: observe(1)"
    app = start(body, LANGFUSE_MAX_BUFFER_SPANS="100000")
    ready(app)
    for _ in range(20):
        app.terminate()

    assert app.wait(30) == -signal.SIGTERM
    assert [name for name in arrived() if name != "s0"] == span_names(10, "before ")


# -- while Langfuse is down ------------------------------------------------------------------------------------

#: Without the deadline, the shutdown would take as long as a request may: longer than a test waits.
SHORT_DEADLINE = {"LANGFUSE_SHUTDOWN_TIMEOUT": "0.5", "LANGFUSE_TIMEOUT": "3600"}
DOWN = ["hang", "drip", "http_503", "refused"]


def lost_in(fault: str) -> list[str]:
    """Return the names that Langfuse did not get. With `drip` it gets them, and only the answer is late."""
    return [] if fault == "drip" else span_names()


@pytest.mark.parametrize("fault", only(["hang"], DOWN))
def test_sigterm_does_not_wait_for_a_langfuse_that_is_down(start: Start, langfuse_outage, fault: str) -> None:
    # A server cannot tell whether a process was refused.
    with langfuse_outage(fault, required=fault != "refused") as outage:
        app = start("init_tracing(); observe(); ready(); time.sleep(60)", **SHORT_DEADLINE)

        assert end(ready(app), signal.SIGTERM) == -signal.SIGTERM
        assert outage.attempts <= 4
    assert sorted(observation.name for observation in app.lost) == lost_in(fault)


@pytest.mark.parametrize("fault", first_of(["hang", "drip", "http_503"]))
def test_an_exit_does_not_wait_for_a_langfuse_that_is_down_either(start: Start, langfuse_outage, fault: str) -> None:
    with (
        langfuse_outage(fault, required=False, paths="scores"),
        langfuse_outage(fault, paths="otlp") as exports,
    ):
        app = start(
            """
            client = init_tracing()
            observe()
            client.create_score(name="s", value=1, trace_id="a" * 32)
            """,
            **SHORT_DEADLINE,
        )

        assert app.wait(30) == 0, app.output
        assert exports.attempts <= 4
    assert sorted(observation.name for observation in app.lost) == lost_in(fault)


def test_an_exit_does_not_wait_for_a_prompt_that_is_being_refreshed(
    start: Start, langfuse_outage, langfuse_server: LangfuseServer
) -> None:
    """The SDK's exit handler joins the refreshing thread without a limit. A score is pending at the same time."""
    langfuse_server.stand_in.prompt("p", "Hello")
    with langfuse_outage("hang", paths="prompts", after=1) as outage:
        app = start(
            """
            client = init_tracing()
            client.get_prompt("p", cache_ttl_seconds=1)
            time.sleep(2.1)
            client.get_prompt("p", cache_ttl_seconds=1)
            client.create_score(name="s", value=1, trace_id="a" * 32)
            ready()
            time.sleep(1)
            """,
            **SHORT_DEADLINE,
        )
        ready(app)
        until(lambda: outage.struck)

        assert app.wait(30) == 0, app.output


# -- children --------------------------------------------------------------------------------------------------


def test_workers_of_a_multiprocessing_pool_that_are_terminated(start: Start, arrived: Arrived) -> None:
    app = start("""
        def work(number):
            observe(1, f"task {number} ")
        init_tracing()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(work, range(10))
    """)

    assert app.wait(30) == 0, app.output
    assert arrived() == sorted(f"task {number} 0" for number in range(10))


def test_a_forked_child_goes_on_with_counts_of_its_own(start: Start, arrived: Arrived) -> None:
    app = start("""
        init_tracing()
        observe(3)
        if os.fork() == 0:
            observe(1, "child ")
            os._exit(shutdown_tracing().exported)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
        assert shutdown_tracing().exported == 3
    """)

    assert app.wait(30) == 0, app.output
    assert arrived() == ["child 0", *span_names(3)]


def test_a_forked_child_that_exits_and_one_that_is_terminated(start: Start, arrived: Arrived) -> None:
    app = start("""
        init_tracing()
        observe()
        if os.fork() == 0:
            observe(5, "exit ")
            sys.exit()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            observe(5, "term ")
            os.write(writer, b"x")
            time.sleep(60)
        os.read(reader, 1)
        os.kill(pid, signal.SIGTERM)
        statuses = {os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)}
        assert statuses == {0, -15}, statuses
    """)

    assert app.wait(30) == 0, app.output
    assert arrived() == sorted(span_names() + span_names(5, "exit ") + span_names(5, "term "))


def test_a_span_that_is_open_over_a_fork_is_exported_once(start: Start, arrived: Arrived) -> None:
    app = start("""
        client = init_tracing()
        with client.start_as_current_observation(name="open"):
            pid = os.fork()
            with client.start_as_current_observation(name="child" if pid == 0 else "parent"):
                pass
        if pid:
            os.wait()
    """)

    assert app.wait(30) == 0, app.output
    assert arrived() == ["child", "open", "parent"]


def test_forks_while_other_threads_are_at_work(start: Start, arrived: Arrived) -> None:
    """A lock that another thread holds at the fork stays locked in the child for ever."""
    app = start(
        """
        init_tracing()
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                observe(1, "busy ")
                get_langfuse_client().flush()
        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads: thread.start()
        for number in range(20):
            if os.fork() == 0:
                observe(1, "child ")
                os._exit(0 if shutdown_tracing(20).exported == 1 else 1)
        statuses = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(20)]
        stop.set()
        for thread in threads: thread.join()
        assert statuses == [0] * 20, statuses
        """,
        LANGFUSE_MAX_BUFFER_SPANS="5000",
    )

    assert app.wait(60) == 0, app.output
    assert arrived().count("child 0") == 20


def test_no_child_waits_for_a_lock_that_another_thread_held(start: Start, arrived: Arrived) -> None:
    """All locks of ours, and those of the SDK that a span takes, are held while the process forks."""
    app = start("""
        import gc
        init_tracing()
        observe(1, "warm ")
        get_langfuse_client().flush()
        lock_types = (type(threading.Lock()), type(threading.RLock()), threading.Condition)
        ours = (
            "pytest_langfuse.tracing", "langfuse._client.span_processor", "langfuse._client.resource_manager",
            # What an export needs besides.
            "httpx", "httpcore", "http.cookiejar",
        )
        owners = [o for o in gc.get_objects() if str(getattr(o, "__module__", None)).startswith(ours)]
        owners += [module for name, module in sys.modules.items() if name.startswith(ours)]
        locks = {
            id(value): (getattr(owner, "__name__", type(owner).__name__), name, value)
            for owner in owners
            for name, value in getattr(owner, "__dict__", {}).items()
            if isinstance(value, lock_types)
        }
        print(sorted((owner, name) for owner, name, _ in locks.values()))
        release = threading.Event()
        def hold(lock, held):
            lock.acquire()
            held.set()
            release.wait()
            lock.release()
        # A thread of the child may get the identity of one that is gone, and pass for the owner of its reentrant lock:
        # each has its own.
        holders = []
        for _, _, lock in locks.values():
            held = threading.Event()
            holders.append(threading.Thread(target=hold, args=(lock, held)))
            holders[-1].start(); held.wait()
        pid = os.fork()
        if pid == 0:
            observe(10, "child ")
            os._exit(0 if shutdown_tracing(20).exported == 10 else 1)
        release.set()
        for holder in holders: holder.join()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """)

    assert app.wait(40) == 0, app.output
    assert [name for name in arrived() if name.startswith("child ")] == span_names(10, "child ")
    # Since version 5, the SDK's processor has a lock, too.
    assert ("('LangfuseSpanProcessor', '_app_root_lock')" in app.output) == METADATA_IS_JSON
    assert "('LangfuseResourceManager', '_lock')" in app.output
    assert "'lock'" in app.output
    assert "('CookieJar', '_cookies_lock')" in app.output


@pytest.mark.exhaustive
def test_a_signal_to_a_child_right_after_the_fork_is_not_the_parents(start: Start, arrived: Arrived) -> None:
    """Until the child has a channel for signals, it shares the parent's."""
    app = start("""
        init_tracing(); observe()
        for _ in range(40):
            pid = os.fork()
            if pid == 0: time.sleep(60)
            os.kill(pid, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    """)

    assert app.wait(60) == 0, app.output
    assert arrived() == span_names()


@pytest.mark.exhaustive
def test_a_storm_of_forks_while_other_threads_make_spans(start: Start) -> None:
    app = start(
        """
        init_tracing(sample_rate=0.9)
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                observe(1, "busy ")
        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads: thread.start()
        for _ in range(30):
            if os.fork() == 0:
                signal.alarm(60)  # ends a child that hangs
                observe(1, "child ")
                os._exit(0)
        statuses = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(30)]
        stop.set()
        for thread in threads: thread.join()
        assert statuses == [0] * 30, statuses
        """,
        LANGFUSE_MAX_BUFFER_SPANS="5000",
    )

    assert app.wait(120) == 0, app.output


def test_forks_with_a_spool(start: Start, arrived: Arrived, tmp_path: Path) -> None:
    app = start(
        """
        init_tracing()
        for number in range(5):
            observe(1, f"parent {number} ")
            if os.fork() == 0:
                observe(1, f"child {number} ")
                sys.exit()
            get_langfuse_client().flush()
        for _ in range(5): os.wait()
        """,
        LANGFUSE_SPOOL_PATH=str(tmp_path / "spool"),
    )

    assert app.wait(30) == 0, app.output
    assert arrived() == sorted(f"{who} {number} 0" for who in ("child", "parent") for number in range(5))


# -- servers ---------------------------------------------------------------------------------------------------


def made_by(workers: Sequence[str]) -> list[str]:
    """What these made."""
    return sorted(name for worker in workers for name in span_names(10, f"{worker} "))


@pytest.mark.parametrize("workers", only([2], [1, 2]))
def test_sigterm_to_uvicorn_with_tracing_set_up_by_the_lifespan(
    langfuse_process, script: Callable[..., Path], arrived: Arrived, workers: int
) -> None:
    pytest.importorskip("uvicorn")
    path = script(SERVICE, "service.py")
    command = ["-m", "uvicorn", "service:asgi", "--port", "{port}", "--workers", str(workers), "--log-level", "warning"]
    app = langfuse_process.start(*command, cwd=path.parent, env={**OURS, "SET_UP_AT": "lifespan"})
    app.wait_ready("/health", timeout=60)
    seen = [ask(app) for _ in range(4)]

    assert end(app, signal.SIGTERM) in ({-signal.SIGTERM} if workers == 1 else {0, -signal.SIGTERM}), app.output
    assert arrived() == made_by(seen)


def test_sigterm_to_gunicorn_with_workers_of_a_preloaded_application(
    langfuse_process, script: Callable[..., Path], arrived: Arrived
) -> None:
    pytest.importorskip("gunicorn")
    path = script(SERVICE, "service.py")
    command = ["-m", "gunicorn", "service:wsgi", "-b", "127.0.0.1:{port}", "-w", "2", "--preload"]
    app = langfuse_process.start(*command, cwd=path.parent, env=OURS)
    app.wait_ready("/health", timeout=60)
    seen = [ask(app)]
    # A worker of --preload that is still starting misses the signal, and gunicorn waits 30 s for it, with any SDK.
    while len(set(seen)) < 2:
        seen.append(ask(app))

    assert end(app, signal.SIGTERM) == 0
    assert arrived() == made_by(seen)


STREAM = """
from pytest_langfuse.tracing import LangfuseASGIMiddleware, init_tracing, safe_trace, shutdown_tracing

@safe_trace("event")
async def event():
    try:
        await asyncio.sleep(3600)
    finally:
        # What applications do when they are cancelled: more steps.
        for number in range(3):
            await asyncio.sleep(0.01)
            observe(1, "clean-up ")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                init_tracing()
            else:
                await asyncio.to_thread(shutdown_tracing)
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/events":
        await send({"type": "http.response.body", "body": b"data: 1\\n\\n", "more_body": True})
        await event()
    await send({"type": "http.response.body", "body": b""})

asgi = LangfuseASGIMiddleware(app, exclude=["/health"])
"""


def test_a_stream_that_the_server_cancels_before_it_ends_the_application(
    langfuse_process, script: Callable[..., Path], arrived: Arrived
) -> None:
    """The recipe of the documentation: `shutdown_tracing` at the end of the lifespan, in a thread."""
    pytest.importorskip("uvicorn")
    path = script(STREAM, "service.py")
    command = ["-m", "uvicorn", "service:asgi", "--port", "{port}", "--timeout-graceful-shutdown", "1"]
    app = langfuse_process.start(*command, "--log-level", "critical", cwd=path.parent, env=SENT_AT_THE_END)
    app.wait_ready("/health", timeout=60)
    with urlopen(app.url + "/events", timeout=20) as response:
        assert response.readline() == b"data: 1\n"
        assert end(app, signal.SIGTERM) == -signal.SIGTERM, app.output
    assert arrived() == ["GET", *["clean-up 0"] * 3, "event"]
