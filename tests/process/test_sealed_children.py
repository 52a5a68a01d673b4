"""Child processes of a captured test reach the stand-in or nobody, however they are started."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_langfuse.process.sealed_children import SealedChildren
from pytest_langfuse.process.sealed_environment import SealedEnvironment, handed_over, sealed, without_proxy
from tests.helpers.limited_runs import LIMIT
from tests.helpers.loopback_langfuse import SCORES, Collector
from tests.helpers.tiers import only
from tests.plugin.sealed.folder_of_suite import folder_of_suite, real

# Slow: starts processes.
pytestmark = pytest.mark.slow

#: Prints what a child sees of its environment.
SEES = """
import json, os, sys
names = ["LANGFUSE_BASE_URL", "LANGFUSE_HOST", "LANGFUSE_OTEL_HOST", "OTEL_EXPORTER_OTLP_ENDPOINT", "NO_PROXY", "OWN"]
text = json.dumps({name: os.environ.get(name) for name in names})
if len(sys.argv) > 1:
    open(sys.argv[1], "w").write(text)
else:
    print(text)
"""

#: Sends to Langfuse by every way that needs no hook of ours to be stopped but the environment.
SENDS = """
import sys
from langfuse import Langfuse
client = Langfuse(timeout=1, **({"base_url": sys.argv[1]} if len(sys.argv) > 1 else {}))
with client.start_as_current_observation(name="leak") as span:
    span.score(name="leak", value=1)
client.flush()
"""

#: Every way of starting a process: a function of (arguments, file for what the child sees).
WAYS = """
import asyncio, json, multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

PROGRAM = [sys.executable, "sees.py", "seen"]


def see():
    sys.argv = ["sees.py", "seen"]
    exec(open("sees.py").read(), {"__name__": "__main__"})


def forked(function):
    pid = os.fork()
    if not pid:
        try:
            function()
        finally:
            os._exit(1)
    os.waitpid(pid, 0)


async def exec_of_asyncio():
    process = await asyncio.create_subprocess_exec(*PROGRAM)
    await process.wait()


async def shell_of_asyncio():
    process = await asyncio.create_subprocess_shell(" ".join(PROGRAM))
    await process.wait()


def process_of(method):
    process = multiprocessing.get_context(method).Process(target=see)
    process.start()
    process.join()


def pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(see).result()


def popen(**options):
    subprocess.run(PROGRAM, check=True, **options)


def by_position():
    subprocess.Popen(PROGRAM, -1, None, None, None, None, None, True, False, None, {"OWN": "1"}).wait()


WAYS = {
    "run": popen,
    "run with env": lambda: popen(env={"OWN": "1"}),
    "run with all of env": lambda: popen(env={**os.environ, "OWN": "1"}),
    "run with bytes": lambda: popen(env={b"OWN": b"1"}),
    "by position": by_position,
    "shell": lambda: subprocess.run(" ".join(PROGRAM), shell=True, check=True),
    "os.popen": lambda: os.popen(" ".join(PROGRAM)).read(),
    "os.system": lambda: os.system(" ".join(PROGRAM)),
    "asyncio": lambda: asyncio.run(exec_of_asyncio()),
    "asyncio shell": lambda: asyncio.run(shell_of_asyncio()),
    "posix_spawn": lambda: os.waitpid(os.posix_spawn(sys.executable, PROGRAM, os.environ), 0),
    "posix_spawn with env": lambda: os.waitpid(os.posix_spawn(sys.executable, PROGRAM, {"OWN": "1"}), 0),
    "posix_spawnp": lambda: os.waitpid(os.posix_spawnp(sys.executable, PROGRAM, os.environ), 0),
    "spawnv": lambda: os.spawnv(os.P_WAIT, sys.executable, PROGRAM),
    "spawnve": lambda: os.spawnve(os.P_WAIT, sys.executable, PROGRAM, {"OWN": "1"}),
    "spawnlp": lambda: os.spawnlp(os.P_WAIT, sys.executable, *PROGRAM),
    "execv": lambda: forked(lambda: os.execv(sys.executable, PROGRAM)),
    "execvpe": lambda: forked(lambda: os.execvpe(sys.executable, PROGRAM, {"OWN": "1"})),
    "spawn": lambda: process_of("spawn"),
    "forkserver": lambda: process_of("forkserver"),
    "pool": pool,
}


