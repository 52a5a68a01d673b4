"""Whatever a captured test makes stays on this side of the real Langfuse, until the process is gone."""

import pytest

from tests.plugin.sealed.cases import CASES, CLIENTS, suite
from tests.plugin.sealed.real_langfuse import RealLangfuse

MODES = {"by fixture": [], "by option": ["--langfuse-capture"]}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        # Each case in one of the modes, in turn; the rest in `make soak` and `make matrix`.
        pytest.param(case, mode, marks=[] if (index + number) % len(MODES) == 0 else pytest.mark.exhaustive)
        for index, case in enumerate(CASES)
        for number, mode in enumerate(MODES)
    ],
)
def test_nothing_reaches_langfuse(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: RealLangfuse, case: str, mode: str
) -> None:
    client = "url in code"
    if list(CASES).index(case) % 2:
        client = "url in the environment"
    assert client in CLIENTS
    monkeypatch.setenv("REAL_URL", real.url)
    if client == "url in code":
        monkeypatch.setenv("LANGFUSE_BASE_URL", "http://127.0.0.1:9")
    app.makepyfile(suite(case, client))
    result = app.runpytest_subprocess("-p", "no:randomly", *MODES[mode])
    outcomes = result.parseoutcomes()
    assert real.requests == []
    assert set(outcomes) <= {"passed", "warning", "warnings"}
