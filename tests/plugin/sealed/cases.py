"""What a captured test may make for Langfuse: one test each, that sends, queues or leaves something called `LEAK`."""

from collections.abc import Iterable

#: The application: what the cases share.
APP = """
    import asyncio, atexit, logging, os, threading, time
    from concurrent.futures import ThreadPoolExecutor

    import pytest
    from langfuse import Langfuse, get_client, observe
    from langfuse.media import LangfuseMedia
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    URL = os.environ["REAL_URL"]
    langfuse = Langfuse(CLIENT)

    def to_langfuse(url=URL):
        return OTLPSpanExporter(endpoint=url + "/api/public/otel/v1/traces", headers={"Authorization": "Basic x"})

    def to_collector():
        return OTLPSpanExporter(endpoint=URL + "/v1/traces")

    def own_provider(exporter):
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return provider

    def in_both_tests(**values):
        threading.main_thread().__dict__.update(values)

    def from_the_test_before():
        return threading.main_thread()

    at_import = own_provider(to_langfuse())
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = URL + "/api/public/otel"
    from_environment = own_provider(OTLPSpanExporter())
    del os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
"""

CASES = {
    "score": """
    def test_case(langfuse_spans):
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
""",
    "score_in_outage": """
    @pytest.mark.langfuse_outage("http_503", required=False)
    def test_case():
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
""",
    "score_in_outage_block": """
    def test_case(langfuse_outage):
        with langfuse_outage("http_503", required=False):
            langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
""",
    "score_with_server": """
    def test_case(langfuse_server):
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
""",
    "span_with_clock": """
    def test_case(langfuse_clock):
        langfuse.start_observation(name="LEAK").end()
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
""",
    "media_with_server": """
    def test_case(langfuse_server):
        media = LangfuseMedia(content_bytes=b"LEAK", content_type="image/png")
        langfuse.start_observation(name="LEAK", input={"picture": media}).end()
""",
    "span_without_flush": """
    def test_case(langfuse_spans):
        langfuse.start_observation(name="LEAK").end()
""",
    "span_that_ends_at_exit": """
    def test_case(langfuse_spans):
        span = langfuse.start_observation(name="LEAK")
        atexit.register(span.end)
""",
    "own_provider": """
    def test_case(langfuse_spans):
        own_provider(to_langfuse()).get_tracer("app").start_span("LEAK").end()
        assert [o.name for o in langfuse_spans] == ["LEAK"]
""",
    "provider_at_import": """
    def test_case(langfuse_spans):
        at_import.get_tracer("app").start_span("LEAK").end()
        assert [o.name for o in langfuse_spans] == ["LEAK"]
""",
    "provider_from_environment": """
    def test_case(langfuse_server):
        from_environment.get_tracer("app").start_span("LEAK").end()
        from_environment.force_flush()
        assert [o.name for o in langfuse_server.spans] == ["LEAK"]
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
    def test_case(langfuse_spans):
        langfuse._resources.tracer_provider.add_span_processor(BatchSpanProcessor(to_collector()))
        langfuse.start_observation(name="LEAK").end()
""",
    "client_in_a_thread": """
    def test_case(langfuse_spans):
        def work():
            client = Langfuse(public_key="pk-thread", secret_key="sk-thread", base_url=URL)
            client.start_observation(name="LEAK").end()
            client.create_score(name="LEAK", value=1, trace_id="1" * 32)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
""",
    "thread_that_outlives_the_test": """
    def test_case(langfuse_spans, over=threading.Event()):
        def work():
            over.wait(20)
            langfuse.start_observation(name="LEAK").end()
            langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
            langfuse.get_prompt("LEAK", fallback="fallback", max_retries=0)
            langfuse.flush()
        thread = threading.Thread(target=work)
        thread.start()
        atexit.register(thread.join)
        in_both_tests(release=over.set)

    def test_after():
        from_the_test_before().release()
""",
    "timer": """
    def test_case(langfuse_spans):
        timer = threading.Timer(0.5, lambda: langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32))
        timer.start()
""",
    "work_of_a_pool": """
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()

    def test_case(langfuse_spans, over=threading.Event()):
        def work():
            over.wait(20)
            langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
        pool.submit(work)
        in_both_tests(release=over.set)

    def test_after():
        from_the_test_before().release()
        pool.shutdown()
""",
    "atexit_handler": """
    def test_case(langfuse_spans):
        def at_exit():
            langfuse.start_observation(name="LEAK").end()
            langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
            langfuse.get_prompt("LEAK", fallback="fallback", max_retries=0)
            langfuse.flush()
        atexit.register(at_exit)
""",
    "prompt_refresh": """
    def test_case(langfuse_spans):
        langfuse.create_prompt(name="LEAK", prompt="text", labels=["production"])
        langfuse.get_prompt("LEAK", cache_ttl_seconds=0)
        time.sleep(1.1)
        langfuse.get_prompt("LEAK", cache_ttl_seconds=0)
""",
    "child_of_an_observation_that_goes_on": """
    def test_case(langfuse_spans):
        in_both_tests(span=langfuse.start_observation(name="LEAK"))

    def test_after():
        child = from_the_test_before().span.start_observation(name="LEAK")
        child.end()
        from_the_test_before().span.end()
""",
    "own_httpx_client": """
    def test_case(langfuse_spans):
        import httpx
        client = Langfuse(public_key="pk-own", secret_key="sk-own", base_url=URL, httpx_client=httpx.Client())
        client.create_score(name="LEAK", value=1, trace_id="1" * 32)
        client.get_prompt("LEAK", fallback="fallback", max_retries=0)
""",
    "same_ids_again": """
    import random

    @pytest.mark.parametrize("attempt", [1, 2])
    def test_case(langfuse_spans, attempt):
        random.seed(10)
        span = langfuse.start_observation(name="LEAK")
        if attempt == 2:
            span.end()
""",
    "httpx2": """
    httpx2 = pytest.importorskip("httpx2")

    def test_case(langfuse_spans):
        from langfuse.api import AsyncLangfuseAPI, LangfuseAPI
        client = Langfuse(public_key="pk-2", secret_key="sk-2", base_url=URL, httpx_client=httpx2.Client())
        client.start_observation(name="LEAK").end()
        client.create_score(name="LEAK", value=1, trace_id="1" * 32)
        assert client.auth_check()
        assert client.get_prompt("LEAK", fallback="fallback", max_retries=0).prompt == "fallback"
        keys = {"base_url": URL, "username": "pk", "password": "sk"}
        assert LangfuseAPI(**keys, httpx_client=httpx2.Client()).health.health().status == "OK"
        api = AsyncLangfuseAPI(**keys, httpx_client=httpx2.AsyncClient())
        assert asyncio.run(api.health.health()).status == "OK"
""",
    "otel_host": """
    def test_case(langfuse_server):
        provider = own_provider(to_langfuse(os.environ["LANGFUSE_OTEL_HOST"]))
        provider.get_tracer("app").start_span("LEAK").end()
        provider.force_flush()
        assert [o.name for o in langfuse_server.spans] == ["LEAK"]
""",
    "metrics_and_logs": """
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    def log_to(provider):
        try:
            return provider.get_logger("app").emit(body="LEAK")
        except TypeError:
            from opentelemetry.sdk._logs import LogRecord
            return provider.get_logger("app").emit(LogRecord(body="LEAK"))

    def test_case(langfuse_spans):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=URL + "/v1/metrics"))
        meters = MeterProvider(metric_readers=[reader])
        meters.get_meter("app").create_counter("LEAK").add(1)
        meters.force_flush()
        logs = LoggerProvider()
        logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=URL + "/v1/logs")))
        log_to(logs)
        logs.force_flush()
        log_to(logs)
        meters.get_meter("app").create_counter("LEAK").add(1)
""",
    "exporters_over_grpc": """
    pytest.importorskip("grpc")
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    def test_case(langfuse_spans):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=URL, timeout=1))
        meters = MeterProvider(metric_readers=[reader])
        meters.get_meter("app").create_counter("LEAK").add(1)
        meters.force_flush()
        spans = own_provider(GrpcSpanExporter(endpoint=URL, timeout=1))
        spans.get_tracer("app").start_span("LEAK").end()
        spans.force_flush()
        logs = LoggerProvider()
        logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=URL, timeout=1)))
        logging.getLogger("opentelemetry").setLevel("ERROR")
        from opentelemetry.sdk._logs import LoggingHandler
        logger = logging.Logger("app")
        logger.addHandler(LoggingHandler(logger_provider=logs))
        logger.error("LEAK")
        logs.force_flush()
""",
}

