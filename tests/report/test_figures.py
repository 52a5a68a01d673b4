"""Figures in the terminal, in summaries and on the page."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable

import pytest

from pytest_langfuse.report.figures import amount, counted, duration, money, told_apart
from pytest_langfuse.report.page.html_page import ASSETS

MONEY = {
    0: "$0.00",
    0.00000012: "$1.2e-7",
    0.0000042: "$0.0000042",
    0.00001: "$0.000010",
    0.00123: "$0.0012",
    0.00035: "$0.00035",
    0.00004951: "$0.000050",
    0.0009996: "$0.0010",
    0.5: "$0.5000",
    1: "$1.00",
    1234567.891: "$1,234,567.89",
    5e-324: "$4.9e-324",
    0.00009999: "$0.00010",
    0.03125: "$0.0313",
    0.99994: "$0.9999",
    0.99996: "$1.00",
    1.125: "$1.13",
    1e300: "$1.0e300",
    -3.2: "-$3.20",
    -0.00007: "-$0.000070",
    -1e-9: "-$1.0e-9",
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
    3599.4: "59 m 59 s",
    3599.6: "1 h 0 m",
    3725: "1 h 2 m",
    86_399: "1 d 0 h",
    1_000_000: "11 d 14 h",
    15_810_076_800.0: "182,987 d",
    1e22: "1.2e17 d",
    0.125: "125 ms",
    4.125: "4.13 s",
    0.0000005: "1 µs",
    -5: "-5.00 s",
    -0.0004: "-400 µs",
    -1e-9: "0 µs",
    86_399_999: "1,000 d",
}


AMOUNTS = {
    0: "0",
    -0.001: "0",
    -3.2: "-3.2",
    0.125: "0.13",
    1234.5: "1,234.5",
    999_999_999_999_999: "999,999,999,999,999",
    1e15: "1.0e15",
    1e30: "1.0e30",
    -1e300: "-1.0e300",
}


def test_amounts_of_money() -> None:
    assert {dollars: money(dollars) for dollars in MONEY} == MONEY
    assert money(0.00123, estimated=True) == "$0.0012 est."


@pytest.mark.parametrize(
    ("write", "one", "other", "texts"),
    [
        (money, 0.00035, 0.00035, ("$0.00035", "$0.00035")),
        (money, 0.5, 0.525, ("$0.5000", "$0.5250")),
        (money, 0.29001, 0.29, ("$0.29001", "$0.29")),
        (money, 4.961e-05, 4.962e-05, ("$0.00004961", "$0.00004962")),
        (money, 1234.561, 1234.562, ("$1,234.561", "$1,234.562")),
        (money, -1.001, -1.002, ("-$1.001", "-$1.002")),
        (money, 1.01e-9, 1.02e-9, ("$1.01e-09", "$1.02e-09")),
        (money, 1.01e300, 1.02e300, ("$1.01e+300", "$1.02e+300")),
        (lambda number: f"{amount(number)} tokens", 500.001, 500, ("500.001 tokens", "500 tokens")),
    ],
)
def test_two_numbers_that_differ_look_different(
    write: Callable[[float], str], one: float, other: float, texts: tuple[str, str]
) -> None:
    assert told_apart(write, one, other) == texts


def test_durations() -> None:
    assert {seconds: duration(seconds) for seconds in DURATIONS} == DURATIONS
    assert duration(None) == duration(True) == ""


def test_counts() -> None:
    assert {number: amount(number) for number in AMOUNTS} == AMOUNTS
    assert (counted(1, "test"), counted(2000, "test")) == ("1 test", "2,000 tests")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_page_writes_them_alike() -> None:
    chance = random.Random(1)
    # Halves, which two languages round in two ways, and numbers of every size.
    odd = [part / 64 for part in range(-70, 200)] + [
        chance.choice((-1, 1)) * 10 ** chance.uniform(-9, 20) for _ in range(500)
    ]
    numbers = [*MONEY, *DURATIONS, *AMOUNTS, *odd]
    script = f"""
        {(ASSETS / "dom.js").read_text(encoding="utf-8")}
        const numbers = {json.dumps(numbers)};
        const writers = [(one) => money(one), secondsText, figure];
        console.log(JSON.stringify([money(0.00123, true), ...writers.map((write) => numbers.map(write))]));
    """
    done = subprocess.run(
        ["node", "-"], input=script, capture_output=True, text=True, check=True, encoding="utf-8", timeout=60
    )
    wanted = [[write(number) for number in numbers] for write in (money, duration, amount)]
    assert json.loads(done.stdout) == ["$0.0012 est.", *wanted]
