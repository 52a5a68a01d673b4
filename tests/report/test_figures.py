"""Figures in the terminal, in summaries and on the page."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from pytest_langfuse.report.figures import amount, counted, duration, money
from pytest_langfuse.report.page.html_page import ASSETS

MONEY = {
    0: "$0.00",
    0.00000012: "$1.2e-7",
    0.0000042: "$0.0000042",
    0.00001: "$0.000010",
    0.00123: "$0.0012",
    0.5: "$0.5000",
    1: "$1.00",
    1234567.891: "$1,234,567.89",
}
DURATIONS = {
    0: "0 µs",
    0.000412: "412 µs",
    0.0009996: "1.0 ms",
    0.0041: "4.1 ms",
    0.00996: "10 ms",
    0.0412: "41 ms",
    0.09996: "100 ms",
    0.9996: "1.00 s",
    4.1: "4.10 s",
    59.996: "1 m 0 s",
    119.6: "2 m 0 s",
    3725: "62 m 5 s",
}


def test_amounts_of_money() -> None:
    assert {dollars: money(dollars) for dollars in MONEY} == MONEY
    assert money(0.00123, estimated=True) == "$0.0012 est."


def test_durations() -> None:
    assert {seconds: duration(seconds) for seconds in DURATIONS} == DURATIONS
    assert duration(None) == ""


def test_counts() -> None:
    assert (amount(1234.4), counted(1, "test"), counted(2000, "test")) == ("1,234", "1 test", "2,000 tests")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_page_writes_them_alike() -> None:
    script = f"""
        {(ASSETS / "dom.js").read_text(encoding="utf-8")}
        const found = [{json.dumps(list(MONEY))}.map((dollars) => money(dollars)), money(0.00123, true),
                       {json.dumps(list(DURATIONS))}.map(secondsText)];
        console.log(JSON.stringify(found));
    """
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True, encoding="utf-8")
    assert json.loads(done.stdout) == [list(MONEY.values()), "$0.0012 est.", list(DURATIONS.values())]
