"""Build the site of the documentation into build/site: `make site`.

The pages are those that GitHub shows. They are copied as they are, at the same paths, together with the files that they
link to; the navigation is docs/index.md. A page that is missing there, and a link or an anchor that leads nowhere, is
an error.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "index.md"
#: Settings of the site, and its own styles and scripts.
THEME = ROOT / "docs" / "site"

_CODE = re.compile(r"^( *)```.*?^\1```$|(`+)(?!`).*?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]*)\)")
#: An entry of docs/index.md: a row of a table, or an item of a list, that begins with a link.
_ENTRY = re.compile(r"^(?:\| |- )\[([^\]]+)\]\(([^)#\s]+\.md)\)", re.MULTILINE)
#: A title and a page, or a title and what is below it; a page alone has its own heading as title.
Nav = list[Any]


class SiteError(Exception):
    """The site can't be built; the message says what to change."""


def pages() -> list[Path]:
    """The pages of the site."""
    found = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    return [*found, *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("examples/*/README.md"))]


def nav() -> Nav:
    """The navigation: a section for each heading of docs/index.md, an entry for each page that it lists.

    The README.md of a folder brings the folder's other pages.
    """
    found: Nav = [{"pytest-langfuse": "README.md"}]
    for section in INDEX.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        entries = [
            _entry(title.strip("`"), (INDEX.parent / target).resolve()) for title, target in _ENTRY.findall(text)
        ]
        # A section of one folder is that folder.
        [*_, last] = entries[-1].values()
        found.append({heading: last if len(entries) == 1 and isinstance(last, list) else entries})
    return [*found, {"All pages": _path(INDEX)}]


def _entry(title: str, page: Path) -> Any:
    if page.name == "README.md" and page.is_relative_to(INDEX.parent):
        others = sorted(path for path in page.parent.glob("*.md") if path != page)
        return {title: [_path(page), *map(_path, others)]}
    return {title: _path(page)}


def _path(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages_in(entries: Any) -> list[str]:
    """The pages of a navigation, in its order."""
    if isinstance(entries, str):
        return [entries]
    children = entries.values() if isinstance(entries, dict) else entries
    return [page for child in children for page in pages_in(child)]


def not_in_nav() -> list[str]:
    """The pages that docs/index.md does not lead to."""
    listed = set(pages_in(nav()))
    return [name for name in map(_path, pages()) if name not in listed]


def build(folder: Path, url: str = "") -> Path:
    """Build the site in a folder, and return where it is.

    Args:
        folder: The site comes into its folder `site`.
        url: Where the site will be served, for the page of a server that has not found one. Without it the links of
            that page are relative: right on a disk and at the top of the site, not for what is missing in a folder.

    Raises:
        SiteError: zensical is not installed, or the pages are wrong.
    """
    if missing := not_in_nav():
        raise SiteError(f"docs/index.md has no entry for: {', '.join(missing)}")
    if find_spec("zensical") is None:
        raise SiteError("zensical is not installed; `make setup` installs it")
    staged, site = folder / "site-pages", folder / "site"
    for old in (staged, site, folder / ".cache"):
        shutil.rmtree(old, ignore_errors=True)
    for page in pages():
        for source in (page, *_linked(page)):
            target = staged / _path(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for asset in ("pages.css", "pages.js", "iframe-worker.js"):
        (staged / "site").mkdir(exist_ok=True)
        shutil.copyfile(THEME / asset, staged / "site" / asset)
    settings = (THEME / "zensical.toml").read_text(encoding="utf-8")
    # TOML's inline values are JSON's, but for the sign between a key and its value.
    shown = re.sub(r'("(?:[^"\\]|\\.)*"): ', r"\1 = ", json.dumps(nav()))
    config = folder / "zensical.toml"
    config.write_text(settings.replace("[project]\n", f"[project]\nnav = {shown}\n", 1), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(config)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SiteError(done.stdout + done.stderr)
    for built in site.rglob("*.html"):
        built.write_text(accessible(built.read_text(encoding="utf-8")), encoding="utf-8")
    not_found = site / "404.html"
    not_found.write_text(placed(not_found.read_text(encoding="utf-8"), url), encoding="utf-8")
    if wrong := broken(site, url):
        raise SiteError("\n".join(wrong))
    return site


def accessible(text: str) -> str:
    """Return a page of the theme with what its readers' screen readers need."""
    # A heading of a column that has no name is none.
    text = re.sub(r"<th([^>]*)></th>", r"<td\1></td>", text)
    # A folder in the navigation is named after its button, which has no text.
    text = re.sub(
        r'(<nav class="md-nav"[^>]*) aria-labelledby="(__nav_\w+)_label"([^>]*>\s*<label)( class="md-nav__title")',
        r'\1 aria-labelledby="\2_title"\3 id="\2_title"\4',
        text,
    )
    # The navigation beside the page has this name, too.
    return re.sub(r'(<nav class="md-path" aria-label=")[^"]*"', r'\1Breadcrumbs"', text)


def placed(text: str, url: str) -> str:
    """Return 404.html, whose references begin with a slash, for a site that is served at this URL."""
    root = urlsplit(url).path.rstrip("/") + "/" if url else ""
    text = re.sub(r'("base":)"/"', lambda match: f'{match[1]}"{root or "."}"', text)
    return re.sub(r'((?:\bhref=|\bsrc=|"search":)")/(?!/)', lambda match: match[1] + root, text)


def _linked(page: Path) -> list[Path]:
    """The files that a page links to, but for pages."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    targets = [target for target in _LINK.findall(text) if not target.startswith(("https:", "#"))]
    files = [(page.parent / target.partition("#")[0]).resolve() for target in targets]
    return [file for file in files if file.suffix != ".md" and file.is_file()]


class _Read(HTMLParser):
    """The anchors of a page and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value is not None:
                (self.links if tag == "a" else self.loaded).append(value)


def broken(site: Path, url: str = "") -> list[str]:
    """The references of a built site to what is not there, or loads from elsewhere, as sentences."""
    root = urlsplit(url).path.rstrip("/") + "/"
    read = {page: _Read(page.read_text(encoding="utf-8")) for page in sorted(site.rglob("*.html"))}
    found = []
    for page, its in read.items():
        for reference in dict.fromkeys([*its.links, *its.loaded]):
            if re.match(r"\w+:|//", reference):
                if reference in its.loaded:
                    found.append(f"{page.relative_to(site)}: {reference} is loaded from elsewhere")
                continue
            target, _, anchor = reference.partition("#")
            # A server shows 404.html at any path, so that its references may begin at the root.
            inside = target.removeprefix(root) if url and page.name == "404.html" else target
            path = (page.parent / (unquote(inside) or ".")).resolve() if target else page
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file() or (anchor and path in read and unquote(anchor) not in read[path].anchors):
                found.append(f"{page.relative_to(site)}: {reference} leads nowhere")
    return found


def main() -> int:
    """Build it, and print the page to open."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build", help="where; default: build")
    parser.add_argument("--url", default="", help="where it will be served, such as https://example.com/docs/")
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        site = build(folder, given.url)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    print(site / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
