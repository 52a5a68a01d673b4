"""Images that an application sends, in the lines of a run."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_langfuse.report.__main__ import main
from pytest_langfuse.report.sent_images import LARGEST, MOST, DistinctImages, SentImages
from pytest_langfuse.standin.endpoints.media import StoredMedia
from tests.helpers.report_page import index
from tests.helpers.report_rows import PIXEL, case_row, run_row

CONTENT = PIXEL.partition(",")[2]
SUITE = f"""
    import base64
    import pytest
    from langfuse import get_client
    from langfuse.media import LangfuseMedia

    PIXEL = {PIXEL!r}
    BYTES = base64.b64decode(PIXEL.partition(",")[2])

    def send(value):
        with get_client().start_as_current_observation(name="look") as look:
            look.update(input=value)

    def test_url():
        send(PIXEL)

    def test_again():
        send({{"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}})

    def test_media():
        send([LangfuseMedia(content_bytes=BYTES + b" ", content_type="image/png")])

    def test_others():
        send([LangfuseMedia(content_bytes=b"<svg onload='alert(1)'/>", content_type="image/svg+xml"),
              LangfuseMedia(content_bytes=b"x" * {LARGEST + 1}, content_type="image/png")])
"""


def media_of(path: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, path.read_text().splitlines())
    return [row for row in rows if row["kind"] == "media"]


@pytest.mark.parametrize("more", [(), pytest.param(("-n2",), marks=pytest.mark.slow)], ids=["one", "workers"])
def test_images_are_in_the_lines_and_on_the_page(app: pytest.Pytester, more: tuple[str, ...]):
    app.makepyfile(test_it=SUITE)
    app.runpytest("--langfuse-json=run.jsonl", "--langfuse-report=report.html", *more)
    found = media_of(app.path / "run.jsonl")
    shown = sorted(
        (row["size"], row["content"], row["content_type"], row["left_out"]) for row in found if row["content"]
    )
    size = len(base64.b64decode(CONTENT))
    other = base64.b64encode(base64.b64decode(CONTENT) + b" ").decode()
    # The same image of two tests, and of two workers, is there once.
    assert shown == [(size, CONTENT, "image/png", ""), (size + 1, other, "image/png", "")]
    left_out = sorted((row["content_type"], row["size"], row["left_out"]) for row in found if not row["content"])
    assert left_out == [
        ("image/png", LARGEST + 1, "it is larger than 1 MiB"),
        ("image/svg+xml", 24, "it is not an image of pixels"),
    ]
    page = (app.path / "report.html").read_text()
    assert len(index(page)["media"]) == 4
    assert "onload" not in page


def stored(content: bytes | None, content_type: str = "image/png") -> StoredMedia:
    return StoredMedia("m", content_type, 5, "", content=content)


def reference(id_: str) -> str:
    return json.dumps({"input": f"@@@langfuseMedia:type=image/png|id={id_}|source=bytes@@@"})


def test_an_image_that_was_not_uploaded_is_named_until_it_is():
    uploads: dict[str, StoredMedia] = {"a": stored(None)}
    images = SentImages(uploads.get)
    assert [row["left_out"] for _, row in images.of("test_1", [reference("a"), reference("b")])] == [
        "it was not uploaded"
    ] * 2
    uploads["a"] = stored(b"pixel")
    [(ids, row)] = images.of("test_2", [reference("a")])
    assert (ids["content"], row["size"], row["left_out"]) == ("cGl4ZWw=", 5, "")
    assert list(images.of("test_3", [reference("a")])) == []
    # Its lines are new if it is repeated.
    assert len(list(images.of("test_2", [reference("a")]))) == 1


def test_images_of_a_run_are_bounded():
    images = SentImages(lambda _: stored(bytes(LARGEST)))
    lines = [reference(f"i{number}") for number in range(MOST // LARGEST + 3)]
    kept = [row["left_out"] for _, row in images.of("test_1", lines)]
    assert kept == [""] * (MOST // LARGEST) + ["the images of the run have more than 16 MiB"] * 3
    again = list(SentImages(lambda _: stored(bytes(LARGEST))).of("test_2", [reference("other")]))
    written = [json.dumps({**ids, **row}) for ids, row in (*images.of("test_1", lines), *again)]
    read = [json.loads(line) for line in DistinctImages().among(['{"kind": "test"}', *written])]
    assert sum(row.get("content") is not None for row in read) == MOST // LARGEST
    assert read[-1]["left_out"] == "the images of the run have more than 16 MiB"


def test_an_image_that_two_processes_have_sent_is_there_once():
    lines = [
        json.dumps({**ids, **row})
        for content in (None, b"pixel", b"pixel", None)
        for ids, row in SentImages(lambda _, content=content: stored(content)).of("test_1", [reference("a")])
    ]
    read = [json.loads(line)["content"] for line in DistinctImages().among(lines)]
    # First it was not uploaded, then it was.
    assert read == [None, "cGl4ZWw="]


def test_an_image_that_looks_like_a_key_is_not_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_API_KEY", CONTENT[10:40])
    row = {"test": "test_a", "fault": None, "id": "a", "content": CONTENT, "content_type": "image/png", "left_out": ""}
    rows = [run_row(), case_row("test_a", message=f"{CONTENT[10:40]} is wrong"), {"kind": "media", "size": 68, **row}]
    (tmp_path / "run.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert main([str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert index(page)["media"]["a"]["number"] == 0
    assert index(page)["tests"][0]["message"] == "[redacted: SHOP_API_KEY] is wrong"
