"""What tests of rules share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langfuse import Langfuse

from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.recording.start_place import StartPlaces
from pytest_langfuse.rules.finding import Finding
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet

#: Returns what a rule finds in the test so far; options are like "LF028.tolerance=0.05".
Find = Callable[..., list[Finding]]


@pytest.fixture
def client(langfuse_spans) -> Langfuse:
    """A client whose observations are captured, with the places of their starts."""
    recorder = hooks.recorder
    assert recorder is not None
    # This file counts as the application's, as everything that is not in an installed package.
    recorder.places = StartPlaces(lambda _: False)
    hooks.see_what_rules_ask_for()
    yield Langfuse(public_key="pk-lf-rules", secret_key="sk-lf-rules", base_url="http://127.0.0.1:9")
    recorder.places = None


@pytest.fixture
def find(client, langfuse_spans) -> Find:
    """What a rule finds in the test so far, as after the test and its fixtures."""

    def found(code: str, *options: str, final: bool = True) -> list[Finding]:
        evidence = evidence_of(langfuse_spans._source, "test", final=final)
        return RuleSet.of([code], options=options).find(evidence)

    return found
