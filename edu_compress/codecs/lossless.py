r"""A small lossless picture codec: predict, model, code. The first complete file made with our own entropy coder.

What a pixel will be can be guessed from its neighbours; only the error of the guess is coded, and how large it is
likely to be can be guessed from the errors next to it. The decoder has seen the same neighbours, and guesses the same::

    image           planes Y, Co, Cg     prediction
    RGB --YCoCg-R--> x ------------------(-)--> residual ----------> rANS --> section "residuals"
    uint8                |                ^                           ^
                  causal |                |              logistic table number
               neighbours +--> 7 predictors, blended        |
                          |    by their past errors         |
                          +--> context: energy of the --> mean |residual| of this context so far
                               neighbours' residuals

Everything adapts, so nothing but residuals is sent. Everything is integers, so every computer decodes the same.

The order in which samples are coded makes it quick. A sample needs only its neighbours W, N, NE and others before
those, so all samples with the same t = column + 2 · row can be coded at once, with one NumPy operation for all::

          column 0   1   2   3   4   5
    row 0        0   1   2   3   4   5       NNE         the neighbours of x at time t:
    row 1        2   3   4   5   6   7       NW N  NE    W: t-1   NE: t-1   WW: t-2   N: t-2
    row 2        4   5   6   7   8   9    WW W  x        NW: t-3  NNE: t-3  NN: t-4

Plane k is three steps behind plane k - 1, whose residuals to the right of x and below are then known, too. There are
about width + 2 · height steps, and each takes memory and time for every row. So a picture higher than wide is coded on
its side: otherwise a file of 2 kB could claim a column of a million pixels, and take gigabytes and many minutes.

Files are about 26 % smaller than PNG and 3 % smaller than lossless WebP on the course's photographs
(``benchmarks/lossless.py``).

Invariants: ``decode(encode(image)) == image`` for every image; the encoder and the decoder run the same loop
(:func:`_walk`); a sample costs at least :data:`LEAST_BITS`, so that a short file cannot claim a huge picture.

References: Weinberger, Seroussi, Sapiro, IEEE Trans. Image Proc. 9 (2000) (JPEG-LS: contexts with running means);
Wu, Memon, IEEE Trans. Comm. 45 (1997) (CALIC: energy of the neighbours' errors); Seemann, Tischer, DCC 1997 (predictors
blended by their past errors); Malvar et al. 2008 (YCoCg-R).

Taught in lesson 02.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import images
from ..container import Container
from ..entropy_coding import FastDecoder, FastEncoder, Table, portable
from ..errors import BitstreamError, ImageError, SettingError
from ..registry import ContainerCodec

TABLES = [Table.logistic(float(s)) for s in portable.exp(np.linspace(-2.5, 4.0, 32))]
"""The models of the residuals: logistic distributions of scale 0.08 to 55."""

LEAST_BITS = 0.006
"""No sample costs less: the peak of the narrowest table has probability 0.9955, which is 0.0065 bits."""

MAX_SIDE = 65_535
"""The longest side, as in JPEG: a picture of one row is coded sample by sample, at about 0.1 ms a pixel."""

_LOWEST, _HIGHEST = np.array([[0], [-255], [-255]]), np.array([[255], [255], [255]])  # of Y, Co, Cg
_LAG = 3  # time steps between a plane and the next
_PREDICTORS = 7
_FORGET = 256  # a context halves its sums after so many samples, to follow the picture as it changes

# Neighbours of a sample: (time steps ago, rows above)
_W, _WW, _N, _NN, _NW, _NE, _NNE = (1, 0), (2, 0), (2, 1), (4, 2), (3, 1), (1, 1), (3, 2)
_ENERGY = ((_W, 2), (_N, 2), (_NW, 1), (_NE, 1), (_WW, 1), (_NN, 1))  # and their weights in a context's energy
# The same sample, the one to the right and the one below, in the plane coded before
_OTHER_PLANE = (((_LAG, 0), 2), ((_LAG - 1, 0), 1), ((_LAG - 2, -1), 1))


def _context_thresholds() -> np.ndarray:
    """Energies at which a new context begins: 1, 2 ... 8, 10, 12, 15, 18 ..., about three for each doubling."""
    thresholds = [1]
    while thresholds[-1] < 2000:
        thresholds.append(thresholds[-1] + max(1, thresholds[-1] // 4))
    return np.array(thresholds)


def _table_thresholds() -> np.ndarray:
    """Mean absolute residuals, in units of 2^-16, above which the next of :data:`TABLES` fits better."""
    magnitudes = [np.abs(np.arange(len(table) - 1) + table.first) for table in TABLES]
    means = [int(m @ table.widths[:-1]) >> 8 for m, table in zip(magnitudes, TABLES, strict=True)]
    return (np.array(means[1:]) + means[:-1]) // 2


_CONTEXTS = _context_thresholds()
_TABLES_BEGIN = _table_thresholds()


# --- the model ----------------------------------------------------------------------------------


class _History:
    """The last eight time steps of a quantity: [..., plane, row], with zeros above and below the picture."""

    def __init__(self, *shape: int):
        self._steps = np.zeros((8, *shape[:-1], 2 + shape[-1] + 1), dtype=np.int64)
        self._height = shape[-1]

    def at(self, t: int, neighbour: tuple[int, int] = (0, 0)) -> np.ndarray:
        """The values of one neighbour of the samples of time ``t``; a view."""
        ago, above = neighbour
        return self._steps[(t - ago) % 8][..., 2 - above : 2 - above + self._height]


class _Model:
    """What encoder and decoder both know about the samples coded so far. All arrays are [..., plane, row]."""

    def __init__(self, height: int):
        self.x = _History(3, height)  # samples
        self.magnitude = _History(3, height)  # of their residuals
        self.miss = _History(_PREDICTORS, 3, height)  # of each predictor, in units of 1/8
        self.count = np.full((3, len(_CONTEXTS) + 1), 4)  # samples seen in each context: as if it were four ...
        typical = np.append(1 << 13, (_CONTEXTS << 16) // 12)  # ... of this magnitude; an energy sums about 12
        self.sum = 4 * np.tile(typical, (3, 1))  # of their magnitudes, in units of 2^-16

    def guesses(self, t: int) -> np.ndarray:
        """The seven predictors' values of each sample of time t, in units of 1/8: [predictor, plane, row]."""
        W, N, NE, NW, NNE = (self.x.at(t, neighbour) for neighbour in (_W, _N, _NE, _NW, _NNE))
        # a neighbour itself; a plane laid through three of them; a mean
        return np.stack([W << 3, N << 3, NE << 3, W + N - NW << 3, W + NE - N << 3, N + NE - NNE << 3, W + N << 2])

    def blend(self, t: int, guesses: np.ndarray) -> np.ndarray:
        """The prediction: the mean of the guesses, weighted by how well each predictor did around here."""
        misses = sum(self.miss.at(t, neighbour) for neighbour, _ in _ENERGY)
        weights = (1 << 26) // (misses + 1) ** 2 + 1
        mean = (weights * guesses).sum(axis=0) // weights.sum(axis=0)
        return np.clip((mean + 4) >> 3, _LOWEST, _HIGHEST)

    def contexts(self, t: int) -> np.ndarray:
        """The context of each sample of time t, from the energy of the residuals around it."""
        energy = sum(weight * self.magnitude.at(t, neighbour) for neighbour, weight in _ENERGY)
        for neighbour, weight in _OTHER_PLANE:
            energy[1:] += weight * self.magnitude.at(t, neighbour)[:-1]
        return np.searchsorted(_CONTEXTS, energy, side="right")

    def tables(self, contexts: np.ndarray) -> np.ndarray:
        """The numbers of the :data:`TABLES` that fit the mean magnitude of each context so far."""
        of_context = np.searchsorted(_TABLES_BEGIN, self.sum // self.count)  # (3, contexts)
        return np.take_along_axis(of_context, contexts, axis=1)

    def learn(self, contexts: np.ndarray, magnitudes: np.ndarray, active: np.ndarray) -> None:
        """Add the coded samples to the sums of their contexts."""
        number = (contexts + np.arange(3)[:, None] * self.count.shape[1])[active]
        size = self.count.size
        self.count += np.bincount(number, minlength=size).reshape(3, -1)
        sums = np.bincount(number, weights=magnitudes[active], minlength=size)  # whole numbers: exact in float64
        self.sum += sums.astype(np.int64).reshape(3, -1) << 16
        full = self.count > _FORGET
        self.count[full] >>= 1
        self.sum[full] >>= 1


def _walk(height: int, width: int, code: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Go through all samples in coding order; encoder and decoder differ only in ``code``.

    Args:
        height, width: of the picture.
        code: codes the samples of one time step. It takes where they stand (indices into [3, H, W], flattened), their
            predictions and the numbers of their tables, and returns the samples.

    Raises:
        BitstreamError: a sample is out of range.
    """
    model = _Model(height)
    plane, row = np.arange(3)[:, None], np.arange(height)
    start = 2 * row + _LAG * plane  # the time of each row's first sample
    for t in range(int(start.max()) + width):
        column = t - start
        active = (column >= 0) & (column < width)
        where = ((plane * height + row) * width + column)[active]
        guesses, contexts = model.guesses(t), model.contexts(t)
        prediction = model.blend(t, guesses)
        x = prediction.copy()
        x[active] = code(where, prediction[active], model.tables(contexts)[active])
        if ((x < _LOWEST) | (x > _HIGHEST)).any():
            raise BitstreamError("The coded picture is damaged: a sample in it is out of range.")
        magnitude = np.abs(x - prediction)
        # beyond the left and right edge, repeat what a neighbour needs there: the pixel above, or on the left
        outside = np.where(column < 0, model.x.at(t, _NE), model.x.at(t, _W))
        model.x.at(t)[:] = np.where(active, x, outside)
        model.magnitude.at(t)[:] = magnitude
        model.miss.at(t)[:] = np.where(active, np.abs((x << 3) - guesses), 0)
        model.learn(contexts, magnitude, active)


# --- the codec ----------------------------------------------------------------------------------


class LosslessCodec(ContainerCodec):
    """Our lossless codec; there is nothing to set.

    Args:
        our_coder: whether our own rANS in Python codes the residuals, instead of constriction. The bytes are the same.
    """

    name = "lossless"
    settings = (0,)

    def __init__(self, our_coder: bool = False):
        self.our_coder = our_coder

    def encode(self, image: np.ndarray, setting: float = 0) -> bytes:
        """Compress ``image`` (uint8 [H, W, 3]) without loss into an ``.edc`` file.

        Raises:
            ImageError: not an image, or a side longer than :data:`MAX_SIDE`.
            SettingError: a setting other than 0.
        """
        if setting != 0:
            raise SettingError(f"The lossless codec has nothing to set; use 0 as its setting, not {setting!r}.")
        image = images.as_image(image)
        height, width, _ = image.shape
        if max(height, width) > MAX_SIDE:
            raise ImageError(
                f"The picture has {width} x {height} pixels; a side may have {MAX_SIDE:,}: cut it up first."
            )
        lying = image.swapaxes(0, 1) if height > width else image  # (rows, columns, 3), rows <= columns
        rows, columns, _ = lying.shape
        samples = np.moveaxis(images.rgb_to_ycocg_r(lying), -1, 0).ravel()  # of (3, rows, columns)
        encoder = FastEncoder(self.our_coder)

        def code(where: np.ndarray, prediction: np.ndarray, numbers: np.ndarray) -> np.ndarray:
            encoder.encode(samples[where] - prediction, numbers, TABLES)
            return samples[where]

        _walk(rows, columns, code)
        encoder.encode(*_END_MARK, TABLES)
        sections = {"residuals": encoder.finish()}
        return Container(self.name, height, width, sections=sections).pack()

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture (uint8 [H, W, 3]), exactly.

        Raises:
            BitstreamError: the file is damaged, or another codec's.
        """
        container = Container.unpack(data, self.name)
        height, width, stream = container.height, container.width, _only_section(container)
        _check_size(height, width, stream)  # before memory is taken for it
        decoder = FastDecoder(stream, self.our_coder)
        rows, columns = sorted((height, width))  # it was coded lying on its longer side
        samples = np.zeros(3 * rows * columns, dtype=np.int32)

        def code(where: np.ndarray, prediction: np.ndarray, numbers: np.ndarray) -> np.ndarray:
            if decoder.exhausted:
                raise BitstreamError("The coded picture is incomplete: its data end too early.")
            x = prediction + decoder.decode(numbers, TABLES)
            samples[where] = x
            return x

        _walk(rows, columns, code)
        if decoder.decode(_END_MARK[1], TABLES) != _END_MARK[0]:
            raise BitstreamError("The coded picture is damaged: the mark at its end is missing.")
        decoder.finish()
        planes = np.moveaxis(samples.reshape(3, rows, columns), 0, -1)  # (rows, columns, 3)
        lying = images.ycocg_r_to_rgb(planes)
        if not np.array_equal(images.rgb_to_ycocg_r(lying), planes):
            raise BitstreamError("The coded picture is damaged: it has colours that do not exist.")
        return np.ascontiguousarray(lying.swapaxes(0, 1)) if height > width else lying


# A last value, which is not the first of its table, so that the stream is not exhausted before it has been read
_END_MARK = np.array([0]), np.array([0])


def _only_section(container: Container) -> bytes:
    if list(container.sections) != ["residuals"] or container.weights or container.setting != 0:
        raise BitstreamError("The file is inconsistent: a lossless file has no weights, setting 0, and one section.")
    return container.sections["residuals"]


def _check_size(height: int, width: int, stream: bytes) -> None:
    """Refuse a size that cannot be.

    Raises:
        BitstreamError: no pixels, too many, a side too long, or more pixels than the data can hold.
    """
    if height < 1 or width < 1 or height * width > images.MAX_PIXELS:
        raise BitstreamError(f"The file claims {width} x {height} pixels; a picture has 1 to {images.MAX_PIXELS:,}.")
    if max(height, width) > MAX_SIDE:
        raise BitstreamError(f"The file claims {width} x {height} pixels; a side has at most {MAX_SIDE:,}.")
    if 3 * height * width * LEAST_BITS > 8 * len(stream):
        raise BitstreamError(
            f"The file claims {width} x {height} pixels, more than its {len(stream):,} bytes can hold."
        )
