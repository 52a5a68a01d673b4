"""Callbacks for modules that are imported later."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.util import spec_from_file_location

import pytest

from pytest_langfuse.import_watcher import ImportWatcher


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that is not imported yet."""
    name = "imported_by_the_application"
    tmp_path.joinpath(f"{name}.py").write_text(
        "import sys\nif hasattr(sys, 'break_it'): raise ValueError('broken')\nvalue = 1\n"
    )
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


@pytest.fixture
def seen(module):
    """The values of the watched module, as the watcher told of it; it is stopped after the test."""
    seen = []
    before = list(sys.meta_path)
    watcher = ImportWatcher({module: lambda found: seen.append(found.value)})
    watcher.start()
    yield seen
    watcher.stop()
    assert sys.meta_path == before


def test_looking_for_a_module_is_not_importing_it(module, seen):
    assert importlib.util.find_spec(module) is not None
    assert seen == []
    importlib.import_module(module)
    assert seen == [1]


def test_an_import_that_fails_first(module, seen, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "break_it", True, raising=False)
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module(module)
    monkeypatch.delattr(sys, "break_it")
    assert seen == []
    importlib.import_module(module)
    assert seen == [1]


def test_a_module_that_only_another_finder_knows(tmp_path, monkeypatch):
    """As a package that is installed for editing is found, and pytest's rewritten modules."""
    (tmp_path / "elsewhere.py").write_text("value = 2\n")

    class Finder(MetaPathFinder):
        def find_spec(self, fullname, path=None, target=None):
            return spec_from_file_location(fullname, tmp_path / "elsewhere.py") if fullname == "watched_too" else None

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    seen = []
    watcher = ImportWatcher({"watched_too": lambda found: seen.append(found.value)})
    watcher.start()
    try:
        assert importlib.import_module("watched_too").__spec__.loader.get_source("watched_too") == "value = 2\n"
        assert seen == [2]
    finally:
        watcher.stop()
        sys.modules.pop("watched_too", None)


def test_two_that_watch_the_same_module(module, seen):
    also_seen = []
    watcher = ImportWatcher({module: lambda found: also_seen.append(found.value)})
    watcher.start()
    imported = importlib.import_module(module)
    assert seen == also_seen == [1]
    assert imported.__spec__.loader is imported.__loader__
    assert "pytest_langfuse" not in type(imported.__loader__).__module__


@pytest.mark.slow
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
