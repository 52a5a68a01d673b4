"""The child side: hooks that the application does not notice, and that never miss a module."""

import importlib
import json
import os
import signal
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_langfuse.process.exceptions import LedgerMissing
from pytest_langfuse.process.ledger_reader import LedgerReader
from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT
from tests.helpers.tiers import first_of, only, repeats
from tests.helpers.traced_service import span_names

# Slow: starts processes.
pytestmark = pytest.mark.slow

CHILD = ROOT / "pytest_langfuse" / "process" / "child"


def test_nothing_is_imported_that_the_application_does_not_import(tmp_path):
    body = "import json, sys; print(json.dumps([list(sys.modules), sys.path, list(map(str, sys.meta_path))]))"

    def run(**variables):
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
        command = [sys.executable, "-c", body]
        return json.loads(
            subprocess.run(command, env=env, capture_output=True, check=True, cwd=tmp_path, timeout=LIMIT).stdout
        )

    modules, path, finders = run()
    modules_with, path_with, finders_with = run(PYTHONPATH=str(CHILD), PYTEST_LANGFUSE_LEDGER=str(tmp_path))
    ours = {"_pytest_langfuse_imports", "_pytest_langfuse_ledger", "sitecustomize"}
    assert set(modules_with) - set(modules) <= {*ours, "__future__"}
    assert ours <= set(modules_with)
    assert path_with == path
    assert "AfterImport" in finders_with[0]
    assert len(finders_with) == len(finders) + 1
    [file] = [path for path in tmp_path.iterdir() if path.is_file()]
    assert file.read_text().startswith('\n["interpreter", ')


#: What the hooks replace, by the module whose import triggers them: the attribute, and the child module of its hook.
REPLACED = {
    "opentelemetry.sdk.trace": {
        "Tracer.start_span": "_pytest_langfuse_spans",
        "Span.end": "_pytest_langfuse_spans",
        "Span.set_attribute": "_pytest_langfuse_spans",
        "Span.set_attributes": "_pytest_langfuse_spans",
    },
    "opentelemetry.sdk.trace.export": {
        "BatchSpanProcessor.__init__": "_pytest_langfuse_spans",
        "BatchSpanProcessor.on_start": "_pytest_langfuse_spans",
        "BatchSpanProcessor.on_end": "_pytest_langfuse_spans",
        "SimpleSpanProcessor.on_end": "_pytest_langfuse_spans",
    },
    "socket": dict.fromkeys(
        ("socket.connect", "socket.connect_ex", "getaddrinfo", "gethostbyname", "gethostbyname_ex"),
        "_pytest_langfuse_connections",
    ),
    "langfuse": {"Langfuse.__init__": "_pytest_langfuse_addresses"},
    "langfuse.api": {
        "LangfuseAPI.__init__": "_pytest_langfuse_addresses",
        "AsyncLangfuseAPI.__init__": "_pytest_langfuse_addresses",
    },
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter": {
        "OTLPSpanExporter.__init__": "_pytest_langfuse_addresses",
    },
    "opentelemetry.exporter.otlp.proto.http.trace_exporter": {
        "OTLPSpanExporter.__init__": "_pytest_langfuse_addresses",
    },
    "pytest_langfuse.tracing": {"TracingConfig.__init__": "_pytest_langfuse_addresses"},
    "pytest_langfuse.tracing.queue.endpoints": {
        "kafka": "_pytest_langfuse_queues",
        "sqs": "_pytest_langfuse_queues",
    },
}


@pytest.fixture
def hooks(monkeypatch):
    """The hooks by module name, as the child has them."""
    monkeypatch.syspath_prepend(CHILD)
    import _pytest_langfuse_imports as imports

    return {**imports.SPAN_HOOKS, **imports.ADDRESS_HOOKS}


