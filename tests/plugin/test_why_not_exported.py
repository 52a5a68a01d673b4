"""The reason that is given for an observation which was recorded and not exported is what was seen, or "not known"."""

import inspect

import pytest
from langfuse import Langfuse

APP = """
    import unittest.mock

    import pytest
    from langfuse import Langfuse
    try:
        from langfuse._client.span_exporter import LangfuseTransformingSpanExporter
    except ImportError:
        pass
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


    class Noop(SpanExporter):
        def export(self, spans):
            return SpanExportResult.SUCCESS

        def shutdown(self):
            pass


    class Refuses(Noop):
        def export(self, spans):
            return SpanExportResult.FAILURE


    def discard(exporter, spans):
        return SpanExportResult.SUCCESS


    @pytest.fixture
    def observe(langfuse_fresh_client, langfuse_spans):
        def observe(name="it", **settings):
            client = langfuse_fresh_client(
                public_key="pk-lf-1", secret_key="sk-lf-1", tracer_provider=TracerProvider(), **settings
            )
            client.start_observation(name=name).end()
            return client

        return observe


    @pytest.fixture
    def why(langfuse_spans):
        def why():
            assert list(langfuse_spans) == []
            (item,) = langfuse_spans.unexported
            return item.reason, item.detail

        return why
"""


@pytest.fixture(autouse=True)
def _conftest(app: pytest.Pytester) -> None:
    app.makeconftest(APP)


