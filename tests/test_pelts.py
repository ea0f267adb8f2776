"""The Hudson's Bay series: the published bytes, the shapes, and what an altered file says."""

from importlib import resources

import pytest
import torch

from course_lib.data import pelts
from course_lib.data.pelts import FILE, read

RAW = resources.files("course_lib.data").joinpath(FILE).read_bytes()


def test_shapes_and_units():
    series = pelts()
    assert series.years.tolist() == list(range(1900, 1921))
    assert series.t.tolist() == list(range(21))
    assert series.counts.shape == (21, 2) and series.counts.dtype == torch.float64
    assert torch.equal(series.counts[:, 0], series.hare) and torch.equal(series.counts[:, 1], series.lynx)


def test_published_rows():
    series = pelts()
    rows = {1900: (30.0, 4.0), 1903: (77.4, 35.2), 1904: (36.3, 59.4), 1917: (7.6, 15.8), 1920: (24.7, 8.6)}
    for year, row in rows.items():
        assert tuple(series.counts[year - 1900].tolist()) == row
    # The spread (divisor n), in thousands of pelts and in logarithms.
    assert series.counts.log().std(dim=0, correction=0).tolist() == pytest.approx([0.621, 0.754], abs=1e-3)
    assert series.counts.std(dim=0, correction=0).tolist() == pytest.approx([20.9, 16.3], abs=0.06)


def test_windows_line_ends_are_the_same_file():
    assert torch.equal(read(RAW.replace(b"\n", b"\r\n")).counts, pelts().counts)


@pytest.mark.parametrize("raw", [RAW.replace(b"30.0,4.0", b"4.0,30.0"), RAW[:-20], b""])
def test_altered_file_is_refused(raw):
    with pytest.raises(ValueError, match=f"{FILE}: SHA-256"):
        read(raw)


def test_each_call_is_a_fresh_copy():
    pelts().hare.zero_()
    assert pelts().hare.min() > 0
