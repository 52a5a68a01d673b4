"""The layout of the package: arrows between folders, circles, names. `docs/architecture.md` draws it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.helpers.for_each import for_each
from tests.helpers.paths import DOCS, ROOT

PACKAGE = ROOT / "pytest_langfuse"

#: What each part may import, beside itself and the leaves.
ALLOWED = {
    "wiring": {"report", "process", "outage", "standin", "expect", "rules", "recording", "tracing"},
    "report": {"process", "outage", "expect", "rules", "recording"},
    "process": {"outage", "standin", "expect", "recording"},
    "outage": {"standin", "recording"},
    "standin": {"recording"},
    "expect": {"rules", "recording"},
    "rules": {"recording"},
    "recording": set(),
    "tracing": set(),
    "leaf": set(),
}
#: Modules that import nothing of the package but one another. Every part but `tracing` may use them.
LEAVES = {"arguments", "import_watcher", "options", "output_file", "suggest", "lazy"}
#: The files that may use private names of the SDKs.
GUARDED = {"recording/sdk.py", "tracing/langfuse_internals.py"}
#: Files that use what the package exports.
USE_PUBLIC_NAMES = {"outage/server/langfuse_server.py"}
#: `tracing` stands alone, so it has a twin of each.
TWINS = {"arguments.py", "lazy.py", "suggest.py"}
#: Files that child processes load without the package, so that they import one another by relative names.
LOADED_ALONE = {"recording/network_guard.py": {"calling_code", "known_endpoints"}}
#: Modules of a foreign process, loaded from a folder that is put on its path.
CHILD = PACKAGE / "process" / "child"
SDKS = ("langfuse", "opentelemetry")

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != CHILD)
each_file = for_each(FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


class Contents(NamedTuple):
    """The nodes of a file that the tests below look at."""

    imports: list[ast.Import | ast.ImportFrom]
    #: Classes and texts, by line.
    classes: list[tuple[int, str]]
    texts: list[tuple[int, str]]


@cache
def contents(path: Path) -> Contents:
    found = Contents([], [], [])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.imports.append(node)
        elif isinstance(node, ast.ClassDef):
            found.classes.append((node.lineno, node.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.texts.append((node.lineno, node.value))
    return found


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, wherever in the file, for types included."""
    for node in contents(path).imports:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif node.level:
            alone = LOADED_ALONE.get(path.relative_to(PACKAGE).as_posix(), set())
            assert node.module in alone, f"{path}:{node.lineno}: a relative import"
            yield node.lineno, f"{module_of(path.parent / '__init__.py')}.{node.module}"
        else:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else str(node.module)


def part_of(module: str) -> str:
    """The part of the package that a module belongs to."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] in LEAVES:
        return "leaf"
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "wiring"


@each_file
def test_arrows_point_down(path: Path):
    here = part_of(module_of(path))
    for line, module in imported(path):
        if module.split(".")[0] != "pytest_langfuse":
            continue
        there = part_of(module)
        allowed = there == here or there in ALLOWED[here] or (there == "leaf" and here != "tracing")
        # By a public name, as a user would: the default of what is handed in from above.
        allowed = allowed or (module == "pytest_langfuse" and path.relative_to(PACKAGE).as_posix() in USE_PUBLIC_NAMES)
        assert allowed, f"{path.relative_to(ROOT)}:{line}: {here} must not import {module}"


@each_file
def test_private_names_of_the_sdks_are_in_the_guarded_files(path: Path):
    if path.relative_to(PACKAGE).as_posix() in GUARDED:
        return
    for line, module in imported(path):
        private = any(part.startswith("_") for part in module.split("."))
        assert not (private and module.startswith(SDKS)), f"{path.relative_to(ROOT)}:{line} imports {module}"


def test_no_import_circles():
    """Circles between files; a package's `__init__`, which exports what its own files hold, is passed over."""
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    arrows = {
        module: sorted({name for _, name in imported(path) if name in MODULES and name not in packages} - {module})
        for module, path in MODULES.items()
        if module not in packages
    }
    assert circles(arrows) == []


def circles(arrows: dict[str, list[str]]) -> list[list[str]]:
    """The strongly connected components of more than one member (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in arrows[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            members = [stack.pop()]
            while members[-1] != node:
                members.append(stack.pop())
            if len(members) > 1:
                found.append(sorted(members))

    for node in arrows:
        if node not in index:
            visit(node)
    return found


def test_a_circle_would_be_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}) == [["b", "c"]]


def test_no_class_name_is_used_twice():
    places = defaultdict(list)
    for path in FILES:
        for line, name in contents(path).classes:
            places[name].append(f"{path.relative_to(PACKAGE)}:{line}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_file_name_is_used_twice():
    places = defaultdict(list)
    for path in FILES:
        if path.name not in {"__init__.py", "__main__.py"} | TWINS:
            places[path.name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_files_have_no_underscore():
    assert [path for path in FILES if path.name.startswith("_") and not path.name.startswith("__")] == []


def strings() -> Iterator[tuple[str, str]]:
    """Strings that look like a module or an object of this package, with their places."""
    pattern = re.compile(r"pytest_langfuse(\.\w+)+")
    for path in [*FILES, *sorted(CHILD.glob("*.py"))]:
        for line, text in contents(path).texts:
            if pattern.fullmatch(text):
                yield text, f"{path.relative_to(ROOT)}:{line}"


#: Keys in OpenTelemetry's context, in requests, on functions and of attributes: not modules.
KEYS = {
    f"pytest_langfuse.{name}"
    for name in (
        "carried",
        "filtered_parent_id",
        "hop",
        "permitted",
        "request_context",
        "request_context.entry",
        "requests_hop",
    )
}


def test_module_names_in_strings_exist():
    """A module that moves takes the guards with it which name it in a string."""
    wrong = {place: name for name, place in strings() if name not in KEYS and not exists(name)}
    assert wrong == {}


def exists(name: str) -> bool:
    """Whether `name` is a module of the package, or something that one of its modules defines."""
    if name in MODULES:
        return True
    module, _, attribute = name.rpartition(".")
    return module in MODULES and re.search(rf"\b{attribute}\b", MODULES[module].read_text()) is not None


def test_a_stale_name_would_be_found():
    assert exists("pytest_langfuse.options")
    assert not exists("pytest_langfuse.gone")
    assert not exists("pytest_langfuse.options.gone")


def test_the_documentation_draws_every_part():
    table = (DOCS / "architecture.md").read_text()
    rows = {
        match[1]: set(re.findall(r"`(\w+)/`", match[2]))
        for match in re.finditer(r"^\| `(\w+)/` \| [^|]* \| ([^|]*) \|$", table, flags=re.MULTILINE)
    }
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rows == {part: allowed & folders for part, allowed in ALLOWED.items() if part in folders}


PUBLIC = {"pytest_langfuse", "pytest_langfuse.recording", "pytest_langfuse.tracing", "pytest_langfuse.outage.server"}


def test_pages_show_public_paths_only():
    pages = [ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("examples/**/*.py")]
    found = {
        f"{page.relative_to(ROOT)}: {module}"
        for page in pages
        if "node_modules" not in page.parts and page.name != "architecture.md"
        for module in re.findall(r"\b(?:from|import) (pytest_langfuse[\w.]*)", page.read_text())
        if module not in PUBLIC
    }
    assert found == set()
