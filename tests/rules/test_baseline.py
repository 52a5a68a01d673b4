"""The file of a baseline: keys that outlive edits, a line an entry, mistakes named by their line."""

from __future__ import annotations

import pytest

from pytest_langfuse.recording.start_place import Place
from pytest_langfuse.rules.baseline import BadBaseline, BaselineKey, baseline_text, folded, key_of, read_baseline
from pytest_langfuse.rules.finding import Finding


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("answer", "answer"),
        ("order 17", "order #"),
        ("order 18", "order #"),
        ("order_17_copy", "order_#_copy"),
        ("Crew_7f9c24e5-bead-4c1a-9d3f-aabbccddeeff.kickoff", "Crew_#.kickoff"),
        ("run a1b2c3d4", "run #"),
        ("GET /orders/{id}", "GET /orders/{id}"),
        ("größe", "größe"),
        ("", ""),
    ],
)
def test_ids_and_numbers_in_names_are_folded(name, key):
    assert folded(name) == key


def finding(place, observation="llm"):
    return Finding("LF006", "no model", "warning", "text", "fix", observation, place)


def test_the_key_has_the_path_in_the_project_and_the_function(tmp_path):
    file = tmp_path / "bot" / "app.py"
    namespace = {}
    exec(compile("def answer():\n    return [lambda: 1 for _ in '1'][0]", str(file), "exec"), namespace)
    inner = namespace["answer"]().__code__
    assert key_of(finding(Place(inner, 0)), tmp_path) == ("LF006", "bot/app.py", "answer", "llm")
    assert key_of(finding(Place(inner, 0)), tmp_path / "tests") == ("LF006", "../bot/app.py", "answer", "llm")
    assert key_of(finding(None), tmp_path) == ("LF006", "", "", "llm")


def test_it_is_read_as_it_was_written_sorted_and_a_line_an_entry(tmp_path):
    entries = {
        BaselineKey("LF029", "b.py", "<module>", 'a "name", with\nall of it é'): 1,
        BaselineKey("LF006", "b.py", "f", ""): 12,
        BaselineKey("LF006", "a.py", "f", "x"): 2,
    }
    path = tmp_path / "baseline"
    text = baseline_text(entries)
    path.write_text(text)
    assert read_baseline(path) == entries
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert rows[0] == '["LF006", "a.py", "f", "x", 2]'
    assert len(rows) == 3
    assert baseline_text(dict(reversed(entries.items()))) == text


def test_both_lines_that_a_merge_has_left_are_one_entry(tmp_path):
    (tmp_path / "b").write_text('["LF006", "a.py", "f", "x", 2]\n["LF006", "a.py", "f", "x", 3]\n')
    assert read_baseline(tmp_path / "b") == {("LF006", "a.py", "f", "x"): 3}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("<<<<<<< HEAD", "is not an entry of a baseline such as"),
        ('["LF006", "a.py", "f", "x"]', "is not an entry"),
        ('["LF006", "a.py", "f", "x", 0]', "is not an entry"),
        ('["LF006", "a.py", "f", "x", true]', "is not an entry"),
        ('["LF006", "a.py", "f", null, 1]', "is not an entry"),
        ("[" * 100_000, "is not an entry"),
        ('["LF06", "a.py", "f", "x", 1]', "'LF06' is not the code of a rule, did you mean 'LF0"),
        ('["ALL", "a.py", "f", "x", 1]', "'ALL' is not the code of a rule"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "baseline"
    path.write_text(f"# a comment\n\n{line}\n")
    with pytest.raises(BadBaseline, match="baseline:3: ") as error:
        read_baseline(path)
    assert message in str(error.value)


def test_a_file_that_is_not_a_text(tmp_path):
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    with pytest.raises(BadBaseline, match="not a text in UTF-8"):
        read_baseline(tmp_path / "b")
