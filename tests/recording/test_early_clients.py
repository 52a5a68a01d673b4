"""Clients that are built before capture starts."""

from __future__ import annotations

import gc
import sys
import weakref

import langfuse
import pytest

from pytest_langfuse.recording.early_clients import EarlyClients


class Client:
    """A stand-in for `Langfuse`, whose construction is cheap."""

    def __init__(self, *, public_key: str | None = None, timeout: int = 5) -> None:
        self.public_key, self.timeout = public_key, timeout


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> EarlyClients:
    monkeypatch.setattr(langfuse, "Langfuse", Client)
    return EarlyClients()


def test_the_arguments_of_clients_are_remembered(early):
    early.start()
    client = langfuse.Langfuse(public_key="pk", timeout=3)
    assert early.arguments[client] == {"public_key": "pk", "timeout": 3}
    early.stop()


def test_a_client_is_not_kept_alive(early):
    early.start()
    client = weakref.ref(langfuse.Langfuse(public_key="pk"))
    gc.collect()
    assert client() is None
    assert len(early.arguments) == 0
    early.stop()


def test_a_client_whose_constructor_fails_is_not_remembered(early):
    early.start()
    with pytest.raises(TypeError):
        langfuse.Langfuse(unknown=1)
    assert len(early.arguments) == 0
    early.stop()


def test_stop_restores_the_constructor(early):
    original = Client.__init__
    early.start()
    assert Client.__init__ is not original
    assert Client.__init__.__wrapped__ is original
    early.stop()
    assert Client.__init__ is original
    assert langfuse.Langfuse() not in early.arguments


def test_the_import_is_watched_if_langfuse_is_not_imported_yet(early, monkeypatch):
    monkeypatch.delitem(sys.modules, "langfuse")
    early.start()
    assert sys.meta_path[0] is early
    assert early.find_spec("langfuse_tools") is None
    assert sys.meta_path[0] is early
    early.stop()
    assert early not in sys.meta_path


def test_a_client_of_a_module_that_imports_langfuse_later(pytester):
    result = pytester.runpython_c(
        "import sys\n"
        "from pytest_langfuse.recording.early_clients import EarlyClients\n"
        "early = EarlyClients()\n"
        "early.start()\n"
        "assert 'langfuse' not in sys.modules\n"
        "import langfuse\n"
        "assert early not in sys.meta_path\n"
        "assert type(langfuse.__spec__.loader).__module__ == '_frozen_importlib_external'\n"
        "client = langfuse.Langfuse(tracing_enabled=False, host='http://127.0.0.1:9')\n"
        "print(dict(early.arguments[client]))\n"
        "early.stop()\n"
        "assert langfuse.Langfuse(tracing_enabled=False) not in early.arguments\n"
    )
    result.stdout.fnmatch_lines(["{'tracing_enabled': False, 'host': 'http://127.0.0.1:9'}"])
    assert result.ret == 0
