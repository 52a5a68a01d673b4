"""With capture on, nothing but loopback is contacted."""

import pytest

# Slow: runs suites against a second server.
pytestmark = pytest.mark.slow

GUARD = """
    import socket
    import pytest

    REAL = socket.socket.connect
    contacted = []


    def guarded(self, address):
        local = ("127.", "::1", "localhost")
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(local):
            contacted.append(address)
            raise OSError(f"contacted {address}")
        return REAL(self, address)


    def resolve(host, *args, **kwargs):
        if host not in ("localhost", "127.0.0.1", "::1"):
            contacted.append(host)
            raise socket.gaierror(f"resolved {host}")
        return RESOLVE(host, *args, **kwargs)


    RESOLVE = socket.getaddrinfo
    socket.socket.connect = guarded
    socket.getaddrinfo = resolve


    @pytest.fixture(autouse=True)
    def nothing_contacted():
        yield
        assert contacted == []


    def pytest_sessionfinish():
        assert contacted == []
"""

SUITE = """
    import asyncio

    from langfuse import Langfuse, get_client
    from langfuse.api import NotFoundError
    import pytest

    hard_coded = Langfuse(public_key="pk-hard", secret_key="sk-hard", base_url="https://langfuse.example")


    def everything(client):
        with client.start_as_current_observation(name="root") as root:
            root.score(name="quality", value=1)
        assert client.auth_check()
        assert client.get_prompt("missing", fallback="fallback").prompt == "fallback"
        with pytest.raises(NotFoundError):
            client.api.prompts.get("missing")
        assert asyncio.run(client.async_api.health.health()).status == "OK"
        client.flush()


    def test_from_the_constructor(langfuse_spans):
        everything(hard_coded)
        assert [o.name for o in langfuse_spans] == ["root"]
        assert [s.name for s in langfuse_spans.scores] == ["quality"]


    def test_from_the_environment(langfuse_fresh_client, langfuse_spans):
        everything(Langfuse())
        assert [o.name for o in langfuse_spans] == ["root"]


    def test_own_httpx_client(langfuse_fresh_client, langfuse_spans):
        import httpx

        with httpx.Client(headers={"x-own": "1"}) as own:
            everything(Langfuse(httpx_client=own))


    def test_the_production_module(langfuse_tracing, langfuse_spans):
        from pytest_langfuse.tracing import shutdown_tracing

        everything(langfuse_tracing(environment="production", sample_rate=1.0))
        assert [o.name for o in langfuse_spans] == ["root"]
        assert shutdown_tracing().exported == 1


    def test_another_backend(langfuse_fresh_client, langfuse_spans):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry import trace

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint="https://collector.example/v1/traces")))
        trace.set_tracer_provider(provider)
        Langfuse(mask=lambda data, **_: data).start_observation(name="x", input="s3cret").end()
        assert len(langfuse_spans) == 1
        with pytest.raises(AssertionError):
            langfuse_spans.assert_not_exported("s3cret")
"""


@pytest.mark.parametrize("arguments", [["--langfuse-capture"], []], ids=["by option", "by fixture"])
def test_nothing_but_loopback(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setenv("LANGFUSE_BASE_URL", "https://cloud.langfuse.example")
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-real")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-real")
    app.makeconftest(GUARD)
    app.makepyfile(SUITE)
    result = app.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=5)
    assert result.ret == 0
    assert "sk-lf-real" not in result.stdout.str()
