"""What is in the wheel, and what it works without."""

from __future__ import annotations

import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

# Slow: builds the wheel.
pytestmark = pytest.mark.slow

TEST = """
from langfuse import observe

@observe()
def answer():
    return "because"

def test_answer(langfuse_spans):
    assert answer() == "because"
    langfuse_spans.assert_tree("span answer  output=because")
"""


def test_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"pytest_langfuse", "pytest_langfuse-0.1.0.dist-info"}
    assert "pytest_langfuse/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    pages = {name for name in names if name.startswith("pytest_langfuse/rules/pages/")}
    assert "pytest_langfuse/rules/pages/LF006.md" in pages
    files = {name for name in names if name.startswith("pytest_langfuse/")}
    licence = "pytest_langfuse/rules/secrets/LICENSE-betterleaks"
    assert licence in files
    assert any(name.endswith(f".dist-info/licenses/{licence}") for name in names)
    assets = {name for name in files if name.startswith("pytest_langfuse/report/page/assets/")}
    assert {"pytest_langfuse/report/page/assets/page.html", "pytest_langfuse/report/page/assets/page.css"} < assets
    assert all(name.endswith((".py", ".typed", ".schema.json")) for name in files - pages - assets - {licence})


def test_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    [info] = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    plain = {requirement.name for requirement in requirements if requirement.marker is None}
    assert plain == {"pytest", "langfuse", "opentelemetry-sdk", "freezegun", "h11", "jinja2", "wcwidth"}
    extras = {"respx", "confluent-kafka", "boto3", "genai-prices"}
    assert {requirement.name for requirement in requirements} - plain == extras
    assert "Framework :: Pytest" in metadata.get_all("Classifier")
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "langfuse = pytest_langfuse.entry_point" in archive.read(f"{info}/entry_points.txt").decode()


def test_the_source_distribution_can_be_built_and_tested(source_distribution):
    with tarfile.open(source_distribution) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py", "uv.lock", ".ci/setup"} <= names


def test_the_plugin_is_found_by_its_entry_point(clean_environment, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text(TEST)
    done = clean_environment.pytest("-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_every_module_can_be_imported_without_development_tools(clean_environment, wheel, tmp_path: Path):
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith(".py") and not name.endswith("langfuse_router.py")  # that one is the extra
    ]
    assert {"pytest_langfuse.plugin", "pytest_langfuse.tracing.singleton"} < set(modules)
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    done = clean_environment.python("-W", "error", "-c", code, *modules, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_langfuse_api_says_which_extra_it_needs(clean_environment, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text("def test_it(langfuse_api): pass\n")
    done = clean_environment.pytest("-q", cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'pytest-langfuse[respx]'" in done.stdout
    assert "ModuleNotFoundError" not in done.stdout


def test_langfuse_api_works_with_the_extra(clean_environment_with_respx, tmp_path: Path):
    tmp_path.joinpath("test_it.py").write_text(
        "from langfuse import get_client\n"
        "def test_it(langfuse_api):\n"
        "    langfuse_api.prompt('greeting', 'Hello {{name}}')\n"
        "    assert get_client().get_prompt('greeting').compile(name='Ada') == 'Hello Ada'\n"
    )
    done = clean_environment_with_respx.pytest("-q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
