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


MANY = """
    from langfuse import Langfuse
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Counting(SpanExporter):
        calls = 0

        def export(self, spans):
            Counting.calls += 1
            return SpanExportResult.SUCCESS

    langfuse = Langfuse(span_exporter=Counting(), flush_at=2000, flush_interval=3600)

    def test_captured(langfuse_spans):
        langfuse.start_observation(name="captured").end()

    def test_not_captured():
        before = Counting.calls
        for number in range(1900):
            langfuse.start_observation(name=f"free-{number}").end()
        assert Counting.calls == before
"""


def test_many_observations_are_exported_when_the_sdk_exports_them(app: pytest.Pytester) -> None:
    app.makepyfile(MANY)
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)


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


def test_the_outage_of_a_captured_test_takes_no_other_span_with_it(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: RealLangfuse
) -> None:
    """They leave in one batch. An exporter may raise: that of OpenTelemetry 1.35 does when it has waited too long."""
    monkeypatch.setenv("LANGFUSE_FLUSH_INTERVAL", "60")
    app.makepyfile(
        f"""
        import pytest
        from langfuse import Langfuse
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider

        class Raises(OTLPSpanExporter):
            def export(self, spans):
                if "captured" in [span.name for span in spans]:
                    raise TimeoutError
                return super().export(spans)

        clients = {{
            "free-default": Langfuse(tracer_provider=TracerProvider()),
            "free-own": Langfuse(
                public_key="pk-lf-own",
                secret_key="sk-lf-own",
                tracer_provider=TracerProvider(),
                span_exporter=Raises(endpoint="{real.url}/api/public/otel/v1/traces"),
            ),
        }}
        started = {{}}

        def test_not_captured():
            for name, client in clients.items():
                started[name] = client.start_observation(name=name)

        @pytest.mark.langfuse_outage("hang")
        def test_captured():
            for name, client in clients.items():
                client.start_observation(name="captured").end()
                started[name].end()
                client.flush()
        """
    )
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)
    assert real.got("POST /api/public/otel/v1/traces", "free-default")
    assert real.got("POST /api/public/otel/v1/traces", "free-own")
    assert not real.got("captured"), real.requests


def test_prompts_of_a_captured_test_are_gone_after_it(app: pytest.Pytester, real: RealLangfuse) -> None:
    """Those that were cached before are back, for every client; with both in either order."""
    app.makepyfile(
        """
        import pytest
        from langfuse import Langfuse

        clients = [Langfuse(), Langfuse(public_key="pk-lf-other", secret_key="sk-lf-other")]

        def fetched(name, client=clients[0]):
            return client.get_prompt(name, fallback="fallback", max_retries=0).prompt

        def cache(client, name, text):
            from langfuse.api import Prompt_Text
            from langfuse.model import TextPromptClient
            prompt = Prompt_Text(name=name, version=1, prompt=text, config={}, labels=[], tags=[])
            client._resources.prompt_cache.set(name + "-label:production", TextPromptClient(prompt), 3600)

        def test_not_captured():
            for client in clients:
                cache(client, "real", "of the real Langfuse")
                assert fetched("real", client) == "of the real Langfuse"

        @pytest.mark.parametrize("how", ["created", "served"])
        def test_captured(langfuse_api, how):
            assert [fetched("real", client) for client in clients] == ["fallback", "fallback"]
            for client in clients:
                if how == "created":
                    client.create_prompt(name="P", prompt="captured", labels=["production"])
                    client.create_prompt(name="real", prompt="captured", labels=["production"])
                else:
                    langfuse_api.prompt("P", "captured")
                    langfuse_api.prompt("real", "captured")
                assert fetched("P", client) == fetched("real", client) == "captured"
            built_here = Langfuse(public_key="pk-lf-here", secret_key="sk-lf-here")
            assert fetched("P", built_here) == "captured"

        def test_not_captured_again():
            clients.append(Langfuse(public_key="pk-lf-here", secret_key="sk-lf-here"))
            for client in clients:
                assert fetched("P", client) == "fallback"
            for client in clients[:2]:
                assert fetched("real", client) == "of the real Langfuse"
        """
    )
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=4)
    assert len([request for request in real.requests if request.startswith("GET /api/public/v2/prompts/P")]) == 3
    assert not real.got("captured")


@pytest.mark.parametrize("first", ["captured", "not captured"])
def test_a_prompt_that_arrives_late_is_cached_where_it_was_asked_for(
    app: pytest.Pytester, real: RealLangfuse, first: str
) -> None:
    """A thread of the SDK refreshes a prompt, and may take longer than the test."""
    app.makepyfile(
        f"""
        import threading
        import pytest
        from langfuse import Langfuse

        client = Langfuse()
        begun, arrived, done = threading.Event(), threading.Event(), threading.Event()

        def refresh(text):
            def task():
                begun.set()
                arrived.wait(10)
                cache(text)
                done.set()
            client._resources.prompt_cache.add_refresh_prompt_task("P-label:production", task)
            assert begun.wait(10)

        def cache(text):
            from langfuse.api import Prompt_Text
            from langfuse.model import TextPromptClient
            prompt = Prompt_Text(name="P", version=1, prompt=text, config={{}}, labels=[], tags=[])
            client._resources.prompt_cache.set("P-label:production", TextPromptClient(prompt), 3600)

        def fetched():
            return client.get_prompt("P", fallback="fallback", max_retries=0).prompt

        @pytest.fixture
        def capture(request):
            if request.param:
                request.getfixturevalue("langfuse_spans")

        @pytest.mark.parametrize("capture", [{first == "captured"}], indirect=True)
        def test_asks(capture):
            refresh("late")

        def arrives():
            arrived.set()
            assert done.wait(10)
            assert fetched() == "fallback"

        if {first == "captured"}:
            def test_arrives():
                arrives()
        else:
            def test_arrives(langfuse_spans):
                arrives()

        def test_after():
            assert fetched() == ("fallback" if {first == "captured"} else "late")
        """
    )
    app.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=3)
