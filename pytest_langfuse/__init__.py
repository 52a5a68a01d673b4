"""Prove that your Langfuse traces are right.

Everything here is loaded when it is first used: importing the package, as pytest does at each start, imports
neither `langfuse` nor `opentelemetry` nor `httpx`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_langfuse.expect.errors import LiteralError, TreeMismatch
    from pytest_langfuse.expect.observations import Observations
    from pytest_langfuse.outage.clock import Clock
    from pytest_langfuse.outage.outage import Outage
    from pytest_langfuse.outage.outage_control import OutageControl
    from pytest_langfuse.outage.server import langfuse_server
    from pytest_langfuse.process.app import App
    from pytest_langfuse.process.exceptions import LedgerMissing, ProcessFailed, ProcessTimeout
    from pytest_langfuse.process.processes import Processes
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.sources.score import Score
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.recording.trace import Trace
    from pytest_langfuse.standin.langfuse_router import LangfuseRouter
    from pytest_langfuse.standin.queue.langfuse_queue import LangfuseQueue
    from pytest_langfuse.standin.queue.queued_message import QueuedMessage

    LangfuseServer = langfuse_server.LangfuseServer[Observations]

    __all__ = [
        "App",
        "Clock",
        "LangfuseQueue",
        "LangfuseRouter",
        "LangfuseServer",
        "LedgerMissing",
        "LiteralError",
        "Observation",
        "Observations",
        "Outage",
        "OutageControl",
        "ProcessFailed",
        "ProcessTimeout",
        "Processes",
        "QueuedMessage",
        "Score",
        "Trace",
        "TreeMismatch",
        "Unexported",
    ]

# Type checkers read the imports above, and so report a name that is not exported.
if not TYPE_CHECKING:
    _HOMES = {
        "App": "pytest_langfuse.process.app",
        "Clock": "pytest_langfuse.outage.clock",
        "LangfuseQueue": "pytest_langfuse.standin.queue.langfuse_queue",
        "LangfuseRouter": "pytest_langfuse.standin.langfuse_router",
        "LangfuseServer": "pytest_langfuse.outage.server.langfuse_server",
        "LedgerMissing": "pytest_langfuse.process.exceptions",
        "LiteralError": "pytest_langfuse.expect.errors",
        "Observation": "pytest_langfuse.recording.observation",
        "Observations": "pytest_langfuse.expect.observations",
        "Outage": "pytest_langfuse.outage.outage",
        "OutageControl": "pytest_langfuse.outage.outage_control",
        "ProcessFailed": "pytest_langfuse.process.exceptions",
        "ProcessTimeout": "pytest_langfuse.process.exceptions",
        "Processes": "pytest_langfuse.process.processes",
        "QueuedMessage": "pytest_langfuse.standin.queue.queued_message",
        "Score": "pytest_langfuse.recording.sources.score",
        "Trace": "pytest_langfuse.recording.trace",
        "TreeMismatch": "pytest_langfuse.expect.errors",
        "Unexported": "pytest_langfuse.recording.sources.source",
    }

    # Each run of pytest imports this package: what exporting needs is imported with the first name, `__all__` included,
    # which `from pytest_langfuse import *` asks for.
    def _exports():  # noqa: ANN202
        from pytest_langfuse.lazy import lazy_exports

        return lazy_exports(__name__, _HOMES, extras={"LangfuseRouter": "respx"})

    def __getattr__(name):  # noqa: ANN001, ANN202
        get, _ = _exports()
        return get(name)

    def __dir__():  # noqa: ANN202
        _, names = _exports()
        return names()