def test_every_hooked_module_and_every_hook_exists(hooks):
    """A stale name would leave a child process without a ledger, or let it send to another machine, unnoticed."""
    assert set(hooks) == set(REPLACED)
    for name, (module, function) in hooks.items():
        for attribute in REPLACED[name]:
            assert callable(attrgetter(attribute)(importlib.import_module(name)))
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    "looked_for", [pytest.param(False, marks=repeats), True], ids=["imported", "looked for, then imported"]
)
@pytest.mark.parametrize("name", REPLACED)
def test_every_hook_runs_in_a_process_that_imports_its_module(langfuse_process, name, looked_for):
    """Even if the application looks for the module before it imports it."""
    app = langfuse_process.start(
        "-c",
        dedent(f"""
            import importlib, importlib.util, operator
            if {looked_for}: assert importlib.util.find_spec({name!r})
            module = importlib.import_module({name!r})
            for attribute in {list(REPLACED[name])}:
                print(attribute, operator.attrgetter(attribute)(module).__globals__["__name__"])
        """),
    )
    assert app.wait(30) == 0, app.output
    assert dict(line.split() for line in app.output.splitlines()) == REPLACED[name]
    assert app.lost == []


def test_a_hook_runs_after_an_import_that_failed_first(langfuse_process, tmp_path):
    """An application may import a module again, once what it lacked is there."""
    app = langfuse_process.start(
        "-c",
        dedent("""
            import sys
            sys.modules["langfuse._client"] = None
            try:
                import langfuse
            except ImportError:
                del sys.modules["langfuse._client"]
            import langfuse
            print(langfuse.Langfuse.__init__.__globals__["__name__"])
        """),
    )
    assert app.wait(30) == 0, app.output
    assert app.output == "_pytest_langfuse_addresses\n"


