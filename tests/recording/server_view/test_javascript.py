"""Numbers and texts as JavaScript writes them. The expected values are what Node.js prints."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_langfuse.recording.server_view import javascript


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (1.5, "1.5"),
        (-2.50, "-2.5"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (123456789012345680000.0, "123456789012345680000"),
        (2**63 - 1, "9223372036854776000"),
        (2**53, "9007199254740992"),
        (1e-6, "0.000001"),
        (1.25e-5, "0.0000125"),
        (1e-7, "1e-7"),
        (-1.5e-10, "-1.5e-10"),
        (0.1 + 0.2, "0.30000000000000004"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (-float("inf"), "-Infinity"),
    ],
)
def test_number_text(value, written):
    assert javascript.number_text(value) == written


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_itself(value):
    assert float(javascript.number_text(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1.0, None, True, 'ü\n\x01"\\'], "b": {}}, '{"a":[1,null,true,"ü\\n\\u0001\\"\\\\"],"b":{}}'),
        ({"b": 2, "4294967295": 1, "4294967294": 3, "01": 4}, '{"4294967294":3,"b":2,"4294967295":1,"01":4}'),
        (float("nan"), "null"),
        ([], "[]"),
        ("x", '"x"'),
    ],
)
def test_stringify(value, written):
    assert javascript.stringify(value) == written


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_values)
def test_what_is_written_is_read_back(value):
    assert javascript.parse_json(javascript.stringify(value)) == value
    assert javascript.parse_json(json.dumps(value)) == value


@given(st.text() | st.text('0123456789-+.eE[]{}":, NaInfity', max_size=12))
@example("NaN")
@example("[-Infinity]")
@example(" 1 ")
def test_text_that_is_no_json_stays(text):
    try:
        expected = json.loads(text, parse_constant=refuse)
    except ValueError:
        assert javascript.parse_json_or_text(text) == text
    else:
        assert javascript.parse_json_or_text(text) == expected or contains_a_number(expected)


def refuse(constant):
    raise ValueError(constant)


def contains_a_number(value):
    """A number may stay text, see `TestInputAndOutput`."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, int | float) or any(map(contains_a_number, items))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", 0),
        (" 12 ", 12),
        ("1e3", 1000),
        (".5", 0.5),
        ("5.", 5),
        ("0x1F", 31),
        ("0b11", 3),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        (True, 1),
        (None, 0),
        ([], 0),
        (["7"], 7),
    ],
)
def test_to_number(value, expected):
    assert javascript.to_number(value) == expected


@pytest.mark.parametrize("value", ["x", "1_0", "nan", "inf", "1 2", "0x", {}, ["a", "b"], "\N{ARABIC-INDIC DIGIT ONE}"])
def test_no_number(value):
    assert math.isnan(javascript.to_number(value))


@pytest.mark.parametrize(("value", "expected"), [("12px", 12), (" -3.9", -3), (7, 7), (2.9, 2), ("+1", 1)])
def test_parse_int(value, expected):
    assert javascript.parse_int(value) == expected


@pytest.mark.parametrize("value", ["", "x1", None, True, [], "-", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_no_integer(value):
    assert math.isnan(javascript.parse_int(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "null"), (True, "true"), ([1, None, "a", [2.0, 3]], "1,,a,2,3"), ({}, "[object Object]"), (1.0, "1")],
)
def test_text(value, expected):
    assert javascript.text(value) == expected
