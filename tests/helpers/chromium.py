"""Chromium for tests: Debian's, or any that is on the path."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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


@contextmanager
def chromium_started() -> Iterator[Any]:
    """A browser; the test is skipped where there is none.

    As long as it is there, asyncio believes that a loop runs in this thread: a fixture of it is one of a module.
    """
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium is not installed: `make browser` installs it on Debian and Ubuntu")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


def complaints_of(page: Any) -> list[str]:
    """What the page will complain about: errors, messages on the console, dialogs."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(f"{error}\n{error.stack}"))
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: found.append(dialog.message))
    return found