#: Where nothing else asks for capture, these are the first to do so.
ALONE = {
    "resolved_at_run_time": """
    def test_case(request):
        langfuse.start_observation(name="LEAK").end()
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
        request.getfixturevalue("langfuse_spans")
""",
    "resolved_by_a_fixture": """
    @pytest.fixture
    def traced(request):
        langfuse.start_observation(name="LEAK").end()
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
        return request.getfixturevalue("langfuse_spans")

    def test_case(request):
        spans = request.getfixturevalue("traced")
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
        assert [o.name for o in spans] == ["LEAK"]
""",
    "taken_by_no_thread_yet": """
    def test_case(request):
        resources = langfuse._resources
        queue = getattr(resources, "_score_queue", None) or resources._score_ingestion_queue
        # A thread that waits is not told.
        wake, queue.not_empty.notify = queue.not_empty.notify, lambda: None
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
        request.getfixturevalue("langfuse_spans")
        queue.not_empty.notify = wake
""",
    "steps_of_pytest_bdd": """
    from pathlib import Path

    from pytest_bdd import scenario, then, when

    Path(__file__).with_suffix(".feature").write_text(
        "Feature: Leaks\\n  Scenario: One\\n    When something is sent\\n    Then it is recorded\\n"
    )

    @scenario(Path(__file__).with_suffix(".feature").name, "One")
    def test_case():
        pass

    @when("something is sent")
    def _():
        langfuse.start_observation(name="LEAK").end()
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)

    @then("it is recorded")
    def _(langfuse_spans):
        langfuse.create_score(name="LEAK", value=1, trace_id="1" * 32)
        assert [o.name for o in langfuse_spans] == ["LEAK"]
""",
}

