"""The pytest plugin: options, markers and fixtures.

The hooks that capture tests are those of `CaptureSession`, which is registered for each run.
"""

from __future__ import annotations

import sys

import pytest

from pytest_langfuse.fixtures import (
    langfuse_api,
    langfuse_clock,
    langfuse_fresh_client,
    langfuse_outage,
    langfuse_process,
    langfuse_queue,
    langfuse_server,
    langfuse_spans,
    langfuse_tracing,
)
from pytest_langfuse.options import add_options
from pytest_langfuse.session import OUTAGE_MARKER, CaptureSession

__all__ = [
    "langfuse_api",
    "langfuse_clock",
    "langfuse_fresh_client",
    "langfuse_outage",
    "langfuse_process",
    "langfuse_queue",
    "langfuse_server",
    "langfuse_spans",
    "langfuse_tracing",
]

MARKERS = (
    (
        "langfuse_budget(tokens=None, cost=None, generations=None, observations=None, duration=None, errors=None): "
        "fail the test if its traces exceed a limit: tokens, cost in USD, calls of a model, observations, seconds of "
        "the longest trace, observations of level ERROR."
    ),
    (
        "langfuse_rules(ignore=[CODE, ...]): don't evaluate these rules for the test. `python -m pytest_langfuse.rules "
        "explain` lists them."
    ),
    (
        "langfuse_outage(fault, ..., after=0, times=None, delay=None, rate=1.0, seed=0, retry_after=None, "
        "paths=None, required=True, max_block=None): run the test while Langfuse fails; with several faults, once "
        "under each. Stacked markers apply together. `python -m pytest_langfuse.outage.server --help` lists the "
        "faults and says what each option does; those of a queue (Kafka, SQS) are broker_down, broker_slow, "
        "message_too_large, not_authorized and sqs_throttled."
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their ini twins."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Capture before conftest files import the application, which may build its client there."""
    CaptureSession.of(early_config)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; open the session here if a conftest loaded the plugin, too late for the hook above."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    CaptureSession.of(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once under each fault of its marker."""
    if metafunc.definition.get_closest_marker(OUTAGE_MARKER) is not None:
        from pytest_langfuse.outage.marker import parametrize

        parametrize(metafunc)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain `assert langfuse_spans == "literal"`."""
    if "pytest_langfuse.expect.observations" not in sys.modules or op != "==":
        return None
    from pytest_langfuse.expect.observations import explain_equality

    return explain_equality(left, right)
