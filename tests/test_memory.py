"""Bytes are counted as tensors come and go."""

import torch

from course_lib.memory import peak_bytes, saved_bytes


def test_peak_counts_what_is_held_at_one_time():
    def apart():
        torch.zeros(1000).sum()
        torch.ones(500).sum()

    assert 4000 <= peak_bytes(apart) < 4100
    assert 6000 <= peak_bytes(lambda: [torch.zeros(1000), torch.ones(500)]) < 6100


def test_views_and_excluded_tensors_cost_nothing():
    x = torch.zeros(1000)
    assert peak_bytes(lambda: [x[:10], x.reshape(10, 100).T], exclude=[x]) == 0
    assert peak_bytes(lambda: x * 2, exclude=[x]) == 4000


def test_saved_bytes_are_those_of_the_graph():
    x = torch.randn(100, requires_grad=True)
    assert saved_bytes(lambda: (x.tanh() * 2).tanh()) == 800  # each tanh keeps its result
    assert saved_bytes(lambda: x.tanh() + 1) == 400
    assert saved_bytes(lambda: x * x, exclude=[x]) == 0
