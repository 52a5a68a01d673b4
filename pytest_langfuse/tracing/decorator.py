"""`safe_trace`: observe a function; a failure of tracing never reaches it."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, overload

from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing import singleton
from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.generator_context import GeneratorContext, wrap_async_generator, wrap_generator
from pytest_langfuse.tracing.named_as import named_as
from pytest_langfuse.tracing.observed_error import masked, record_exception
from pytest_langfuse.tracing.shown import shown

Function = TypeVar("Function", bound=Callable[..., Any])
ObservationType = Literal[
    "span", "generation", "agent", "tool", "chain", "retriever", "evaluator", "embedding", "guardrail"
]


@overload
def safe_trace(name: Function, /) -> Function: ...


@overload
def safe_trace(
    name: str | None = None,
    *,
    as_type: ObservationType = "span",
    capture_input: bool = True,
    capture_output: bool = True,
) -> Callable[[Function], Function]: ...


def safe_trace(
    name: Any = None,
    *,
    as_type: ObservationType = "span",
    capture_input: bool = True,
    capture_output: bool = True,
) -> Any:
    """Observe each call of a function, coroutine function, generator or async generator function.

    The function runs exactly once. Its errors are its own: they are raised as they are and marked on the observation
    (level ERROR, the message; WARNING for a cancelled task). An error of tracing itself never reaches the caller; it
    is counted and logged. The input is `{"args": [...], "kwargs": {...}}` without `self`, as `@observe` has it; the
    output of a generator is its items, joined if all are text.

    `@safe_trace`, `@safe_trace()` and `@safe_trace("name", as_type="tool")` all work.

    Raises:
        TypeError: An argument is of the wrong type, or what it decorates is not a function: a class, a property.
        ValueError: `as_type` is unknown, with a suggestion, or `name` is empty.
    """
    __tracebackhide__ = True
    call = "safe_trace()"
    checked(call, "as_type", as_type, _TYPE)
    checked(call, "capture_input", capture_input, parsing.boolean)
    checked(call, "capture_output", capture_output, parsing.boolean)
    if name is not None and not isinstance(name, str):
        _check_function(name)
        return _traced(
            name, _Settings(_name_of(name), as_type, capture_input=capture_input, capture_output=capture_output)
        )
    if name is not None:
        checked(call, "name", name, parsing.text)

    def decorate(function: Function) -> Function:
        __tracebackhide__ = True
        _check_function(function)
        settings = _Settings(
            name or _name_of(function), as_type, capture_input=capture_input, capture_output=capture_output
        )
        traced: Function = _traced(function, settings)
        return traced

    return decorate


_TYPE = parsing.choice(*get_args(ObservationType))
_DESCRIPTORS = (property, staticmethod, classmethod, functools.cached_property)


def _check_function(function: object) -> None:
    """Raise `TypeError` for what can't be observed by calls."""
    __tracebackhide__ = True
    if isinstance(function, _DESCRIPTORS):
        kind = type(function).__name__
        raise TypeError(f"safe_trace() can't observe a {kind}. Fix: put @safe_trace below @{kind}")
    if isinstance(function, type):
        raise TypeError(f"safe_trace() can't observe the class {function.__name__}. Fix: decorate its methods")
    if not callable(function):
        raise TypeError(f"safe_trace() takes a function, or a name, not {shown(function)}. Fix: @safe_trace('answer')")


#: Items of a generator that are kept for its output; it may be endless.
LONGEST_OUTPUT = 10_000


