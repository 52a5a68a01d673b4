"""Comments that switch rules off for one place."""

from itertools import count

import pytest

from pytest_langfuse.recording.start_place import Place
from pytest_langfuse.rules.ignore_comment import BadComment, ignored_at

_names = count()


@pytest.fixture
def place(tmp_path):
    """The place of the call of `here` in a file with this text."""

    def made(text: str) -> Place:
        path = tmp_path / f"app{next(_names)}.py"
        path.write_text(text)
        found = []

        def here(*_, **__):
            import sys

            frame = sys._getframe(1)
            found.append(Place(frame.f_code, frame.f_lasti))

        exec(compile(text, str(path), "exec"), {"here": here})
        return found[0]

    return made


@pytest.mark.parametrize(
    "text",
    [
        "here()  # langfuse: ignore[LF006]\n",
        "here(  # langfuse: ignore[LF006]\n    1,\n)\n",
        "here(\n    1,  # langfuse: ignore[LF006]\n    2,\n)\n",
        "here(\n    1,\n)  # langfuse: ignore[LF006]\n",
        "# langfuse: ignore[LF006]\nhere()\n",
        "here()  #langfuse:ignore [ lf006 ]\n",
        "here()  # noqa: E501 # langfuse: ignore[LF006] since it is a stub\n",
    ],
)
def test_any_line_of_the_statement_and_the_one_above(place, text):
    assert ignored_at(place(text)) == {"LF006"}


@pytest.mark.parametrize(
    "text",
    [
        "here()\n",
        "x = 1  # langfuse: ignore[LF006]\nhere()\n",
        "here()\n# langfuse: ignore[LF006]\n",
        "# langfuse: ignore[LF006]\n\nhere()\n",
        "here('# langfuse: ignore[LF006]')\n",
        "here()  # langfuse ignores this\n",
    ],
)
def test_no_other_line(place, text):
    assert ignored_at(place(text)) == frozenset()


def test_several_codes(place):
    assert ignored_at(place("here()  # langfuse: ignore[LF006, LF029]\n")) == {"LF006", "LF029"}


def test_from_the_decorator_to_the_first_statement(tmp_path):
    path = tmp_path / "decorated.py"
    path.write_text(
        "@str\ndef decorated(\n    one=1,\n    # langfuse: ignore[LF029]\n    two=2,\n):\n"
        "    return one  # langfuse: ignore[LF006]\n"
    )
    (code,) = (
        constant for constant in compile(path.read_text(), str(path), "exec").co_consts if hasattr(constant, "co_name")
    )
    assert ignored_at(Place(code, -1)) == {"LF029"}


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("# langfuse: ignore", "names the rules"),
        ("# langfuse: ignore[]", "names the rules"),
        ("# langfuse: ignore LF006", "names the rules"),
        ("# langfuse: ignore[LF06]", "did you mean 'LF0"),
    ],
)
def test_a_bad_comment_is_an_error_with_its_line(place, comment, message):
    with pytest.raises(BadComment, match=rf"app\d+\.py:2: .*{message}"):
        ignored_at(place(f"x = 1\nhere()  {comment}\n"))
