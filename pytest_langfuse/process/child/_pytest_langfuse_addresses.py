"""Langfuse's address where the application names one itself: nothing of a test leaves this machine."""

from __future__ import annotations

import functools
import os
from typing import Any
from urllib.parse import urlsplit

_HERE = ("localhost", "127.", "::1", "0.0.0.0", "[::1]")  # noqa: S104 - addresses to recognise, not to listen on
_DEFAULT = "https://cloud.langfuse.com"


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.startswith(_HERE) or host.endswith(".localhost")


def readdress_client(module: Any, url: str) -> None:
    """`langfuse` was imported: its clients send to `url` what they would send to another machine."""
    original = module.Langfuse.__init__
    known: dict[str, bool] = {}

    @functools.wraps(original)
    def init(client: Any, *args: Any, **kwargs: Any) -> None:
        # As `Langfuse.__init__` finds it (langfuse/_client/client.py, 4.5.0 and 5.0.4). Called with every `@observe`.
        address = (
            kwargs.get("base_url")
            or os.environ.get("LANGFUSE_BASE_URL")
            or kwargs.get("host")
            or os.environ.get("LANGFUSE_HOST", _DEFAULT)
        )
        here = known.get(address)
        if here is None:
            here = known[address] = _is_here(address)
        if not here:
            kwargs["base_url"] = url
        original(client, *args, **kwargs)

    module.Langfuse.__init__ = init


def readdress_exporter(module: Any, url: str) -> None:
    """OpenTelemetry's exporter over HTTP was imported."""
    original = module.OTLPSpanExporter.__init__

    @functools.wraps(original)
    def init(exporter: Any, endpoint: str | None = None, *args: Any, **kwargs: Any) -> None:
        address = (
            endpoint
            or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        )
        if address and not _is_here(address):
            endpoint = f"{url}/api/public/otel/v1/traces"
        original(exporter, endpoint, *args, **kwargs)

    module.OTLPSpanExporter.__init__ = init


def readdress_config(module: Any, url: str) -> None:
    """`pytest_langfuse.tracing` was imported."""
    original = module.TracingConfig.__init__

    @functools.wraps(original)
    def init(config: Any, *args: Any, **kwargs: Any) -> None:
        address = kwargs.get("base_url")
        if isinstance(address, str) and not _is_here(address):
            kwargs["base_url"] = url
        original(config, *args, **kwargs)

    module.TracingConfig.__init__ = init
