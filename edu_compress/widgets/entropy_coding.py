"""The widgets of lesson 02: an interval that narrows, a Huffman tree that grows, and a model that the student draws."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plots
from ..codecs.jpeg import encoder
from ..dct import dct2
from ..entropy_coding import (
    RangeEncoder,
    Table,
    encode_values,
    entropy,
    huffman_lengths,
    merge_steps,
    narrowing_steps,
    portable,
)
from ._core import LessonWidget, PhotoChooser, PlotFrame, Stage

PALETTE = ("#A9CCE3", "#F5CBA7", "#A9DFBF", "#D7BDE2", "#F9E79F", "#D5D8DC", "#F5B7B1", "#AED6F1")
"""Light grounds for symbols, readable under black text."""


class Drawing:
    """Boxes, lines and labels, kept as a list so that the page (SVG) and the still picture (matplotlib) show the same.

    Coordinates are pixels, y downwards, in a picture of ``width`` x ``height``.
    """

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self._shapes: list[tuple] = []

    def polygon(self, points: Sequence[tuple[float, float]], fill: str, edge: str = "none") -> None:
        self._shapes.append(("polygon", points, fill, edge))

    def box(self, x: float, y: float, width: float, height: float, fill: str, edge: str = "white") -> None:
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], fill, edge)

    def line(self, x1: float, y1: float, x2: float, y2: float, color: str = "#555555") -> None:
        self._shapes.append(("line", (x1, y1, x2, y2), color))

    def text(
        self, x: float, y: float, label: str, size: int = 13, color: str = "black", anchor: str = "middle"
    ) -> None:
        """A label whose base line is at ``y``; ``anchor`` is "start", "middle" or "end"."""
        self._shapes.append(("text", x, y, label, size, color, anchor))

    def svg(self) -> str:
        return "".join(self._element(*shape) for shape in self._shapes)

    @staticmethod
    def _element(kind: str, *shape) -> str:
        if kind == "polygon":
            points, fill, edge = shape
            corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
            return f'<polygon points="{corners}" fill="{fill}" stroke="{edge}"/>'
        if kind == "line":
            (x1, y1, x2, y2), color = shape
            return (
                f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="1.5"/>'
            )
        x, y, label, size, color, anchor = shape
        font = f'font-size="{size}" font-family="sans-serif" fill="{color}" text-anchor="{anchor}"'
        return f'<text x="{x:.1f}" y="{y:.1f}" {font} style="user-select:none">{html.escape(label)}</text>'

    def figure(self) -> Figure:
        """The same as a matplotlib figure."""
        dpi = 80
        figure = plt.figure(figsize=(self.width / dpi, self.height / dpi), dpi=dpi, layout="none")
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, self.width), ylim=(self.height, 0))
        ax.set_axis_off()
        for order, (kind, *shape) in enumerate(self._shapes):
            if kind == "polygon":
                points, fill, edge = shape
                ax.fill(*zip(*points, strict=True), facecolor=fill, edgecolor=edge, linewidth=0.8, zorder=order)
            elif kind == "line":
                (x1, y1, x2, y2), color = shape
                ax.plot([x1, x2], [y1, y2], color=color, linewidth=1.2, zorder=order)
            else:
                x, y, label, size, color, anchor = shape
                side = {"start": "left", "middle": "center", "end": "right"}[anchor]
                ax.text(x, y, label, fontsize=0.9 * size, color=color, ha=side, va="baseline", zorder=order)
        return figure


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td>{name}&emsp;</td><td style='font-family:monospace'>{value}</td></tr>" for name, value in rows
    )
    return f"<table style='line-height:1.6; white-space:nowrap'>{cells}</table>"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=figure.dpi)
    plt.close(figure)
    return buffer.getvalue()


def _blank(stage: Stage, width: int, height: int) -> None:
    """Give a stage a white ground, on which only its overlay is drawn."""
    if (stage.width, stage.height) != (width, height):
        stage.show(np.full((height, width), 255, np.uint8))


# --- 1. the interval ------------------------------------------------------------------------------

_LONGEST = 60  # symbols of a message


class IntervalNarrowing(LessonWidget):
    """Type or click symbols; each one narrows the interval, and the picture zooms into what is left.

    Every row is the present interval, drawn at full width and shared among the symbols. The chosen part is what the
    next row shows. Arithmetic is exact (fractions); the bytes below are those of the real range coder.

    Args:
        counts: how often each symbol occurs, by its letter (one character each); the shares of the interval.
        message: what to begin with.

    Attributes:
        message: the text field; letters that are no symbols are left out.
        buttons: one button for each symbol; ``back`` and ``clear`` take symbols away.
        stage: the rows; a click on the last one adds the symbol under the pointer.
        numbers: the interval, its width in bits and the shortest number in it, as HTML.
        low, width: the interval, as fractions.
        data: the bytes of the range coder for this message.
    """

    LEFT, WIDTH, ROW, GAP, ROWS = 60, 700, 34, 40, 4

    def __init__(self, counts: Mapping[str, int] | None = None, message: str = "bacab"):
        counts = counts or {"a": 8, "b": 4, "c": 2, "d": 2}
        self.letters = list(counts)
        total = sum(counts.values())
        if total & (total - 1):  # no power of two: in 256 parts, as near as can be
            self.table = Table.from_counts(list(counts.values()), precision=8)
        else:
            self.table = Table(np.array(list(counts.values())), precision=total.bit_length() - 1)
        self._parts = 1 << self.table.precision
        self.message = W.Text(value=message, description="message")
        self.buttons = [W.Button(description=letter, layout=W.Layout(width="40px")) for letter in self.letters]
        self.back = W.Button(description="back", layout=W.Layout(width="60px"))
        self.clear = W.Button(description="clear", layout=W.Layout(width="60px"))
        self.stage, self.numbers = Stage(pointing=True, description="the interval after each symbol"), W.HTML()
        hint = W.HTML("type, press a symbol, or click on the last row")
        super().__init__([W.HBox([self.message, *self.buttons, self.back, self.clear]), hint, self.stage, self.numbers])
        self.message.observe(lambda _: self._narrow(), "value")
        self.stage.observe(lambda _: self._click(), "pointer")
        for button in self.buttons:
            button.on_click(lambda pressed: self._add(pressed.description))
        self.back.on_click(lambda _: setattr(self.message, "value", self._text()[:-1]))
        self.clear.on_click(lambda _: setattr(self.message, "value", ""))
        self._narrow()

    def _text(self) -> str:
        return "".join(letter for letter in self.message.value if letter in self.letters)[:_LONGEST]

    def _add(self, letter: str) -> None:
        self.message.value = self._text() + letter

    def _narrow(self) -> None:
        """Code the message anew: exactly, and with the range coder."""
        symbols = [self.letters.index(letter) for letter in self._text()]
        self.steps = [(Fraction(0), Fraction(1)), *narrowing_steps(symbols, self.table)]
        self.low, self.width = self.steps[-1]
        range_encoder = RangeEncoder()
        for symbol in symbols:
            range_encoder.encode(symbol, self.table)
        self.data = range_encoder.finish()
        drawing = self._draw()
        _blank(self.stage, drawing.width, drawing.height)
        self.stage.overlay = drawing.svg()
        self.numbers.value = _table([(name, html.escape(value)) for name, value in self._rows()])

    def _top(self, row: int) -> int:
        return 22 + row * (self.ROW + self.GAP)

    def _draw(self) -> Drawing:
        drawing = Drawing(self.LEFT + self.WIDTH + 20, self._top(self.ROWS))
        text, last = self._text(), len(self.steps) - 1
        first = max(0, last - self.ROWS + 1)
        for row, step in enumerate(range(first, last + 1)):
            self._draw_row(drawing, row, step, text[step] if step < last else "")
        return drawing

    def _draw_row(self, drawing: Drawing, row: int, step: int, chosen: str) -> None:
        """One interval, and the funnel from the chosen part of it to the next row."""
        top, bottom = self._top(row), self._top(row) + self.ROW
        low, width = self.steps[step]
        drawing.text(self.LEFT - 8, top + 22, self._text()[:step][-5:] or "start", 13, "#555555", "end")
        drawing.text(self.LEFT, top - 5, f"{float(low):.8g}", 11, "#555555", "start")
        drawing.text(self.LEFT + self.WIDTH, top - 5, f"{float(low + width):.8g}", 11, "#555555", "end")
        for symbol, letter in enumerate(self.letters):
            start, size = (value * self.WIDTH / self._parts for value in self.table.interval(symbol))
            color = plots.ORANGE if letter == chosen else PALETTE[symbol % len(PALETTE)]
            drawing.box(self.LEFT + start, top, size, self.ROW, color)
            if size > 12:
                drawing.text(self.LEFT + start + size / 2, top + 22, letter, 15)
            if letter == chosen:
                x, right = self.LEFT + start, self.LEFT + self.WIDTH
                below = bottom + self.GAP
                drawing.polygon([(x, bottom), (x + size, bottom), (right, below), (self.LEFT, below)], "#FDEBD0")

    def _click(self) -> None:
        """Add the symbol under the pointer, if that is on the last row."""
        x, y = self.stage.pointer
        row = min(len(self.steps), self.ROWS) - 1
        position = int((x - self.LEFT) / self.WIDTH * self._parts)
        if self._top(row) <= y < self._top(row) + self.ROW and 0 <= position < self._parts:
            self._add(self.letters[self.table.symbol_at(position)])

    def shortest(self) -> str:
        """The fewest binary digits after the point such that all numbers that begin with them lie in the interval."""
        digits = 0
        while True:
            number = -(-self.low * 2**digits // 1)  # rounded up
            if Fraction(number + 1, 2**digits) <= self.low + self.width:
                return format(number, f"0{digits}b") if digits else ""
            digits += 1

    def _rows(self) -> list[tuple[str, str]]:
        bits, number = -np.log2(float(self.width)), self.shortest()
        return [
            ("low, in binary", _binary(self.low)),
            ("high, in binary", _binary(self.low + self.width)),
            ("width", f"{float(self.width):.6g} = 2^-{bits:.2f}, so {bits:.2f} bits are the message's information"),
            ("shortest number", f"0.{number or '0'} ({len(number)} bits, whatever follows them)"),
            ("range coder", f"{self.data.hex(' ') or 'nothing'} ({len(self.data)} bytes)"),
        ]

    def still(self) -> bytes:
        """Return a PNG file of the rows and the numbers."""
        drawing = self._draw()
        height = drawing.height
        drawing.height += 24 * len(self._rows()) + 8
        for i, (name, value) in enumerate(self._rows()):
            drawing.text(20, height + 24 * i + 8, name, 13, "#555555", "start")
            drawing.text(160, height + 24 * i + 8, value, 13, "black", "start")
        return _png(drawing.figure())


def _binary(number: Fraction, digits: int = 32) -> str:
    """Return the first binary digits of a number from 0 to 1."""
    shown = format(int(number * 2**digits), f"0{digits + 1}b")
    return f"{shown[0]}.{shown[1:].rstrip('0') or '0'}{'…' if number * 2**digits % 1 else ''}"


# --- 2. the tree ----------------------------------------------------------------------------------

_MOST_LEAVES = 16


class HuffmanTree(LessonWidget):
    """Build Huffman's tree merge by merge, for the letters of a text or for counts of your own (``a=5 b=2 c=1``).

    Attributes:
        source: the text field.
        merges: the slider: how many of the n − 1 merges are done.
        stage: the tree; orange is the last merge.
        numbers: code of each symbol, mean length and entropy, as HTML.
        counts: how often each letter occurs.
        lengths: code lengths of the finished tree, in bits.
    """

    def __init__(self, source: str = "a=8 b=5 c=3 d=2 e=1"):
        self.source = W.Text(value=source, description="text, counts", layout=W.Layout(width="480px"))
        self.merges = W.IntSlider(value=0, min=0, max=1, description="merges", layout=W.Layout(width="480px"))
        self.stage, self.numbers, self.message = Stage(description="Huffman's tree"), W.HTML(), W.HTML()
        super().__init__([self.source, self.message, self.merges, self.stage, self.numbers])
        self.source.observe(lambda _: self._count(), "value")
        self.merges.observe(lambda _: self._show(), "value")
        self._count()

    def _count(self) -> None:
        """Read the text field and build the whole tree; the slider only chooses how much of it is shown."""
        counts = parse_counts(self.source.value)
        enough = 2 <= len(counts) <= _MOST_LEAVES
        warning = f"Give 2 to {_MOST_LEAVES} different symbols: a text, or counts such as a=5 b=2 c=1."
        self.message.value = "" if enough else f"<span style='color:{plots.RED}'>{warning}</span>"
        if not enough:
            return
        self.counts = counts
        self.letters, numbers = list(counts), list(counts.values())
        self.lengths = huffman_lengths(numbers)
        self._steps = list(merge_steps(numbers))
        self.merges.max = len(self._steps)
        if self.merges.value != self.merges.max:
            self.merges.value = self.merges.max  # shows it
        else:
            self._show()

    def _show(self) -> None:
        drawing = self._draw()
        _blank(self.stage, drawing.width, drawing.height)
        self.stage.overlay = drawing.svg()
        self.numbers.value = _table([(html.escape(name), html.escape(value)) for name, value in self._rows()])

    def codes(self) -> list[str]:
        """What is known of each symbol's code after the merges so far: its last bits."""
        return _branch_bits(len(self.letters), self._steps[: self.merges.value])

    def _draw(self) -> Drawing:
        """Leaves below, in the order of their final codes, so that no branches cross; each merge is one box above."""
        column, level, size = 52, 46, (44, 24)
        final = _branch_bits(len(self.letters), self._steps)
        order = sorted(range(len(self.letters)), key=final.__getitem__)
        deepest = int(self.lengths.max())
        drawing = Drawing(max(420, column * len(order) + 30), level * deepest + 110)
        bottom = drawing.height - 62
        place = {(symbol,): (15 + column * (i + 0.5), bottom) for i, symbol in enumerate(order)}
        total, boxes = sum(self.counts.values()), []
        for i, (rarest, next_rarest, count) in enumerate(self._steps[: self.merges.value]):
            ends = [place[group] for group in (next_rarest, rarest)]
            x, y = (ends[0][0] + ends[1][0]) / 2, min(end[1] for end in ends) - level
            place[tuple(sorted(rarest + next_rarest))] = x, y
            for bit, (end_x, end_y) in enumerate(ends):
                drawing.line(x, y, end_x, end_y - size[1] / 2)
                drawing.text(
                    (x + 2 * end_x) / 3 + (8 if end_x > x else -8), (y + 2 * end_y) / 3 - 8, str(bit), 13, plots.BLUE
                )
            last = i == self.merges.value - 1
            boxes.append((x, y, f"{count}", plots.ORANGE if last else PALETTE[5]))
        counts = list(self.counts.values())
        boxes += [(*place[symbol,], f"{counts[symbol]}", PALETTE[0]) for symbol in order]
        for x, y, label, color in boxes:
            drawing.box(x - size[0] / 2, y - size[1] / 2, *size, color)
            drawing.text(x, y + 5, label)
        for symbol, bits in enumerate(self.codes()):
            x = place[symbol,][0]
            drawing.text(x, bottom + 30, _visible(self.letters[symbol]), 15)
            drawing.text(x, bottom + 48, bits, 12, plots.BLUE)
        drawing.text(8, 18, f"counts, of {total} symbols; orange: the last merge", 12, "#555555", "start")
        return drawing

    def _rows(self) -> list[tuple[str, str]]:
        counts = np.array(list(self.counts.values()))
        total, h = counts.sum(), entropy(counts)
        paid = sum(count for _, _, count in self._steps[: self.merges.value])
        rows = [
            ("merges done", f"{self.merges.value} of {len(self._steps)}"),
            ("sum of the merged counts", f"{paid} bits: one more for each symbol of a merge"),
            ("that is", f"{paid / total:.3f} bits per symbol"),
            ("entropy", f"{h:.3f} bits per symbol"),
        ]
        if self.merges.value == len(self._steps):
            rows.append(("waste", f"{paid / total - h:.3f} bits per symbol"))
            rows.append(("Kraft's sum of 2^-length", f"{sum(0.5 ** int(n) for n in self.lengths):g}"))
        return rows

    def still(self) -> bytes:
        """Return a PNG file of the tree and the numbers."""
        drawing = self._draw()
        height = drawing.height
        drawing.width, drawing.height = max(drawing.width, 660), height + 22 * len(self._rows()) + 8
        for i, (name, value) in enumerate(self._rows()):
            drawing.text(20, height + 22 * i + 8, name, 13, "#555555", "start")
            drawing.text(220, height + 22 * i + 8, value, 13, "black", "start")
        return _png(drawing.figure())


