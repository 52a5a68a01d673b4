"""However a process ends, what it observed arrives, and it ends as it would have without tracing. Real processes."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest
from loopback_langfuse import Reply

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")

# Nothing is sent before the end by itself: what arrives was sent because the process ended.
HEAD = """
import asyncio, multiprocessing, os, signal, sys, threading, time
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
from pytest_langfuse.tracing import *
SETTINGS = dict({keys!r}, flush_at=1000, flush_interval=600, {extra})

def observe(count=10, prefix="s"):
    for number in range(count):
        with get_langfuse_client().start_as_current_observation(name=f"{{prefix}}{{number}}"):
            pass

def ready():
    print("ready", flush=True)
"""


class Script:
    """A script in a process of its own, that prints "ready" when its observations were made."""

    def __init__(self, body, keys, folder, *, extra="", command=None):
        self.path = Path(folder) / "script_under_test.py"
        self.path.write_text(HEAD.format(keys=keys, extra=extra) + textwrap.dedent(body))
        self.process = subprocess.Popen(
            command or [sys.executable, "-W", "ignore", str(self.path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        )  # fmt: skip

    def wait_ready(self, count=1):
        for _ in range(count):
            line = self.process.stdout.readline()
            assert line == "ready\n", (line, self.process.communicate()[1])
        return self

    def send(self, number):
        self.process.send_signal(number)
        return self

    def wait(self):
        try:
            out, err = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"it did not end: {out} {err}")
        self.out, self.err = out, err
        return self.process.returncode


@pytest.fixture
def start(keys, tmp_path):
    started = []

    def start(body, **options):
        started.append(Script(body, keys, tmp_path, **options))
        return started[-1]

    yield start
    for script in started:
        if script.process.poll() is None:
            script.process.kill()
            script.process.communicate()


def names(count=10, prefix="s"):
    return sorted(f"{prefix}{number}" for number in range(count))


# -- signals ---------------------------------------------------------------------------------------------------


def test_sigterm_to_a_plain_script(start, collector):
    script = start("init_tracing(**SETTINGS); observe(); ready(); time.sleep(60)").wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert sorted(collector.accepted) == names()
    assert script.err == ""


def test_sigterm_does_not_run_the_exit_handlers_and_finally_blocks_that_it_would_not_run(start, collector):
    script = start("""
        import atexit
        atexit.register(print, "exit handler")
        init_tracing(**SETTINGS); observe(); ready()
        try:
            time.sleep(60)
        finally:
            print("finally")
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert script.out == ""


def test_ctrl_c_is_a_keyboard_interrupt_as_always(start, collector):
    script = start("""
        init_tracing(**SETTINGS)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        observe()
        try:
            ready()
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted")
            sys.exit(5)
    """).wait_ready()

    assert script.send(signal.SIGINT).wait() == 5
    assert script.out == "interrupted\n"
    assert sorted(collector.accepted) == names()


def test_sigint_with_the_default_action(start, collector):
    script = start("""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        init_tracing(**SETTINGS); observe(); ready(); time.sleep(60)
    """).wait_ready()

    assert script.send(signal.SIGINT).wait() == -signal.SIGINT
    assert sorted(collector.accepted) == names()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_ignored_signal_stays_ignored(start, collector, number):
    script = start(f"""
        signal.signal({number:d}, signal.SIG_IGN)
        init_tracing(**SETTINGS); observe(); ready()
        time.sleep(0.5)
        print("went on")
    """).wait_ready()

    assert script.send(number).wait() == 0
    assert script.out == "went on\n"
    assert sorted(collector.accepted) == names()


