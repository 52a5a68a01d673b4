"""Redirection to the stand-in of clients and exporters whose Langfuse address is on another machine."""

from __future__ import annotations

import functools
import os
from typing import Any
from urllib.parse import urlsplit

_LOCAL = ("localhost", "127.", "::1", "0.0.0.0", "[::1]")  # noqa: S104 - addresses to recognise, not to listen on
_DEFAULT = "https://cloud.langfuse.com"


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.startswith(_LOCAL) or host.endswith(".localhost")


def readdress_client(module: Any, url: str) -> None:
    """Make clients of `langfuse` send to `url` what they would send to another machine."""
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
        local = known.get(address)
        if local is None:
            local = known[address] = _is_local(address)
        if not local:
            kwargs["base_url"] = url
        original(client, *args, **kwargs)

    module.Langfuse.__init__ = init


def readdress_exporter(module: Any, url: str) -> None:
    """Make OpenTelemetry's exporters over HTTP send to `url` what they would send to another machine."""
    original = module.OTLPSpanExporter.__init__

    @functools.wraps(original)
    def init(exporter: Any, endpoint: str | None = None, *args: Any, **kwargs: Any) -> None:
        address = (
            endpoint
            or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        )
        if address and not _is_local(address):
            endpoint = f"{url}/api/public/otel/v1/traces"
        original(exporter, endpoint, *args, **kwargs)

    module.OTLPSpanExporter.__init__ = init


def readdress_config(module: Any, url: str) -> None:
    """Make `TracingConfig` of `pytest_langfuse.tracing` name `url` where it would name another machine."""
    original = module.TracingConfig.__init__

    @functools.wraps(original)
    def init(config: Any, *args: Any, **kwargs: Any) -> None:
        # `init_tracing` builds the configuration that counts with keywords, also from one that was built by position.
        address = kwargs.get("base_url")
        if isinstance(address, str) and not _is_local(address):
            kwargs["base_url"] = url
        original(config, *args, **kwargs)

    module.TracingConfig.__init__ = init
