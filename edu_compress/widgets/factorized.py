"""The widget of lesson 05: λ slides, and the photograph is really coded and decoded with the factorised prior.

::

    photograph --> g_a --> y      once per photograph
                           |
              λ ---> quantise --> write --> file --> read --> g_s --> decoded photograph     at every move
                                              |        |                  |
                                            bytes   bits of each       error map, PSNR, MS-SSIM
                                                    symbol             the two terms of J = R + λ D

Beside the live widget there is its twin, :meth:`LambdaExplorer.twin`: one page that holds a few steps of the slider
ready made, for readers who have no kernel.
"""

from __future__ import annotations

import base64
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from .. import files, images, metrics, plots
from ..codecs.factorized import FactorizedCodec
from ..learned.transforms import STRIDE
from ..rate_distortion import lagrangian
from ..registry import open_codec
from ._core import (
    LessonWidget,
    PhotoChooser,
    PlotFrame,
    Stage,
    colour_scale,
    figure_pixels,
    one_thread,
    panel,
    row,
    small_png,
)

QUALITIES = range(1, 96)
"""Of the JPEG files that ours are compared with."""
CURVE_POINTS = 11
CROP = 60  # pixels a side, shown three times as large
TANGENT, RATE, DISTORTION = plots.GREEN, plots.BLUE, "#6A51A3"
ERROR_SCALE = 32  # grey levels that are drawn darkest
LINES = (TANGENT, RATE, DISTORTION, plots.ORANGE, *(plots.style(name).color for name in ("factorized", "libjpeg")))


@dataclass(frozen=True)
class CodedPhoto:
    """What one λ makes of a photograph.

    Attributes:
        lam: λ.
        data: the file.
        decoded: what the file decodes to, uint8 [H, W, 3].
        bits: estimated bits of each latent position, summed over its channels: [h, w].
        zeros: share of the symbols that are 0.
        rate: R in bits per pixel.
        mse, psnr, ms_ssim: of ``decoded``.
    """

    lam: float
    data: bytes
    decoded: np.ndarray
    bits: np.ndarray
    zeros: float
    rate: float
    mse: float
    psnr: float
    ms_ssim: float

    @property
    def cost(self) -> float:
        """J = R + λ D in bits per pixel."""
        return float(lagrangian(self.rate, self.mse, self.lam))


def lambda_explorer(photo: str | np.ndarray | None = None) -> LambdaExplorer:
    """Return a :class:`LambdaExplorer` for a sample photograph (its name) or one of your own (uint8 [H, W, 3])."""
    return LambdaExplorer(photo)


