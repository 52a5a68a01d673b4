"""Libraries that answer for SQS in this process, before botocore sends a request: moto and the like.

They get a copy of what arrives at the stand-in. Nothing is sent for it: what they do not answer ends here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

#: The event with which botocore asks whether anybody answers a request in its place.
_EVENT: Final = "before-send"

Handler = Callable[..., Any]


def answering() -> list[Handler]:
    """Return the handlers that every client of botocore's asks now before it sends. moto says if it is `enabled`."""
    botocore = sys.modules.get("botocore.handlers")
    entries = () if botocore is None else tuple(botocore.BUILTIN_HANDLERS)
    return [entry[1] for entry in entries if entry[0].startswith(_EVENT) and getattr(entry[1], "enabled", True)]


def copy_in_process(request: httpx.Request, configured: Mapping[str, str]) -> None:
    """Show a request to the stand-in to the first library that answers it, with the URL that the queue stands for.

    `configured` holds these URLs by their paths, which the stand-in's queues have, too.
    """
    handlers = answering()
    # Whatever a library raises, such as for a queue that it does not know: the stand-in has all of them.
    with suppress(Exception):
        any(_answers(handler, request, configured) for handler in handlers)


def _answers(handler: Handler, request: httpx.Request, configured: Mapping[str, str]) -> bool:
    from botocore.awsrequest import AWSPreparedRequest, HeadersDict

    call = json.loads(request.content)
    queue = urlsplit(configured[urlsplit(call["QueueUrl"]).path])
    copy = AWSPreparedRequest(
        "POST",
        f"{queue.scheme}://{queue.netloc}/",
        HeadersDict(dict(request.headers)),
        json.dumps({**call, "QueueUrl": queue.geturl()}).encode(),
        stream_output=False,
    )
    operation = request.headers["x-amz-target"].rpartition(".")[2]
    return handler(event_name=f"{_EVENT}.sqs.{operation}", request=copy) is not None
