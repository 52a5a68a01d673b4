"""The command `pytest-langfuse-forward`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from pytest_langfuse.tracing.forward.forward_log import ForwardLog, log_to
from pytest_langfuse.tracing.forward.forward_options import PROGRAM, BadOption, read_options
from pytest_langfuse.tracing.forward.source_address import SqsAddress

_BAD_INPUT = 2


class _Extra(NamedTuple):
    name: str
    module: str
    distribution: str


_KAFKA, _SQS = _Extra("kafka", "confluent_kafka", "confluent-kafka"), _Extra("sqs", "boto3", "boto3")


def main(arguments: Sequence[str] | None = None) -> int:
    """Forward until a signal, or with `--once` until the end. Returns the exit status."""
    try:
        options = read_options(arguments, os.environ)
    except BadOption as error:
        sys.stderr.write(f"{PROGRAM}: error: {error}\n")
        return _BAD_INPUT
    extra = _SQS if isinstance(options.address, SqsAddress) else _KAFKA
    if importlib.util.find_spec(extra.module) is None:
        sys.stderr.write(
            f"{PROGRAM}: error: {extra.name}:// needs {extra.distribution}. "
            f"Fix: pip install 'pytest-langfuse[{extra.name}]'.\n"
        )
        return _BAD_INPUT
    log = ForwardLog()
    log_to(log)
    # It imports the SDK, which takes a second: neither help nor errors wait for that.
    from pytest_langfuse.tracing.forward.forward_service import run_service

    return run_service(options, log)
