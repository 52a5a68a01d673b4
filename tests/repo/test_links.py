"""Links of the documentation lead to files, and to headings, that are there."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT

_LINK = re.compile(r"\]\(([^)\s]*)\)")
_CODE = re.compile(r"^( *)```.*?^\1```$|(`+)(?!`).*?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return the committed pages, and those about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True, timeout=LIMIT)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [page for name in sorted(done.stdout.split("\0")) if name and (page := ROOT / name).is_file()]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them: one that comes again gets a number."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} (.+?)(?: #+)?$", text, flags=re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    text = _CODE.sub("", page.read_text())
    links = _LINK.findall(text)
    assert len(links) == text.count("]("), "a link over two lines, or with a title"
    found = []
    for link in links:
        target, _, anchor = link.partition("#")
        if re.match(r"https://[\w.-]+\.\w+(/|$)", target):
            continue
        linked = page.parent / target if target else page
        is_there = linked.exists() and ":" not in target and linked.resolve().is_relative_to(ROOT)
        if not is_there or (anchor and (linked.suffix != ".md" or anchor not in anchors(linked))):
            found.append(link)
    return found


def test_there_are_pages():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    names = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "docs/rules/README.md", "docs/rules/LF001.md"} <= names


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    assert broken(page) == []


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("other.md", False),
        ("other.md#a-heading-with-code", False),
        ("other.md#again-1", False),
        ("#top", False),
        ("../docs/", False),
        ("https://example.com/page#anything", False),
        ("missing.md", True),
        ("other.md#a-heading", True),
        ("other.md#again-2", True),
        ("other.md#in-code", True),
        ("#elsewhere", True),
        ("http://example.com", True),
        ("https:/example.com", True),
        ("/other.md", True),
        ("../../../etc/hosts", True),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str, is_broken: bool):
    monkeypatch.setattr("tests.repo.test_links.ROOT", tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "other.md").write_text(
        "# Other\n\n## A heading, with `code`\n\n## Again\n\n## Again\n\n```\n# In code\n```\n"
    )
    page = docs / "page.md"
    page.write_text(f"# Top\n\nSee [it]({link}), not `[this](nowhere)`.\n\n```\n[nor](this)\n```\n")
    assert broken(page) == ([link] if is_broken else [])