#: The production module is the only client of its process.
PRODUCTION = """
    import os

    from pytest_langfuse.tracing import get_langfuse_client, init_tracing

    init_tracing(environment="production", sample_rate=1.0, ARGUMENTS)


    def test_case(langfuse_spans):
        client = get_langfuse_client()
        with client.start_as_current_observation(name="leak") as span:
            span.score(name="leak", value=1)
        client.get_prompt("leak", fallback="fallback", max_retries=0)
        assert [o.name for o in langfuse_spans] == ["leak"]
        client.start_observation(name="leak").end()
        client.create_score(name="leak", value=1, trace_id="1" * 32)


    def test_free():
        get_langfuse_client().start_observation(name="control").end()
"""

#: Here the second line refuses what a later test sends: with `--langfuse-capture`, that test fails.
BY_FIXTURE = {
    "exporter_of_no_library": """
    import urllib.request

    class Exporter(SpanExporter):
        def export(self, spans):
            for span in spans:
                urllib.request.urlopen(f"{URL}/api/public/otel/v1/traces", data=span.name.encode())
            return SpanExportResult.SUCCESS

    def test_case(langfuse_spans):
        in_both_tests(own=own_provider(Exporter()))
        in_both_tests(span=from_the_test_before().own.get_tracer("app").start_span("LEAK"))

    def test_after():
        from_the_test_before().span.end()
        from_the_test_before().own.force_flush()
""",
}

#: Sends what nobody captures, so that silence is not that of a run in which nothing is sent.
CONTROL = """
    from sealed_app import *

    def test_control():
        langfuse.create_score(name="control", value=1, trace_id="1" * 32)
        langfuse.flush()
"""

CLIENTS = {
    "url in the environment": "",
    "url in code": 'public_key="pk-lf-code", secret_key="sk-lf-code", base_url=URL',
}


def application(client: str) -> str:
    """Return the module `sealed_app`."""
    return APP.replace("CLIENT", CLIENTS[client])


def production(client: str) -> str:
    """Return a test file for the production module."""
    arguments = CLIENTS[client].replace("URL", 'os.environ["REAL_URL"]')
    return PRODUCTION.replace("ARGUMENTS", arguments)


def files(names: Iterable[str]) -> dict[str, str]:
    """Return a test file for each case, by its name; what a case sends is named after it."""
    cases = {**CASES, **ALONE, **BY_FIXTURE}
    return {
        f"test_{name}": "    from sealed_app import *\n" + cases[name].replace("LEAK", f"leak_{name}") for name in names
    }
