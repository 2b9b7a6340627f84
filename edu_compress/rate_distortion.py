r"""Rate against distortion: points, curves, the Lagrangian, and one number for the distance between two codecs.

A lossy codec is not a point but a curve: each setting buys another quality at another price. ::

                      settings                                     RDCurve
    image --+--> codec.encode --> file --> bits per pixel ----+--> (bpp, psnr) (bpp, psnr) ...
            |                       |                         |        |
            |                  codec.decode                   |        +--> plots.rd_plot
            |                       v                         |        +--> bd_rate(anchor, test)
            +--------------> mse, psnr, ms_ssim --------------+        +--> lower_convex_hull, best_index

Which setting is best? The one with the smallest cost J = R + λ D, with R in bits per pixel and D the mean squared
error on the 0 ... 255 scale (for MS-SSIM: D = 1 - MS-SSIM, with another range of λ). λ is the price of distortion, in
bits per pixel for one unit of it: **a larger λ means more quality**. On the plot of R against D the points of equal
cost lie on a straight line, so that the best settings are the corners of the lower convex hull.

Which codec is better, and by how much? Bjøntegaard's delta rate: the mean horizontal distance of the two curves on a
logarithmic rate axis, over the qualities that both of them reach, as a percentage of the anchor's rate.

Invariants: rates come from the length of real files only; BD-rate(a, a) = 0; with r = BD-rate / 100,
(1 + r(a, b)) (1 + r(b, a)) = 1; a BD result always says over which interval it was taken.

References:
    J = R + λ D: Shoham, Gersho, IEEE Trans. ASSP 36 (1988); Sullivan, Wiegand, IEEE Signal Processing Magazine (1998).
    BD: Bjøntegaard, ITU-T SG16 document VCEG-M33 (2001), with one cubic polynomial. Today a monotone piecewise cubic
    is usual (PCHIP: Fritsch, Carlson, SIAM J. Numerical Analysis 17, 1980), which does not swing between the points.

Taught in lesson 00.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator

from . import metrics
from .errors import CodecError, SettingError
from .registry import Codec

# --- points and curves ------------------------------------------------------------------------


@dataclass(frozen=True)
class RDPoint:
    """One file: its rate in bits per pixel, its quality against the original, and the setting that made it."""

    bpp: float
    mse: float
    psnr: float
    ms_ssim: float
    setting: float


@dataclass(frozen=True)
class RDCurve:
    """What a codec reaches with each of its settings, in order of rate. Each column is an array: ``curve.psnr``."""

    codec: str
    points: tuple[RDPoint, ...]

    def __post_init__(self):
        object.__setattr__(self, "points", tuple(sorted(self.points, key=lambda point: point.bpp)))

    bpp = property(lambda self: self._column("bpp"), doc="bits per pixel, ascending")
    mse = property(lambda self: self._column("mse"), doc="mean squared error, 0 ... 255 scale")
    psnr = property(lambda self: self._column("psnr"), doc="dB")
    ms_ssim = property(lambda self: self._column("ms_ssim"), doc="0 ... 1")
    ms_ssim_db = property(lambda self: metrics.to_db(self.ms_ssim), doc="-10 log10(1 - MS-SSIM), dB")
    setting = property(lambda self: self._column("setting"), doc="in the codec's own unit")

    def _column(self, name: str) -> np.ndarray:
        return np.array([getattr(point, name) for point in self.points], dtype=np.float64)


def measure_point(codec: Codec, image: np.ndarray, setting: float) -> RDPoint:
    """Encode a picture with one setting, decode the file, and compare.

    Raises:
        CodecError: what the codec raises.
    """
    data = codec.encode(image, setting)
    decoded = codec.decode(data)
    return RDPoint(
        bpp=metrics.bits_per_pixel(data, image),
        mse=metrics.mse(image, decoded),
        psnr=metrics.psnr(image, decoded),
        ms_ssim=metrics.ms_ssim(image, decoded),
        setting=float(setting),
    )


def measure(codec: Codec, image: np.ndarray, settings: Iterable[float] | None = None) -> RDCurve:
    """Measure a codec on one picture, by real files.

    Args:
        codec: an open codec.
        image: uint8 [H, W, 3].
        settings: those to try; if not given, the codec's own list, which traces its curve.
    """
    chosen = codec.settings if settings is None else settings
    return RDCurve(codec.name, tuple(measure_point(codec, image, setting) for setting in chosen))


def mean_curve(curves: Sequence[RDCurve]) -> RDCurve:
    """Average the curves of one codec over several pictures: the mean of every column, setting by setting.

    The PSNR is the mean of the pictures' PSNR, as in published curves, and not the PSNR of their mean MSE.

    Raises:
        SettingError: no curve, or curves of different codecs or settings.
    """
    if not curves:
        raise SettingError("There is no curve to average; measure at least one picture.")
    by_setting = [sorted(curve.points, key=lambda point: point.setting) for curve in curves]
    settings = {tuple(point.setting for point in points) for points in by_setting}
    if len(settings) > 1 or len({curve.codec for curve in curves}) > 1:
        raise SettingError("Only curves of one codec, measured at the same settings, can be averaged.")
    table = np.array([[astuple(point) for point in points] for points in by_setting])  # (picture, setting, column)
    return RDCurve(curves[0].codec, tuple(RDPoint(*row) for row in table.mean(axis=0).tolist()))


def load_curves(path: str | os.PathLike) -> list[RDCurve]:
    """Read the curves of a file that ``edu-compress evaluate`` wrote.

    Raises:
        CodecError: the file is missing, or is not one of curves.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))["curves"]
        return [RDCurve(entry["codec"], tuple(_from_json(point) for point in entry["points"])) for entry in entries]
    except OSError as error:
        raise CodecError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CodecError(f"{path} is not a file of rate-distortion curves ({error}); measure them again.") from error


