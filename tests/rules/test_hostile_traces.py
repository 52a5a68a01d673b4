"""What stands in a trace may be anything: a finding is one line, not a long one, and repeats no secret."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_langfuse.rules import catalogue
from pytest_langfuse.rules.__main__ import main
from pytest_langfuse.rules.baseline import key_of
from pytest_langfuse.rules.evidence import Evidence
from pytest_langfuse.rules.finding import Finding
from pytest_langfuse.rules.one_line import one_line
from pytest_langfuse.rules.rule_set import RuleSet
from pytest_langfuse.rules.written_finding import row_of

FORMATS = ("text", "json", "sarif", "github")
KEY = "gh" + "p_" + "7Gk29dLpQ0xZb4TnVr81mWcYhE36sJuFa1B2"
HEADER = "authorization:\n" + "Bearer " + "7Gk29dLpQ0xZb4TnVr81mWcYhE36sJuF"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": str(value)}} for key, value in values.items()]


def document(texts: Iterator[str]) -> dict[str, Any]:
    """Return a trace about which many rules have something to say, with texts of others wherever they can stand."""

    def span(number: int, parent: int | None, end: int, **of: Any) -> dict[str, Any]:
        start = 1_767_258_000_000_000_000 + number * 10**9
        return {
            "traceId": TRACE,
            "spanId": f"a1b2c3d4e5f6071{number}",
            **({} if parent is None else {"parentSpanId": f"a1b2c3d4e5f6071{parent}"}),
            "name": next(texts),
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + end * 10**9),
            "attributes": attributes({f"langfuse.observation.{key}": value for key, value in of.items()})
            + attributes({"langfuse.environment": next(texts), "user.id": next(texts), next(texts): next(texts)}),
            "status": {"message": next(texts)},
            "events": [
                {"name": "exception", "attributes": attributes({"exception.type": next(texts), next(texts): KEY})},
                {"name": next(texts), "attributes": attributes({"gen_ai.prompt": f"{next(texts)} {KEY}"})},
            ],
        }

    model, usage = next(texts), '{"input": 3, "output": 4}'
    spans = [
        span(1, None, 5, type="span"),
        span(2, 1, 60, type="generation", output="x", level="DEFAULT"),
        span(3, 1, 1, type="generation", model=model, usage_details=usage, output="x"),
        span(4, 3, -1, type="generation", model=model, usage_details=usage, output=f"{next(texts)} {KEY}"),
        span(5, None, 1, type=next(texts), level=next(texts), **{f"metadata.{next(texts)}": KEY}),
    ]
    scopes = [{"scope": {"name": next(texts) if one in spans[:3] else "langfuse-sdk"}, "spans": [one]} for one in spans]
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": scopes}]}


def checked(path: Path, style: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["check", str(path), "--format", style]) in (0, 1)
    return out.getvalue()


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def controls(text: str) -> list[str]:
    """Return the characters that break a line, colour it or turn it around."""
    return [one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def assert_harmless(path: Path, longest: int) -> int:
    """Check the output of each format. Return the number of findings."""
    lines = checked(path, "text").removesuffix("\n").split("\n")
    found = json.loads(checked(path, "json"))["findings"]
    results = json.loads(checked(path, "sarif"))["runs"][0]["results"]
    annotations = checked(path, "github").removesuffix("\n").split("\n")
    assert len(lines) == len(found) + 1 == len(results) + 1
    assert len([line for line in annotations if line.startswith(("::", "  "))]) == len(found)
    for text in (*lines, *texts_in(found), *texts_in(results), *annotations):
        assert controls(text) == []
        assert KEY not in text
        assert len(text) < longest
    return len(found)


hostile = st.text(
    st.sampled_from("ab1:\n\r\t\x00\x0b\x1b\x7f\x85\xa0\u2028\u2029\u202e\u200b\U000e0001%,'\"\\") | st.characters(),
    max_size=8,
) | st.sampled_from(["a\n::error file=x::pwn", "\x1b[31mred", f"call {KEY}", "12345678901", "${TOKEN}"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(hostile, min_size=12, max_size=12))
def test_findings_of_a_hostile_trace(tmp_path, texts):
    path = tmp_path / "trace.json"

    def endless() -> Iterator[str]:
        while True:
            yield from texts

    path.write_text(json.dumps(document(endless())))
    assert assert_harmless(path, 2_000) > 5


def test_long_texts_are_shortened_in_each_format(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(document(iter(f"{number} {'long ' * 2_000}" for number in range(1_000)))))
    assert assert_harmless(path, 2_000) > 5


def test_an_exception_of_a_made_up_type(client, find):
    with client.start_as_current_observation(name="call") as call:
        call._otel_span.add_event("exception", {"exception.type": "E\n::error file=a::pwn \x1b[31m"})
    (finding,) = find("LF016")
    assert "recorded E\\n::error file=a::pwn \\x1b[31m, but" in finding.text


def test_the_type_of_an_exception_is_shortened(client, find):
    with client.start_as_current_observation(name="call") as call:
        call._otel_span.add_event("exception", {"exception.type": "E" * 10_000})
    (finding,) = find("LF016")
    assert len(finding.text) < 400


def test_the_name_of_a_file_breaks_no_line(tmp_path):
    path = tmp_path / "a\n\x1b.json"
    path.write_text(json.dumps(document(iter(map(str, range(1_000))))))
    assert controls(checked(path, "text").replace("\n", "")) == []
    assert "a\\n\\x1b.json: LF0" in checked(path, "text")


def test_no_rule_repeats_a_secret_in_a_name(client, langfuse_spans, tmp_path):
    for name in (f"call {KEY}", HEADER, f"{'x' * 90} {KEY}"):
        with client.start_as_current_observation(name=name, as_type="generation") as call:
            call.update(output="x")
    evidence = Evidence(langfuse_spans._source.observations(), recorded=langfuse_spans._source.recorded)
    found = RuleSet.of().find(evidence)
    assert {finding.code for finding in found} >= {"LF006", "LF007", "LF010"}
    rows = [row_of(finding, "test", tmp_path, is_known=False) for finding in found]
    shown = [*map(str, found), json.dumps(rows), *(str(key_of(finding, tmp_path)) for finding in found)]
    for text in shown:
        assert KEY[4:20] not in text
        assert HEADER[-32:-10] not in text
    assert {finding.observation for finding in found if finding.code == "LF006"} == {
        "call ***",
        "***",
        f"{'x' * 90} ***",
    }


def test_a_finding_is_one_line_whoever_makes_it():
    finding = Finding("LF006", "no model", "warning", "a\nb\x1b[31m", "c\u202ed", "e\u2028f", None)
    assert str(finding) == "LF006 no model: a\\nb\\x1b[31m. Fix: c\\u202ed."
    assert finding.shown_observation == "e\\u2028f"
    # As data it is what it is, so that baselines know it.
    assert finding.observation == "e\u2028f"


@pytest.mark.parametrize("text", ["Größe\u3000あ", "a\xa0b", "plain"])
def test_what_is_no_control_character_stays(text):
    assert one_line(text) == text


def modules() -> list[Path]:
    return sorted(Path(catalogue.__path__[0]).glob("lf*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_rules_quote_by_the_evidence_alone(path):
    # Else a name is not shortened, and a secret in it may be cut, or escaped, so that nobody knows it for one.
    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.FormattedValue) and node.conversion != -1), node.lineno
        assert not (isinstance(node, ast.Name) and node.id in ("repr", "ascii")), node.lineno
        if isinstance(node, ast.FormattedValue) and ast.unparse(node.value) != "fixture.name":
            assert not ast.unparse(node.value).endswith((".name", ".scope_name", ".model", ".thread")), node.lineno
