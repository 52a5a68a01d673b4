"""The site of the documentation: its navigation, its links, and how a browser shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from tests.helpers.chromium import chromium_started, complaints_of
from tests.helpers.paths import DOCS, ROOT

#: Pages that hold all there is: pictures, code in lists, wide tables, long lines.
SHOWN = ("index.html", "docs/assertions.html", "docs/faults.html", "docs/rules/index.html", "docs/settings.html")


@pytest.fixture
def build_site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import build_site

    return build_site


def test_every_page_is_in_the_navigation(build_site: ModuleType):
    assert build_site.not_in_nav() == []


def test_no_page_is_in_the_navigation_twice(build_site: ModuleType):
    found = Counter(build_site.pages_in(build_site.nav()))
    assert [page for page, times in found.items() if times > 1] == []


def test_every_link_of_the_index_is_in_the_navigation(build_site: ModuleType):
    text = (DOCS / "index.md").read_text()
    linked = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^)#\s]+\.md)\)", text)}
    assert {ROOT / page for page in build_site.pages_in(build_site.nav())} >= linked


def test_a_folder_brings_its_pages_and_a_page_that_is_missing_is_named(
    build_site: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("README", "docs/index", "docs/one", "docs/more/README", "docs/more/b", "docs/more/a", "docs/lost"):
        page = tmp_path / f"{name}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("# Heading\n")
    index = tmp_path / "docs" / "index.md"
    index.write_text(
        "# All\n\n## Start\n\n| [One](one.md) | |\n\n## More\n\n- [More](more/README.md): see [lost](lost.md)\n"
    )
    monkeypatch.setattr(build_site, "ROOT", tmp_path)
    monkeypatch.setattr(build_site, "INDEX", index)
    assert build_site.nav() == [
        {"pytest-langfuse": "README.md"},
        {"Start": [{"One": "docs/one.md"}]},
        {"More": ["docs/more/README.md", "docs/more/a.md", "docs/more/b.md"]},
        {"All pages": "docs/index.md"},
    ]
    assert build_site.not_in_nav() == ["CHANGELOG.md", "CONTRIBUTING.md", "docs/lost.md"]
    with pytest.raises(build_site.SiteError, match=r"^docs/index\.md has no entry for: .*docs/lost\.md$"):
        build_site.build(tmp_path)


def test_what_leads_nowhere_or_is_loaded_from_elsewhere_is_broken(build_site: ModuleType, tmp_path: Path):
    (tmp_path / "other.html").write_text('<h1 id="there">Other</h1>')
    (tmp_path / "page.html").write_text(
        '<a href="other.html#there"></a><a href="other.html#gone"></a><a href="gone.html"></a><a href="#gone"></a>'
        '<a href="https://example.com"></a><img src="gone.png"><script src="https://example.com/a.js"></script>'
        '<link href="//example.com/a.css">'
    )
    assert [text.removeprefix("page.html: ") for text in build_site.broken(tmp_path)] == [
        "other.html#gone leads nowhere",
        "gone.html leads nowhere",
        "#gone leads nowhere",
        "gone.png leads nowhere",
        "https://example.com/a.js is loaded from elsewhere",
        "//example.com/a.css is loaded from elsewhere",
    ]


NOT_FOUND = '<link href="/site.css"><a href="/docs/a.html"></a><a href="//b.org"></a>{"base":"/","search":"/search.js"}'


def test_the_page_of_a_server_that_has_found_none_is_placed(build_site: ModuleType):
    assert build_site.placed(NOT_FOUND, "") == (
        '<link href="site.css"><a href="docs/a.html"></a><a href="//b.org"></a>{"base":".","search":"search.js"}'
    )
    assert build_site.placed(NOT_FOUND, "https://example.com/traces") == (
        '<link href="/traces/site.css"><a href="/traces/docs/a.html"></a><a href="//b.org"></a>'
        '{"base":"/traces/","search":"/traces/search.js"}'
    )
    assert build_site.placed(NOT_FOUND, "https://example.com") == NOT_FOUND


@pytest.mark.parametrize("url", ["", "https://example.com/", "https://example.com/traces/"])
def test_a_link_of_the_page_of_a_server_that_has_found_none_is_checked(
    build_site: ModuleType, tmp_path: Path, url: str
):
    (tmp_path / "index.html").touch()
    text = '<a href="/"></a><a href="/index.html"></a><a href="/gone.html"></a>'
    (tmp_path / "404.html").write_text(build_site.placed(text, url))
    [found] = build_site.broken(tmp_path, url)
    assert found.endswith("gone.html leads nowhere")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("zensical", reason="zensical is not installed: `make setup` installs it")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(DOCS)
        import build_site

    path: Path = build_site.build(tmp_path_factory.mktemp("site"))
    return path


class Blocks(HTMLParser):
    """How many of each kind of block an article has."""

    KINDS = frozenset({"h1", "h2", "h3", "h4", "img", "li", "ol", "pre", "table", "td", "ul"})
    #: The site has cells in the place of headings without text.
    ALIKE: ClassVar = {"th": "td"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.feed(text.partition("<article")[2].partition("</article>")[0] or text)

    def handle_starttag(self, tag: str, _: object) -> None:
        kind = self.ALIKE.get(tag, tag)
        if kind in self.KINDS:
            self.counts[kind] += 1


@pytest.mark.slow
def test_pages_have_the_blocks_that_they_have_on_github(build_site: ModuleType, site: Path):
    """The site's Markdown is another one: it wants four spaces below an item of a list, and a line before a list."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    for page in build_site.pages():
        place = page.relative_to(ROOT)
        built = site / (place.with_name("index.html") if place.name == "README.md" else place.with_suffix(".html"))
        assert Blocks(built.read_text()).counts == Blocks(markdown.render(page.read_text())).counts, place


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with chromium_started() as browser:
        yield browser


