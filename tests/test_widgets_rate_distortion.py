"""The widget of lesson 00, driven without a browser: what moves when lambda, the photograph or the pointer moves."""

import io

import numpy as np
import pytest
from PIL import Image

from edu_compress import images, metrics, open_codec, widgets
from edu_compress.widgets._core import to_png
from edu_compress.widgets.rate_distortion import QUALITIES


@pytest.fixture(scope="module")
def explorer():
    return widgets.TangentExplorer(images.sample("coffee")[:256, :384])


def test_operating_point_has_the_smallest_cost(explorer):
    for lam in (0.002, 0.01, 0.05):
        explorer.lam.value = lam
        cost = explorer.rate + explorer.lam.value * explorer.distortion
        assert cost[explorer.chosen] == cost.min()
        assert f"{cost.min():.3f} bits per pixel" in explorer.numbers.value


def test_more_lambda_buys_more_quality(explorer):
    chosen = []
    for lam in (0.001, 0.004, 0.016, 0.064):
        explorer.lam.value = lam
        chosen.append(QUALITIES[explorer.chosen])
    assert chosen == sorted(set(chosen))


def test_numbers_are_those_of_the_real_file(explorer):
    explorer.lam.value = 0.02
    image = explorer.photos.image
    data = open_codec("libjpeg").encode(image, QUALITIES[explorer.chosen])
    decoded = open_codec("libjpeg").decode(data)
    assert f"{len(data):,} bytes" in explorer.numbers.value
    assert f"{metrics.psnr(image, decoded):.2f} dB" in explorer.numbers.value
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(explorer.picture.png))), decoded)


def test_plots_are_drawn_smooth_and_photographs_pixel_by_pixel(explorer):
    assert explorer.plane.smooth
    assert not explorer.picture.smooth and not explorer.crop.smooth


def test_tangent_touches_the_chosen_file_and_runs_below_all_others(explorer):
    explorer.lam.value = 0.01
    (_, cost), (top, _) = explorer._tangent()
    line = top * (1 - explorer.rate / cost)  # distortion on the line at the rate of each file
    assert np.argmin(explorer.distortion - line) == explorer.chosen
    assert (explorer.distortion - line).min() == pytest.approx(0, abs=1e-9)
    before = explorer.plane.overlay
    explorer.lam.value = 0.03
    assert explorer.plane.overlay != before


def test_a_click_moves_the_crops_and_their_frame(explorer):
    crop, frame = explorer.crop.png, explorer.picture.overlay
    explorer.picture.pointer = [30.0, 200.0]
    assert explorer.crop.png != crop and explorer.picture.overlay != frame
    inside = slice(170, 230), slice(0, 60)
    assert explorer.crop.png == to_png(explorer.decoded[inside])
    assert explorer.original.png == to_png(explorer.photos.image[inside])


def test_another_photograph_is_measured_anew(explorer):
    rates = explorer.rate
    explorer.photos.names.value = "cat"
    assert explorer.decoded.shape == explorer.photos.image.shape
    assert not np.array_equal(explorer.rate, rates)


def test_a_picture_smaller_than_the_crop_works():
    explorer = widgets.TangentExplorer(np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3))
    assert explorer.crop.width == 9 and explorer.crop.height == 5


def test_still_is_a_picture(explorer):
    assert Image.open(io.BytesIO(explorer.still())).width > 600