def seen(way):
    Path("seen").unlink(missing_ok=True)
    WAYS[way]()
    return json.loads(Path("seen").read_text())
"""

#: With an environment of its own, or of this process.
OWN = dict.fromkeys(
    (
        "run with env",
        "run with all of env",
        "run with bytes",
        "by position",
        "posix_spawn with env",
        "spawnve",
        "execvpe",
    ),
    "1",
)


def names_of_ways() -> list[str]:
    space: dict = {"__name__": "ways"}
    exec(WAYS, space)
    return list(space["WAYS"])


STAND_IN = "http://127.0.0.1:9"
OTHERS = handed_over({("langfuse.test", 443): "LANGFUSE_BASE_URL", ("fe80::1", 80): "Langfuse Cloud"}, "/tmp/refused")

__all__ = ["real"]


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: Collector) -> pytest.Pytester:
    """A folder with the programs, and the real Langfuse in the environment."""
    return folder_of_suite(pytester, monkeypatch, real, ways=WAYS, sees=SEES, sends=SENDS)


def test_every_way_to_start_a_process(folder, real):
    folder.makepyfile(f"""
        import os
        import pytest
        from ways import seen

        OWN = {OWN!r}

        @pytest.mark.parametrize("way", {names_of_ways()!r})
        def test_sealed(way, langfuse_spans):
            before = dict(os.environ)
            found = seen(way)
            sink = found["LANGFUSE_BASE_URL"]
            assert sink != {real.url!r} and sink.startswith("http://127.0.0.1:")
            assert found == {{
                "LANGFUSE_BASE_URL": sink, "LANGFUSE_HOST": sink, "LANGFUSE_OTEL_HOST": sink,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"{{sink}}/api/public/otel", "NO_PROXY": "127.0.0.1,localhost",
                "OWN": OWN.get(way),
            }}
            assert dict(os.environ) == before

        @pytest.mark.parametrize("way", {names_of_ways()!r})
        def test_not_captured(way):
            found = seen(way)
            assert found.pop("OWN") == OWN.get(way)
            base = None if way in OWN and way != "run with all of env" else {real.url!r}
            assert found.pop("LANGFUSE_BASE_URL") == base
            assert set(found.values()) == {{None}}
    """)
    ways = len(names_of_ways())
    folder.runpytest_subprocess().assert_outcomes(passed=2 * ways)
    assert real.requests == []


def test_every_way_with_the_option(folder, real):
    folder.makepyfile(f"""
        import pytest
        from ways import seen

        outside = seen("run")

        @pytest.mark.parametrize("way", {names_of_ways()!r})
        def test_sealed(way):
            assert seen(way)["LANGFUSE_BASE_URL"] != {real.url!r}

        def test_a_process_that_is_started_between_tests():
            assert outside["LANGFUSE_BASE_URL"] != {real.url!r}
    """)
    folder.runpytest_subprocess("--langfuse-capture").assert_outcomes(passed=len(names_of_ways()) + 1)


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        pytest.param(["--langfuse-capture"], "environment", id="by option-environment"),
        pytest.param([], "code", id="by fixture-code"),
        pytest.param(["--langfuse-capture"], "code", id="by option-code", marks=pytest.mark.exhaustive),
        pytest.param([], "environment", id="by fixture-environment", marks=pytest.mark.exhaustive),
    ],
)
def test_what_children_send_leaves_for_nowhere(folder, real, arguments, where):
    url = [real.url] if where == "code" else []
    folder.makepyfile(f"""
        import multiprocessing, os, runpy, subprocess, sys

        def send():
            sys.argv = ["sends.py", *{url!r}]
            runpy.run_path("sends.py")

        def test_run(langfuse_spans):
            assert subprocess.run([sys.executable, "sends.py", *{url!r}]).returncode == 0
            for method in ("spawn", "forkserver"):
                process = multiprocessing.get_context(method).Process(target=send)
                process.start()
                process.join()
                assert process.exitcode == 0
    """)
    folder.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
    assert real.requests == []


def test_an_uncaptured_child_sends_as_ever(folder, real):
    """The order is the one that would show what a captured test leaves behind."""
    folder.makepyfile("""
        import multiprocessing, runpy, subprocess, sys

        def send():
            sys.argv = ["sends.py"]
            runpy.run_path("sends.py")

        def test_captured(langfuse_spans):
            process = multiprocessing.get_context("forkserver").Process(target=send)
            process.start()
            process.join()

        def test_not_captured():
            assert subprocess.run([sys.executable, "sends.py"]).returncode == 0
            process = multiprocessing.get_context("forkserver").Process(target=send)
            process.start()
            process.join()
    """)
    folder.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)
    assert [len(seen.spans) for seen in real.exports] == [1, 1]
    assert len([seen for seen in real.requests if seen.path == SCORES]) == 2


@pytest.mark.parametrize("fixture", only(["langfuse_process"], ["langfuse_server", "langfuse_process"]))
def test_a_child_of_a_test_with_a_server_reaches_it(folder, real, fixture):
    folder.makepyfile(f"""
        import subprocess, sys

        def test_run(langfuse_spans, {fixture}, request):
            if {fixture!r} == "langfuse_process":
                assert {fixture}.start("sends.py").wait(30) == 0
            assert subprocess.run([sys.executable, "sends.py"]).returncode == 0
            from pytest_langfuse.session import session_key
            test = request.config.stash[session_key].test
            assert len(test.stand_in.scores) == 1 + ({fixture!r} == "langfuse_process")
    """)
    folder.runpytest_subprocess().assert_outcomes(passed=1)
    assert real.requests == []


def test_xdist_workers_see_the_real_environment(folder, real):
    """They are no children of the application; what they start is sealed."""
    folder.makepyfile(f"""
        import os
        from ways import seen

        def test_it():
            assert os.environ["LANGFUSE_BASE_URL"] == {real.url!r}
            assert "PYTEST_LANGFUSE_URL" not in os.environ
            assert seen("run")["LANGFUSE_BASE_URL"] != {real.url!r}
    """)
    folder.runpytest_subprocess("--langfuse-capture", "-n1").assert_outcomes(passed=1)


@pytest.mark.parametrize("program", [pytest.param("sends.py", marks=pytest.mark.exhaustive), "sends.py real"])
def test_no_proxy_stands_between_a_process_and_the_stand_in(folder, real, program, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, real.url)
    arguments = [part.replace("real", "http://langfuse.example") for part in program.split()]
    folder.makepyfile(f"""
        import subprocess, sys

        def test_run(langfuse_spans, langfuse_process):
            app = langfuse_process.start(*{arguments!r})
            assert app.wait(30) == 0, app.output
            assert app.lost == []
            langfuse_spans.assert_tree("span leak")
            assert [score.name for score in langfuse_spans.scores] == ["leak"]
            assert subprocess.run([sys.executable, *{arguments!r}]).returncode == 0
    """)
    folder.runpytest_subprocess().assert_outcomes(passed=1)
    assert real.requests == []


def test_a_process_gets_the_address_that_litellm_reads_first(langfuse_process):
    app = langfuse_process.start("-c", "import os; print(os.environ['LANGFUSE_OTEL_HOST'])")
    assert app.wait() == 0
    assert app.output.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, ("127.0.0.1,localhost", "127.0.0.1,localhost")),
        ({"NO_PROXY": "corp.test"}, ("corp.test,127.0.0.1,localhost", "corp.test,127.0.0.1,localhost")),
        ({"no_proxy": " corp.test , localhost"}, ("corp.test,localhost,127.0.0.1",) * 2),
        ({"NO_PROXY": "a", "no_proxy": "b"}, ("a,127.0.0.1,localhost", "b,127.0.0.1,localhost")),
        ({"NO_PROXY": "a", "no_proxy": ""}, ("a,127.0.0.1,localhost", "127.0.0.1,localhost")),
        ({"NO_PROXY": "*"}, ("*", "*")),
    ],
)
def test_hosts_without_proxy_are_kept(before, after):
    assert tuple(without_proxy(before).values()) == after


def test_what_is_sealed_already_stays():
    once = sealed({"PYTHONPATH": "mine"}, STAND_IN, OTHERS)
    assert sealed(once, STAND_IN, OTHERS) == once
    assert once["PYTHONPATH"].endswith(f"{os.pathsep}mine")


def test_a_wrong_environment_is_the_error_of_the_application():
    children = SealedChildren(lambda: STAND_IN, lambda _: OTHERS)
    children.install()
    try:
        with pytest.raises(TypeError):
            subprocess.run([sys.executable, "-c", ""], env={"X": 1}, check=True, timeout=LIMIT)
        with pytest.raises(FileNotFoundError):
            subprocess.run(["/no/such/program"], check=True, timeout=LIMIT)
        assert os.system("exit 3") >> 8 == 3
        assert os.WTERMSIG(os.system("kill -9 $$")) == 9
    finally:
        children.uninstall()


def test_hooks_are_removed():
    before = (subprocess.Popen.__init__, os.posix_spawn, os.execv, os.execve, os.system)
    children = SealedChildren(lambda: STAND_IN, lambda _: OTHERS)
    children.install()
    assert subprocess.Popen.__init__ is not before[0]
    assert inspect.signature(subprocess.Popen) == inspect.signature(before[0]).replace(
        parameters=list(inspect.signature(before[0]).parameters.values())[1:]
    )
    children.uninstall()
    assert (subprocess.Popen.__init__, os.posix_spawn, os.execv, os.execve, os.system) == before


def test_the_position_of_the_environment():
    assert list(inspect.signature(subprocess.Popen).parameters)[10] == "env"
    assert isinstance(sealed({}, STAND_IN, OTHERS), SealedEnvironment)
    assert json.loads(json.dumps(sealed({}, STAND_IN, OTHERS)))["PYTEST_LANGFUSE_URL"] == STAND_IN
    assert Path(sealed({}, STAND_IN, OTHERS)["PYTHONPATH"]).joinpath("sitecustomize.py").is_file()


def test_what_is_handed_over():
    assert OTHERS == {
        "PYTEST_LANGFUSE_KNOWN": "langfuse.test:443 LANGFUSE_BASE_URL\n[fe80::1]:80 Langfuse Cloud",
        "PYTEST_LANGFUSE_REFUSED": "/tmp/refused",
    }


#: Sends to an address in code with no client of Langfuse, and says what became of it.
FEEDBACK = """
import asyncio, os, socket, sys, urllib.request

