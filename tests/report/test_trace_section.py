"""The section with a test's traces: the tree, and durations, tokens and cost beside it."""

from __future__ import annotations

import random
import re
from collections.abc import Container
from textwrap import dedent
from typing import Any

import pytest

from pytest_langfuse.expect.observations import Observations
from pytest_langfuse.expect.text import overview
from pytest_langfuse.expect.text.cells import cells
from pytest_langfuse.expect.text.render import Word, observation_words
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording import Observation
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported
from pytest_langfuse.recording.sources.static import StaticSource
from pytest_langfuse.report import trace_columns
from pytest_langfuse.report.trace_section import trace_text
from tests.helpers.forest import observation, of

MILLISECOND = 1_000_000
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def timed(milliseconds: float, type: str, name: str, **fields: Any) -> Observation:  # noqa: A002 - the field
    made = observation(type, name, **fields)
    made.record.end_ns = made.record.start_ns + round(milliseconds * MILLISECOND)
    return made


def shop() -> list[Observation]:
    answer = timed(4_100, "span", "answer", id=1, input="How long?")
    search = timed(9.21, "retriever", "search", id=2, parent=answer, output=["a", "b"])
    llm = timed(
        3_000, "generation", "llm", id=3, parent=answer, model="gpt-4o", usage={"total": 1_200}, cost={"total": 0.0031}
    )
    judge = timed(
        871,
        "generation",
        "judge",
        id=4,
        parent=answer,
        model="gpt-4o",
        usage={"input": 14, "output": 1},
        output="x" * 90,
    )
    return [answer, search, llm, judge]


def shown(*observations: Observation, **style: Any) -> str:
    return trace_text(StaticSource(observations), Style(**style))


def check(text: str, expected: str) -> None:
    assert text == dedent(expected).strip("\n")


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price list that doesn't change: a judge costs a tenth of a cent."""

    def cost_of(one: Observation) -> tuple[float | None, bool]:
        if one.cost:
            return one.cost["total"], False
        return (0.001, True) if one.name == "judge" else (None, False)

    monkeypatch.setattr(trace_columns, "cost_of", cost_of)


def test_figures_are_columns_beside_the_tree() -> None:
    check(
        shown(*shop(), columns=80),
        f"""
        span answer input="How long?"        # 4.10 s
          retriever search output=["a","b"]  # 9.2 ms
          generation llm model=gpt-4o        # 3.00 s  1,200 tok       $0.0031
          generation judge model=gpt-4o      # 871 ms     15 tok  $0.0010 est.
            # output="{"x" * 60}…"
        # total                              # 4.10 s  1,215 tok  $0.0041 est.
        """,
    )


#: Names, and parts of values, of which no line of a literal may be broken.
TEXTS = [
    "a",
    "answer a question of a customer who has been waiting for long",
    "x" * 150,
    "how *many* [files]? " * 6,
    "検索する",
    "caf\xe9 \U0001f600 " * 9,
    "it's",
    'say "hi" ' * 5,
    "back\\slash \\u1234",
    "…",
    "two\nlines\t\x07",
    "\ud800 \U0001f600",
    "# no comment",
    "sk-" + "lf-0f1d2c3b-4a59-4687-95a4-b3c2d1e0f9a8",
    "key: sk-" + "lf-0f1d2c3b-4a59-4687-95a4-b3c2d1e0f9a8 " + "z" * 90,
    "tool[0]",
    "a=b",
    "*",
]
STYLES: list[dict[str, Any]] = [
    *({"columns": columns} for columns in (40, 50, 60, 80, 120, 160, 200)),
    {"columns": 80, "encoding": "ascii"},
    {"columns": 200, "encoding": "cp1252"},
    {"columns": 80, "verbose": 2},
    {"columns": 80, "verbose": 2, "encoding": "ascii"},
    {"columns": None},
]


def some_value(draw: random.Random) -> Any:
    text = draw.choice(TEXTS)
    return draw.choice([text, [{"role": "user", "content": text}], {text: 1}, 3, True, 0.25, [text] * 9])


def some_tree(draw: random.Random) -> tuple[list[Observation], list[Score]]:
    made: list[Observation] = []
    scores: list[Score] = []
    is_deep = draw.random() < 0.3
    shared = {"user_id": draw.choice(TEXTS), "metadata": {"tenant": draw.choice(TEXTS)}} if draw.random() < 0.4 else {}
    for number in range(1, draw.randint(2, 90 if is_deep else 12)):
        parent = (made[-1] if draw.random() < 0.9 else draw.choice(made)) if made and is_deep else None
        if made and not is_deep:
            parent = draw.choice(made)
        keys = draw.sample(["input", "output", "status_message", "model", "level"], draw.randint(0, 4))
        fields = {key: some_value(draw) if key in {"input", "output"} else draw.choice(TEXTS) for key in keys}
        if "level" in fields:
            fields["level"] = "ERROR"
        kind = draw.choice(["span", "generation", "tool"])
        made.append(timed(number, kind, draw.choice(TEXTS), id=number, parent=parent, **{**shared, **fields}))
        if draw.random() < 0.2:
            place = draw.choice([None, made[-1].id])
            name = draw.choice(TEXTS)
            value = draw.choice([*TEXTS, "0.5"])
            scores.append(Score(name=name, value=value, trace_id=made[-1].trace_id, observation_id=place))
    return made, scores


