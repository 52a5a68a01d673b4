"""Findings as SARIF 2.1.0, which GitHub code scanning and editors show.

A result is a place, since GitHub shows the first location alone. Its fingerprint is made of what the baseline knows it
by, so that an alert stays the same where lines move.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pytest_langfuse.rules.one_line import one_line
from pytest_langfuse.rules.rule_page import page_of

if TYPE_CHECKING:
    from pytest_langfuse.rules.checked import CheckedPlace
    from pytest_langfuse.rules.rule import Rule

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(places: Sequence[CheckedPlace], rules: Sequence[Rule]) -> str:
    """Return a SARIF log with a run of these rules."""
    index = {rule.code: number for number, rule in enumerate(rules)}
    driver = {
        "name": "pytest-langfuse",
        "version": version("pytest-langfuse"),
        "rules": [_rule(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, index, print_) for one, print_ in zip(places, _fingerprints(places), strict=True)],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(rule: Rule) -> dict[str, Any]:
    why = " ".join((rule.check.__doc__ or rule.name).split())
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split()),
        "shortDescription": {"text": rule.name},
        "fullDescription": {"text": why},
        "help": {
            "text": f"{why} python -m pytest_langfuse.rules explain {rule.code} tells more.",
            "markdown": page_of(rule.code),
        },
        "defaultConfiguration": {"level": rule.severity},
    }


def _fingerprints(places: Sequence[CheckedPlace]) -> list[str]:
    """Return texts that differ by place: several places of a function are numbered in their order."""
    found: dict[int, str] = {}
    counts: Counter[str] = Counter()
    for number, one in sorted(enumerate(places), key=lambda item: (item[1].uri, item[1].line)):
        counts[one.key.fingerprint] += 1
        found[number] = f"{one.key.fingerprint}:{counts[one.key.fingerprint]}"
    return [found[number] for number in range(len(places))]


def _result(one: CheckedPlace, index: dict[str, int], fingerprint: str) -> dict[str, Any]:
    finding = one.finding
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index[finding.code],
        "level": "error" if finding.severity == "error" or one.fails else "warning",
        "message": {"text": one.text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(one.uri), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": one.line},
                },
                **_logical(one),
            }
        ],
        "partialFingerprints": {
            "pytestLangfuse/v1": fingerprint,
            # The one by which GitHub tells alerts apart.
            "primaryLocationLineHash": fingerprint,
        },
        "occurrenceCount": one.times,
    }
    if one.is_known:
        result["suppressions"] = [{"kind": "external", "justification": "it is in the baseline"}]
    return result


def _logical(one: CheckedPlace) -> dict[str, Any]:
    names = [one_line(one.key.function)] if one.key.function else []
    names += [one.finding.shown_observation] if one.finding.observation else []
    return {"logicalLocations": [{"fullyQualifiedName": name} for name in names]} if names else {}
