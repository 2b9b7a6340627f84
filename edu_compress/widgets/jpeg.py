"""The widgets of lesson 01: a block as a sum of waves, the quantisation table, and a JPEG file that you may break."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from functools import lru_cache

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from .. import images, jpeg, metrics, plots
from ..codecs.jpeg import decoder, encoder
from ..codecs.jpeg.coefficients import Coefficients, Component
from ..codecs.jpeg.segments import Segment, restart_intervals
from ..codecs.jpeg.tables import STANDARD_CHROMA, STANDARD_LUMA, ZIGZAG, scale_table
from ..dct import dct2, dct_matrix, idct2
from ..errors import CodecError
from ..registry import Codec, open_codec
from ._core import LessonWidget, PhotoChooser, Stage, fit

RANK = np.argsort(ZIGZAG).reshape(8, 8)
"""``RANK[v, u]`` is the place of coefficient (v, u) in the zigzag order, 0 to 63."""

CELL = 48  # pixels of a cell in a drawn 8 x 8 grid


# --- drawing ----------------------------------------------------------------------------------


class FramedStage(Stage):
    """A stage whose overlay is rectangles only, so that it can be painted into a still picture as well."""

    frames: tuple = ()

    def frame(self, *boxes: tuple[float, float, float, float], color: str = plots.ORANGE) -> None:
        """Draw rectangles over the picture, each (left, top, width, height) in its pixels."""
        self.frames, self._color = boxes, color
        style = f'fill="none" stroke="{color}" stroke-width="{2.5 / self.zoom}"'
        self.overlay = "".join(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" {style}/>' for x, y, width, height in boxes
        )

    def painted(self) -> Image.Image:
        """Return what the page shows."""
        with Image.open(io.BytesIO(self.png)) as picture:
            size = round(picture.width * self.zoom), round(picture.height * self.zoom)
            painted = picture.convert("RGB").resize(size, Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(painted)
        for x, y, width, height in self.frames:
            corners = [round(value * self.zoom) for value in (x, y, x + width, y + height)]
            draw.rectangle(corners, outline=self._color, width=2)
        return painted


@lru_cache
def _font(size: int, family: str = "DejaVu Sans") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), size)


def compose(columns: Sequence[Sequence[tuple[str, FramedStage | str]]]) -> bytes:
    """Return a PNG file with columns of stages (or lines of text), each under its title."""
    painted = [[(title, _paint(panel)) for title, panel in column] for column in columns]
    gap, title_height = 16, 22
    height = max(sum(picture.height + title_height + gap for _, picture in column) for column in painted)
    widths = [max(picture.width for _, picture in column) + gap for column in painted]
    canvas = Image.new("RGB", (sum(widths) + gap, height), "white")
    draw, left = ImageDraw.Draw(canvas), gap
    for column, width in zip(painted, widths, strict=True):
        top = 0
        for title, picture in column:
            draw.text((left, top + 4), title, fill="black", font=_font(13))
            canvas.paste(picture, (left, top + title_height))
            top += picture.height + title_height + gap
        left += width
    return _small_png(canvas)


def _small_png(picture: Image.Image) -> bytes:
    """Return a PNG file with at most 256 colours: a third of the size, in a notebook that stores it."""
    buffer = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _paint(panel: FramedStage | str) -> Image.Image:
    if not isinstance(panel, str):
        return panel.painted()
    box = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox((0, 0), panel, font=_font(13), spacing=8)
    picture = Image.new("RGB", (int(box[2]) + 2, int(box[3]) + 2), "white")
    ImageDraw.Draw(picture).multiline_text((0, 0), panel, fill="#333333", font=_font(13), spacing=8)
    return picture


def _grid(cells: np.ndarray, labels: Sequence[str], at: float, dark: Sequence[bool] | None = None) -> np.ndarray:
    """Put 64 cells (uint8 [8, 8, CELL, CELL, 3]) together, and write a label into each, ``at`` this height (0 to 1)."""
    picture = Image.fromarray(cells.swapaxes(1, 2).reshape(8 * CELL, 8 * CELL, 3))
    draw = ImageDraw.Draw(picture)
    for i, label in enumerate(labels):
        place = CELL * (i % 8 + 0.5), CELL * (i // 8 + at)
        draw.text(place, label, fill="white" if dark is not None and dark[i] else "black", font=_font(12), anchor="mm")
    return np.asarray(picture)


def _shaded_grid(shade: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Return a grid of labelled cells; ``shade`` [8, 8] goes from 0 (white) to 1 (dark blue)."""
    colours = plt.get_cmap("Blues")(np.clip(shade, 0, 1))[..., :3]  # (8, 8, 3)
    cells = np.repeat(np.repeat(images.to_uint8(255 * colours)[:, :, None, None], CELL, axis=2), CELL, axis=3)
    cells[:, :, -1], cells[:, :, :, -1] = 255, 255
    return _grid(cells, labels, 0.5, dark=shade.ravel() > 0.6)


