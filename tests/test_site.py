"""The site that is made of the pages is whole: no warning, no dead link, nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

import dask_sail
import dask_sail.testing
import jdbc

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


@dataclass
class Page(HTMLParser):
    """What a page of HTML leads to, loads, and can be led to."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if "src" in given or tag == "link":
            self.loaded.add(given.get("src", given.get("href", "")))

    def handle_data(self, data: str) -> None:
        self.text += data


def build(source: Path, into: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-c", str(DOCS)]
    return subprocess.run(
        [*command, "-d", str(into / "doctrees"), str(source), str(into / "site")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, which was built without a warning."""
    into = tmp_path_factory.mktemp("build")
    done = build(DOCS, into)
    assert done.returncode == 0, done.stderr
    return into / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_in_the_site(pages: dict[Path, Page], site: Path) -> None:
    expected = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert expected <= {path.relative_to(site) for path in pages}


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    dead = []
    for page in pages.values():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            anchor = unquote(parts.fragment)
            if not path.is_file() or (anchor and path in pages and anchor not in pages[path].ids):
                dead.append(f"{page.path.name}: {link}")
    assert not dead


def test_links_to_elsewhere_are_well_formed(pages: dict[Path, Page]) -> None:
    links = {link for page in pages.values() for link in page.links if urlsplit(link).scheme}
    assert len(links) > 5
    odd = [
        link for link in links if not re.fullmatch(r"https://[\w-]+(\.[\w-]+)+(/[^\s\"<>]*)?", link)
    ]
    assert not odd


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    loaded = {what for page in pages.values() for what in page.loaded}
    assert any(what.endswith("read.svg") for what in loaded)
    assert not [what for what in loaded if urlsplit(what).netloc]
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)


def test_the_navigation_has_the_pages_in_the_order_of_the_index(
    pages: dict[Path, Page], site: Path
) -> None:
    listed = re.findall(r"\]\(([^)#:]+)\.md\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    html = (site / "genindex.html").read_text(encoding="utf-8")
    tree = re.search(r'<div class="sidebar-tree">(.*?)</div>\s*</div>', html, re.DOTALL)
    assert tree
    found = re.findall(r'class="reference internal" href="([^"#]+)\.html', tree[1])
    assert found == listed


def test_every_public_name_has_its_reference(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {name for kind, names in inventory.data.items() if kind[:3] == "py:" for name in names}
    public = {f"{m.__name__}.{n}" for m in (dask_sail, dask_sail.testing, jdbc) for n in m.__all__}
    # Read from the text, as PySpark may be lacking.
    spark = (ROOT / "dask_sail" / "spark" / "__init__.py").read_text(encoding="utf-8")
    public |= {f"dask_sail.spark.{n}" for n in re.findall(r'"(\w+)"', spark.split("__all__")[1])}
    assert len(public) > 60
    assert not public - known


def test_a_full_name_in_the_prose_leads_to_its_reference(
    pages: dict[Path, Page], site: Path
) -> None:
    links = pages[site / "howto" / "databases.html"].links
    assert "../reference/api/reading.html#dask_sail.read_sql" in links
    assert "../reference/api/errors.html#dask_sail.PartitionReadError" in links


@pytest.mark.parametrize("drawing", sorted(DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_a_drawing_can_be_read_by_all(drawing: Path) -> None:
    root = ET.parse(drawing).getroot()
    space = "{http://www.w3.org/2000/svg}"
    for told in ("title", "desc"):
        assert (root.findtext(f"{space}{told}") or "").strip(), f"no {told}"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert width <= 480, "text would be too small on a phone"
    for text in root.iter(f"{space}text"):
        assert 0 < float(text.attrib["x"]) < width
        assert 0 < float(text.attrib["y"]) < height


def test_what_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    wrong = {
        "[there](nowhere.md)": "nowhere.md",
        "[there](#no-heading)": "no-heading",
        "```{eval-rst}\n.. autofunction:: dask_sail.read_nothing\n```": "read_nothing",
        "```{eval-rst}\n:py:obj:`dask_sail.nothing`\n```": "dask_sail.nothing",
    }
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text("\n\n".join(["# Title", *wrong]))
    done = build(source, tmp_path)
    assert done.returncode != 0
    assert not [told for told in wrong.values() if told not in done.stderr], done.stderr