def test_the_sitecustomize_of_the_application_runs(langfuse_process, script, tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys; sys.customized = __file__\n")
    app = langfuse_process.start(
        script("""
            import sitecustomize
            assert sys.customized == sitecustomize.__file__ == sys.argv[1], sys.customized
            assert not any("pytest_langfuse" in entry for entry in sys.path), sys.path
            observe(1); os._exit(0)
        """),
        folder / "sitecustomize.py",
        env={"PYTHONPATH": folder},
    )
    assert app.wait() == 0, app.output
    assert [o.name for o in app.lost] == ["s0"]


def test_an_error_in_the_sitecustomize_of_the_application_is_said_as_ever(langfuse_process, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('broken')\n")
    app = langfuse_process.start("-c", "print('goes on')", env={"PYTHONPATH": tmp_path})
    assert app.wait() == 0
    assert "Error in sitecustomize" in app.output
    assert "ValueError: broken" in app.output
    assert app.output.endswith("goes on\n")
    assert app.lost == []


def test_modules_are_as_without(langfuse_process, script):
    app = langfuse_process.start(
        script("""
            import inspect, importlib, pickle
            import opentelemetry.sdk.trace as trace, opentelemetry.sdk.trace.export as export, langfuse
            for module in (trace, export, langfuse):
                assert type(module.__loader__).__name__ == "SourceFileLoader", module.__loader__
                assert module.__spec__.loader is module.__loader__
            assert list(inspect.signature(trace.Tracer.start_span).parameters)[:3] == ["self", "name", "context"]
            assert list(inspect.signature(os.execv).parameters) == ["path", "argv"]
            assert pickle.loads(pickle.dumps(os.execv)) is os.execv
            importlib.reload(langfuse)
        """)
    )
    assert app.wait() == 0, app.output


def test_an_application_that_closes_every_file_and_changes_its_folder(langfuse_process, script, tmp_path):
    """As daemons do. The descriptor of the ledger is closed, too; its number is far above those that come next."""
    app = langfuse_process.start(
        script("""
            observe(1, "before ")
            os.chdir("/")
            os.closerange(3, 5000)
            files = [open(sys.argv[1], "a") for _ in range(100)]
            assert [file.fileno() for file in files] == list(range(3, 103))
            observe(1, "closed ")
            os.closerange(3, 5000)
            observe(1, "again ")
            assert os.path.getsize(sys.argv[1]) == 0
            os._exit(0)
        """),
        tmp_path / "other",
    )
    assert app.wait() == 0, app.output
    assert [o.name for o in app.lost] == ["before 0", "closed 0", "again 0"]


def test_an_application_without_file_descriptors_left(langfuse_process, script):
    app = langfuse_process.start(
        script("""
            import resource
            client = get_client()
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            observe(3)
            print("fine")
            os._exit(0)
        """)
    )
    assert app.wait() == 0, app.output
    assert app.output == "fine\n"


@pytest.mark.parametrize(
    "name",
    only(
        ["lone \udc80 surrogate"],
        ["", "tab\t and line\n", '"quoted" \\', "ünïcödé 🎉", "lone \udc80 surrogate", "x" * 100_000],
    ),
)
def test_any_name(langfuse_process, script, name):
    app = langfuse_process.start(script(f"get_client().start_observation(name={name!r}).end(); os._exit(0)"))
    assert app.wait() == 0, app.output
    [observation] = app.lost
    assert observation.name == name


def test_names_and_types_that_change(langfuse_process, script):
    app = langfuse_process.start(
        script("""
            client = get_client()
            span = client.start_observation(name="first", as_type="agent")
            span.update(name="second")
            span.end()
            from opentelemetry import trace
            other = trace.get_tracer("openinference").start_span("llm", attributes={"openinference.span.kind": "LLM"})
            other.set_attributes({"gen_ai.operation.name": "chat"})
            other.end()
            other.end()
            os._exit(0)
        """)
    )
    assert app.wait() == 0, app.output
    assert [(o.type, o.name) for o in app.lost] == [("agent", "second"), ("generation", "llm")]


def test_children_of_children(langfuse_process, script):
    folder = script('observe(1, "exec "); os._exit(0)', "other.py").parent
    app = langfuse_process.start(
        script("""
            import subprocess
            def work(depth):
                observe(1, f"fork {depth} ")
                if depth:
                    child = multiprocessing.get_context("fork").Process(target=work, args=(depth - 1,))
                    child.start(); child.join()
                else:
                    subprocess.run([sys.executable, "other.py"], check=True)
            observe(1, "main ")
            work(2)
            os._exit(0)
        """),
        cwd=folder,
    )
    assert app.wait(30) == 0, app.output
    assert [o.name for o in app.lost] == ["main 0", "fork 2 0", "fork 1 0", "fork 0 0", "exec 0"]


def test_a_span_that_is_open_over_a_fork_is_its_parents(langfuse_process, script):
    app = langfuse_process.start(
        script("""
            from pytest_langfuse.tracing import init_tracing
            client = init_tracing()
            with client.start_as_current_observation(name="open"):
                pid = os.fork()
                if pid:
                    os.waitpid(pid, 0)
                    ready()
                    time.sleep(60)
        """)
    )
    app.wait_for_output("ready")
    app.kill()
    app.wait()
    assert app.lost == []
    assert [o.name for o in app.spans.unended] == ["open"]


@pytest.mark.parametrize(
    "body",
    first_of(
        [
            'client = Langfuse(public_key="pk", secret_key="sk", base_url="https://langfuse.example")',
            'client = Langfuse(host="https://langfuse.example")',
            'os.environ["LANGFUSE_BASE_URL"] = "https://langfuse.example"; client = get_client()',
            'del os.environ["LANGFUSE_BASE_URL"], os.environ["LANGFUSE_HOST"]; client = get_client()',
            "from pytest_langfuse.tracing import init_tracing; client = init_tracing(base_url='https://langfuse.example')",
            (
                "from pytest_langfuse.tracing import TracingConfig, init_tracing;"
                "client = init_tracing(TracingConfig('pk', 'sk', 'https://langfuse.example', 'test', '1', 1.0, 1.0, 1))"
            ),
            (
                "from pytest_langfuse.tracing import init_tracing;"
                "os.environ['LANGFUSE_BASE_URL'] = 'https://langfuse.example'; client = init_tracing()"
            ),
            (
                "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter;"
                "client = Langfuse(span_exporter=OTLPSpanExporter('https://langfuse.example/api/public/otel/v1/traces'))"
            ),
        ],
        3,
    ),
)
def test_no_other_machine_is_asked(langfuse_process, script, body):
    app = langfuse_process.start(
        script(f"""
            import socket
            def refuse(host, *args, resolve=socket.getaddrinfo, **kwargs):
                assert host in ("127.0.0.1", "localhost", None), host
                return resolve(host, *args, **kwargs)
            socket.getaddrinfo = refuse
            {body}
            observe(2, client=lambda: client)
            client.create_score(name="s", value=1, trace_id="a" * 32)
            client.flush()
        """)
    )
    assert app.wait(30) == 0, app.output
    assert [o.name for o in app.spans] == span_names(2)
    assert "langfuse.example" not in app.output


@pytest.mark.parametrize(
    ("given", "coded", "used"),
    first_of(
        [
            (None, "http://localhost.evil.test:9", "stand-in"),
            ("http://localhost:9", "http://localhost:9", "http://localhost:9"),
            (None, "http://localhost:9", "stand-in"),
            (None, "http://127.0.0.1.evil.test", "stand-in"),
            ("http://localhost:9", "http://localhost:99", "stand-in"),
            ("https://langfuse.example", "https://langfuse.example", "stand-in"),
            ("https://127.0.0.1.evil.test", "https://127.0.0.1.evil.test", "stand-in"),
        ],
        2,
        several=True,
    ),
)
def test_only_an_address_of_this_machine_that_the_test_gives_is_left_alone(
    langfuse_process, script, given, coded, used
):
    """A Langfuse on localhost is a real one, too. Names that only begin like this machine's are others'."""
    app = langfuse_process.start(
        script(f"""
            client = Langfuse(public_key="pk-own", secret_key="sk", base_url={coded!r})
            print(client._base_url, os.environ["LANGFUSE_BASE_URL"], os.environ["PYTEST_LANGFUSE_URL"], flush=True)
            os._exit(0)
        """),
        env={} if given is None else {"LANGFUSE_BASE_URL": given},
    )
    assert app.wait() == 0, app.output
    client, variable, stand_in = app.output.split()
    assert client == (stand_in if used == "stand-in" else used)
    assert variable == (given if given == "http://localhost:9" else stand_in)


def test_what_cannot_be_noted_is_said(langfuse_process, script):
    """An error in a hook must not read as "nothing was lost", and must not reach the application."""
    app = langfuse_process.start(
        script("""
            import _pytest_langfuse_ledger
            get_client()
            _pytest_langfuse_spans = sys.modules["_pytest_langfuse_spans"]
            _pytest_langfuse_spans.quoted = None
            observe(1)
            os._exit(0)
        """)
    )
    assert app.wait() == 0, app.output
    with pytest.raises(
        LedgerMissing,
        match=r"the ledger of `python script.py` is incomplete, so its losses are unknown: TypeError while writing it",
    ):
        _ = app.lost


def test_a_ledger_that_ends_in_the_middle_of_a_line(tmp_path):
    ledger = LedgerReader(tmp_path)
    file = tmp_path / "7"
    interpreter = '\n["interpreter", 1]\n'
    started = json.dumps(["started", "a" * 32, "b" * 16, None, 1, 1, 1, "s"]) + "\n"
    taken = json.dumps(["taken", "a" * 32, "b" * 16, 2, "s", {}]) + "\n"
    file.write_text(interpreter + started + taken[:30])
    ledger.read()
    assert [span.outcome for span in ledger.spans.values()] == ["open"]
    with file.open("a") as more:
        more.write(interpreter + taken)
    ledger.read()
    assert [span.outcome for span in ledger.spans.values()] == ["taken"]
    assert ledger.complete


def test_a_line_that_is_read_before_it_is_complete(tmp_path):
    ledger = LedgerReader(tmp_path)
    started = json.dumps(["started", "a" * 32, "b" * 16, None, 1, 1, 1, "s"]) + "\n"
    with (tmp_path / "7").open("a", buffering=1) as file:
        for part in (started[:30], started[30:]):
            assert list(ledger.spans) == []
            file.write(part)
            file.flush()
            ledger.read()
    assert [span.name for span in ledger.spans.values()] == ["s"]


BEHAVIOUR = """
handlers = [signal.getsignal(getattr(signal, name)) for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGCHLD")]
client = get_client()
with client.start_as_current_observation(name="s"):
    pass
assert handlers == [signal.getsignal(getattr(signal, name)) for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGCHLD")]
files = sorted(int(number) for number in os.listdir("/dev/fd") if int(number) < 500)
print(handlers[0], handlers[2], sorted(t.name for t in threading.enumerate()), files)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="lists open files")
def test_signals_threads_and_files_are_as_without(script, tmp_path):
    path = script(BEHAVIOUR)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_BASE_URL": "http://127.0.0.1:9"}
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    with_ledger = {**env, "PYTHONPATH": str(CHILD), "PYTEST_LANGFUSE_LEDGER": str(ledger)}
    without, within = (
        subprocess.run(
            [sys.executable, path], env=variables, capture_output=True, text=True, check=False, timeout=LIMIT
        )
        for variables in (env, with_ledger)
    )
    assert within.stdout == without.stdout != ""
    assert (within.returncode, within.stderr) == (without.returncode, without.stderr) == (-signal.SIGTERM, "")
    assert list(ledger.iterdir())
