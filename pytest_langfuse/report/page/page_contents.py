"""The contents of the page, made of the lines of a run: an index of the tests, and packed data behind it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pytest_langfuse.recording.sources.json_lines import EXCEEDED, FAILED
from pytest_langfuse.report.amounts import number_of
from pytest_langfuse.report.figures import money, told_apart
from pytest_langfuse.report.page.data_blocks import RowBlocks, json_text, packed
from pytest_langfuse.report.page.outage_events import events_of
from pytest_langfuse.report.page.tree_columns import TreeColumns, text_of
from pytest_langfuse.report.recorded_rows import noun_of
from pytest_langfuse.report.run_summary import first_difference
from pytest_langfuse.report.sent_images import IMAGE_TYPES, LARGEST

#: Fields of a test that its list shows, and their types; the others are decoded when the test is opened.
_LISTED: Final[Mapping[str, type | tuple[type, ...]]] = {
    "outcome": str,
    "duration": (int, float),
    "message": str,
    "observations": int,
    "tokens": (int, float),
    "cost": (int, float),
    "cost_estimated": bool,
    "models": list,
    "unended": int,
    "lost": int,
    "degraded": str,
    "blocked": str,
    "blocked_seconds": (int, float),
    "healthy_outcome": str,
    "healthy_duration": (int, float),
    "missing": str,
}
#: Outcomes of tests of which a failure was expected, as pytest calls them.
_EXPECTED: Final[Mapping[str, str]] = {"skipped": "xfailed", "passed": "xpassed"}
#: Of an attempt after which a test was run again.
_ATTEMPT: Final[Mapping[str, type | tuple[type, ...]]] = {
    "outcome": str,
    "duration": (int, float),
    "message": str,
    "failure": str,
    "observations": int,
    "tokens": (int, float),
    "cost": (int, float),
    "cost_estimated": bool,
}
#: Fields that are decoded with the tree.
_OPENED: Final[Mapping[str, type]] = {"failure": str, "outage": dict, "health": dict, "stored": dict}
_SIDES: Final = ("before", "after")
#: Tests whose events in an outage are told where scripts are not allowed.
_TOLD: Final = 20
#: Observations whose trees are decoded together.
_TOGETHER: Final = 2_000
_BASE64: Final = re.compile(r"\A[A-Za-z0-9+/]+={0,2}\Z")
#: Three bytes are four characters of base64.
_LONGEST_IMAGE: Final = (LARGEST + 2) // 3 * 4

Row = Mapping[str, Any]


class PageContents:
    """Takes the lines one by one; holds only the test that is read, and what is packed of the others."""

    def __init__(self) -> None:
        self.run: dict[str, Any] = {}
        self.runs: int = 0
        #: Of all runs: why tests are missing, why they fail besides their tests, and with which status.
        self.incomplete: Final[list[str]] = []
        self.errors: Final[list[str]] = []
        self.exit_statuses: Final[list[int]] = []
        #: What a test is called: recorded traces have none, and no run either.
        self.noun: str = "test"
        self.tests: Final[list[dict[str, Any]]] = []
        #: Findings that no baseline has, by their rules.
        self.findings: Final[Counter[str]] = Counter()
        self.details: Final = RowBlocks()
        self.trees: Final[list[str]] = []
        #: Images, packed, and what is known of these and of other media, by their ids.
        self.images: Final[list[str]] = []
        self._media: dict[str, dict[str, Any]] = {}
        #: What is shown of failed tests where scripts are not allowed.
        self.failures: Final[list[dict[str, Any]]] = []
        #: What happened in some tests that an outage made worse, or that lost something: where scripts are not allowed.
        self.told: Final[dict[str, list[dict[str, Any]]]] = {"degraded": [], "other": []}
        #: Those that have changed since an earlier run.
        self.changed: Final[list[dict[str, Any]]] = []
        self._numbers: dict[tuple[str, str | None], int] = {}
        #: Tests that the earlier run does not have.
        self._added: set[tuple[str, str | None]] = set()
        self._open: int | None = None
        self._columns = TreeColumns(0)
        self._heavy: dict[str, Any] = {}
        self._parts: list[str] = []
        self._rows = 0

    def add_all(self, rows: Iterable[Row]) -> None:
        """Take all lines of a run."""
        for row in rows:
            self._add(row)
        self._close_test()
        self._close_trees()
        self.details.close()

    def index(self) -> dict[str, Any]:
        """Return what the page's script needs to begin with."""
        return {"noun": self.noun, "tests": self.tests, "starts": self.details.starts, "media": self._media}

    # -- lines ---------------------------------------------------------------------------------------------------

    def _add(self, row: Row) -> None:
        kind = row.get("kind")
        if kind == "run":
            # Of several files, the first one names the page.
            self.run = self.run or dict(row)
            self.noun = noun_of(row, self.noun if self.runs else None)
            self.runs += 1
            self.incomplete.extend(texts_of(row.get("incomplete")))
            self.errors.extend(texts_of(row.get("errors")))
            if status := number_of(row.get("exit_status")):
                self.exit_statuses.append(int(status))
            added = _part(row, "compared").get("added")
            self._added |= {(text_of(one[0]), text_of(one[1]) or None) for one in _pairs(added)}
        elif kind == "test":
            self._add_test(row)
        elif kind == "observation":
            self._test_of(row)
            self.details.add(self._columns.add(row))
        elif kind == "finding":
            self._add_finding(row)
        elif kind == "score":
            self._test_of(row)
            self._heavy.setdefault("scores", []).append(_without(row, "kind", "test", "fault"))
        elif kind == "media":
            self._add_media(row)
        elif kind == "outage":
            self._add_outage(row)
        elif kind == "comparison":
            self._add_comparison(row)

    def _add_test(self, row: Row) -> None:
        test = self._test_of(row)
        test |= _typed(row, _LISTED)
        # As lines have it that earlier versions have written, too.
        test["message"] = first_difference(row)
        if isinstance(row.get("xfail"), str):
            test["outcome"] = _EXPECTED.get(test["outcome"], test["outcome"])
        if attempts := [_typed(one, _ATTEMPT) for one in _list(row.get("attempts")) if isinstance(one, dict)]:
            test["reruns"] = len(attempts)
            self._heavy["attempts"] = attempts
        self._heavy |= _typed(row, _OPENED)
        if difference := _difference(row.get("difference")):
            self._heavy["difference"] = difference
        if "outage" in self._heavy:
            self._heavy["events"] = events = events_of(self._heavy["outage"])
            told = self.told["degraded" if test.get("degraded") else "other"]
            if len(told) < _TOLD and (test.get("degraded") or test.get("lost")):
                told.append({**test, "events": events})
        if test["outcome"] in FAILED:
            self.failures.append({**test, "failure": text_of(row.get("failure"))})

    def _add_finding(self, row: Row) -> None:
        test = self._test_of(row)
        code = text_of(row.get("code"))
        if not row.get("known"):
            self.findings[code] += 1
            test["findings"][code] = test["findings"].get(code, 0) + 1
        self._heavy.setdefault("findings", []).append(_without(row, "kind", "test", "fault"))

    def _add_media(self, row: Row) -> None:
        id_, kind, content = text_of(row.get("id")), text_of(row.get("content_type")), text_of(row.get("content"))
        known: dict[str, Any] = {"size": number_of(row.get("size")), "why": text_of(row.get("left_out"))}
        if kind in IMAGE_TYPES and len(content) <= _LONGEST_IMAGE and _BASE64.fullmatch(content):
            known["number"] = len(self.images)
            self.images.append(packed(f"data:{kind};base64,{content}"))
        if "number" in known or id_ not in self._media:
            self._media[id_] = known

    def _add_outage(self, row: Row) -> None:
        """Take the line of a test in an outage: it knows the healthy run, and older files have no other line."""
        self._test_of(row).update(_typed(row, _LISTED))

    def _add_comparison(self, row: Row) -> None:
        test = self._test_of(row)
        changes, exceeded = texts_of(row.get("changes")), texts_of(row.get("exceeded"))
        sentences = texts_of(row.get("sentences"))
        test["changes"] = changes or ["another tree" if sentences else "renamed"]
        if exceeded:
            test["exceeded"] = exceeded
            if test["outcome"] == "passed":
                # As versions before wrote it.
                test["outcome"] = EXCEEDED
        compared: dict[str, Any] = {
            "was": text_of(row.get("was")),
            "with": text_of(_part(self.run, "compared").get("with")),
        }
        sides = [_part(row, side) for side in _SIDES]
        costs = _costs_of(*sides)
        compared |= {name: {**side, "cost": cost} for name, side, cost in zip(_SIDES, sides, costs, strict=True)}
        compared["difference"] = _difference(row.get("difference"))
        self._heavy["comparison"] = compared
        told = {"sentences": sentences, "exceeded": exceeded, "was": compared["was"], "worse": row.get("worse") is True}
        self.changed.append({**test, **told})

    # -- tests ---------------------------------------------------------------------------------------------------

    def _test_of(self, row: Row) -> dict[str, Any]:
        """Return the test that a line belongs to, and make it the one that is read."""
        name = text_of(row.get("test"))
        fault = text_of(row.get("fault")) or None
        number = self._numbers.get((name, fault))
        if number is None:
            number = self._numbers[name, fault] = len(self.tests)
            self.tests.append({"test": name, "fault": fault, "outcome": "passed", "findings": {}, "parts": []})
            if (name, fault) in self._added:
                self.tests[-1]["added"] = True
        if number != self._open:
            self._close_test()
            self._open = number
            self._columns = TreeColumns(self.details.count)
        return self.tests[number]

    def _close_test(self) -> None:
        if self._open is None or not (self._heavy or len(self._columns)):
            return
        test = self.tests[self._open]
        test["parts"].append([len(self.trees), len(self._parts), self._columns.first, len(self._columns)])
        self._parts.append(json_text({**self._heavy, "tree": self._columns.contents()}))
        self._rows += len(self._columns)
        self._heavy, self._columns = {}, TreeColumns(self.details.count)
        if self._rows >= _TOGETHER or len(self._parts) >= _TOGETHER:
            self._close_trees()

    def _close_trees(self) -> None:
        if self._parts:
            self.trees.append(packed(f"[{','.join(self._parts)}]"))
            self._parts, self._rows = [], 0