def _from_json(entry: dict[str, float | str]) -> RDPoint:
    # published curves often lack the MSE, and always our settings: those are nan
    optional = {"mse": math.nan, "setting": math.nan}
    return RDPoint(**{field.name: float((optional | entry)[field.name]) for field in fields(RDPoint)})


# --- choosing a setting -----------------------------------------------------------------------


def lagrangian(rate: np.ndarray, distortion: np.ndarray, lam: float) -> np.ndarray:
    """Cost J = R + λ D. Units: bits per pixel; whatever λ is the price of (see the module docstring)."""
    return np.asarray(rate) + lam * np.asarray(distortion)


def best_index(rate: np.ndarray, distortion: np.ndarray, lam: float) -> int:
    """Return the index of the point with the smallest cost J = R + λ D; the first of them if several are equal."""
    return int(np.argmin(lagrangian(rate, distortion, lam)))


def lower_convex_hull(rate: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Return the indices of the points that are best for some λ > 0, in order of rate.

    Walking along them, D falls and the slope gets flatter: between two neighbours, the slope is -1/λ for the λ at
    which their costs are equal. A point above the hull is never the best choice for any λ, even if no other point
    beats it in both rate and distortion.
    """
    rate, distortion = np.asarray(rate, dtype=np.float64), np.asarray(distortion, dtype=np.float64)
    hull: list[int] = []
    for i in np.lexsort((distortion, rate)).tolist():  # by rate, then by distortion
        if hull and distortion[i] >= distortion[hull[-1]]:
            continue  # costs more, and is no better
        while len(hull) > 1 and not _turns_left(rate, distortion, hull[-2], hull[-1], i):
            hull.pop()  # above or on the line from its left neighbour to the new point
        hull.append(i)
    return np.array(hull, dtype=np.intp)


def _turns_left(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    return (x[b] - x[a]) * (y[c] - y[a]) > (y[b] - y[a]) * (x[c] - x[a])


def setting_within(codec: Codec, image: np.ndarray, n_bytes: int) -> tuple[float, bytes]:
    """Find the setting that makes the largest file of at most ``n_bytes``, by bisection along ``codec.settings``.

    Files must grow, or shrink, along that list. The search also tries settings between two listed ones: whole numbers
    only, if all listed ones are whole.

    Returns:
        (setting, file).

    Raises:
        SettingError: even the smallest file is larger than that.
    """
    settings = [float(setting) for setting in codec.settings]
    whole = all(setting.is_integer() for setting in settings)
    files: dict[float, bytes] = {}

    def setting_at(position: float) -> float:  # position 0 is the first listed setting, 1 the second, 0.5 half way
        setting = float(np.interp(position, range(len(settings)), settings))
        return round(setting) if whole else setting

    def file_at(position: float) -> bytes:
        setting = setting_at(position)
        if setting not in files:
            files[setting] = codec.encode(image, setting)
        return files[setting]

    fits, too_large = sorted((0.0, len(settings) - 1.0), key=lambda position: len(file_at(position)))
    if len(file_at(fits)) > n_bytes:
        raise SettingError(f"Codec {codec.name!r} needs {len(file_at(fits)):,} bytes at least; allow it that many.")
    if len(file_at(too_large)) <= n_bytes:
        fits = too_large
    for _ in range(10):  # 1/1024 of the list: finer than whole settings
        middle = (fits + too_large) / 2
        fits, too_large = (middle, too_large) if len(file_at(middle)) <= n_bytes else (fits, middle)
    return setting_at(fits), file_at(fits)


# --- Bjøntegaard's delta ----------------------------------------------------------------------


@dataclass(frozen=True)
class BDResult:
    """A Bjøntegaard delta, and where it holds: outside of the interval it says nothing.

    Attributes:
        value: in ``unit``: "%" of the anchor's rate (negative: the test codec needs less), or "dB" (positive: it is
            better).
        low, high: the interval that both curves cover, in ``interval_unit``: dB for a rate, bits per pixel for a gain.
        anchor_share, test_share: how much of each curve lies in it, 0 ... 1. Distrust a value where one is small.
    """

    value: float
    unit: str
    low: float
    high: float
    interval_unit: str
    anchor_share: float
    test_share: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return (
            f"{self.value:+.2f} {self.unit} over {self.low:.3g} ... {self.high:.3g} {self.interval_unit} "
            f"({self.anchor_share:.0%} of the anchor, {self.test_share:.0%} of the test curve)"
        )


def bd_rate(anchor: RDCurve, test: RDCurve, metric: str = "psnr", method: str = "pchip") -> BDResult:
    """Bjøntegaard delta rate: how much more rate the test codec needs for equal quality, in percent.

    The logarithm of the rate is interpolated as a function of quality; the mean of the difference over the common
    qualities, taken back from the logarithm, is a ratio of rates.

    Args:
        anchor, test: curves of at least four points, on which rate and quality rise together.
        metric: "psnr" or "ms_ssim_db".
        method: "pchip", a piecewise cubic through all points, or "cubic", the one polynomial of the proposal of 2001,
            fitted by least squares if there are more than four points.

    Raises:
        CodecError: the curves do not overlap, have too few points or are not monotonic.
        SettingError: another metric or method.
    """
    (rate_a, quality_a), (rate_t, quality_t) = (_log_rate_and_quality(curve, metric) for curve in (anchor, test))
    difference, low, high, *shares = _mean_difference(quality_a, rate_a, quality_t, rate_t, method)
    return BDResult(100 * (10**difference - 1), "%", low, high, "dB", *shares)


def bd_psnr(anchor: RDCurve, test: RDCurve, metric: str = "psnr", method: str = "pchip") -> BDResult:
    """Bjøntegaard delta PSNR: how much better the test codec is at equal rate, in dB; see :func:`bd_rate`."""
    (rate_a, quality_a), (rate_t, quality_t) = (_log_rate_and_quality(curve, metric) for curve in (anchor, test))
    difference, low, high, *shares = _mean_difference(rate_a, quality_a, rate_t, quality_t, method)
    return BDResult(difference, "dB", 10**low, 10**high, "bits per pixel", *shares)


def _log_rate_and_quality(curve: RDCurve, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return log10 of the rate, and the quality in dB, both strictly ascending."""
    if metric not in ("psnr", "ms_ssim_db"):
        raise SettingError(f"A Bjøntegaard delta is taken of 'psnr' or 'ms_ssim_db', not of {metric!r}.")
    rate, quality = curve.bpp, getattr(curve, metric)
    if len(rate) < 4:
        raise CodecError(f"The curve of {curve.codec!r} has {len(rate)} points; a Bjøntegaard delta needs at least 4.")
    if not np.isfinite(quality).all():
        raise CodecError(f"The curve of {curve.codec!r} has a point without loss, at infinitely many dB; leave it out.")
    if (np.diff(rate) <= 0).any() or (np.diff(quality) <= 0).any():
        raise CodecError(
            f"The curve of {curve.codec!r} is not monotonic: more rate does not always give more {metric}; "
            "leave the points out that are worse than a cheaper one."
        )
    return np.log10(rate), quality


