"""Secrets of which the text is known, however another text spells them."""

from __future__ import annotations

import html
import json
import random
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote

import pytest

from pytest_langfuse.expect.literal.name_pattern import name_text
from pytest_langfuse.rules.secrets.environment_keys import EnvironmentKeys
from pytest_langfuse.rules.secrets.own_pattern import own_pattern
from pytest_langfuse.rules.secrets.redactor import Redactor
from pytest_langfuse.rules.secrets.unescaped import Unescaped

MARK = "[redacted: A_SECRET]"
GITHUB = "ghp_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6"
OPENAI = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" + "T3BlbkFJ" + "z1Y2x3W4v5U6t7S8r9Q0"

VALUES = {
    "plain": "Zt7-kd83Hq-zz81-QQ",
    "quotes": "pa\"ss\\wo<9&87>x'y",
    "line breaks": "first line of it\nsecond\tline of it\r\nthird",
    "non-ASCII": "пароль-sécrèt-😀",
    "no word": "ü-ü-ü-ü-ü-ü-ü-ü",
    "globs": "https://x.org/?k=def*[a]87",
    "backslashes": "C:\\new\\table\\\\x\\",
    "quotes at the ends": '"quoted secret"',
    "escapes in it": 'abc\\n\\u00e4\\"def',
    "JSON": '{\n "client": "svc",\n "client_secret_value": "Zt7-kd83Hq-zz81-QQ"\n}',
}


def coded(text: str) -> str:
    """Return JSON in which each character is written by its number."""
    return '"' + "".join(f"\\u{unit:04X}" for unit in memoryview(text.encode("utf-16-le")).cast("H")) + '"'


def punctuation_coded(text: str) -> str:
    """Return JSON as some encoders write it for HTML."""
    return "".join(
        char if char.isalnum() or char in '\\"' else f"\\u{ord(char):04x}" if char.isascii() else char
        for char in json.dumps(text, ensure_ascii=False)
    )


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "ascii": ascii,
    "repr in a repr": lambda text: repr(repr(text)),
    "repr in a dict": lambda text: repr({"key": [text, 'it\'s "so"']}),
    "JSON": json.dumps,
    "JSON in Unicode": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps({"a": json.dumps({"b": text})}),
    "JSON in JSON in Unicode": lambda text: json.dumps({"a": json.dumps([text], ensure_ascii=False)}),
    "four times": lambda text: json.dumps(json.dumps(json.dumps(json.dumps([text])))),
    "JSON in a repr": lambda text: f"E   assert {json.dumps({'a': text})!r} == 'x'",
    "numbers": coded,
    "numbers in JSON": lambda text: json.dumps({"a": coded(text)}),
    "numbers of punctuation": punctuation_coded,
    "URL": lambda text: f"https://example.org/?key={quote(text, safe='')}&x=1",
    "HTML": lambda text: f"<p>{html.escape(text)}</p>",
    "name in a literal": lambda text: f"span {name_text(text)} output=x",
    "name in a literal in JSON": lambda text: json.dumps({"failure": f"span {name_text(text)}"}),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("value", VALUES)
def test_a_key_is_replaced_however_it_is_spelled(value: str, spelling: str) -> None:
    redactor = Redactor(EnvironmentKeys({VALUES[value]: "A_SECRET"}))
    written = SPELLINGS[spelling](VALUES[value])
    for text in (written, f"before {written} after", json.dumps([1, written, "after"])):
        found = redactor.text(text)
        assert MARK in found
        for word in ("kd83Hq", "87", "second", "sécrèt", "ü-ü", "table", "quoted", "def", "svc", "00fc", "C3%BC"):
            assert word not in found
        if text != VALUES[value] and is_json(text):
            assert is_json(found)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_json_keeps_everything_else_as_it_was() -> None:
    redactor = Redactor(EnvironmentKeys({VALUES["JSON"]: "A_SECRET"}))
    rest = '{"a":1.50, "b" : 1e400,"b":[12345678901234567890123, "ä\\u00e4\\/"],\n"c": %s}'
    assert redactor.text(rest % json.dumps(VALUES["JSON"])) == rest % f'"{MARK}"'


