"""Plain Markdown out of a page as Sphinx resolved it: numbers filled in, references by their numbers, no directive.

What comes out shows well in JupyterLab and on Colab: statements and admonitions are quotations with a bold name,
numbered equations carry their ``\\tag``, and places that are referred to are anchors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import indent

from docutils import nodes

Url = Callable[[nodes.Element], str | None]
NOTHING = (nodes.comment, nodes.system_message, nodes.substitution_definition, nodes.colspec, nodes.meta)


def escaped(text: str) -> str:
    """Text that Markdown takes as it stands."""
    return re.sub(r"([\\`*_$\[\]<>])", r"\\\1", text)


def quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def barless(text: str) -> str:
    """Text for a cell of a table, where a bar would end it, in formulas too."""
    text = re.sub(r"\$[^$]*\$", lambda m: m[0].replace(r"\|", r"\Vert ").replace("|", r"\vert "), text)
    return text.replace("|", r"\|")


class Markdown:
    """Writes docutils nodes as Markdown.

    `number(node)` gives the number of a figure, an equation or a statement, or ""; `url(node)` the address that a
    reference is to have, or None where it should be mere text.
    """

    def __init__(self, number: Callable[[nodes.Element], str], url: Url):
        self.number, self.url = number, url

    def inline(self, node: nodes.Node) -> str:
        """A node inside a paragraph, on one line or several."""
        if isinstance(node, nodes.Text):
            return escaped(node.astext())
        if isinstance(node, nodes.raw):
            return node.astext() if node.get("format") == "html" else ""
        if isinstance(node, nodes.literal):
            text = node.astext()
            return f"`` {text} ``" if "`" in text else f"`{text}`"
        if isinstance(node, nodes.math):
            return f"${' '.join(node.astext().split())}$"
        if isinstance(node, nodes.image):
            return escaped(node.get("alt", ""))
        text = "".join(self.inline(child) for child in node.children)
        mark = {nodes.emphasis: "*", nodes.strong: "**"}.get(type(node))
        if mark and text.strip():
            return f"{mark}{text.strip()}{mark}"
        if isinstance(node, nodes.reference) and text:
            where = self.url(node)
            return f"[{text}]({where})" if where else text
        return self.anchors(node) + text if isinstance(node, nodes.target) else text

    def anchors(self, node: nodes.Element) -> str:
        return "".join(f'<a id="{name}"></a>' for name in node.get("ids", []))

    def block(self, node: nodes.Node, level: int = 1) -> str:
        """A node that stands by itself; `level` is that of the next heading inside it."""
        if isinstance(node, NOTHING):
            return ""
        name = "statement" if "proof" in node.get("classes", []) else type(node).__name__
        return getattr(self, name, self.blocks)(node, level).strip("\n")

    def blocks(self, node: nodes.Element, level: int = 1) -> str:
        """The blocks inside a node, one below the other; inline nodes among them are a paragraph."""
        parts = []
        for child in node.children:
            inline = isinstance(child, (nodes.Text, nodes.Inline)) and not isinstance(child, nodes.raw)
            parts.append(self.inline(child) if inline else self.block(child, level))
        return "\n\n".join(part for part in parts if part.strip())

    def document(self, node, level):
        return self.blocks(node, level)

    def section(self, node, level):
        return "\n\n".join(filter(None, (self.anchors(node), self.blocks(node, level + 1))))

    def title(self, node, level):
        return f"{'#' * min(level - 1, 6)} {self.inline_all(node)}"

    def inline_all(self, node: nodes.Element) -> str:
        return "".join(self.inline(child) for child in node.children)

    def paragraph(self, node, level):
        return self.inline_all(node)

    def rubric(self, node, level):
        return f"**{self.inline_all(node)}**"

    def target(self, node, level):
        return self.anchors(node)

    def raw(self, node, level):
        """A widget is an element and a script of the page: its fallback stands between and is kept."""
        return "" if "<course-" in node.astext() or "</course-" in node.astext() else self.inline(node)

    def literal_block(self, node, level):
        return f"```{node.get('language', '')}\n{node.astext()}\n```".replace("```default", "```")

    def transition(self, node, level):
        return "---"

    def math_block(self, node, level):
        """On one line: JupyterLab takes formulas out before it reads Markdown, the signs of a quotation with them."""
        text = " ".join(re.sub(r"(?<!\\)%.*", "", node.astext()).split())
        if "\\\\" in text and not text.startswith(r"\begin"):
            text = rf"\begin{{split}} {text} \end{{split}}"
        tag = self.number(node)
        return self.anchors(node) + f"\n\n$${text}" + (rf" \tag{{{tag}}}" if tag else "") + "$$"

    def bullet_list(self, node, level):
        return self.items(node, level, lambda k: "- ")

    def enumerated_list(self, node, level):
        return self.items(node, level, lambda k: f"{k + node.get('start', 1)}. ")

    def items(self, node, level, mark) -> str:
        parts = []
        for k, item in enumerate(node.children):
            head = mark(k)
            parts.append(head + indent(self.blocks(item, level), " " * len(head)).lstrip())
        return ("\n\n" if any("\n\n" in part for part in parts) else "\n").join(parts)

    def definition_list(self, node, level):
        parts = []
        for item in node.children:
            terms = [f"{self.anchors(t)}**{self.inline_all(t)}**" for t in item.findall(nodes.term)]
            parts += [", ".join(terms), *(self.blocks(d, level) for d in item.findall(nodes.definition))]
        return "\n\n".join(parts)

    def table(self, node, level):
        rows = []
        for line in node.findall(nodes.row):
            cells = [barless(" ".join(self.blocks(entry).split())) for entry in line.children]
            rows.append(f"| {' | '.join(cells)} |")
            if len(rows) == 1:
                rows.append("|" + "---|" * len(cells))
        return "\n".join(rows)

    def block_quote(self, node, level):
        return quoted(self.blocks(node, level))

    def admonition(self, node, level):
        """A quotation. Its title is bold; that of a proof stands in its first line already."""
        parts = [self.block(child, level) for child in node.children]
        if isinstance(node.children[0], nodes.title):
            parts[0] = f"**{self.inline_all(node.children[0])}**"
        if "proof" in node["classes"]:
            parts[0] = re.sub(r"^Proof\.", "*Proof.*", parts[0])
        return quoted("\n\n".join(filter(None, parts)))

    def statement(self, node, level):
        """A definition, theorem or the like, its name, number and title in bold; or a proof, as an admonition."""
        if "realtype" not in node:
            return self.admonition(node, level)
        title, content = node.children[0], node.children[1]
        said = self.inline_all(title).strip()
        head = f"**{node['realtype'].title()} {self.number(node)}**" + (f" **{said}**" if said else "")
        return quoted(f"{self.anchors(node)}{head}\n\n{self.blocks(content, level)}")

    def figure(self, node, level):
        said = next(iter(node.findall(nodes.caption)), None)
        return f"{self.anchors(node)}**Fig. {self.number(node)}** {self.inline_all(said)}" if said is not None else ""
