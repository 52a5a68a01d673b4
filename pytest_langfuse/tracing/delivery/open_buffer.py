"""The buffer that a configuration asks for."""

from __future__ import annotations

from pytest_langfuse.tracing.config import ConfigError, TracingConfig
from pytest_langfuse.tracing.delivery.buffer import BufferFailed, MemoryBuffer
from pytest_langfuse.tracing.delivery.span_ledger import SpanLedger
from pytest_langfuse.tracing.delivery.spool import Spool
from pytest_langfuse.tracing.delivery.spool_files import Destination


def open_buffer(config: TracingConfig, ledger: SpanLedger) -> MemoryBuffer:
    """Return a buffer in memory, or in the file `config.spool_path`.

    Raises:
        ConfigError: The file can't be used.
    """
    if config.spool_path is None:
        return MemoryBuffer(max_spans=config.max_buffer_spans, max_bytes=config.max_buffer_bytes, ledger=ledger)
    try:
        return Spool(
            config.spool_path,
            max_spans=config.max_buffer_spans,
            max_bytes=config.max_buffer_bytes,
            ledger=ledger,
            destination=Destination(str(config.public_key), _origin(str(config.base_url))),
        )
    except BufferFailed as error:
        message = (
            f"spool_path={str(config.spool_path)!r} can't be used ({error}). Allowed: a file that this process may "
            "write. Fix: set spool_path (LANGFUSE_SPOOL_PATH) to one, or leave it out."
        )
        raise ConfigError(message) from None


def _origin(base_url: str) -> str:
    """Return an address without its path: the same Langfuse may be reached through another one the next time."""
    scheme, _, rest = base_url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
