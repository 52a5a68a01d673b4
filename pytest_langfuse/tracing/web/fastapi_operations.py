"""FastAPI's own spans (0.142 and later), which must not undo what was set in OpenTelemetry's context.

FastAPI makes a span around resolving the dependencies, the endpoint, the serialization and each background task. As
the current span it would get what is meant for the request's observation, and its end restores the context as it was at
its start, so that the user whom a dependency has set is gone before the endpoint runs. Here these spans are made, for
whoever collects them, and are never the current one.

Its span of the request begins with a context that comes from the request's headers and nowhere else. What a middleware
around FastAPI has set, the request's observation first of all, is put back.

Of FastAPI only this is known: `scope["fastapi.telemetry"]` is its state of a request, with a `tracer` for spans of
operations; and what is set in the scope after that, `app` by Starlette's `__call__`, is set inside of its span.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

#: In the scope of a request that FastAPI has begun.
TELEMETRY = "fastapi.telemetry"


def with_kept_context(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return the scope to call the application with, so that it has the context that is current here."""
    if TELEMETRY in scope:
        _keep_context(scope[TELEMETRY])
        return scope
    return _ObservedScope(scope) if "fastapi" in sys.modules else scope


def _keep_context(telemetry: Any) -> None:
    tracer = getattr(telemetry, "tracer", None)
    if tracer is not None and not isinstance(tracer, _OperationTracer):
        telemetry.tracer = _OperationTracer(tracer)


class _OperationTracer:
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer, name)

    @contextmanager
    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Iterator[trace.Span]:
        """Make the span, and leave the context as it is."""
        span = self._tracer.start_span(*args, **kwargs)
        try:
            yield span
        finally:
            span.end()


class _ObservedScope(dict[str, Any]):
    """A scope outside of FastAPI, which notices when FastAPI begins. What is written goes to the original, too.

    The original is what outer middlewares look at.
    """

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        super().__init__(scope)
        self._scope = scope
        self._context = otel_context.get_current()
        self._begun = False

    def __setitem__(self, key: str, value: Any) -> None:
        if key == TELEMETRY:
            _keep_context(value)
            self._begun = value is not None
        elif key == "app" and self._begun:
            self._begun = False
            # FastAPI detaches what it has attached before this.
            otel_context.attach(Context({**otel_context.get_current(), **self._context}))
        super().__setitem__(key, value)
        self._scope[key] = value

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._scope.pop(key, None)

    def update(self, *args: Any, **kwargs: Any) -> None:
        super().update(*args, **kwargs)
        self._scope.update(*args, **kwargs)

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        self._scope.pop(key, None)
        return super().pop(key, *default)
