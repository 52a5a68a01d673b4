"""Forwarders: in memory, and as processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.forwarding import ForwarderProcess, MemoryForwarder
from tests.helpers.loopback_langfuse import Collector


@pytest.fixture
def forwarding(collector: Collector) -> Iterator[Callable[..., MemoryForwarder]]:
    """Make forwarders of a queue in memory, to the collector."""
    made: list[MemoryForwarder] = []

    def make(**options: object) -> MemoryForwarder:
        made.append(MemoryForwarder(collector.url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.poster.stop()


@pytest.fixture
def forwarder_process() -> Iterator[Callable[..., ForwarderProcess]]:
    """Start the command; what still runs at the end is killed."""
    started: list[ForwarderProcess] = []

    def start(*arguments: str, **options: object) -> ForwarderProcess:
        started.append(ForwarderProcess(*arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(autouse=True)
def _restore_levels() -> Iterator[None]:
    """The command sets the levels of loggers."""
    loggers = [logging.getLogger(name) for name in ("pytest_langfuse", "pytest_langfuse.tracing")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers
