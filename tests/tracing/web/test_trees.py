"""One request makes one tree: on each framework, with OpenTelemetry's instrumentations inside, outside and without."""

import logging
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from pytest_langfuse.tracing import tracing_health
from tests.helpers import traced_sites
from tests.helpers.paths import ROOT
from tests.helpers.traced_sites import ORDERS, SITES, TREE

# Slow: starts servers.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(traced_sites.served, id="served"),
        pytest.param(traced_sites.called, id="test client", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("order", ORDERS)
def test_one_tree(langfuse_tracing, langfuse_spans, caplog, site, order, call):
    langfuse_tracing(propagate_to=("127.0.0.1",))
    caplog.set_level(logging.WARNING)
    with traced_sites.surroundings(order) as work:
        assert call(site, SITES[site](order, work)) == ("3" if not site.startswith("fastapi") else '"3"')

    langfuse_spans.wait_for(count=5)
    langfuse_spans.assert_tree(TREE)
    assert [one.name for one in langfuse_spans if one.is_root] == ["GET /items/{i}"]
    assert tracing_health().reparented >= 2
    assert [record.getMessage() for record in caplog.records if record.name.startswith("pytest_langfuse")] == []


@pytest.mark.parametrize("program", [[], ["opentelemetry-instrument"]], ids=["plain", "instrumented"])
def test_uvicorn_with_the_recipe(langfuse_process, langfuse_spans, program):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [*program, "uvicorn", "tests.helpers.fastapi_recipe:app", "--port", str(port)]
    app = langfuse_process.start_command(
        str(Path(sys.executable).with_name(command[0])),
        *command[1:],
        cwd=ROOT,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        },
    )
    url = f"http://127.0.0.1:{port}"
    app.wait_ready(f"{url}/docs", timeout=60)
    langfuse_spans.wait_for(count=1, timeout=30)
    langfuse_spans.clear()
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/items/3", headers={"x-auth": "u-1"}).json() == "u-1"
    app.terminate()
    assert app.wait(30) == -signal.SIGTERM

    langfuse_spans.assert_tree('* user_id=u-1\nspan "GET /items/{i}" output={"status_code":200}\n  span work')


LOGFIRE = """
import sys
import logfire
from pytest_langfuse.tracing import init_tracing, shutdown_tracing

def configure():
    logfire.configure(send_to_logfire=False, console=False)

if sys.argv[1] == "before":
    configure()
client = init_tracing()
if sys.argv[1] == "after":
    configure()
with logfire.span("outside"):
    client.start_observation(name="first").end()
with client.start_as_current_observation(name="a"), logfire.span("x"), logfire.span("y"):
    client.start_observation(name="b").end()
print(shutdown_tracing())
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_logfire(langfuse_process, langfuse_spans, tmp_path, order):
    (tmp_path / "script.py").write_text(LOGFIRE)
    # logfire exports by OpenTelemetry's variables, which the fixture sets.
    nowhere = {f"OTEL_EXPORTER_OTLP_{name}ENDPOINT": "" for name in ("", "TRACES_", "METRICS_", "LOGS_")}
    assert langfuse_process.start("script.py", order, cwd=tmp_path, env=nowhere).wait(60) == 0

    langfuse_spans.assert_tree("span first\nspan a\n  span b")
