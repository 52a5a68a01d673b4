"""The page on the stand-in names every endpoint of it, and every endpoint of the SDK that it has not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import langfuse.api
import pytest

from pytest_langfuse.standin.stand_in import StandIn
from tests.helpers.paths import ROOT

API = "/api/public"
PAGE = (ROOT / "docs" / "stand-in.md").read_text(encoding="utf-8").partition("## What it answers")[2]


def requests_of_the_sdk() -> Iterator[tuple[str, str]]:
    """Yield method and path of each request that the installed SDK can make, with `x` for what varies."""
    for file in sorted(Path(langfuse.api.__file__).parent.rglob("raw_client.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("httpx_client.request")):
                continue
            path, method = node.args[0], next(key.value for key in node.keywords if key.arg == "method")
            parts = path.values if isinstance(path, ast.JoinedStr) else [path]
            text = "".join(part.value if isinstance(part, ast.Constant) else "x" for part in parts)
            assert isinstance(method, ast.Constant)
            yield method.value, f"/{text}"


def test_the_page_lists_all_endpoints() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    listed = re.findall(r"`((?:GET|POST|PATCH|PUT|DELETE) )(/[^`]*)`", rows)

    assert sorted(f"{method}{API}{path}" for method, path in listed) == sorted(StandIn().endpoints)


@pytest.mark.slow
def test_every_request_of_the_sdk_is_answered_or_listed_as_not_there() -> None:
    requests = set(requests_of_the_sdk())
    answered = [re.sub(r"\{[^}]*\}", "[^/]+", endpoint) for endpoint in StandIn().endpoints]
    missing = PAGE.partition("these are not\nthere:")[2].partition("\n\n")[0]
    absent = [
        (method, API + path.replace("{project}", "x")) for method, path in re.findall(r"`(?:(\w+) )?(/[^`]*)`", missing)
    ]

    unknown = {
        f"{method} {path}"
        for method, path in requests
        if not any(re.fullmatch(endpoint, f"{method} {path}") for endpoint in answered)
        and not any(only in {"", method} and (path == part or path.startswith(f"{part}/")) for only, part in absent)
    }
    assert len(requests) > 30
    assert unknown == set()


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
def test_an_endpoint_that_is_not_there_says_so(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/comments")
    assert answer.status_code == 404
    assert answer.json()["message"].startswith(f"The stand-in Langfuse has no endpoint {method} /api/public/comments")
