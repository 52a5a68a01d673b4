"""The table of settings is what `TracingConfig` says."""

import importlib.util
from pathlib import Path

from pytest_langfuse.tracing.config import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"


def settings_script():
    spec = importlib.util.spec_from_file_location("settings_page", DOCS / "settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_setting_has_a_row_with_its_variables():
    rows = {line.split("`")[1]: line for line in settings_script().page().splitlines() if line.startswith("| `")}
    assert set(rows) == set(SETTINGS)
    for name, setting in SETTINGS.items():
        assert all(f"`{variable}`" in rows[name] for variable in setting.langfuse)
