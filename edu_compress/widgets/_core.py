"""What the widgets of all lessons are made of.

Two rules make them quick and robust. A widget updates a :class:`Stage` or an ``HTML`` field through
``observe``; it never prints into an Output widget (slow, and notebook runners can hang on it). What does not
change with the slider is drawn once, as a PNG; what moves is a few SVG elements laid over it, so an answer costs
a millisecond of drawing instead of a whole matplotlib figure.

    LessonWidget (a VBox)   shows itself, or its still picture where no kernel runs
      ├─ PhotoChooser       a sample photograph, or the student's own by upload
      └─ Stage              PNG below, SVG on top, pointer events back to Python
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import anywidget
import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from .. import images
from ..errors import CodecError


class Stage(anywidget.AnyWidget):
    """A picture with vector drawings over it, which reports where it is clicked or dragged.

    All coordinates are pixels of the picture, x to the right and y downwards from its top left corner.

    Attributes:
        png: the picture, a PNG file; set it with :meth:`show`.
        overlay: SVG elements drawn over the picture, as text.
        width, height: of the picture, in its pixels.
        zoom: size of a picture's pixel on the screen.
        smooth: how the picture is enlarged: True for figures; False for photographs, so that each pixel stays visible.
        pointer: (x, y) of the last click, or of the pointer while it is dragged; ``observe`` it.
        pointing: whether the stage listens to the pointer; hovering: also without a pressed button.
        description: what the picture shows, for screen readers.
    """

    _esm = Path(__file__).parent / "stage.js"
    png = traitlets.Bytes(b"").tag(sync=True)
    overlay = traitlets.Unicode("").tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)
    height = traitlets.Int(1).tag(sync=True)
    zoom = traitlets.Float(1.0).tag(sync=True)
    smooth = traitlets.Bool(False).tag(sync=True)
    pointer = traitlets.List(traitlets.Float(), [0.0, 0.0]).tag(sync=True)
    pointing = traitlets.Bool(False).tag(sync=True)
    hovering = traitlets.Bool(False).tag(sync=True)
    description = traitlets.Unicode("").tag(sync=True)

    def show(self, picture: np.ndarray | Figure) -> None:
        """Show a picture (uint8 [H, W] or [H, W, 3]) or a matplotlib figure (closed afterwards)."""
        smooth = isinstance(picture, Figure)
        if smooth:
            picture = figure_pixels(picture)
        with self.hold_sync():
            self.smooth = smooth
            self.height, self.width = picture.shape[:2]
            self.png = to_png(picture)


class LessonWidget(W.VBox):
    """Base of the lessons' widgets. Where no kernel runs, readers see :meth:`still` in its place."""

    def still(self) -> bytes:
        """Return a PNG file that shows the widget's present state."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = super()._repr_mimebundle_(**options)
        return {**bundle, "image/png": base64.b64encode(self.still()).decode("ascii")}


class PhotoChooser(W.HBox):
    """Choose a sample photograph or upload one; ``image`` (uint8 [H, W, 3]) is what was chosen.

    A photograph is scaled down to at most ``longest`` pixels a side, so that the widgets stay quick.
    """

    image = traitlets.Any()

    def __init__(self, photo: str | np.ndarray | None = None, longest: int = 384):
        self._longest = longest
        names = images.sample_names()
        self.names = W.Dropdown(options=names, description="photograph", value=names[0])
        self.upload = W.FileUpload(accept="image/*", multiple=False, description="your own")
        self.message = W.HTML()
        super().__init__([self.names, self.upload, self.message])
        if isinstance(photo, str):
            self.names.value = photo
        self.image = (
            images.as_image(photo) if isinstance(photo, np.ndarray) else fit(images.sample(self.names.value), longest)
        )
        self.names.observe(lambda change: self._choose(lambda: images.sample(change.new)), "value")
        self.upload.observe(self._uploaded, "value")

    def _uploaded(self, change) -> None:
        if change.new:
            self._choose(lambda: images.load(bytes(change.new[0].content)))

    def _choose(self, source) -> None:
        try:
            self.image = fit(source(), self._longest)
            self.message.value = ""
        except CodecError as error:
            self.message.value = f"<span style='color:#D55E00'>{html.escape(str(error))}</span>"


def fit(image: np.ndarray, longest: int) -> np.ndarray:
    """Return ``image``, scaled down (Lanczos) where its longer side has more than ``longest`` pixels."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]  # (width, height)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def to_png(picture: np.ndarray) -> bytes:
    """Return a PNG file of uint8 [H, W] or [H, W, 3]; quick rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def figure_pixels(figure: Figure) -> np.ndarray:
    """Draw a matplotlib figure and return its pixels (uint8 [H, W, 3]); the figure is closed."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return pixels


