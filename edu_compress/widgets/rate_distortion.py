"""The widget of lesson 00: lambda slides a tangent along the convex hull and picks the setting of a codec."""

from __future__ import annotations

import io

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .. import metrics, plots
from ..rate_distortion import best_index, lagrangian, lower_convex_hull
from ..registry import open_codec
from ._core import LessonWidget, PhotoChooser, PlotFrame, Stage

QUALITIES = (*range(3, 30, 2), *range(31, 90, 3), *range(90, 97, 2))
CROP = 60  # pixels a side, shown three times as large
TANGENT = plots.GREEN


class TangentExplorer(LessonWidget):
    """Choose lambda; see which JPEG file minimises J = R + lambda D on a photograph of your own.

    Left, the plane of rate R and distortion D: each point is one file. All points of equal cost J lie on a straight
    line of slope -1 / lambda. The lowest such line that still touches a point is the tangent; it meets the rate axis
    at R = J. Right, what the touched file decodes to; a click on it moves the enlarged crops.

    The files are made once per photograph; the slider only looks them up.

    Attributes:
        photos: the :class:`PhotoChooser`.
        lam: the slider of lambda, in bits per pixel per unit of MSE.
        plane, picture, original, crop: the stages (the last two are the enlarged crops).
        numbers: what the chosen file costs and gives, as HTML.
        files, rate, distortion: the file, bits per pixel and MSE of each of ``QUALITIES``.
        chosen: index of the file that lambda picks.
    """

    def __init__(self, photo: str | np.ndarray | None = None):
        self._codec = open_codec("libjpeg")
        self.photos = PhotoChooser(photo)
        self.lam = W.FloatLogSlider(
            value=0.01, base=10, min=-3, max=-0.8, step=0.02, description="λ", readout_format=".4f",
            layout=W.Layout(width="480px"),
        )  # fmt: skip
        unit = W.HTML("bits per pixel, for one unit of MSE")
        self.plane, self.picture, self.numbers = Stage(), Stage(pointing=True), W.HTML()
        self.original = Stage(zoom=3, description="enlarged crop of the original photograph")
        self.crop = Stage(zoom=3, description="enlarged crop of the decoded photograph")
        crops = W.HBox([W.VBox([W.HTML("original"), self.original]), W.VBox([W.HTML("decoded"), self.crop])])
        columns = W.HBox([W.VBox([self.plane, self.numbers]), W.VBox([self.picture, crops])])
        super().__init__([self.photos, W.HBox([self.lam, unit]), columns])
        self.photos.observe(lambda _: self._measure(), "image")
        self.lam.observe(lambda _: self._choose(), "value")
        self.picture.observe(lambda _: self._show_crop(), "pointer")
        self._measure()

    def _measure(self) -> None:
        """Code the photograph with every quality, once, and draw what does not move."""
        image = self.photos.image
        self.files = [self._codec.encode(image, quality) for quality in QUALITIES]
        self.rate = np.array([metrics.bits_per_pixel(data, image) for data in self.files])
        self.distortion = np.array([metrics.mse(image, self._codec.decode(data)) for data in self.files])
        figure, ax = plt.subplots(figsize=(5, 4.5), dpi=90, layout="constrained")
        self._draw_files(ax)
        self._frame = PlotFrame(ax)
        self.plane.description = "rate against distortion of JPEG files, and the tangent of slope minus one over lambda"
        self.plane.show(figure)
        self._choose()

    def _draw_files(self, ax: Axes) -> None:
        hull = lower_convex_hull(self.rate, self.distortion)
        red = plots.style("libjpeg").color
        ax.plot(self.rate, self.distortion, "o", color="white", markeredgecolor=red, label="a JPEG file")
        ax.plot(self.rate[hull], self.distortion[hull], "o-", color=red, linewidth=1, label="on the lower hull")
        ax.plot([], [], color=TANGENT, label="R + λ D = J, slope -1/λ")
        ax.set(xlabel="rate R (bits per pixel)", ylabel="distortion D (MSE, grey levels²)")
        # up to quality 90: the whole range would press the bend into the corner
        ax.set(xlim=(0, 1.1 * self.rate[QUALITIES.index(90)]), ylim=(0, 1.1 * self.distortion[1]))
        ax.grid(alpha=0.25)
        ax.legend(loc="upper right")

    def _choose(self) -> None:
        """Move the tangent, and show the file that it touches."""
        self.chosen = best_index(self.rate, self.distortion, self.lam.value)
        rate, distortion = self.rate[self.chosen], self.distortion[self.chosen]
        self.plane.overlay = (
            self._frame.line(*self._tangent(), TANGENT)
            + self._frame.circle(self._cost(), 0, TANGENT, 5)
            + self._frame.circle(rate, distortion, TANGENT, 8)
        )
        data = self.files[self.chosen]
        self.decoded = self._codec.decode(data)
        self.picture.show(self.decoded)
        self.picture.description = f"the photograph, decoded from {len(data)} bytes"
        self._show_crop()
        cells = "".join(f"<tr><td>{name}&emsp;</td><td>{value}</td></tr>" for name, value in self._rows())
        self.numbers.value = f"<table style='line-height:1.6; margin-left:12px; white-space:nowrap'>{cells}</table>"

    def _cost(self) -> float:
        return float(lagrangian(self.rate[self.chosen], self.distortion[self.chosen], self.lam.value))

    def _tangent(self) -> tuple[list[float], list[float]]:
        """Return the two points where the line R + lambda D = J meets the axes, as their R and their D."""
        return [0, self._cost()], [self._cost() / self.lam.value, 0]

    def _rows(self) -> list[tuple[str, str]]:
        lam, rate, distortion = self.lam.value, self.rate[self.chosen], self.distortion[self.chosen]
        return [
            ("JPEG quality", f"{QUALITIES[self.chosen]}"),
            ("file", f"{len(self.files[self.chosen]):,} bytes"),
            ("PSNR", f"{metrics.psnr(self.photos.image, self.decoded):.2f} dB"),
            ("R", f"{rate:.3f} bits per pixel"),
            ("λ D", f"{lam:.4f} × {distortion:.1f} = {lam * distortion:.3f} bits per pixel"),
            ("J = R + λ D", f"{self._cost():.3f} bits per pixel"),
        ]

    def _crop_box(self) -> tuple[int, int, int, int]:
        column, row = self.picture.pointer
        clicked = (column, row) != (0, 0)
        return plots.crop_box(self.decoded, CROP, (int(row), int(column)) if clicked else None)

    def _show_crop(self) -> None:
        top, left, height, width = self._crop_box()
        inside = slice(top, top + height), slice(left, left + width)
        self.original.show(self.photos.image[inside])
        self.crop.show(self.decoded[inside])
        place = f'x="{left}" y="{top}" width="{width}" height="{height}"'
        self.picture.overlay = f'<rect {place} fill="none" stroke="{plots.ORANGE}" stroke-width="2"/>'

    def still(self) -> bytes:
        """Return a PNG file of the plane, the decoded photograph, the crop and the numbers."""
        figure = plt.figure(figsize=(9, 5), dpi=80, layout="constrained")
        mosaic = [["plane", "picture", "picture"], ["numbers", "original", "decoded"]]
        axes = figure.subplot_mosaic(mosaic, width_ratios=[2.4, 1, 1], height_ratios=[2, 1])
        self._draw_files(axes["plane"])
        rate, distortion = self.rate[self.chosen], self.distortion[self.chosen]
        axes["plane"].plot(*self._tangent(), color=TANGENT)
        axes["plane"].plot([self._cost(), rate], [0, distortion], "o", color=TANGENT, clip_on=False)
        axes["plane"].set_title(f"λ = {self.lam.value:.4f} bits per pixel, for one unit of MSE")
        text = "\n".join(f"{name}:  {value}" for name, value in self._rows())
        axes["numbers"].text(0.05, 1, text, va="top", linespacing=1.6)
        top, left, height, width = self._crop_box()
        axes["picture"].imshow(self.decoded)
        axes["picture"].add_patch(Rectangle((left, top), width, height, fill=False, color=plots.ORANGE))
        for name, picture in (("original", self.photos.image), ("decoded", self.decoded)):
            axes[name].imshow(picture[top : top + height, left : left + width])
            axes[name].set_title(name)
        for name in ("numbers", "picture", "original", "decoded"):
            axes[name].set_axis_off()
        buffer = io.BytesIO()
        figure.savefig(buffer)
        plt.close(figure)
        return buffer.getvalue()
