"""The data in a page of `--langfuse-report`."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def blocks(page: str, kind: str) -> list[Any]:
    return [unpacked(text) for text in re.findall(rf'<script type="text/plain" class="{kind}">([^<]*)</script>', page)]


def index(page: str) -> Any:
    [text] = re.findall(r'<script type="text/plain" id="index">([^<]*)</script>', page)
    return unpacked(text)
