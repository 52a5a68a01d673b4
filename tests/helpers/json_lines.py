"""The lines of `--langfuse-json`, each checked against the schema in the wheel."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.helpers.paths import ROOT

SCHEMA = ROOT / "pytest_langfuse" / "report" / "lines.schema.json"


@cache
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def lines_of(path: Path, *kinds: str) -> list[dict[str, Any]]:
    """The lines of a file, or those of some kinds; fails where one is not what the schema says."""
    rows = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    for row in rows:
        validator().validate(row)
    assert [number for number, row in enumerate(rows) if row["kind"] == "run"] == ([0] if rows else [])
    return [row for row in rows if not kinds or row["kind"] in kinds]