def _cell_at(pointer: Sequence[float]) -> tuple[int, int]:
    """Return (row, column) of the cell under the pointer."""
    column, row = pointer
    return min(int(row) // CELL, 7), min(int(column) // CELL, 7)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{name}&emsp;</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table style='line-height:1.6; white-space:nowrap'>{cells}</table>"


def _lines(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name}:  {value}" for name, value in rows)


def _row(*widgets: W.Widget) -> W.HBox:
    return W.HBox(widgets, layout=W.Layout(grid_gap="16px"))


def _titled(title: str, *widgets: W.Widget) -> W.VBox:
    return W.VBox([W.HTML(title), *widgets])


# --- 1. a block as a sum of waves -----------------------------------------------------------------


_BASIS = np.einsum("vy,ux->vuyx", dct_matrix(), dct_matrix())  # (v, u, y, x): the picture with one coefficient, 1


class DctExplorer(LessonWidget):
    """Click a block of the photograph; see its 64 DCT coefficients, and what the first k of them make.

    The transform works on one plane at a time; here it is the luma of the photograph. Each cell of the grid shows a
    basis function in the strength (on a logarithmic scale) and with the sign that the block needs, and its
    coefficient. Cells that are not kept are pale. A click on a cell keeps all up to it in zigzag order.

    Attributes:
        photos: the :class:`PhotoChooser`.
        keep: the slider of k, the number of coefficients that are kept, 1 to 64.
        picture: the photograph from k coefficients a block; click to choose a block.
        original, partial: the block, and the sum of its first k waves.
        waves: the grid; click to choose k.
        numbers: energy and PSNR, as HTML.
        block: (row, column) of the chosen block.
        coefficients: float64 [H/8, W/8, 8, 8], of the whole luma plane.
        reconstruction: uint8 [H, W], the luma from the first k coefficients of each block.
    """

    def __init__(self, photo: str | np.ndarray | None = None):
        self.photos = PhotoChooser(photo)
        self.keep = W.IntSlider(
            value=6, min=1, max=64, description="keep k =", layout=W.Layout(width="480px"), continuous_update=True
        )
        unit = W.HTML("coefficients of each block, in zigzag order")
        self.picture, self.waves = FramedStage(pointing=True), FramedStage(pointing=True)
        self.original, self.partial, self.numbers = FramedStage(zoom=16), FramedStage(zoom=16), W.HTML()
        self.original.description = "the chosen block, enlarged"
        self.waves.description = "the 64 basis functions in the strength that the block needs"
        blocks = _row(_titled("the block", self.original), _titled("its first k waves", self.partial))
        left = W.VBox([_titled("the photograph from k waves a block: click one", self.picture), blocks, self.numbers])
        right = _titled("its 64 coefficients: click one to keep all up to it", self.waves)
        super().__init__([self.photos, W.HBox([self.keep, unit]), _row(left, right)])
        self.photos.observe(lambda _: self._transform(), "image")
        self.keep.observe(lambda _: self._reconstruct(), "value")
        self.picture.observe(lambda _: self._choose_block(), "pointer")
        self.waves.observe(lambda _: self._choose_wave(), "pointer")
        self._transform()

    def _transform(self) -> None:
        """Transform the photograph, once, and choose the block in its middle."""
        self.luma = encoder.colour_planes(self.photos.image)[0]
        self.coefficients = dct2(encoder.level_shifted_blocks(self.luma))
        rows, columns = self.coefficients.shape[:2]
        self.block = rows // 3, columns // 2
        self._reconstruct()

    def _choose_block(self) -> None:
        column, row = self.picture.pointer
        self.block = int(row) // 8, int(column) // 8
        self._show_block()

    def _choose_wave(self) -> None:
        self.keep.value = int(RANK[_cell_at(self.waves.pointer)]) + 1

    def _reconstruct(self) -> None:
        """Sum the first k waves of every block."""
        self.kept = self.keep.value > RANK  # (8, 8)
        plane = images.from_blocks(idct2(self.coefficients * self.kept) + 128)
        self.reconstruction = images.to_uint8(images.crop(plane, *self.luma.shape))
        self.picture.description = f"the photograph from {self.keep.value} of 64 coefficients a block"
        self.picture.show(self.reconstruction)
        self._show_block()

    def _show_block(self) -> None:
        row, column = self.block
        coefficients = self.coefficients[row, column]
        self.picture.frame((8 * column, 8 * row, 8, 8))
        self.original.show(images.to_uint8(idct2(coefficients) + 128))
        self.partial.show(images.to_uint8(idct2(coefficients * self.kept) + 128))
        self.waves.show(self._draw_waves(coefficients))
        self.numbers.value = _table(self._rows())

    def _draw_waves(self, coefficients: np.ndarray) -> np.ndarray:
        strength = np.sign(coefficients) * np.log2(1 + np.abs(coefficients)) / 10  # a coefficient has at most 1024
        tiles = _BASIS / np.abs(_BASIS).max(axis=(2, 3), keepdims=True) * strength[:, :, None, None]
        tiles = 128 + 127 * np.where(self.kept[:, :, None, None], tiles, 0.25 * tiles)
        tiles += 80 * ~self.kept[:, :, None, None]
        cells = np.full((8, 8, CELL, CELL), 255, dtype=np.uint8)
        cells[:, :, 1:33, 8:40] = np.repeat(np.repeat(images.to_uint8(tiles), 4, axis=2), 4, axis=3)
        labels = [
            f"{value:.0f}".replace("-0", "0") if abs(value) < 1 else f"{value:.0f}" for value in coefficients.flat
        ]
        return _grid(np.repeat(cells[..., None], 3, axis=-1), labels, 0.83)

    def _rows(self) -> list[tuple[str, str]]:
        row, column = self.block
        energy = self.coefficients[row, column] ** 2
        share = 1 if energy[0, 0] == energy.sum() else energy[self.kept][1:].sum() / (energy.sum() - energy[0, 0])
        inside = slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8)
        return [
            ("block", f"row {row}, column {column}"),
            ("kept", f"{self.keep.value} of 64 coefficients, {share:.1%} of the AC energy"),
            ("PSNR of the block", f"{metrics.psnr(self.luma[inside], self.reconstruction[inside]):.2f} dB"),
            ("PSNR of the photograph", f"{metrics.psnr(self.luma, self.reconstruction):.2f} dB (luma)"),
        ]

    def still(self) -> bytes:
        """Return a PNG file of the widget."""
        k = f"{self.keep.value} waves"
        blocks = [("the block", self.original), (f"its first {k}", self.partial), ("", _lines(self._rows()))]
        return compose(
            [
                [(f"the photograph from {k} a block", self.picture)],
                [("the block's 64 coefficients", self.waves)],
                blocks,
            ]
        )