def _mean_difference(
    x_anchor: np.ndarray, y_anchor: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, method: str
) -> tuple[float, float, float, float, float]:
    """Return the mean of y_test - y_anchor over the common interval of x; the interval; its share of each curve."""
    low, high = max(x_anchor[0], x_test[0]), min(x_anchor[-1], x_test[-1])
    if low >= high:
        raise CodecError("The two curves have no quality or rate in common; measure settings that make them overlap.")
    areas = []
    for x, y in ((x_anchor, y_anchor), (x_test, y_test)):
        integral = _integral(x, y, method)
        areas.append(integral(high) - integral(low))
    shares = [float((high - low) / (x[-1] - x[0])) for x in (x_anchor, x_test)]
    return float((areas[1] - areas[0]) / (high - low)), float(low), float(high), *shares


def _integral(x: np.ndarray, y: np.ndarray, method: str) -> Callable[[float], float]:
    """Interpolate y(x) and return an antiderivative."""
    if method == "pchip":
        return PchipInterpolator(x, y).antiderivative()
    if method == "cubic":
        return np.polynomial.Polynomial.fit(x, y, deg=3).integ()
    raise SettingError(f"Curves are interpolated by 'pchip' or 'cubic', not by {method!r}.")


# --- one λ, many conventions ------------------------------------------------------------------


