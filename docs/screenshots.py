"""Take the pictures of the report for the documentation, in Chromium.

    python docs/screenshots.py REPORT.html

REPORT.html is what `make demo` ends with. Writes docs/images/.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import ViewportSize, sync_playwright

IMAGES: Final = Path(__file__).with_name("images")
#: Of each picture: its test and fault, the observation that is shown, and whether it is dark.
PICTURES: Final = {
    "report-difference": ("test_answer", "", "llm", False),
    "report-processes": ("test_one_trace_over_gateway_orders_and_worker", "", "thank", True),
    "report-outage": ("test_takes_feedback", "hang", "", False),
}
SIZE: Final[ViewportSize] = {"width": 1360, "height": 700}


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, metavar="REPORT.html")
    report = parser.parse_args().report.absolute()
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        sys.exit("Chromium is not installed: `make browser` installs it on Debian and Ubuntu")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        for name, (test, fault, observation, is_dark) in PICTURES.items():
            page = browser.new_page(viewport=SIZE, color_scheme="dark" if is_dark else "light")
            page.goto(report.as_uri())
            rows = page.locator("#list [role=option]")
            rows.filter(has_text=test).filter(has_text=fault or test).first.click()
            page.wait_for_selector("#test:not([hidden]) h2")
            if observation:
                page.locator(".tree-row", has_text=observation).first.click()
                page.locator("#side h2", has_text=observation).wait_for()
            page.screenshot(path=IMAGES / f"{name}.png")
            page.close()
        browser.close()
    print("\n".join(f"docs/images/{name}.png" for name in PICTURES))


if __name__ == "__main__":
    main()
