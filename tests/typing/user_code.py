"""Code as users write it. Nothing runs it; mypy reads it, and reports a `type: ignore` that is not needed."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, assert_type

import httpx
import requests
from langfuse import Langfuse
from opentelemetry.context import Context

import pytest_langfuse
from pytest_langfuse import LiteralError, Observation, Observations, Trace, TreeMismatch
from pytest_langfuse.recording import decode_otlp
from pytest_langfuse.tracing import (
    RequestContext,
    TracingConfig,
    carry_context,
    extract_context,
    get_langfuse_client,
    get_request_context,
    get_tracing_config,
    init_tracing,
    inject_headers,
    instrument_httpx,
    instrument_requests,
    request_context,
    run_with_context,
    safe_trace,
    shutdown_tracing,
)


def test_assertions(langfuse_spans: Observations, anything: object) -> None:
    langfuse_spans.assert_tree("span answer")
    langfuse_spans.assert_tree("span answer  output=$output", order="any", output=anything)
    langfuse_spans.assert_tree("span answer", order="sideways")  # type: ignore[arg-type]
    langfuse_spans.assert_contains("generation llm")
    langfuse_spans.assert_propagated("user_id", value="u-1")
    langfuse_spans.assert_not_exported("s3cret", "token")
    langfuse_spans.assert_not_exported(1)  # type: ignore[arg-type]
    langfuse_spans.no_such_assertion()  # type: ignore[attr-defined]


def test_selection(langfuse_spans: Observations) -> None:
    assert_type(langfuse_spans[0], Observation)
    assert_type(langfuse_spans[1:], Sequence[Observation])
    assert_type(langfuse_spans.one("generation llm", model="gpt-4o"), Observation)
    assert_type(langfuse_spans.all("generation *"), list[Observation])
    assert_type(langfuse_spans.trace("answer"), Trace)
    assert_type(langfuse_spans.usage, dict[str, float])
    assert_type([observation.name for observation in langfuse_spans], list[str])
    assert_type(langfuse_spans.one().parent, Observation | None)


def test_one_trace_object_everywhere(client: Langfuse, body: bytes) -> None:
    assert_type(Observations.from_otlp(body, encoding="gzip"), Observations)
    assert_type(Observations.from_file("incident.json"), Observations)
    assert_type(Observations.from_api(client, "0" * 32), Observations)
    assert_type(decode_otlp(body), list[Observation])


def test_errors() -> tuple[type[AssertionError], type[ValueError]]:
    return TreeMismatch, LiteralError


def test_a_name_that_is_not_exported() -> None:
    assert pytest_langfuse.Observatoin  # type: ignore[attr-defined]


def test_tracing() -> None:
    assert_type(init_tracing(environment="staging"), Langfuse)
    assert_type(init_tracing(TracingConfig(flush_at=10)), Langfuse)
    assert_type(get_langfuse_client(), Langfuse)
    assert_type(get_tracing_config().sample_rate, float)
    assert_type(shutdown_tracing(timeout=1.0).dropped["queue_full"], int)
    TracingConfig(flushat=10)  # type: ignore[call-arg]
    with request_context(user_id="u-1") as context:
        assert_type(context, RequestContext)
    assert_type(get_request_context().user_id, str | None)


@safe_trace("answer", as_type="generation")
def answer(question: str, *, model: str = "gpt-4o") -> str:
    return f"{model}: {question}"


@safe_trace
async def fetch(question: str) -> bytes:
    return question.encode()


@safe_trace()
async def stream(question: str) -> AsyncIterator[str]:
    yield question


@safe_trace("answer", as_type="genration")  # type: ignore[call-overload, untyped-decorator]
def misspelt() -> None: ...


async def test_decorated_functions_keep_their_types() -> None:
    assert_type(answer("why?", model="gpt-4o-mini"), str)
    assert_type(await fetch("why?"), bytes)
    answer(1)  # type: ignore[arg-type]
    async for piece in stream("why?"):
        assert_type(piece, str)
    assert_type(run_with_context({"user_id": "u-1"}, answer, "why?"), str)


def test_propagation(scope: dict[str, Any]) -> None:
    headers: dict[str, str] = {"accept": "*/*"}
    assert_type(inject_headers(headers, url="http://orders"), dict[str, str])
    assert_type(inject_headers(httpx.Headers(), url=httpx.URL("http://orders")), httpx.Headers)
    inject_headers([("traceparent", "")])  # type: ignore[type-var]
    assert_type(extract_context({"traceparent": "00-…"}), Context)
    assert_type(extract_context(scope["headers"]), Context)
    extract_context(7)  # type: ignore[arg-type]
    with instrument_httpx(), instrument_httpx(httpx.Client()) as handle, instrument_requests(requests.Session()):
        handle.undo()
    instrument_httpx(requests.Session())  # type: ignore[arg-type]
    assert_type(carry_context(answer)("why?"), str)
    carry_context(answer)(1)  # type: ignore[arg-type]
    with carry_context() as context:
        assert_type(context(answer)("why?"), str)


def fixture_values(
    langfuse_fresh_client: Callable[..., Langfuse], langfuse_tracing: Callable[..., Langfuse], **values: Any
) -> Iterator[Langfuse]:
    yield langfuse_fresh_client(environment="staging")
    yield langfuse_tracing(sample_rate=1.0, **values)