def test_a_secret_that_reaches_over_strings_leaves_json() -> None:
    redactor = Redactor(EnvironmentKeys(), [own_pattern("tenant", r'"tenant": "\w+"')])
    assert json.loads(redactor.text('{"tenant": "acme", "x": 1}')) == "[redacted: a secret of the pattern 'tenant']"
    redactor = Redactor(EnvironmentKeys({"123456789012": "A_SECRET"}))
    assert json.loads(redactor.text('{"otp": 123456789012}')) == MARK
    assert redactor.value({"otp": 123456789012, "n": 5, "yes": True}) == {"otp": MARK, "n": 5, "yes": True}


@pytest.mark.parametrize("name", ["lines", "margins", "difference", "values"])
def test_parts_of_a_value_are_replaced(name: str) -> None:
    redactor = Redactor(EnvironmentKeys({VALUES["JSON"]: "A_SECRET"}))
    lines = VALUES["JSON"].splitlines()
    text: object = {
        "lines": lines,
        "margins": "\n".join(f"E       {line}" for line in lines),
        "difference": "\n".join(f"E     + {line}" for line in lines),
        # The application has decoded it.
        "values": {"key": {"value": "Zt7-kd83Hq-zz81-QQ"}},
    }[name]
    assert "kd83Hq" not in str(redactor.value(text))
    assert MARK in str(redactor.value(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # pytest leaves out the middle of what is long.
        ("assert 'Zt7-kd83Hq...z81-QQ' == 'x'", f"assert '{MARK}' == 'x'"),
        ("input is 'key Zt7-kd83H…', expected", f"input is 'key {MARK}', expected"),
        ("input is '…q-zz81-QQ', expected", f"input is '{MARK}', expected"),
        # A few characters could be those of anything.
        ("Zt7-k...", "Zt7-k..."),
        ("kd83... zz81", "kd83... zz81"),
    ],
)
def test_what_others_have_cut_is_replaced(text: str, expected: str) -> None:
    assert Redactor(EnvironmentKeys({VALUES["plain"]: "A_SECRET"})).text(text) == expected


@pytest.mark.parametrize("secret", [GITHUB, OPENAI])
@pytest.mark.parametrize(
    "text",
    [
        lambda secret: json.dumps({"a": f"first\n{secret}"}),
        lambda secret: repr(f"first\n{secret}\nlast"),
        lambda secret: f"E   assert {json.dumps({'a': secret})!r}".replace("-", "\\u002d").replace("_", "\\u005f"),
        lambda secret: json.dumps(json.dumps([secret])).replace("-", "\\u002d").replace("_", "\\u005f"),
        lambda secret: f"found {secret} in '{secret[:30]}...'",
    ],
)
def test_what_lf010_recognises_is_replaced_behind_escapes(text: Callable[[str], str], secret: str) -> None:
    found = Redactor(EnvironmentKeys()).text(text(secret))
    assert secret[8:25] not in found
    assert "[redacted: a" in found


def test_what_is_like_a_secret_is_left_alone() -> None:
    redactor = Redactor(EnvironmentKeys({"Zt7-kd83Hq-zz81-QQ": "A_SECRET", "{}-{}-{}-{}-{}": "B_SECRET"}))
    for text in ('{"a": "\\u0041\\n", "b": "C:\\\\x"}', "Zt7-kd83Hq", "100%25 & &amp; \\", "…", "{}-{} ...", ""):
        assert redactor.text(text) == text


def test_places_of_what_was_escaped() -> None:
    written = 'a\\\\\\"b%C3%A4c&lt;d\\ud83d\\ude00e\\\\'
    plain = Unescaped(written)
    assert plain.text == 'a"bäc<d😀e'
    places = [plain.was_at(place) for place in range(len(plain.text) + 1)]
    parts = [written[first:last] for first, last in pairwise(places)]
    assert parts == ["a", '\\\\\\"', "b", "%C3%A4", "c", "&lt;", "d", "\\ud83d\\ude00", "e"]


