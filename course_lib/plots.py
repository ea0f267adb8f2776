"""Figures of the course: one style, and alt text that travels with every figure.

A drawing function returns ``Drawn``: shown as the last expression of a cell it displays the picture, and carries a
sentence that says what is to be seen, for readers who do not see it. Lines differ in dash or marker as well as in
colour (Okabe and Ito's palette, safe for colour-blind readers), so that figures also read in grey.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008), without yellow, orange and sky blue, whose contrast with white paper is below 3.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
DASHES: tuple = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)), (0, (3, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 144


@dataclass(frozen=True)
class Drawn:
    """A finished figure and its alt text."""

    fig: Figure
    alt: str

    def __post_init__(self) -> None:
        if len(self.alt.split()) < 6:
            raise ValueError(f"alt: say in a sentence what is to be seen, not {self.alt!r}.")

    def png(self) -> bytes:
        """The picture as PNG, on white, so that it reads on a dark page too; free of time stamps."""
        buffer = io.BytesIO()
        self.fig.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
        return buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        width = int(self.fig.get_figwidth() * 100)
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt, "width": width}}


def new(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.4, **kwargs
) -> tuple[Figure, np.ndarray]:
    """An empty figure in the course's style and its axes as an array (rows, columns); sizes in inches.

    Built without pyplot, so that nothing is kept open or drawn twice.
    """
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False, **kwargs)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.set_axisbelow(True)
    return fig, axes


def line_style(k: int, *, marker: bool = False) -> dict:
    """Keyword arguments for the k-th line of a figure: colour, dash and, if asked, marker."""
    style = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k % len(DASHES)], "linewidth": 1.8}
    if marker:
        style |= {"marker": MARKERS[k % len(MARKERS)], "markersize": 4.5}
    return style


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    alt: str,
    xscale: str = "linear",
    yscale: str = "linear",
    marker: bool = False,
    ax: Axes | None = None,
) -> Drawn:
    """Curves by name, each a pair (x, y) of equal length, in one panel with a legend."""
    if ax is None:
        ax = new()[1][0, 0]
    for k, (name, (x, y)) in enumerate(curves.items()):
        ax.plot(np.asarray(x), np.asarray(y), label=name, **line_style(k, marker=marker))
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
    ax.legend(frameon=False)
    return Drawn(ax.figure, alt)


def band(ax: Axes, x: Sequence[float], runs: np.ndarray, *, label: str, k: int = 0) -> None:
    """The median over seeds as a line, least to greatest as a band; runs has shape (seeds, len(x))."""
    x, runs = np.asarray(x), np.asarray(runs)
    style = line_style(k, marker=len(x) < 20)
    ax.plot(x, np.median(runs, axis=0), label=f"{label} (median of {len(runs)})", **style)
    ax.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=COLOURS[k % len(COLOURS)], alpha=0.18, linewidth=0)


def orders(errors: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, alt: str) -> Drawn:
    """Error against step size h on logarithmic axes, by method: the slope of a line is the method's order."""
    log = {"xscale": "log", "yscale": "log"}
    return lines(errors, xlabel="step size $h$", ylabel="global error", alt=alt, marker=True, **log)


def spreads(
    rows: Mapping[str, Mapping[str, float]], *, xlabel: str, alt: str, reference: float | None = None,
    ax: Axes | None = None,
) -> Drawn:
    """One line a name, top to bottom: the median as a dot on the stretch from low to high, on a logarithmic axis.

    rows gives "median", "low" and "high" by name; ``reference`` draws a vertical line to compare with.
    """
    if ax is None:
        ax = new(height=1.0 + 0.3 * len(rows))[1][0, 0]
    for k, row in enumerate(rows.values()):
        ax.plot([row["low"], row["high"]], [k, k], color=COLOURS[0], linewidth=2.4, alpha=0.5, solid_capstyle="butt")
        ax.plot(row["median"], k, marker="o", color=COLOURS[0], markersize=5)
    if reference is not None:
        ax.axvline(reference, color="black", linewidth=1, linestyle=DASHES[1])
    ax.set(xscale="log", xlabel=xlabel, yticks=range(len(rows)), yticklabels=list(rows))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.invert_yaxis()
    return Drawn(ax.figure, alt)


def arrows(ax: Axes, field: Callable[[np.ndarray], np.ndarray], *, limit: float, n: int = 11) -> None:
    """Directions of a planar field on a square grid; ``field`` maps points (m, 2) to velocities (m, 2)."""
    grid = np.linspace(-limit, limit, n)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    velocity = np.asarray(field(points))
    size = np.hypot(*velocity.T)
    direction = velocity / np.where(size > 0, size, 1)[:, None]
    ax.quiver(*points.T, *direction.T, color="#999999", angles="xy", width=0.005, scale=1.6 * n)


def orbit(ax: Axes, path: np.ndarray, *, k: int = 0, label: str | None = None, every: int | None = None) -> None:
    """A path (steps, 2) in the plane, from a filled start; marked at every step if short, or as ``every`` says."""
    path = np.asarray(path)
    style = line_style(k, marker=every is not None or len(path) < 60)
    ax.plot(*path.T, label=label, markevery=every or 1, **{**style, "markersize": 3})
    ax.plot(*path[0], marker="o", color="black", markersize=6, zorder=3)


def region(ax: Axes, re: np.ndarray, im: np.ndarray, modulus: np.ndarray) -> None:
    """Where a method is stable: shaded where the modulus of R is at most 1.

    The modulus is given on a grid, (len(im), len(re)), of the complex plane.
    """
    ax.contourf(re, im, modulus, levels=[0, 1], colors=["#9ecae1"])
    ax.contour(re, im, modulus, levels=[1], colors=[COLOURS[0]], linewidths=1.4)
    ax.axhline(0, color="black", linewidth=0.7)
    ax.axvline(0, color="black", linewidth=0.7)
    ax.set_aspect("equal")
