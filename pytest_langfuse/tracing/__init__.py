"""Production tracing with Langfuse: one call at start-up, nothing that blocks or breaks the application.

```python
from pytest_langfuse.tracing import init_tracing, request_context, safe_trace

init_tracing(environment="production")
```

Importing this package imports neither langfuse nor OpenTelemetry; the first use of a name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.tracing.lazy import lazy_exports

if TYPE_CHECKING:
    from pytest_langfuse.tracing.config import ConfigError, TracingConfig, get_tracing_config
    from pytest_langfuse.tracing.context import RequestContext, get_request_context, request_context, run_with_context
    from pytest_langfuse.tracing.decorator import safe_trace
    from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, CircuitOpen
    from pytest_langfuse.tracing.delivery.health import ShutdownReport, TracingHealth
    from pytest_langfuse.tracing.propagation.aiohttp_client import instrument_aiohttp
    from pytest_langfuse.tracing.propagation.carry_context import carry_context
    from pytest_langfuse.tracing.propagation.headers import extract_context, inject_headers
    from pytest_langfuse.tracing.propagation.httpx_client import instrument_httpx
    from pytest_langfuse.tracing.propagation.requests_client import instrument_requests
    from pytest_langfuse.tracing.sampled_trace import SampledTrace
    from pytest_langfuse.tracing.sampling import SamplingRule
    from pytest_langfuse.tracing.singleton import (
        get_langfuse_client,
        init_tracing,
        shutdown_tracing,
        tracing_health,
    )
    from pytest_langfuse.tracing.web.aiohttp_server import langfuse_aiohttp_middleware
    from pytest_langfuse.tracing.web.asgi import LangfuseASGIMiddleware
    from pytest_langfuse.tracing.web.wsgi import LangfuseWSGIMiddleware

__all__ = [
    "CircuitBreaker",
    "CircuitOpen",
    "ConfigError",
    "LangfuseASGIMiddleware",
    "LangfuseWSGIMiddleware",
    "RequestContext",
    "SampledTrace",
    "SamplingRule",
    "ShutdownReport",
    "TracingConfig",
    "TracingHealth",
    "carry_context",
    "extract_context",
    "get_langfuse_client",
    "get_request_context",
    "get_tracing_config",
    "init_tracing",
    "inject_headers",
    "instrument_aiohttp",
    "instrument_httpx",
    "instrument_requests",
    "langfuse_aiohttp_middleware",
    "request_context",
    "run_with_context",
    "safe_trace",
    "shutdown_tracing",
    "tracing_health",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "config": ("ConfigError", "TracingConfig", "get_tracing_config"),
        "context": ("RequestContext", "get_request_context", "request_context", "run_with_context"),
        "decorator": ("safe_trace",),
        "delivery.breaker": ("CircuitBreaker", "CircuitOpen"),
        "delivery.health": ("ShutdownReport", "TracingHealth"),
        "propagation.aiohttp_client": ("instrument_aiohttp",),
        "propagation.carry_context": ("carry_context",),
        "propagation.headers": ("extract_context", "inject_headers"),
        "propagation.httpx_client": ("instrument_httpx",),
        "propagation.requests_client": ("instrument_requests",),
        "sampled_trace": ("SampledTrace",),
        "sampling": ("SamplingRule",),
        "singleton": ("get_langfuse_client", "init_tracing", "shutdown_tracing", "tracing_health"),
        "web.aiohttp_server": ("langfuse_aiohttp_middleware",),
        "web.asgi": ("LangfuseASGIMiddleware",),
        "web.wsgi": ("LangfuseWSGIMiddleware",),
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