REAL = "http://127.0.0.1:{port}"


def by_urllib(host="127.0.0.1"):
    urllib.request.urlopen(REAL.replace("127.0.0.1", host) + "/api/public/scores", data=b"{{}}", timeout=5).read()


def by_requests():
    import requests
    requests.post(REAL + "/api/public/scores", data=b"{{}}", timeout=5)


def by_httpx():
    import httpx
    httpx.post(REAL + "/api/public/scores", data=b"{{}}", timeout=5)


async def stream():
    _, writer = await asyncio.open_connection("localhost", {port})
    writer.write(b"POST / HTTP/1.0\\r\\n\\r\\n")
    await writer.drain()


def by_asyncio():
    asyncio.run(stream())


def by_aiohttp():
    import aiohttp

    async def post():
        async with aiohttp.ClientSession() as session:
            await session.post(REAL + "/api/public/scores", data=b"{{}}")

    asyncio.run(post())


def by_socket():
    with socket.socket() as sock:
        sock.connect(("127.1", {port}))
        sock.send(b"POST / HTTP/1.0\\r\\n\\r\\n")


def by_connect_ex():
    with socket.socket() as sock:
        if code := sock.connect_ex(("127.0.0.1", {port})):
            raise OSError(code, "refused")
        sock.send(b"POST / HTTP/1.0\\r\\n\\r\\n")


