"""The failure of a test that captured nothing: it says what is known of why, and nothing that is not."""

import opentelemetry.trace as otel_trace
import pytest
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.util._once import Once

ASSERTS = """
    def test_answer(langfuse_spans):
        langfuse_spans.assert_tree("span answer")
"""
MODES = pytest.mark.parametrize("mode", [[], ["--langfuse-capture"]], ids=["by fixture", "by option"])


def why(app: pytest.Pytester, *arguments: str, files: str = ASSERTS) -> str:
    """The reasons in the failure of the last test, each in one line."""
    app.makepyfile(test_it=files)
    result = run(app, *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    lines = [line.removeprefix("E").strip() for line in result.outlines if line.startswith("E  ")]
    return " ".join(lines).rpartition("Nothing was captured: ")[2]


def run(app: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest as in a fresh process, which has no client."""
    LangfuseResourceManager._instances.clear()
    return app.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


NO_KEYS = (
    "The environment has no keys (LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY). For an application that traces only "
    "where it finds them, set `langfuse_env_keys = true` in pytest's ini file."
)


def test_without_keys_it_names_the_ini_option(app: pytest.Pytester) -> None:
    traced_with_keys_only = """
        import os
        from app import answer

        def test_answer(langfuse_spans):
            if os.environ.get("LANGFUSE_PUBLIC_KEY"):
                answer("why?")
            langfuse_spans.one("span answer")
    """
    assert why(app, files=traced_with_keys_only) == f"No observation started in this test. {NO_KEYS}"
    app.makeini("[pytest]\nlangfuse_env_keys = true\n")
    run(app).assert_outcomes(passed=1)


@pytest.mark.usefixtures("_keys")
def test_with_keys_and_nothing_else_it_asks_whether_the_code_was_called(app: pytest.Pytester) -> None:
    assert why(app) == "No observation started in this test. Was the instrumented code called?"


def test_one_key_of_two(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    called = (
        "from app import answer\ndef test_answer(langfuse_spans):\n    answer('why?')\n    langfuse_spans.traces[0]"
    )
    called = called.replace("traces[0]", "assert_propagated('user_id')")
    assert why(app, files=called) == (
        "No observation started in this test. "
        "The environment lacks one of the two keys, LANGFUSE_SECRET_KEY: then a client makes nothing."
    )


@pytest.fixture
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-1")


CALLED = """
    import app

    def test_answer(langfuse_spans):
        app.answer("why?")
        langfuse_spans.assert_single_trace()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("_keys")
@MODES
def test_tracing_that_is_switched_off(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: list[str]) -> None:
    monkeypatch.setenv("LANGFUSE_TRACING_ENABLED", "False")
    assert why(app, *mode, files=CALLED) == (
        "No observation started in this test. Tracing is switched off: LANGFUSE_TRACING_ENABLED is 'False'."
    )
    # The SDK takes nothing but "false" for off.
    monkeypatch.setenv("LANGFUSE_TRACING_ENABLED", "0")
    run(app, *mode).assert_outcomes(passed=1)
    assert "switched off" not in why(app, *mode)


@pytest.mark.usefixtures("_keys")
def test_tracing_that_is_switched_off_in_code(app: pytest.Pytester) -> None:
    source = app.path.joinpath("app.py").read_text().replace("= Langfuse()", "= Langfuse(tracing_enabled=False)")
    app.makepyfile(app=source)
    assert why(app, "--langfuse-capture", files=CALLED) == (
        "No observation started in this test. Tracing is switched off in the client pk-lf-1: it was built with "
        "tracing_enabled=False, or while LANGFUSE_TRACING_ENABLED was 'false'."
    )


@pytest.mark.usefixtures("_keys")
def test_opentelemetry_that_is_switched_off(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # OpenTelemetry reads it when a provider is built.
    monkeypatch.setattr(otel_trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(otel_trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert why(app, "--langfuse-capture", files=CALLED) == (
        "No observation started in this test. OpenTelemetry is switched off: OTEL_SDK_DISABLED is 'true'."
    )


@pytest.mark.usefixtures("_keys")
@MODES
def test_several_clients(app: pytest.Pytester, mode: list[str]) -> None:
    several = """
        import pytest
        from app import search
        from langfuse import Langfuse

        @pytest.fixture(autouse=True)
        def clients(langfuse_spans):
            Langfuse()
            Langfuse(public_key="pk-lf-2", secret_key="sk-lf-2")

        def test_search_with_a_key(langfuse_spans):
            search("why?", langfuse_public_key="pk-lf-2")
            langfuse_spans.one("retriever search")

        def test_search(langfuse_spans):
            search("why?")
            langfuse_spans.assert_single_trace()
    """
    assert why(app, *mode, files=several) == (
        "No observation started in this test. There are 2 Langfuse clients (pk-lf-1, pk-lf-2): then get_client() "
        "without a public key returns one that makes nothing, and @observe uses that. Pass public_key=, or "
        "langfuse_public_key= to the observed function."
    )
    run(app, *mode).assert_outcomes(passed=1, failed=1)


FIXTURE = """
    import pytest
    from app import answer, search

    @pytest.fixture(scope="module")
    def run():
        answer("why?")

    def test_first(run{first}):
        pass

    def test_second(run, langfuse_spans):
        search("something else")
        langfuse_spans.clear()

    def test_third(run, langfuse_spans):
        langfuse_spans.assert_tree("span answer\\n  ...")
"""


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize("first", ["", ", langfuse_spans"], ids=["first is not captured", "first is captured"])
@MODES
def test_a_module_fixture_that_made_it_in_another_test(app: pytest.Pytester, mode: list[str], first: str) -> None:
    assert why(app, *mode, files=FIXTURE.format(first=first)) == (
        "No observation started in this test. `answer`, `search` and `llm` were made by the module fixture `run`, "
        "which was set up in test_it.py::test_first: they belong to that test. Assert there, or give the fixture the "
        "scope 'function'."
    )


TWICE = """
def test_1(langfuse_spans):
    langfuse_spans.one("retriever search")

def test_2(langfuse_spans):
    langfuse_spans.one("retriever search")
"""
OF_MODULE = f"""
from app import search

def setup_module():
    search("why?")
{TWICE}
"""
OF_SESSION = f"""
import pytest
from app import search

@pytest.fixture(scope="session", autouse=True)
def everything():
    search("why?")
{TWICE}
"""
OF_CLASS = """
from app import search

class TestIt:
    @classmethod
    def setup_class(cls):
        search("why?")

    def test_1(self, langfuse_spans):
        langfuse_spans.one("retriever search")

    def test_2(self, langfuse_spans):
        langfuse_spans.one("retriever search")
"""
OF_TEST_CASE = """
import unittest
import pytest
from app import search

class TestIt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        search("why?")

    @pytest.fixture(autouse=True)
    def spans(self, langfuse_spans):
        self.found = langfuse_spans

    def test_1(self):
        self.found.one("retriever search")

    def test_2(self):
        self.found.one("retriever search")
"""


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(
    ("files", "scope", "name", "first"),
    [
        (OF_MODULE, "module", "setup_module", "test_1"),
        (OF_SESSION, "session", "everything", "test_1"),
        (OF_CLASS, "class", "setup_class", "TestIt::test_1"),
        (OF_TEST_CASE, "class", "setUpClass", "TestIt::test_1"),
    ],
    ids=["setup_module", "session", "setup_class", "setUpClass"],
)
def test_other_set_up_code(app: pytest.Pytester, files: str, scope: str, name: str, first: str) -> None:
    assert why(app, files=files) == (
        f"No observation started in this test. `search` was made by the {scope} fixture `{name}`, which was set up in "
        f"test_it.py::{first}: it belongs to that test. Assert there, or give the fixture the scope 'function'."
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_keys")
def test_a_fixture_that_is_torn_down_is_not_named(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_a="""
        import pytest
        from app import search

        @pytest.fixture(scope="module")
        def run():
            search("why?")

        def test_first(run, langfuse_spans):
            pass
        """
    )
    assert (
        why(app, "test_a.py", "test_it.py") == "No observation started in this test. Was the instrumented code called?"
    )


@pytest.mark.usefixtures("_keys")
def test_a_result_that_an_earlier_test_keeps(app: pytest.Pytester) -> None:
    cached = """
        import functools
        from app import search

        cached = functools.cache(search)

        def test_first(langfuse_spans):
            cached("why?")

        def test_second(langfuse_spans):
            cached("why?")
            langfuse_spans.wait_for("retriever search", timeout=0)
    """
    assert why(app, files=cached) == (
        "No observation started in this test. `search` was made in test_it.py::test_first: is a result kept there?"
    )


@pytest.mark.usefixtures("_keys")
def test_what_was_cleared(app: pytest.Pytester) -> None:
    cleared = """
        from app import search

        def test_it(langfuse_spans):
            search("why?")
            langfuse_spans.clear()
            assert langfuse_spans == "retriever search"
    """
    assert why(app, "-vv", files=cleared) == "What was made before clear() is forgotten: `search`."


def test_what_is_not_exported_is_said_instead(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import langfuse

        def test_it(langfuse_spans):
            langfuse.start_observation(name="open")
            langfuse_spans.assert_propagated("user_id")
    """)
    result = run(app, "--langfuse-capture")
    result.stdout.fnmatch_lines(
        [
            "E *Nothing was exported.",
            "E*",
            "E *Not exported:",
            "E *`open` was recorded but not exported: it never ended",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*Nothing was captured*")


def test_a_process_that_sent_nothing(app: pytest.Pytester) -> None:
    process = """
        def test_it(langfuse_process):
            process = langfuse_process.start("-c", "pass")
            process.wait()
            process.spans.one("span answer")
    """
    assert why(app, files=process) == "No observation has arrived from `python -c pass`, which exited with status 0."
