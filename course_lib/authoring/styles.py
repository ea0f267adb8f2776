"""One style sheet in the place of a dozen, with the rules that some page can use.

The theme and its extensions send eleven style sheets, of which a page uses a tenth, and a browser draws nothing before
the last has come. After a build they are joined into ``_static/book.css``, without the selectors whose class or name
occurs on no page and in no script. The files they come from stay beside it, for the book on paper.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx

JOINED = "_static/book.css"
ALONE = {"front.css"}  # on one page only
LINK = re.compile(r'[ \t]*<link\b(?![^>]*\bmedia=)(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"?]*)[^"]*"[^>]*>\n?')
IMPORT = re.compile(r'@import\s+"([^"]+)";')
URL = re.compile(r"""url\((["']?)(?!data:)([^"')]+)\1\)""")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
TOKEN = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|url\([^"')]*\)|[{};])""")
SPACE = re.compile(r"\s+")
NOT = re.compile(r":not\((?:[^()]|\([^()]*\))*\)")
NAME = re.compile(r"[.#](-?[A-Za-z_](?:[\w-]|\\.)*)")


def read(path: Path) -> str:
    """A style sheet with what it imports, without comments, its addresses relative to ``_static``."""
    folder = path.parent
    css = IMPORT.sub(lambda m: read(folder / m[1]), COMMENT.sub("", path.read_text("utf-8")))
    static = next(parent for parent in path.parents if parent.name == "_static")
    at = folder.relative_to(static).as_posix()
    return URL.sub(lambda m: f'url("{posixpath.normpath(posixpath.join(at, m[2]))}")', css)


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """Each rule as what stands before its braces and in them; None for a statement without braces."""
    head, depth, start = "", 0, 0
    parts = TOKEN.split(css)
    for k, part in enumerate(parts):
        if part == "{":
            depth += 1
            if depth == 1:
                head, start = "".join(parts[start:k]).strip(), k + 1
        elif part == "}":
            depth -= 1
            if depth == 0:
                yield head, "".join(parts[start:k])
                start = k + 1
        elif part == ";" and depth == 0:
            yield "".join(parts[start:k]).strip(), None
            start = k + 1


def selectors(head: str) -> list[str]:
    """The selectors of a rule, split at the commas that stand in no brackets."""
    return [part.strip() for part in re.split(r",(?![^(]*\))(?![^\[]*\])", head)]


def pruned(css: str, known) -> str:
    """The rules that can apply where ``known(name)`` says whether a class or an id can occur."""
    out = []
    for head, body in rules(css):
        head = SPACE.sub(" ", head)
        if body is None:
            out.append(f"{head};" if not head.startswith("@charset") else "")
        elif re.match(r"@(media|supports|layer|container)\b", head):
            inside = pruned(body, known)
            out.append(f"{head}{{{inside}}}" if inside else "")
        elif head.startswith("@"):
            out.append(f"{head}{{{SPACE.sub(' ', body).strip()}}}")
        else:
            names = {s: NAME.findall(re.sub(r"\[[^\]]*\]", "", NOT.sub("", s))) for s in selectors(head)}
            kept = [s for s, found in names.items() if all(known(name.replace("\\", "")) for name in found)]
            if kept and body.strip():
                out.append(f"{','.join(kept)}{{{SPACE.sub(' ', body).strip()}}}")
    return "".join(out)


def vocabulary(pages: list[str], scripts: list[str]):
    """A function that says whether a class or an id occurs: on a page, or as a word or its beginning in a script."""
    words = set()
    for page in pages:
        words.update(*(unescape(text).split() for text in re.findall(r'\b(?:class|id)="([^"]*)"', page)))
        scripts = [*scripts, *re.findall(r"<script\b[^>]*>(.*?)</script>", page, re.DOTALL)]
    for script in scripts:
        words.update(re.findall(r"[\w-]+", script))
    begun = tuple(word for word in words if re.fullmatch(r"[a-z][\w-]{2,}-", word))
    return lambda name: name in words or name.startswith(begun)


def sheets(page: str, folder: str) -> list[str]:
    """The style sheets that a page in this folder loads, in their order."""
    return [posixpath.normpath(posixpath.join(folder, href)) for href in LINK.findall(page)]


def linked(page: str, folder: str, sources: list[str], version: str) -> str:
    """A page that loads the joined style sheet where it loaded the first of those it is made from."""
    href = posixpath.relpath(JOINED, folder or ".")
    link = f'<link rel="stylesheet" href="{href}?v={version}" />\n'

    def replace(match: re.Match) -> str:
        nonlocal link
        if posixpath.normpath(posixpath.join(folder, match[1])) not in {*sources, JOINED}:
            return match[0]
        first, link = link, ""
        return first

    return LINK.sub(replace, page)


def join(app: Sphinx, exception: Exception | None) -> None:
    """Write the style sheet, and have every page load it; pages of an earlier build load it already."""
    if exception is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    files = [path for path in out.rglob("*.html") if "_static" not in path.parts]
    paths = {path: path.parent.relative_to(out).as_posix() for path in files}
    pages = {path: path.read_text("utf-8") for path in sorted(paths)}
    fresh = (sheets(page, paths[path]) for path, page in pages.items())
    listed = next((names for names in fresh if len(names) > 1 and JOINED not in names), [])
    sources = [name for name in listed if posixpath.basename(name) not in ALONE]
    if not sources and (out / JOINED).exists():
        sources = (out / JOINED).read_text("utf-8").partition("*/")[0].split()[1:]
    known = vocabulary(list(pages.values()), [p.read_text("utf-8") for p in sorted((out / "_static").rglob("*.js"))])
    css = f"/* {' '.join(sources)} */" + pruned("".join(read(out / name) for name in sources), known)
    (out / JOINED).write_text(css, encoding="utf-8")
    version = hashlib.sha256(css.encode()).hexdigest()[:8]
    for path, page in pages.items():
        if (mended := linked(page, paths[path], sources, version)) != page:
            path.write_text(mended, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", join, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
