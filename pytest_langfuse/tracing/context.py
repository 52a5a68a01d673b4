"""The context of a request: user, session, request id, tags and metadata of every observation below it.

The values live in OpenTelemetry's context, so they follow it over asyncio tasks, `contextvars.copy_context()` and
whatever else carries that context on; they reach the observations through Langfuse's public `propagate_attributes`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from langfuse import propagate_attributes
from opentelemetry import context as otel_context
from opentelemetry import trace

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.generator_context import GeneratorContext, wrap_async_generator, wrap_generator
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON
from pytest_langfuse.tracing.lazy import exported_by
from pytest_langfuse.tracing.setting_parsers import Invalid
from pytest_langfuse.tracing.shown import shown
from pytest_langfuse.tracing.suggest import did_you_mean

#: pytest shows no frame of this module, nor of the constructor that `dataclass` writes: arguments are the caller's.
__tracebackhide__ = True

Result = TypeVar("Result")

#: Langfuse drops a propagated value that is longer (langfuse/_client/propagation.py, 4.5.1 and 5.0.4).
LONGEST = 200

_KEY = "pytest_langfuse.request_context"
_ENTRY = "pytest_langfuse.request_context.entry"
_DIGEST = 16
_IDENTIFIERS = ("user_id", "session_id", "request_id")


@exported_by("pytest_langfuse.tracing")
@dataclass(frozen=True, kw_only=True)
class RequestContext:
    """User, session, request id, tags and metadata of the request that is being served.

    `user_id`, `session_id` and `request_id` become text. Langfuse drops a value over 200 characters; here a longer
    id is cut and ends in a digest of the whole, so that it stays one id, and a longer tag or metadata text is cut.
    Both are logged once. An empty id counts as missing; `None` among tags and metadata is left out.

    Raises:
        TypeError: An id has no text of its own (a list, bytes, an object without `__str__`), `tags` is not a list or
            `metadata` not a dict.
    """

    user_id: str | None = None
    session_id: str | None = None
    #: Shown by Langfuse as `metadata.request_id`.
    request_id: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring every value into the form in which it is sent."""
        for name in _IDENTIFIERS:
            given = checked("request_context()", name, getattr(self, name), _identifiable)
            object.__setattr__(self, name, _identifier(name, given))
        tags = checked("request_context()", "tags", self.tags, _tags)
        object.__setattr__(self, "tags", tuple(dict.fromkeys(_cut("tag", str(tag)) for tag in tags)))
        given = checked("request_context()", "metadata", self.metadata, parsing.mapping)
        metadata = {str(key): value for key, value in given.items() if value is not None}
        object.__setattr__(self, "metadata", MappingProxyType(metadata))

    def over(self, outer: RequestContext) -> RequestContext:
        """This context inside `outer`: ids win, tags and metadata add up, as Langfuse does with nested values."""
        ids = {name: getattr(self, name) or getattr(outer, name) for name in _IDENTIFIERS}
        return replace(self, **ids, tags=(*outer.tags, *self.tags), metadata={**outer.metadata, **self.metadata})

    def __hash__(self) -> int:
        """By the ids and tags; metadata may hold what has no hash."""
        return hash((self.user_id, self.session_id, self.request_id, self.tags))


_NAMES = tuple(item.name for item in fields(RequestContext))


def get_request_context() -> RequestContext:
    """Return the context of the request that is being served, or an empty one."""
    found = otel_context.get_value(_KEY)
    return found if isinstance(found, RequestContext) else RequestContext()


@exported_by("pytest_langfuse.tracing")
class request_context:  # noqa: N801 - read as a statement: `with request_context(user_id=...)`
    """Run a block for a user, a session, a request: `with` and `async with` both work.

    Takes a `RequestContext`, or its fields as keywords, or both (keywords win). Nested contexts add up and are undone
    in turn. An instance may be entered again, also by several tasks or threads at once.

    Raises:
        TypeError: An unknown keyword, with a suggestion, or a value that `RequestContext` does not take.
    """

    def __init__(self, context: RequestContext | Mapping[str, Any] | None = None, /, **values: Any) -> None:
        self._context = _request_context(context, values)

    def __enter__(self) -> RequestContext:
        """Attach it; a failure of tracing is logged, never raised."""
        entry = _Entered(self, None)
        values = otel_context.set_value(_ENTRY, entry, within(self._context))
        entry.token = otel_context.attach(values)
        return get_request_context()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore what was there before."""
        entry = otel_context.get_value(_ENTRY)
        if isinstance(entry, _Entered) and entry.owner is self and entry.token is not None:
            otel_context.detach(entry.token)

    async def __aenter__(self) -> RequestContext:
        """As `__enter__`; nothing is awaited."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `__exit__`; nothing is awaited."""
        self.__exit__(kind, error, traceback)


@dataclass(slots=True)
class _Entered:
    """One entering of a `request_context`; kept in the context that it attached, so each task finds its own."""

    owner: request_context
    token: Any