@dataclass(frozen=True)
class LambdaConvention:
    """How a code base or paper weighs rate against distortion, and what its number is worth in ours.

    With N pixels, 3 N samples and the mean squared error D of the 0 ... 255 scale, each objective is a multiple of
    R + λ D with λ = ``factor`` · value ** ``power``: divide it by whatever stands before R, the bits per pixel.
    """

    objective: str
    factor: float
    power: int
    source: str
    distortion: str = "MSE"


LAMBDA_CONVENTIONS: dict[str, LambdaConvention] = {
    "course": LambdaConvention("R + λ D", 1, 1, "this package"),
    "compressai": LambdaConvention(
        "R + λ 255² MSE of pixels in 0 ... 1",
        1, 1, "CompressAI, compressai/losses/rate_distortion.py; its model zoo has λ = 0.0018 ... 0.18",
    ),
    "compressai-tutorial": LambdaConvention(
        "MSE of pixels in 0 ... 1 + λ R",
        1 / 255**2, -1, "CompressAI, documentation, tutorial on custom models (see its issue 199)",
    ),
    "tfc": LambdaConvention(
        "R + λ D",
        1, 1, "TensorFlow Compression 2, models/bls2017.py, bmshj2018.py, ms2020.py",
    ),
    "tfc-2018": LambdaConvention(
        "R + λ (squared error, summed over the 3 channels, mean over pixels)",
        3, 1, "TensorFlow Compression of 2018, examples/bls2017.py (see its issue 12)",
    ),
    "mse-0-1": LambdaConvention(
        "R + λ MSE of pixels in 0 ... 1",
        1 / 255**2, 1, "learned video codecs of the DVC and DCVC family, with λ = 256 ... 2048",
    ),
    "distortion-first": LambdaConvention("D + λ R", 1, -1, "Sullivan and Wiegand 1998"),
    "sse": LambdaConvention(
        "sum of squared errors over 3 N samples + λ · number of bits",
        3, -1, "HEVC's reference software HM at 4:4:4, with λ = hm_lambda(QP)",
    ),
    "nats": LambdaConvention("R ln 2 + λ D", 1 / math.log(2), 1, "rate as -ln p: the division by ln 2 left out"),
    "per-sample": LambdaConvention("R / 3 + λ D", 3, 1, "rate in bits per sample ('per dimension')"),
    "gaussian": LambdaConvention(
        "N R ln 2 + Σ (x - x_hat)² / 2σ², the value is σ",
        3 / (2 * math.log(2)), -2, "variational autoencoder with a Gaussian likelihood: Kingma and Welling 2013",
    ),
    "course-ms-ssim": LambdaConvention("R + λ (1 - MS-SSIM)", 1, 1, "this package", "MS-SSIM"),
    "compressai-ms-ssim": LambdaConvention(
        "R + λ (1 - MS-SSIM)", 1, 1, "CompressAI, compressai/losses/rate_distortion.py", "MS-SSIM"
    ),
}  # fmt: skip
"""Conventions by name. The objectives of code bases were read in their code; the rest is algebra. A paper's λ is only
comparable when the paper says over what its R and D are summed: look at its loss before you add it here."""


def convert_lambda(value: float, source: str, target: str = "course") -> float:
    """Express a trade-off that is given in one convention in another.

    >>> f"{convert_lambda(2048, 'mse-0-1'):.4f}"
    '0.0315'

    Args:
        value: λ as the source convention has it (for "gaussian": σ, in grey levels).
        source, target: names in :data:`LAMBDA_CONVENTIONS`.

    Raises:
        SettingError: unknown name, a value that is not positive, or one distortion (MSE) into another (MS-SSIM):
            their exchange rate depends on the picture.
    """
    for name in (source, target):
        if name not in LAMBDA_CONVENTIONS:
            raise SettingError(f"There is no λ convention {name!r}; choose one of: {', '.join(LAMBDA_CONVENTIONS)}.")
    given, wanted = LAMBDA_CONVENTIONS[source], LAMBDA_CONVENTIONS[target]
    if given.distortion != wanted.distortion:
        raise SettingError(f"A λ for {given.distortion} has no equal for {wanted.distortion}: compare measured curves.")
    if not 0 < value < math.inf:
        raise SettingError(f"λ and σ are positive numbers, not {value}.")
    ours = given.factor * value**given.power
    return (ours / wanted.factor) ** (1 / wanted.power)


def hm_lambda(qp: float) -> float:
    """λ with which HEVC's reference encoder decides in intra slices: 0.57 · 2^((QP - 12) / 3).

    It goes with the objective "sse" of :data:`LAMBDA_CONVENTIONS`. HM measures on Y, Cb and Cr and weights the chroma,
    so that the converted λ is a guide for RGB, and exact only for a greyscale picture (with 1 instead of 3 samples a
    pixel). Source: HM, TEncSlice.cpp, all-intra configuration.
    """
    return 0.57 * 2 ** ((qp - 12) / 3)
