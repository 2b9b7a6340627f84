"""The widget of lesson 05's toy source: λ on a slider, the cells of a linear and of a learned codec side by side."""

from __future__ import annotations

import io

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import torch

from .. import plots, toy
from ._core import LessonWidget, PlotFrame, Stage

NAMES = ("linear", "learned")
COLORS = {"linear": plots.RED, "learned": plots.BLUE}


class ToyExplorer(LessonWidget):
    """Choose λ; see where two codecs of the plane draw the borders of their cells, and what that costs and gives.

    Each picture shows the density of the source (the darker, the likelier), the borders of the cells, and the
    reconstruction points; the area of a point says how often it is used. Below, the rate-distortion curves of both.

    Everything is computed when the widget is made; the slider only picks one of the codecs.

    Args:
        linear, learned: trained codecs with the same λ; None: they are trained now (some seconds each).

    Attributes:
        lam: the slider of λ, in bits per unit of squared distance.
        planes: the stages, by name ("linear", "learned"); curves: the stage with the R-D curves.
        numbers: what the chosen codecs cost and give, as HTML.
        rates, distortions: R (bits per point) and D (squared distance) of each λ, by name.
    """

    def __init__(self, linear: toy.ToyCodec | None = None, learned: toy.ToyCodec | None = None):
        given = {"linear": linear, "learned": learned}
        codecs = {name: codec or _trained(name) for name, codec in given.items()}
        self.lams = codecs["linear"].lams
        self._cells = {name: toy.cells(codec) for name, codec in codecs.items()}
        measured = {name: toy.measure(codec) for name, codec in codecs.items()}
        self.rates = {name: R for name, (R, _) in measured.items()}
        self.distortions = {name: D for name, (_, D) in measured.items()}
        self._ground = _density_picture()

        options = [(f"{lam:g}", index) for index, lam in enumerate(self.lams)]
        self.lam = W.SelectionSlider(
            options=options, value=len(options) // 2, description="λ", layout=W.Layout(width="420px")
        )
        self.planes = {name: Stage(zoom=1.25) for name in NAMES}
        self.curves, self.numbers = Stage(), W.HTML()
        unit = W.HTML("bits per unit of squared distance")
        drawn = [W.VBox([W.HTML(f"<b>{name}</b>"), stage]) for name, stage in self.planes.items()]
        super().__init__([W.HBox([self.lam, unit]), W.HBox(drawn), W.HBox([self.curves, self.numbers])])

        figure, ax = plt.subplots(figsize=(4.6, 3.2), dpi=90, layout="constrained")
        self._draw_curves(ax)
        self._frame = PlotFrame(ax)
        self.curves.description = "rate and distortion of the linear and of the learned codec"
        self.curves.show(figure)
        self.lam.observe(lambda _: self._choose(), "value")
        self._choose()

    def _choose(self) -> None:
        """Show the codecs of the chosen λ."""
        k, overlay = self.lam.value, ""
        for name, stage in self.planes.items():
            stage.show(self._picture(name, k))
            stage.overlay = _circles(self._cells[name][k], COLORS[name], self._ground.shape[:2])
            stage.description = f"the source, and the {len(self._cells[name][k].points)} used cells of the {name} codec"
            overlay += self._frame.circle(self.rates[name][k], self._quality(name)[k], COLORS[name], 7)
        self.curves.overlay = overlay
        cells = "".join(f"<tr>{''.join(f'<td>{text}&emsp;</td>' for text in row)}</tr>" for row in self._rows())
        self.numbers.value = f"<table style='line-height:1.7; margin:12px; white-space:nowrap'>{cells}</table>"

    def _rows(self) -> list[tuple[str, ...]]:
        k = self.lam.value
        R, D = ([values[name][k] for name in NAMES] for values in (self.rates, self.distortions))
        J = [r + self.lams[k] * d for r, d in zip(R, D, strict=True)]
        return [
            ("", *NAMES),
            ("cells in use", *(f"{len(self._cells[name][k].points)}" for name in NAMES)),
            ("R (bits per point)", *(f"{r:.2f}" for r in R)),
            ("D (squared distance)", *(f"{d:.3f}" for d in D)),
            ("J = R + λ D (bits)", *(f"{j:.2f}" for j in J)),
        ]

    def _quality(self, name: str) -> np.ndarray:
        return -10 * np.log10(self.distortions[name])

    def _draw_curves(self, ax) -> None:
        for name in NAMES:
            ax.plot(self.rates[name], self._quality(name), "o-", color=COLORS[name], markersize=4, label=name)
        ax.set(xlabel="rate (bits per point)", ylabel="-10 log₁₀ D (dB)", xlim=(0, None))
        ax.grid(alpha=0.25)
        ax.legend(loc="lower right")

    def _picture(self, name: str, k: int) -> np.ndarray:
        """Density and borders of the cells: uint8 [H, W, 3]."""
        return np.where(self._cells[name][k].border[::-1, :, None], np.uint8(110), self._ground)

    def still(self) -> bytes:
        """Return a PNG file of both pictures, the curves and the numbers."""
        k = self.lam.value
        figure, axes = plt.subplots(1, 3, figsize=(10, 3), dpi=75, layout="constrained", width_ratios=(1, 1, 0.9))
        for ax, name in zip(axes, NAMES, strict=False):
            _draw_cells(ax, self._picture(name, k), self._cells[name][k], COLORS[name])
            R, D = self.rates[name][k], self.distortions[name][k]
            ax.set_title(f"{name}, λ = {self.lams[k]:g}: {R:.2f} bits, D = {D:.3f}")
            axes[2].plot(R, self._quality(name)[k], "o", color=COLORS[name], markersize=9)
        self._draw_curves(axes[2])
        buffer = io.BytesIO()
        figure.savefig(buffer)
        plt.close(figure)
        return buffer.getvalue()


