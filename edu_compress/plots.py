"""The figures of the course: one palette, one rate-distortion plot, one way to compare pictures.

Every codec keeps its colour and marker through the whole course (:data:`STYLE`; the colours are those of
Okabe and Ito, 2008, which colour-blind readers can tell apart). Figures have a white ground, so they read
the same on dark and light pages. Pictures are compared at equal bytes or at equal quality, with a crop
enlarged by whole factors and no smoothing, so that what you see is what was decoded.

Used in every lesson; the rate-distortion plot is introduced in lesson 00.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from . import images, metrics
from .rate_distortion import RDCurve, setting_within

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip


class Style(NamedTuple):
    """How a codec is drawn, in every figure of the course."""

    label: str
    color: str
    marker: str
    linestyle: str = "-"


STYLE: dict[str, Style] = {
    "jpeg": Style("JPEG (ours)", RED, "o"),
    "libjpeg": Style("JPEG (libjpeg)", RED, "s", ":"),
    "jpeg2000": Style("JPEG 2000", BLACK, "v", ":"),
    "webp": Style("WebP", BLACK, "^", ":"),
    "avif": Style("AVIF", BLACK, "<", ":"),
    "heic": Style("HEVC (x265)", BLACK, "s", "--"),
    "hevc": Style("HEVC (ours)", ORANGE, "D"),
    "lossless": Style("lossless (ours)", YELLOW, "*"),
    "factorized": Style("factorised prior", SKY, "o"),
    "hyperprior": Style("hyperprior", BLUE, "s"),
    "context": Style("autoregressive", GREEN, "D"),
    "checkerboard": Style("checkerboard", GREEN, "X", "--"),
    "gan": Style("generative", PINK, "P"),
    "rnn": Style("recurrent", ORANGE, "v", "--"),
}

_METRIC_LABELS = {"psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM", "ms_ssim_db": "MS-SSIM (dB)", "mse": "MSE (grey levels²)"}


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
        curves: one curve or several; a curve's ``codec`` picks its style, an unknown name (a published curve) gets a
            grey dashed line.
        metric: "psnr", "ms_ssim", "ms_ssim_db" or "mse", an attribute of the curve.
        ax: where to draw; a new figure if not given.
    """
    if ax is None:
        ax = plt.subplots(figsize=(6, 4))[1]
    for curve in [curves] if isinstance(curves, RDCurve) else curves:
        style = STYLE.get(curve.codec, Style(curve.codec, "#777777", ".", "--"))
        ax.plot(
            curve.bpp, getattr(curve, metric), label=style.label, color=style.color, marker=style.marker,
            linestyle=style.linestyle, markersize=5, linewidth=1.4, markeredgecolor="white", markeredgewidth=0.5,
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


def equal_bytes(original: np.ndarray, codecs: Sequence, n_bytes: int, **crop) -> Figure:
    """Compare codecs fairly: each codes the picture with its best setting of at most ``n_bytes``.

    Args:
        original: uint8 [H, W, 3].
        codecs: open codecs.
        n_bytes: the budget for each file.
        crop: ``size`` and ``at`` of :func:`side_by_side`.
    """
    decoded = {}
    for codec in codecs:
        _, data = setting_within(codec, original, n_bytes)
        picture = codec.decode(data)
        label = STYLE[codec.name].label if codec.name in STYLE else codec.name
        decoded[f"{label}\n{len(data):,} bytes, {metrics.psnr(original, picture):.2f} dB"] = picture
    return side_by_side(original, decoded, **crop)
