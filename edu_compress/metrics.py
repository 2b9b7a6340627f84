r"""How far is the decoded picture from the original, and what did it cost?

::

    original  uint8 [H, W, 3] --+--> mse ------> psnr (dB)                larger is worse / better
    decoded   uint8 [H, W, 3] --+--> ssim -----> at one scale             -1 ... 1, 1 is equal
                                +--> ms_ssim --> at five scales --to_db-> 0 ... 1, and in decibels
    file      bytes --------------> bits_per_pixel

MSE asks how large the error is; SSIM asks whether the error looks like the picture: it compares, in a small Gaussian
window around each pixel, the means (luminance), the variances (contrast) and the covariance (structure) of the two
pictures. MS-SSIM does the same on the picture and on four halvings of it, since we also look from further away.

One implementation serves NumPy images and torch tensors: it uses nothing but operators, slices and means, which
both have. For tensors the gradient flows, so that the same functions are training losses.

    ==================  ==========================  ==================
    input               shape                       result
    ==================  ==========================  ==================
    NumPy image, plane  [H, W, 3], [H, W]           a float
    torch batch         (B, C, H, W)                a tensor (B,)
    ==================  ==========================  ==================

All metrics are means over the three RGB channels, as in the papers of the field (standards bodies measure Y alone,
which gives other numbers). ``data_range`` is the distance from black to white: 255 for images, 1 for tensors that
go from 0 to 1.

Invariants: a metric of two equal pictures is 0 (MSE), infinite (PSNR) or exactly 1; metric(a, b) == metric(b, a).

References:
    SSIM: Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13 (2004), eq. (13).
    MS-SSIM: Wang, Simoncelli, Bovik, Asilomar (2003), eq. (7) and the five weights of section 3.2.

Taught in lesson 00.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .errors import ImageError

if TYPE_CHECKING:
    import torch

    Picture: TypeAlias = np.ndarray | torch.Tensor
    Score: TypeAlias = float | torch.Tensor

WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5  # pixels
K1, K2 = 0.01, 0.03  # keep the two quotients of SSIM finite where the picture is black, or flat
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first


# --- squared error ----------------------------------------------------------------------------


def mse(a: Picture, b: Picture) -> Score:
    """Mean squared error, in grey levels squared (for uint8 images)."""
    x, y = _batches(a, b, np.float64)  # (B, C, H, W); float, because the difference of two uint8 wraps around
    return _score(((x - y) ** 2).mean((1, 2, 3)), a)


def psnr(a: Picture, b: Picture, data_range: float = 255) -> Score:
    """Peak signal-to-noise ratio, 10 log10(data_range² / MSE), in dB; infinite for equal pictures."""
    error = mse(a, b)
    return 20 * math.log10(data_range) - 10 * _log10(error)


# --- structural similarity --------------------------------------------------------------------


def ssim(a: Picture, b: Picture, data_range: float = 255) -> Score:
    """Structural similarity, from -1 to 1; 1 means equal.

    The window is a Gaussian of 11 x 11 pixels that lies wholly inside the picture. In a direction in which the
    picture has fewer than 11 pixels, the window has as many as there are.
    """
    x, y = _batches(a, b, np.float32)
    luminance, contrast = _comparisons(x, y, data_range)
    return _score((luminance * contrast).mean((1, 2, 3)), a)


def ms_ssim(a: Picture, b: Picture, data_range: float = 255) -> Score:
    """Multi-scale structural similarity, from 0 to 1; 1 means equal.

    The product over five scales of mean contrast-and-structure, each to the power of its weight, and of the mean
    luminance at the coarsest scale; per channel, then averaged. A negative factor (structure turned upside down)
    counts as 0, since a power of it would not be real.

    The fifth scale needs 161 pixels in both directions. A smaller picture is measured at as many scales as have at
    least 11 pixels, at least one, with their weights scaled to the sum of all five: then compare it only with
    pictures of its own size. (Other libraries refuse such pictures.)
    """
    x, y = _batches(a, b, np.float32)
    scales = 1 + sum(min(x.shape[2:]) > (WINDOW_SIZE - 1) * 2**scale for scale in range(1, len(SCALE_WEIGHTS)))
    product = 1.0
    for scale in range(scales):
        luminance, contrast = _comparisons(x, y, data_range)  # (B, C, H', W')
        last = scale == scales - 1
        factor = (luminance * contrast if last else contrast).mean((2, 3))  # (B, C)
        weight = SCALE_WEIGHTS[scale] * sum(SCALE_WEIGHTS) / sum(SCALE_WEIGHTS[:scales])
        # The slope of a small power is infinite at 0 and would make the gradient NaN: cut the base, then mask.
        product = product * factor.clip(1e-6) ** weight * (factor > 0)
        if not last:
            x, y = _halve(_halve(x, 2), 3), _halve(_halve(y, 2), 3)
    return _score(product.mean(1), a)


def to_db(ms_ssim: Score | np.ndarray) -> Score | np.ndarray:
    """MS-SSIM in decibels, -10 log10(1 - MS-SSIM): spreads out the values near 1; infinite at 1."""
    return -10 * _log10(1 - ms_ssim)


def _comparisons(x: Picture, y: Picture, data_range: float) -> tuple[Picture, Picture]:
    """Return the maps of luminance, and of contrast times structure (Wang 2004, eq. (6), and (9) with (10))."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    grey = data_range / 2
    x, y = x - grey, y - grey  # leaves the variances as they are, but makes them exact enough in float32
    mean_x, mean_y = _blur(x), _blur(y)
    mean_squares, mean_products = mean_x**2 + mean_y**2, mean_x * mean_y
    variances = _blur(x**2 + y**2) - mean_squares  # of x plus of y
    covariance = _blur(x * y) - mean_products
    contrast = (2 * covariance + c2) / (variances + c2)
    # Luminance is about the means as they are: (m + g)(n + g) = mn + g (m + n) + g²
    shift = grey * (mean_x + mean_y) + grey**2
    luminance = (2 * (mean_products + shift) + c1) / (mean_squares + 2 * shift + c1)
    return luminance, contrast


