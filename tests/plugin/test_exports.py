"""The names that the package exports: loaded when first used, and shown as they are imported."""

from __future__ import annotations

import pickle
import subprocess
import sys
import typing

import pytest

import pytest_langfuse
from pytest_langfuse.lazy import exported_by, lazy_exports
from tests.helpers.limited_runs import LIMIT

NAMES = [
    "App",
    "Clock",
    "LangfuseQueue",
    "LangfuseRouter",
    "LangfuseServer",
    "LedgerMissing",
    "LiteralError",
    "Observation",
    "Observations",
    "Outage",
    "OutageControl",
    "ProcessFailed",
    "ProcessTimeout",
    "Processes",
    "QueuedMessage",
    "Score",
    "Trace",
    "TreeMismatch",
    "Unexported",
]
HEAVY = (
    "langfuse",
    "opentelemetry",
    "httpx",
    "respx",
    "freezegun",
    "pytest_langfuse.expect",
    "pytest_langfuse.recording",
)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exports():
    assert pytest_langfuse.__all__ == NAMES
    assert set(NAMES) <= set(dir(pytest_langfuse))
    for name in NAMES:
        assert getattr(pytest_langfuse, name).__name__ == name
    assert issubclass(pytest_langfuse.TreeMismatch, AssertionError)
    assert issubclass(pytest_langfuse.LiteralError, ValueError)
    with pytest.raises(AttributeError, match="module 'pytest_langfuse' has no attribute 'Observatoin'"):
        _ = pytest_langfuse.Observatoin


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_shown_pickled_and_annotated_under_its_public_name(name: str):
    exported = getattr(pytest_langfuse, name)
    assert repr(exported) == f"<class 'pytest_langfuse.{name}'>"
    assert pickle.loads(pickle.dumps(exported)) is exported
    typing.get_type_hints(exported)


def test_type_hints_are_those_of_the_file_of_the_class():
    hints = typing.get_type_hints(pytest_langfuse.Trace)
    assert hints["observations"] == list[pytest_langfuse.Observation]
    assert typing.get_type_hints(pytest_langfuse.Observation)["parent"] == pytest_langfuse.Observation | None


def test_an_instance_can_be_pickled():
    score = pytest_langfuse.Score(name="quality", value=1.0)
    assert pickle.loads(pickle.dumps(score)) == score
    failed = pickle.loads(pickle.dumps(pytest_langfuse.ProcessTimeout("slow")))
    assert (type(failed), str(failed)) == (pytest_langfuse.ProcessTimeout, "slow")


@pytest.mark.slow
def test_a_traceback_names_the_class_as_it_is_imported(pytester: pytest.Pytester):
    pytester.makepyfile("""
        from pytest_langfuse import ProcessFailed

        def test_it():
            raise ProcessFailed("gone")
    """)
    result = pytester.runpytest("-p", "no:randomly")
    result.stdout.fnmatch_lines(["E*  pytest_langfuse.ProcessFailed: gone"])


def test_importing_the_package_imports_nothing_heavy():
    assert python(f"import sys, pytest_langfuse; print([name for name in {HEAVY!r} if name in sys.modules])") == "[]\n"


def test_a_name_is_looked_up_once():
    assert python("import pytest_langfuse as p; p.Score; print('Score' in vars(p), 'Trace' in vars(p))") == (
        "True False\n"
    )


@pytest.mark.slow
def test_without_respx_its_router_is_one_clear_error():
    printed = python(
        "import sys; sys.modules['respx'] = None\n"
        "import pytest_langfuse\n"
        "from pytest_langfuse import *\n"
        "print(Score.__name__, 'LangfuseRouter' in globals(), 'LangfuseRouter' in dir(pytest_langfuse))\n"
        "try: from pytest_langfuse import LangfuseRouter\n"
        "except ImportError as error: print(error, error.__context__)\n"
    )
    assert printed == (
        "Score False False\npytest_langfuse.LangfuseRouter needs respx: pip install 'pytest-langfuse[respx]' None\n"
    )


def test_another_missing_module_is_not_taken_for_the_extra():
    get, names = lazy_exports(__name__, {"broken_export": "no_such_module"}, extras={"broken_export": "respx"})
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_module'"):
        get("broken_export")
    assert {"broken_export", "NAMES"} <= set(names())


def test_a_class_without_annotations_has_none_added():
    @exported_by("elsewhere")
    class Plain:
        pass

    assert Plain.__module__ == "elsewhere"
    assert "__annotations__" not in vars(Plain)


def test_assertions_need_neither_the_sdk_nor_a_client():
    """Traces in files are read without Langfuse's SDK: what is imported is OpenTelemetry's at most."""
    code = (
        "import sys; from pytest_langfuse import Observations; print('langfuse' in sys.modules, 'httpx' in sys.modules)"
    )
    assert python(code) == "False False\n"