@pytest.fixture
def opened(chromium: Any, site: Path) -> Iterator[Callable[..., Any]]:
    """Open a page from the disk. The test fails if a page complains, or asks the network for anything."""
    contexts, complaints, requests = [], [], []

    def open_page(place: str, **options: Any) -> Any:
        contexts.append(chromium.new_context(viewport={"width": 1440, "height": 900}, **options))
        contexts[-1].set_default_timeout(10_000)
        page = contexts[-1].new_page()
        complaints.append(complaints_of(page))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((site / place).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for of_page in complaints for text in of_page] == []
    assert [url for url in requests if not url.startswith(site.as_uri())] == []


def search_for_pages(opened: Callable[..., Any]) -> None:
    page = opened("docs/index.html")
    page.keyboard.press("Control+k")
    search = page.locator("input:visible")
    for words, found in (("captive_portal", "faults"), ("LF006", "rules/LF006"), ("orphan_scores", "assertions")):
        search.fill(words)
        page.locator(f"ol a[href*='{found}.html']").first.wait_for()
    page.locator("ol a[href*='assertions.html']").first.click()
    page.wait_for_url("**/docs/assertions.html*#*")


def read_in_the_light_and_in_the_dark(opened: Callable[..., Any]) -> None:
    """With axe, the whole page: on a wide screen with the navigation, on a narrow one with tables that scroll."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    backgrounds, scrolling, found = set(), 0, []
    for scheme, width in (("light", 1440), ("dark", 1440), ("light", 400)):
        page = opened(SHOWN[0], color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        first = page.url
        # They have code, tables and links; the last one has a heading without text, and one a folder in the navigation.
        for place in ("docs/rules/index.html", "docs/settings.html", "404.html"):
            page.goto(first.replace(SHOWN[0], place))
            page.evaluate(axe)
            violations = page.evaluate("axe.run(document, {preload: false})")["violations"]
            found += [
                f"{place} {scheme} {width}: {one['id']} {node['html'][:100]} {node['failureSummary']}"
                for one in violations
                for node in one["nodes"]
            ]
            backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            tables = "[...document.querySelectorAll('.md-typeset__scrollwrap')]"
            scrolling += page.evaluate(f"{tables}.filter(it => it.scrollWidth > it.clientWidth).length")
    assert found == []
    assert len(backgrounds) == 2
    assert scrolling


def look_for_what_is_cut_off(opened: Callable[..., Any]) -> None:
    """Code and tables that are too wide scroll by themselves; on a wide screen no line of code has to."""
    page = opened(SHOWN[0])
    first = page.url
    too_wide = "[...document.querySelectorAll('pre > code')].filter(code => code.scrollWidth > code.clientWidth)"
    for place in SHOWN:
        page.goto(first.replace(SHOWN[0], place))
        for width in (1920, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place
            if width == 1920:
                assert page.evaluate(f"{too_wide}.map(code => code.textContent)") == [], place


@pytest.mark.slow
def test_in_a_browser(opened: Callable[..., Any]):
    """One test, since another worker would build the site and start Chromium again."""
    search_for_pages(opened)
    read_in_the_light_and_in_the_dark(opened)
    look_for_what_is_cut_off(opened)
