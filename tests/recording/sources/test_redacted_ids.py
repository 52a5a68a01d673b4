"""Ids of tests in which a part was redacted."""

from __future__ import annotations

import pytest

from pytest_langfuse.recording.sources.redacted_ids import could_be, same_tests, without_number

A, B = "test_it.py::test_a[[redacted: A_TOKEN]]", "test_it.py::test_a[[redacted: B_TOKEN]-x]"
#: Values of variables are never shorter.
LONG = "a1B2c3D4e5F6"


@pytest.mark.parametrize(
    ("redacted", "other", "expected"),
    [
        (A, f"test_it.py::test_a[{LONG}]", True),
        (A, "test_it.py::test_a[short]", False),
        (A, f"test_it.py::test_b[{LONG}]", False),
        (A, f"test_it.py::test_a[{LONG}]-more", False),
        (A, f"test_it.py::test_a[{LONG}\n{LONG}]", True),
        (f"{A} (2)", f"test_it.py::test_a[{LONG}]", True),
        (A, "test_it.py::test_a[[redacted: OTHER_TOKEN]]", True),
        (A, "test_it.py::test_a[[redacted: OTHER_TOKEN]] (2)", True),
        (B, f"test_it.py::test_a[{LONG}-x]", True),
        (B, f"test_it.py::test_a[{LONG}-y]", False),
        # What a pattern has found may be short.
        ("test_a[[redacted: a secret of the pattern 'order']]", "test_a[7]", True),
        ("test_a[[redacted: a secret of the pattern 'order']]", "test_a[]", False),
        ("[redacted: A_SECRET]::test_a[[redacted: B_TOKEN]] (2)", f"{LONG}::test_a[{LONG}]", True),
        (f"{A}-b-{A}", f"test_it.py::test_a[{LONG}]-b-test_it.py::test_a[{LONG}]", True),
        (f"{A}-b-{A}", f"test_it.py::test_a[{LONG}]-b-test_it.py::test_a[]", False),
        ("t[[redacted: A_TOKEN][redacted: B_TOKEN]]", f"t[{LONG}{LONG}]", True),
        ("t[[redacted: A_TOKEN][redacted: B_TOKEN]]", f"t[{LONG}]", False),
        ("t[[redacted: A_TOKEN]]]", f"t[{LONG[1:]}]]", False),
        # All ways to split it would take for ever.
        ("[redacted: a key]-" * 100 + "!", "a-" * 2_000, False),
        ("test_a[x.y]", "test_a[xzy]", False),
        ("test_a", "test_a", False),
    ],
)
def test_what_an_id_may_have_been(redacted: str, other: str, expected: bool) -> None:
    assert could_be(redacted, other) is expected


def test_numbers() -> None:
    assert without_number(f"{A} (12)") == without_number(A) == A
    assert without_number("test_a[x] (2)") == "test_a[x] (2)"


@pytest.mark.parametrize(
    ("ids", "others", "expected"),
    [
        ([A, "test_b"], [f"test_it.py::test_a[{LONG}]", "test_c"], {A: f"test_it.py::test_a[{LONG}]"}),
        ([A], ["test_it.py::test_a[[redacted: OTHER]]"], {A: "test_it.py::test_a[[redacted: OTHER]]"}),
        # It may be any of them.
        ([A], [f"test_it.py::test_a[{LONG}{number}]" for number in range(2)], {}),
        ([A, f"{A} (2)"], [f"test_it.py::test_a[{LONG}]"], {}),
        # Those that are alike are numbered in the order of their ids.
        (
            [f"{A} (2)", A, f"{A} (10)", *(f"{A} ({number})" for number in range(3, 10))],
            [f"test_it.py::test_a[{LONG}{number}]" for number in range(10)],
            {
                A: f"test_it.py::test_a[{LONG}0]",
                **{f"{A} ({number})": f"test_it.py::test_a[{LONG}{number - 1}]" for number in range(2, 11)},
            },
        ),
        (["test_a"], ["test_b"], {}),
        ([], [A], {}),
    ],
)
def test_pairs(ids: list[str], others: list[str], expected: dict[str, str]) -> None:
    assert dict(same_tests(ids, others)) == expected
    assert {one: other for other, one in same_tests(others, ids)} == expected


def test_each_id_is_in_one_pair() -> None:
    ids = [f"t[[redacted: {name}]{end}" for name in ("A", "B") for end in ("]", "-x]")]
    others = [f"t[{LONG}]", f"t[{LONG}-x]"]
    pairs = same_tests(ids, others)
    assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)


def test_many_ids_are_paired_by_their_beginnings() -> None:
    # Each with each would take minutes.
    ids = [f"test_{number:05}[[redacted: A_TOKEN]]" for number in range(20_000)]
    others = [f"test_{number:05}[{LONG}]" for number in range(20_000)]
    assert same_tests(ids, others) == list(zip(ids, others, strict=True))