@pytest.mark.parametrize("seed", range(8))
def test_the_section_can_be_pasted(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(6):
        observations, scores = some_tree(draw)
        source = StaticSource(observations, scores=scores)
        for style in STYLES:
            text = trace_text(source, Style(**style))
            assert text.encode(style.get("encoding", "utf-8"), "strict")
            Observations(source).assert_tree(text)


@pytest.mark.parametrize("columns", [50, 120, 160, 200])
def test_what_is_cut_is_a_comment_or_a_glob(columns: int) -> None:
    root = timed(5, "span", "answer a question of a customer who waits", id=1, input="How long?")
    messages = [{"role": "user", "content": "x" * 200}]
    llm = timed(5, "generation", "llm", id=2, parent=root, model="gpt-4o", input=messages, output="30 days")
    lines = shown(root, llm, columns=columns).splitlines()
    name = '"answer a question of a customer who waits"' if columns > 50 else '"answer a question of a customer *"'
    assert lines[0].startswith(f"span {name}")
    call, below = lines[-2:]
    assert call.startswith("  generation llm model=gpt-4o" + (' output="30 days"' if columns > 50 else ""))
    assert below.startswith('    # input=[{"role":"user"')


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_nothing_is_wider_than_the_terminal(columns: int) -> None:
    wide = timed(5, "generation", "モデル呼び出し", id=9, model="é" * 30, input="日本語" * 40, usage={"total": 3})
    text = shown(*shop(), wide, columns=columns)
    lines = text.splitlines()
    assert max(map(cells, lines)) <= columns
    # Columns are in line, whatever the width of what is before them.
    places = {cells(line[: line.rindex("# ")]) for line in lines if re.search(r"# +[\d.]+ (?:µs|ms|s)", line)}
    assert len(places) == 1
    assert ("1,200 tok" in text, "$0.0031" in text) == (columns >= 60, columns >= 60)


def test_what_has_no_column_stays_in_the_line() -> None:
    text = shown(timed(5, "generation", "llm", usage={"total": 3}, cost={"total": 0.5}), columns=40)
    check(
        text,
        """
        generation llm  # 5.0 ms
          # usage={"total":3} cost={"total":0.5}
        """,
    )


def test_traces_have_their_sums_in_their_titles() -> None:
    one, other = timed(5, "span", "ask", id=1, trace_id="a" * 32), timed(70_000, "tool", "t", id=2, trace_id="b" * 32)
    check(
        shown(one, other, columns=80),
        """
        # trace ask  #   5.0 ms
        span ask     #   5.0 ms

        # trace t    # 1 m 10 s
        tool t       # 1 m 10 s
        """,
    )


def test_an_amount_that_is_not_a_number_has_no_column() -> None:
    assert "tok" not in shown(timed(5, "generation", "llm", usage={"total": "many"}), columns=80)


def test_vv_shows_all_of_it() -> None:
    lines = shown(*shop(), columns=80, verbose=2).splitlines()
    assert lines[2].startswith('  generation llm model=gpt-4o usage={"total":1200} cost={"total":0.0031}')
    assert lines[3].startswith(f'  generation judge model=gpt-4o output="{"x" * 90}"')
    assert lines[3].endswith("  # 871 ms     15 tok  $0.0010 est.")


def test_vv_pushes_the_columns_of_long_lines_aside_alone() -> None:
    first, *_ = shown(*shop(), columns=80, verbose=2).splitlines()
    assert cells(first) <= 80


def test_traces_need_no_total_beside_their_titles() -> None:
    calls = [timed(5, "generation", "llm", id=n, trace_id=f"{n:032x}", usage={"total": 1}) for n in (1, 2)]
    text = shown(*calls, columns=80)
    assert re.search(r"# trace llm \(1 of 2\) +# 5.0 ms  1 tok", text)
    assert "total" not in text


def test_keys_after_a_value_that_was_cut_are_in_colour() -> None:
    text = shown(timed(5, "span", "a", input={"q": "x" * 90}, output="y"), columns=100, color=True)
    assert "\x1b[34moutput=\x1b[0my" in text
    for encoding, mark in (("utf-8", "…"), ("ascii", "...")):
        both = timed(5, "span", "a", input=[{"q": "x y=z" * 30}], output="two words " * 30)
        text = shown(both, columns=100, color=True, encoding=encoding)
        assert f'{mark} \x1b[34moutput=\x1b[0m"two words' in text
        assert "\x1b[34my=" not in text


def test_colours_say_what_is_what() -> None:
    bad = timed(5, "tool", "two words", level="ERROR", status_message="no way", input="x" * 70)
    text = shown(bad, columns=50, color=True)
    assert text == (
        '\x1b[36mtool\x1b[0m \x1b[1m"two words"\x1b[0m \x1b[1;31mlevel=ERROR\x1b[0m  \x1b[2m# 5.0 ms\x1b[0m\n'
        f'  \x1b[2m#\x1b[0m \x1b[34mstatus_message=\x1b[0m"no way" \x1b[34minput=\x1b[0m"{"x" * 8}…"'
    )
    assert ESCAPES.sub("", text) == shown(bad, columns=50)


def test_many_observations_leave_out_what_went_well() -> None:
    answer = timed(5, "span", "answer", id=1)
    calls = [timed(5, "generation", f"call-{n}", id=n, parent=answer, usage={"total": 1}) for n in range(2, 10_001)]
    calls[7_000].level, calls[9_000].level = "WARNING", "ERROR"
    lines = shown(answer, *calls, columns=80).splitlines()
    assert len(lines) <= 210
    assert re.fullmatch(r"# total +#.*9,999 tok", lines[-1])
    assert any("call-7002 level=WARNING" in line for line in lines)
    assert any("call-9002 level=ERROR" in line for line in lines)
    left_out = [int(found[1].replace(",", "")) for line in lines if (found := re.search(r"# ([\d,]+) more ", line))]
    assert sum(left_out) == 10_000 - sum(bool(re.match(r"  generation|span", line)) for line in lines)
    assert all("(-vv shows all)" in line for line in lines if " more " in line)
    assert len(shown(answer, *calls, columns=80, verbose=2).splitlines()) == 10_001


def test_an_error_is_shown_below_its_ancestors() -> None:
    answer = timed(5, "span", "answer", id=1)
    steps = [timed(5, "chain", f"step-{n}", id=n, parent=answer) for n in range(2, 1_000)]
    call = timed(5, "tool", "call", id=2_000, parent=steps[-9], level="ERROR")
    lines = shown(answer, *steps, call, columns=80).splitlines()
    at = next(index for index, line in enumerate(lines) if "tool call" in line)
    assert lines[at - 1].startswith("  chain step-991 ")


def test_of_many_reasons_the_first_are_shown() -> None:
    missing = [Unexported(observation("span", f"s{n}", id=n), "filtered", f"reason {n}") for n in range(1, 61)]
    for verbose, ends in ((0, "  10 more (-vv shows all)"), (2, "  `s60`: reason 60")):
        text = trace_text(StaticSource(unexported=missing), Style(columns=80, verbose=verbose))
        assert text.splitlines()[-1] == ends


def test_only_what_is_shown_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def words(one: Observation, without: Container[str], width: int | None) -> list[Word]:
        written.append(one.name)
        return observation_words(one, without, width)

    monkeypatch.setattr(overview, "observation_words", words)
    answer = timed(5, "span", "answer", id=1)
    calls = [timed(5, "tool", "t", id=n, parent=answer, input="x" * 99, output="y" * 99) for n in range(2, 10_001)]
    shown(answer, *calls, columns=80)
    # At several widths, until it fits.
    assert 200 <= len(written) <= 200 * 6


def test_deep_trees_fit() -> None:
    chain = [timed(5, "span", "s0", id=1)]
    for depth in range(1, 200):
        chain.append(timed(5, "span", f"s{depth}", id=depth + 1, parent=chain[-1]))
    lines = shown(*chain, columns=80).splitlines()
    assert len(lines) == 200
    assert max(map(cells, lines)) <= 80
    assert re.fullmatch(r" +>> span s199 # depth 199  # 5.0 ms", lines[-1])
    of(chain).assert_tree("\n".join(lines))
    of(chain).assert_tree(shown(*chain, columns=80, verbose=2))


@pytest.mark.parametrize("columns", [60, 80])
def test_hostile_names_are_shown_on_one_line(columns: int) -> None:
    names = ["a\nb\x1b[31m\x07", "\u202egnp.exe", "x" * 10_000, "\ud800", "# trace", "é\u0301" * 500, "a\tb\u2028c"]
    hostile = [timed(5, "span", name, id=n + 1, status_message=name, level="ERROR") for n, name in enumerate(names)]
    missing = [Unexported(one, "filtered", "default span filter") for one in hostile]
    text = trace_text(StaticSource(hostile, unexported=missing), Style(columns=columns))
    lines = text.splitlines()
    assert len(text) <= 6_000
    assert all(line.isprintable() for line in lines)
    tree = lines[: lines.index("Recorded but not exported:")]
    assert max(map(cells, tree)) <= columns
    assert "more characters (-vv shows all)" in " ".join(lines)


def test_what_the_terminal_cannot_show_is_escaped() -> None:
    text = shown(timed(0.005, "span", "日本", input="x" * 200), columns=80, encoding="ascii")
    check(
        text,
        rf"""
        span "\u65e5\u672c"  # 5 us
          # input="{"x" * 60}..."
        """,
    )
    assert "日本" in shown(timed(5, "span", "日本"), columns=80, encoding="cp932")