def _typed(row: Row, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a line that have the right types; null, NaN and infinity are as good as nothing."""
    found = {name: row[name] for name, kind in types.items() if isinstance(row.get(name), kind)}
    numbers = {name for name, kind in types.items() if kind in (int, (int, float))}
    return {name: value for name, value in found.items() if name not in numbers or number_of(value) is not None}


def _difference(value: Any) -> dict[str, Any] | None:
    """Return both sides of a failed assertion, a line each."""
    if not isinstance(value, dict):
        return None
    sides = {
        side: [_cell(cell) for cell in value[side]]
        for side in ("expected", "captured")
        if isinstance(value.get(side), list)
    }
    if len(sides) < 2:  # noqa: PLR2004 - both are compared
        return None
    return {**sides, "sentence": text_of(value.get("sentence")), "sentences": texts_of(value.get("sentences"))}


def _cell(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    texts = {name: text_of(value.get(name)) for name in ("text", "state", "observation")}
    return {**texts, "number": number_of(value.get("number"))}


def texts_of(value: Any) -> list[str]:
    """Return a value of a line that should be a list of texts as one."""
    return [text_of(one) for one in _list(value)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _part(row: Row, name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _costs_of(*sides: Row) -> list[str]:
    """Return the costs of both sides as texts, which differ where the costs do."""
    costs = [number_of(side.get("cost")) for side in sides]
    texts = ["" if cost is None else money(cost) for cost in costs]
    before, after = costs
    if before is not None and after is not None:
        texts = [*told_apart(money, before, after)]
    return [
        f"{text} est." if text and side.get("cost_estimated") else text for text, side in zip(texts, sides, strict=True)
    ]


def _pairs(value: Any) -> list[list[Any]]:
    return [one for one in _list(value) if isinstance(one, list) and len(one) == 2]  # noqa: PLR2004 - id and fault


def _without(row: Row, *names: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names and value is not None}
