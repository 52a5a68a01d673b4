"""Applications in subprocesses, and their observations in the test."""

import re
import select
import signal
import socket
import sys
import threading
import time
import urllib.request

import pytest
from langfuse import get_client
from opentelemetry import propagate

from pytest_langfuse import TreeMismatch
from pytest_langfuse.process.exceptions import LedgerMissing, ProcessFailed, ProcessTimeout
from pytest_langfuse.process.readiness import why_not_ready
from pytest_langfuse.standin.http.free_ports import free_port
from pytest_langfuse.standin.paths import matches

# Slow: starts processes.
pytestmark = pytest.mark.slow

SERVER = """
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from langfuse import propagate_attributes
    from opentelemetry import context, propagate

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/health":
                self.send_response(204 if len(seen) > 2 else 503)
                seen.append(self.path)
            else:
                token = context.attach(propagate.extract({name.lower(): value for name, value in self.headers.items()}))
                with get_client().start_as_current_observation(name="order", as_type="tool"):
                    with propagate_attributes(user_id="u-1"):
                        observe(1, "stock")
                get_client().create_score(name="stars", value=5, trace_id="a" * 32)
                context.detach(token)
                get_client().flush()
                self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    seen = []
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def _only_client(langfuse_fresh_client):
    """Make `get_client()` return the client of the test, whatever clients other tests of this process have built."""


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as response:
        return response.read()


# -- observations ----------------------------------------------------------------------------------------------


def test_one_tree_over_two_processes(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(script(SERVER), "{port}")
    app.wait_ready("/health")
    assert app.output == ""
    with get_client().start_as_current_observation(name="checkout"):
        headers = {}
        propagate.inject(headers)
        get(f"{app.url}/order", **headers)

    langfuse_spans.assert_tree("""
        span checkout        !user_id
          tool order
            span stock0      user_id=u-1
    """)
    langfuse_spans.assert_single_trace()
    langfuse_spans.assert_flushed()
    assert [score.name for score in langfuse_spans.scores] == ["stars"]
    app.spans.assert_tree("""
        tool order
          span stock0
    """)
    assert app.spans[0].parent_id == langfuse_spans[0].id
    assert app.spans[0].parent is None


def test_a_value_that_does_not_reach_the_other_process(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(script(SERVER), "{port}")
    app.wait_ready("/health")
    with get_client().start_as_current_observation(name="checkout"):
        headers = {}
        propagate.inject(headers)
        get(f"{app.url}/order", **headers)
        get(f"{app.url}/order")

    app.spans.assert_propagated("user_id", value="u-1")
    with pytest.raises(TreeMismatch, match=r"user_id in trace checkout: 'u-1' on order, stock0; not set on checkout"):
        langfuse_spans.assert_propagated("user_id")
    with pytest.raises(TreeMismatch, match="2 traces, expected one"):
        langfuse_spans.assert_single_trace()


def test_waits_for_what_another_process_will_send(langfuse_process, langfuse_spans, script):
    path = script("""
        print("up")
        sys.stdout.flush()
        while not os.path.exists("go"):
            time.sleep(0.01)
        observe(3, client=lambda: get_client())
        get_client().flush()
        time.sleep(60)
    """)
    app = langfuse_process.start(path, cwd=path.parent)
    app.wait_for_output("up")
    assert len(langfuse_spans) == 0
    (path.parent / "go").touch()

    assert len(langfuse_spans.wait_for("span s*", count=3, timeout=20)) == 3
    with pytest.raises(TreeMismatch, match=r"timed out after 0\.01 s: 3 of 4 observations matching `span s\*` arrived"):
        langfuse_spans.wait_for("span s*", count=4, timeout=0.01)


def test_each_app_has_its_own_spans(langfuse_process, langfuse_spans, script):
    path = script("observe(2, sys.argv[1])")
    one, two = langfuse_process.start(path, "one"), langfuse_process.start(path, "two")
    assert (one.wait(), two.wait()) == (0, 0)

    assert [o.name for o in one.spans] == ["one0", "one1"]
    assert [o.name for o in two.spans] == ["two0", "two1"]
    assert sorted(o.name for o in langfuse_spans) == ["one0", "one1", "two0", "two1"]


def test_a_span_that_arrives_twice_is_one_the_later(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(
        script("""
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace import ReadableSpan

            client = get_client()
            span = client.start_observation(name="early")
            span.end()
            client.flush()
            ended = span._otel_span
            again = ReadableSpan(name="later", context=ended.context, resource=ended.resource,
                                 start_time=ended.start_time, end_time=ended.end_time,
                                 instrumentation_scope=ended.instrumentation_scope)
            OTLPSpanExporter().export([again])
        """)
    )
    assert app.wait() == 0
    assert [o.name for o in langfuse_spans] == ["later"] == [o.name for o in app.spans]


def test_what_this_process_makes_stays_in_memory(langfuse_process, langfuse_spans, script, captured_test):
    app = langfuse_process.start(script("observe(1)"))
    assert app.wait() == 0
    get_client().start_observation(name="own").end()
    get_client().flush()

    assert sorted(o.name for o in langfuse_spans) == ["own", "s0"]
    assert {arrival.path.split("/")[1] for arrival in captured_test.listening_server.arrivals} == {"process-1"}


def test_costs_nothing_until_a_process_is_started(langfuse_process, langfuse_spans, captured_test):
    # The run may have a server already, for processes that earlier tests started without the fixture.
    before = threading.enumerate()
    get_client().start_observation(name="own").end()
    assert [o.name for o in langfuse_spans] == ["own"]
    assert "listening_server" not in vars(captured_test)
    new = [thread for thread in threading.enumerate() if thread not in before]
    assert not [thread for thread in new if thread.name.startswith("langfuse-")]
    assert langfuse_process._folder is None


def test_the_same_server_as_the_rest_of_the_test(langfuse_process, langfuse_server, langfuse_spans, script):
    app = langfuse_process.start(script("observe(1)"))
    assert app.wait() == 0
    get_client().start_observation(name="own").end()
    get_client().flush()

    assert sorted(o.name for o in langfuse_server.spans) == ["own", "s0"]
    assert sorted(o.name for o in langfuse_spans) == ["own", "s0"]
    langfuse_spans.assert_flushed()


def test_an_outage_is_one_for_all_processes(langfuse_process, langfuse_outage, langfuse_spans, script):
    with langfuse_outage("http_401"):
        app = langfuse_process.start(script("observe(2)"))
        assert app.wait(30) == 0
    assert langfuse_outage.attempts > 0

    assert [o.name for o in app.lost] == ["s0", "s1"]
    with pytest.raises(TreeMismatch, match=r"(?s)2 observations were not .*`s0`, `s1`: `python script.py` exited with"):
        langfuse_spans.assert_flushed()
    app = langfuse_process.start(script("observe(2)"))
    assert app.wait() == 0
    assert app.lost == []


def test_an_outage_of_one_path_is_one_for_all_processes():
    """The base URL of each process has a different path."""
    assert matches(["/api/public/otel/*"], "/process-1/api/public/otel/v1/traces")
    assert matches(["/process-1/*"], "/process-1/api/public/otel/v1/traces")
    assert not matches(["/api/public/scores"], "/process-1/api/public/otel/v1/traces")


def test_clear_forgets_what_has_arrived_and_what_was_lost(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(
        script(
            """
            observe(1, "sent ")
            get_client().flush()
            observe(1, "lost ")
            running = get_client().start_observation(name="running")
            told = []
            signal.signal(signal.SIGUSR1, lambda *args: told.append(args))
            ready()
            while not told:
                time.sleep(0.01)
            running.end()
            get_client().flush()
            os._exit(0)
        """
        )
    )
    app.wait_for_output("ready")
    assert [o.name for o in langfuse_spans] == ["sent 0"]
    langfuse_spans.clear()
    assert (list(langfuse_spans), langfuse_spans.unexported[1:]) == ([], [])
    app.send_signal(signal.SIGUSR1)
    assert app.wait() == 0

    assert [o.name for o in langfuse_spans] == ["running"]
    assert [o.name for o in app.spans] == ["sent 0", "lost 0", "running"]


def test_secrets_are_looked_for_in_what_other_processes_sent(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(script('observe(1, "s3cret ")'))
    assert app.wait() == 0
    with pytest.raises(TreeMismatch, match=r"script\.py"):
        langfuse_spans.assert_not_exported("s3cret")
    langfuse_spans.assert_not_exported("another")


# -- lost ------------------------------------------------------------------------------------------------------


def test_names_what_a_deployment_loses(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(
        script("""
            observe(2)
            with get_client().start_as_current_observation(name="llm", as_type="generation"):
                pass
            running = get_client().start_observation(name="running", as_type="agent")
            ready()
            time.sleep(60)
        """)
    )
    app.wait_for_output("ready")
    assert [o.name for o in app.lost] == ["s0", "s1", "llm"]
    app.terminate()

    assert app.wait() == -signal.SIGTERM
    assert [(o.type, o.name) for o in app.lost] == [("span", "s0"), ("span", "s1"), ("generation", "llm")]
    assert all(o.duration is not None for o in app.lost)
    assert [(o.type, o.name) for o in langfuse_spans.unended] == [("agent", "running")]
    assert app.spans.unended[0].end_time is None
    with pytest.raises(TreeMismatch) as failure:
        langfuse_spans.assert_flushed()
    # Lines are folded to the width of the terminal.
    said = " ".join(str(failure.value).split())
    assert "3 observations were not delivered:" in said
    assert "`s0`, `s1`, `llm`: `python script.py` was terminated by SIGTERM before the observation arrived" in said
    assert "`running` was recorded but not exported: it never ended in `python script.py`" in said


def test_survives_sigkill_at_any_moment(langfuse_process, script):
    """Wherever the kill strikes, the ledger has exactly the spans that ended."""
    app = langfuse_process.start(
        script("""
            ready()
            number = 0
            while True:
                observe(1, f"{number} ")
                number += 1
                print(number)
        """)
    )
    app.wait_for_output(re.compile("^200$", re.MULTILINE))
    app.kill()
    assert app.wait() == -signal.SIGKILL

    printed = int(app.output.split()[-1])
    known = {o.name for o in [*app.lost, *app.spans]}
    assert {f"{number} 0" for number in range(printed)} <= known
    assert len(known) <= printed + 1


def test_what_the_filter_and_the_sampler_turned_down_is_not_lost(langfuse_process, langfuse_spans, script):
    app = langfuse_process.start(
        script("""
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            client = Langfuse(should_export_span=lambda span: not span.name.startswith("no"))
            observe(1, "yes "), observe(1, "no ")
            TracerProvider().get_tracer("elsewhere").start_span("elsewhere").end()
            os._exit(0)
        """)
    )
    assert app.wait() == 0
    assert [o.name for o in app.lost] == ["yes 0"]
    assert [(item.observation.name, item.reason, item.detail) for item in app.spans.unexported[1:]] == [
        ("no 0", "filtered", "default span filter, or should_export_span"),
        ("elsewhere", "filtered", "its tracer provider has no Langfuse span processor"),
    ]
    sampled = langfuse_process.start(script("observe(1); os._exit(0)"), env={"LANGFUSE_SAMPLE_RATE": "0"})
    assert sampled.wait() == 0
    assert sampled.lost == []
    assert [o.name for o in sampled.spans.sampled_out] == ["s0"]
    assert [o.name for o in langfuse_spans.sampled_out] == ["s0"]


def test_what_a_tail_sampler_drops_is_not_lost_and_what_it_holds_is(langfuse_process, script):
    app = langfuse_process.start(
        script("""
            from pytest_langfuse.tracing import init_tracing
            client = init_tracing(sample_rate=0.0)
            with client.start_as_current_observation(name="dropped"):
                pass
            root = client.start_observation(name="root")
            root.start_observation(name="held").end()
            ready()
            time.sleep(60)
        """)
    )
    app.wait_for_output("ready")
    app.kill()
    app.wait()
    assert [o.name for o in app.lost] == ["held"]
    assert [o.name for o in app.spans.sampled_out] == ["dropped"]
    assert [o.name for o in app.spans.unended] == ["root"]


def test_a_full_queue_is_a_loss(langfuse_process, script):
    """The SDK drops the oldest span and reports nothing."""
    app = langfuse_process.start(
        script("""
            client = get_client()
            release = threading.Event()
            [processor] = client._resources.tracer_provider._active_span_processor._span_processors
            exporter = processor.span_exporter
            exporter = getattr(exporter, "_exporter", exporter)
            export = exporter.export
            exporter.export = lambda spans: (release.wait(), export(spans))[1]
            observe(30)
            release.set()
        """),
        env={"OTEL_BSP_MAX_QUEUE_SIZE": "10", "LANGFUSE_FLUSH_AT": "5"},
    )
    assert app.wait() == 0
    assert len(app.lost) + len(app.spans) == 30
    assert len(app.lost) >= 30 - 10 - 5


def test_observations_of_one_id_are_a_loss(langfuse_process, langfuse_spans, script):
    """OpenTelemetry draws ids from `random`; Langfuse shows one of those that have the same."""
    app = langfuse_process.start(
        script("""
            import random
            client = Langfuse()

            def seeded(seed, name):
                random.seed(seed)
                return client.start_observation(name=name)

            for name in ("first", "second", "second"):
                seeded(10, name).end()
            seeded(20, "alone").end()
            seeded(30, "ends").end()
            seeded(30, "runs on")
            client.flush()
        """)
    )
    assert app.wait() == 0
    assert sorted(o.name for o in app.spans) == ["alone", "ends", "second"]
    assert [o.name for o in app.lost] == ["first", "second"]
    with pytest.raises(AssertionError) as error:
        langfuse_spans.assert_flushed()
    assert list(error.value.differences) == [
        "`first`, `second`: another observation has the same id: the application seeds `random`"
    ]


# -- unknown losses --------------------------------------------------------------------------------------------

POST = """
import json, os, urllib.request