# --- 2. the quantisation table ----------------------------------------------------------------

_FREQUENCY = np.add.outer(np.arange(8), np.arange(8))  # u + v: 0 for DC, 14 in the last corner
CROP = 48  # pixels a side, shown four times as large


class QuantisationExplorer(LessonWidget):
    """Change the quantisation tables; see what the photograph looks like, and what the real file costs.

    Every change quantises anew, and writes a complete JPEG file with optimal Huffman tables. The picture shown is what
    this file decodes to.

    Attributes:
        photos: the :class:`PhotoChooser`.
        quality: scales the tables as libjpeg does, 1 to 100.
        kind: which tables are scaled: "standard", "flat" (all steps 16) or "slope" (16 + slope · (u + v)).
        slope: of the third kind, in grey levels per frequency.
        component: which of the two tables is shown and edited: "luma" or "chroma".
        step: the step of the chosen coefficient; ``reset`` takes such changes back.
        table, nonzero: the grids of steps, and of how many blocks have a coefficient that is not 0.
        picture, original, crop: the decoded photograph, and the two enlarged crops.
        numbers: bytes, rate and PSNR, as HTML.
        steps: the two tables in use, int64 [8, 8] each, luma and chroma.
        data, decoded: the file, and its picture.
    """

    def __init__(self, photo: str | np.ndarray | None = None):
        self.photos = PhotoChooser(photo)
        wide = W.Layout(width="400px")
        self.quality = W.IntSlider(value=25, min=1, max=100, description="quality", layout=wide)
        self.kind = W.ToggleButtons(options=["standard", "flat", "slope"], description="table")
        self.kind.style.button_width = "80px"
        self.slope = W.IntSlider(value=8, min=0, max=24, description="slope", layout=wide, disabled=True)
        self.component = W.ToggleButtons(options=["luma", "chroma"], description="shown")
        self.component.style.button_width = "80px"
        self.step = W.BoundedIntText(
            min=1, max=255, style={"description_width": "initial"}, layout=W.Layout(width="190px")
        )
        self.reset = W.Button(description="undo changes", layout=W.Layout(width="120px"))
        self.table, self.nonzero = FramedStage(pointing=True), FramedStage()
        self.nonzero.description = "share of blocks in which each coefficient is not zero"
        self.picture, self.numbers = FramedStage(pointing=True), W.HTML()
        self.original, self.crop = FramedStage(zoom=4), FramedStage(zoom=4)
        self.original.description = "enlarged crop of the original photograph"
        self.crop.description = "enlarged crop of the decoded photograph"
        self._cell, self._changes = (0, 1), {}
        super().__init__([self.photos, *self._controls(), self._stages()])
        self.photos.observe(lambda _: self._transform(), "image")
        for control in (self.quality, self.kind, self.slope):
            control.observe(lambda _: self._quantise(), "value")
        self.component.observe(lambda _: self._show_tables(), "value")
        self.table.observe(lambda _: self._choose_cell(), "pointer")
        self.step.observe(self._set_step, "value")
        self.reset.on_click(lambda _: self._forget_changes())
        self.picture.observe(lambda _: self._show_crop(), "pointer")
        self._transform()

    def _controls(self) -> list[W.Widget]:
        slope = W.HBox([self.slope, W.HTML("grey levels per frequency, for the table “slope”")])
        return [
            W.HBox([self.quality, W.HTML("1 to 100, scales the table")]),
            _row(self.kind, self.component),
            slope,
        ]

    def _stages(self) -> W.Widget:
        edit = W.HBox([self.step, W.HTML("<span style='white-space:nowrap'>grey levels</span>")])
        title = "quantisation steps: click one to change it"
        left = W.VBox([_titled(title, self.table), edit, self.reset, self.numbers])
        crops = _row(_titled("original", self.original), _titled("decoded", self.crop))
        middle = W.VBox([_titled("decoded: click to move the crops", self.picture), crops])
        return _row(left, middle, _titled("blocks in which it is not 0, in %", self.nonzero))

    def _transform(self) -> None:
        """Take the photograph to coefficients, once: what follows only divides and rounds."""
        luma, *chroma = encoder.colour_planes(self.photos.image)
        planes = [luma, *(encoder.subsample(plane, 2, 2) for plane in chroma)]
        self.coefficients = [dct2(encoder.level_shifted_blocks(plane)) for plane in planes]
        self._quantise()

    def _base_tables(self) -> list[np.ndarray]:
        if self.kind.value == "standard":
            return [STANDARD_LUMA, STANDARD_CHROMA]
        slope = self.slope.value if self.kind.value == "slope" else 0
        return [16 + slope * _FREQUENCY] * 2

    def _quantise(self) -> None:
        """Make the tables and the file, decode it, and show everything."""
        self.slope.disabled = self.kind.value != "slope"
        self.steps = [scale_table(table, self.quality.value) for table in self._base_tables()]
        for (component, row, column), step in self._changes.items():
            self.steps[component][row, column] = step
        picture = self.photos.image
        tables = [self.steps[0], self.steps[1], self.steps[1]]
        self.components = [
            Component(i + 1, 1 + (i == 0), 1 + (i == 0), table, encoder.quantise(coefficients, table))
            for i, (coefficients, table) in enumerate(zip(self.coefficients, tables, strict=True))
        ]
        coefficients = Coefficients("baseline", *picture.shape[:2], "YCbCr", tuple(self.components))
        self.data = encoder.write_coefficients(coefficients)
        self.decoded = decoder.to_image(coefficients)  # as from the file, which loses nothing, but sooner
        self.picture.description = f"the photograph, decoded from {len(self.data)} bytes"
        self.picture.show(self.decoded)
        self._show_crop()
        self._show_tables()
        self.numbers.value = _table(self._rows())

    def _show_tables(self) -> None:
        component = int(self.component.value == "chroma")
        steps = self.steps[component]
        blocks = np.concatenate(
            [c.coefficients.reshape(-1, 8, 8) for c in self.components[component : 1 + 2 * component]]
        )
        share = np.mean(blocks != 0, axis=0)  # (8, 8)
        self.table.description = f"quantisation steps of {self.component.value}"
        self.table.show(_shaded_grid(np.log2(steps) / 8, [str(step) for step in steps.flat]))
        self.nonzero.show(_shaded_grid(share, [f"{100 * x:.0f}" if x >= 0.01 else "·" for x in share.flat]))
        self._show_cell()

    def _choose_cell(self) -> None:
        self._cell = _cell_at(self.table.pointer)
        self._show_cell()

    def _show_cell(self) -> None:
        row, column = self._cell
        step = int(self.steps[int(self.component.value == "chroma")][row, column])
        self.table.frame((CELL * column, CELL * row, CELL - 2, CELL - 2))
        self.step.description = f"step of v = {row}, u = {column}"
        self.step.value = step

    def _set_step(self, change) -> None:
        component = int(self.component.value == "chroma")
        if change.new != self.steps[component][self._cell]:  # the student, not _show_cell, has changed it
            self._changes[component, *self._cell] = change.new
            self._quantise()

    def _forget_changes(self) -> None:
        self._changes.clear()
        self._quantise()

    def _show_crop(self) -> None:
        column, row = self.picture.pointer
        at = (int(row), int(column)) if (column, row) != (0, 0) else None
        top, left, height, width = plots.crop_box(self.decoded, CROP, at)
        inside = slice(top, top + height), slice(left, left + width)
        self.original.show(self.photos.image[inside])
        self.crop.show(self.decoded[inside])
        self.picture.frame((left, top, width, height))

    def _rows(self) -> list[tuple[str, str]]:
        image = self.photos.image
        zeros = np.mean(np.concatenate([c.coefficients.ravel() for c in self.components]) == 0)
        return [
            ("file", f"{len(self.data):,} bytes"),
            ("rate", f"{metrics.bits_per_pixel(self.data, image):.3f} bits per pixel"),
            ("PSNR", f"{metrics.psnr(image, self.decoded):.2f} dB"),
            ("zeros", f"{zeros:.1%} of all coefficients"),
        ]

    def still(self) -> bytes:
        """Return a PNG file of the widget."""
        title = f"steps of {self.component.value}: {self.kind.value}, quality {self.quality.value}"
        crops = [("original", self.original), ("decoded", self.crop)]
        return compose([[(title, self.table)], [("decoded", self.picture), ("", _lines(self._rows()))], crops])


