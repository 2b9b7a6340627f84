"""The toy widget of lesson 05, driven without a browser."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from edu_compress import toy, widgets


@pytest.fixture(scope="module")
def explorer():
    def train(linear):
        torch.manual_seed(0)
        return toy.train(toy.ToyCodec((0.5, 3.0, 20.0), linear=linear), steps=60, progress=False)

    return widgets.ToyExplorer(train(True), train(False))


def test_lambda_changes_cells_points_and_numbers(explorer):
    seen = set()
    for index in range(3):
        explorer.lam.value = index
        assert all(f"{explorer.rates[name][index]:.2f}" in explorer.numbers.value for name in ("linear", "learned"))
        seen |= {(explorer.planes[name].png, explorer.planes[name].overlay) for name in explorer.planes}
        seen.add(explorer.curves.overlay)
    assert len(seen) == 9


def test_every_used_cell_has_its_point(explorer):
    explorer.lam.value = 2
    for name, stage in explorer.planes.items():
        assert stage.overlay.count("<circle") == len(explorer._cells[name][2].points)


def test_points_are_drawn_where_the_picture_has_them(explorer):
    """A picture's rows go downwards, the plane's second coordinate upwards."""
    from edu_compress.widgets.toy import _circles

    left, right, bottom, top = toy.EXTENT
    corner = toy.Cells(np.zeros((2, 2), bool), np.array([[left, top]]), np.array([1.0]))
    assert 'cx="0.0" cy="0.0"' in _circles(corner, "red", (100, 200))


def test_still_is_a_picture(explorer):
    assert Image.open(io.BytesIO(explorer.still())).width > 600