def parse_counts(source: str) -> dict[str, int]:
    """Return how often each letter occurs: of ``a=5 b=2`` as given, of any other text by counting."""
    pairs = re.findall(r"(\S)\s*=\s*(\d{1,9})", source)
    if pairs and not re.sub(r"\S\s*=\s*\d{1,9}|[\s,;]", "", source):
        return {letter: int(count) for letter, count in pairs if int(count) > 0}
    return dict(sorted(Counter(source).items()))


def _branch_bits(n: int, steps: Sequence[tuple[tuple[int, ...], tuple[int, ...], float]]) -> list[str]:
    """Return the bits that these merges put into the code of each of n symbols: 0 for the more frequent branch."""
    codes = [""] * n
    for rarest, next_rarest, _ in steps:
        for bit, group in (("0", next_rarest), ("1", rarest)):
            for symbol in group:
                codes[symbol] = bit + codes[symbol]
    return codes


def _visible(letter: str) -> str:
    return "␣" if letter == " " else letter


# --- 3. the model that is drawn -------------------------------------------------------------------

_REACH = 7  # values -7 ... 7 have a bar each, all others one together
_VALUES = np.arange(-_REACH, _REACH + 1)
_FLOOR, _CEILING = 2.0**-16, 0.98  # how low and how high a bar can be dragged