# --- 3. a file that may be broken -----------------------------------------------------------------

SEGMENT_COLOURS = {
    "SOI": "#bbbbbb", "APP0": plots.PINK, "DQT": plots.SKY, "SOF0": plots.ORANGE, "DHT": plots.YELLOW,
    "DRI": plots.RED, "SOS": plots.GREEN, "scan data": "#ffffff", "EOI": "#bbbbbb",
    "restart marker": "#ff5555",
}  # fmt: skip
"""The tint of each kind of segment in a hex view; others are grey."""

BYTES_PER_ROW = 32
_HEX_SIZE, _ROW_HEIGHT, _BYTE_WIDTH, _MARGIN = 12, 17, 20, 44  # pixels


def annotate(data: bytes) -> list[tuple[str, str]]:
    """Say for each byte of a JPEG file in which segment it is, and what it means there.

    Raises:
        BitstreamError: not a JPEG file, or its segments do not fit together.
    """
    notes = []
    for segment in jpeg.read_segments(data):
        header = ["FF: a marker begins", "the marker"]
        header += ["length of the segment, high byte", "length of the segment, low byte"]
        fields = header[: segment.length - len(segment.payload)] + _payload_fields(segment)
        notes += [(segment.name, field) for field in fields]
    return notes


def _payload_fields(segment: Segment) -> list[str]:
    """Name each byte of a payload (T.81, B.2; the JFIF segment: T.871, clause 10.1)."""
    payload = segment.payload
    if segment.name == "DQT":
        fields = _quantisation_fields(payload)
    elif segment.name == "DHT":
        fields = _huffman_fields(payload)
    elif segment.name.startswith("SOF"):
        fields = ["bits per sample", *_two("height"), *_two("width"), "number of components"]
        fields += ["identifier of a component", "its sampling factors H, V", "its quantisation table"] * 4
    elif segment.name == "SOS":
        fields = ["number of components", *["identifier of a component", "its Huffman tables, DC and AC"] * payload[0]]
        fields += ["first coefficient", "last coefficient", "successive approximation (not in baseline files)"]
    elif segment.name == "APP0":
        fields = ["the letters JFIF and a zero"] * 5 + ["version, whole", "version, hundredths", "unit of density"]
        fields += [*_two("horizontal density"), *_two("vertical density"), "width of thumbnail", "height of thumbnail"]
    elif segment.name == "DRI":
        fields = _two("restart interval in MCUs")
    elif segment.name == "scan data":
        fields = _scan_fields(payload)
    else:
        fields = []
    return (fields + ["content"] * len(payload))[: len(payload)]


