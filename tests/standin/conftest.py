"""A real Langfuse client over the stand-in, with no socket between them."""

import itertools
from collections.abc import Iterator

import httpx
import pytest
from langfuse import Langfuse
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.recording.http.in_process import HandlerStack, sync_client
from pytest_langfuse.standin.stand_in import StandIn

_numbers = itertools.count()


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def handlers(stand_in: StandIn) -> HandlerStack:
    return HandlerStack(stand_in)


@pytest.fixture
def langfuse(handlers: HandlerStack) -> Iterator[Langfuse]:
    key = f"pk-stand-in-{next(_numbers)}"
    provider = TracerProvider()
    client = Langfuse(
        public_key=key,
        secret_key="sk-stand-in",
        base_url="https://langfuse.invalid",
        httpx_client=sync_client(None, timeout=5, headers=None, handlers=handlers),
        tracer_provider=provider,
    )
    # No span leaves: these tests are about the REST API.
    for processor in provider._active_span_processor._span_processors:
        processor._batch_processor._exporter = _Nowhere()
    yield client
    client.shutdown()
    provider.shutdown()
    manager = LangfuseResourceManager._instances.pop(key)
    manager.prompt_cache._task_manager.shutdown()


class _Nowhere:
    def export(self, spans: object) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


@pytest.fixture
def http(stand_in: StandIn) -> Iterator[httpx.Client]:
    """A plain HTTP client, for what the SDK would never send."""
    with httpx.Client(
        transport=httpx.MockTransport(stand_in), base_url="https://langfuse.invalid/api/public"
    ) as client:
        yield client
