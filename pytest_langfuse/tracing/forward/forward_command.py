"""The command `pytest-langfuse-forward`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from pytest_langfuse.tracing.forward.forward_log import ForwardLog, log_to
from pytest_langfuse.tracing.forward.forward_options import PROGRAM, BadOption, read_options

_BAD_INPUT = 2
_INSTALL = "pip install 'pytest-langfuse[kafka]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Forward until a signal, or with `--once` until the end. Returns the exit status."""
    try:
        options = read_options(arguments, os.environ)
    except BadOption as error:
        sys.stderr.write(f"{PROGRAM}: error: {error}\n")
        return _BAD_INPUT
    if importlib.util.find_spec("confluent_kafka") is None:
        sys.stderr.write(f"{PROGRAM}: error: kafka:// needs confluent-kafka. Fix: {_INSTALL}.\n")
        return _BAD_INPUT
    log = ForwardLog()
    log_to(log)
    # It imports the SDK, which takes a second: neither help nor errors wait for that.
    from pytest_langfuse.tracing.forward.forward_service import run_service

    return run_service(options, log)
