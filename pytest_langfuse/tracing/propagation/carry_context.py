"""`carry_context`: take OpenTelemetry's context, the request's in it, to where Python does not take it.

Python carries it over `await`, asyncio's tasks, task groups and `asyncio.to_thread`. It does not over
`threading.Thread` (unless `sys.flags.thread_inherit_context`, Python 3.14), `Executor.submit` and `map`,
`loop.run_in_executor`, and queues between threads.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar, cast, overload

from opentelemetry import context as otel_context

from pytest_langfuse.tracing.generator_context import GeneratorContext, wrap_async_generator, wrap_generator
from pytest_langfuse.tracing.named_as import named_as
from pytest_langfuse.tracing.shown import shown

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def carry_context() -> CarriedContext: ...


@overload
def carry_context(function: Function, /) -> Function: ...


def carry_context(function: Any = None, /) -> Any:
    """The function, to be run anywhere in the context that is current here and now; or that context itself.

    `pool.submit(carry_context(work), item)` runs `work` as if it were called here: what it observes belongs to the
    observation that is current now, its user and session are those of now. Functions, coroutine functions, generators
    and async generators keep their kind; call the result as often, and from as many threads at once, as you like.
    Context variables that are not OpenTelemetry's are not carried.

    `queue.put((carry_context(), item))` hands the context to another thread, which enters it: `with context: ...`.
    To another process go headers: `inject_headers({})`, and `extract_context(headers)` there.

    Raises:
        TypeError: `function` is not a function.
    """
    __tracebackhide__ = True
    carried = CarriedContext(otel_context.get_current())
    if function is None:
        return carried
    return carried(function)


class CarriedContext:
    """OpenTelemetry's context as it was when `carry_context()` was called. Enter it, in any thread, any time."""

    def __init__(self, context: otel_context.Context) -> None:
        self._context = context

    def __call__(self, function: Function, /) -> Function:
        """The function, run in this context whenever it is called.

        Raises:
            TypeError: `function` is not a function.
        """
        __tracebackhide__ = True
        if not callable(function):
            raise TypeError(
                f"carry_context() takes a function or nothing, not {shown(function)}. "
                "Fix: carry_context(work), and pass arguments where it is called"
            )
        return cast("Function", self._wrapped(function))

    def _wrapped(self, function: Any) -> Any:
        if inspect.isgeneratorfunction(function):
            return wrap_generator(function, self._steps)
        if inspect.isasyncgenfunction(function):
            return wrap_async_generator(function, self._steps)
        if inspect.iscoroutinefunction(function):

            @named_as(function)
            async def run(*args: Any, **kwargs: Any) -> Any:
                token = otel_context.attach(self._context)
                try:
                    return await function(*args, **kwargs)
                finally:
                    otel_context.detach(token)

        else:

            @named_as(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                token = otel_context.attach(self._context)
                try:
                    return function(*args, **kwargs)
                finally:
                    otel_context.detach(token)

        return run

    def _steps(self, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> GeneratorContext:
        return GeneratorContext(self._context)

    def __enter__(self) -> Self:
        """Make it the current one here. Several threads and tasks may do so at once."""
        _entered.set((*_entered.get(), (self, otel_context.attach(self._context))))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore what was there before; elsewhere than where it was entered there is nothing to restore."""
        entered = _entered.get()
        if entered and entered[-1][0] is self:
            _entered.set(entered[:-1])
            otel_context.detach(entered[-1][1])

    def __reduce__(self) -> NoReturn:
        """It has live spans in it."""
        message = (
            "A context can't go to another process. Fix: send inject_headers({}) there, and attach "
            "extract_context(headers)"
        )
        raise TypeError(message)


#: What was entered here and not left yet, with what OpenTelemetry needs to restore the context before.
_entered: ContextVar[tuple[tuple[CarriedContext, Token[otel_context.Context]], ...]] = ContextVar(
    "pytest_langfuse.carried", default=()
)
