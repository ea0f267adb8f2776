"""The figures' palette: seen on white, told apart by colour-blind readers, and in grey by dash and marker."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from course_lib import plots

# What a reader without one kind of cones sees, in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.
SIGHT = {
    "all three": np.eye(3),
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no medium": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ.sum(axis=1)


def linear(colour: str) -> np.ndarray:
    """Linear RGB of ``#RRGGBB`` (IEC 61966-2-1)."""
    c = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b* of linear RGB: a distance of about 2 is just seen."""
    x, y, z = np.cbrt(XYZ @ rgb.clip(0, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour: str) -> float:
    """WCAG's contrast of a colour with white."""
    return 1.05 / (XYZ[1] @ linear(colour) + 0.05)


@pytest.mark.parametrize("colour", plots.COLOURS)
def test_every_colour_is_seen_on_white(colour):
    assert contrast(colour) >= 3  # WCAG 1.4.11, for lines and markers


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart_whatever_cones_a_reader_has(sight):
    seen = {colour: lab(np.array(SIGHT[sight]) @ linear(colour)) for colour in plots.COLOURS}
    for one, other in combinations(plots.COLOURS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


def test_in_grey_lines_differ_by_dash_and_marker():
    styles = [plots.line_style(k, marker=True) for k in range(len(plots.DASHES))]
    assert len({str(style["linestyle"]) for style in styles}) == len(styles)
    assert len({style["marker"] for style in styles}) == len(styles)
    assert len(styles) > len(plots.COLOURS)  # a colour that comes again comes with another dash


def test_the_measures_know_what_is_known():
    assert contrast("#FFFFFF") == pytest.approx(1) and contrast("#000000") == pytest.approx(21)
    assert lab(linear("#FFFFFF")) == pytest.approx([100, 0, 0], abs=0.01)
    red, green = (lab(np.array(SIGHT["no medium"]) @ linear(colour)) for colour in ("#A03020", "#606000"))
    assert np.linalg.norm(red - green) < 15 < np.linalg.norm(lab(linear("#A03020")) - lab(linear("#606000")))
