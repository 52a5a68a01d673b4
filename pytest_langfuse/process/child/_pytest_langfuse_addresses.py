"""Redirection to the stand-in of clients and exporters that were given another address."""

from __future__ import annotations

import functools
import os
from typing import Any
from urllib.parse import urlsplit

_DEFAULT = "https://cloud.langfuse.com"
#: Nothing listens here: an exporter over gRPC can't speak to the stand-in.
_NOWHERE = "http://127.0.0.1:9"
_CLIENT, _EXPORTER = "a Langfuse client's base URL", "an OTLP exporter's endpoint"
#: Addresses that the application gave and that were replaced, each with what it belongs to.
redirected: dict[str, str] = {}


def _origin(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None


def _is_allowed(address: str, url: str) -> bool:
    """Return whether `address` is the stand-in's, or one of this machine that the test gave to this process."""
    allowed = {_origin(text) for text in (url, *os.environ.get("PYTEST_LANGFUSE_GIVEN", "").split())}
    return _origin(address) in allowed


def readdress_client(module: Any, url: str) -> None:
    """Make clients of `langfuse` send to `url` what they would send elsewhere."""
    original = module.Langfuse.__init__
    known: dict[str, bool] = {}

    @functools.wraps(original)
    def init(client: Any, *args: Any, **kwargs: Any) -> None:
        # As in `Langfuse.__init__` (langfuse/_client/client.py, 4.5.0 and 5.0.4). Each `@observe` call gets here.
        address = (
            kwargs.get("base_url")
            or os.environ.get("LANGFUSE_BASE_URL")
            or kwargs.get("host")
            or os.environ.get("LANGFUSE_HOST", _DEFAULT)
        )
        allowed = known.get(address)
        if allowed is None:
            allowed = known[address] = _is_allowed(address, url)
        if not allowed:
            redirected[address] = _CLIENT
            kwargs["base_url"] = url
        original(client, *args, **kwargs)

    module.Langfuse.__init__ = init


def readdress_api(module: Any, url: str) -> None:
    """Make clients of Langfuse's API that are built without `Langfuse` send to `url`."""
    for name in ("LangfuseAPI", "AsyncLangfuseAPI"):
        _readdress_keyword(getattr(module, name), url)


def _readdress_keyword(owner: Any, url: str) -> None:
    """Replace the argument `base_url` of a class where it names another address."""
    original = owner.__init__

    @functools.wraps(original)
    def init(built: Any, *args: Any, **kwargs: Any) -> None:
        address = kwargs.get("base_url")
        if isinstance(address, str) and not _is_allowed(address, url):
            redirected[address] = _CLIENT
            kwargs["base_url"] = url
        original(built, *args, **kwargs)

    owner.__init__ = init


def readdress_exporter(module: Any, url: str) -> None:
    """Make OpenTelemetry's exporters over HTTP send to `url` what they would send elsewhere."""
    original = module.OTLPSpanExporter.__init__

    @functools.wraps(original)
    def init(exporter: Any, endpoint: str | None = None, *args: Any, **kwargs: Any) -> None:
        address = (
            endpoint
            or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        )
        if not (address and _is_allowed(address, url)):
            if address:
                redirected[address] = _EXPORTER
            endpoint = f"{url}/api/public/otel/v1/traces"
        original(exporter, endpoint, *args, **kwargs)

    module.OTLPSpanExporter.__init__ = init


def readdress_grpc_exporter(module: Any, url: str) -> None:
    """Make OpenTelemetry's exporter over gRPC send to nobody, and wait for nobody: it would try for a minute."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    original = module.OTLPSpanExporter.__init__

    @functools.wraps(original)
    def init(exporter: Any, endpoint: str | None = None, *args: Any, **kwargs: Any) -> None:
        allowed = endpoint and _is_allowed(endpoint, url)
        if not allowed:
            if endpoint:
                redirected[endpoint] = _EXPORTER
            endpoint = _NOWHERE
        original(exporter, endpoint, *args, **kwargs)
        if not allowed:
            exporter.export = lambda _spans: SpanExportResult.SUCCESS

    module.OTLPSpanExporter.__init__ = init


def readdress_config(module: Any, url: str) -> None:
    """Make `TracingConfig` of `pytest_langfuse.tracing` name `url` where it would name another address."""
    # `init_tracing` builds the configuration that counts with keywords, also from one that was built by position.
    _readdress_keyword(module.TracingConfig, url)
