"""Figures carry their alt text everywhere, and are the same bytes each time."""

from __future__ import annotations

import base64
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from docutils import nodes
from PIL import Image

from course_lib import plots
from course_lib.authoring.alt_text import AltText

ALT = "The error falls by a half each time the step is halved."


def drawn() -> plots.Drawn:
    h = np.array([0.1, 0.05])
    return plots.orders({"euler": (h, h)}, alt=ALT)


def test_a_figure_shows_itself_with_its_alt_text():
    data, metadata = drawn()._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == metadata["image/png"]["alt"] == ALT


def test_the_same_figure_is_the_same_bytes():
    assert drawn().png() == drawn().png()


@pytest.mark.parametrize("alt", ["", "A plot.", "loss against epoch"])
def test_alt_text_that_says_nothing_is_refused(alt):
    with pytest.raises(ValueError, match="say in a sentence what is to be seen"):
        plots.Drawn(drawn().fig, alt)


def test_lines_differ_in_more_than_colour():
    styles = [plots.line_style(k) for k in range(len(plots.COLOURS))]
    for key in ("color", "linestyle"):
        assert len({str(style[key]) for style in styles}) == len(styles)


def test_a_band_spans_the_runs_and_its_line_is_their_median():
    ax = plots.new()[1][0, 0]
    runs = np.array([[1.0, 5.0], [2.0, 6.0], [9.0, 7.0]])
    plots.band(ax, [0, 1], runs, label="net")
    assert ax.lines[0].get_ydata().tolist() == [2.0, 6.0]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1.0, 9.0)
    assert ax.get_legend_handles_labels()[1] == ["net (median of 3)"]


def test_errors_against_steps_are_a_line_a_method_on_logarithmic_axes():
    h, error = np.array([0.1, 0.05]), np.array([0.02, 0.01])
    ax = plots.orders({"euler": (h, error), "rk4": (h, error**4)}, alt=ALT).fig.axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["euler", "rk4"]
    for line, y in zip(ax.lines, (error, error**4), strict=True):
        assert np.array_equal(line.get_xdata(), h) and np.array_equal(line.get_ydata(), y)


def test_a_spread_goes_from_low_to_high_with_its_median_marked():
    rows = {"a": {"median": 2.0, "low": 1.0, "high": 5.0}, "b": {"median": 3.0, "low": 2.0, "high": 4.0}}
    ax = plots.spreads(rows, xlabel="time", alt=ALT, reference=2.5).fig.axes[0]
    assert [list(line.get_xdata()) for line in ax.lines] == [[1.0, 5.0], [2.0], [2.0, 4.0], [3.0], [2.5, 2.5]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"] and ax.yaxis_inverted()


def test_an_orbit_begins_at_its_mark_and_arrows_are_of_one_length():
    ax = plots.new()[1][0, 0]
    plots.orbit(ax, np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[1, 2], [3, 4]], [[1, 2]]]
    plots.arrows(ax, lambda x: 3 * x, limit=1.0, n=3)
    [quiver] = ax.collections
    lengths = np.hypot(quiver.U, quiver.V)
    assert np.allclose(np.delete(lengths, 4), 1) and lengths[4] == 0  # nothing moves in the middle
    assert quiver.U[2] > 0 > quiver.V[2]  # out of the corner (1, -1)


def test_a_method_is_stable_where_the_modulus_is_at_most_one():
    ax, axis = plots.new()[1][0, 0], np.linspace(-3, 3, 61)
    plots.region(ax, axis, axis, np.abs(1 + axis + 1j * axis[:, None]))  # forward Euler: the disc around -1
    [shaded] = ax.collections[0].get_paths()
    assert shaded.contains_point((-1, 0.5)) and not shaded.contains_point((0.5, 0.5))


@pytest.mark.parametrize("inline", [False, True])
def test_the_book_gets_the_alt_text_of_a_png_and_leaves_the_rest_alone(inline):
    renderer = SimpleNamespace(
        render_image=lambda data: [nodes.container("", nodes.image(uri="x.png", width="720"))],
        render_image_inline=lambda data: [nodes.image(uri="x.png", width="720")],
        write_file=lambda path, content, **options: path[-1],
    )
    metadata = {"image/png": {"alt": ALT}}
    png = BytesIO()
    Image.new("RGBA", (40, 20)).save(png, "PNG")
    content = base64.b64encode(png.getvalue()).decode()
    output = SimpleNamespace(mime_type="image/png", output_metadata=metadata, content=content)
    [image] = [image for node in AltText.handle_mime(renderer, output, inline) for image in node.findall(nodes.image)]
    assert image["alt"] == ALT and image["height"] == "360" and image["uri"].endswith(".webp")
    for mime, given in (("text/plain", metadata), ("image/png", {})):
        output = SimpleNamespace(mime_type=mime, output_metadata=given)
        assert AltText.handle_mime(renderer, output, inline) is None
