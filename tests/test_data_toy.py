"""The toy problems and the embedded digits are what their sources say."""

import math

import pytest
import torch

from course_lib.data import annulus, damped_wave, damped_wave_points, digits, flip, moons, swiss_roll
from course_lib.data.digits import raw


def test_damped_wave():
    data = damped_wave_points(seed=3)
    assert data.x.shape == (100, 1) and data.x.abs().max() <= 1 and data.x_val.shape == (200, 1)
    assert damped_wave(torch.tensor(0.25)).item() == pytest.approx(math.exp(-0.03125))
    torch.testing.assert_close(data.y, damped_wave(data.x))
    assert torch.equal(data.x, damped_wave_points(seed=3).x) and not torch.equal(data.x, damped_wave_points(seed=4).x)


def test_swiss_roll_has_513_points_a_class_and_a_gap_of_a_fifth():
    data = swiss_roll(dtype=torch.float64)
    assert data.x.shape == data.x_val.shape == (513, 2) and data.y.unique().tolist() == [0, 1]
    x, y = torch.empty(1026, 2, dtype=torch.float64), torch.empty(1026, 1)
    x[1::2], x[0::2], y[1::2], y[0::2] = data.x, data.x_val, data.y, data.y_val
    assert y.sum() == 513 and (y[:513] == 0).all()
    inner, outer = x[:513], x[513:]
    torch.testing.assert_close(outer.norm(dim=1) - inner.norm(dim=1), torch.full((513,), 0.2, dtype=torch.float64))
    assert inner[-1].norm() == pytest.approx(1) and inner[128].norm() == pytest.approx(0.25)
    torch.testing.assert_close(inner[128], torch.tensor([-0.25, 0.0], dtype=torch.float64))  # after half a turn


def test_moons():
    x, y = moons(300, seed=0, noise=0.0)
    first, second = x[:300], x[300:]
    assert torch.allclose(first.norm(dim=1), torch.ones(300)) and (first[:, 1] >= 0).all()
    assert torch.allclose((second - torch.tensor([1.0, 0.5])).norm(dim=1), torch.ones(300))
    assert (second[:, 1] <= 0.5).all()
    assert y.flatten().tolist() == [0] * 300 + [1] * 300
    assert (moons(300, seed=0)[0] - x).std() == pytest.approx(0.1, rel=0.1)


def test_flip():
    x, y = flip()
    assert x.tolist() == [[-1], [1]] and torch.equal(y, -x)
    x, y = flip(500, seed=0)
    assert x.unique().tolist() == [-1, 1] and torch.equal(y, -x) and 200 < (x > 0).sum() < 300
    with pytest.raises(ValueError, match="give seed="):
        flip(500)


def test_annulus():
    x, y = annulus(seed=0)
    radius = x.norm(dim=1)
    assert (y[:500] == -1).all() and (y[500:] == 1).all() and len(y) == 2000
    assert radius[:500].max() <= 0.5 and radius[500:].min() >= 1 and radius[500:].max() <= 1.5
    assert radius[500:].median() == pytest.approx(1 + 0.5 * math.sqrt(0.5), abs=0.02)
    assert abs(x[500:].mean(0)).max() < 0.1  # all around
    assert radius[:500].median() == pytest.approx(0.5 * math.sqrt(0.5), abs=0.03)


def test_digits_are_1797_and_split_without_overlap():
    images, labels = raw()
    assert images.shape == (1797, 8, 8) and images.max() == 16
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images[0].sum() == 294 and labels[:5].tolist() == [0, 1, 2, 3, 4]
    data = digits(seed=1)
    assert data.x.shape == (1438, 1, 8, 8) and data.x_val.shape == (359, 1, 8, 8) and data.x.max() == 1
    together = torch.cat((data.x, data.x_val)).flatten(1).unique(dim=0)
    assert len(together) == len(images.flatten(1).unique(dim=0))
    assert digits(seed=1, flat=True).x.shape == (1438, 64)
    assert torch.equal(digits(seed=1).x, data.x) and not torch.equal(digits(seed=2).x, data.x)
    pairs = {(*image.flatten().tolist(), y) for image, y in zip(images, labels.tolist(), strict=True)}
    for x, y in (data.train, data.validation):  # every image has kept its label
        assert all((*(16 * image).flatten().tolist(), k) in pairs for image, k in zip(x, y.tolist(), strict=True))
    with pytest.raises(ValueError, match="validation=2"):
        digits(validation=2)
