"""Every example of docs/server-view.md holds."""

from __future__ import annotations

import re

import pytest
from langfuse import get_client

from tests.helpers.paths import DOCS

PAGE = DOCS / "server-view.md"
EXAMPLES = [
    pytest.param(
        block.group(1), PAGE.read_text(encoding="utf-8")[: block.start()].count("\n") + 2, id=f"example-{index}"
    )
    for index, block in enumerate(re.finditer(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize(("code", "line"), EXAMPLES)
def test_example(code, line, langfuse_fresh_client, langfuse_spans):
    # The line breaks put the line of the page into a traceback.
    compiled = compile("\n" * (line - 1) + code, str(PAGE), "exec")
    exec(compiled, {"langfuse": get_client(), "langfuse_spans": langfuse_spans})


def test_there_are_examples():
    assert len(EXAMPLES) > 10
