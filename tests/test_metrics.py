"""Metrics against trusted implementations, on NumPy images and on torch tensors, down to one pixel."""

import io
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import pytorch_msssim
import torch
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from edu_compress import ImageError, images, metrics


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return images.load(buffer.getvalue())


def batch(*pictures: np.ndarray, dtype=torch.float64) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture.copy()).permute(2, 0, 1).to(dtype) for picture in pictures])


COFFEE = images.sample("coffee")
PAIRS = [(COFFEE[:h, :w], jpeg(COFFEE[:h, :w], q)) for h, w, q in [(256, 384, 5), (161, 200, 30), (203, 317, 90)]]
NOISE = np.random.default_rng(0).integers(0, 256, (2, 192, 176, 3), dtype=np.uint8)
PAIRS.append((NOISE[0], NOISE[1]))
ALL = [metrics.mse, metrics.psnr, metrics.ssim, metrics.ms_ssim]


# --- oracles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("a, b", PAIRS)
def test_mse_and_psnr_equal_scikit_image(a, b):
    assert metrics.mse(a, b) == pytest.approx(mean_squared_error(a, b), rel=1e-12)
    assert metrics.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b), rel=1e-12)


@pytest.mark.parametrize("a, b", PAIRS)
def test_ssim_equals_scikit_image_in_colour_and_grey(a, b):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert metrics.ssim(a, b) == pytest.approx(structural_similarity(a, b, channel_axis=2, **options), abs=1e-5)
    grey_a, grey_b = a[..., 1], b[..., 1]
    assert metrics.ssim(grey_a, grey_b) == pytest.approx(structural_similarity(grey_a, grey_b, **options), abs=1e-5)


@pytest.mark.parametrize("a, b", PAIRS)
def test_ms_ssim_and_ssim_equal_pytorch_msssim(a, b):
    theirs = pytorch_msssim.ms_ssim(batch(a), batch(b)).item()
    assert metrics.ms_ssim(a, b) == pytest.approx(theirs, abs=2e-5)
    assert metrics.ms_ssim(batch(a), batch(b)).item() == pytest.approx(theirs, abs=2e-5)
    assert metrics.ssim(a, b) == pytest.approx(pytorch_msssim.ssim(batch(a), batch(b)).item(), abs=2e-5)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_a_batch_of_tensors_gives_each_picture_the_score_of_its_numpy_image(metric, dtype):
    a, b = NOISE[0], NOISE[1]
    c = jpeg(a, 50)
    scores = metric(batch(a, a, a, dtype=dtype), batch(b, c, 255 - a, dtype=dtype))
    assert scores.shape == (3,) and scores.dtype.is_floating_point
    assert scores.tolist() == pytest.approx([metric(a, b), metric(a, c), metric(a, 255 - a)], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ms_ssim])
def test_pixels_from_0_to_1_give_the_same_score_with_data_range_1(metric):
    a, b = PAIRS[0]
    assert metric(a / 255, b / 255, data_range=1) == pytest.approx(metric(a, b), rel=1e-5)


# --- properties -------------------------------------------------------------------------------


def test_equal_pictures_score_perfectly_and_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for a in (COFFEE, NOISE[0], np.zeros((200, 200, 3), np.uint8), COFFEE[:1, :1]):
            assert metrics.mse(a, a) == 0 and metrics.psnr(a, a) == math.inf
            assert metrics.ssim(a, a) == metrics.ms_ssim(a, a) == 1
        assert metrics.psnr(batch(COFFEE), batch(COFFEE)).item() == math.inf


@pytest.mark.parametrize("metric", ALL)
def test_metrics_are_symmetric_and_fall_with_quality(metric):
    qualities = [metric(COFFEE, jpeg(COFFEE, quality)) for quality in (95, 60, 20, 5)]
    assert qualities == sorted(qualities, reverse=metric is not metrics.mse)
    a, b = PAIRS[0]
    assert metric(a, b) == metric(b, a)


def test_a_difference_of_uint8_does_not_wrap_around():
    black, white = np.zeros((12, 12, 3), np.uint8), np.full((12, 12, 3), 255, np.uint8)
    assert metrics.mse(black, white) == metrics.mse(white, black) == 255**2
    assert metrics.psnr(black, white) == 0


def test_flat_pictures_differ_in_luminance_alone():
    dark, light = np.full((200, 200, 3), 100, np.uint8), np.full((200, 200, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert metrics.ssim(dark, light) == pytest.approx(luminance, abs=1e-5)
    dark, light = dark[:176, :176], light[:176, :176]  # even at each scale
    assert metrics.ms_ssim(dark, light) == pytest.approx(luminance**0.1333, abs=1e-4)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 50), (50, 1), (2, 3), (10, 11), (12, 9), (21, 22), (90, 160), (160, 400)]
)
def test_small_pictures_have_scores_that_fall_with_the_error(shape):
    rng = np.random.default_rng(1)
    a = rng.integers(60, 190, (*shape, 3)).astype(np.uint8)
    b = (a + rng.integers(-5, 6, a.shape)).astype(np.uint8)
    c = (a + rng.integers(-60, 61, a.shape)).astype(np.uint8)
    for metric in (metrics.ssim, metrics.ms_ssim):
        assert 0 <= metric(a, c) < metric(a, b) < metric(a, a) == 1
        assert metric(batch(a), batch(b)).item() == pytest.approx(metric(a, b), abs=1e-5)


