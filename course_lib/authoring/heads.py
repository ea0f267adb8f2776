"""What a page says of itself to search engines and to those who link to it; the map of the site; the page for no page.

Every page has a description (its own first paragraph, unless its front matter gives one) and an open-graph card. Where
the book is published (``site`` of `published`), cards and the sitemap carry its address. A page of solutions is called
so in the book, though its notebook has the title of the exercises.
"""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path
from string import Template
from xml.sax.saxutils import escape as xml

from docutils import nodes
from sphinx.application import Sphinx

LONGEST = 200  # characters of a description: what search engines show
MISSING = Path(__file__).with_name("404.html")


def name_solutions(app: Sphinx, doctree: nodes.document) -> None:
    """“Exercises 1: ...” is “Solutions 1: ...” where the answers are shown, in the title and in what links to it."""
    if not app.env.docname.startswith("solutions/"):
        return
    title = next(iter(doctree.findall(nodes.title)))
    for text in list(title.findall(nodes.Text)):
        text.parent.replace(text, nodes.Text(re.sub(r"^Exercises\b", "Solutions", text.astext())))


def first_words(doctree: nodes.document | None) -> str:
    """The first paragraph of a page as one line, cut at the end of a sentence, else of a word."""
    if doctree is None:
        return ""
    # Of the page itself: not of a note, a list or an output.
    own = (p for p in doctree.findall(nodes.paragraph) if isinstance(p.parent, (nodes.document, nodes.section)))
    text = next((" ".join(p.astext().split()) for p in own if len(p.astext()) > 40), "")
    if len(text) <= LONGEST:
        return text
    sentences = re.match(rf".{{40,{LONGEST - 1}}}[.?!](?=\s)", text)
    return sentences[0] if sentences else text[: LONGEST - 1].rpartition(" ")[0].rstrip(" ,;:") + "…"


def picture(app: Sphinx, doctree: nodes.document | None) -> nodes.image | None:
    """The first figure of a page."""
    images = doctree.findall(nodes.image) if doctree is not None else ()
    return next((image for image in images if image.get("uri") in app.builder.images), None)


def describe(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Add the description and the card to a page's head."""
    site, tags = app.config.html_baseurl, context.get("metatags", "")
    title = unescape(re.sub(r"<[^>]+>", "", context.get("title", ""))) or app.config.html_title
    given = re.search(r'<meta content="([^"]*)" name="description"', tags)
    said = given[1] if given else escape(first_words(doctree) or f"{title}, a page of “{app.config.html_title}”.")
    card = {"og:title": title, "og:type": "article", "og:site_name": app.config.html_title, "og:locale": "en_GB"}
    if site:
        card["og:url"] = site + app.builder.get_target_uri(pagename)
        if image := picture(app, doctree):
            card["og:image"] = f"{site}{app.builder.imagedir}/{app.builder.images[image['uri']]}"
            card["og:image:alt"] = image.get("alt", "")
    lines = [f'<meta property="{name}" content="{escape(value)}" />' for name, value in card.items()]
    lines.append(f'<meta property="og:description" content="{said}" />')
    if not given:
        lines.append(f'<meta name="description" content="{said}" />')
    context["metatags"] = "\n".join([tags, *lines])


def write_map(app: Sphinx) -> None:
    """sitemap.xml with the address of every page."""
    pages = [app.config.html_baseurl + app.builder.get_target_uri(page) for page in sorted(app.env.found_docs)]
    head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    lines = [head, *(f"<url><loc>{xml(page)}</loc></url>" for page in pages), "</urlset>"]
    (Path(app.outdir) / "sitemap.xml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_missing(app: Sphinx) -> None:
    """404.html: it loads nothing, and its links are right at whatever depth a server shows it."""
    title, start = app.config.html_title, app.builder.get_target_uri(app.config.root_doc)
    values = {"title": escape(title), "base": escape(app.config.html_baseurl), "start": start, "search": "search.html"}
    text = Template(MISSING.read_text("utf-8")).substitute(values)
    (Path(app.outdir) / "404.html").write_text(text, encoding="utf-8")


def finish(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        write_missing(app)
        if app.config.html_baseurl:
            write_map(app)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", name_solutions, priority=100)  # before Sphinx collects the titles
    app.connect("html-page-context", describe)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
