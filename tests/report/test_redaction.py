"""Secrets in lines."""

from __future__ import annotations

import json
import sys
import threading
from xml.etree import ElementTree as ET

import pytest

from pytest_langfuse import Observations
from pytest_langfuse.report.redaction import Redaction, encoded
from pytest_langfuse.rules.secrets import own_pattern as own_pattern_module
from pytest_langfuse.rules.secrets.environment_keys import EnvironmentKeys, keys_of_environment
from pytest_langfuse.rules.secrets.own_pattern import own_pattern
from tests.helpers.application import _no_keys, app
from tests.helpers.json_lines import lines_of
from tests.helpers.report_page import blocks, index

__all__ = ["_no_keys", "app"]

KEY = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" + "T3BlbkFJ" + "z1Y2x3W4v5U6t7S8r9Q0"
TOKEN = "ghp_" + "aB3dE6fG9hJ2kL5mN8pQ1rS4tU7vW0xY3zA6"
BEARER = "q8Zr2Lw9Xc4Vb7Nm1Kp5Tg3Hy6"
PASSWORD = "hunter22"


def written(row: object, **keys: str) -> str:
    return Redaction(EnvironmentKeys({value: name for name, value in keys.items()})).line({"kind": "x"}, {"row": row})


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
    names = {one.text: one.mark for one in keys.secrets}
    assert names['my "own" sécret'] == "[redacted: LANGFUSE_SECRET_KEY]"
    assert "short" not in names
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
    line = Redaction(EnvironmentKeys(keys)).line({"kind": "x"}, {"text": "correct horse battery, correct horse"})
    assert json.loads(line)["text"] == "[redacted: LONG_SECRET], [redacted: SHORT_SECRET]"


def test_an_attribute_is_cut_after_secrets_were_taken_out() -> None:
    redaction = Redaction(EnvironmentKeys())
    # Only its start would be left.
    text = "x " * 4_990 + KEY + " y" * 100
    for row in (redaction.row({"attributes": {"a": text}}), redaction.shortened({"attributes": {"a": text}})):
        shown = row["attributes"]["a"]
        assert shown.startswith("x " * 4_990 + "[redacted: an OpenAI")
        assert shown.endswith("… [209 more characters]")


# -- patterns of a project ---------------------------------------------------------------------------------------

ORDER = own_pattern("order-id", r"\bORD-\d{6}\b")
MARK = "[redacted: a secret of the pattern 'order-id']"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("of ORD-123456.", f"of {MARK}."),
        # As JSON in a text, it stands behind an `n`.
        ('["first\\nORD-123456"]', f'["first\\n{MARK}"]'),
        ({"ORD-123456": [{"a": "ORD-123456"}]}, {MARK: [{"a": MARK}]}),
        ("ORD-12345, XORD-123456", "ORD-12345, XORD-123456"),
        (f"ORD-123456 and {TOKEN}", f"{MARK} and [redacted: a GitHub token]"),
    ],
)
def test_own_patterns_are_replaced(row: object, expected: object) -> None:
    redaction = Redaction(EnvironmentKeys(), [ORDER])
    assert json.loads(redaction.line({"kind": "x"}, {"row": row}))["row"] == expected
    assert redaction.row({"kind": "x", "row": row})["row"] == expected


def test_a_match_with_escapes_is_replaced_in_json_in_a_text() -> None:
    redaction = Redaction(EnvironmentKeys(), [own_pattern("name", 'Zoë "Z" Doe')])
    for text in (json.dumps(['Zoë "Z" Doe']), json.dumps(['Zoë "Z" Doe'], ensure_ascii=False)):
        assert redaction.text(text) == "[\"[redacted: a secret of the pattern 'name']\"]"


def test_own_patterns_are_replaced_in_any_thread() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(Redaction(EnvironmentKeys(), [ORDER]).text("ORD-123456")))
    thread.start()
    thread.join()
    assert found == [MARK]


def test_what_a_slow_pattern_can_not_search_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_pattern_module, "_LIMIT", 0.05)
    slow = own_pattern_module.OwnPattern("slow", "(?:[b-z]+)+!")
    row = {"outcome": "passed", "input": {"a": "b" * 100}, "tags": ["x"], "status": "b" * 100, "n": 5, "health": {}}
    line = json.loads(Redaction(EnvironmentKeys(), [slow]).line({"kind": "x"}, row))
    assert "bbb" not in str(line)
    assert (line["outcome"], line["input"], line["tags"], line["n"], line["health"]) == ("passed", {}, [], 5, None)
    assert line["status"].startswith("[redacted: not searched, since the pattern 'slow', ")


