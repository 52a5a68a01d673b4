"""Measure the page of a report in Chromium: how soon it is usable, and whether it scrolls smoothly.

    python benchmarks/page.py [--sizes 10000,100000] [--repeat N]

A run of 1,000 tests, of which one holds half of all observations. Usable is the time from the navigation until the
tests are listed and can be filtered; then the large test is opened, its tree scrolled, and all observations searched.
The times of frames are those of a machine with other work; the processor time of one is what the page needs.
Long tasks are those of 50 ms and more, of which the longest counts. Also measures how long it takes to write the page
of 1,000 tests of five observations each. Needs Chromium and playwright (`make browser` installs Chromium).
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from measure import Table, progress, spread, surroundings

from pytest_langfuse.report.page.html_page import script, style, write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession

#: Seconds until the page has to be usable, by its observations.
_USABLE: Final = {10_000: 0.5, 100_000: 1.5}
_WRITE: Final = 1.5
_SIZE: Final = 60.0
#: The processor time of a frame while the tree scrolls, in milliseconds: a screen shows 60 a second.
_FRAME: Final = 16.7
_FRAMES: Final = 120
_TESTS: Final = 1_000
_START: Final = 1_795_780_800_000_000
_TYPES: Final = ("span", "generation", "retriever", "tool", "agent")
_ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")

#: Notes when the application is there, and the longest task.
_WATCH: Final = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask", buffered: true });
new MutationObserver((changes, self) => {
  if (!document.querySelector("#list [role=option]")) return;
  window.usable = performance.now();
  self.disconnect();
}).observe(document, { subtree: true, childList: true });
"""
_OPEN: Final = """
() => new Promise((done) => {
  const start = performance.now();
  new MutationObserver((changes, self) => {
    if (!document.querySelector(".tree-row")) return;
    self.disconnect();
    requestAnimationFrame(() => done(performance.now() - start));
  }).observe(document, { subtree: true, childList: true });
  location.hash = "test=tests/test_0.py::test_0";
})
"""
_SCROLL: Final = """
() => new Promise((done) => {
  const grid = document.querySelector("[role=treegrid]");
  const frames = [];
  let before = performance.now();
  const step = (now) => {
    frames.push(now - before);
    before = now;
    grid.scrollTop += 400;
    if (frames.length < FRAMES) requestAnimationFrame(step);
    else done(frames.slice(2).sort((one, other) => one - other));
  };
  requestAnimationFrame(step);
})
""".replace("FRAMES", str(_FRAMES))
_SEARCH: Final = """
() => new Promise((done) => {
  const start = performance.now();
  const total = document.getElementById("total");
  new MutationObserver((changes, self) => {
    if (!total.textContent.includes("with the text")) return;
    self.disconnect();
    done(performance.now() - start);
  }).observe(total, { subtree: true, childList: true });
  const filter = document.getElementById("filter");
  filter.value = "answer 77";
  filter.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
})
"""


