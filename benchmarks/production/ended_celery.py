"""A Celery application whose task makes observations that wait in the worker's child."""

from __future__ import annotations

import os

import ended_service
from celery import Celery
from celery.signals import worker_ready

app = Celery("ended_celery", broker="filesystem://")
app.conf.broker_transport_options = dict.fromkeys(["data_folder_in", "data_folder_out"], os.environ["FOLDER"])


@app.task  # type: ignore[untyped-decorator] # it has no types
def work() -> None:
    """Observe, then tell the benchmark."""
    ended_service.observe()
    ended_service.ready()


@worker_ready.connect  # type: ignore[untyped-decorator] # it has no types
def start(**_: object) -> None:
    """Give the worker its one task."""
    work.delay()
