"""Secrets in lines."""

from __future__ import annotations

import json

import pytest

from pytest_langfuse.report.redaction import Redaction, encoded, keys_of_environment

KEY = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" + "T3BlbkFJ" + "z1Y2x3W4v5U6t7S8r9Q0"
TOKEN = "ghp_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6"
BEARER = "q8Zr2Lw9Xc4Vb7Nm1Kp5Tg3Hy6"
PASSWORD = "hunter22"


def written(row: object, **keys: str) -> str:
    return Redaction({value: name for name, value in keys.items()}).line({"kind": "x"}, {"row": row})


@pytest.mark.parametrize(
    ("row", "secret", "expected"),
    [
        (f"key {KEY}.", KEY, "key [redacted: an OpenAI API key]."),
        # JSON writes a line break as a letter, which would join the key.
        (f"first\n{KEY}\nlast", KEY, "first\n[redacted: an OpenAI API key]\nlast"),
        ({"a": [{"b": TOKEN}]}, TOKEN, {"a": [{"b": "[redacted: a GitHub token]"}]}),
        ({TOKEN: 1}, TOKEN, {"[redacted: a GitHub token]": 1}),
        # The label is a key of an object, the secret its value.
        (
            {"headers": {"Authorization": f"Bearer {BEARER}"}},
            BEARER,
            {"headers": {"Authorization": "Bearer [redacted: an Authorization header]"}},
        ),
        # JSON in a text, as attributes have it.
        (
            json.dumps({"authorization": f"Bearer {BEARER}"}),
            BEARER,
            '{"authorization": "Bearer [redacted: an Authorization header]"}',
        ),
        # A short password may be a word: it is replaced where it is one.
        (
            f"postgres://app:{PASSWORD}@db.internal/x, and {PASSWORD} as a word",
            f"app:{PASSWORD}",
            f"postgres://app:[redacted: a URL with a password]@db.internal/x, and {PASSWORD} as a word",
        ),
    ],
)
def test_secrets_are_replaced(row: object, secret: str, expected: object) -> None:
    line = written(row)
    assert secret not in line
    assert json.loads(line)["row"] == expected


def test_a_secret_is_replaced_wherever_it_stands_in_the_line() -> None:
    line = written({"attribute": f'{{"authorization": "Bearer {BEARER}"}}', "input": {"x": BEARER}})
    assert BEARER not in line
    assert json.loads(line)["row"]["input"] == {"x": "[redacted: an Authorization header]"}


def test_keys_of_the_environment_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", 'my "own" sécret')
    monkeypatch.setenv("ACME_API_KEY", "short")
    keys = keys_of_environment()
    assert keys['my "own" sécret'] == "LANGFUSE_SECRET_KEY"
    assert "short" not in keys
    line = Redaction(keys).line({"kind": "x"}, {"text": 'it is my "own" sécret, short'})
    assert json.loads(line)["text"] == "it is [redacted: LANGFUSE_SECRET_KEY], short"


def test_what_is_clean_is_left_alone() -> None:
    row = {"text": "sk-learn, https://example.org/a@b, " + "0123456789abcdef" * 2, "n": [1, 2.5, None, True]}
    assert json.loads(written(row))["row"] == row


def test_what_json_can_not_hold() -> None:
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    row = {"nan": float("nan"), "inf": [float("-inf")], "big": 10**5_000, "bytes": b"\xff", 3: "key", "deep": deep}
    found = json.loads(encoded(row))
    assert (found["nan"], found["inf"], found["bytes"], found["3"]) == (None, [None], "ff", "key")
    assert found["big"].startswith("[an integer of 16,")
    assert "[nested too deeply" in json.dumps(found["deep"])
    assert json.loads(encoded({"surrogate": "\ud800"})) == {"surrogate": "\ud800"}


def test_a_key_that_is_a_part_of_another_one() -> None:
    keys = {"correct horse": "SHORT_SECRET", "correct horse battery": "LONG_SECRET"}
    line = Redaction(keys).line({"kind": "x"}, {"text": "correct horse battery, correct horse"})
    assert json.loads(line)["text"] == "[redacted: LONG_SECRET], [redacted: SHORT_SECRET]"
