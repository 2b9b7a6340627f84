"""The figures of the course: one palette, one rate-distortion plot, one way to compare pictures.

Every codec keeps its colour and marker through the whole course (:func:`style`). Figures have a white ground, so they
read the same on dark and light pages. Pictures are compared at equal bytes or at equal quality, with a crop
enlarged by whole factors and no smoothing, so that what you see is what was decoded.

Used in every lesson; the rate-distortion plot is introduced in lesson 00.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from . import images, registry
from .rate_distortion import RDCurve
from .registry import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, YELLOW, Style  # noqa: F401 - the palette

_METRIC_LABELS = {"psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM", "ms_ssim_db": "MS-SSIM (dB)", "mse": "MSE (grey levels²)"}


def style(codec: str) -> Style:
    """How a codec is drawn, as its entry in the registry says; a name that is not there, such as that of a published
    curve, gets a grey dashed line."""
    entry = registry.entries().get(codec)
    return (entry and entry.style) or Style(codec)


def use_style() -> None:
    """Set matplotlib's defaults for the course; the first cell of each lesson calls it."""
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.grid": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, ORANGE, SKY, PINK, BLACK]),
            "image.interpolation": "nearest",
            "image.cmap": "gray",
            "legend.frameon": False,
        }
    )


# --- curves -----------------------------------------------------------------------------------


def rd_plot(curves: RDCurve | Iterable[RDCurve], metric: str = "psnr", ax: Axes | None = None) -> Axes:
    """Draw rate-distortion curves: bits per pixel to the right, quality upwards; better is up and left.

    Args:
        curves: one curve or several; a curve's ``codec`` picks its style, see :func:`style`.
        metric: "psnr", "ms_ssim", "ms_ssim_db" or "mse", an attribute of the curve.
        ax: where to draw; a new figure if not given.
    """
    if ax is None:
        ax = plt.subplots(figsize=(6, 4))[1]
    for curve in [curves] if isinstance(curves, RDCurve) else curves:
        ax.plot(
            curve.bpp, getattr(curve, metric), **style(curve.codec)._asdict(),
            markersize=5, linewidth=1.4, markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    ax.set_xlabel("rate (bits per pixel)")
    ax.set_ylabel(_METRIC_LABELS[metric])
    ax.set_xlim(left=0)
    ax.grid(alpha=0.25)
    ax.legend()
    return ax


# --- pictures ---------------------------------------------------------------------------------


def show_images(pictures: Sequence[np.ndarray], titles: Sequence[str] = (), width: float = 3.0, **imshow) -> Figure:
    """Draw pictures in a row, each ``width`` inches wide, without axes; ``imshow`` goes to matplotlib."""
    tallest = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    figure, axes = plt.subplots(
        1, len(pictures), figsize=(width * len(pictures), width * tallest + 0.4), squeeze=False, layout="constrained"
    )
    for index, (ax, picture) in enumerate(zip(axes[0], pictures, strict=True)):
        ax.imshow(picture, **imshow)
        ax.set_axis_off()
        if titles:
            ax.set_title(titles[index])
    return figure


def error_map(original: np.ndarray, decoded: np.ndarray, full_scale: float = 32.0) -> np.ndarray:
    """Return a picture of where two pictures differ: white is equal, dark is ``full_scale`` grey levels or more.

    Args:
        original, decoded: uint8 [H, W, 3].
        full_scale: root-mean-square difference over the three channels that is drawn darkest.

    Returns:
        uint8 [H, W, 3].
    """
    difference = original.astype(np.float64) - decoded
    distance = np.sqrt(np.mean(difference**2, axis=2))  # (H, W)
    shades = plt.get_cmap("Purples")(np.clip(distance / full_scale, 0, 1))[..., :3]
    return images.to_uint8(255 * shades)


def crop_box(image: np.ndarray, size: int = 96, at: tuple[int, int] | None = None) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a square crop inside ``image``: centred on ``at``, or on the middle."""
    height, width = min(size, image.shape[0]), min(size, image.shape[1])
    row, column = at or (image.shape[0] // 2, image.shape[1] // 2)
    top = min(max(row - height // 2, 0), image.shape[0] - height)
    left = min(max(column - width // 2, 0), image.shape[1] - width)
    return top, left, height, width


def side_by_side(
    original: np.ndarray,
    decoded: Mapping[str, np.ndarray],
    size: int = 96,
    at: tuple[int, int] | None = None,
    errors: bool = True,
) -> Figure:
    """Compare decoded pictures with the original: whole picture, enlarged crop, error map.

    Args:
        original: uint8 [H, W, 3].
        decoded: title → picture. Put the bytes and the quality in the title: pictures are only
            comparable at equal bytes or at equal quality.
        size, at: the crop, see :func:`crop_box`.
        errors: whether to draw the row of error maps.
    """
    top, left, height, width = crop_box(original, size, at)
    columns = {"original": original, **decoded}
    rows = 3 if errors else 2
    ratios = [original.shape[0] / original.shape[1], height / width, original.shape[0] / original.shape[1]][:rows]
    figure, axes = plt.subplots(
        rows, len(columns), figsize=(2.6 * len(columns), 2.6 * sum(ratios) + 0.4), squeeze=False, layout="constrained",
        gridspec_kw={"height_ratios": ratios},
    )  # fmt: skip
    for ax in axes.flat:
        ax.set_axis_off()
    for column, (title, picture) in enumerate(columns.items()):
        axes[0, column].imshow(picture)
        axes[0, column].set_title(title)
        axes[0, column].add_patch(Rectangle((left, top), width, height, fill=False, color=ORANGE, linewidth=1.5))
        axes[1, column].imshow(picture[top : top + height, left : left + width], interpolation="nearest")
        if errors and column > 0:
            axes[2, column].imshow(error_map(original, picture))
    return figure
