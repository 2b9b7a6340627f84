"""The widget of lesson 07: in which order the decoders work through a photograph, all on one clock.

::

    photograph --> encode --> file --> decode, with a stopwatch --> passes, and when each began and ended
                                  \\--> decoded photograph           |
                                              |                     |
                                              +------> player <-----+     (decode_order.js, in the browser)

Every time that is shown was measured: each decoder decodes its real file when the widget is made, a few times, and
its fastest run counts. The browser then plays these runs again, slowed down by one factor for all.

A position of the pictures is shown as soon as its symbols are known. (The decoder itself makes the picture at the
end, in one go: g_s looks at all positions.)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import torch
import traitlets

from .. import images, plots
from ..codecs.context import ContextCodec
from ..codecs.hyperprior import HyperpriorCodec
from ..learned.orders import anchors
from ..learned.transforms import STRIDE
from ..registry import open_codec
from ._core import LessonWidget, PhotoChooser, figure_pixels, small_png, to_png

RUNS = 3
UNKNOWN = 184  # the grey of positions that are not decoded yet
TITLES = {
    "context-raster": "raster",
    "context": "wavefront",
    "checkerboard": "checkerboard",
    "hyperprior": "all at once",
}
SLOWER = (1, 2, 5, 10, 20, 50, 100, 200, 500)
NOW, SEEN = plots.ORANGE, plots.GREEN


# --- measuring --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """One decoder's run over a file. Times are in seconds from its beginning.

    Attributes:
        title: what it is called.
        data, decoded: the file, and its picture (uint8 [H, W, 3]).
        passes: the positions that were decoded together, numbered in raster order, first to last.
        begun: when the first pass began; before, z is decoded and h_s runs.
        ended: when each pass ended.
        total: when the picture was ready; after the last pass, g_s runs.
        sees: what the context model sees: (row, column) from the position itself, (n, 2).
        blind: the positions at which it sees nothing: bool [h, w].
    """

    title: str
    data: bytes
    decoded: np.ndarray
    passes: list[np.ndarray]
    begun: float
    ended: np.ndarray
    total: float
    sees: np.ndarray
    blind: np.ndarray

    def pass_of(self) -> np.ndarray:
        """In which pass each position is decoded: (h, w)."""
        number = np.zeros(self.blind.size, int)
        for k, positions in enumerate(self.passes):
            number[positions] = k
        return number.reshape(self.blind.shape)

    def seen_from(self, r: int, c: int) -> list[tuple[int, int]]:
        """The positions whose symbols are seen when (r, c) is decoded."""
        h, w = self.blind.shape
        seen = [(r + int(down), c + int(right)) for down, right in self.sees if not self.blind[r, c]]
        return [(row, column) for row, column in seen if 0 <= row < h and 0 <= column < w]


def measure(codec: HyperpriorCodec, image: np.ndarray, lam: float, runs: int = RUNS) -> Order:
    """Code the picture and decode its file a few times; return the fastest run."""
    data = codec.encode(image, lam)
    return min((_decode(codec, data) for _ in range(runs)), key=lambda order: order.total)


def _decode(codec: HyperpriorCodec, data: bytes) -> Order:
    passes, ended = [], []
    start = time.perf_counter()
    for positions, found in codec.read_in_passes(data):  # noqa: B007 - the last one is used
        passes.append(positions)
        ended.append(time.perf_counter() - start)
    begun, container, latents, gaussians = ended[0], *found
    decoded = codec.reconstruct(latents, gaussians, (container.height, container.width), container.setting)
    total = time.perf_counter() - start
    h, w = latents.y.shape[1:]
    sees, blind = np.zeros((0, 2), int), np.ones((h, w), bool)
    if isinstance(codec, ContextCodec):
        sees = codec.prior.offsets - codec.prior.margin
        blind = anchors(h, w).numpy() if codec.mask == "checkerboard" else ~blind
    title = TITLES.get(codec.name, codec.name)
    return Order(title, data, decoded, passes[1:], begun, np.array(ended[1:]), total, sees, blind)


# --- the widget -------------------------------------------------------------------------------


class OrderPlayer(anywidget.AnyWidget):
    """Plays runs of decoders in the browser, without the kernel.

    Attributes:
        orders: the runs, as the page needs them.
        size: width and height of the picture; rows and columns of its positions.
        by: what the clock counts: "time" (milliseconds of the decoders) or "pass".
        at: the clock.
        slower: how many times slower than in truth the runs are played, by time.
        rate: passes per second, by pass.
        playing: whether the clock runs.
        position: row and column of the chosen position.
    """

    _esm = Path(__file__).parent / "decode_order.js"
    orders = traitlets.List([]).tag(sync=True)
    size = traitlets.List([1, 1, 1, 1]).tag(sync=True)
    by = traitlets.Enum(["time", "pass"], "time").tag(sync=True)
    at = traitlets.Float(0.0).tag(sync=True)
    slower = traitlets.Int(1).tag(sync=True)
    slower_choices = traitlets.List(list(SLOWER)).tag(sync=True)
    rate = traitlets.Int(10).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)
    position = traitlets.List([0, 0]).tag(sync=True)


class DecodeOrder(LessonWidget):
    """Watch decoders at work: which positions are known, which are being decoded, and what a position sees.

    Args:
        photo: name of a sample photograph, or a photograph (uint8 [H, W, 3]).
        codecs: what to compare. If not given, with the shipped weights: the autoregressive model in raster order and
            by wavefronts, the checkerboard, and the hyperprior alone.
        lam: λ of all files, in bits per pixel per unit of MSE.

    Attributes:
        photos: the :class:`PhotoChooser`; again: the button that measures once more.
        orders: one :class:`Order` for each codec.
        player: the :class:`OrderPlayer`.
        message: what was measured, and how, as HTML.
    """

    def __init__(
        self,
        photo: str | np.ndarray | None = None,
        codecs: Sequence[HyperpriorCodec] | None = None,
        lam: float = 0.01,
    ):
        self.codecs = _shipped() if codecs is None else list(codecs)
        self.lam = lam
        self.photos = PhotoChooser(photo)
        self.again = W.Button(description="measure again", tooltip="decode all files once more, with a stopwatch")
        self.player, self.message = OrderPlayer(), W.HTML()
        super().__init__([self.photos, W.HBox([self.again, self.message]), self.player])
        self.add_class("edu-order")
        self.photos.observe(lambda _: self._measure(), "image")
        self.again.on_click(lambda _: self._measure())
        self._measure()

    def _measure(self) -> None:
        """Decode the photograph's files with a stopwatch, and give the runs to the player."""
        image = self.photos.image
        self.player.playing = False
        self.message.value = "decoding, with a stopwatch …"
        self.orders = [measure(codec, image, self.lam) for codec in self.codecs]
        totals = sorted(order.total for order in self.orders)
        h, w = self.orders[0].blind.shape
        with self.player.hold_sync():
            self.player.size = [image.shape[1], image.shape[0], h, w]
            self.player.orders = [_for_page(order) for order in self.orders]
            self.player.slower = min(SLOWER, key=lambda slower: abs(np.log(slower * totals[-1] / 8)))  # about 8 s
            self.player.by, self.player.at = "time", 600 * totals[len(totals) // 2]
            middle = w // 2 - (h // 2 + w // 2 + 1) % 2  # no anchor of the checkerboard, so that it sees something
            self.player.position = [h // 2, max(middle, 0)]
        self.message.value = (
            f"measured on this computer (threads: {torch.get_num_threads()}), {w} × {h} positions, λ = {self.lam:g}; "
            f"the fastest of {RUNS} runs each"
        )

    # --- the state of the clock

    def passes_done(self, order: Order) -> int:
        """How many passes of a decoder are complete at the time of the clock."""
        if self.player.by == "pass":
            return min(int(self.player.at), len(order.passes))
        return int(np.searchsorted(1000 * order.ended, self.player.at, side="right"))

    def picture(self, order: Order) -> np.ndarray:
        """What is known at the time of the clock, grey elsewhere, and orange what is being decoded: uint8 [H, W, 3]."""
        done, size = self.passes_done(order), order.decoded.shape[:2]
        number = order.pass_of().repeat(STRIDE, axis=0).repeat(STRIDE, axis=1)
        number = images.crop(number[..., None], *size)
        orange = np.array([int(NOW[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
        waiting = self.player.by == "time" and self.player.at < 1000 * order.begun
        rest = np.where((number == done) & (not waiting), orange, np.uint8(UNKNOWN))
        return np.where(number < done, order.decoded, rest)

    def still(self) -> bytes:
        """Return a PNG file of all decoders at the time of the clock."""
        figure, axes = plt.subplots(2, -(-len(self.orders) // 2), figsize=(9, 6.6), dpi=80, layout="constrained")
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, order in zip(axes.flat, self.orders, strict=False):
            ax.imshow(self.picture(order))
            self._draw_mask(ax, order)
            done = self.passes_done(order)
            times = f"decoded in {1000 * order.total:.0f} ms"
            ax.set_title(f"{order.title}: {done} of {len(order.passes)} passes\n{times}", fontsize=9)
        unit = "ms" if self.player.by == "time" else "passes"
        figure.suptitle(f"after {self.player.at:.0f} {unit} of each decoder; green: what the framed position sees")
        return small_png(figure_pixels(figure), 256, (NOW, SEEN))

    def _draw_mask(self, ax: plt.Axes, order: Order) -> None:
        r, c = self.player.position
        for (row, column), color in [(seen, SEEN) for seen in order.seen_from(r, c)] + [((r, c), "black")]:
            x, y = STRIDE * column - 0.5, STRIDE * row - 0.5
            ax.add_patch(plt.Rectangle((x, y), STRIDE, STRIDE, fill=False, color=color, linewidth=1.5))


def _shipped() -> list[HyperpriorCodec]:
    wavefront = open_codec("context")
    raster = ContextCodec(wavefront.weights, wavefront.model, order="raster")
    return [raster, wavefront, open_codec("checkerboard"), open_codec("hyperprior")]


def _for_page(order: Order) -> dict:
    """A run as decode_order.js wants it; times in milliseconds."""
    return {
        "title": order.title,
        "bytes": len(order.data),
        "png": to_png(order.decoded),
        "passOf": order.pass_of().ravel().tolist(),
        "passes": len(order.passes),
        "begun": 1000 * float(order.begun),
        "ended": (1000 * order.ended).round(4).tolist(),
        "total": 1000 * order.total,
        "sees": order.sees.tolist(),
        "blind": order.blind.ravel().tolist(),
    }