def run_with_context(
    context: RequestContext | Mapping[str, Any], function: Callable[..., Result], /, *args: Any, **kwargs: Any
) -> Result:
    """Call `function(*args, **kwargs)` within the context, and return what it returns.

    A coroutine, generator or async generator that it returns runs within the context too, whoever drives it.

    Raises:
        TypeError: `context` is neither a `RequestContext` nor a dict of its fields, or `function` is not a function.
    """
    checked("run_with_context()", "function", function, parsing.function)
    entering = request_context(context)
    with entering:
        result: Any = function(*args, **kwargs)
        within = otel_context.get_current()
    if inspect.iscoroutine(result):
        return _await_within(entering, result)  # type: ignore[return-value]
    if inspect.isgenerator(result):
        return wrap_generator(lambda: result, lambda _args, _kwargs: GeneratorContext(within))()  # type: ignore[no-any-return]
    if inspect.isasyncgen(result):
        return wrap_async_generator(lambda: result, lambda _args, _kwargs: GeneratorContext(within))()  # type: ignore[no-any-return]
    return result  # type: ignore[no-any-return]


async def _await_within(entering: request_context, coroutine: Any) -> Any:
    with entering:
        return await coroutine


def _request_context(context: RequestContext | Mapping[str, Any] | None, values: dict[str, Any]) -> RequestContext:
    if context is not None and not isinstance(context, RequestContext | Mapping):
        raise TypeError(
            f"request_context() got {shown(context)}. Allowed: a RequestContext, or a dict of its fields. "
            f"Fix: request_context(user_id=...)."
        )
    unknown = [name for name in (*values, *(context if isinstance(context, Mapping) else ())) if name not in _NAMES]
    if unknown:
        hint = did_you_mean(str(unknown[0]), _NAMES, what="keywords (others go in metadata={})")
        message = f"request_context() got an unknown keyword {shown(unknown[0])}{hint}"
        raise TypeError(message)
    if isinstance(context, RequestContext):
        return replace(context, **values) if values else context
    return RequestContext(**{**(context or {}), **values})


def within(context: RequestContext, base: otel_context.Context | None = None) -> otel_context.Context:
    """OpenTelemetry's context `base`, or the current one, with the values of `context`; nothing stays attached."""
    if base is not None:
        token = otel_context.attach(base)
        try:
            return within(context)
        finally:
            otel_context.detach(token)
    outer = otel_context.get_value(_KEY)
    merged = context.over(outer) if isinstance(outer, RequestContext) else context
    return otel_context.set_value(_KEY, merged, _propagating(context))


def _propagating(context: RequestContext) -> otel_context.Context:
    """OpenTelemetry's context with the values in it, as `propagate_attributes` makes it."""
    current = trace.get_current_span()
    try:
        # The SDK marks the current span, too: that of another instrumentation would be marked in vain.
        observation = exported_ancestors.nearest_span(current)
        if observation is not current:
            token = otel_context.attach(trace.set_span_in_context(observation))
            try:
                with propagate_attributes(**_propagated(context)):
                    return trace.set_span_in_context(current)
            finally:
                otel_context.detach(token)
        with propagate_attributes(**_propagated(context)):
            return otel_context.get_current()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not the application's
        failures.report("setting the request's context", error)
        return otel_context.get_current()


def _propagated(context: RequestContext) -> dict[str, Any]:
    metadata = {key: _metadata_value(key, value) for key, value in context.metadata.items()}
    if context.request_id is not None:
        metadata["request_id"] = context.request_id
    values = {
        "user_id": context.user_id,
        "session_id": context.session_id,
        "tags": list(context.tags),
        "metadata": metadata,
    }
    return {name: value for name, value in values.items() if value}


def _metadata_value(key: str, value: Any) -> Any:
    """A value that Langfuse takes: version 4 takes text only, version 5 counts the length of its JSON."""
    if isinstance(value, str):
        quotes = len(json.dumps(value, ensure_ascii=False)) - len(value) if METADATA_IS_JSON else 0
        room = LONGEST - quotes
        return _cut(f"metadata.{key}", value, max(room, 0))
    if METADATA_IS_JSON:
        encoded = json.dumps(value, default=str, ensure_ascii=False)
        return value if len(encoded) <= LONGEST else _cut(f"metadata.{key}", encoded, LONGEST // 2)
    return _cut(f"metadata.{key}", json.dumps(value, default=str, ensure_ascii=False))


def _identifiable(value: Any) -> Any:
    """A value whose text identifies something."""
    kind: Any = type(value)
    bare = (kind.__str__, kind.__repr__) == (object.__str__, object.__repr__)
    if bare or isinstance(value, bool | bytes | bytearray | list | tuple | set | frozenset | Mapping):
        raise Invalid("is not an id", "a text, or something whose text is one", "'u-1'", wrong_type=True)
    return value


def _tags(value: Any) -> tuple[Any, ...]:
    allowed = "a text, or a list of them"
    items = (value,) if isinstance(value, str) else parsing.elements(value, "tags", allowed, "['beta']")
    return tuple(item for item in items if item is not None)


def _identifier(name: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    text = str(value)
    if len(text) <= LONGEST:
        return text
    _warn_once(name, len(text))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{text[: LONGEST - _DIGEST - 1]}~{digest}"


def _cut(what: str, text: str, longest: int = LONGEST) -> str:
    if len(text) <= longest:
        return text
    _warn_once(what, len(text))
    return f"{text[: max(longest - 1, 0)]}…"


_warned: set[str] = set()


def _warn_once(what: str, length: int) -> None:
    if what not in _warned and len(_warned) < LONGEST:
        _warned.add(what)
        logger.warning("%s has %d characters; Langfuse takes %d, so it is cut. Logged once.", what, length, LONGEST)
