"""What the book needs of Sphinx beyond Jupyter Book: an honest cache, and the table of claims.

*The cache.* Pages execute in jupyter-cache, which knows a page by its own code alone. Here the cache lives in a folder
named by a hash of everything else that a page computes with (the library's source and data, the recorded runs, the
pinned versions, Python). What builds and marks the course is not in it: no page imports ``authoring`` or ``marking``
(tests/test_strict_book.py). A hash of all the library is a configuration value that makes Sphinx read every page anew.
A build that failed or warned leaves no environment behind, so that its fault cannot turn green the second time.

*The claims.* Pages settle claims with ``course_lib.claims.settle``, whose outcome travels in the page's outputs.
``{claims-table}`` draws one row a claim from what the pages computed in this build; a claim of a finished chapter
that no page computed is a warning, and warnings are errors.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .. import claims

LOGGER = logging.getLogger(__name__)
LIBRARY = Path(__file__).resolve().parents[1]


def counted(path: Path) -> bytes:
    """What a page can depend on in a file: all of it, but of constraints.txt only what stands above the tools."""
    content = path.read_bytes()
    return content.partition(b"# Tools that no page computes with")[0] if path.name == "constraints.txt" else content


def inputs_hash(library: Path, *others: Path, without: tuple[str, ...] = ()) -> str:
    """Hash of the library's files, but those in the folders ``without``, and of the other files given, with their
    names, and of Python's version."""
    digest = hashlib.sha256(sys.version.encode())
    leave = {"__pycache__", *without}
    files = [path for path in library.rglob("*") if path.is_file() and not leave & set(path.relative_to(library).parts)]
    for path in sorted(files) + [path for path in others if path.is_file()]:
        digest.update(path.name.encode() + b"\0" + counted(path))
    return digest.hexdigest()[:16]


def others(root: Path) -> list[Path]:
    """What the pages of the repository ``root`` compute with besides the library."""
    files = [*(root / "book" / "recorded").glob("**/*.json"), *(root / "benchmarks" / "results").glob("*.json")]
    return [root / "constraints.txt", *sorted(files)]


def cache_folder(root: Path, build: Path) -> Path:
    """The execution cache, in a folder of builds, named after what the pages compute with."""
    inputs = [*others(root), LIBRARY / "authoring" / "execute.py"]
    return build / ".jupyter_cache" / inputs_hash(LIBRARY, *inputs, without=("authoring", "marking"))


def key_cache(app: Sphinx, config) -> None:
    """Set where outputs are kept, and the value that has every page read anew when anything else has changed."""
    root = Path(app.srcdir)
    config.course_inputs = inputs_hash(LIBRARY, *others(root))
    config.nb_execution_cache_path = str(cache_folder(root, Path(app.outdir).parent))


def forget_failed_build(app: Sphinx, exception: Exception | None) -> None:
    """Drop the environment of a build that raised or warned: the next one reads every page again."""
    if exception is not None or app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


class ClaimsTable(SphinxDirective):
    """``{claims-table} [CHAPTER]``: the claims of one chapter, or all of them, with their computed verdicts."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        chapter = int(self.arguments[0]) if self.arguments else None
        self.env.note_dependency(str(LIBRARY / "ledger.toml"))
        pages = getattr(self.env, "course_claim_tables", set())
        self.env.course_claim_tables = pages | {self.env.docname}
        return [nodes.container(classes=["claims-table"], claims_table=True, chapter=chapter)]


def computed(app: Sphinx) -> dict[str, tuple[str, claims.Settled]]:
    """What this build's pages settled: by claim id, the page and the outcome; a chapter goes before a notebook."""
    found: dict[str, tuple[str, claims.Settled]] = {}
    folder = Path(app.env.mystnb_config.output_folder)
    for docname in sorted(app.env.found_docs):
        keys = app.env.nb_metadata.get(docname, {}).get("glue", [])
        if not any(key.startswith("claim:") for key in keys):
            continue
        glued = json.loads((folder / f"{docname}.glue.json").read_text("utf-8"))
        for key in keys:
            if key.startswith("claim:"):
                outcome = claims.Settled(**json.loads(glued[key]["data"]["text/plain"]))
                found.setdefault(outcome.id, (docname, outcome))
    return found


def tables_to_refresh(app: Sphinx, env) -> list[str]:
    """Every page with a table of claims is written anew in each build: its rows come from other pages."""
    return sorted(getattr(env, "course_claim_tables", set()) & env.found_docs)


def fill_tables(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace each placeholder by its table; warn of a finished chapter's claim that has no computed value."""
    placeholders = [node for node in doctree.findall(nodes.container) if node.get("claims_table")]
    found = computed(app) if placeholders else {}
    for node in placeholders:
        rows = []
        for claim in claims.ledger().values():
            if node["chapter"] not in (None, claim.chapter):
                continue
            page, outcome = found.get(claim.id, (None, None))
            if outcome is None and claim.chapter in claims.finished():
                LOGGER.warning("claim %s: chapter %d computed no value for it", claim.id, claim.chapter, location=node)
            rows.append(row(app, docname, claim, page, outcome))
        head = ("Claim", "What the source says", "Computed", "Verdict")
        node.replace_self(table(head, rows))


def row(app: Sphinx, docname: str, claim: claims.Claim, page: str | None, outcome: claims.Settled | None) -> list:
    """The cells of one claim; its id links to where it was settled."""
    label: nodes.Node = nodes.Text(claim.id)
    if page is not None:
        uri = app.builder.get_relative_uri(docname, page) + f"#claim-{claim.id}"
        label = nodes.reference("", claim.id, refuri=uri, internal=True)
    value = outcome.value if outcome else "–"
    verdict = outcome.verdict.replace("…", outcome.condition) if outcome else "not settled in this edition"
    return [label, nodes.Text(f"{claim.text} [{claim.source}]"), nodes.Text(value), nodes.strong("", verdict)]


def table(head: tuple[str, ...], rows: list[list[nodes.Node]]) -> nodes.table:
    """A docutils table of inline cells."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in (8, 36, 32, 24)]
    for section, lines in ((nodes.thead(), [[nodes.Text(text) for text in head]]), (nodes.tbody(), rows)):
        for line in lines:
            section += nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in line])
        group += section
    return nodes.table("", group, classes=["claims"])


def setup(app: Sphinx) -> dict:
    app.add_config_value("course_inputs", "", "env")
    app.add_directive("claims-table", ClaimsTable)
    app.connect("config-inited", key_cache, priority=900)
    app.connect("env-updated", tables_to_refresh)
    app.connect("doctree-resolved", fill_tables)
    app.connect("build-finished", forget_failed_build)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
