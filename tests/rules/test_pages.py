"""The examples on the rules' pages: what stands below "Fails" does, and what stands below "Fix" does not."""

import re

import pytest

from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.recording.start_place import StartPlaces
from pytest_langfuse.rules.ignore_comment import ignored_at
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.rule_set import RuleSet
from tests.helpers.paths import DOCS

#: Pages whose examples need more than a client `langfuse`, and the tests that show the same.
ELSEWHERE = dict.fromkeys(["LF002", "LF025"], "test_rules_over_tests.py") | {
    "LF017": "test_lf017.py",
    "LF019": "test_lf019.py",
}
PAGES = [path.stem for path in sorted(DOCS.glob("rules/LF*.md")) if path.stem not in ELSEWHERE]


def block(code: str, heading: str) -> str:
    page = (DOCS / "rules" / f"{code}.md").read_text()
    section = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    (found,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return found


@pytest.fixture
def findings_of(langfuse_fresh_client, langfuse_spans, tmp_path, request):
    """What a rule finds after this text has run, as a file of the application."""

    def found(code: str, text: str) -> list[str]:
        recorder = hooks.recorder
        assert recorder is not None
        recorder.places = StartPlaces(lambda _: False)
        hooks.see_what_rules_ask_for()
        path = tmp_path / "app.py"
        path.write_text(text)
        try:
            if "\nlangfuse = " in text:
                # It sets tracing up itself, as in a fresh interpreter, which is undone after the test.
                client = request.getfixturevalue("langfuse_tracing")
            else:
                client = langfuse_fresh_client(
                    public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9"
                )
            exec(compile(text, str(path), "exec"), {"langfuse": client, "__name__": "app"})
            evidence = evidence_of(langfuse_spans._source, "test", final=True)
            findings = RuleSet.of([code]).find(evidence)
            return [str(finding) for finding in findings if code not in ignored_at(finding.place)]
        finally:
            recorder.places = None

    return found


@pytest.mark.parametrize("comment", ["ignore[LF006]", "ignore[LF007]"])
def test_a_comment_on_a_line_ignores_a_rule_there(findings_of, comment):
    page = (DOCS / "rules" / "README.md").read_text()
    (found,) = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "ignore[LF006]" in text]
    assert (findings_of("LF006", found.replace("ignore[LF006]", comment)) == []) == ("LF006" in comment)


@pytest.mark.parametrize("code", PAGES)
def test_what_fails_fails(findings_of, code):
    assert findings_of(code, block(code, "Fails")) != []


@pytest.mark.parametrize("code", PAGES)
def test_the_fix_mends_it(findings_of, code):
    assert findings_of(code, block(code, "Fix")) == []