def passes(app: pytest.Pytester, tests: str, **count: int) -> None:
    app.makepyfile(test_it=f"    import conftest\n    import pytest\n{tests}")
    app.runpytest("-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(**count or {"passed": 1})


OTLP = "langfuse._client.span_processor.OTLPSpanExporter"


def test_exporters_that_a_test_puts_in_place_of_langfuse_s(app: pytest.Pytester) -> None:
    passes(
        app,
        f"""
    def test_a_class_of_its_own(observe, langfuse_spans, monkeypatch):
        monkeypatch.setattr("{OTLP}", lambda **_: conftest.Noop())
        observe()
        # It is what the application has configured, and it took the span.
        langfuse_spans.assert_tree("span it")
        langfuse_spans.assert_flushed()

    def test_one_that_refuses(observe, langfuse_spans, monkeypatch):
        monkeypatch.setattr("{OTLP}", lambda **_: conftest.Refuses())
        observe()
        langfuse_spans.assert_tree("span it")
        with pytest.raises(AssertionError, match="`it`: Refuses did not accept it"):
            langfuse_spans.assert_flushed()

    def test_a_mock(observe, why, monkeypatch):
        exporter = conftest.unittest.mock.MagicMock()
        monkeypatch.setattr("{OTLP}", exporter)
        observe().flush()
        assert why() == ("dropped", "it went to a MagicMock in place of an exporter")
        # The mock is still the test's.
        exporter.return_value.export.assert_called_once()

    def test_a_method(observe, why, langfuse_spans, monkeypatch):
        client = observe("before")
        client.flush()
        langfuse_spans.clear()
        monkeypatch.setattr("{OTLP}.export", conftest.discard)
        client.start_observation(name="it").end()
        assert why() == ("dropped", "it went to `conftest.discard` in place of an exporter")
        with pytest.raises(AssertionError, match="`it`: it went to `conftest.discard` in place of an exporter"):
            langfuse_spans.assert_flushed()

    def test_a_method_that_is_a_mock_and_restored(observe, langfuse_spans):
        client = observe("before")
        client.flush()
        with conftest.unittest.mock.patch("{OTLP}.export") as export:
            client.start_observation(name="it").end()
            client.flush()
        export.assert_called_once()
        langfuse_spans.assert_tree("span before")
        (item,) = langfuse_spans.unexported
        if hasattr(conftest, "LangfuseTransformingSpanExporter"):
            assert item.detail == "it went to a MagicMock in place of an exporter"
        else:  # langfuse 4 has nothing in between that we could ask
            assert item.detail == "a span processor took it and no exporter got it, and why is not known"

    def test_the_next_test_is_as_ever(observe, langfuse_spans):
        observe()
        langfuse_spans.assert_tree("span it")
        langfuse_spans.assert_flushed()
    """,
        passed=6,
    )


def test_filters_and_processors(app: pytest.Pytester) -> None:
    passes(
        app,
        """
    from langfuse._client.span_processor import LangfuseSpanProcessor

    def test_a_filter(observe, why):
        observe(should_export_span=lambda span: False)
        assert why() == ("filtered", "should_export_span turned it down")

    def test_a_filter_that_raises(observe, why):
        observe(should_export_span=lambda span: span.no_such_name)
        reason, detail = why()
        assert reason == "filtered"
        assert detail.startswith("should_export_span raised AttributeError: ")

    def test_a_filter_that_raises_for_another_span(observe, langfuse_spans):
        def only_first(span):
            if span.name == "first":
                raise ValueError("no")
            return False

        observe("first", should_export_span=only_first).start_observation(name="second").end()
        assert [(item.observation.name, item.detail) for item in langfuse_spans.unexported] == [
            ("first", "should_export_span raised ValueError: no"),
            ("second", "should_export_span turned it down"),
        ]

    def test_on_end_is_replaced(observe, why, monkeypatch):
        monkeypatch.setattr(LangfuseSpanProcessor, "on_end", lambda self, span: None)
        observe()
        assert why() == (
            "dropped",
            "its Langfuse span processor did not take it: `on_end` is "
            "`test_it.test_on_end_is_replaced.<locals>.<lambda>`",
        )

    def test_a_processor_before_it_raises(observe, why):
        class Raises(conftest.SpanProcessor):
            def on_end(self, span):
                raise ValueError("no")

        provider = conftest.TracerProvider()
        provider.add_span_processor(Raises())
        client = conftest.Langfuse(public_key="pk-lf-2", secret_key="sk-lf-2", tracer_provider=provider)
        with pytest.raises(ValueError, match="no"):
            client.start_observation(name="it").end()
        assert why() == ("dropped", "its Langfuse span processor was not told that it ended, and why is not known")

    """,
        passed=5,
    )


@pytest.mark.skipif(
    "mask_otel_spans" not in inspect.signature(Langfuse.__init__).parameters, reason="langfuse 4 has no such mask"
)
def test_masks(app: pytest.Pytester) -> None:
    passes(
        app,
        """
    def raises(*, params):
        raise ValueError("no")

    def test_that_raises(observe, why):
        observe(mask_otel_spans=raises)
        assert why() == ("dropped", "mask_otel_spans raised ValueError: no")

    def test_whose_result_is_refused(observe, why):
        observe(mask_otel_spans=lambda *, params: "a text")
        assert why() == (
            "dropped",
            "Langfuse refused what mask_otel_spans returned for it (the logger `langfuse` says why)",
        )

    def test_that_masks_nothing(observe, langfuse_spans):
        observe(mask_otel_spans=lambda *, params: None)
        langfuse_spans.assert_tree("span it")
    """,
        passed=3,
    )


@pytest.mark.slow
def test_queues(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    passes(
        app,
        """
    def test_a_processor_that_was_shut_down(observe, langfuse_spans):
        client = observe("before")
        client._resources.tracer_provider.shutdown()
        client.start_observation(name="after").end()
        langfuse_spans.assert_tree("span before")
        (item,) = langfuse_spans.unexported
        assert item.detail == "its span processor had been shut down when it ended"

    @pytest.mark.langfuse_outage("hang", required=False)
    def test_a_queue_that_overflows(observe, langfuse_spans, monkeypatch):
        client = observe("first", flush_interval=1000, flush_at=2)
        batch = client._resources.tracer_provider._active_span_processor._span_processors[0]._batch_processor
        with batch._export_lock:
            for name in ("second", "third"):
                client.start_observation(name=name).end()
            with pytest.raises(AssertionError) as error:
                langfuse_spans.assert_flushed()
        assert list(error.value.differences) == [
            "`first`: the queue of its span processor was full (2 spans)",
            "`second`, `third`: it was still waiting to be sent, behind an export that has not ended",
        ]
    """,
        passed=2,
    )
