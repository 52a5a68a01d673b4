"""However a test ends, its processes are gone after it, and its report shows their output."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_langfuse.process import processes as processes_module

# Slow: starts processes.
pytestmark = pytest.mark.slow

#: A process that ignores SIGTERM and has a worker; both print their process id.
STUBBORN = r"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.write(1, b"worker %d\n" % os.getpid())
else:
    os.write(1, b"main %d\n" % os.getpid())
time.sleep(600)
"""

START = r"""
import os, re, signal, sys, threading
import pytest

@pytest.fixture
def app(langfuse_process):
    app = langfuse_process.start("stubborn.py")
    app.wait_for_output(re.compile(r"main [0-9]+\n"))
    app.wait_for_output(re.compile(r"worker [0-9]+\n"))
    with open("pids", "a") as file:
        file.write(" ".join(re.findall(r"[0-9]+", app.output)) + " ")
    return app
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie is not alive.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_until_gone(pids: list[int]) -> None:
    wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setattr(processes_module, "GRACE", 0.2)
    # Importing all installed plugins takes three seconds in each process.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_langfuse.plugin,xdist.plugin")
    pytester.makepyfile(stubborn=STUBBORN)
    pytester.makeconftest(START)
    return pytester


def pids(suite: pytest.Pytester, count: int = 2) -> list[int]:
    found = [int(pid) for pid in (suite.path / "pids").read_text().split()]
    assert len(found) == count
    return found


def open_files() -> Counter[str]:
    """Pipes, files and listening sockets: connections are also opened and closed by threads of other tests."""
    found: Counter[str] = Counter()
    for path in Path("/dev/fd").iterdir():
        with suppress(OSError):
            target = str(path.readlink())
            if target.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(path.name))) as one:
                    if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        found["listening"] += 1
            elif target.startswith("pipe:") or Path(target).is_file():
                found["file"] += 1
    return found


def children() -> set[str]:
    """Processes that this one has started: a broker of other tests may be among them."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("langfuse-")]


@pytest.mark.parametrize(
    ("body", "arguments", "outcomes"),
    [
        ("pass", [], {"passed": 2}),
        ("assert 0", [], {"failed": 2}),
        ("assert 0", ["-x"], {"failed": 1}),
        ("pytest.skip()", [], {"skipped": 2}),
        ("app.kill()", [], {"passed": 2}),
        ("os.kill(app.pid, signal.SIGKILL); app.wait()", [], {"passed": 2}),
    ],
)
def test_nothing_is_left(suite, body, arguments, outcomes):
    suite.makepyfile(f"""
        import os, signal, pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(app, number):
            {body}
    """)
    before, files, others = threads(), open_files(), children()

    def run() -> None:
        (suite.path / "pids").unlink(missing_ok=True)
        done = suite.runpytest_inprocess("-p", "no:randomly", "-p", "no:rerunfailures", *arguments)
        done.assert_outcomes(**outcomes)
        wait_until_gone(pids(suite, 2 if "-x" in arguments else 4))

    run()
    if threads() != before:
        # The run around this one has started its server for the processes of captured tests. It does so once.
        before, files = threads(), open_files()
        run()
    assert threads() == before
    assert open_files() == files
    assert children() <= others


def test_ctrl_c(suite):
    suite.makepyfile("""
        def test_it(app):
            raise KeyboardInterrupt
    """)
    assert suite.runpytest_subprocess().ret == pytest.ExitCode.INTERRUPTED
    wait_until_gone(pids(suite))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pytest_that_is_killed(suite, number):
    """As CI does when a job exceeds its time or memory. The process group of pytest is killed with it."""
    suite.makepyfile("""
        import time

        def test_it(app):
            open("started", "w").close()
            time.sleep(600)
    """)
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=suite.path, env={**os.environ, "TMPDIR": str(suite.path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: (suite.path / "started").exists() or run.poll() is not None)
        [folder] = suite.path.glob("langfuse-process-*")
        os.killpg(run.pid, number)
        run.wait(30)
        wait_until_gone(pids(suite))
        wait_until(lambda: not folder.exists())
    finally:
        run.kill()
        run.wait()


def test_the_report_of_a_failure_shows_what_was_printed(suite):
    suite.makepyfile("""
        def test_fails(langfuse_process):
            app = langfuse_process.start("-c", "for n in range(150): print('line', n)")
            app.wait()
            langfuse_process.start("-c", "import sys; sys.exit(3)").wait()
            assert 0

        def test_passes(langfuse_process):
            langfuse_process.start("-c", "print('not shown')").wait()

        def test_fails_in_teardown(langfuse_process, request):
            langfuse_process.start("-c", "print('shown')").wait()
            request.addfinalizer(lambda: 1 / 0)
    """)
    result = suite.runpytest("-p", "no:randomly")
    result.stdout.fnmatch_lines(
        [
            "*Langfuse process `python -c 'for n in range(150): print(*exited with status 0 -*",
            "[[]… 50 more lines …[]]",
            "line 50",
            "line 149",
            "*Langfuse process `python -c 'import sys; sys.exit(3)'` exited with status 3 -*",
            "(it printed nothing)",
        ]
    )
    result.stdout.fnmatch_lines(["*Langfuse process `python -c 'print(*shown*exited with status 0 -*", "shown"])
    result.stdout.no_fnmatch_line("*not shown*")
    result = suite.runpytest("-p", "no:randomly", "-vv", "-k", "test_fails")
    result.stdout.fnmatch_lines(["line 0", "line 149"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-n", "1"],
        pytest.param(["-n", "2"], marks=pytest.mark.exhaustive),
        pytest.param(["--langfuse-capture"], marks=pytest.mark.exhaustive),
        pytest.param(["-p", "no:cacheprovider"], marks=pytest.mark.exhaustive),
    ],
    ids=str,
)
def test_in_any_kind_of_run(suite, arguments, monkeypatch):
    suite.makepyfile(
        service="""
        import os
        from langfuse import get_client
        with get_client().start_as_current_observation(name="there " + os.environ["NUMBER"]):
            pass
    """
    )
    suite.makepyfile("""
        import pytest
        from langfuse import get_client

        @pytest.mark.parametrize("number", "12")
        def test_it(langfuse_process, langfuse_spans, number):
            assert langfuse_process.start("service.py", env={"NUMBER": number}).wait(30) == 0
            with get_client().start_as_current_observation(name="here"):
                pass
            assert sorted(o.name for o in langfuse_spans) == ["here", "there " + number]

        def test_asked_for_late(request):
            app = request.getfixturevalue("langfuse_process").start("service.py", env={"NUMBER": "3"})
            app.wait(30)
            assert [o.name for o in app.spans] == ["there 3"]
    """)
    if "-n" in arguments:
        monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    result = suite.runpytest(*arguments)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["langfuse: 5 observations in 3 tests*"])


def test_a_whole_suite_in_an_outage(suite):
    suite.makepyfile(
        service="""
        from langfuse import get_client
        get_client().start_observation(name="lost").end()
    """
    )
    suite.makepyfile("""
        def test_it(langfuse_process):
            assert langfuse_process.start("service.py").wait(30) == 0

        def test_another(langfuse_process):
            langfuse_process.start_command("sleep", "0").wait()
    """)
    result = suite.runpytest("--langfuse-outage=http_401")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["http_401: none of 2 tests degraded, 2 not compared, 1 observation lost"])