def _two(name: str) -> list[str]:
    return [f"{name}, high byte", f"{name}, low byte"]


def _quantisation_fields(payload: bytes) -> list[str]:
    fields: list[str] = []
    while len(fields) < len(payload):
        size = 1 + (payload[len(fields)] >> 4)  # bytes of a step
        fields.append("precision of the steps, and number of the table")
        for k in range(64):
            v, u = divmod(int(ZIGZAG[k]), 8)
            fields += [f"step of coefficient {k} in zigzag order (v = {v}, u = {u})"] * size
    return fields


def _huffman_fields(payload: bytes) -> list[str]:
    fields: list[str] = []
    while len(fields) < len(payload):
        start = len(fields)
        fields.append("class (0 DC, 1 AC) and number of the table")
        fields += [f"number of codes of {length} bits" for length in range(1, 17)]
        fields += [f"symbol of code {i}, from the shortest" for i in range(sum(payload[start + 1 : start + 17]))]
    return fields


def _scan_fields(payload: bytes) -> list[str]:
    fields = ["coded bits"] * len(payload)
    for i, (first, second) in enumerate(zip(payload[:-1], payload[1:], strict=True)):
        if first == 0xFF and second == 0:
            fields[i + 1] = "stuffed zero: says that the FF before it is no marker"
        elif first == 0xFF:
            fields[i : i + 2] = ["FF: a restart marker begins", f"the restart marker RST{second - 0xD0}"]
    return fields


