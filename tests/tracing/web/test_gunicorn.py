"""The WSGI middleware in gunicorn's workers: context over streamed bodies, sendfile, clients that leave, SIGTERM."""

import contextlib
import socket

import httpx
import pytest

from tests.helpers.tiers import first_of

# Slow: starts servers.
pytestmark = pytest.mark.slow

SHOP = """
import flask
from pytest_langfuse.tracing import LangfuseWSGIMiddleware, get_langfuse_client, get_request_context, init_tracing

app = flask.Flask("shop")
app.wsgi_app = LangfuseWSGIMiddleware(app.wsgi_app, trusted=True, exclude=["/health"])
init_tracing(flush_at=512, flush_interval=60.0)


def observe(name):
    with get_langfuse_client().start_as_current_observation(name=name):
        return f"{get_request_context().user_id} "


@app.get("/health")
def health():
    return "ok"


@app.get("/stream/<int:parts>")
def stream(parts):
    return flask.Response(observe("part") for _ in range(parts))


@app.get("/file")
def file():
    observe("file")
    return flask.send_file(__file__)
"""


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.mark.parametrize("worker", first_of(["gthread", "sync"]))
def test_gunicorn(langfuse_process, langfuse_spans, tmp_path, worker):
    (tmp_path / "shop.py").write_text(SHOP)
    command = ("-m", "gunicorn", "shop:app", "--bind", "127.0.0.1:{port}", "--worker-class", worker, "--threads", "2")
    app = langfuse_process.start(*command, cwd=tmp_path)
    app.wait_ready("/health", timeout=30)

    for number in range(3):
        user = f"u-{number}"
        assert httpx.get(f"{app.url}/stream/2", headers={"x-user-id": user}).text == f"{user} {user} "
    assert httpx.get(f"{app.url}/file", headers={"x-user-id": "u-f"}).text == SHOP
    with socket.create_connection(("127.0.0.1", app.port)) as leaving, contextlib.suppress(ConnectionError):
        leaving.sendall(b"GET /stream/100000 HTTP/1.1\r\nhost: a\r\nx-user-id: u-left\r\n\r\n")
        leaving.recv(1)
    # Served by the same worker, so after it has noticed, if it is the only one.
    assert httpx.get(f"{app.url}/health", timeout=30).text == "ok"
    app.terminate()
    assert app.wait(30) == 0

    assert not app.lost
    roots = {one.user_id: one for one in langfuse_spans if one.name not in {"part", "file"}}
    assert {one.name for one in roots.values()} == {"GET /stream/{parts}", "GET /file"}
    assert {user: one.level for user, one in roots.items()} == {
        "u-0": "DEFAULT", "u-1": "DEFAULT", "u-2": "DEFAULT", "u-f": "DEFAULT", "u-left": "WARNING",
    }  # fmt: skip
    for one in langfuse_spans:
        if one.parent is not None:
            assert one.user_id == one.parent.user_id
    assert len(langfuse_spans.traces) == len(roots)
