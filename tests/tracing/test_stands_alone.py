"""The production module brings no test tools into production, and costs nothing until it is used."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import pytest_langfuse.tracing
from tests.helpers.for_each import for_each

FOLDER = Path(pytest_langfuse.tracing.__file__).parent
FORBIDDEN = (
    "pytest", "_pytest", "respx", "freezegun", "pluggy",
    "pytest_langfuse.plugin", "pytest_langfuse.fixtures", "pytest_langfuse.options", "pytest_langfuse.session",
    "pytest_langfuse.expect", "pytest_langfuse.rules", "pytest_langfuse.report", "pytest_langfuse.outage",
    "pytest_langfuse.process", "pytest_langfuse.recording",
)  # fmt: skip
ALLOWED = {"langfuse", "opentelemetry", "httpx", "httpcore", "pytest_langfuse"}
#: Where the application uses them; never at the top of a module, unless for types.
OPTIONAL = {"requests", "aiohttp", "flask", "django", "httpx2", "botocore", "confluent_kafka"}


class Imports(NamedTuple):
    """Names that a file imports: inside of functions and for types only, and all others."""

    lazy: set[str]
    eager: set[str]


@cache
def imports_of(path: Path) -> Imports:
    found = Imports(set(), set())

    def visit(node: ast.AST, names: set[str]) -> None:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import hides what is imported"
            names.update({str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)})
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        ):
            names = found.lazy
        if isinstance(node, ast.Module | ast.stmt | ast.excepthandler | ast.match_case):
            for inner in ast.iter_child_nodes(node):
                visit(inner, names)

    visit(ast.parse(path.read_text()), found.eager)
    return found


@pytest.mark.slow
@for_each(sorted(FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_a_source_file_imports_only_what_production_has(path):
    lazy, eager = imports_of(path)
    for name in eager | lazy:
        assert not any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN), name
        top = name.split(".")[0]
        assert top in ALLOWED or top in sys.stdlib_module_names or (top in OPTIONAL and name in lazy), name
    assert not any(name.split(".")[0] in OPTIONAL for name in eager)


@pytest.mark.slow
@for_each(sorted(FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_private_names_of_the_sdk_are_in_one_file(path):
    if path.name == "langfuse_internals.py":
        return
    for name in set().union(*imports_of(path)):
        if name.split(".")[0] in {"langfuse", "opentelemetry", "httpx", "httpcore"}:
            assert not any(part.startswith("_") for part in name.split(".")), f"{path.name} imports {name}"


#: From top to bottom: a file or folder may import those below its line, and a folder its own files.
LAYERS = [
    {"__init__"},
    {"web", "forward"},
    {"propagation", "decorator"},
    {"singleton"},
    {"installation"},
    {"global_propagator", "shutdown", "second_clients", "earlier_client"},
    {"queue"},
    {"delivery"},
    {"context"},
    {"exported_ancestor", "observed_error", "untraced"},
    {"langfuse_internals", "double_sampling"},
    {"generator_context", "config", "time_limit"},
    {"kafka_parsers", "missing_names", "otel_variables", "sampling"},
    {"arguments"},
    {"lasting_thread", "setting_parsers"},
    {"failures"},
    {"open_requests", "sampled_trace"},
    {
        "caller_state",
        "lazy",
        "log_text",
        "monotonic",
        "name_resolution",
        "named_as",
        "open_connections",
        "recent_entries",
        "shown",
        "suggest",
        "wrapping_exporter",
    },
]


def imports_within(path: Path) -> set[str]:
    """The files of `tracing/` that one of them imports, lazily or for types too; paths without their ending."""
    found = set()
    for name in set().union(*imports_of(path)):
        parts = name.split(".")[2:] if name.startswith("pytest_langfuse.tracing.") else []
        for length in range(len(parts), 0, -1):
            if FOLDER.joinpath(*parts[:length]).with_suffix(".py").is_file():
                found.add("/".join(parts[:length]))
                break
    return found


FILES = {str(path.relative_to(FOLDER).with_suffix("")): path for path in sorted(FOLDER.rglob("*.py"))}


def layer(name: str) -> int:
    numbers = [number for number, names in enumerate(LAYERS) if name.split("/", maxsplit=1)[0] in names]
    assert len(numbers) == 1, f"add it to LAYERS: {name}"
    return numbers[0]


@for_each(sorted(set(FILES) - {"__init__"}))
def test_arrows_point_down(name):
    upwards = {
        other
        for other in imports_within(FILES[name]) - {name}
        if layer(other) <= layer(name) and ("/" not in name or other.split("/")[0] != name.split("/")[0])
    }
    assert not upwards


def test_no_file_imports_itself_over_others():
    remaining = {name: imports_within(path) - {name} for name, path in FILES.items()}
    while leaves := {name for name, others in remaining.items() if not others}:
        remaining = {name: others - leaves for name, others in remaining.items() if name not in leaves}
    assert not remaining


def test_no_file_name_is_used_twice_and_none_has_an_underscore():
    stems = [path.stem for path in FOLDER.rglob("*.py") if path.stem != "__init__"]
    assert len(stems) == len(set(stems))
    assert not [stem for stem in stems if stem.startswith("_")]


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_every_module_loads_where_no_test_tool_can_be_imported():
    modules = [f"pytest_langfuse.tracing.{path.stem}" for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    done = run(f"""
import importlib, sys
from importlib.machinery import ModuleSpec

class Nothing:
    # Asking whether it is installed is allowed, importing it is not.
    def find_spec(self, name, path=None, target=None):
        if any(name == bad or name.startswith(bad + ".") for bad in {FORBIDDEN!r}):
            return ModuleSpec(name, self)

    def create_module(self, spec):
        raise ImportError("imported " + spec.name)

    exec_module = create_module

sys.meta_path.insert(0, Nothing())
for module in {modules!r}:
    importlib.import_module(module)
import pytest_langfuse.tracing as tracing
for name in tracing.__all__:
    getattr(tracing, name)
client = tracing.init_tracing(public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", handle_signals=False)
with tracing.request_context(user_id="u"):
    tracing.safe_trace(lambda: None)()
tracing.shutdown_tracing(0.1)
""")
    assert done.returncode == 0, done.stderr


def test_importing_it_imports_neither_langfuse_nor_opentelemetry():
    done = run("""
import sys
import pytest_langfuse.tracing
from tests.helpers.for_each import for_each
heavy = [m for m in sys.modules if m.split(".")[0] in {"langfuse", "opentelemetry", "httpx", "pydantic", "pytest"}]
assert not heavy, heavy
pytest_langfuse.tracing.get_tracing_config()
heavy = [m for m in sys.modules if m.split(".")[0] in {"langfuse", "opentelemetry", "httpx", "pydantic", "pytest"}]
assert not heavy, heavy
""")
    assert done.returncode == 0, done.stderr


def test_what_is_exported():
    for name in pytest_langfuse.tracing.__all__:
        assert getattr(pytest_langfuse.tracing, name).__name__ == name
    assert dir(pytest_langfuse.tracing) == sorted(pytest_langfuse.tracing.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'init_trcing'"):
        _ = pytest_langfuse.tracing.init_trcing