span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "of go", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
body = {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "go"}, "spans": [span]}]}]}
headers = dict(pair.split("=", 1) for pair in os.environ["OTEL_EXPORTER_OTLP_TRACES_HEADERS"].split(","))
headers = {name: urllib.request.unquote(value) for name, value in headers.items()}
assert headers["Authorization"].startswith("Basic "), headers
request = urllib.request.Request(
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], json.dumps(body).encode(),
    {"Content-Type": "application/json", **headers},
)
assert urllib.request.urlopen(request).status == 200
"""


def test_another_language(langfuse_process, langfuse_spans, script):
    """Python with -S keeps no ledger, like a program in any other language."""
    app = langfuse_process.start_command(sys.executable, "-S", script("", head=POST))
    assert app.wait() == 0
    assert [o.name for o in langfuse_spans] == ["of go"] == [o.name for o in app.spans]
    with pytest.raises(
        LedgerMissing, match=r"`python -S script.py` keeps no ledger, so its losses are unknown: only Python"
    ):
        _ = app.lost
    with pytest.raises(LedgerMissing, match="keeps no ledger"):
        langfuse_spans.assert_flushed()


def test_a_process_that_becomes_another_program(langfuse_process, script):
    app = langfuse_process.start(script('observe(1); sys.stdout.flush(); os.execlp("sleep", "sleep", "0")'))
    assert app.wait() == 0
    with pytest.raises(LedgerMissing, match="became a program that keeps no ledger"):
        _ = app.lost


def test_a_process_that_becomes_another_python_or_does_not(langfuse_process, script):
    other = script('observe(1, "other "); os._exit(0)', "other.py")
    app = langfuse_process.start(
        script(f"""
            observe(1)
            try:
                os.execv("/no/such/program", ["x"])
            except FileNotFoundError:
                observe(1, "still here ")
            os.execv(sys.executable, [sys.executable, {str(other)!r}])
        """)
    )
    assert app.wait() == 0
    assert [o.name for o in app.lost] == ["s0", "still here 0", "other 0"]


# -- starting and waiting --------------------------------------------------------------------------------------


def test_environment(langfuse_process, script, monkeypatch, tmp_path):
    monkeypatch.setenv("LANGFUSE_BASE_URL", "https://cloud.langfuse.com")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://tempo.example")
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("GONE", "gone")
    names = [
        "LANGFUSE_BASE_URL", "LANGFUSE_HOST", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "KEPT", "GONE", "MINE", "LISTEN",
    ]  # fmt: skip
    body = f"import os\nfor name in {names!r}: print(name, os.environ.get(name), sep='=')"
    env = {
        "LANGFUSE_PUBLIC_KEY": "pk-own", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x=1",
        "GONE": None, "MINE": tmp_path, "LISTEN": "x:{port}",
    }  # fmt: skip
    app = langfuse_process.start("-c", body, env=env)
    assert app.wait() == 0
    found = dict(line.split("=", 1) for line in app.output.splitlines())
    base = found["LANGFUSE_BASE_URL"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/process-1", base)
    assert found["LANGFUSE_HOST"] == base
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"{base}/api/public/otel"
    assert found["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == f"{base}/api/public/otel/v1/traces"
    assert found["OTEL_EXPORTER_OTLP_HEADERS"].startswith("Authorization=Basic%20")
    assert found["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] == "x=1"
    assert found["LANGFUSE_PUBLIC_KEY"] == "pk-own"
    assert found["LANGFUSE_SECRET_KEY"].startswith("sk-")
    assert (found["KEPT"], found["GONE"], found["MINE"]) == ("kept", "None", str(tmp_path))
    assert found["LISTEN"] == f"x:{app.port}"


def test_a_process_has_a_port_only_if_it_asks_for_one(langfuse_process):
    app = langfuse_process.start("-c", "pass")
    with pytest.raises(AttributeError, match=r"`python -c pass` has no port: write \{port\} in its arguments"):
        _ = app.port
    with pytest.raises(AttributeError, match="has no port"):
        app.wait_ready("/health")
    assert len({langfuse_process.free_port() for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("argv", "options", "error", "message"),
    [
        (["no-such-program"], {}, FileNotFoundError, "program 'no-such-program' not found or not executable"),
        (["/no/such/program"], {}, FileNotFoundError, "program '/no/such/program' not found or not executable"),
        ([__file__], {}, FileNotFoundError, "not found or not executable"),
        ([], {}, TypeError, "needs the name of a program"),
        (["sleep", 1], {}, TypeError, "an argument must be a string or a path, not 1: write '1'"),
        (["sleep", "1"], {"cwd": "/no/such/folder"}, NotADirectoryError, "cwd='/no/such/folder' is not a directory"),
        (
            ["sleep", "1"],
            {"env": {"PORT": 80}},
            TypeError,
            r"env\['PORT'\] must be a string, a path or None \(removes the variable\), not 80",
        ),
    ],
    ids=["name", "path", "not executable", "nothing", "a number", "cwd", "env"],
)
def test_what_cannot_be_started(langfuse_process, argv, options, error, message):
    with pytest.raises(error, match=message):
        langfuse_process.start_command(*argv, **options)
    assert langfuse_process.apps == []


def test_python_needs_arguments(langfuse_process):
    with pytest.raises(TypeError, match="needs arguments for Python"):
        langfuse_process.start()


def test_output_of_both_streams(langfuse_process):
    app = langfuse_process.start("-c", "import sys; print('one: 1'); print('two', file=sys.stderr); print('three €')")
    assert app.wait_for_output("one") == "one: 1"
    assert app.wait_for_output(re.compile(r"th\w+")) == "three €"
    assert app.wait() == 0
    assert app.output == "one: 1\ntwo\nthree €\n"
    assert repr(app).endswith(": exited with status 0>")


def test_lines_are_seen_when_they_are_printed(langfuse_process):
    """Python would buffer them, because its standard output is not a terminal."""
    app = langfuse_process.start("-c", "import time; print('up'); time.sleep(60)", env={"PYTHONUNBUFFERED": None})
    app.wait_for_output("up")
    app.kill()
    app.wait()
    assert app.output == "up\n"


def test_output_is_complete_once_the_process_has_exited(langfuse_process, monkeypatch):
    """Even if the thread that reads it is slow."""

    def slow(*args, select=select.select):
        ready = select(*args)
        if threading.current_thread().name.startswith("langfuse-process-"):
            time.sleep(0.2)
        return ready

    monkeypatch.setattr(select, "select", slow)
    app = langfuse_process.start("-c", "print('done')")
    while app.returncode is None:
        time.sleep(0.001)
    assert app.output == "done\n"


def test_very_much_output_is_kept_within_bounds(langfuse_process):
    app = langfuse_process.start("-c", "for n in range(400_000): print(f'line {n:09}')")
    assert app.wait(60) == 0
    assert len(app.output) < 3_000_000
    assert app.output.startswith("line 000000000\n")
    assert app.output.endswith("line 000399999\n")
    assert "characters left out" in app.output


@pytest.mark.parametrize("wait", ["wait_for_output", "wait_ready"])
def test_a_process_that_ends_is_not_waited_for(langfuse_process, wait):
    app = langfuse_process.start("-c", "import sys; print('no such module'); sys.exit(3)")
    with pytest.raises(ProcessFailed) as failure:
        getattr(app, wait)(f"http://127.0.0.1:{langfuse_process.free_port()}/", timeout=60)
    assert not isinstance(failure.value, TimeoutError)
    text = str(failure.value)
    assert re.match(r"`python -c .*` exited with status 3 before it (printed|answered at) ", text)
    assert text.endswith("Its output:\nno such module")


def test_waiting_too_long(langfuse_process):
    app = langfuse_process.start("-c", "import time; print('hello'); time.sleep(60)")
    app.wait_for_output("hello")
    port = langfuse_process.free_port()
    with pytest.raises(
        ProcessTimeout, match=r"timed out after 0\.05 s waiting for `python -c .*` to print 'ready'. Its output:\nhello"
    ):
        app.wait_for_output("ready", timeout=0.05)
    with pytest.raises(ProcessTimeout, match=rf"to answer at http://127.0.0.1:{port}/ \(Connection refused\)"):
        app.wait_ready(f"http://127.0.0.1:{port}/", timeout=0.05)
    with pytest.raises(
        TimeoutError, match=r"timed out after 0\.05 s waiting for `python -c .*` to exit. Its output:\nhello"
    ):
        app.wait(timeout=0.05)
    assert app.returncode is None


@pytest.mark.parametrize(("status", "why"), [(200, None), (302, None), (404, None), (500, "status 500")])
def test_a_server_is_ready_below_status_500(status, why):
    # Not a port that an earlier test had for its Langfuse: it stays known, and is refused.
    with socket.create_server(("127.0.0.1", free_port())) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)

        thread = threading.Thread(target=answer)
        thread.start()
        assert why_not_ready(f"http://127.0.0.1:{listener.getsockname()[1]}/", 2.0) == why
        thread.join()


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://127.0.0.1/", "http:///"])
def test_a_url_that_cannot_be_requested(langfuse_process, url):
    app = langfuse_process.start("-c", "import time; time.sleep(60)")
    with pytest.raises(ValueError, match="wait_ready needs a URL such as"):
        app.wait_ready(url)


def test_signals(langfuse_process, script):
    app = langfuse_process.start(
        "-c", "import time\ntry:\n print('up'); time.sleep(60)\nexcept KeyboardInterrupt: print('bye')"
    )
    assert app.wait_for_output("up\n") == "up"
    app.interrupt()
    assert app.wait() == 0
    assert app.output == "up\nbye\n"
    # None of them fails for a process that has exited.
    app.interrupt()
    app.terminate()
    app.kill()


def test_a_process_that_still_runs_at_the_end_gets_sigterm_first(langfuse_process, script):
    app = langfuse_process.start(
        # Not by `print`, which may be interrupted in itself.
        script("signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'bye\\n'), exit(7))); ready(); time.sleep(60)")
    )
    app.wait_for_output("ready")
    langfuse_process.close()
    assert (app.returncode, app.output) == (7, "ready\nbye\n")


def test_sigint_that_is_ignored_here_is_not_ignored_there(langfuse_process):
    """A shell ignores SIGINT for its background jobs, and children inherit ignored signals."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        app = langfuse_process.start("-c", "import time; print('up'); time.sleep(60)")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    app.wait_for_output("up")
    app.interrupt()
    assert app.wait() == -signal.SIGINT
    assert app.output.endswith("KeyboardInterrupt\n")


def test_secrets_of_a_command_and_an_address_are_masked(langfuse_process, monkeypatch):
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "env-secret")
    secrets = ("--key=sk-lf-given", "env-secret", "http://u:word@h/")
    app = langfuse_process.start("-c", "raise SystemExit(3)", *secrets, env={"PORT": "{port}"})
    with pytest.raises(ProcessFailed) as error:
        app.wait_ready("http://user:word@127.0.0.1:{port}/up")
    for text in (str(error.value), repr(app)):
        assert [secret for secret in ("sk-lf", "env-secret", "word") if secret in text] == []
    answered = f"exited with status 3 before it answered at http://***@127.0.0.1:{app.port}/up"
    assert answered in " ".join(str(error.value).split())


def test_two_apps_of_one_command_are_told_apart(langfuse_process):
    apps = [langfuse_process.start("-c", "pass") for _ in range(3)]
    assert [app.label for app in apps] == ["python -c pass", "python -c pass #2", "python -c pass #3"]
