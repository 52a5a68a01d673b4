"""Whatever a captured test makes stays on this side of the real Langfuse, until the process is gone."""

from itertools import cycle, product

import pytest

from tests.helpers.tiers import only
from tests.plugin.sealed.cases import ALONE, BY_FIXTURE, CASES, CLIENTS, CONTROL, application, files, production
from tests.plugin.sealed.real_langfuse import RealLangfuse

MODES = {"by fixture": [], "by option": ["--langfuse-capture"]}
ALL = list(product(CLIENTS, MODES))
#: Each client and each mode once.
each_client_and_mode = pytest.mark.parametrize(("client", "mode"), only(ALL[::3], ALL, several=True))

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: RealLangfuse, client: str) -> pytest.Pytester:
    """A folder with the application, whose client finds the real Langfuse in the environment or in its code."""
    monkeypatch.setenv("REAL_URL", real.url)
    monkeypatch.setenv("LANGFUSE_OTEL_HOST", real.url)
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_langfuse.plugin,pytest_bdd.plugin")
    if client == "url in code":
        monkeypatch.setenv("LANGFUSE_BASE_URL", "http://127.0.0.1:9")
    app.makepyfile(sealed_app=application(client))
    return app


@each_client_and_mode
def test_nothing_reaches_langfuse(folder: pytest.Pytester, real: RealLangfuse, mode: str) -> None:
    """All cases in one process."""
    names = [*CASES, *(ALONE if mode == "by option" else BY_FIXTURE)]
    folder.makepyfile(**files(names), test_control=CONTROL)
    result = folder.runpytest_subprocess("-p", "no:randomly", *MODES[mode])
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "warning", "warnings"}
    assert outcomes["passed"] > len(names)
    assert [request for request in real.requests if "control" not in request] == []
    assert real.got("control") == (mode == "by fixture")


@pytest.mark.parametrize(("client", "case"), only(zip(cycle(CLIENTS), ALONE), product(CLIENTS, ALONE), several=True))
def test_the_first_that_asks_for_capture(
    folder: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: RealLangfuse, case: str
) -> None:
    # What the SDK sends before the capture has started is gone, and that takes a moment.
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "60")
    folder.makepyfile(**files([case]))
    folder.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)
    assert real.requests == []


@each_client_and_mode
def test_the_production_module(folder: pytest.Pytester, real: RealLangfuse, client: str, mode: str) -> None:
    folder.makepyfile(production(client))
    folder.runpytest_subprocess("-p", "no:randomly", *MODES[mode]).assert_outcomes(passed=2)
    assert [request for request in real.requests if "control" not in request] == []
    assert real.got("/traces", "control") == (mode == "by fixture")
