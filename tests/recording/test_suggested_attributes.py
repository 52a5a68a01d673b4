"""An attribute that does not exist: the error names the one that was meant."""

from __future__ import annotations

import copy

import pytest

from pytest_langfuse import Observation, Observations, Trace
from pytest_langfuse.recording.sources.static import StaticSource
from tests.helpers.forest import observation
from tests.helpers.spans import seen

OBSERVED = seen()
MADE = observation("span", "a")
SPANS = Observations(StaticSource([OBSERVED]))
TRACE = SPANS.traces[0]


@pytest.mark.parametrize(
    ("owner", "name", "message"),
    [
        (OBSERVED, "usage_details", "'Observation' object has no attribute 'usage_details', did you mean 'usage'?"),
        (MADE, "usage_details", "'Observation' object has no attribute 'usage_details', did you mean 'usage'?"),
        (MADE, "sesion_id", "'Observation' object has no attribute 'sesion_id', did you mean 'session_id'?"),
        (MADE, "total_cost", "'Observation' object has no attribute 'total_cost', did you mean 'cost.total'?"),
        (MADE, "zzz", "'Observation' object has no attribute 'zzz'"),
        (TRACE, "userid", "'Trace' object has no attribute 'userid', did you mean 'user_id'?"),
        (TRACE, "usage_details", "'Trace' object has no attribute 'usage_details', did you mean 'usage'?"),
        (
            SPANS,
            "assert_contain",
            "'Observations' object has no attribute 'assert_contain', did you mean 'assert_contains'?",
        ),
        (SPANS, "filter", "'Observations' object has no attribute 'filter', did you mean 'all'?"),
        (SPANS, "usage_details", "'Observations' object has no attribute 'usage_details', did you mean 'usage'?"),
        # What libraries look for is no mistake.
        (SPANS, "__html__", "'Observations' object has no attribute '__html__'"),
    ],
)
def test_the_error_suggests(owner: Observation | Observations | Trace, name: str, message: str) -> None:
    with pytest.raises(AttributeError) as error:
        getattr(owner, name)
    assert str(error.value) == message
    assert not hasattr(owner, name)


def test_a_field_that_was_never_set_is_not_suggested_for_itself() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'model'$"):
        _ = object.__new__(Observation).model


@pytest.mark.parametrize("owner", [OBSERVED, MADE])
def test_copies_are_made_as_before(owner: Observation) -> None:
    assert copy.copy(owner).name == owner.name
    assert copy.deepcopy(owner).id == owner.id
