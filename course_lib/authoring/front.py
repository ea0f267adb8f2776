"""``{moving-picture}``: the course's idea as a picture that draws itself, on the front page.

States go through residual nets of more and more layers over one field; behind them, the field's flow. The states are
the library's own steps, computed while the book is built. The picture moves by its style sheet alone (``front.css``):
it needs no script, it can be stopped, and where motion is unwelcome, or on paper, it stands still.
"""

from __future__ import annotations

import math
from html import escape

import torch
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from torch import Tensor

from ..integrators import solve

LAYERS = (3, 6, 12, 24)  # of the nets shown one after another
STILL = 6  # the one that is shown where nothing moves
END = 4 * math.pi / 3
STARTS = torch.linspace(-1.35, 1.35, 10, dtype=torch.float64)
WIDTH, HEIGHT, MARGIN = 480, 272, 10


def field(t: Tensor, x: Tensor) -> Tensor:
    """Pulls the states together, then lets them go."""
    return -0.9 * torch.sin(1.7 * x) * torch.sin(1.5 * t)


def states(layers: int) -> Tensor:
    """States after 0, 1, ..., `layers` residual blocks, each a step of Euler's method, (layers + 1, starts)."""
    return solve(field, STARTS, torch.linspace(0, END, layers + 1, dtype=torch.float64), method="euler")


def flow(points: int = 48) -> Tensor:
    """The flow at equally spaced times, (points + 1, starts)."""
    return solve(field, STARTS, torch.linspace(0, END, points + 1, dtype=torch.float64), method="rk4", steps=8)


def farthest(layers: int) -> float:
    """The largest distance between a net's last states and the ends of the flow."""
    return float((states(layers)[-1] - flow()[-1]).abs().max())


def place(k: int, of: int, x: float) -> str:
    """Where the state x after k of so many steps is drawn."""
    across = MARGIN + (WIDTH - 2 * MARGIN) * k / of
    return f"{across:.1f},{HEIGHT / 2 + 14 - 86 * x:.1f}"


def paths(values: Tensor) -> list[str]:
    """The data of one SVG path for each start."""
    rows = values.T.tolist()
    return ["M" + " ".join(place(k, len(row) - 1, x) for k, x in enumerate(row)) for row in rows]


def net(layers: int, phase: int) -> str:
    """A net: its layers as upright lines, its name, and what becomes of each start."""
    out = [f'<g class="net{" still" * (layers == STILL)}" style="--phase: {phase}">']
    for k in range(layers + 1):
        x = place(k, layers, 0).partition(",")[0]
        out.append(f'<path class="layer" style="--at: {k / layers:.3f}" d="M{x},30V{HEIGHT - 2}"/>')
    for k, data in enumerate(paths(states(layers))):
        out.append(f'<path class="{"low" if k < len(STARTS) // 2 else "high"}" pathLength="1" d="{data}"/>')
    return "".join([*out, f'<text x="{MARGIN}" y="20">{layers} layers</text></g>'])


def description() -> str:
    """What is to be seen, in words with computed figures."""
    few, many = LAYERS[0], LAYERS[-1]
    return (
        f"{len(STARTS)} states run from left to right through a residual network, layer by layer, in front of the "
        f"smooth curves of a flow, which first draw together and then part again. With {few} layers the paths have "
        f"corners, cross, and end up to {farthest(few):.1f} away from the flow; each doubling of the layers brings "
        f"them nearer, to {farthest(many):.1f} with {many}."
    )


def svg() -> str:
    """The picture."""
    behind = "".join(f'<path d="{data}"/>' for data in paths(flow()))
    nets = "".join(net(layers, phase) for phase, layers in enumerate(LAYERS))
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description())}">'
    name = f'<text class="flow" x="{WIDTH - MARGIN}" y="20">grey: the flow</text>'
    return f'{head}<g class="flow">{behind}</g>{nets}{name}</svg>'


class MovingPicture(SphinxDirective):
    """The picture with its switch; the content is the line below it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()
        self.env.metadata[self.env.docname]["course_front"] = "yes"
        switch = '<input type="checkbox" id="pause-picture"/><label for="pause-picture">Pause</label>'
        caption = nodes.container(classes=["caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        html = {"format": "html"}
        return [nodes.raw("", f'<div class="moving">{switch}{svg()}', **html), caption, nodes.raw("", "</div>", **html)]


def add_style(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Only the page with the picture loads its style."""
    if "course_front" in app.env.metadata.get(pagename, {}):
        app.add_css_file("front.css")


def setup(app: Sphinx) -> dict:
    app.add_directive("moving-picture", MovingPicture)
    app.connect("html-page-context", add_style)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