def test_below_21_pixels_there_is_one_scale_and_it_is_ssim():
    a, b = COFFEE[:20, :40], jpeg(COFFEE[:20, :40], 30)
    assert metrics.ms_ssim(a, b) == pytest.approx(metrics.ssim(a, b), abs=1e-4)  # the published weights sum to 1.0001


@pytest.mark.parametrize("side, scales", [(20, 1), (21, 2), (40, 2), (41, 3), (80, 3), (81, 4), (160, 4), (161, 5)])
def test_a_picture_has_as_many_scales_as_have_a_whole_window(side, scales):
    # Stripes of one pixel, of high and of low contrast: one halving makes both flat, and equal. What is left is the
    # first factor, to the power of its weight, which depends on the number of scales.
    stripes = np.tile([-10.0, 10.0], (side, 152))
    c2 = (0.03 * 255) ** 2
    contrast = (2 * 10 * 5 + c2) / (10**2 + 5**2 + c2)
    weight = metrics.SCALE_WEIGHTS[0] / sum(metrics.SCALE_WEIGHTS[:scales])
    assert metrics.ms_ssim(100 + stripes, 100 + stripes / 2) == pytest.approx(contrast**weight, abs=1e-4)


def test_to_db():
    assert metrics.to_db(0.9) == pytest.approx(10) and metrics.to_db(0.99) == pytest.approx(20)
    assert metrics.to_db(0.0) == 0 and metrics.to_db(1.0) == math.inf
    assert metrics.to_db(1 + 1e-9) == math.inf  # a rounding above 1 is no NaN
    assert metrics.to_db(np.array([0.9, 1.0])).tolist() == pytest.approx([10, math.inf])
    assert metrics.to_db(torch.tensor([0.9, 1.0])).tolist() == pytest.approx([10, math.inf])


def test_bits_per_pixel_counts_places_and_not_samples():
    assert metrics.bits_per_pixel(b"x" * 30, COFFEE[:20, :12]) == 1.0
    assert metrics.bits_per_pixel(30, (20, 12, 3)) == metrics.bits_per_pixel(30, (20, 12)) == 1.0


# --- training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [metrics.mse, metrics.psnr, metrics.ssim, metrics.ms_ssim])
def test_gradients_are_those_of_finite_differences(metric):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 2, 3, 22, 23, generator=generator, dtype=torch.float64)
    y = (x + 0.2 * y).requires_grad_()
    direction = torch.randn(y.shape, generator=generator, dtype=torch.float64)

    def scores(z):
        return metric(x, z) if metric is metrics.mse else metric(x, z, data_range=1)

    (gradient,) = torch.autograd.grad(scores(y).sum(), y)
    step = 1e-5 * direction
    difference = (scores(y + step) - scores(y - step)).sum() / 2e-5
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)


def test_structure_turned_upside_down_scores_0_with_finite_gradients():
    a = batch(NOISE[0], dtype=torch.float32)
    b = (255 - a).requires_grad_()
    score = metrics.ms_ssim(a, b)
    score.sum().backward()
    assert score.item() == 0 and torch.isfinite(b.grad).all()
    assert metrics.ms_ssim(NOISE[0], 255 - NOISE[0]) == 0
    assert metrics.ssim(NOISE[0], 255 - NOISE[0]) < -0.5


@pytest.mark.parametrize("contrast", [1e-12, 0.0, -1e-12])
def test_gradients_stay_small_where_a_factor_is_almost_zero(contrast):
    # Two pictures of stripes in opposite phase: covariance -k V, variances V and k² V; choose k so that the contrast
    # factor of the first scale, (c2 - 2 k V) / (V + k² V + c2), is as given. Its power 0.13 has an infinite slope at 0.
    taps, c2 = np.array(metrics._window(11)), (0.03 * 255) ** 2
    phases = (-1.0) ** np.arange(11)
    variance = 100 * (1 - np.sum(taps * phases) ** 2)
    k = (c2 - contrast * (variance + c2)) / (2 * variance)
    stripes = torch.tensor([-10.0, 10.0], dtype=torch.float64).tile(1, 3, 22, 11)
    x, y = 100 + stripes, (100 - k * stripes).requires_grad_()
    metrics.ms_ssim(x, y).sum().backward()
    assert torch.isfinite(y.grad).all() and y.grad.abs().max() < 1


def test_ms_ssim_trains_a_picture_and_accepts_a_parameter():
    target = batch(COFFEE[:176, :176], dtype=torch.float32) / 255
    picture = torch.nn.Parameter(torch.full_like(target, 0.5))
    optimiser = torch.optim.Adam([picture], lr=0.05)
    scores = []
    for _ in range(15):
        loss = 1 - metrics.ms_ssim(target, picture, data_range=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        scores.append(1 - loss.item())
    assert scores[-1] > scores[0] + 0.2 and all(map(math.isfinite, scores))


# --- misuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    "a, b",
    [
        (COFFEE, COFFEE[:, :-1]),
        (COFFEE, COFFEE[..., 0]),
        (COFFEE, batch(COFFEE)),
        (COFFEE[:0], COFFEE[:0]),
        (COFFEE[None], COFFEE[None]),
        (batch(COFFEE)[0], batch(COFFEE)[0]),
    ],
)
def test_pictures_that_cannot_be_compared_are_an_error(metric, a, b):
    with pytest.raises(ImageError) as error:
        metric(a, b)
    assert str(error.value).endswith(".")


def test_importing_the_metrics_imports_no_torch():
    code = "import sys, edu_compress.metrics, edu_compress.rate_distortion; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
