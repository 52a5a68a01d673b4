"""Clients that were built before `init_tracing`: their settings are kept, and their spans go through the pipeline.

The SDK gives every client of a public key the resources of the first one. Left alone, a `Langfuse()` at the import of
some module would decide for the whole process, past the pipeline.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing import langfuse_internals
from pytest_langfuse.tracing.config import (
    CLIENT_SETTINGS,
    DEFAULT_BASE_URL,
    SETTINGS,
    RequestedSettings,
    TracingConfig,
    requested_public_key,
)
from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.setting_parsers import Invalid

if TYPE_CHECKING:
    from langfuse import Langfuse
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler

#: Values that a client has if nobody has set them: they decide nothing.
_DEFAULTS = {"timeout": 5, "sample_rate": 1.0, "base_url": DEFAULT_BASE_URL}
#: Arguments that have no place in a pipeline.
_WITHOUT_PLACE = ("span_exporter", "otel_compression")


class EarlierClient:
    """The settings and the resources of an earlier client of the same key."""

    def __init__(self, resources: Any) -> None:
        self._resources = resources
        self._settings = langfuse_internals.settings(resources)
        self._kept: list[str] = []
        self._processors: list[Any] = []

    @classmethod
    def find(cls, given: RequestedSettings) -> EarlierClient | None:
        """Return the earlier client of the key that `init_tracing` is going to use, if there is one."""
        resources = langfuse_internals.earlier_resources(requested_public_key(given))
        return None if resources is None else cls(resources)

    def provider_for(self, sampler: Sampler) -> TracerProvider | None:
        """Return its tracer provider, with this sampler if the SDK has made it for the client."""
        langfuse_internals.replace_sampler(self._resources, sampler)
        return langfuse_internals.provider_of(self._resources)

    def detach(self) -> None:
        """Let its span processor get no more spans."""
        if (provider := langfuse_internals.provider_of(self._resources)) is not None:
            self._processors = langfuse_internals.detach_processors(provider, self._resources.public_key)

    def complete(self, given: RequestedSettings) -> None:
        """Add its settings where none are given; they win over the environment's variables and presets."""
        for name, value in {"public_key": self._resources.public_key, **self._settings}.items():
            if name not in given.settings and _DEFAULTS.get(name) != value and _usable(name, value):
                given.settings[name] = value
                self._kept.append(name)
        for name in CLIENT_SETTINGS:
            value = getattr(self._resources, name, None)
            if value is not None and name not in given.client_arguments:
                given.client_arguments[name] = value
                self._kept.append(name)

    def set_aside(self) -> AbstractContextManager[None]:
        """Let the SDK build a new client of this key inside the block; if that fails, the earlier one stays."""
        return langfuse_internals.set_aside(self._resources)

    def take_over(self, client: Langfuse) -> list[ReadableSpan]:
        """Let all clients that were built earlier be `client`, and return the spans that their exporter has not got."""
        langfuse_internals.replace_client(self._resources, client)
        spans = [span for processor in self._processors for span in langfuse_internals.take_queued(processor)]
        langfuse_internals.retire(self._resources, langfuse_internals.resources_of(client), self._processors)
        return spans

    def report(self, config: TracingConfig) -> None:
        """Log what becomes of its settings."""
        kept = [name for name in self._kept if name not in {"public_key", "secret_key"}]
        changed = [
            f"{name}={SETTINGS[name].show(getattr(config, name))} instead of {SETTINGS[name].show(value)}"
            for name, value in self._settings.items()
            if _DEFAULTS.get(name) != value and getattr(config, name) != value
        ]
        unused = [name for name in _WITHOUT_PLACE if getattr(self._resources, name, None) is not None]
        parts = [
            *([f"these of its settings are kept: {', '.join(kept)}"] if kept else []),
            *([f"it has {', '.join(changed)} now"] if changed else []),
            *([f"its {' and '.join(unused)} is not used any more"] if unused else []),
        ]
        logger.warning(
            "A Langfuse client for %s was built before init_tracing(). It is taken over, and its spans go through the "
            "pipeline%s. Call init_tracing() first to see all settings in one place.",
            config.public_key,
            "".join(f"; {part}" for part in parts),
        )


def _usable(name: str, value: object) -> bool:
    try:
        SETTINGS[name].parse(value)
    except Invalid:
        return False
    return True
