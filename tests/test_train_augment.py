"""Augmentation: what a shift, a flip and a cut do, image by image, and that the generator decides them."""

import pytest
import torch

from course_lib.train import Augmentation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=generator(9)) + 1


@pytest.mark.parametrize("fill", ["zeros", "nearest"])
def test_every_image_is_moved_as_a_whole_and_all_moves_occur(fill):
    x = images(400)
    moved = Augmentation(shift=1, fill=fill)(x, generator())
    padded = torch.nn.functional.pad(x, [1] * 4, mode="constant" if fill == "zeros" else "replicate")
    found = set()
    for i in range(len(x)):
        at = [(r, c) for r in range(3) for c in range(3) if torch.equal(padded[i, :, r : r + 8, c : c + 8], moved[i])]
        assert len(at) == 1
        found.add(at[0])
    assert len(found) == 9 and ((moved == 0).any() == (fill == "zeros"))


def test_half_of_the_images_are_mirrored():
    x = images(400)
    out = Augmentation(flip=True)(x, generator())
    mirrored = [torch.equal(out[i], x[i].flip(2)) for i in range(len(x))]
    assert all(m or torch.equal(out[i], x[i]) for i, m in enumerate(mirrored)) and 150 < sum(mirrored) < 250


def test_the_cut_is_a_square_around_a_centre_inside_the_image():
    x = images(200)
    out = Augmentation(cutout=4)(x, generator())
    for i in range(len(x)):
        gone = (out[i] == 0).all(0)
        rows, columns = gone.any(1).nonzero()[:, 0], gone.any(0).nonzero()[:, 0]
        height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert gone.sum() == height * width and 2 <= height <= 4 and 2 <= width <= 4
        assert torch.equal(out[i][:, ~gone], x[i][:, ~gone])


def test_the_generator_decides_and_nothing_else():
    x, change = images(), Augmentation(shift=2, flip=True, cutout=3)
    torch.manual_seed(1)
    first = change(x, generator(3))
    torch.rand(5)
    assert torch.equal(first, change(x, generator(3))) and not torch.equal(first, change(x, generator(4)))
    assert torch.equal(Augmentation()(x, generator()), x)
    with pytest.raises(ValueError, match="fill='mirror' is unknown"):
        Augmentation(fill="mirror")