def run_of(observations: int, tests: int = _TESTS, *, skewed: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run; `skewed` means that the first test holds half of the observations."""
    chance = random.Random(1)  # noqa: S311 - no secret
    yield {"kind": "run", "schema": 1, "started": "2026-11-27T12:00:00+00:00", "command": "tests"}
    for number in range(tests):
        count = observations // tests
        if skewed:
            count = observations // 2 if number == 0 else observations // 2 // (tests - 1)
        name = f"tests/test_{number % 40}.py::test_{number}"
        yield {
            "kind": "test",
            "test": name,
            "fault": None,
            "outcome": "failed" if number % 100 == 7 else "passed",  # noqa: PLR2004
            "duration": chance.random(),
            "message": "",
            "tokens": 7 * count,
            "cost": 0.0001 * count,
            "models": ["gpt-4o"],
        }
        for position in range(count):
            yield _observation(name, number, position, chance)


def _observation(name: str, number: int, position: int, chance: random.Random) -> dict[str, Any]:
    kind = _TYPES[position % 5]
    is_call = kind == "generation"
    return {
        "kind": "observation",
        "test": name,
        "fault": None,
        "trace": f"{number:032x}",
        "id": f"{chance.getrandbits(64):016x}",
        "parent": None if position % 50 == 0 else f"{position:016x}",
        "name": f"{kind} {position % 20}",
        "type": kind,
        "level": "DEFAULT",
        "start": _START + 1_000_000 * number + 100 * position,
        "duration": chance.random() / 100,
        "input": {"messages": [{"role": "user", "content": f"question {chance.random()}"}]} if is_call else None,
        "output": f"answer {chance.getrandbits(40)} " * 3,
        "metadata": {"tenant": f"t-{position % 7}"},
        "model": "gpt-4o" if is_call else "",
        "usage": {"input": 3, "output": 4} if is_call else {},
        "cost": {"total": 0.0001} if is_call else {},
        "environment": "default",
        "place": "shop/app.py:12",
        "exported": True,
        "attributes": {"langfuse.observation.type": kind, "gen_ai.system": "openai", "n": position},
    }


_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def measure(browser: Browser, path: Path) -> dict[str, float]:
    """Return the figures of one visit, in milliseconds."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.add_init_script(_WATCH)
    page.goto(path.as_uri())
    page.wait_for_selector("#list [role=option]")
    figures: dict[str, float] = {
        "usable": page.evaluate("window.usable"),
        # Chromium reports it a while after it has painted.
        "first paint": page.wait_for_function(_FIRST_PAINT).json_value(),
        "longest task": page.evaluate("window.longest"),
        "open": page.evaluate(_OPEN),
    }
    # What the opened test still draws is not a part of the scrolling.
    page.wait_for_timeout(500)
    before = _processor_time(devtools)
    frames = page.evaluate(_SCROLL)
    spent = _processor_time(devtools) - before
    figures |= {
        "frame": frames[int(len(frames) * 0.95)],
        "longest frame": frames[-1],
        "of a frame": 1000 * spent / _FRAMES,
        "search": page.evaluate(_SEARCH),
    }
    page.close()
    return figures


def _processor_time(devtools: CDPSession) -> float:
    """Return the seconds that the page's thread has worked."""
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000", metavar="N,N", help="observations of the runs")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="visits of each page")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table to this file, as Markdown")
    arguments = parser.parse_args()
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        progress("page.py needs Chromium: `make browser` installs it on Debian and Ubuntu")
        return 0
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not there where Chromium is not

    table = Table(
        "The page of a report",
        f"Milliseconds in Chromium, headless, from the disk, median [range] of {arguments.repeat} visits; 1,000 tests, "
        f"of which one holds half of the observations and is the one that is opened. {surroundings()}",
        (
            "observations",
            "MB",
            "first paint",
            "usable",
            "longest task",
            "open a test",
            "frame, p95",
            "longest",
            "search all",
        ),
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
        for size in map(int, arguments.sizes.split(",")):
            path = Path(folder) / f"{size}.html"
            write_page(run_of(size), path)
            progress(f"{size:,} observations: {path.stat().st_size / 1e6:.1f} MB")
            visits = [measure(browser, path) for _ in range(arguments.repeat)]
            values = {name: [visit[name] for visit in visits] for name in visits[0]}
            columns = ("first paint", "usable", "longest task", "open", "frame", "longest frame", "search")
            size_in_mb = f"{path.stat().st_size / 1e6:.1f}"
            table.rows.append((f"{size:,}", size_in_mb, *(spread(values[name], 0) for name in columns)))
            if size in _USABLE:
                usable = statistics.median(values["usable"]) / 1000
                table.require(f"{size:,} observations are usable after, s", usable, _USABLE[size])
            of_a_frame = statistics.median(values["of a frame"])
            table.require(f"{size:,} observations scroll, processor time of a frame, ms", of_a_frame, _FRAME, 1)
        browser.close()
        start = time.perf_counter()
        write_page(run_of(5 * _TESTS, skewed=False), Path(folder) / "small.html")
        table.require("write the page of 1,000 tests of five observations, s", time.perf_counter() - start, _WRITE)
    code = (len(script().encode()) + len(style().encode())) / 1000
    table.require("script and style, kB", code, _SIZE, 1)
    return table.finish(arguments.markdown)


if __name__ == "__main__":
    sys.exit(main())
