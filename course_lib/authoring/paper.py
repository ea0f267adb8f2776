"""The whole book as one HTML page for paper, out of the built pages: what `pdf` prints.

The pages follow each other in the order of ``_toc.yml``. Every name and every link to one gets its page's name in
front, so that links between pages become links within the book. Folded code is left to the notebooks; hints are
unfolded; figures that move show what they show where scripts are off.
"""

from __future__ import annotations

import posixpath
import re
from html import escape
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Tag

# What is for the screen alone: permanent links, scripts, folded code, links to highlighted source, navigation.
SCREEN = (
    "a.headerlink, script, details.hide, a:has(.viewcode-link), .toctree-wrapper, .sd-octicon, "
    ".moving input, .moving label"
)
STYLES = ("pygments.css", "proof.css", "mystnb.css", "course.css", "front.css", "print.css")


def contents(root: Path) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """The parts of the book, each with its pages (name, title of its own if any), from ``_toc.yml``."""
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    parts = [("", [(toc["root"], None)])]
    for part in [toc, *toc.get("parts", [])]:
        pages = [(page["file"], page.get("title")) for page in part.get("chapters", [])]
        parts += [(part.get("caption", ""), pages)] if pages else []
    return parts


def name(page: str, anchor: str = "") -> str:
    """What a place on a page is called in the whole book."""
    return f"{page}--{anchor}".replace("/", "-") if anchor else page.replace("/", "-")


class Collected:
    """The pages read so far, and what they refer to."""

    def __init__(self, html: Path, pages: set[str]):
        self.html, self.pages = html, pages
        self.places: set[str] = set()
        self.links: dict[str, str] = {}  # place -> a page that links to it

    def article(self, page: str) -> Tag:
        """The text of a page, ready to stand among the others. Raises FileNotFoundError for one not built."""
        soup = BeautifulSoup((self.html / f"{page}.html").read_text("utf-8"), "html.parser")
        article = soup.select_one("article.bd-article")
        for element in article.select(SCREEN):
            element.decompose()
        for element in article.find_all("details"):
            element["open"] = ""
        for element in article.find_all(id=True):
            element["id"] = name(page, element["id"])
            self.places.add(element["id"])
        for element in article.find_all("img"):
            element["src"] = self.address(page, element["src"])
        for element in article.select("a[href*=_images]"):
            element.unwrap()
        for element in article.find_all("a", href=True):
            element["href"] = self.target(page, element["href"])
        article["id"] = name(page)
        self.places.add(article["id"])
        return article

    def address(self, page: str, relative: str) -> str:
        return "../html/" + posixpath.normpath(posixpath.join(posixpath.dirname(page), relative))

    def target(self, page: str, href: str) -> str:
        """A link of a page, as it is in the whole book."""
        if re.match(r"[a-z]+:", href):
            return href
        path, _, anchor = href.partition("#")
        other = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else f"{page}.html"
        other = other.removesuffix(".html")
        if other not in self.pages:
            raise ValueError(f"{page}: links to {href}, which is no page of the book")
        place = name(other, anchor)
        self.links.setdefault(place, page)
        return f"#{place}"

    def dead(self) -> list[str]:
        """Links that lead nowhere, one line each."""
        return [f"{page}: no place {place}" for place, page in self.links.items() if place not in self.places]


def book(root: Path) -> str:
    """The whole book as HTML. Raises ValueError if a link in it would lead nowhere."""
    html = root / "_build" / "html"
    config = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    parts = contents(root)
    collected = Collected(html, {page for _, pages in parts for page, _ in pages})
    body, listed = [], []
    for caption, pages in parts:
        entries = []
        for page, title in pages:
            article = collected.article(page)
            heading = article.find("h1")
            if title:
                heading.string = title
            entries.append(f'<li><a href="#{name(page)}">{heading.decode_contents()}</a></li>')
            body.append(str(article))
        if caption:
            listed.append(f'<p class="part">{escape(caption)}</p><ul>{"".join(entries)}</ul>')
    if dead := collected.dead():
        raise ValueError("\n".join(dead))
    styles = [path for style in STYLES for path in sorted((html / "_static").glob(style.replace(".css", "*.css")))]
    links = "".join(f'<link rel="stylesheet" href="../html/_static/{path.name}" />' for path in styles)
    title = escape(config["title"])
    rights = escape(config["html"]["extra_footer"])
    return f"""<!DOCTYPE html>
<html lang="en" class="paper" data-theme="light" data-mode="light">
<head><meta charset="utf-8" /><title>{title}</title>{links}</head>
<body>
<section class="cover"><p class="title">{title}</p><p>{escape(config["author"])}</p><p>{rights}</p></section>
<nav class="contents" aria-label="Contents"><p class="title">Contents</p>{"".join(listed)}</nav>
<main>{"".join(body)}</main>
</body></html>
"""
