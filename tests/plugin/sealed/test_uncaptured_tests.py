"""A test that is not captured sends what it sends without the plugin, whatever runs before and after it."""

import pytest

from tests.plugin.sealed.real_langfuse import RealLangfuse

pytestmark = pytest.mark.slow

SUITE = """
    import atexit

    from langfuse import Langfuse

    langfuse = Langfuse()


    def everything(name, langfuse=langfuse):
        langfuse.start_observation(name=name).end()
        langfuse.create_score(name=name, value=1, trace_id="1" * 32)
        langfuse.get_prompt(name, fallback="fallback", max_retries=0, cache_ttl_seconds=0)
"""

CAPTURED = """

    def test_captured_NUMBER(langfuse_spans):
        everything("captured")
        assert [o.name for o in langfuse_spans] == ["captured"]
"""

NOT_CAPTURED = """

    def test_not_captured_NUMBER():
        everything("free-NUMBER")
        atexit.register(everything, "at-exit-NUMBER")
        built_here = Langfuse(public_key="pk-lf-NUMBER", secret_key="sk-lf-NUMBER")
        everything("own-NUMBER", built_here)
        atexit.register(everything, "own-at-exit-NUMBER", built_here)
"""


@pytest.mark.parametrize("captured", ["nothing", "before, between and after"])
def test_all_of_it_arrives(app: pytest.Pytester, real: RealLangfuse, captured: str) -> None:
    tests = ["free"] if captured == "nothing" else ["free", "captured", "free", "captured"]
    parts = [
        (NOT_CAPTURED if test == "free" else CAPTURED).replace("NUMBER", str(number))
        for number, test in enumerate(tests)
    ]
    app.makepyfile(SUITE + "".join(parts))
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=len(tests))
    for number in range(0, len(tests), 2):
        for name in (f"free-{number}", f"at-exit-{number}", f"own-{number}", f"own-at-exit-{number}"):
            assert real.got("POST /api/public/otel/v1/traces", name), (name, real.requests)
            assert real.got("POST /api/public/scores", name) or real.got("POST /api/public/ingestion", name)
            assert real.got(f"GET /api/public/v2/prompts/{name}")
    assert not real.got("captured"), real.requests


@pytest.mark.parametrize("order", ["traced first", "traced last"])
def test_without_keys_nothing_depends_on_the_order(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: RealLangfuse, order: str
) -> None:
    monkeypatch.delenv("LANGFUSE_PUBLIC_KEY")
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    traced = """
    def test_traced(langfuse_spans):
        get_client().start_observation(name="other").end()
        langfuse.start_observation(name="traced").end()
        assert [o.name for o in langfuse_spans] == ["other", "traced"]
"""
    again = traced.replace("test_traced", "test_traced_again")
    not_traced = """
    def test_not_traced():
        for client in (langfuse, get_client()):
            client.create_score(name="leak", value=1, trace_id="1" * 32)
            with pytest.raises(Exception):
                client.get_prompt("leak", max_retries=0)
            client.flush()
"""
    head = """
    import pytest
    from langfuse import Langfuse, get_client

    langfuse = Langfuse()
"""
    tests = [traced, not_traced, again] if order == "traced first" else [not_traced, traced, again]
    app.makepyfile(head + "".join(tests))
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=3)
    assert real.requests == []


def test_a_batch_that_is_being_collected_when_the_capture_starts(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: RealLangfuse
) -> None:
    """It takes neither the score of the captured test, nor that one and the next test's together."""
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "10")
    app.makepyfile(
        """
        from langfuse import Langfuse

        langfuse = Langfuse()

        def test_captured(langfuse_server):
            langfuse.create_score(name="captured", value=1, trace_id="1" * 32)

        def test_not_captured():
            langfuse.create_score(name="free", value=1, trace_id="1" * 32)
            langfuse.flush()
        """
    )
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)
    assert real.got("free")
    assert not real.got("captured"), real.requests