class _Settings:
    """The parts of a function's calls that are observed."""

    def __init__(self, name: str, as_type: ObservationType, *, capture_input: bool, capture_output: bool) -> None:
        self.name, self.as_type = name, as_type
        self.capture_input, self.capture_output = capture_input, capture_output
        self.is_method = False

    def input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The input of a call."""
        if not self.capture_input:
            return None
        return {"args": args[1:] if self.is_method else args, "kwargs": kwargs}


class _ObservedCall:
    """One observed call. No method raises, whatever tracing does."""

    def __init__(self, settings: _Settings, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._settings = settings
        self._observation: Any = None
        self._span: Span = INVALID_SPAN
        #: OpenTelemetry's context in which the observation is the current one.
        self.context = otel_context.get_current()
        try:
            start: Any = singleton.get_langfuse_client().start_as_current_observation
            value = settings.input(args, kwargs)
            # The scope is left at once: a generator's steps need its context, not the consumer's.
            with start(name=settings.name, as_type=settings.as_type, input=value, end_on_exit=False) as observation:
                self.context, self._span = otel_context.get_current(), get_current_span()
                self._observation = observation
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the application's
            failures.report("starting an observation", error)

    def returned(self, output: Any) -> None:
        """The function returned."""
        if self._observation is not None:
            if self._settings.capture_output:
                self._tell("updating an observation", lambda: self._observation.update(output=output))
            self._end()

    def raised(self, error: BaseException) -> None:
        """The function raised."""
        if self._observation is not None:
            if (level := _level(error)) is not None:
                self._tell("updating an observation", lambda: self._mark(level, error))
            if isinstance(error, Exception):
                self._tell("recording an exception", lambda: record_exception(self._span, error, self._observation))
            self._end()

    def _mark(self, level: str, error: BaseException) -> None:
        message = masked(str(error) or type(error).__name__, self._observation)
        self._observation.update(level=level, status_message=message)

    def _end(self) -> None:
        self._tell("ending an observation", self._observation.end)

    @staticmethod
    def _tell(what: str, change: Callable[[], Any]) -> None:
        try:
            change()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the application's
            failures.report(what, error)


def _level(error: BaseException) -> str | None:
    if isinstance(error, (Exception, KeyboardInterrupt)):
        return "ERROR"
    if isinstance(error, asyncio.CancelledError):
        return "WARNING"
    return "ERROR" if isinstance(error, SystemExit) and error.code not in {None, 0} else None


def _traced(function: Any, settings: _Settings) -> Any:
    settings.is_method = _is_method(function)
    if inspect.isgeneratorfunction(function):
        return wrap_generator(function, lambda args, kwargs: _ObservedGenerator(settings, args, kwargs))
    if inspect.isasyncgenfunction(function):
        return wrap_async_generator(function, lambda args, kwargs: _ObservedGenerator(settings, args, kwargs))
    if inspect.iscoroutinefunction(function):
        return _traced_coroutine(function, settings)
    return _traced_function(function, settings)


def _traced_function(function: Callable[..., Any], settings: _Settings) -> Callable[..., Any]:
    @named_as(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        observed = _ObservedCall(settings, args, kwargs)
        token = otel_context.attach(observed.context)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            otel_context.detach(token)
            observed.raised(error)
            raise
        otel_context.detach(token)
        observed.returned(result)
        return result

    return call


def _traced_coroutine(function: Callable[..., Any], settings: _Settings) -> Callable[..., Any]:
    @named_as(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        observed = _ObservedCall(settings, args, kwargs)
        token = otel_context.attach(observed.context)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            otel_context.detach(token)
            observed.raised(error)
            raise
        otel_context.detach(token)
        observed.returned(result)
        return result

    return call


def _is_method(function: Any) -> bool:
    """Return whether the first argument is the object or class (as langfuse's `@observe` decides it)."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return next(iter(parameters), None) in {"self", "cls"}


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and name else type(function).__name__


class _ObservedGenerator(GeneratorContext):
    """An observed generator: its observation is current during its steps, and not while its consumer runs."""

    def __init__(self, settings: _Settings, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._call = _ObservedCall(settings, args, kwargs)
        super().__init__(self._call.context)
        self._items: list[Any] | None = [] if settings.capture_output else None

    def seen(self, item: Any) -> None:
        """Keep the item for the output."""
        if self._items is not None and len(self._items) < LONGEST_OUTPUT:
            self._items.append(item)

    def returned(self) -> None:
        """End the observation with the items as output."""
        self._call.returned(_joined(self._items) if self._items else None)

    def raised(self, error: BaseException) -> None:
        """End the observation with the error."""
        self._call.raised(error)


def _joined(items: list[Any]) -> Any:
    return "".join(items) if all(isinstance(item, str) for item in items) else items
