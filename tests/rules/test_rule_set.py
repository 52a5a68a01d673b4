"""The selection of rules, and what is said about mistakes in it."""

import pytest

from pytest_langfuse import TreeMismatch
from pytest_langfuse.rules.rule import all_rules
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule
from tests.helpers.paths import DOCS


def chosen(*select: str, ignore=()):
    return [rule.code for rule in RuleSet.of(select or None, ignore).rules]


def test_all_are_chosen_by_default_and_in_order():
    assert chosen() == chosen("ALL") == sorted(all_rules())


def test_codes_are_chosen_and_ignored_in_any_case():
    assert chosen("lf029", " LF006 ") == ["LF006", "LF029"]
    assert chosen("LF006", "LF029", ignore=["lf029"]) == ["LF006"]


def test_a_warning_that_is_selected_by_its_code_fails(find, client):
    client.start_observation(name="a", as_type="generation").end()
    (finding,) = find("LF006")
    assert finding.severity == "warning"
    assert not RuleSet.of().fails(finding)
    assert not RuleSet.of(["ALL"]).fails(finding)
    assert RuleSet.of(["LF006"]).fails(finding)


@pytest.mark.parametrize(
    ("select", "options", "message"),
    [
        (["LF0006"], [], "'LF0006' is not the code of a rule, did you mean 'LF006'?"),
        (["LF6"], [], "'LF6' is not the code of a rule, did you mean 'LF006'?"),
        (["lf-06"], [], "'lf-06' is not the code of a rule, did you mean 'LF006'?"),
        (["30"], [], "'30' is not the code of a rule, did you mean 'LF030'?"),
        (["AL"], [], "'AL' is not the code of a rule, did you mean 'ALL'?"),
        (["no-model"], [], "'no-model' is not the code of a rule"),
        (["ALL"], ["LF006"], "'LF006' is not CODE.option=value"),
        (["ALL"], ["LF006.x=1"], "LF006 has no option 'x'; LF006 has no options"),
        (["ALL"], ["LF28.tolerance=1"], "'LF28' is not the code of a rule, did you mean 'LF028'?"),
        (["ALL"], ["LF028.tol=1"], "LF028 has no option 'tol', did you mean 'tolerance'?"),
        (["ALL"], ["LF028.x=1"], "LF028 has no option 'x', its options are: tolerance"),
        (["ALL"], ["LF099.x=1"], "'LF099' is not the code of a rule"),
    ],
)
def test_mistakes_are_named(select, options, message):
    with pytest.raises(UnknownRule, match=message.replace("?", r"\?")):
        RuleSet.of(select, options=options)


def test_each_rule_has_a_page_with_the_same_parts():
    pages = {path.stem: path.read_text() for path in DOCS.glob("rules/LF*.md")}
    assert sorted(pages) == sorted(all_rules())
    for code, rule in all_rules().items():
        page = pages[code]
        assert page.startswith(f"# {code}: {rule.name}\n\n*{rule.severity.capitalize()}.* ")
        headings = [line for line in page.splitlines() if line.startswith("## ")]
        options = ["## Options"] if rule.options else []
        assert headings == ["## Why", "## Fails", "## Fix", *options, "## Does not fire", "## When to ignore"], code
        assert [name for name in rule.options if f"`{code}.{name}`" not in page] == []


def test_assert_clean_lists_the_findings(client, langfuse_spans):
    with client.start_as_current_observation(name="a", as_type="generation"):
        langfuse_spans.assert_clean()
    with pytest.raises(TreeMismatch, match=r"1 finding of rules:\n  LF006 no model: 'a' \(tests.*py:\d+\)"):
        langfuse_spans.assert_clean()
    langfuse_spans.assert_clean(ignore=["lf006"])


def test_assert_clean_knows_comments_and_refuses_other_codes(client, langfuse_spans):
    client.start_observation(name="a", as_type="generation").end()  # langfuse: ignore[LF006]
    langfuse_spans.assert_clean()
    with pytest.raises(ValueError, match="did you mean 'LF0"):
        langfuse_spans.assert_clean(ignore=["LF06"])
    with pytest.raises(TypeError, match="a list of codes"):
        langfuse_spans.assert_clean(ignore="LF006")


def test_assert_clean_goes_by_the_rules_of_the_run(pytester):
    pytester.makeini("[pytest]\nlangfuse_rules_ignore = LF006")
    pytester.makepyfile(
        """
        from langfuse import Langfuse

        def test_it(langfuse_spans):
            client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")
            client.start_observation(name="a", as_type="generation").end()
            langfuse_spans.assert_clean()
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)