class LambdaExplorer(LessonWidget):
    """Choose λ; the photograph is coded into a real file and decoded again while you watch.

    In the plane of rate R and distortion D, all points of equal cost J = R + λ D lie on a straight line of slope
    -1/λ. The line through the present file meets the rate axis at R = J, so that the axis shows both terms of J: from
    0 to R the rate, from there to J the distortion at its price λ D. The model was trained so that this line
    touches its curve, on average over the training photographs; on one photograph it may miss by a little.

    g_a runs once per photograph; a move of the slider quantises, codes, decodes and synthesises.

    Args:
        photo: name of a sample photograph, or a photograph (uint8 [H, W, 3]).
        codec: a :class:`~.factorized.FactorizedCodec`; if not given, the one with the shipped weights.

    Attributes:
        photos: the :class:`PhotoChooser`.
        lam: the slider of λ, in bits per pixel per unit of MSE.
        axes: what the vertical axis of the plane shows, "MSE" or "PSNR".
        plane, picture, original, crop, jpeg, error, bits: the stages (original, crop and jpeg are enlarged crops).
        numbers: what the file costs and gives, as HTML.
        coded: the :class:`CodedPhoto` that is shown.
        curve: one :class:`CodedPhoto` for each of a few λ over the whole range.
    """

    def __init__(self, photo: str | np.ndarray | None = None, codec: FactorizedCodec | None = None):
        self.codec = codec or open_codec("factorized")
        self._jpeg = open_codec("libjpeg")
        self.photos = PhotoChooser(photo)
        lowest, highest = np.log10(self.codec.model.lam_range)
        self.lam = W.FloatLogSlider(
            value=10 ** (0.3 * lowest + 0.7 * highest), base=10, min=lowest, max=highest, step=0.005,
            description="λ", readout_format=".5f", layout=W.Layout(width="480px", max_width="100%"),
        )  # fmt: skip
        self.axes = W.ToggleButtons(options=["MSE", "PSNR"], style={"button_width": "60px"})
        self.plane = Stage()
        self.picture = Stage(pointing=True)
        self.original, self.crop, self.jpeg = (Stage(zoom=3) for _ in range(3))
        self.error, self.bits = Stage(), Stage()
        self.numbers = W.HTML()
        self._bits_scale = W.HTML()
        self._titles = {name: W.HTML() for name in ("picture", "jpeg", "bits")}
        super().__init__([self.photos, row(self.lam, W.HTML("bits per pixel, for one unit of MSE")), self._panels()])
        self.add_class("edu-lambda")
        self.photos.observe(lambda _: self._analyse(), "image")
        self.lam.observe(lambda _: self._code(), "value")
        self.axes.observe(lambda _: self._draw_plane(), "value")
        self.picture.observe(lambda _: self._show_crops(), "pointer")
        self._analyse()

    def _panels(self) -> W.Box:
        vertical = W.HBox([W.HTML("distortion as"), self.axes], layout=W.Layout(margin="0 0 0 50px"))
        return row(
            panel(self._titles["picture"], self.picture),
            panel(W.HTML("<b>the R-D plane</b> of this photograph"), self.plane, vertical),
            panel(self.numbers),
            row(
                panel(W.HTML("<b>original</b>, × 3"), self.original),
                panel(W.HTML("<b>decoded</b>"), self.crop),
                panel(self._titles["jpeg"], self.jpeg),
            ),
            row(
                panel(W.HTML("<b>error</b>, root mean square over R, G, B"), self.error, W.HTML(_ERROR_LEGEND)),
                panel(self._titles["bits"], self.bits, self._bits_scale),
            ),
        )

    # --- once per photograph

    def _analyse(self) -> None:
        """Run g_a, trace the curves of our codec and of JPEG, and draw what does not move."""
        image = self.photos.image
        with one_thread():
            self._y = self.codec.analyse(image)
        self.curve = [self.code(lam) for lam in np.geomspace(*self.codec.model.lam_range, CURVE_POINTS)]
        self._jpegs = [self._jpeg.encode(image, quality) for quality in QUALITIES]
        self._jpeg_rate = np.array([metrics.bits_per_pixel(data, image) for data in self._jpegs])
        self._jpeg_mse = np.array([metrics.mse(image, self._jpeg.decode(data)) for data in self._jpegs])
        self.coded = self.code(self.lam.value)
        self._draw_plane()
        self._show()

    def code(self, lam: float) -> CodedPhoto:
        """Code the photograph with one λ into a real file, and decode that file."""
        image = self.photos.image
        # a slider's end is 10**log10(λ), which is not quite λ
        lam = self.codec.check_lam(float(np.clip(lam, *self.codec.model.lam_range)))
        with one_thread():
            data = self.codec.write(self.codec.quantise(self._y, lam), image.shape[:2], lam)
            container, symbols = self.codec.read(data)
            decoded = self.codec.reconstruct(symbols, image.shape[:2], container.setting)
            bits = self.codec.bits(symbols, lam).sum(axis=0)
        mse = metrics.mse(image, decoded)
        return CodedPhoto(
            lam, data, decoded, bits, float(np.mean(symbols == 0)), metrics.bits_per_pixel(data, image), mse,
            metrics.psnr(image, decoded), metrics.ms_ssim(image, decoded),
        )  # fmt: skip

    # --- the plane

    def _draw_plane(self) -> None:
        figure, ax = plt.subplots(figsize=(4.8, 3.5), dpi=90, layout="constrained")
        self._draw_curves(ax)
        self._frame = PlotFrame(ax)
        self.plane.description = f"rate against {self.axes.value}, and the line of equal cost through the present file"
        self.plane.show(figure)
        self.plane.overlay = self._overlay(self.coded)

    def _draw_curves(self, ax: Axes) -> None:
        """Draw the curves of JPEG and of our codec."""
        ours, jpeg = plots.style("factorized"), plots.style("libjpeg")
        rate, mse = (np.array([getattr(coded, name) for coded in self.curve]) for name in ("rate", "mse"))
        straight = self.axes.value == "MSE"
        ax.plot(self._jpeg_rate, self._height(self._jpeg_mse), jpeg.linestyle, color=jpeg.color, label=jpeg.label)
        ax.plot(rate, self._height(mse), ours.marker, ls="-", color=ours.color, markersize=4, label=ours.label)
        ax.plot([], [], color=TANGENT, label="R + λ D = J" + (", slope -1/λ" if straight else ""))
        # what the plane shows: rates up to a limit, and the lowest and highest distortion
        self._limits = 1.15 * rate.max(), 0.0 if straight else 0.7 * mse.min(), max(1.15 * mse.max(), 1.0)
        ax.set(xlim=(0, self._limits[0]), xlabel="rate R (bits per pixel)")
        ax.set(ylim=sorted(self._height(limit) for limit in self._limits[1:]))
        ax.set(ylabel="distortion D (MSE, grey levels²)" if straight else "PSNR (dB)")
        ax.grid(alpha=0.25)
        ax.legend(loc="upper right" if straight else "lower right")

    def _height(self, mse: np.ndarray | float) -> np.ndarray | float:
        """Return where a distortion lies on the vertical axis."""
        return mse if self.axes.value == "MSE" else 20 * np.log10(255) - 10 * np.log10(np.maximum(mse, 1e-3))

    def _equal_cost(self, coded: CodedPhoto) -> tuple[np.ndarray, np.ndarray]:
        """Return (R, D) of points on R + λ D = J, inside of the plane."""
        most, low, high = self._limits
        low, high = max(low, (coded.cost - most) / coded.lam), min(high, coded.cost / coded.lam)
        distortion = np.linspace(low, high, 60)
        return coded.cost - coded.lam * distortion, distortion

    def _overlay(self, coded: CodedPhoto) -> str:
        """Return the SVG of the operating point and its line of equal cost; for MSE also of the two terms of J."""
        frame, (rate, distortion) = self._frame, self._equal_cost(coded)
        moving = frame.line(rate, self._height(distortion), TANGENT)
        if self.axes.value == "MSE":
            moving += frame.line([0, coded.rate], [0, 0], RATE, 5)
            moving += frame.line([coded.rate, min(coded.cost, self._limits[0])], [0, 0], DISTORTION, 5)
            moving += frame.line([coded.rate, coded.rate], [0, coded.mse], "#777777", 1, "3 3")
        return moving + frame.circle(coded.rate, self._height(coded.mse), TANGENT, 7)

    # --- at every move

    def _code(self) -> None:
        self.coded = self.code(self.lam.value)
        self.plane.overlay = self._overlay(self.coded)
        self._show()

    def _show(self) -> None:
        coded = self.coded
        self.picture.show(coded.decoded)
        self.picture.description = f"the photograph, decoded from {len(coded.data)} bytes"
        self.error.show(plots.error_map(self.photos.image, coded.decoded, ERROR_SCALE))
        self.bits.show(self._bits_map(coded))
        self.numbers.value = self._numbers(coded)
        self._titles["picture"].value = _picture_title(coded)
        self._titles["bits"].value = _bits_title(coded)
        self._bits_scale.value = colour_scale("Blues", "0", _bits_label(coded))
        self._show_crops()

    @staticmethod
    def _bits_map(coded: CodedPhoto) -> np.ndarray:
        """Return a picture of the size of the photograph: white is no bits, dark the most that a position costs."""
        shades = plt.get_cmap("Blues")(coded.bits / coded.bits.max(), bytes=True)[..., :3]
        return images.crop(shades.repeat(STRIDE, axis=0).repeat(STRIDE, axis=1), *coded.decoded.shape[:2])

    def jpeg_at(self, n_bytes: int) -> tuple[int, bytes]:
        """Return the JPEG file whose size is nearest to ``n_bytes``: its quality, and the file."""
        nearest = min(range(len(self._jpegs)), key=lambda i: abs(len(self._jpegs[i]) - n_bytes))
        return QUALITIES[nearest], self._jpegs[nearest]

    def _numbers(self, coded: CodedPhoto) -> str:
        cells = "".join(f"<tr><td>{name}&emsp;</td><td>{value}</td></tr>" for name, value in self._rows(coded))
        table = f"<table style='line-height:1.4; white-space:nowrap'>{cells}</table>"
        share = 100 * coded.rate / coded.cost
        style = "color:white; padding:0 5px; overflow:hidden"
        bar = "".join(
            f"<div style='width:{width:.1f}%; background:{color}; {style}'>{name}</div>"
            for name, width, color in (("R", share, RATE), ("λ D", 100 - share, DISTORTION))
        )
        return f"{table}<div style='display:flex; margin-top:6px; line-height:1.6'>{bar}</div>"

    def _rows(self, coded: CodedPhoto) -> list[tuple[str, str]]:
        quality, jpeg = self.jpeg_at(len(coded.data))
        smallest = "at its smallest" if jpeg is self._jpegs[0] and len(jpeg) > len(coded.data) else f"quality {quality}"
        return [
            ("λ", f"{coded.lam:.5f}"),
            ("file", f"{len(coded.data):,} bytes"),
            ("PSNR", f"{coded.psnr:.2f} dB"),
            ("MS-SSIM", f"{coded.ms_ssim:.4f} ({metrics.to_db(coded.ms_ssim):.2f} dB)"),
            ("R", f"{coded.rate:.3f} bpp"),
            ("λ D", f"{coded.lam:.5f} × {coded.mse:.1f} = {coded.lam * coded.mse:.3f} bpp"),
            ("J = R + λ D", f"{coded.cost:.3f} bpp"),
            ("symbols that are 0", f"{coded.zeros:.1%}"),
            (f"JPEG, {smallest}", f"{len(jpeg):,} bytes"),
            ("PSNR of JPEG", f"{metrics.psnr(self.photos.image, self._jpeg.decode(jpeg)):.2f} dB"),
        ]

    def _crop_box(self) -> tuple[int, int, int, int]:
        column, row = self.picture.pointer
        clicked = (column, row) != (0, 0)
        return plots.crop_box(self.photos.image, CROP, (int(row), int(column)) if clicked else None)

    def _show_crops(self) -> None:
        top, left, height, width = self._crop_box()
        inside = slice(top, top + height), slice(left, left + width)
        _, jpeg = self.jpeg_at(len(self.coded.data))
        self._titles["jpeg"].value = _jpeg_title(jpeg)
        self.original.show(self.photos.image[inside])
        self.crop.show(self.coded.decoded[inside])
        self.jpeg.show(self._jpeg.decode(jpeg)[inside])
        place = f'x="{left}" y="{top}" width="{width}" height="{height}"'
        for stage in (self.picture, self.error, self.bits):
            stage.overlay = f'<rect {place} fill="none" stroke="{plots.ORANGE}" stroke-width="2"/>'

    # --- without a kernel

    def still(self) -> bytes:
        """Return a PNG file of everything that the widget shows."""
        coded = self.coded
        _, jpeg = self.jpeg_at(len(coded.data))
        figure = plt.figure(figsize=(9, 8.4), dpi=80, layout="constrained")
        axes = figure.subplot_mosaic(
            [
                ["picture"] * 3 + ["plane"] * 3,
                ["original", "decoded", "jpeg"] + ["numbers"] * 3,
                ["error"] * 3 + ["bits"] * 3,
            ],
            height_ratios=[3, 1.6, 2.6],
        )  # fmt: skip
        self._draw_curves(axes["plane"])
        rate, distortion = self._equal_cost(coded)
        axes["plane"].plot(rate, self._height(distortion), color=TANGENT)
        axes["plane"].plot(coded.rate, self._height(coded.mse), "o", color=TANGENT)
        if self.axes.value == "MSE":
            axes["plane"].plot([0, coded.rate], [0, 0], color=RATE, linewidth=5)
            axes["plane"].plot([coded.rate, coded.cost], [0, 0], color=DISTORTION, linewidth=5)
        axes["numbers"].text(0, 1, "\n".join(f"{name}:  {value}" for name, value in self._rows(coded)), va="top")
        top, left, rows, columns = self._crop_box()
        inside = slice(top, top + rows), slice(left, left + columns)
        pictures = {
            "picture": (coded.decoded, f"decoded from {len(coded.data):,} bytes, λ = {coded.lam:.5f}"),
            "original": (self.photos.image[inside], "original"),
            "decoded": (coded.decoded[inside], "decoded"),
            "jpeg": (self._jpeg.decode(jpeg)[inside], f"JPEG, {len(jpeg):,} bytes"),
            "error": (plots.error_map(self.photos.image, coded.decoded, ERROR_SCALE), "error"),
            "bits": (self._bits_map(coded), f"bits: darkest {coded.bits.max():.0f} in {STRIDE} × {STRIDE} pixels"),
        }
        for name, (picture, title) in pictures.items():
            axes[name].imshow(picture)
            axes[name].set_title(title)
        for name in ("picture", "error", "bits"):
            axes[name].add_patch(Rectangle((left, top), columns, rows, fill=False, color=plots.ORANGE))
        for name in (*pictures, "numbers"):
            axes[name].set_axis_off()
        return small_png(figure_pixels(figure), 256, LINES)

    def twin(self, steps: int = 13, quality: int = 80) -> str:
        """Return the widget as one piece of HTML that needs no kernel: a slider between ready-made steps of λ.

        Show it in a cell of its own with ``IPython.display.HTML``. What it is in different places:

        =========================================================  ===================================================
        a page of its own (:meth:`save_twin`)                      the slider, all pictures and numbers
        ``jupyter nbconvert --to html``                            the same
        JupyterLab, once the cell has run or is trusted            the same
        JupyterLab, in a notebook just copied (not trusted)        scripts are taken out: a film strip of the decoded
                                                                   pictures and their numbers, moved by its scroll bar
        =========================================================  ===================================================

        These were tried. Code-hosting pages take out scripts, too, and often the pictures.

        Args:
            steps: number of λ, evenly spaced on a logarithmic scale over the range of the model.
            quality: of the WebP pictures in it; the numbers are those of the real files.

        Returns:
            About half a megabyte for a photograph of 384 x 256 pixels.
        """
        coded = [self.code(lam) for lam in np.geomspace(*self.codec.model.lam_range, steps)]
        height, width = self.photos.image.shape[:2]
        plane = small_png(np.asarray(Image.open(io.BytesIO(self.plane.png))), 64, LINES)
        data = {
            "width": width,
            "height": height,
            "crop": self._crop_box(),
            "start": int(np.argmin([abs(np.log(one.lam / self.lam.value)) for one in coded])),
            "original": _webp(self.photos.image, quality),
            "plane": {"width": self.plane.width, "height": self.plane.height, "source": _data_url("png", plane)},
            "errorScale": _ERROR_LEGEND,
            "steps": [self._twin_step(one) for one in coded],
        }
        parts = {
            "film": "".join(self._film_card(one, quality) for one in coded),
            "data": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),  # "</script>" must not occur
        }
        page = (Path(__file__).parent / "lambda_twin.html").read_text(encoding="utf-8")
        for name, part in parts.items():
            page = page.replace("{{" + name + "}}", part)
        return page

    def _twin_step(self, coded: CodedPhoto) -> dict[str, str]:
        error = Image.fromarray(plots.error_map(self.photos.image, coded.decoded, ERROR_SCALE))
        _, jpeg = self.jpeg_at(len(coded.data))
        return {
            "value": f"{coded.lam:.5f} bits per pixel, for one unit of MSE",
            "title": _picture_title(coded),
            "jpegTitle": _jpeg_title(jpeg),
            "numbers": self._numbers(coded),
            "error": _webp(np.asarray(error.reduce(2)), 50),
            "bits": _data_url("png", small_png(self._bits_map(coded), 32)),
            "bitsTitle": _bits_title(coded),
            "bitsScale": colour_scale("Blues", "0", _bits_label(coded)),
            "jpeg": _data_url("jpeg", jpeg),
            "overlay": self._overlay(coded),
        }

    def _film_card(self, coded: CodedPhoto, quality: int) -> str:
        """Return one step of the film strip: all that is left of the twin where scripts are taken out."""
        height, width = coded.decoded.shape[:2]
        words = (
            f"<b>λ = {coded.lam:.5f}</b>: {len(coded.data):,} bytes, {coded.psnr:.2f} dB<br>"
            f"R + λ D = {coded.rate:.3f} + {coded.lam * coded.mse:.3f} = {coded.cost:.3f} bpp"
        )
        card = f"flex-shrink: 0; width: {width}px; margin-right: 8px"
        picture = f'<img width="{width}" height="{height}" alt="decoded" src="{_webp(coded.decoded, quality)}">'
        return f'<div style="{card}">{picture}<div style="font-size: 13px">{words}</div></div>'

    def save_twin(self, path: str | os.PathLike, steps: int = 13) -> None:
        """Write :meth:`twin` as a page of its own, which any browser opens."""
        head = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>λ explorer</title>\n'
        head += '<meta name="viewport" content="width=device-width">\n'
        files.write_atomically(path, (head + self.twin(steps)).encode())


# --- small parts ------------------------------------------------------------------------------


def _picture_title(coded: CodedPhoto) -> str:
    return f"<b>decoded</b> from {len(coded.data):,} bytes; click to move the crop"


def _jpeg_title(file: bytes) -> str:
    return f"<b>JPEG</b>, {len(file):,} bytes"


def _bits_title(coded: CodedPhoto) -> str:
    return f"<b>where the bits went</b>; by estimate {coded.bits.sum() / 8:,.0f} bytes in all"


def _bits_label(coded: CodedPhoto) -> str:
    most = coded.bits.max()
    return f"{most:.0f} bits per {STRIDE} × {STRIDE} pixels ({most / STRIDE**2:.2f} per pixel)"


_ERROR_LEGEND = colour_scale("Purples", "0", f"{ERROR_SCALE} grey levels or more")


def _webp(picture: np.ndarray, quality: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=6)
    return _data_url("webp", buffer.getvalue())


def _data_url(kind: str, data: bytes) -> str:
    """Return the address that holds a whole picture file."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