def _blur(x: Picture) -> Picture:
    """Average with the Gaussian window, first along the columns, then along the rows; keep what lies inside."""
    for axis in (2, 3):
        length = x.shape[axis]
        taps = _window(min(WINDOW_SIZE, length))
        inside = length - len(taps) + 1
        x = sum(tap * _part(x, axis, slice(start, start + inside)) for start, tap in enumerate(taps))
    return x  # (B, C, H - 10, W - 10)


def _window(size: int) -> list[float]:
    """Return the taps of a Gaussian of ``size`` pixels, symmetric, with the sum 1."""
    taps = [math.exp(-((i - (size - 1) / 2) ** 2) / (2 * WINDOW_SIGMA**2)) for i in range(size)]
    return [tap / sum(taps) for tap in taps]


def _halve(x: Picture, axis: int) -> Picture:
    """Average pairs of neighbours along an axis. An odd length gets a zero in front, as in pytorch-msssim."""
    half = 0.5 * _part(x, axis, slice(0, None, 2))
    _part(half, axis, slice(x.shape[axis] % 2, None))[...] += 0.5 * _part(x, axis, slice(1, None, 2))
    return half


def _part(x: Picture, axis: int, part: slice) -> Picture:
    return x[:, :, part] if axis == 2 else x[:, :, :, part]


# --- rate -------------------------------------------------------------------------------------


def bits_per_pixel(data: bytes | int, image: np.ndarray | Sequence[int]) -> float:
    """Rate of a compressed file, in bits per pixel (a pixel is one place, whatever the number of channels).

    Args:
        data: the file, or its number of bytes.
        image: the picture [H, W, ...], or its shape.
    """
    n_bytes = data if isinstance(data, int) else len(data)
    height, width = (image.shape if isinstance(image, np.ndarray) else image)[:2]
    return 8 * n_bytes / (height * width)


# --- NumPy and torch under one roof -----------------------------------------------------------


def _batches(a: Picture, b: Picture, dtype: type) -> tuple[Picture, Picture]:
    """Check two pictures, or two batches, and return both as real numbers of shape (B, C, H, W).

    Args:
        a, b: see the module docstring.
        dtype: for NumPy; a tensor keeps its own, and becomes float32 if it holds integers.
    """
    if isinstance(a, np.ndarray) is not isinstance(b, np.ndarray) or a.shape != b.shape:
        raise ImageError(f"Only pictures of the same kind and shape can be compared, not {_kind(a)} and {_kind(b)}.")
    if isinstance(a, np.ndarray):
        if a.ndim not in (2, 3) or a.size == 0:
            raise ImageError(f"A picture has shape [height, width] or [height, width, channels], not {list(a.shape)}.")
        return tuple(np.moveaxis(np.atleast_3d(x), 2, 0)[None].astype(dtype, order="C") for x in (a, b))
    if a.ndim != 4 or a.numel() == 0:
        raise ImageError(f"A batch of pictures has shape (batch, channels, height, width), not {tuple(a.shape)}.")
    return tuple(x if x.is_floating_point() else x.float() for x in (a, b))


def _kind(x: Picture) -> str:
    return f"{type(x).__name__} {list(x.shape)}"


def _score(values: Picture, a: Picture) -> Score:
    """Return the scores of a batch (B,): as they are for a tensor, as one float for a NumPy picture."""
    return float(values[0]) if isinstance(a, np.ndarray) else values


def _log10(x: Score | np.ndarray) -> Score | np.ndarray:
    """Logarithm for floats, arrays and tensors; -infinity at 0 without a warning, and a hair below 0."""
    if hasattr(x, "log10"):
        return x.clip(0).log10()
    with np.errstate(divide="ignore"):
        logarithm = np.log10(np.maximum(x, 0))
    return logarithm if isinstance(x, np.ndarray) else float(logarithm)
