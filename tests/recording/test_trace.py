"""Linking observations into a forest, and what a trace shows of its observations."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_langfuse.recording import build_traces, link, observe
from tests.helpers.spans import TRACE_ID, record, seen

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def observation(number, parent=None, *, start=0, end=100, trace=TRACE_ID, name=None, **attributes):
    return observe(
        record(
            {key.replace("__", "."): value for key, value in attributes.items()},
            number=number,
            parent=parent,
            trace=trace,
            name=name or f"o{number}",
            start=START + start,
            end=None if end is None else START + end,
        )
    )


def names(observations):
    return [item.name for item in observations]


class TestLink:
    def test_parents_and_children_in_the_order_in_which_they_started(self):
        root, late, early = observation(1), observation(2, 1, start=9), observation(3, 1, start=5)
        assert names(link([late, root, early])) == ["o1", "o3", "o2"]
        assert names(root.children) == ["o3", "o2"]
        assert late.parent is root
        assert root.parent is None

    def test_a_parent_that_is_not_there_leaves_none(self):
        dangling = observation(1, 99)
        link([dangling])
        assert dangling.parent is None
        assert dangling.parent_id == f"{99:016x}"

    def test_ids_are_unique_only_within_a_trace(self):
        here, there = observation(1), observation(1, trace="b" * 32)
        child = observation(2, 1, trace="b" * 32)
        link([here, there, child])
        assert child.parent is there
        assert here.children == []

    def test_ties_keep_the_given_order_with_parents_first(self):
        grandchild, child, other, root = observation(3, 2), observation(2, 1), observation(4), observation(1)
        assert names(link([grandchild, child, other, root])) == ["o1", "o2", "o3", "o4"]
        assert names(link([other, root, child, grandchild])) == ["o4", "o1", "o2", "o3"]

    def test_a_child_that_starts_before_its_parent_comes_first(self):
        parent, child = observation(1, start=5), observation(2, 1)
        assert names(link([parent, child])) == ["o2", "o1"]
        assert child.parent is parent

    def test_linking_again_forgets_what_was(self):
        root, child = observation(1), observation(2, 1)
        link([root, child])
        link([child])
        assert child.parent is None
        link([root])
        assert root.children == []

    def test_a_span_that_is_there_twice(self):
        root, again, child = observation(1, name="first"), observation(1, name="second"), observation(2, 1)
        assert len(link([root, again, child])) == 3
        assert child.parent is root
        assert again.children == []

    @pytest.mark.parametrize("parents", [{1: 1}, {1: 2, 2: 1}, {1: 2, 2: 3, 3: 1, 4: 2, 5: 4}, {1: 2, 2: 3, 3: 2}])
    def test_a_ring_of_parents_is_cut_once(self, parents):
        observations = link([observation(number, parent, start=number) for number, parent in parents.items()])
        assert sum(item.parent is None for item in observations) == 1
        assert sorted(reachable(observations)) == sorted(names(observations))

    @pytest.mark.slow
    @pytest.mark.parametrize("shape", ["deep", pytest.param("wide", marks=pytest.mark.exhaustive)])
    def test_100_000_observations(self, shape):
        count = 100_000
        observations = [seen(start=START)]
        observations += [
            seen(number=number, parent=number - 1 if shape == "deep" else 1, start=START + number)
            for number in range(2, count + 1)
        ]
        linked = link(reversed(observations))
        assert linked == observations
        assert len(linked[0].children) == (1 if shape == "deep" else count - 1)
        assert count > sys.getrecursionlimit()
        (trace,) = build_traces(linked)
        assert trace.roots == [linked[0]]

    @given(st.lists(st.tuples(st.integers(1, 8), st.none() | st.integers(1, 9), st.integers(0, 3)), max_size=12))
    def test_any_ids_give_a_forest(self, rows):
        given_rows = [observation(number, parent, start=start) for number, parent, start in rows]
        linked = link(given_rows)
        assert sorted(map(id, linked)) == sorted(map(id, given_rows))
        assert sorted(map(id, walked(linked))) == sorted(map(id, linked))
        starts = [item.record.start_ns for item in linked]
        assert starts == sorted(starts)


def walked(observations):
    stack = [item for item in observations if item.parent is None]
    found = []
    while stack:
        found.append(stack.pop())
        stack.extend(found[-1].children)
    return found


def reachable(observations):
    return names(walked(observations))


class TestTrace:
    def test_traces_in_the_order_in_which_they_started(self):
        traces = build_traces(
            [observation(1, trace="b" * 32, start=5), observation(2), observation(3, trace="b" * 32, start=9)]
        )
        assert [trace.id for trace in traces] == [TRACE_ID, "b" * 32]
        assert names(traces[1].observations) == ["o1", "o3"]

    def test_nothing(self):
        assert build_traces([]) == []

    def test_input_output_and_metadata_are_the_root_s(self):
        root = observation(
            1, langfuse__observation__input="in", langfuse__observation__output="{}", langfuse__trace__metadata__k='"v"'
        )
        (trace,) = build_traces([root, observation(2, 1, langfuse__observation__input="other")])
        assert (trace.input, trace.output, trace.metadata) == ("in", {}, {"k": "v"})

    def test_an_app_root_with_a_parent_elsewhere_gives_its_name_only(self):
        root = observation(1, 99, name="app", langfuse__internal__is_app_root=True, langfuse__observation__input="in")
        (trace,) = build_traces([root])
        assert (trace.name, trace.input) == ("app", None)
        assert trace.roots == [root]

    def test_no_root_no_name(self):
        (trace,) = build_traces([observation(1, 99)])
        assert trace.name is None

    def test_a_trace_name_on_any_observation_wins(self):
        (trace,) = build_traces([observation(1), observation(2, 1, langfuse__trace__name="T")])
        assert trace.name == "T"
        (trace,) = build_traces([observation(1), observation(2, 1, langfuse__trace__name="")])
        assert trace.name == "o1"

    def test_what_ended_last_stands(self):
        inner = observation(2, 1, end=50, user__id="inner", langfuse__environment="a", langfuse__trace__tags=["x"])
        outer = observation(1, end=90, user__id="outer", langfuse__environment="b", session__id="s")
        running = observation(3, 1, end=None, langfuse__version="9")
        (trace,) = build_traces([inner, outer, running])
        assert (trace.user_id, trace.session_id, trace.version) == ("outer", "s", "9")
        assert trace.environment == "default"  # of the one that still runs
        assert trace.tags == ["x"]

    @pytest.mark.parametrize(
        ("levels", "level"),
        [
            (["DEBUG", "DEFAULT"], "DEFAULT"),
            (["DEBUG"], "DEBUG"),
            (["WARNING", "DEFAULT"], "WARNING"),
            (["DEFAULT", "ERROR", "WARNING"], "ERROR"),
        ],
    )
    def test_the_gravest_level(self, levels, level):
        (trace,) = build_traces(
            observation(number, langfuse__observation__level=word) for number, word in enumerate(levels, start=1)
        )
        assert trace.level == level

    def test_usage_and_cost_are_sums(self):
        (trace,) = build_traces(
            [
                observation(
                    1,
                    langfuse__observation__usage_details='{"input": 1}',
                    langfuse__observation__cost_details='{"input": 0.5, "output": 0.25}',
                ),
                observation(
                    2,
                    1,
                    langfuse__observation__usage_details='{"input": 2, "cached": 3}',
                    langfuse__observation__cost_details='{"cache": 1}',
                ),
                observation(3, 1, langfuse__observation__cost_details='{"total": "0.25"}'),
            ]
        )
        assert trace.usage == {"input": 3, "cached": 3, "total": 6}
        assert trace.cost == {"input": 0.5, "output": 0.25, "total": 1.0, "cache": 1}
        assert trace.total_cost == 1.0

    def test_a_cost_that_is_no_number_spoils_the_sum(self):
        (trace,) = build_traces(
            [
                observation(1, langfuse__observation__cost_details='{"total": "NaN"}'),
                observation(2, 1, langfuse__observation__cost_details='{"total": 1}'),
            ]
        )
        assert trace.cost == {"total": None}
        assert trace.total_cost is None

    def test_a_span_that_was_sent_twice_counts_once(self):
        twice = [observation(1, langfuse__observation__usage_details='{"input": 1}') for _ in range(2)]
        (trace,) = build_traces(twice)
        assert trace.usage == {"input": 1, "total": 1}
        assert len(trace.observations) == 2

    def test_repr(self):
        (trace,) = build_traces([observation(1, name="answer")])
        assert repr(trace) == "<Trace 'answer': 1 observations>"
