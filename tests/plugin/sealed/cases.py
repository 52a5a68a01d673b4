"""What a captured test may make for Langfuse: one test each, that sends, queues or leaves something."""

HEADER = """
    import asyncio, atexit, os, threading, time
    from concurrent.futures import ThreadPoolExecutor

    import pytest
    from langfuse import Langfuse, get_client, observe
    from langfuse.media import LangfuseMedia
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    URL = os.environ["REAL_URL"]
    langfuse = Langfuse(CLIENT)

    def to_langfuse():
        return OTLPSpanExporter(endpoint=URL + "/api/public/otel/v1/traces", headers={"Authorization": "Basic x"})

    def to_collector():
        return OTLPSpanExporter(endpoint=URL + "/v1/traces")

    def own_provider(exporter):
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return provider

    at_import = own_provider(to_langfuse())
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = URL + "/api/public/otel"
    from_environment = own_provider(OTLPSpanExporter())
    del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
"""

CASES = {
    "score": """
    def test_case(langfuse_spans):
        langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
""",
    "score_in_outage": """
    @pytest.mark.langfuse_outage("http_503", required=False)
    def test_case():
        langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
""",
    "score_in_outage_block": """
    def test_case(langfuse_outage):
        with langfuse_outage("http_503", required=False):
            langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
""",
    "score_with_server": """
    def test_case(langfuse_server):
        langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
""",
    "media_with_server": """
    def test_case(langfuse_server):
        media = LangfuseMedia(content_bytes=b"leak", content_type="image/png")
        langfuse.start_observation(name="leak", input={"picture": media}).end()
""",
    "span_without_flush": """
    def test_case(langfuse_spans):
        langfuse.start_observation(name="leak").end()
""",
    "span_that_ends_at_exit": """
    def test_case(langfuse_spans):
        span = langfuse.start_observation(name="leak")
        atexit.register(span.end)
""",
    "own_provider": """
    def test_case(langfuse_spans):
        own_provider(to_langfuse()).get_tracer("app").start_span("leak").end()
        assert [o.name for o in langfuse_spans] == ["leak"]
""",
    "provider_at_import": """
    def test_case(langfuse_spans):
        at_import.get_tracer("app").start_span("leak").end()
        assert [o.name for o in langfuse_spans] == ["leak"]
""",
    "provider_from_environment": """
    def test_case(langfuse_server):
        from_environment.get_tracer("app").start_span("leak").end()
        from_environment.force_flush()
        assert [o.name for o in langfuse_server.spans] == ["leak"]
""",
    "langfuse_api": """
    def test_case(langfuse_spans):
        from langfuse.api import LangfuseAPI
        api = LangfuseAPI(base_url=URL, username="pk-lf-real", password="sk-lf-real")
        assert api.health.health().status == "OK"
""",
    "async_langfuse_api": """
    def test_case(langfuse_spans):
        from langfuse.api import AsyncLangfuseAPI
        api = AsyncLangfuseAPI(base_url=URL, username="pk-lf-real", password="sk-lf-real")
        assert asyncio.run(api.health.health()).status == "OK"
""",
    "collector_after_the_test": """
    langfuse._resources.tracer_provider.add_span_processor(BatchSpanProcessor(to_collector()))

    def test_case(langfuse_spans):
        langfuse.start_observation(name="leak").end()
""",
    "resolved_at_run_time": """
    def test_case(request):
        langfuse.start_observation(name="leak").end()
        langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
        request.getfixturevalue("langfuse_spans")
""",
    "client_in_a_thread": """
    def test_case(langfuse_spans):
        def work():
            client = Langfuse(public_key="pk-thread", secret_key="sk-thread", base_url=URL)
            client.start_observation(name="leak").end()
            client.create_score(name="leak", value=1, trace_id="1" * 32)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
""",
    "thread_that_outlives_the_test": """
    def test_case(langfuse_spans, over=threading.Event()):
        def work():
            over.wait(20)
            langfuse.start_observation(name="leak").end()
            langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
            langfuse.get_prompt("leak", fallback="fallback", max_retries=0)
            langfuse.flush()
        thread = threading.Thread(target=work)
        thread.start()
        atexit.register(thread.join)
        threading.main_thread().release = over.set

    def test_after():
        threading.main_thread().release()
""",
    "timer": """
    def test_case(langfuse_spans):
        timer = threading.Timer(0.5, lambda: langfuse.create_score(name="leak", value=1, trace_id="1" * 32))
        timer.start()
""",
    "work_of_a_pool": """
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()

    def test_case(langfuse_spans, over=threading.Event()):
        def work():
            over.wait(20)
            langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
        pool.submit(work)
        threading.main_thread().release = over.set

    def test_after():
        threading.main_thread().release()
        pool.shutdown()
""",
    "atexit_handler": """
    def test_case(langfuse_spans):
        def at_exit():
            langfuse.start_observation(name="leak").end()
            langfuse.create_score(name="leak", value=1, trace_id="1" * 32)
            langfuse.get_prompt("leak", fallback="fallback", max_retries=0)
            langfuse.flush()
        atexit.register(at_exit)
""",
    "prompt_refresh": """
    def test_case(langfuse_spans):
        langfuse.create_prompt(name="leak", prompt="text", labels=["production"])
        langfuse.get_prompt("leak", cache_ttl_seconds=0)
        time.sleep(1.1)
        langfuse.get_prompt("leak", cache_ttl_seconds=0)
""",
    "child_of_an_observation_that_goes_on": """
    def test_case(langfuse_spans):
        threading.main_thread().span = langfuse.start_observation(name="leak")

    def test_after():
        child = threading.main_thread().span.start_observation(name="leak")
        child.end()
        threading.main_thread().span.end()
""",
    "own_httpx_client": """
    def test_case(langfuse_spans):
        import httpx
        client = Langfuse(public_key="pk-own", secret_key="sk-own", base_url=URL, httpx_client=httpx.Client())
        client.create_score(name="leak", value=1, trace_id="1" * 32)
        client.get_prompt("leak", fallback="fallback", max_retries=0)
""",
    "same_ids_again": """
    import random

    @pytest.mark.parametrize("attempt", [1, 2])
    def test_case(langfuse_spans, attempt):
        random.seed(10)
        span = langfuse.start_observation(name="leak")
        if attempt == 2:
            span.end()
""",
}

CLIENTS = {
    "url in the environment": "",
    "url in code": 'public_key="pk-lf-code", secret_key="sk-lf-code", base_url=URL',
}


def suite(case: str, client: str = "url in code") -> str:
    """Return a test file with one case."""
    return HEADER.replace("CLIENT", CLIENTS[client]) + CASES[case]