def mcu_of_scan_bytes(coefficients: Coefficients, scan: Segment, restart_interval: int = 0) -> list[int | None]:
    """Say for each byte of scan data in which MCU its first bit is; None for restart markers.

    Args:
        coefficients: what was written with optimal Huffman tables as ``scan``.
        scan: the segment "scan data".
        restart_interval: with which it was written, in MCUs; 0 for none.
    """
    symbols = encoder.run_length_symbols(*encoder.interleave(coefficients.components, restart_interval))
    _, lengths = encoder.huffman_code(symbols, encoder.optimal_tables(symbols))
    bits_of_mcu = np.bincount(symbols.mcus, weights=lengths).astype(int)
    size, first, result = restart_interval or len(bits_of_mcu), 0, []
    for coded in restart_intervals(scan)[0]:
        ends = np.cumsum(bits_of_mcu[first : first + size])
        mcus = first + np.searchsorted(ends, 8 * np.arange(len(coded)), side="right")
        for byte, mcu in zip(coded, mcus.tolist(), strict=True):
            result += [mcu] * (2 if byte == 0xFF else 1)  # with its stuffed zero
        result += [None, None]  # the restart marker
        first += size
    return result[: len(scan.payload)]


def hex_view(data: bytes, count: int | None = None) -> Image.Image:
    """Draw the first ``count`` bytes of a JPEG file in hexadecimal, 32 a row, each segment on its own tint.

    Raises:
        BitstreamError: as :func:`annotate`.
    """
    return _draw_bytes(data[:count], annotate(data)).quantize(64)  # a notebook stores it