def toy_figure(codec: toy.ToyCodec, indices: tuple[int, ...], color: str = plots.BLUE) -> plt.Figure:
    """Draw the cells of a codec at some of its λ, side by side."""
    drawn, ground = toy.cells(codec), _density_picture()
    R, D = toy.measure(codec)
    size = (2.6 * len(indices), 2.45)
    figure, axes = plt.subplots(1, len(indices), figsize=size, layout="constrained", squeeze=False)
    for ax, k in zip(axes[0], indices, strict=True):
        _draw_cells(ax, np.where(drawn[k].border[::-1, :, None], np.uint8(110), ground), drawn[k], color)
        ax.set_title(f"λ = {codec.lams[k]:g}: {R[k]:.2f} bits, D = {D[k]:.3f}")
    return figure


def _trained(name: str) -> toy.ToyCodec:
    torch.manual_seed(0)
    return toy.train(toy.ToyCodec(linear=name == "linear"))


def _density_picture() -> np.ndarray:
    """The source as a picture, uint8 [H, W, 3], white where it has no points; rows downwards."""
    density = toy.banana_density(toy.plane()).numpy()[::-1]
    strength = np.sqrt(density / density.max())[..., None]  # the root, so that the thin arms can be seen
    return np.round(255 - strength * (255 - np.array([86, 180, 233]))).astype(np.uint8)


def _circles(cells: toy.Cells, color: str, size: tuple[int, int]) -> str:
    """Reconstruction points as SVG, for a picture of ``size`` (rows, columns) over the whole plane."""
    left, right, bottom, top = toy.EXTENT
    columns = (cells.points[:, 0] - left) / (right - left) * size[1]
    rows = (top - cells.points[:, 1]) / (top - bottom) * size[0]
    radii = 1.5 + 9 * np.sqrt(cells.probability)
    return "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{color}" stroke="white" stroke-width="0.7"/>'
        for x, y, r in zip(columns, rows, radii, strict=True)
    )


def _draw_cells(ax, picture: np.ndarray, cells: toy.Cells, color: str) -> None:
    ax.imshow(picture, extent=toy.EXTENT, aspect="equal", interpolation="antialiased")  # thin lines stay whole
    ax.scatter(*cells.points.T, s=6 + 220 * cells.probability, color=color, edgecolor="white", linewidth=0.5)
    ax.set(xlim=toy.EXTENT[:2], ylim=toy.EXTENT[2:])
    ax.set_axis_off()
