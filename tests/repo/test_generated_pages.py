"""Pages that come from the code are what the code says, and leave nothing out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest

from pytest_langfuse import plugin
from pytest_langfuse.options import Options
from tests.helpers.paths import DOCS, ROOT

#: It runs pytest.
PICTURE = "failure.svg"


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(DOCS)
        import generate

        yield generate


def headings(page: str, level: int = 2) -> set[str]:
    return set(re.findall(rf"^{'#' * level} (\S+)$", (DOCS / "reference" / page).read_text(), flags=re.MULTILINE))


def test_pages_are_up_to_date(generate: ModuleType):
    written = {name: text() for name, text in generate.WRITTEN.items() if name != PICTURE}
    stale = [name for name, text in written.items() if (DOCS / name).read_text() != text]
    assert stale == [], "run `make docs`"


@pytest.mark.slow
def test_the_picture_is_what_pytest_prints(generate: ModuleType):
    assert (DOCS / PICTURE).read_text() == generate.WRITTEN[PICTURE](), "run `make docs`"


def test_all_pages_of_the_reference_are_generated(generate: ModuleType):
    found = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("reference/*")}
    assert found == {name for name in generate.WRITTEN if name.startswith("reference/")}


def test_fixtures_markers_and_options_are_complete():
    assert headings("fixtures.md") == set(plugin.__all__)
    assert headings("markers.md") == {marker.partition("(")[0] for marker in plugin.MARKERS}
    options = {f"langfuse_{name[len('--langfuse-') :].replace('-', '_')}" for name in headings("options.md", level=3)}
    settings = set(
        re.findall(r"^\| `(langfuse_\w+)` \|", (DOCS / "reference/options.md").read_text(), flags=re.MULTILINE)
    )
    assert options | settings == {
        f"langfuse_{name}" for name in Options._fields if name not in {"junit", "step_summary"}
    }
    assert not options & settings


def test_environment_variables_are_read_by_the_plugin():
    sources = "".join(
        path.read_text() for path in (ROOT / "pytest_langfuse").rglob("*.py") if "tracing" not in path.parts
    )
    variables = re.findall(r"^\| `([A-Z_]+)` \|", (DOCS / "reference/options.md").read_text(), flags=re.MULTILINE)
    assert len(variables) > 2
    # The first is read by the function of the standard library that asks for the size of the terminal.
    assert [name for name in variables if name not in {"COLUMNS", *re.findall(r"\b[A-Z_]+\b", sources)}] == []


@pytest.mark.parametrize(
    "module", [f"pytest_langfuse{part}" for part in ("", ".recording", ".tracing", ".outage.server")]
)
def test_every_public_name_and_method_is_on_its_page(generate: ModuleType, module: str):
    page = generate.public_api.PAGES[module]
    exported = import_module(module)
    assert headings(page) == set(exported.__all__)
    for name in exported.__all__:
        public = getattr(exported, name)
        public = getattr(public, "__origin__", public)
        if f"## {name}\n\nSee [" in (DOCS / "reference" / page).read_text() or not isinstance(public, type):
            continue
        own = [kind for kind in public.__mro__ if _home(kind).startswith("pytest_langfuse")]
        methods = {
            f"{name}.{method}"
            for kind in own
            for method, value in vars(kind).items()
            if not method.startswith("_") and getattr(value, "__doc__", None) and _is_method(value)
        }
        assert methods <= headings(page, level=3), name


def _home(kind: type) -> str:
    return kind.__module__


def _is_method(value: object) -> bool:
    return callable(value) or isinstance(value, classmethod | staticmethod | property) or hasattr(value, "func")


def test_what_raises_says_so():
    """`Raises:` sections come out as lists, with the name of each error as code."""
    page = (DOCS / "reference/pytest_langfuse.md").read_text()
    assert "- `ProcessTimeout`: The process still runs after `timeout` seconds." in page
    assert re.findall(r"^Raises:\n\n(?!- `\w+)", page, flags=re.MULTILINE) == []
