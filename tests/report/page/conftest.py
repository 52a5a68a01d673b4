"""Chromium for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_langfuse.report.page.html_page import write_page
from tests.helpers.chromium import chromium_started, complaints_of


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with chromium_started() as browser:
        yield browser


@pytest.fixture
def opened(chromium, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Write the page for lines, and open it. The test fails if the page complains, or asks anybody for anything."""
    contexts, complaints, requests = [], [], []

    def open_page(rows: Iterable[dict[str, Any]], place: str = "", **options: Any) -> Any:
        path = tmp_path / "report.html"
        write_page(rows, path)
        options = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce", **options}
        context = chromium.new_context(**options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        complaints.append(complaints_of(page))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + place)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("body.app")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for of_page in complaints for text in of_page] == []
    uri = (tmp_path / "report.html").as_uri()
    assert [url for url in requests if url.partition("#")[0] != uri and not url.startswith("data:image/")] == []
