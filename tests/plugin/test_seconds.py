"""Ini options that are a number of seconds."""

import pytest


@pytest.mark.parametrize("name", ["langfuse_max_block", "langfuse_max_slowdown", "langfuse_outage_timeout"])
@pytest.mark.parametrize("value", ["soon", "-1", "nan", ""])
def test_not_a_number_of_seconds(app: pytest.Pytester, name: str, value: str) -> None:
    app.makeini(f"[pytest]\n{name} = {value}\n")
    result = app.runpytest("--co")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*ini option {name}: {value!r} is not a number of seconds, such as 1.0"])
