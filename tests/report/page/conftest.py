"""Chromium for the tests of this folder: Debian's, or any that is on the path."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_langfuse.report.page.html_page import write_page

#: It runs without a sandbox, since containers allow none, and asks nobody on the network.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    # Not of the session: as long as it is there, asyncio believes that a loop runs in this thread.
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium is not installed: `make browser` installs it on Debian and Ubuntu")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


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
        page.on("pageerror", lambda error: complaints.append(f"{error}\n{error.stack}"))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + place)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("body.app")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    uri = (tmp_path / "report.html").as_uri()
    assert [url for url in requests if url.partition("#")[0] != uri and not url.startswith("data:image/")] == []
