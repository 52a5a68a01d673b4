"""The private names of the SDKs that the harness uses: one sentence for each that a release drops."""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module

import opentelemetry.context
import opentelemetry.trace
import pytest
from langfuse import Langfuse
from langfuse._client import propagation, resource_manager
from langfuse._client import span as langfuse_span
from langfuse._client.resource_manager import LangfuseResourceManager
from langfuse._client.span import LangfuseObservationWrapper
from langfuse._client.span_processor import LangfuseSpanProcessor
from langfuse._utils import prompt_cache
from langfuse.api.core.http_client import AsyncHttpClient, HttpClient
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanContext
from opentelemetry.util._once import Once

from pytest_langfuse.recording.sdk import PROMPT_CACHE, _TransformingExporter, langfuse_get_client


@pytest.fixture(scope="module")
def client() -> Iterator[Langfuse]:
    client = Langfuse(
        public_key="pk-names", secret_key="sk", tracer_provider=TracerProvider(), base_url="http://127.0.0.1:9"
    )
    yield client
    client.shutdown()
    LangfuseResourceManager._instances.pop("pk-names")


def _manager(client: Langfuse) -> LangfuseResourceManager:
    assert client._resources is not None
    return client._resources


NAMES: dict[str, Callable[[Langfuse], object]] = {
    "Langfuse._resources": _manager,
    "Span._limits.max_span_attribute_length": lambda c: hasattr(
        c.start_observation(name="limits")._otel_span._limits, "max_span_attribute_length"
    ),
    "propagation._validate_propagated_value(value=, key=) and ._validate_string_value(value=, key=)": lambda _c: all(
        {"value", "key"} == set(inspect.signature(check).parameters)
        for check in (propagation._validate_propagated_value, propagation._validate_string_value)
    ),
    "span._warn_dropped_attributes, called where the span is `span`": lambda _c: (
        not hasattr(langfuse_span, "_drop_attributes_over_span_limit")
        or (
            "span" in langfuse_span._drop_attributes_over_span_limit.__code__.co_varnames
            and {"max_attributes", "dropped_metadata", "dropped_other"}
            <= set(inspect.signature(langfuse_span._warn_dropped_attributes).parameters)
        )
    ),
    "LangfuseObservationWrapper.__init__ and .update, which have a level and ask whether the span records": lambda _c: (
        all(
            "level" in (code := inspect.unwrap(method).__code__).co_varnames and "is_recording" in code.co_names
            for method in (LangfuseObservationWrapper.__init__, LangfuseObservationWrapper.update)
        )
    ),
    "opentelemetry.trace.use_span, which asks whether the span is recording": lambda _c: (
        "is_recording" in inspect.unwrap(opentelemetry.trace.use_span).__code__.co_names
    ),
    "Tracer.sampler of a rate": lambda _c: (
        TracerProvider(sampler=TraceIdRatioBased(0.25)).get_tracer("x").sampler.get_description()
        == "TraceIdRatioBased{0.25}"
    ),
    "LangfuseObservationWrapper._otel_span and ._observation_type": lambda c: (
        (started := c.start_observation(name="type"))._otel_span and started._observation_type == "span"
    ),
    "LangfuseResourceManager._instances (dict by public key)": lambda c: LangfuseResourceManager._instances["pk-names"],
    "LangfuseResourceManager._initialize_instance(httpx_client=, timeout=, additional_headers=)": lambda _c: (
        {
            "httpx_client",
            "timeout",
            "additional_headers",
        }
        <= set(inspect.signature(LangfuseResourceManager._initialize_instance).parameters)
    ),
    "resource_manager.AsyncLangfuseAPI(httpx_client=)": lambda _c: (
        "httpx_client" in inspect.signature(resource_manager.AsyncLangfuseAPI).parameters
    ),
    "LangfuseResourceManager.base_url": lambda c: _manager(c).base_url,
    "LangfuseResourceManager.mask": lambda c: hasattr(_manager(c), "mask"),
    "get_client._create_client_from_instance": lambda _c: langfuse_get_client._create_client_from_instance,
    "LangfuseSpanProcessor.public_key": lambda c: _processor(c).public_key,
    "LangfuseResourceManager.flush and .shutdown": lambda c: _manager(c).flush and _manager(c).shutdown,
    "Langfuse._fetch_prompt_and_update_cache": lambda c: c._fetch_prompt_and_update_cache,
    "LangfuseResourceManager.tracer_provider": lambda c: _manager(c).tracer_provider,
    "LangfuseResourceManager.httpx_client": lambda c: _manager(c).httpx_client,
    "LangfuseResourceManager.async_api._client_wrapper.httpx_client.httpx_client": lambda c: (
        _manager(c).async_api._client_wrapper.httpx_client.httpx_client
    ),
    "BatchSpanProcessor._batch_processor._max_queue_size": lambda c: _processor(c)._batch_processor._max_queue_size,
    "BatchSpanProcessor._batch_processor._export_lock": lambda c: _processor(c)._batch_processor._export_lock,
    "LangfuseTransformingSpanExporter._mask_otel_spans and ._exporter": lambda c: (
        _TransformingExporter is None
        or (hasattr(exporter := _processor(c).span_exporter, "_mask_otel_spans") and exporter._exporter)
    ),
    "Span._span_processor": lambda _c: TracerProvider().get_tracer("x").start_span("x")._span_processor,
    "a score queue of LangfuseResourceManager": lambda c: any(
        hasattr(_manager(c), name) for name in ("_score_queue", "_score_ingestion_queue")
    ),
    "a score consumer of LangfuseResourceManager": lambda c: any(
        getattr(_manager(c), name, None) for name in ("_score_consumers", "_ingestion_consumers")
    ),
    "LangfuseResourceManager._media_upload_queue": lambda c: hasattr(_manager(c), "_media_upload_queue"),
    "LangfuseResourceManager._media_upload_consumers": lambda c: hasattr(_manager(c), "_media_upload_consumers"),
    "PromptCache._task_manager.shutdown": lambda c: _manager(c).prompt_cache._task_manager.shutdown,
    "langfuse._utils.prompt_cache with a datetime of its own": lambda c: (
        type(_manager(c).prompt_cache).__module__ == PROMPT_CACHE and import_module(PROMPT_CACHE).datetime
    ),
    "PromptCache._task_manager._queue": lambda c: hasattr(_manager(c).prompt_cache._task_manager, "_queue"),
    "resource_manager.Queue and prompt_cache.Queue": lambda _c: resource_manager.Queue and prompt_cache.Queue,
    "a consumer of scores with a method upload": lambda c: all(
        callable(consumer.upload)
        for name in ("_score_consumers", "_ingestion_consumers")
        for consumer in getattr(_manager(c), name, ())
    ),
    "HttpClient.httpx_client, .get_base_url and .request": lambda c: (
        (http := _manager(c).api._client_wrapper.httpx_client)
        and isinstance(http, HttpClient)
        and (http.httpx_client, http.get_base_url(None), http.request)
    ),
    "AsyncHttpClient.request": lambda _c: AsyncHttpClient.request,
    "OTLPSpanExporter._endpoint": lambda _c: OTLPSpanExporter()._endpoint,
    "OTLPSpanExporter._compression": lambda _c: OTLPSpanExporter()._compression.value,
    "BatchSpanProcessor._batch_processor._queue": lambda c: hasattr(_processor(c)._batch_processor, "_queue"),
    "SpanContext.__dict__": lambda _c: hasattr(SpanContext(1, 1, is_remote=False), "__dict__"),
    "TracerProvider._active_span_processor._span_processors": lambda c: (
        _manager(c).tracer_provider._active_span_processor._span_processors
    ),  # type: ignore[union-attr]
    "LangfuseSpanProcessor._should_export_span": lambda c: _processor(c)._should_export_span,
    "LangfuseSpanProcessor._is_langfuse_project_span": lambda c: _processor(c)._is_langfuse_project_span,
    "BatchSpanProcessor.span_exporter": lambda c: _processor(c).span_exporter,
    "BatchSpanProcessor._batch_processor._shutdown": lambda c: hasattr(_processor(c)._batch_processor, "_shutdown"),
    "LangfuseSpanProcessor is a BatchSpanProcessor": lambda _c: issubclass(LangfuseSpanProcessor, BatchSpanProcessor),
    "opentelemetry.trace._TRACER_PROVIDER": lambda _c: hasattr(opentelemetry.trace, "_TRACER_PROVIDER"),
    "opentelemetry.trace._TRACER_PROVIDER_SET_ONCE._done": lambda _c: hasattr(
        opentelemetry.trace._TRACER_PROVIDER_SET_ONCE, "_done"
    ),
    "opentelemetry.util._once.Once": lambda _c: Once(),
    "opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY": lambda _c: (
        opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY
    ),
}


def _processor(client: Langfuse) -> LangfuseSpanProcessor:
    provider = _manager(client).tracer_provider
    assert provider is not None
    return next(
        processor
        for processor in provider._active_span_processor._span_processors
        if isinstance(processor, LangfuseSpanProcessor)
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_sdk_still_has(name: str, client: Langfuse) -> None:
    try:
        found = NAMES[name](client)
    except (AttributeError, KeyError, StopIteration, AssertionError):
        found = None
    assert found, f"the installed SDK has no {name} any more: pytest_langfuse/recording/sdk.py relies on it"
