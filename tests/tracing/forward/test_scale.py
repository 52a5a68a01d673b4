"""Applications, a broker and forwarders that are killed: what Kafka has acknowledged arrives."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT

SOAK = ROOT / "benchmarks" / "production" / "soak_scale.py"


@pytest.fixture
def soak_scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from production import soak_scale

    return soak_scale


@pytest.mark.slow
@pytest.mark.long
def test_nothing_acknowledged_is_lost_over_kills_and_rebalances():
    # Each kill repeats what was on the wire: more of 50,000 spans than of the million of `make soak-scale`.
    arguments = ["--spans", "50000", "--turns", "1", "--rate", "3000", "--most-twice", "4"]
    done = subprocess.run(
        [sys.executable, str(SOAK), *arguments], capture_output=True, text=True, check=False, timeout=LIMIT
    )

    printed = done.stdout
    assert done.returncode == 0, printed + done.stderr
    pytest.LineMatcher(printed.splitlines()).fnmatch_lines(
        [
            "*turn 1 of 1",
            "*a second forwarder has joined",
            "*a forwarder was killed, another one starts",
            "*the two others share its partitions",
            "*an application was killed, another one starts",
            "*the broker hung and was killed",
            "*the broker is back, and spans go both ways",
            "*a forwarder has left",
            "*the applications have ended",
            "acknowledged: *; acknowledged and lost: 0",
            "PASSED",
        ]
    )
    verdict = re.search(r"^acknowledged: ([\d,]+) spans; arrived: ([\d,]+);", printed, flags=re.MULTILINE)
    assert verdict is not None
    acknowledged, arrived = (int(number.replace(",", "")) for number in verdict.groups())
    assert arrived >= acknowledged >= 50_000


def test_its_verdict(soak_scale: ModuleType):
    def result(acknowledged=100, arrived=101, distinct=100, lost=0, faults=()):
        return soak_scale.Result(acknowledged, arrived, distinct, lost, list(faults))

    assert result().passed(2.0)
    assert result().text(2.0) == (
        "acknowledged: 100 spans; arrived: 100; arrived again: 1 (1.00 %, at most 2 %); acknowledged and lost: 0\n"
        "PASSED"
    )
    lost = result(lost=1)
    assert not lost.passed(2.0)
    assert lost.text(2.0).endswith("acknowledged and lost: 1\nFAILED")
    assert not result(arrived=103).passed(2.0)
    assert result(arrived=103).passed(3.0)
    assert not result(acknowledged=0, arrived=0, distinct=0).passed(2.0)
    wrong = result(faults=["application 1: {'ended': 3}"])
    assert not wrong.passed(2.0)
    assert wrong.text(2.0).startswith("application 1: {'ended': 3}\n")


def test_ids_that_another_process_is_writing(soak_scale: ModuleType, tmp_path: Path):
    file = soak_scale.IdFile(tmp_path / "ids")
    assert (file.count(), file.new()) == (0, [])
    file.path.write_bytes(b"12345678abcdefghXY")
    assert (file.count(), file.new()) == (2, [b"12345678", b"abcdefgh"])
    with file.path.open("ab") as more:
        more.write(b"Z45678")
    assert (file.count(), file.new(), file.new()) == (3, [b"XYZ45678"], [])