def test_a_handler_of_the_application_that_was_there_first_decides(start, collector):
    script = start("""
        signal.signal(signal.SIGTERM, lambda number, frame: (print("mine", number), sys.exit(7)))
        init_tracing(**SETTINGS); observe(); ready(); time.sleep(60)
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == 7
    assert script.out == "mine 15\n"
    assert sorted(collector.accepted) == names()


def test_a_handler_of_the_application_that_comes_later_decides(start, collector):
    script = start("""
        init_tracing(**SETTINGS)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
        observe(); ready(); time.sleep(60)
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == 7
    assert sorted(collector.accepted) == names()


def test_a_server_that_ends_itself_without_exit_handlers(start, collector):
    """As uvicorn does: its handler starts the clean-up, then it restores the default action and signals itself."""
    script = start("""
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
        init_tracing(**SETTINGS); observe(); ready()
        stop.wait()
        observe(5, "in flight ")
        time.sleep(0.5)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert sorted(collector.accepted) == sorted(names() + names(5, "in flight "))


@pytest.mark.parametrize("order", ["before", "after"])
def test_asyncios_signal_handlers_before_and_after_ours(start, collector, order):
    before = "init_tracing(**SETTINGS)" if order == "after" else ""
    after = "init_tracing(**SETTINGS)" if order == "before" else ""
    script = start(f"""
        async def main():
            stop = asyncio.Event()
            {before}
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            {after}
            observe(); ready()
            await stop.wait()
            print("stopped")
        asyncio.run(main())
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == 0
    assert script.out == "stopped\n"
    assert sorted(collector.accepted) == names()


def test_signals_can_be_left_alone(start, collector):
    script = start(
        "init_tracing(**SETTINGS); observe(); ready(); time.sleep(60)", extra="handle_signals=False"
    ).wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert collector.accepted == []


def test_set_up_outside_of_the_main_thread_there_are_no_signal_handlers(start, collector):
    script = start("""
        thread = threading.Thread(target=lambda: (init_tracing(**SETTINGS), observe()))
        thread.start(); thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    """)

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == names()


def test_handlers_are_given_back_at_shutdown(start):
    script = start("""
        mine = lambda number, frame: None
        signal.signal(signal.SIGTERM, mine)
        init_tracing(**SETTINGS)
        assert signal.getsignal(signal.SIGTERM) is not mine
        shutdown_tracing()
        assert signal.getsignal(signal.SIGTERM) is mine
    """)

    assert script.wait() == 0, script.err


def test_a_signal_while_the_main_thread_is_inside_a_flush_does_not_deadlock(start, collector):
    """The flush holds the SDK's export lock, which is not reentrant, for as long as the mask takes."""
    script = start("""
        def mask(*, data, **_):
            return data
        init_tracing(**SETTINGS)
        observe()
        from pytest_langfuse.tracing import _singleton
        exporter = _singleton.singleton.installation.pipeline.exporter
        export = exporter.export
        def slow(spans):
            ready()
            time.sleep(0.5)
            return export(spans)
        exporter.export = slow
        get_langfuse_client().flush()
        time.sleep(60)
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert sorted(collector.accepted) == names()


def test_a_storm_of_signals_while_spans_are_made(start, collector):
    script = start(
        "init_tracing(**SETTINGS); ready()\nwhile True: observe(1)", extra="max_buffer_spans=5000"
    ).wait_ready()
    for _ in range(20):
        if script.process.poll() is None:
            script.send(signal.SIGTERM)

    assert script.wait() == -signal.SIGTERM
    assert set(collector.accepted) <= {"s0"}


@pytest.mark.parametrize("fault", ["hang", "drip", "503", "refused"])
def test_the_end_does_not_wait_for_a_langfuse_that_is_down(start, collector, keys, fault):
    collector.reply = {"hang": Reply(hang=True), "drip": Reply(drip=0.5), "503": Reply(503), "refused": Reply()}[fault]
    if fault == "refused":
        keys["base_url"] = "http://127.0.0.1:9"
    script = start(
        "init_tracing(**SETTINGS); observe(); ready(); time.sleep(60)", extra="shutdown_timeout=0.5"
    ).wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert len(collector.exports) <= 4


@pytest.mark.parametrize("fault", ["hang", "drip", "503"])
def test_an_exit_does_not_wait_for_a_langfuse_that_is_down_either(start, collector, fault):
    collector.reply = {"hang": Reply(hang=True), "drip": Reply(drip=0.5), "503": Reply(503)}[fault]
    script = start(
        """
        client = init_tracing(**SETTINGS)
        observe()
        client.create_score(name="s", value=1, trace_id="a" * 32)
        import atexit
        atexit.register(lambda: None)
        """,
        extra="shutdown_timeout=0.5",
    )

    assert script.wait() == 0
    assert len(collector.exports) <= 4


def test_an_exit_does_not_wait_for_a_prompt_that_is_being_refreshed(start, collector):
    """The SDK's exit handler joins the thread that refreshes without a limit; ours is kept by a score meanwhile."""
    prompt = b'{"type": "text", "name": "p", "version": 1, "prompt": "Hello", "config": {}, "labels": [], "tags": []}'
    fetched = []

    def hang_at_the_second(seen):
        fetched.append(seen)
        return Reply(200, prompt, "application/json", hang=len(fetched) > 1)

    collector.reply = hang_at_the_second
    script = start(
        """
        client = init_tracing(**SETTINGS)
        client.get_prompt("p", cache_ttl_seconds=1)
        time.sleep(2.1)
        client.get_prompt("p", cache_ttl_seconds=1)
        client.create_score(name="s", value=1, trace_id="a" * 32)
        ready()
        time.sleep(1)
        """,
        extra="shutdown_timeout=0.5, timeout=3600",
    ).wait_ready()
    collector.wait_for(lambda: len(fetched) >= 2)

    assert script.wait() == 0


def test_sigkill_with_a_spool_loses_nothing_that_was_flushed(start, collector, tmp_path, keys):
    collector.reply = Reply(503)
    script = start(
        "init_tracing(**SETTINGS); observe(); get_langfuse_client().flush(); ready(); time.sleep(60)",
        extra=f"spool_path={str(tmp_path / 'spool')!r}, breaker_failure_threshold=1",
    ).wait_ready()
    script.send(signal.SIGKILL).wait()
    collector.reply = Reply()
    script = start("init_tracing(**SETTINGS)", extra=f"spool_path={str(tmp_path / 'spool')!r}")

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == names()


# -- children --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing(start, collector, method):
    script = start(f"""
        def work():
            init_tracing(**SETTINGS)
            observe(10, "child ")
        if __name__ == "__main__":
            init_tracing(**SETTINGS)
            observe()
            child = multiprocessing.get_context("{method}").Process(target=work)
            child.start(); child.join()
            assert child.exitcode == 0
    """)

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == sorted(names() + names(10, "child "))


def test_workers_of_a_process_pool(start, collector):
    script = start("""
        from concurrent.futures import ProcessPoolExecutor
        def work(number):
            observe(1, f"task {number} ")
        if __name__ == "__main__":
            init_tracing(**SETTINGS)
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
                list(pool.map(work, range(10)))
    """)

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == sorted(f"task {number} 0" for number in range(10))


def test_workers_of_a_multiprocessing_pool_that_are_terminated(start, collector):
    script = start("""
        def work(number):
            observe(1, f"task {number} ")
        if __name__ == "__main__":
            init_tracing(**SETTINGS)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                pool.map(work, range(10))
    """)

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == sorted(f"task {number} 0" for number in range(10))


def test_a_signal_during_a_shutdown_waits_for_its_end(start, collector):
    collector.reply = Reply(delay=0.3)
    script = start("""
        init_tracing(**SETTINGS); observe(); ready()
        shutdown_tracing()
        time.sleep(60)
    """).wait_ready()
    collector.wait_for(lambda: collector.exports)

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert sorted(collector.accepted) == names()


def test_handlers_that_another_thread_could_not_take_off_are_seen_through(start, collector):
    script = start("""
        for _ in range(3):
            init_tracing(**SETTINGS)
            thread = threading.Thread(target=shutdown_tracing)
            thread.start(); thread.join()
        init_tracing(**SETTINGS); observe(); ready(); time.sleep(60)
    """).wait_ready()

    assert script.send(signal.SIGTERM).wait() == -signal.SIGTERM
    assert sorted(collector.accepted) == names()


def test_a_forked_child_that_exits_and_one_that_is_terminated(start, collector):
    script = start("""
        init_tracing(**SETTINGS)
        observe()
        if os.fork() == 0:
            observe(5, "exit ")
            sys.exit()
        pid = os.fork()
        if pid == 0:
            observe(5, "term ")
            time.sleep(60)
        time.sleep(0.5)
        os.kill(pid, signal.SIGTERM)
        statuses = {os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)}
        assert statuses == {0, -15}, statuses
    """)

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == sorted(names() + names(5, "exit ") + names(5, "term "))


def test_a_span_that_is_open_over_a_fork_is_exported_once(start, collector):
    script = start("""
        client = init_tracing(**SETTINGS)
        with client.start_as_current_observation(name="open"):
            pid = os.fork()
            with client.start_as_current_observation(name="child" if pid == 0 else "parent"):
                pass
        if pid:
            os.wait()
    """)

    assert script.wait() == 0, script.err
    assert sorted(collector.accepted) == ["child", "open", "parent"]


def test_forks_while_other_threads_are_at_work(start, collector):
    """A lock that another thread holds at the fork stays locked in the child for ever."""
    script = start(
        """
        init_tracing(**SETTINGS)
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
        extra="max_buffer_spans=5000",
    )

    assert script.wait() == 0, script.err
    assert collector.accepted.count("child 0") == 20


def test_forks_with_a_spool(start, collector, tmp_path):
    script = start(
        """
        init_tracing(**SETTINGS)
        for number in range(5):
            observe(1, f"parent {number} ")
            if os.fork() == 0:
                observe(1, f"child {number} ")
                sys.exit()
            get_langfuse_client().flush()
        for _ in range(5): os.wait()
        """,
        extra=f"spool_path={str(tmp_path / 'spool')!r}",
    )

    assert script.wait() == 0, script.err
    expected = sorted(f"{who} {number} 0" for who in ("child", "parent") for number in range(5))
    assert sorted(collector.accepted) == expected


# -- servers ---------------------------------------------------------------------------------------------------

ASGI = """
def make():
    {at_import}
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    {at_start}
                await send({{"type": message["type"] + ".complete"}})
                if message["type"] == "lifespan.shutdown":
                    return
        observe(10, f"{{os.getpid()}} ")
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": str(os.getpid()).encode()}})
    return app
app = make()
"""


def request(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
        return response.read().decode()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, script):
    for _ in range(400):
        assert script.process.poll() is None, script.process.communicate()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the server did not come up")


PLACES = {"import": {"at_import": "init_tracing(**SETTINGS)", "at_start": "pass"},
          "lifespan": {"at_import": "pass", "at_start": "init_tracing(**SETTINGS)"}}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_sigterm_to_uvicorn(start, collector, place, workers):
    pytest.importorskip("uvicorn")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "script_under_test:app", "--port", str(port), "--workers", str(workers)]
    script = start(ASGI.format(**PLACES[place]), command=[*command, "--log-level", "warning"])
    wait_for_port(port, script)
    seen = [request(port) for _ in range(4)]
    status = script.send(signal.SIGTERM).wait()

    assert status in ({-signal.SIGTERM} if workers == 1 else {0, -signal.SIGTERM}), script.err
    assert sorted(collector.accepted) == sorted(name for pid in seen for name in names(10, f"{pid} "))


@pytest.mark.parametrize("options", [[], ["--preload"], ["--worker-class", "gthread"]], ids=str)
def test_sigterm_to_gunicorn(start, collector, options):
    pytest.importorskip("gunicorn")
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "script_under_test:app", "-b", f"127.0.0.1:{port}", "-w", "2"]
    script = start(
        """
        init_tracing(**SETTINGS)
        def app(environ, start_response):
            observe(10, f"{os.getpid()} ")
            start_response("200 OK", [])
            return [str(os.getpid()).encode()]
        """,
        command=[*command, *options],
    )
    wait_for_port(port, script)
    seen = [request(port)]
    # A worker of --preload that is still starting misses the signal, and gunicorn waits 30 s for it, with any SDK.
    while len(set(seen)) < 2:
        seen.append(request(port))

    assert script.send(signal.SIGTERM).wait() == 0
    assert sorted(collector.accepted) == sorted(name for pid in seen for name in names(10, f"{pid} "))


def test_a_celery_worker(start, collector, tmp_path):
    """Its children have no signal handlers and run no exit handlers and no finalizers."""
    pytest.importorskip("celery")
    script = start(
        f"""
        from celery import Celery
        from celery.signals import worker_ready
        app = Celery("script_under_test", broker="filesystem://")
        app.conf.broker_transport_options = dict.fromkeys(["data_folder_in", "data_folder_out"], {str(tmp_path)!r})
        init_tracing(**SETTINGS)
        worker_ready.connect(lambda **_: os.write(1, b"ready\\n"), weak=False)  # Celery redirects sys.stdout

        @app.task
        def work(number):
            observe(1, f"task {{number}} ")
        """,
        command=[sys.executable, "-m", "celery", "-A", "script_under_test", "--quiet", "worker", "-c", "2"],
    )
    while script.process.stdout.readline() not in {"ready\n", ""}:
        pass
    produce = "import script_under_test as s; [s.work.delay(n) for n in range(10)]"
    subprocess.run([sys.executable, "-W", "ignore", "-c", produce], cwd=tmp_path, check=True, timeout=60)
    for _ in range(200):
        if not list(tmp_path.glob("*.msg")):
            break
        time.sleep(0.05)
    script.send(signal.SIGTERM)

    assert script.wait() == 0
    assert sorted(collector.accepted) == sorted(f"task {number} 0" for number in range(10))
