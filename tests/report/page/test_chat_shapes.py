"""Messages of SDKs and frameworks are messages on the page, whatever their shape."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest

from pytest_langfuse.report.page.html_page import ASSETS
from tests.report.page.chat_shapes import NO_CHATS, SHAPES

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")

_READ = """
const NONE = [{ kind: "", value: "" }];
const written = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const lineOf = (role, { kind, name, value }) => `${role}|${[kind, name].filter(Boolean).join(" ")}|${written(value)}`;
const linesOf = ({ role, parts }) => (parts.length ? parts : NONE).map((part) => lineOf(role, part));
const read = (value) => chatIn(value)?.messages.flatMap(linesOf) ?? [];
"""


def in_node(script: str) -> Any:
    source = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("dom.js", "chat.js"))
    done = subprocess.run(
        ["node", "-"],
        input=source + _READ + script,
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@cache
def read() -> dict[str, list[str]]:
    values = {**{name: value for name, (value, _) in SHAPES.items()}, **NO_CHATS}
    lines = in_node(f"console.log(JSON.stringify({json.dumps(list(values.values()))}.map(read)));")
    return dict(zip(values, lines, strict=True))


@pytest.mark.parametrize("name", SHAPES)
def test_a_chat_is_read(name: str):
    assert read()[name] == SHAPES[name][1]


@pytest.mark.parametrize("name", NO_CHATS)
def test_what_is_no_chat_is_left_alone(name: str):
    assert read()[name] == []


def test_nothing_is_lost():
    """Each text of a payload is in the messages or beside them; but for those that tell its shape, and an image's."""
    values = json.dumps({name: value for name, (value, lines) in SHAPES.items() if lines})
    lost = in_node(f"""
        const isShape = (key, inner) => [...TYPES, "kind"].includes(key) || (key === "id" && Array.isArray(inner));
        const texts = (value) => (typeof value !== "object" || value === null ? [value]
            : Object.entries(value).flatMap(([key, inner]) => (isShape(key, inner) ? [] : texts(inner))));
        const gone = (value) => {{
            const shown = JSON.stringify(chatIn(value));
            const wanted = texts(value).filter((text) => !["base64", "image/png", "png"].includes(text));
            const isShown = (text) => typeof text !== "string" || shown.includes(JSON.stringify(text).slice(1, -1));
            return wanted.filter((text) => !isShown(text));
        }};
        console.log(JSON.stringify(Object.entries({values}).map(([name, value]) => [name, gone(value)])));
    """)
    assert {name: texts for name, texts in lost if texts} == {}
