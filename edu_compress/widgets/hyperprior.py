"""The widget of lesson 06: for each position of a photograph, what its symbols cost, and what the decoder knew of them.

::

    photograph --> g_a --> y          once per photograph
                           |
              λ ---> quantise --> predict --> μ, σ of each symbol --> bits of each symbol        at every move
                       |                                              |
                       +--> file, decoded photograph                  +--> maps, the chosen position

What the positions would cost *without* side information is not for this model to say: all that it learned relies on
z. So it is told by another real codec at the same λ, the reference: for z, the factorised prior of lesson 05; for
context, the hyperprior of lesson 06. Their transforms were trained from the same beginning, so a channel of one can be
compared with the same channel of the other, though their symbols are not quite the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from .. import images, metrics, plots
from ..codecs.factorized import FactorizedCodec
from ..codecs.hyperprior import HyperpriorCodec, Latents
from ..learned.gaussians import Gaussians, gaussian_likelihood
from ..learned.latent_codec import LatentCodec
from ..learned.transforms import STRIDE
from ..registry import open_codec
from ._core import (
    LessonWidget,
    PhotoChooser,
    Stage,
    colour_scale,
    figure_pixels,
    html_table,
    one_thread,
    panel,
    row,
    small_png,
)

LISTED = 8  # channels of a position in the table
CODED, REFERENCE, SYMBOL = plots.BLUE, "#777777", plots.ORANGE


# --- what the widget shows --------------------------------------------------------------------


@dataclass(frozen=True)
class Allocation:
    """Where a codec spends its bits on a photograph, at one λ; y has the shape (M, h, w), z (Z, h/S, w/S).

    Attributes:
        codec, lam: which codec, and its λ.
        latents, gaussians: the symbols, and the Gaussians that those of y are coded with; None for a factorised prior.
        mu, sigma: of these Gaussians, in quantisation steps.
        y_bits: of each symbol of y, from the probability of its bin.
        z_bits: of each symbol of z, by the table of its channel; a factorised prior has no z.
        S: how many positions of y a side share one of z.
    """

    codec: LatentCodec
    lam: float
    latents: Latents
    gaussians: Gaussians | None
    mu: np.ndarray | None
    sigma: np.ndarray | None
    y_bits: np.ndarray
    z_bits: np.ndarray
    S: int

    @property
    def z_share(self) -> np.ndarray:
        """The bits of z, each position's shared out equally among the positions of y below it: (h, w)."""
        down, across = (np.arange(side) // self.S for side in self.y_bits.shape[1:])
        members = np.outer(np.bincount(down), np.bincount(across))  # S², fewer at the border
        return (self.z_bits.sum(axis=0) / members)[down][:, across]

    @property
    def total(self) -> np.ndarray:
        """The bits of each position, y and its share of z: (h, w)."""
        return self.y_bits.sum(axis=0) + self.z_share

    @torch.inference_mode()
    def probability(self, m: int, r: int, c: int, values: np.ndarray) -> np.ndarray:
        """What the codec believes of the symbol of channel m at row r, column c: p of each value, (n,)."""
        k = torch.from_numpy(values)
        if self.gaussians is not None:
            mu, sigma = (torch.tensor(part[m, r, c]) for part in (self.mu, self.sigma))
            return gaussian_likelihood(k, mu, sigma).numpy()
        model = self.codec.model
        step = torch.from_numpy(model.portable_step(self.lam)).float()[:, None, None]
        return model.density.likelihood((k.float() * step)[None], step)[0, m, 0].numpy()


def allocate(codec: LatentCodec, y: Tensor, lam: float) -> Allocation:
    """Find out where the bits go for latents y (M, h, w)."""
    if isinstance(codec, FactorizedCodec):
        symbols, no_z = codec.quantise(y, lam), np.zeros((0, *y.shape[1:]))
        return Allocation(codec, lam, Latents(symbols, no_z), None, None, None, codec.bits(symbols, lam), no_z, 1)
    latents = codec.quantise(y, lam)
    gaussians = codec.predict(latents, lam)
    mu, sigma = gaussians.mu, gaussians.sigma
    y_bits = -torch.log2(gaussian_likelihood(*(torch.from_numpy(a) for a in (latents.y, mu, sigma)))).numpy()
    z_bits = [table.bits(table.symbols(z)) for table, z in zip(codec.prior.at(lam).z_tables, latents.z, strict=True)]
    return Allocation(codec, lam, latents, gaussians, mu, sigma, y_bits, np.stack(z_bits), codec.model.config.S)


@dataclass(frozen=True)
class View:
    """A map: a number for each position (h, w), and how it is coloured.

    Attributes:
        unit: of the numbers, for the legend.
        diverging: whether zero is in the middle of the colours.
        log: whether the colours are those of the logarithm.
        limit: the number with the last colour; the largest one if 0.
    """

    values: np.ndarray
    unit: str
    colormap: str = "Blues"
    diverging: bool = False
    log: bool = False
    limit: float = 0.0

    def range(self) -> tuple[float, float]:
        """The numbers with the first and the last colour."""
        if self.log:
            return float(self.values.min()), max(float(self.values.max()), 1.01 * float(self.values.min()))
        high = self.limit or max(float(np.abs(self.values).max()), 1e-3)
        return (-high if self.diverging else 0.0), high

    def colours(self) -> np.ndarray:
        """One colour for each position: uint8 (h, w, 3)."""
        low, high = self.range()
        values = self.values
        if self.log:
            values, low, high = np.log(values), np.log(low), np.log(high)
        return plt.get_cmap(self.colormap)((values - low) / (high - low), bytes=True)[..., :3]

    def legend(self) -> str:
        """The scale of the colours, as HTML."""
        low, high = (f"{edge:+.3g}" if self.diverging else f"{edge:.3g}" for edge in self.range())
        return colour_scale(self.colormap, low, f"{high} {self.unit}")


BITS = f"bits in {STRIDE} × {STRIDE} pixels"
SAVED = f"{BITS}; blue: saved, red: lost"


class BitAllocation(LessonWidget):
    """Point at a position of the photograph; see the symbols it is coded with, their Gaussians, and what they cost.

    A position is one column of the latent: M symbols for 16 × 16 pixels.

    Args:
        photo: name of a sample photograph, or a photograph (uint8 [H, W, 3]).
        codecs: one codec or several, of :class:`~.hyperprior.HyperpriorCodec` or a class made from it. If
            not given, the hyperprior with the shipped weights.
        reference: the codec to compare with, see the module's docstring. If not given, the factorised prior with
            the shipped weights.

    Attributes:
        photos: the :class:`PhotoChooser`.
        lam: the slider of λ, in bits per pixel per unit of MSE.
        codec: which codec is shown, by its number; map: which map; channel: of those maps that show a single one,
            by rank (1 is the channel that costs most on this photograph, at the λ it was opened with).
        blend: whether the map lies over the photograph.
        picture, map_picture, chart: the stages: the decoded photograph, the map, and the distribution of one symbol.
        numbers, readout: what the file costs, and what the chosen position costs, as HTML.
        allocations: one :class:`Allocation` for each codec; ``allocation`` is that of the chosen one, ``without``
            that of the reference.
        data, decoded: the file of the chosen codec, and what it decodes to.
        position: row and column of the chosen position.
    """

    def __init__(
        self,
        photo: str | np.ndarray | None = None,
        codecs: HyperpriorCodec | Sequence[HyperpriorCodec] | None = None,
        reference: LatentCodec | None = None,
    ):
        codecs = open_codec("hyperprior") if codecs is None else codecs
        self.codecs = [codecs] if isinstance(codecs, HyperpriorCodec) else list(codecs)
        self.reference = open_codec("factorized") if reference is None else reference
        self.photos = PhotoChooser(photo)
        ranges = [codec.lam_range for codec in (*self.codecs, self.reference)]
        lowest, highest = np.log10(max(low for low, _ in ranges)), np.log10(min(high for _, high in ranges))
        self.lam = W.FloatLogSlider(
            value=10 ** (0.3 * lowest + 0.7 * highest), base=10, min=lowest, max=highest, step=0.01,
            description="λ", readout_format=".5f", layout=W.Layout(width="420px", max_width="100%"),
        )  # fmt: skip
        self.codec = W.ToggleButtons(options=[(_label(codec), k) for k, codec in enumerate(self.codecs)])
        self.codec.style.button_width = "130px"
        self.map = W.Dropdown(options=self._maps(), layout=W.Layout(width="300px"))
        self.blend = W.Checkbox(description="over the photograph", indent=False, layout=W.Layout(width="auto"))
        self.channel = W.IntSlider(min=1, max=1, description="channel", layout=W.Layout(width="270px"))
        self.picture, self.map_picture = Stage(pointing=True), Stage(pointing=True)
        self.chart = Stage(description="probability of each value of one symbol")
        self.chart.show(np.full((CHART[1], CHART[0], 3), 255, np.uint8))
        self.chart.smooth = True
        self.numbers, self.readout = W.HTML(), W.HTML()
        self._titles = {name: W.HTML() for name in ("picture", "legend", "channel", "chart")}
        super().__init__([self.photos, self._controls(), self._panels()])
        self.add_class("edu-bits")
        self._observe()
        self._analyse()

    def _controls(self) -> W.Box:
        controls = [self.lam, W.HTML("bits per pixel, for one unit of MSE&emsp;")]
        return row(*controls, self.codec) if len(self.codecs) > 1 else row(*controls)

    def _panels(self) -> W.Box:
        return row(
            panel(self._titles["picture"], self.picture, self.numbers),
            panel(row(self.map, self.blend), self.map_picture, self._titles["legend"]),
            panel(row(self.channel, self._titles["channel"]), self.chart, self._titles["chart"]),
            panel(self.readout),
        )

    def _observe(self) -> None:
        self.photos.observe(lambda _: self._analyse(), "image")
        self.lam.observe(lambda _: self._allocate(), "value")
        self.codec.observe(lambda _: self._allocate(), "value")
        self.map.observe(lambda _: self._show_map(), "value")
        self.blend.observe(lambda _: self._show_map(), "value")
        self.channel.observe(lambda _: self._choose_channel(), "value")
        for stage in (self.picture, self.map_picture):
            stage.observe(lambda change: self._point(*change.new), "pointer")

    # --- once per photograph

    def _analyse(self) -> None:
        """Run g_a of each codec, rank the channels, and choose the position that costs most."""
        self.position = (0, 0)
        self._order = np.arange(max(codec.model.config.M for codec in self.codecs))
        with one_thread():
            self._y = [codec.analyse(self.photos.image) for codec in (*self.codecs, self.reference)]
        self._allocate()
        y_bits = self.allocation.y_bits
        self._order = np.argsort(-y_bits.sum(axis=(1, 2)), kind="stable")
        self.channel.max = len(self._order)
        self.position = tuple(int(i) for i in np.unravel_index(y_bits.sum(axis=0).argmax(), y_bits.shape[1:]))
        self._choose_channel()

    # --- at every move of λ

    @property
    def allocation(self) -> Allocation:
        return self.allocations[self.codec.value]

    def _allocate(self) -> None:
        """Code the photograph at the λ of the slider: what each codec predicts, and the chosen one's file."""
        codec, image = self.codecs[self.codec.value], self.photos.image
        # a slider's end is 10**log10(λ), which is not quite λ
        lam = codec.check_lam(float(np.clip(self.lam.value, 10**self.lam.min, 10**self.lam.max)))
        with one_thread():
            *self.allocations, self.without = (
                allocate(one, y, lam) for one, y in zip((*self.codecs, self.reference), self._y, strict=True)
            )
            shown = self.allocation
            self.data = codec.write(shown.latents, image.shape[:2], lam, shown.gaussians)
            self.decoded = self._decode(shown)
            self._psnr_without = metrics.psnr(image, self._decode(self.without))
        self.picture.show(self.decoded)
        self.picture.description = f"the photograph, decoded from {len(self.data)} bytes"
        self._titles["picture"].value = f"<b>decoded</b> from {len(self.data):,} bytes; click or drag"
        self.numbers.value = html_table(self._rows(), 1.4)
        self._show_map()
        self._show_position()

    def _decode(self, shown: Allocation) -> np.ndarray:
        """The picture that the symbols decode to."""
        size = self.photos.image.shape[:2]
        if shown.gaussians is None:
            return shown.codec.reconstruct(shown.latents.y, size, shown.lam)
        return shown.codec.reconstruct(shown.latents, shown.gaussians, size, shown.lam)

    def _rows(self) -> list[tuple[str, str]]:
        """The summary: bytes of the real file, part by part."""
        image, sizes = self.photos.image, self.codecs[self.codec.value].ledger(self.data)
        shown, without = self.allocation, self.without.total.sum() / 8
        y_bytes, z_bytes = shown.y_bits.sum() / 8, shown.z_bits.sum() / 8
        return [
            ("file", f"{len(self.data):,} bytes = {metrics.bits_per_pixel(self.data, image):.3f} bpp"),
            ("PSNR", f"{metrics.psnr(image, self.decoded):.2f} dB"),
            ("z + y + header", f"{sizes['z']:,} + {sizes['y']:,} + {sizes['header'] + sizes['checksum']} bytes"),
            ("z + y by estimate", f"{z_bytes:,.0f} + {y_bytes:,.0f} = {z_bytes + y_bytes:,.0f} bytes"),
            (f"{_label(self.reference)}, same λ", f"{without:,.0f} bytes by estimate, {self._psnr_without:.2f} dB"),
            ("saved", f"{without - z_bytes - y_bytes:+,.0f} bytes ({1 - (z_bytes + y_bytes) / without:+.1%})"),
        ]

    # --- the maps

    def _maps(self) -> dict[str, str]:
        """Names of the maps, as the student sees them, and how they are called here."""
        return {
            "bits of y": "y",
            "bits of z, shared out": "z",
            f"bits saved against: {_label(self.reference)}": "saved",
            "σ of one channel": "sigma",
            "μ of one channel": "mu",
            "symbols of one channel": "symbol",
            "(symbol - μ) / σ of one channel": "normalised",
            "bits of one channel": "channel",
        }

    def view(self) -> View:
        """The chosen map."""
        shown, c = self.allocation, self._channel()
        mu, sigma, symbol = shown.mu[c], shown.sigma[c], shown.latents.y[c]
        match self.map.value:
            case "y":
                return View(shown.y_bits.sum(axis=0), BITS)
            case "z":
                return View(shown.z_share, BITS)
            case "saved":  # z is paid for
                return View(self.without.total - shown.total, SAVED, "RdBu", diverging=True)
            case "sigma":
                return View(sigma, "quantisation steps (logarithmic)", "viridis", log=True)
            case "mu":
                return View(mu, "quantisation steps", "PuOr", diverging=True)
            case "symbol":
                return View(symbol.astype(float), "quantisation steps", "PuOr", diverging=True)
            case "normalised":
                return View((symbol - mu) / sigma, "standard deviations", "PuOr", diverging=True, limit=3)
            case _:
                return View(shown.y_bits[c], "bits a symbol")

    def _show_map(self) -> None:
        view = self.view()
        self.map_picture.show(self._map_pixels(view))
        self.map_picture.description = f"map of the photograph: {self.map.label}, in {view.unit}"
        self._titles["legend"].value = view.legend()

    def _map_pixels(self, view: View) -> np.ndarray:
        """The map in the size of the photograph, if wanted with its luma shining through: uint8 [H, W, 3]."""
        image = self.photos.image
        shades = images.crop(view.colours().repeat(STRIDE, axis=0).repeat(STRIDE, axis=1), *image.shape[:2])
        if not self.blend.value:
            return shades
        return images.to_uint8(0.55 * shades + 0.45 * image.mean(axis=2, keepdims=True))

    # --- one position, one channel

    def _point(self, x: float, y: float) -> None:
        h, w = self.allocation.y_bits.shape[1:]
        position = min(int(y) // STRIDE, h - 1), min(int(x) // STRIDE, w - 1)
        if position != self.position:  # while it is dragged, the pointer is mostly where it was
            self.position = position
            self._show_position()

    def _channel(self) -> int:
        """Number of the chosen channel."""
        return int(self._order[self.channel.value - 1])

    def _choose_channel(self) -> None:
        self._titles["channel"].value = f"by cost: number {self._channel()}"
        if self.map.value in ("sigma", "mu", "symbol", "normalised", "channel"):
            self._show_map()
        self._show_position()

    def _show_position(self) -> None:
        r, c = self.position
        place = f'x="{STRIDE * c}" y="{STRIDE * r}" width="{STRIDE}" height="{STRIDE}" fill="none"'
        frame = f'<rect {place} stroke="white" stroke-width="4"/><rect {place} stroke="{SYMBOL}" stroke-width="2"/>'
        self.picture.overlay = self.map_picture.overlay = frame
        self.readout.value = self._readout()
        values, p, q, symbol = self._distribution()
        self.chart.overlay = _chart(values, p, q, symbol)
        self._titles["chart"].value = self._symbol_text()

    def _readout(self) -> str:
        """The chosen position: its bits, and its most expensive channels."""
        (r, c), shown = self.position, self.allocation
        bits = shown.y_bits[:, r, c]
        nonzero = int(np.count_nonzero(shown.latents.y[:, r, c]))
        rows = [
            ("y", f"{bits.sum():.1f} bits, {nonzero} of {len(bits)} symbols are not 0"),
            ("its share of z", f"{shown.z_share[r, c]:.1f} bits"),
            *((f"y + z, {_label(one.codec)}", f"{one.total[r, c]:.1f} bits") for one in self.allocations),
            (f"{_label(self.reference)}", f"{self.without.total[r, c]:.1f} bits"),
        ]
        title = f"<b>position</b> row {r}, column {c} ({STRIDE} × {STRIDE} pixels)"
        return title + html_table(rows, 1.4) + self._channel_table()

    def listed(self) -> list[int]:
        """The channels that cost most at the chosen position, and the chosen one."""
        r, c = self.position
        listed = np.argsort(-self.allocation.y_bits[:, r, c], kind="stable")[:LISTED].tolist()
        return listed if self._channel() in listed else [*listed, self._channel()]

    def _channel_table(self) -> str:
        (r, c), shown, listed = self.position, self.allocation, self.listed()
        bits = {m: [shown.y_bits[m, r, c], *self._bits_without(m)] for m in listed}
        most = max(1.0, *(max(of) for of in bits.values()))
        head = ["channel", "symbol", "μ", "σ", "bits", _label(self.reference)][: 4 + len(bits[listed[0]])]
        lines = [f"<tr>{''.join(f'<th style={_CELL!r}>{title}</th>' for title in head)}<th></th></tr>"]
        for m in listed:
            mu, sigma = shown.mu[m, r, c], shown.sigma[m, r, c]
            cells = [m, shown.latents.y[m, r, c], f"{mu:.2f}", f"{sigma:.2f}", *(f"{b:.1f}" for b in bits[m])]
            cells = "".join(f"<td style={_CELL!r}>{cell}</td>" for cell in cells)
            bars = "".join(_bar(b / most, color) for b, color in zip(bits[m], (CODED, REFERENCE), strict=False))
            chosen = f" style='outline:2px solid {SYMBOL}'" if m == self._channel() else ""
            lines.append(f"<tr{chosen}>{cells}<td style='padding-left:8px'>{bars}</td></tr>")
        note = "<div>μ and σ in quantisation steps; framed: the channel of the slider</div>"
        return f"<table style='line-height:1.35; margin:6px 0; border-collapse:collapse'>{''.join(lines)}</table>{note}"

    def _bits_without(self, m: int) -> list[float]:
        """The bits of channel m at the chosen position with the reference, if it has as many channels."""
        same = len(self.without.y_bits) == len(self.allocation.y_bits)
        return [float(self.without.y_bits[m][self.position])] if same else []

    def _distribution(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, int]:
        """Values around the symbol of the chosen position and channel, what codec and reference believe, the symbol."""
        (r, c), m, shown = self.position, self._channel(), self.allocation
        symbol = int(shown.latents.y[m, r, c])
        mu, sigma = float(shown.mu[m, r, c]), float(shown.sigma[m, r, c])
        reach = int(np.clip(np.ceil(3 * sigma), 3, 40))
        values = np.arange(min(symbol, round(mu)) - reach, max(symbol, round(mu)) + reach + 1)
        with one_thread():
            q = self.without.probability(m, r, c, values) if self._bits_without(m) else None
            return values, shown.probability(m, r, c, values), q, symbol

    def _symbol_text(self) -> str:
        (r, c), m, shown = self.position, self._channel(), self.allocation
        text = (
            f"<b>symbol {shown.latents.y[m, r, c]}</b> of channel {m} at this position<br>"
            f"<span style='color:{CODED}'>■</span> {_label(shown.codec)}: "
            f"N({shown.mu[m, r, c]:.2f}, {shown.sigma[m, r, c]:.2f}²), {shown.y_bits[m, r, c]:.2f} bits"
        )
        for bits in self._bits_without(m):
            other = int(self.without.latents.y[m, r, c])
            its = f" for its symbol, {other}" if other != shown.latents.y[m, r, c] else ""
            text += f"<br><span style='color:{REFERENCE}'>■</span> {_label(self.reference)}: {bits:.2f} bits{its}"
        return text

    # --- without a kernel

    def still(self) -> bytes:
        """Return a PNG file of the photograph, the map, the chosen position and the summary."""
        figure = plt.figure(figsize=(9, 6.4), dpi=80, layout="constrained")
        axes = figure.subplot_mosaic([["picture", "map"], ["chart", "text"]], height_ratios=[1.2, 1])
        view, (r, c) = self.view(), self.position
        axes["picture"].imshow(self.decoded)
        axes["picture"].set_title(f"decoded from {len(self.data):,} bytes, λ = {self.lam.value:.5f}", fontsize=9)
        axes["map"].imshow(self._map_pixels(view))
        low, high = view.range()
        axes["map"].set_title(f"{self.map.label}\n{low:.3g} to {high:.3g} {view.unit}", fontsize=9)
        for name in ("picture", "map"):
            frame = Rectangle((STRIDE * c, STRIDE * r), STRIDE, STRIDE, fill=False, color=SYMBOL, linewidth=2)
            axes[name].add_patch(frame)
        values, p, q, symbol = self._distribution()
        axes["chart"].bar(values, p, color=CODED, label=_label(self.allocation.codec))
        if q is not None:
            axes["chart"].step(values, q, where="mid", color=REFERENCE, label=_label(self.reference))
        axes["chart"].plot(symbol, 0, "^", color=SYMBOL, clip_on=False, markersize=9, label="the symbol")
        axes["chart"].set(xlabel=f"value of channel {self._channel()} at the framed position", ylabel="probability")
        axes["chart"].legend(fontsize=8)
        lines = [f"{name}:  {value}" for name, value in self._rows()]
        axes["text"].text(0, 1, "\n".join(lines), va="top", linespacing=1.6, fontsize=9)
        for name in ("picture", "map", "text"):
            axes[name].set_axis_off()
        return small_png(figure_pixels(figure), 256, (CODED, REFERENCE, SYMBOL))


# --- small parts ------------------------------------------------------------------------------

CHART = (384, 190)  # width and height in pixels
_CELL = "text-align:right; padding:0 6px; font-variant-numeric:tabular-nums;"


def _label(codec: HyperpriorCodec) -> str:
    return plots.style(codec.name).label


def _bar(share: float, color: str) -> str:
    return f"<div style='height:6px; width:{80 * share:.0f}px; background:{color}'></div>"


def _chart(values: np.ndarray, p: np.ndarray, q: np.ndarray | None, symbol: int) -> str:
    """Draw p as bars and q as a line of steps over the values, as SVG for a white picture of the size ``CHART``."""
    left, right, top, bottom = 46, CHART[0] - 10, 14, CHART[1] - 40
    most = max(float(part.max()) for part in (p, q) if part is not None)
    width, scale = (right - left) / len(values), (bottom - top) / most
    x, heights = left + width * np.arange(len(values)), scale * p
    parts = [
        f'<rect x="{at + 0.1 * width:.1f}" y="{bottom - height:.1f}" width="{0.8 * width:.1f}" height="{height:.1f}" '
        f'fill="{SYMBOL if value == symbol else CODED}"/>'
        for at, height, value in zip(x, heights, values, strict=True)
    ]
    if q is not None:
        steps = zip(x, bottom - scale * q, strict=True)
        points = " ".join(f"{at:.1f},{level:.1f} {at + width:.1f},{level:.1f}" for at, level in steps)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{REFERENCE}" stroke-width="2"/>')
    parts.append(f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="black"/>')
    text = 'font-family="sans-serif" font-size="11" fill="black"'
    every = -(-len(values) // 13)
    parts += [
        f'<text x="{at + width / 2:.1f}" y="{bottom + 14}" text-anchor="middle" {text}>{value}</text>'
        for at, value in zip(x, values, strict=True)
        if value % every == 0
    ]
    parts.append(f'<text x="{left - 4}" y="{top + 4}" text-anchor="end" {text}>p={most:.2g}</text>')
    parts.append(f'<text x="{left - 4}" y="{bottom}" text-anchor="end" {text}>0</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{CHART[1] - 8}" text-anchor="middle" {text}>value (orange: the symbol)</text>')
    return "".join(parts)