def small_png(picture: np.ndarray, colours: int, keep: Sequence[str] = ()) -> bytes:
    """Return a PNG file of uint8 [H, W, 3] with at most so many colours; small rather than quick.

    Args:
        keep: colours to keep as they are, such as those of lines: they are few pixels, and would be given to their
            neighbours.
    """
    adaptive = Image.fromarray(picture).quantize(colours - len(keep)).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette(adaptive + [channel for colour in keep for channel in ImageColor.getrgb(colour)])
    buffer = io.BytesIO()
    drawn = Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
    drawn.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def row(*children: W.Widget) -> W.Box:
    """Side by side where there is room, else below one another."""
    return W.Box(children, layout=W.Layout(display="flex", flex_flow="row wrap", overflow="visible", max_width="100%"))


def panel(*children: W.Widget) -> W.VBox:
    """Below one another, with some room around."""
    return W.VBox(children, layout=W.Layout(margin="4px 16px 8px 0", overflow="visible", max_width="100%"))


def colour_scale(colormap: str, low: str, high: str) -> str:
    """Return a colour scale with its two ends in words, as HTML."""
    shades = ", ".join(to_hex(plt.get_cmap(colormap)(k / 8)) for k in range(9))
    bar = f"width:80px; height:12px; border:1px solid #bbb; background:linear-gradient(to right, {shades})"
    return f"<div style='display:flex; align-items:center; gap:6px'>{low}<div style='{bar}'></div>{high}</div>"


def html_table(rows: Sequence[tuple[str, str]], line_height: float = 1.6, font: str = "inherit") -> str:
    """Return (name, value) pairs as HTML; both are HTML themselves."""
    cells = "".join(
        f"<tr><td>{name}&emsp;</td><td style='font-family:{font}'>{value}</td></tr>" for name, value in rows
    )
    return f"<table style='line-height:{line_height}; white-space:nowrap'>{cells}</table>"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: a second one saves 10 ms if its core is idle, and costs 200 ms if it is busy."""
    import torch  # here, because the first lessons do without it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class PlotFrame:
    """Places SVG elements over a drawn plot: remembers where the axes' data coordinates lie in the picture.

    Make it after the axis limits are set, and show the same figure on the stage::

        frame = PlotFrame(ax)
        stage.show(ax.figure)
        stage.overlay = frame.circle(0.5, 31.2, color=BLUE) + frame.line([0, 1], [30, 33], color=BLUE)
    """

    def __init__(self, ax: Axes):
        figure = ax.figure
        figure.canvas.draw()  # constrained layout moves the axes when it draws
        self._transform = ax.transData.frozen()
        self._height = figure.canvas.get_width_height()[1]

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Return the picture coordinates of a data point."""
        column, row = self._transform.transform((x, y))
        return float(column), float(self._height - row)

    def data(self, column: float, row: float) -> tuple[float, float]:
        """Return the data coordinates of a point of the picture."""
        x, y = self._transform.inverted().transform((column, self._height - row))
        return float(x), float(y)

    def circle(self, x: float, y: float, color: str, radius: float = 6) -> str:
        """A filled circle at a data point."""
        cx, cy = self.pixel(x, y)
        return f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius}" fill="{color}" stroke="white" stroke-width="1.5"/>'

    def line(self, xs, ys, color: str, width: float = 2, dash: str = "") -> str:
        """A polyline through data points."""
        points = " ".join("{:.1f},{:.1f}".format(*self.pixel(x, y)) for x, y in zip(xs, ys, strict=True))
        stroke = f'stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"'
        return f'<polyline points="{points}" fill="none" {stroke}/>'

    def text(self, x: float, y: float, label: str, color: str = "black", size: int = 12) -> str:
        """A label whose lower left corner is at a data point."""
        column, row = self.pixel(x, y)
        font = f'fill="{color}" font-size="{size}" font-family="sans-serif"'
        return f'<text x="{column:.1f}" y="{row:.1f}" {font}>{html.escape(label)}</text>'
