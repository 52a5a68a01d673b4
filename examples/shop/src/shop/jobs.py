"""Background jobs. Run the worker with `celery --app shop.jobs worker --loglevel INFO`."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_init, worker_process_shutdown
from opentelemetry import context

from pytest_langfuse.tracing import extract_context, init_tracing, inject_headers, safe_trace, shutdown_tracing
from shop import __version__
from shop.settings import setting

logger = logging.getLogger(__name__)

#: Name of the queue in LANGFUSE_PROPAGATE_TO, so that user and session go with a job.
QUEUE = "//jobs.shop"


class TracedTask(Task):
    """A task that runs in the trace of its caller."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        headers = inject_headers({**(options.pop("headers", None) or {})}, url=QUEUE)
        return super().apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = context.attach(extract_context(self.request.headers))
        try:
            return super().__call__(*args, **kwargs)
        finally:
            context.detach(token)


def broker() -> dict[str, Any]:
    """Return Celery's broker settings: a folder, unless SHOP_BROKER_URL names a broker."""
    if url := os.environ.get("SHOP_BROKER_URL"):
        return {"broker_url": url}
    folder = setting("SHOP_QUEUE_FOLDER")
    options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder, "polling_interval": 0.05}
    return {"broker_url": "filesystem://localhost", "broker_transport_options": options}


app = Celery("shop", task_cls=TracedTask)
app.conf.update(
    **broker(),
    task_ignore_result=True,
    worker_enable_remote_control=False,
)


@worker_process_init.connect
def _start(**_signal: object) -> None:
    init_tracing(release=__version__)


@worker_process_shutdown.connect
def _stop(**_signal: object) -> None:
    shutdown_tracing()


@app.task(name="ship")
@safe_trace("ship")
def ship(order: str, skus: list[str]) -> str:
    """Send an order to its customer."""
    parcel = book_courier(order, len(skus))
    logger.info("shipped %s as %s", order, parcel)
    return parcel


@safe_trace("book_courier", as_type="tool")
def book_courier(order: str, items: int) -> str:
    """Book a courier and return the number of the parcel."""
    return f"P-{order}-{items}"
