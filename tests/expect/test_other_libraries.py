"""dirty-equals in literals; inline-snapshot and syrupy for the text of a tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from dirty_equals import Contains, IsApprox, IsFalseLike, IsInstance, IsPartialDict, IsPositive, IsStr, IsTrueLike
from inline_snapshot import snapshot

from tests.helpers.forest import captured, forest, of
from tests.helpers.paths import GOLDEN

# Slow: runs other plugins.
pytestmark = pytest.mark.slow

GOLDEN = GOLDEN / "nested.otlp.bin"
TREE = """
    * user_id=u-1
    span answer
      retriever search output=[{"id":1,"text":"doc"},{"id":2,"text":"other"}]
      generation llm model=gpt-4o-2024-08-06 usage={"input":100,"total":120} cost={"total":0.1234}
"""


def test_dirty_equals_in_a_literal():
    observations = captured(TREE)
    observations.assert_tree(
        """
        span answer
          retriever search  output=$docs output.0=$doc
          generation llm    model=$model usage=$usage usage.total=$positive cost.total=$cost
        """,
        docs=Contains({"id": 2, "text": "other"}),
        doc=IsPartialDict(id=1),
        model=IsStr(regex=r"gpt-4o-\d{4}-\d\d-\d\d"),
        usage=IsPartialDict(total=120),
        positive=IsPositive,
        cost=IsApprox(0.12, delta=0.01),
    )
    observations.assert_contains("generation llm model=$model", model=IsStr)
    assert observations.one("generation llm", usage=IsPartialDict(input=100)) is observations[2]
    assert observations.all(model=IsStr) == [observations[2]]
    assert observations != "generation llm"


def test_a_matcher_decides_about_true_and_false():
    observations = captured('span a metadata={"cached":true}')
    observations.assert_tree("span a metadata.cached=$yes", yes=IsTrueLike)
    observations.assert_tree("span a metadata.cached=$yes", yes=IsInstance(bool))
    with pytest.raises(AssertionError):
        observations.assert_tree("span a metadata.cached=$no", no=IsFalseLike)


def test_a_matcher_that_does_not_match_is_named():
    with pytest.raises(AssertionError) as error:
        captured(TREE).assert_contains("retriever search output=$docs", docs=IsPartialDict(id=3))
    assert error.value.differences == (
        'search: output is [{"id":1,"text":"doc"},{"id":2,"text":"other"}], expected IsPartialDict(id=3)',
    )


def test_anything_with_eq_will_do():
    class Any:
        def __eq__(self, other: object) -> bool:
            return other == "u-1"

        __hash__ = None

    captured(TREE).assert_tree("* user_id=$user\nspan answer\n  ...", user=Any())


def test_inline_snapshot():
    assert str(captured(TREE)) == snapshot("""\
* user_id=u-1
span answer
  retriever search output=[{"id":1,"text":"doc"},{"id":2,"text":"other"}]
  generation llm model=gpt-4o-2024-08-06 usage={"input":100,"total":120} cost={"total":0.1234}\
""")
    assert captured(TREE) == snapshot("""\
* user_id=u-1
span answer
  retriever search output=[{"id":1,"text":"doc"},{"id":2,"text":"other"}]
  generation llm model=gpt-4o-2024-08-06 usage={"input":100,"total":120} cost={"total":0.1234}\
""")


def test_a_text_with_everything_in_it_survives_a_snapshot():
    awkward = of(forest("span a input=$given", given="line\n\"quotes\" 'more' \\ \t\u2028 \x00 é 😀 '''\"\"\""))
    assert str(awkward) == snapshot(
        r"""span a input="line\n\"quotes\" 'more' \\ \t\u2028 \u0000 é 😀 '''\"\"\"" """.rstrip()
    )
    assert awkward == str(awkward)


APP = f"""
    from pathlib import Path
    from pytest_langfuse import Observations

    spans = Observations.from_otlp(Path({str(GOLDEN)!r}).read_bytes())
"""


@pytest.fixture(autouse=True)
def only_the_plugin_under_test(monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # The runs inside of these tests are no workers of the one outside.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


def test_inline_snapshot_writes_a_literal_that_matches(pytester):
    path = pytester.makepyfile(
        APP
        + """
    from inline_snapshot import snapshot

    def test_text():
        assert str(spans) == snapshot()

    def test_spans():
        assert spans == snapshot()
    """
    )
    plugin = ("-p", "inline_snapshot.pytest_plugin")
    pytester.runpytest_subprocess(*plugin, "--inline-snapshot=create")
    written = path.read_text()
    assert written.count('span root input={"q":"hi"} output={"a":1}\n  chain mid output=[1,2]\n    tool leaf') == 2
    # As in CI, and with the values that were written.
    for option in ("--inline-snapshot=disable", "--inline-snapshot=report"):
        pytester.runpytest_subprocess(*plugin, option).assert_outcomes(passed=2)
    path.write_text(written.replace("tool leaf", "tool twig"))
    pytester.runpytest_subprocess(*plugin, "--inline-snapshot=disable").assert_outcomes(failed=2)


def test_syrupy(pytester):
    pytester.makepyfile(
        APP
        + """
    def test_text(snapshot):
        assert str(spans) == snapshot

    def test_spans(snapshot):
        assert spans == snapshot
    """
    )
    pytester.runpytest_subprocess("-p", "syrupy", "--snapshot-update").assert_outcomes(passed=2)
    (stored,) = Path(pytester.path).glob("__snapshots__/*.ambr")
    text = stored.read_text()
    assert text.count('  span root input={"q":"hi"} output={"a":1}\n    chain mid output=[1,2]\n      tool leaf') == 2
    pytester.runpytest_subprocess("-p", "syrupy").assert_outcomes(passed=2)
    stored.write_text(text.replace("tool leaf", "tool twig"))
    pytester.runpytest_subprocess("-p", "syrupy").assert_outcomes(failed=2)
