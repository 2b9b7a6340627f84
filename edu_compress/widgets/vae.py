"""The widget of lesson 04: move the latents of one patch of a photograph, or of all its patches."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .. import images, plots, vae
from ..errors import SettingError
from ._core import LessonWidget, PhotoChooser, PlotFrame, Stage

if TYPE_CHECKING:
    from torch import Tensor

SLIDERS = 6
REACH = 3.0  # standard deviations of the prior, which is N(0, 1)
PATCH_ZOOM = 18  # size of a patch's pixel on the screen


class LatentTraversal(LessonWidget):
    """Shift the most informative latents of a patch and see what the generative model makes of it.

    Left, the photograph (its luma), where a click chooses a patch, and below it the KL divergence of each latent of
    this patch. Right, the patch as it is, and decoded from the mean of q(z|x) plus the shifts of the sliders. With
    "shift every patch" the same shift is added everywhere, and the decoded photograph shows what comes out.

    Attributes:
        photos: the :class:`PhotoChooser`.
        shifts: one slider for each of the most informative latents, in standard deviations of the prior.
        chosen_latents: which latents these are; ``latent_bits`` is the mean KL of all, in bits per patch.
        show: what the photograph shows; everywhere: whether all patches are shifted; reset: the button.
        picture, original, decoded, bars: the stages.
        patch: index (row, column) of the chosen patch.
        numbers: rate and distortion of the chosen patch, as HTML.
    """

    def __init__(self, model: vae.VAE, photo: str | np.ndarray | None = None):
        """
        Args:
            model: a trained VAE of square patches.
            photo: name of a sample, or a picture (uint8 [H, W, 3]).
        """
        self._size = math.isqrt(model.pixels)
        if self._size**2 != model.pixels:
            raise SettingError(f"This widget shows square patches; the model has patches of {model.pixels} pixels.")
        self._model = model
        self.photos = PhotoChooser(photo)
        self.show = W.ToggleButtons(options=["original", "decoded"], style={"button_width": "90px"})
        self.everywhere = W.Checkbox(description="shift every patch", indent=False, layout=W.Layout(width="160px"))
        self.reset = W.Button(description="all shifts to 0")
        self.shifts = [
            W.FloatSlider(
                min=-REACH, max=REACH, step=0.1, readout_format="+.1f",
                layout=W.Layout(width="380px"), style={"description_width": "130px"},
            )
            for _ in range(min(SLIDERS, model.latents))
        ]  # fmt: skip
        self.picture = Stage(pointing=True)
        self.original = Stage(zoom=PATCH_ZOOM, description="the chosen patch")
        self.decoded = Stage(zoom=PATCH_ZOOM, description="the chosen patch, decoded from the shifted latents")
        self.bars, self.numbers = Stage(), W.HTML()
        self.patch = (0, 0)
        super().__init__([self.photos, W.HBox([self.show, self.everywhere, self.reset]), self._columns()])
        self.photos.observe(lambda _: self._encode(), "image")
        self.picture.observe(lambda _: self._click(), "pointer")
        for slider in self.shifts:
            slider.observe(lambda _: self._decode(), "value")
        for control in (self.show, self.everywhere):
            control.observe(lambda _: self._show_picture(), "value")
        self.reset.on_click(lambda _: self._reset())
        self._encode()

    def _columns(self) -> W.HBox:
        """The photograph and the bars on the left; the patch, and below it the sliders, on the right."""
        margin = W.Layout(margin="0 0 0 16px")
        patches = W.HBox(
            [
                W.VBox([W.HTML("original"), self.original], layout=margin),
                W.VBox([W.HTML("decoded"), self.decoded], layout=margin),
                self.numbers,
            ]
        )
        unit = W.HTML("shift of a latent, in standard deviations of the prior (mean bits per patch in brackets)")
        sliders = W.VBox([unit, *self.shifts], layout=margin)
        return W.HBox([W.VBox([self.picture, self.bars]), W.VBox([patches, sliders])])

    # --- a photograph, and a patch of it ---

    @torch.no_grad()
    def _encode(self) -> None:
        """Encode all patches of the photograph, once, and choose the latents that carry the most bits."""
        plane = vae.luma(self.photos.image)
        self._plane = images.to_uint8(plane)
        self._patches = vae.to_patches(plane, self._size)
        self._posterior = self._model.encode(self._patches)
        self._bits = vae.kl_divergence(*self._posterior).numpy() / math.log(2)  # (N, L)
        self.latent_bits = self._bits.mean(0)
        self._most_bits = max(2.0, 1.2 * float(np.quantile(self._bits, 0.998)))  # of the plot: a few bars reach higher
        self.chosen_latents = [int(i) for i in np.argsort(-self.latent_bits)[: len(self.shifts)]]
        for latent, slider in zip(self.chosen_latents, self.shifts, strict=True):
            slider.description = f"z{latent} ({self.latent_bits[latent]:.1f} bits)"
        height, width = self._plane.shape
        self._grid = -(-height // self._size), -(-width // self._size)
        busiest = np.argsort(self._bits.sum(1))[-len(self._bits) // 20]  # a patch with structure to play with
        self.patch = divmod(int(busiest), self._grid[1])
        self._draw_bars()
        self._choose_patch()
        self._show_picture()

    def _click(self) -> None:
        column, row = self.picture.pointer
        self.patch = (
            min(int(row) // self._size, self._grid[0] - 1),
            min(int(column) // self._size, self._grid[1] - 1),
        )
        self._choose_patch()

    @property
    def _index(self) -> int:
        return self.patch[0] * self._grid[1] + self.patch[1]

    def _shift(self) -> Tensor:
        """The shift of all latents, (L,): zero for those without a slider."""
        shift = torch.zeros(self._model.latents)
        shift[self.chosen_latents] = torch.tensor([slider.value for slider in self.shifts])
        return shift

    def _choose_patch(self) -> None:
        row, column = (self._size * index for index in self.patch)
        frame = f'x="{column}" y="{row}" width="{self._size}" height="{self._size}"'
        self.picture.overlay = f'<rect {frame} fill="none" stroke="{plots.ORANGE}" stroke-width="2"/>'
        self.original.show(self._as_picture(self._patches[self._index]))
        self.bars.overlay = "".join(
            self._frame.line([latent, latent], [0, min(bits, self._most_bits)], plots.ORANGE, width=4)
            for latent, bits in enumerate(self._bits[self._index])
        )
        self._decode_patch()

    # --- what the sliders change ---

    def _decode(self) -> None:
        self._decode_patch()
        if self.everywhere.value and self.show.value == "decoded":
            self._show_picture()

    @torch.no_grad()
    def _decode_patch(self) -> None:
        z = self._posterior.mean[self._index] + self._shift()
        x_hat = self._model.decode(z)
        self.decoded.show(self._as_picture(x_hat))
        self.distortion = ((self._patches[self._index] - x_hat) ** 2).mean().item()
        cells = "".join(f"<tr><td>{name}&emsp;</td><td>{value}</td></tr>" for name, value in self._rows())
        self.numbers.value = f"<table style='line-height:1.6; margin-left:12px; white-space:nowrap'>{cells}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        bits = self._bits[self._index].sum()
        return [
            ("patch (row, column)", f"{self.patch[0]}, {self.patch[1]}"),
            ("R = KL, before the shift", f"{bits:.1f} bits, {bits / self._model.pixels:.2f} bits per pixel"),
            ("D, decoded without noise", f"{self.distortion:.1f} grey levels²"),
        ]

    @torch.no_grad()
    def _show_picture(self) -> None:
        if self.show.value == "original":
            self.picture.show(self._plane)
            self.picture.description = "the luma of the photograph"
            return
        shift = self._shift() if self.everywhere.value else 0.0
        decoded = self._model.decode(self._posterior.mean + shift)
        self.picture.show(images.to_uint8(vae.from_patches(decoded, *self._plane.shape)))
        self.picture.description = "the photograph, each patch decoded from its own latents"

    def _reset(self) -> None:
        for slider in self.shifts:
            slider.value = 0.0

    def _as_picture(self, patch: Tensor) -> np.ndarray:
        return images.to_uint8(patch.numpy().reshape(self._size, self._size))

    # --- drawing ---

    def _draw_bars(self) -> None:
        figure, ax = plt.subplots(figsize=(4.3, 2.2), dpi=90, layout="constrained")
        self._draw_axes(ax)
        self._frame = PlotFrame(ax)
        self.bars.description = "KL divergence of each latent of the chosen patch, and the mean over all patches"
        self.bars.show(figure)

    def _draw_axes(self, ax: Axes) -> None:
        ax.bar(range(len(self.latent_bits)), self.latent_bits, color=plots.SKY, label="mean over all patches")
        ax.plot([], [], color=plots.ORANGE, linewidth=4, label="the chosen patch")
        ax.set(xlabel="latent", ylabel="KL (bits per patch)", ylim=(0, self._most_bits))
        ax.set_xlim(-1, len(self.latent_bits))
        ax.legend(loc="upper right")

    def still(self) -> bytes:
        """Return a PNG file of the photograph, the patch before and after, the shifts and the bars."""
        figure = plt.figure(figsize=(9, 4.4), dpi=80, layout="constrained")
        mosaic = [["picture", "original", "decoded", "text"], ["picture", "bars", "bars", "bars"]]
        axes = figure.subplot_mosaic(mosaic, width_ratios=[3.2, 1, 1, 1.6])
        shown = self.picture.png
        axes["picture"].imshow(plt.imread(io.BytesIO(shown)), cmap="gray")
        row, column = (self._size * index - 0.5 for index in self.patch)
        axes["picture"].add_patch(
            Rectangle((column, row), self._size, self._size, fill=False, color=plots.ORANGE, linewidth=2)
        )
        for name, stage in (("original", self.original), ("decoded", self.decoded)):
            axes[name].imshow(plt.imread(io.BytesIO(stage.png)), cmap="gray", vmin=0, vmax=1)
            axes[name].set_title(name)
        lines = [
            f"z{latent}:  {slider.value:+.1f}" for latent, slider in zip(self.chosen_latents, self.shifts, strict=True)
        ]
        axes["text"].text(0, 1, "shift of the latents\n" + "\n".join(lines), va="top", linespacing=1.5)
        axes["picture"].set_title("photograph: " + self.show.value + ", every patch shifted" * self.everywhere.value)
        for name in ("picture", "original", "decoded", "text"):
            axes[name].set_axis_off()
        self._draw_axes(axes["bars"])
        axes["bars"].vlines(range(len(self.latent_bits)), 0, self._bits[self._index], color=plots.ORANGE, linewidth=3)
        buffer = io.BytesIO()
        figure.savefig(buffer)
        plt.close(figure)
        return buffer.getvalue()
