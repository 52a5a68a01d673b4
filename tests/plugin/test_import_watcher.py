"""Callbacks for modules that are imported later."""

from __future__ import annotations

import sys

import pytest

from pytest_langfuse.import_watcher import ImportWatcher


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that is not imported yet."""
    name = "imported_by_the_application"
    tmp_path.joinpath(f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_module_that_is_imported_later(module):
    seen = []
    watcher = ImportWatcher({module: lambda found: seen.append(found.value)})
    watcher.start()
    assert sys.meta_path[0] is watcher
    assert watcher.find_spec(f"{module}_tools") is None
    assert seen == []

    imported = __import__(module)

    # Called when the module has been executed; nothing of the watch is left in it.
    assert seen == [1]
    assert watcher not in sys.meta_path
    assert type(imported.__spec__.loader).__module__ == "_frozen_importlib_external"


def test_a_module_that_is_imported_already():
    seen = []
    watcher = ImportWatcher({"sys": seen.append})
    watcher.start()
    assert seen == [sys]
    assert watcher not in sys.meta_path


def test_a_watch_that_is_stopped(module):
    seen = []
    watcher = ImportWatcher({module: seen.append})
    watcher.start()
    watcher.stop()
    __import__(module)
    assert seen == []
    assert watcher not in sys.meta_path


def test_the_client_of_an_application_that_imports_langfuse_later(pytester):
    """As the session of a run does it, whose test asks for a fixture when the client has been built."""
    result = pytester.runpython_c(
        "import sys\n"
        "from pytest_langfuse.import_watcher import ImportWatcher\n"
        "from pytest_langfuse.recording.early_clients import EarlyClients\n"
        "early = []\n"
        "ImportWatcher({'langfuse': lambda langfuse: early.append(EarlyClients(langfuse.Langfuse))}).start()\n"
        "assert 'langfuse' not in sys.modules\n"
        "import langfuse\n"
        "client = langfuse.Langfuse(tracing_enabled=False, host='http://127.0.0.1:9')\n"
        "print(dict(early[0].arguments[client]))\n"
    )
    result.stdout.fnmatch_lines(["{'tracing_enabled': False, 'host': 'http://127.0.0.1:9'}"])
    assert result.ret == 0