def ac_coefficients(image: np.ndarray, step: float = 16) -> np.ndarray:
    """Return the luma DCT coefficients of a picture without DC, rounded to multiples of ``step``: int64 [n]."""
    blocks = dct2(encoder.level_shifted_blocks(encoder.colour_planes(image)[0]))  # (H/8, W/8, 8, 8)
    return np.rint(blocks.reshape(-1, 64)[:, 1:] / step).astype(np.int64).ravel()


def histogram(values: np.ndarray) -> np.ndarray:
    """Return how often each of -7 ... 7 occurs, and last how often anything else: int64 [16]."""
    inside = np.abs(values) <= _REACH
    return np.append(np.bincount(values[inside] + _REACH, minlength=len(_VALUES)), np.sum(~inside))


class HistogramModel(LessonWidget):
    """Draw a probability model over the histogram of a photograph's symbols; the price follows in real bytes.

    The symbols are the quantised DCT coefficients of the luma (step 16, without DC). Grey: how often each value really
    occurs. Blue: the model. Both on a logarithmic scale, on which a height is a code length. Drag a blue bar; the
    others give or take in proportion, so that the sum stays one. Every move codes the photograph's symbols anew (rANS).

    Attributes:
        photos: the :class:`PhotoChooser`.
        uniform, true, gaussian: buttons that set the model; ``true`` is the histogram itself.
        stage: the bars; drag them.
        numbers: cross-entropy, waste and bytes, as HTML.
        model: the probabilities of the 15 values and of "other", float64 [16], with sum 1.
        counts: the histogram; values: the symbols themselves.
        data: the coded symbols.
    """

    def __init__(self, photo: str | np.ndarray | None = None):
        self.photos = PhotoChooser(photo)
        self.uniform, self.true, self.gaussian = (
            W.Button(description=name) for name in ("uniform", "true histogram", "Gaussian fit")
        )
        self.stage, self.numbers = Stage(pointing=True), W.HTML()
        self.stage.description = "histogram of the symbols, and the model over it"
        hint = W.HTML("drag the blue bars; the model stays when you choose another photograph")
        buttons = W.HBox([self.uniform, self.true, self.gaussian, hint])
        super().__init__([self.photos, buttons, W.HBox([self.stage, self.numbers])])
        self.photos.observe(lambda _: self._measure(), "image")
        self.stage.observe(lambda _: self._drag(), "pointer")
        self.uniform.on_click(lambda _: self.set_model(np.ones(len(_VALUES) + 1)))
        self.true.on_click(lambda _: self.set_model(self.counts))
        self.gaussian.on_click(lambda _: self.set_model(self._gaussian()))
        self.model = np.full(len(_VALUES) + 1, 1 / (len(_VALUES) + 1))
        self._measure()

    def _measure(self) -> None:
        """Take the symbols of the photograph, once, and draw their histogram."""
        self.values = ac_coefficients(self.photos.image)
        self.counts = histogram(self.values)
        figure, ax = plt.subplots(figsize=(6.4, 4), dpi=90, layout="constrained")
        self._draw_histogram(ax)
        self._frame = PlotFrame(ax)
        self.stage.show(figure)
        self.set_model(self.model)

    def _draw_histogram(self, ax: Axes) -> None:
        ax.bar(np.arange(len(self.counts)), self.counts / self.counts.sum(), width=0.9, color="#BBBBBB")
        ax.set_yscale("log", base=2)
        ax.set(xlim=(-0.7, len(self.counts) - 0.3), ylim=(_FLOOR, 1.3), ylabel="probability")
        ax.set_xticks(range(len(self.counts)), [*(str(v) for v in _VALUES), "other"], fontsize=9)
        ax.set_xlabel("value of the symbol (quantised DCT coefficient)")
        bits = ax.secondary_yaxis("right", functions=(lambda p: p, lambda p: p))
        powers = range(0, 17, 2)
        bits.set_yticks([2.0**-k for k in powers], [str(k) for k in powers])
        bits.set_ylabel("code length −log2 p (bits)")
        ax.plot([], [], color="#BBBBBB", linewidth=6, label="how often it occurs")
        ax.plot([], [], color=plots.BLUE, linewidth=3, label="the model: drag it")
        ax.legend(loc="upper right")

    def _gaussian(self) -> np.ndarray:
        """The rounded Gaussian with the standard deviation of the symbols."""
        sigma = max(float(np.std(self.values)), 0.05)
        inside = np.diff(portable.normal_cdf((np.arange(-_REACH, _REACH + 2) - 0.5) / sigma))
        return np.append(inside, max(1 - inside.sum(), 0))

    def set_model(self, weights: np.ndarray) -> None:
        """Use these weights as the model (scaled to sum one), code the symbols with it, and show what they cost."""
        weights = np.asarray(weights, dtype=np.float64)
        self.model = np.maximum(weights / weights.sum(), _FLOOR / 2)
        self.model = self.model / self.model.sum()
        edges = np.append(np.minimum(np.cumsum(np.append(0, self.model[:-1])), 1), 1)
        self.table = Table.from_cdf(edges, first=-_REACH, escape=True)
        self.data = encode_values(self.values, np.zeros(len(self.values), np.int64), [self.table])
        frame = self._frame
        self.stage.overlay = "".join(
            frame.line([i - 0.45, i - 0.45, i + 0.45, i + 0.45], [_FLOOR, p, p, _FLOOR], plots.BLUE, 1)
            + frame.line([i - 0.45, i + 0.45], [p, p], plots.BLUE, 4)
            for i, p in enumerate(np.maximum(self.model, _FLOOR))
        )
        self.numbers.value = _table(self._rows())

    def _drag(self) -> None:
        """Put the bar under the pointer at its height; the other bars share the rest as before."""
        x, p = self._frame.data(*self.stage.pointer)
        i = round(x)
        if 0 <= i < len(self.model):
            p = min(max(p, _FLOOR), _CEILING)
            model = self.model * (1 - p) / (1 - self.model[i])
            model[i] = p
            self.set_model(model)

    def cross_entropy(self) -> float:
        """Bits per symbol, without the extra bits of values outside the bars."""
        return float(self.table.bits(np.arange(len(self.counts))) @ self.counts / self.counts.sum())

    def _rows(self) -> list[tuple[str, str]]:
        h, cross = entropy(self.counts), self.cross_entropy()
        return [
            ("symbols", f"{len(self.values):,}"),
            ("entropy H(p)", f"{h:.3f} bits per symbol"),
            ("cross-entropy H(p, q)", f"{cross:.3f} bits per symbol"),
            ("waste KL(p || q)", f"{max(cross - h, 0):.3f} bits per symbol"),
            ("N · H(p, q) / 8", f"{len(self.values) * cross / 8:,.0f} bytes"),
            ("real coded symbols", f"{len(self.data):,} bytes (“other” included)"),
        ]

    def still(self) -> bytes:
        """Return a PNG file of the bars and the numbers."""
        figure, (ax, side) = plt.subplots(1, 2, figsize=(10, 4), dpi=80, width_ratios=[1.8, 1], layout="constrained")
        self._draw_histogram(ax)
        shown = np.maximum(self.model, _FLOOR)
        ax.bar(np.arange(len(shown)), shown, width=0.9, facecolor="none", edgecolor=plots.BLUE)
        ax.hlines(shown, np.arange(len(shown)) - 0.45, np.arange(len(shown)) + 0.45, plots.BLUE, linewidth=3)
        side.text(0, 0.9, "\n".join(f"{name}:  {value}" for name, value in self._rows()), va="top", linespacing=1.8)
        side.set_axis_off()
        return _png(figure)
