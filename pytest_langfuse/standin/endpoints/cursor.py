"""Cursors: where the next page of a list begins, as a text that clients hand back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from pytest_langfuse.standin.endpoints.api_call import invalid_request


def encode_cursor(place: Mapping[str, Any]) -> str:
    """Return the cursor for a place."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode("ascii")


def decode_cursor(text: str, *keys: str) -> dict[str, Any]:
    """Return the place that a cursor stands for, with texts under all `keys`.

    Raises:
        Refusal: it is not a cursor of this kind of list.
    """
    try:
        place = json.loads(base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_")))
    except ValueError as error:
        raise invalid_request("Invalid cursor format") from error
    if not isinstance(place, dict) or not all(isinstance(place.get(key), str) for key in keys):
        raise invalid_request("Invalid cursor format")
    return place