@pytest.mark.parametrize(
    "unit", ["\\", '\\"', "%", "%C3", "&", "...", "Zt7-kd83", "Zt7-kd83...", '["', "\\u00", "\\ud83d", "ü-", "...81-QQ"]
)
def test_long_texts_do_not_hold_the_run_up(unit: str) -> None:
    # Work that grows with the square of the length would take minutes.
    redactor = Redactor(EnvironmentKeys(dict.fromkeys(VALUES.values(), "A_SECRET")))
    text = unit * (400_000 // len(unit))
    assert redactor.text(text)
    assert redactor.value([text])


def test_random_values_in_random_spellings() -> None:
    chooser = random.Random(15)
    for _ in range(300):
        value = "".join(chooser.choices("ab1\"'\\\n\t ü😀<&>%-{}[]:", k=14)) + "Qz"
        redactor = Redactor(EnvironmentKeys({value: "A_SECRET"}))
        text = value
        for _ in range(chooser.randint(0, 3)):
            text = chooser.choice((json.dumps, repr, lambda one: json.dumps([one], ensure_ascii=False)))(text)
        found = redactor.text(text)
        assert MARK in found, (value, text, found)
        assert not is_json(text) or text == value or is_json(found), (value, text, found)


JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.Zt7kd83HqLw0zz81QQ.xYz"


@pytest.mark.parametrize(
    ("value", "innocent", "secret"),
    [
        # What all keys of an issuer begin with is no part of one.
        (OPENAI, "sk-proj-...", "sk-proj-a1B2..."),
        ("github_pat_" + "a1B2c3D4" * 8, "github_pat_…", "github_pat_a1…"),
        ("sk_live_" + "a1B2c3D4", "sk_live_...", "sk_live_a1..."),
        (JWT, "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", f"Bearer {JWT[:40]}..."),
        (JWT, "eyJhbGci...", f"...{JWT[-8:]}"),
        # The payload comes first: {"user": ...}.
        ("eyJ1c2VyIjoiYSJ9.Zt7kd83HqLw0", "eyJ1c2V...", "eyJ1c2VyIjoi..."),
        ("postgresql://app:hunter22@db/x", "postgresql://...", "postgresql://app:hun..."),
        ("https://example.org/?token=x", "https://…", "https://example.org/?tok…"),
        (f"Bearer {GITHUB}", "Bearer ...", "Bearer ghp_..."),
        ("Bearer-like-start", "Bearer ...", "Bearer-l..."),
    ],
)
def test_what_is_known_of_a_secret_is_no_part_of_it(value: str, innocent: str, secret: str) -> None:
    redactor = Redactor(EnvironmentKeys({value: "A_SECRET"}))
    assert redactor.text(f"see {innocent} there") == f"see {innocent} there"
    assert MARK in redactor.text(f"see {secret} there")


@pytest.mark.parametrize("length", range(30))
def test_what_was_cut_of_an_innocent_text_is_not_a_secret(length: int) -> None:
    redactor = Redactor(EnvironmentKeys({"correct horse battery": "A_SECRET", "horse battery staple": "B_SECRET"}))
    text = "a correct horse batter and a horse battery stap, not a correct horse batte"
    assert redactor.text(text) == text
    beginning = redactor.trimmed_end(text[:length])
    assert text.startswith(beginning)
    assert length - 14 <= len(beginning) <= length
    assert redactor.text(f"{beginning}…") == f"{beginning}…"
    text = "rrect horse battery and orse battery staple, not ttery staple"
    rest = redactor.trimmed_start(text[-length:])
    assert text.endswith(rest)
    assert redactor.text(f"…{rest}") == f"…{rest}"
    assert redactor.text("a correct horse…") == f"a {MARK}…".replace("…", "")