CLIENTS = {{name: function for name, function in globals().items() if name.startswith("by_")}}


def attempt(name="by_urllib"):
    try:
        CLIENTS[name]()
    except Exception:
        return "refused"
    return "sent"


if __name__ == "__main__":
    print(attempt(*sys.argv[1:]))
"""
REFUSED = "feedback.py:* (in a child process) tried to connect to *:* (LANGFUSE_BASE_URL), which a captured test *"
#: Uses every part of the SDK, and an exporter over gRPC.
TRACED = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
from langfuse import get_client
from langfuse.media import LangfuseMedia
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
media = LangfuseMedia(content_bytes=b"x", content_type="a/b")
with get_client().start_as_current_observation(name="x", input=media) as x:
    x.score(name="s", value=1)
get_client().flush()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
provider.get_tracer("t").start_span("s").end()
"""
#: Wraps `connect` before it connects.
WRAPPING = """
import socket
calls = []
connect = socket.socket.connect
def wrapped(sock, address):
    calls.append(address)
    return connect(sock, address)
socket.socket.connect = wrapped
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
    socket.create_connection(server.getsockname()).close()
assert len(calls) >= 2, calls
import feedback
print(feedback.attempt())
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: Collector) -> pytest.Pytester:
    """A folder with a program that has the address of the real Langfuse in its code."""
    port = real.url.rpartition(":")[2]
    return folder_of_suite(
        pytester, monkeypatch, real, feedback=FEEDBACK.format(port=port), traced=TRACED, wrapping=WRAPPING
    )


WAYS_TO_ATTEMPT = """
    import multiprocessing, os, subprocess, sys
    from concurrent.futures import ProcessPoolExecutor
    import pytest
    from feedback import CLIENTS, attempt

    def output(*arguments, **options):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def in_pool(method):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            return pool.submit(attempt).result()

    def in_process(method):
        context = multiprocessing.get_context(method)
        with context.Pool(1) as pool:
            return pool.apply(attempt)

    def after_fork():
        end, begin = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(begin, attempt().encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return os.read(end, 100).decode()

    WAYS = {
        "program": lambda: output("feedback.py"),
        "string": lambda: output("-c", "import feedback; print(feedback.attempt())"),
        "environment of its own": lambda: output("feedback.py", env={"OWN": "1"}),
        "program of a program": lambda: output("-c", "import os, sys; os.execv(sys.executable, ['x', 'feedback.py'])"),
        "fork": after_fork,
        **{f"pool {m}": lambda m=m: in_pool(m) for m in ("fork", "spawn", "forkserver")},
        **{f"process {m}": lambda m=m: in_process(m) for m in ("fork", "spawn", "forkserver")},
        **{name: lambda name=name: output("feedback.py", name) for name in CLIENTS},
    }
"""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="by fixture"),
        pytest.param(["--langfuse-capture"], id="by option", marks=pytest.mark.exhaustive),
    ],
)
def test_no_python_child_connects_to_the_real_langfuse(suite, real, arguments):
    """By any client, however it is started; the test fails although the child has caught the error."""
    suite.makepyfile(
        WAYS_TO_ATTEMPT
        + """
    @pytest.mark.parametrize("way", WAYS)
    def test_captured(langfuse_spans, way):
        assert WAYS[way]() == "refused"

    def test_of_the_fixture(langfuse_process):
        app = langfuse_process.start("feedback.py")
        assert app.wait(30) == 0
        assert "refused: feedback.py:" in app.output

    def test_clean(langfuse_spans):
        pass
    """
    )
    result = suite.runpytest_subprocess(*arguments, "-p", "no:randomly")
    result.assert_outcomes(failed=19, passed=1)
    shown = result.stdout.str()
    # No other difference: each is the refusal alone.
    assert "assert " not in shown
    result.stdout.fnmatch_lines([REFUSED + "*"])
    assert real.requests == []
    assert result.ret == 1


def test_a_child_of_an_uncaptured_test_connects_as_ever(suite, real):
    suite.makepyfile(
        WAYS_TO_ATTEMPT
        + """
    def test_captured(langfuse_spans):
        assert WAYS["pool forkserver"]() == "refused"

    @pytest.mark.parametrize("way", WAYS)
    def test_not_captured(way):
        assert WAYS[way]() == "sent"
    """
    )
    suite.runpytest_subprocess("-p", "no:randomly").assert_outcomes(failed=1, passed=18)
    real.wait_for(lambda: len(real.requests) == 18)


def test_what_a_child_itself_names_is_known(suite, real, monkeypatch):
    """By its own variables, and by a client or an exporter of it."""
    monkeypatch.setenv("LANGFUSE_BASE_URL", "http://127.0.0.1:9")
    url = real.url
    suite.makepyfile(f"""
        import subprocess, sys
        import pytest

        @pytest.mark.parametrize("line", [
            "import os; os.environ['LANGFUSE_HOST'] = '{url}'",
            "import langfuse; langfuse.Langfuse(base_url='{url}', public_key='pk', secret_key='sk')",
            "from langfuse.api import LangfuseAPI; LangfuseAPI(base_url='{url}', username='pk', password='sk')",
            "import opentelemetry.exporter.otlp.proto.http.trace_exporter as e; e.OTLPSpanExporter('{url}/v1/traces')",
            "import os; os.environ.clear(); os.environ['LANGFUSE_HOST'] = '{url}'",
        ])
        def test_it(langfuse_spans, line):
            code = line + "; import feedback; print(feedback.attempt())"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.stdout == "refused\\n", done.stderr
    """)
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=5)
    assert "AssertionError" not in result.stdout.str()
    assert real.requests == []


def test_a_child_that_outlives_its_test_fails_the_session(suite, real):
    suite.makepyfile("""
        import subprocess, sys

        started = []

        def test_starts(langfuse_spans):
            code = "import feedback; input(); print(feedback.attempt())"
            started.append(subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True))

        def test_ends():
            assert started[0].communicate("\\n")[0] == "refused\\n"
    """)
    result = suite.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=2)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["Langfuse: refused connections outside of captured tests: " + REFUSED + "*"])
    assert real.requests == []


def test_a_worker_of_xdist_hears_of_it(suite, real):
    suite.makepyfile(
        WAYS_TO_ATTEMPT
        + """
    @pytest.mark.parametrize("way", ["program", "fork"])
    def test_captured(way):
        assert WAYS[way]() == "refused"
    """
    )
    result = suite.runpytest_subprocess("--langfuse-capture", "-n1")
    result.assert_outcomes(failed=2)
    assert "AssertionError" not in result.stdout.str()
    assert real.requests == []


def test_a_child_neither_waits_nor_complains(suite, real):
    """What it sends is taken at once, where the test uses no server, and shown to nobody."""
    suite.makepyfile("""
        import subprocess, sys
        import pytest

        def test_child(langfuse_spans):
            done = subprocess.run([sys.executable, "traced.py"], capture_output=True, text=True)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            assert list(langfuse_spans) == [] and langfuse_spans.scores == []
    """)
    suite.runpytest_subprocess().assert_outcomes(passed=1)
    assert real.requests == []


def test_a_guard_does_not_get_in_the_way_of_other_wraps(suite, real):
    """What the application has wrapped before its first connection is called, and the guard stays."""
    suite.makepyfile("""
        import subprocess, sys

        def test_child(langfuse_spans):
            done = subprocess.run([sys.executable, "wrapping.py"], capture_output=True, text=True)
            assert done.stdout == "refused\\n", done.stderr
    """)
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    assert "AssertionError" not in result.stdout.str()
    assert real.requests == []