OWN_SECRETS = """
    import pytest
    from app import langfuse

    @pytest.mark.parametrize("order", ["ORD-111111"])
    def test_red(order, langfuse_spans, record_property):
        record_property("order", order)
        with langfuse.start_as_current_observation(name=f"answer {order}", input={"id": order}) as one:
            one.update(output=f"first\\n{order}", metadata={order: 1}, status_message=order)
            one.score(name="good", value=1, comment=order)
        print(order)
        langfuse_spans.assert_tree(f'span "answer {order}" output=none')
"""


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n1", marks=pytest.mark.slow)])
def test_own_secrets_are_in_no_report(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    app.makepyfile(test_it=OWN_SECRETS)
    pattern = "langfuse_rules = LF010.pattern.order-id=ORD-\\d{6}"
    app.makeini(f"[pytest]\n{pattern}\njunit_logging = all\njunit_family = xunit1\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "summary.md"))
    result = app.runpytest(
        "--langfuse-json=run.jsonl", "--langfuse-report=report.html", "--junit-xml=junit.xml", workers
    )
    result.assert_outcomes(failed=1)
    page = (app.path / "report.html").read_text()
    data = [index(page), blocks(page, "tree"), blocks(page, "details")]
    files = [page, str(data), *((app.path / name).read_text() for name in ("run.jsonl", "summary.md", "junit.xml"))]
    for text in files:
        assert "ORD-1" not in text
    assert [row["input"] for row in lines_of(app.path / "run.jsonl", "observation")] == [{"id": MARK}]
    case = next(ET.parse(app.path / "junit.xml").iter("testcase"))
    assert case.get("name") == f"test_red[{MARK}]"
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    assert properties["order"] == MARK
    assert len(str(properties["langfuse_trace_ids"])) == 32


def test_rows_of_tests_that_are_alike_without_their_secrets_stay_apart() -> None:
    redaction = Redaction(EnvironmentKeys({"a1B2c3D4e5F6": "A_TOKEN"}), [ORDER])
    tests = ["t[a1B2c3D4e5F6]", "t[[redacted: A_TOKEN]]", "t[x]", "t[ORD-111111]", "t[ORD-222222]", "t[x] (2)"]
    mark = "t[[redacted: a secret of the pattern 'order-id']]"
    shown = ["t[[redacted: A_TOKEN]]", "t[[redacted: A_TOKEN]] (2)", "t[x]", mark, f"{mark} (2)", "t[x] (2)"]
    for _ in range(2):
        for kind in ("test", "observation"):
            assert [redaction.row({"kind": kind, "test": test, "name": "x"})["test"] for test in tests] == shown
    assert redaction.row({"kind": "run"}) == {"kind": "run"}
    assert redaction.row({"kind": "outage", "test": None})["test"] is None


def test_the_page_of_a_file_has_each_of_the_tests_that_are_alike_without_their_secrets(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.makepyfile(
        test_it="""
        import pytest
        from app import langfuse

        @pytest.mark.parametrize("value", ["first-a1B2c3D4e5F6", "second-a1B2c3D4e5F6"])
        def test_a(value):
            langfuse.start_observation(name=value).end()
    """
    )
    app.runpytest("--langfuse-json=run.jsonl").assert_outcomes(passed=2)
    # Keys of later, with which the page is made.
    monkeypatch.setenv("A_TOKEN", "first-a1B2c3D4e5F6\nsecond-a1B2c3D4e5F6")
    result = app.run(sys.executable, "-m", "pytest_langfuse.report", "run.jsonl", "-o", "page.html")
    assert result.ret == 0
    page = (app.path / "page.html").read_text()
    assert [test["test"].rpartition("::")[2] for test in index(page)["tests"]] == [
        "test_a[[redacted: A_TOKEN]]",
        "test_a[[redacted: A_TOKEN]] (2)",
    ]
    assert "a1B2c3D4e5F6" not in str([page, index(page), blocks(page, "tree"), blocks(page, "details")])


@pytest.mark.parametrize("workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)], ids=["alone", "xdist"])
def test_tests_that_are_alike_without_their_secrets_are_numbered(
    app: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    keys = [f"sk-lf-{number}f5a0c3e-8b2d-4e6f-9a7b-3c1d5e7f9a0b" for number in (3, 1, 2)]
    app.makepyfile(
        f"""
        import pytest
        from app import langfuse

        @pytest.mark.parametrize("key", {keys})
        def test_key(key):
            for _ in range(int(key[6])):
                langfuse.start_observation(name=key).end()
        """
    )
    options = ("--langfuse-json=run.jsonl", "-p", "no:randomly", *workers)
    app.runpytest(*options).assert_outcomes(passed=3)
    rows = lines_of(app.path / "run.jsonl", "test", "observation")
    names = {row["test"].rpartition("::")[2]: row["observations"] for row in rows if row["kind"] == "test"}
    mark = "test_key[[redacted: a Langfuse secret key]]"
    # In the order of their ids, whichever came first.
    assert names == {mark: 1, f"{mark} (2)": 2, f"{mark} (3)": 3}
    for name, observations in names.items():
        of_test = [row for row in rows if row["kind"] == "observation" and row["test"].endswith(f"::{name}")]
        assert len(of_test) == observations
    # Each can be read, and compared with.
    name = next(row["test"] for row in rows if row.get("observations") == 2)
    assert len(Observations.from_file(app.path / "run.jsonl", test=name)) == 2
    result = app.runpytest("--langfuse-compare=run.jsonl", *options)
    result.stdout.fnmatch_lines(["with run.jsonl: none of 3 tests changed*"])
    assert not any(key in (app.path / "run.jsonl").read_text() for key in keys)
