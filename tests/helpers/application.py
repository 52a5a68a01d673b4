"""An application under test, written into pytester's folder."""

import pytest

APP = """
from langfuse import Langfuse, get_client, observe, propagate_attributes

langfuse = Langfuse()


@observe(as_type="retriever")
def search(question):
    return ["doc one", "doc two"]


@observe()
def answer(question, model="gpt-4o"):
    with propagate_attributes(user_id="u-1", session_id="s-1"):
        found = search(question)
        client = get_client()
        with client.start_as_current_observation(name="llm", as_type="generation", model=model, input=question) as llm:
            llm.update(output="because", usage_details={"input": 3, "output": 2})
    return "because"
"""


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in CI: no secrets, and nothing of the developer's own settings."""
    import os

    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def app(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A pytester folder with `app.py`; runs get no other plugin than ours and xdist unless they name it."""
    # All that are installed here take three seconds to import, in each process.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_langfuse.plugin,xdist.plugin")
    pytester.makepyfile(app=APP)
    pytester.syspathinsert()
    return pytester
