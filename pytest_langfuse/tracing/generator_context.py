"""Drives a generator step by step in its own context, and restores the consumer's between the steps.

A generator shares its consumer's context variables. Whatever it attaches to OpenTelemetry's context would therefore
be seen by the consumer between two items, and be gone when another task closes it. Only OpenTelemetry's context is
swapped: other context variables of the application stay shared, as without tracing.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel_context

from pytest_langfuse.tracing.named_as import named_as


class GeneratorContext:
    """OpenTelemetry's context of one generator, as its last step left it."""

    def __init__(self, context: otel_context.Context) -> None:
        self._context = context

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run one step in the generator's own context."""
        token = otel_context.attach(self._context)
        try:
            yield
        finally:
            self._context = otel_context.get_current()
            otel_context.detach(token)

    def seen(self, item: Any) -> None:
        """The generator produced an item."""

    def returned(self) -> None:
        """The generator has ended, or its consumer has closed it."""

    def raised(self, error: BaseException) -> None:
        """The generator raised."""


Begin = Callable[[tuple[Any, ...], dict[str, Any]], GeneratorContext]


def wrap_generator(function: Callable[..., Generator[Any, Any, Any]], begin: Begin) -> Callable[..., Any]:
    """A generator function like `function`, driven by the steps that `begin` makes when iteration starts.

    Items, values sent, errors thrown in, closing and the return value are the same.
    """

    @named_as(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = begin(args, kwargs)
        try:
            generator = function(*args, **kwargs)
            advance: Callable[[], Any] = generator.__next__
            while True:
                try:
                    with steps.step():
                        item = advance()
                except StopIteration as stop:
                    steps.returned()
                    return stop.value
                steps.seen(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    with steps.step():
                        generator.close()
                    steps.returned()
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer: the generator's to handle
                    advance = functools.partial(generator.throw, error)
                else:
                    advance = functools.partial(generator.send, sent)
        except GeneratorExit:
            raise
        except BaseException as error:
            steps.raised(error)
            raise

    return call


def wrap_async_generator(function: Callable[..., AsyncGenerator[Any, Any]], begin: Begin) -> Callable[..., Any]:
    """As `wrap_generator`, for an async generator function."""

    @named_as(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = begin(args, kwargs)
        try:
            generator = function(*args, **kwargs)
            advance: Callable[[], Any] = generator.__anext__
            while True:
                try:
                    with steps.step():
                        item = await advance()
                except StopAsyncIteration:
                    steps.returned()
                    return
                steps.seen(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    with steps.step():
                        await generator.aclose()
                    steps.returned()
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown in by the consumer: the generator's to handle
                    advance = functools.partial(generator.athrow, error)
                else:
                    advance = functools.partial(generator.asend, sent)
        except GeneratorExit:
            raise
        except BaseException as error:
            steps.raised(error)
            raise

    return call
