"""docs/test-frameworks.md: its tests pass."""

from __future__ import annotations

import re

import pytest

from tests.helpers.paths import DOCS

PAGE = (DOCS / "test-frameworks.md").read_text()
FILES = dict(re.findall(r"^```(?:python|gherkin)\n# (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
TESTS = [name for name in FILES if name.startswith("test_")]


@pytest.mark.slow
def test_the_tests_pass(pytester: pytest.Pytester) -> None:
    for file, text in FILES.items():
        (pytester.path / file).write_text(text)
    pytester.runpytest_subprocess("-p", "pytest-bdd", *TESTS).assert_outcomes(passed=10)


def test_the_page_has_an_example_for_each() -> None:
    assert TESTS == [
        "test_unittest.py",
        "test_flask.py",
        "test_django.py",
        "test_bdd.py",
        "test_cassette.py",
        "test_openai.py",
    ]