def _draw_bytes(data: bytes, notes: Sequence[tuple[str, str]], changed: Sequence[int] = ()) -> Image.Image:
    """Draw the bytes; ``notes`` are those of :func:`annotate`, ``changed`` the offsets of bytes to be marked."""
    kinds = ["restart marker" if "restart marker" in field else name for name, field in notes[: len(data)]]
    tints = {kind: _tint(kind) for kind in kinds}
    rows = -(-len(data) // BYTES_PER_ROW)
    paper = np.full((rows * BYTES_PER_ROW, 1, 1, 3), 255.0)
    paper[: len(data), 0, 0] = [tints[kind] for kind in kinds]
    ink = np.zeros((len(paper), _ROW_HEIGHT, _BYTE_WIDTH, 1))
    ink[: len(data), ..., 0] = _hex_glyphs()[list(data)]
    cells = paper * (1 - ink)  # (bytes, row height, byte width, 3)
    cells[list(changed)] = 255 * ink[list(changed)]
    cells[: len(data), -1] = 255  # a line between the rows
    lines = cells.reshape(rows, BYTES_PER_ROW, _ROW_HEIGHT, _BYTE_WIDTH, 3).swapaxes(1, 2)
    size = _MARGIN + BYTES_PER_ROW * _BYTE_WIDTH, (rows + 1) * _ROW_HEIGHT + 6  # the legend is the last line
    picture = Image.new("RGB", size, "white")
    picture.paste(Image.fromarray(lines.reshape(rows * _ROW_HEIGHT, -1, 3).astype(np.uint8)), (_MARGIN, 0))
    draw, font = ImageDraw.Draw(picture), _font(_HEX_SIZE, "DejaVu Sans Mono")
    for row in range(rows):
        draw.text((2, row * _ROW_HEIGHT + 1), f"{row * BYTES_PER_ROW:04x}", fill="#888888", font=font)
    x, y = _MARGIN, rows * _ROW_HEIGHT + 6
    for kind, tint in tints.items():
        width = draw.textlength(kind, font=font) + 10
        draw.rectangle((x, y, x + width, y + _ROW_HEIGHT - 2), fill=tint, outline="#cccccc")
        draw.text((x + 5, y + 1), kind, fill="black", font=font)
        x += width + 6
    return picture


@lru_cache
def _hex_glyphs() -> np.ndarray:
    """Draw all bytes from 00 to ff once: float [256, row height, byte width], 1 where the ink is."""
    strip = Image.new("L", (_BYTE_WIDTH, 256 * _ROW_HEIGHT))
    draw, font = ImageDraw.Draw(strip), _font(_HEX_SIZE, "DejaVu Sans Mono")
    for byte in range(256):
        draw.text((3, byte * _ROW_HEIGHT + 1), f"{byte:02x}", fill=255, font=font)
    return np.asarray(strip).reshape(256, _ROW_HEIGHT, _BYTE_WIDTH) / 255


def _tint(name: str) -> tuple[int, ...]:
    return tuple(round(255 * (0.55 * channel + 0.45)) for channel in to_rgb(SEGMENT_COLOURS.get(name, "#dddddd")))


def byte_box(offset: int) -> tuple[int, int, int, int]:
    """Return where a byte is drawn in a hex view: (left, top, width, height)."""
    row, column = divmod(offset, BYTES_PER_ROW)
    return _MARGIN + column * _BYTE_WIDTH, row * _ROW_HEIGHT, _BYTE_WIDTH, _ROW_HEIGHT


class ByteBreaker(LessonWidget):
    """Change a byte of a real JPEG file, or flip one of its bits, and see what two decoders make of it.

    Our decoder gives a picture only if all of it is there; libjpeg, like most viewers, shows what it can.

    Attributes:
        photos: the :class:`PhotoChooser`; the photograph is made small, so that you can see all of its file.
        restarts: whether the file has restart markers, one for each row of MCUs.
        hex: the bytes; click to choose one. Changed ones are black.
        offset: of the chosen byte; value: of this byte, in hexadecimal; bits: eight buttons that flip its bits.
        delete, undo, reset: the other buttons.
        meaning: the segment and the field to which the byte belongs, as HTML.
        ours, libjpeg: what the decoders show; says: their sentences, where they refuse.
        data: the file as it is now; original: as it was.
    """

    SIZE, QUALITY = 80, 30

    def __init__(self, photo: str | np.ndarray | None = None):
        self._decoders = open_codec("jpeg"), open_codec("libjpeg")
        small = fit(photo, self.SIZE) if isinstance(photo, np.ndarray) else photo
        self.photos = PhotoChooser(small, longest=self.SIZE)
        self.restarts = W.Checkbox(description="restart markers, one for each row of MCUs", indent=False)
        self.hex = FramedStage(pointing=True, description="the bytes of the file in hexadecimal")
        self.offset = W.BoundedIntText(description="byte", layout=W.Layout(width="170px"))
        self.value = W.Text(description="value (hex)", layout=W.Layout(width="150px"), continuous_update=False)
        self.bits = [W.Button(layout=W.Layout(width="34px")) for _ in range(8)]
        self.delete, self.undo, self.reset = (
            W.Button(description=text, layout=W.Layout(width="130px"))
            for text in ("delete the byte", "undo", "start again")
        )
        self.meaning = W.HTML()
        self.ours, self.libjpeg = FramedStage(zoom=3), FramedStage(zoom=3)
        self.says = W.HTML(), W.HTML()
        decoders = W.VBox(
            [_titled("our decoder", self.ours, self.says[0]), _titled("libjpeg", self.libjpeg, self.says[1])],
            layout=W.Layout(width="260px"),
        )
        window = W.Box([self.hex], layout=W.Layout(max_height="520px", overflow="auto", flex="none"))
        edit = W.HBox([self.offset, self.value, W.HTML("bits 7 … 0, click to flip:"), *self.bits])
        buttons = W.HBox([self.delete, self.undo, self.reset])
        super().__init__([self.photos, self.restarts, edit, buttons, self.meaning, _row(window, decoders)])
        self.photos.observe(lambda _: self._encode(), "image")
        self.restarts.observe(lambda _: self._encode(), "value")
        self.hex.observe(lambda _: self._choose_by_click(), "pointer")
        self.offset.observe(lambda _: self._choose(), "value")
        self.value.observe(self._type, "value")
        for place, button in enumerate(self.bits):
            button.on_click(lambda _, mask=128 >> place: self.change(self.data[self.offset.value] ^ mask))
        self.delete.on_click(lambda _: self.change(None))
        self.undo.on_click(lambda _: self._undo())
        self.reset.on_click(lambda _: self._start_again())
        self._encode()

    def _encode(self) -> None:
        """Write the file, and note what each of its bytes means."""
        image = self.photos.image
        self._columns = -(-image.shape[1] // 16)
        interval = self._columns if self.restarts.value else 0
        coefficients = encoder.to_coefficients(image, self.QUALITY)
        self.original = encoder.write_coefficients(coefficients, restart_interval=interval)
        scan = next(segment for segment in jpeg.read_segments(self.original) if segment.name == "scan data")
        in_scan = mcu_of_scan_bytes(coefficients, scan, interval)
        mcus = [None] * scan.offset + in_scan + [None] * 2
        # (segment, field), MCU and value of each byte while the file was whole; they move along when one is deleted
        self._intact = list(zip(annotate(self.original), mcus, self.original, strict=True))
        self._before = [codec.decode(self.original) for codec in self._decoders]
        self._start_again()

    def _start_again(self) -> None:
        self.data, self._notes, self._history = self.original, list(self._intact), []
        self.offset.value = min(self.offset.value, len(self.data) - 1)
        self._show()

    def change(self, value: int | None) -> None:
        """Give the chosen byte another value, or take it out of the file (None)."""
        at = self.offset.value
        self._history.append((self.data, list(self._notes)))
        self.data = self.data[:at] + (b"" if value is None else bytes([value])) + self.data[at + 1 :]
        if value is None:
            del self._notes[at]
        self._show()

    def _undo(self) -> None:
        if self._history:
            self.data, self._notes = self._history.pop()
            self._show()

    def _type(self, change) -> None:
        try:
            value = int(change.new, 16)
            if not 0 <= value <= 255:
                raise ValueError
        except ValueError:
            self._choose()  # put the true value back
        else:
            if value != self.data[self.offset.value]:
                self.change(value)

    def _choose_by_click(self) -> None:
        x, y = self.hex.pointer
        column = min(max(int(x - _MARGIN) // _BYTE_WIDTH, 0), BYTES_PER_ROW - 1)
        self.offset.value = min(int(y) // _ROW_HEIGHT * BYTES_PER_ROW + column, len(self.data) - 1)

    def _show(self) -> None:
        """Draw the bytes, and let both decoders try."""
        changed = [i for i, (note, byte) in enumerate(zip(self._notes, self.data, strict=True)) if note[2] != byte]
        self.hex.show(np.asarray(_draw_bytes(self.data, [note[0] for note in self._notes], changed)))
        self.offset.max = len(self.data) - 1
        for i in range(2):
            self._decode(self._decoders[i], self._before[i], (self.ours, self.libjpeg)[i], self.says[i])
        self._choose()

    def _decode(self, codec: Codec, before: np.ndarray, stage: Stage, sentence: W.HTML) -> None:
        try:
            picture = codec.decode(self.data)
        except CodecError as error:
            stage.show(np.full_like(self.photos.image, 225))
            stage.description = "no picture"
            sentence.value = f"<div style='line-height:1.4; color:{plots.RED}'>{html.escape(str(error))}</div>"
        else:
            stage.show(fit(picture, self.SIZE))
            stage.description = "the decoded picture"
            state = "as before" if np.array_equal(picture, before) else "<b>another picture</b>"
            sentence.value = f"{picture.shape[1]} × {picture.shape[0]} pixels, {state}"

    def _choose(self) -> None:
        """Show the chosen byte: its place, its value, its meaning, and the MCU to which it belongs."""
        at = self.offset.value
        (segment, field), mcu, _ = self._notes[at]
        byte = self.data[at]
        self.hex.frame(byte_box(at))
        self.value.value = f"{byte:02x}"
        for place, button in enumerate(self.bits):
            button.description = str(byte >> (7 - place) & 1)
        self.meaning.value = f"<b>{segment}</b>: {html.escape(self._describe(field, mcu))}"
        for stage in (self.ours, self.libjpeg):
            stage.frame(*([] if mcu is None else [self._mcu_box(mcu)]))

    def _describe(self, field: str, mcu: int | None) -> str:
        return field if mcu is None else f"{field} of MCU {mcu}, the framed 16 × 16 pixels"

    def _mcu_box(self, mcu: int) -> tuple[int, int, int, int]:
        row, column = divmod(mcu, self._columns)
        height, width = self.photos.image.shape[:2]
        return 16 * column, 16 * row, min(16, width - 16 * column), min(16, height - 16 * row)

    def still(self) -> bytes:
        """Return a PNG file of the widget."""
        (segment, field), mcu, _ = self._notes[self.offset.value]
        chosen = f"byte {self.offset.value} is {self.value.value}.  {segment}: {self._describe(field, mcu)}"
        return compose([[(chosen, self.hex)], [("our decoder", self.ours), ("libjpeg", self.libjpeg)]])
