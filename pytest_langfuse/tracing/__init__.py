"""Production tracing with Langfuse: one call at start-up, nothing that blocks or breaks the application.

```python
from pytest_langfuse.tracing import init_tracing, request_context, safe_trace

init_tracing(environment="production")
```

Importing this package imports neither langfuse nor OpenTelemetry; the first use of a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_langfuse.tracing.config import ConfigError, TracingConfig, get_tracing_config
    from pytest_langfuse.tracing.context import RequestContext, get_request_context, request_context, run_with_context
    from pytest_langfuse.tracing.decorator import safe_trace
    from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, CircuitOpen
    from pytest_langfuse.tracing.delivery.health import ShutdownReport, TracingHealth
    from pytest_langfuse.tracing.propagation.carry_context import carry_context
    from pytest_langfuse.tracing.propagation.headers import extract_context, inject_headers
    from pytest_langfuse.tracing.propagation.httpx_client import instrument_httpx
    from pytest_langfuse.tracing.propagation.requests_client import instrument_requests
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
    "instrument_httpx",
    "instrument_requests",
    "langfuse_aiohttp_middleware",
    "request_context",
    "run_with_context",
    "safe_trace",
    "shutdown_tracing",
    "tracing_health",
]

_HOMES = {
    "CircuitBreaker": "delivery.breaker",
    "CircuitOpen": "delivery.breaker",
    "ConfigError": "config",
    "LangfuseASGIMiddleware": "web.asgi",
    "LangfuseWSGIMiddleware": "web.wsgi",
    "RequestContext": "context",
    "ShutdownReport": "delivery.health",
    "TracingConfig": "config",
    "TracingHealth": "delivery.health",
    "carry_context": "propagation.carry",
    "extract_context": "propagation.headers",
    "get_langfuse_client": "singleton",
    "get_request_context": "context",
    "get_tracing_config": "config",
    "init_tracing": "singleton",
    "inject_headers": "propagation.headers",
    "instrument_httpx": "propagation.httpx_client",
    "instrument_requests": "propagation.requests_client",
    "langfuse_aiohttp_middleware": "web.aiohttp_server",
    "request_context": "context",
    "run_with_context": "context",
    "safe_trace": "decorator",
    "shutdown_tracing": "singleton",
    "tracing_health": "singleton",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
