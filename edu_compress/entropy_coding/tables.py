r"""Models as integer tables: Gaussians, logistics, histograms, and any distribution function.

A table of n entries shares 2^precision units among them. Every entry has at least one, so that whatever happens can be
coded; the others get the rest in proportion. From a distribution function c at the n + 1 bin edges,

    start_i = floor(c_i · (2^precision − n)) + i,        width_i = start_{i+1} − start_i  ≥  1.

Latents have no upper limit, tables have: the last entry of a table with ``escape`` stands for all values outside its
range, and the value itself follows in an Elias-gamma code (:func:`encode_value`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from ..errors import BitstreamError
from . import portable

PRECISION = 24
"""Probabilities are multiples of 2^-24, the precision of constriction's Python interface."""


class Model(Protocol):
    """A probability model of the symbols 0 ... n - 1, as coders see it."""

    precision: int

    def interval(self, symbol: int) -> tuple[int, int]:
        """Return (start, width): the symbol owns the positions start ... start + width - 1 of 2^precision."""
        ...

    def symbol_at(self, position: int) -> int:
        """Return the symbol that owns a position; the inverse of :meth:`interval`."""
        ...


class Encoder(Protocol):
    """Turns symbols into bytes."""

    def encode(self, symbol: int, model: Model) -> None: ...

    def finish(self) -> bytes: ...


class Decoder(Protocol):
    """Turns bytes back into symbols, in the order in which they were encoded."""

    def decode(self, model: Model) -> int: ...

    @property
    def ran_dry(self) -> bool:
        """Whether symbols were decoded that the data do not hold, because they end too early."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """A fixed model: one integer width per symbol.

    Attributes:
        widths: int64 [n], each at least 1, with sum 2^precision; n >= 2.
        first: the value that symbol 0 stands for (symbol = value - first).
        escape: whether the last symbol stands for every value outside ``first ... first + n - 2``.
        precision: log2 of the sum.
    """

    widths: np.ndarray
    first: int = 0
    escape: bool = False
    precision: int = PRECISION

    def __post_init__(self):
        if len(self.widths) < 2 or self.widths.min() < 1 or self.widths.sum() != 1 << self.precision:
            raise ValueError(f"A table needs two or more widths of at least 1 that sum to 2^{self.precision}.")

    # --- how tables are made

    @classmethod
    def from_cdf(cls, edges: np.ndarray, first: int = 0, escape: bool = False, precision: int = PRECISION) -> Table:
        """Make a table from a distribution function at the n + 1 bin edges, rising from 0 to 1."""
        n = len(edges) - 1
        rising = np.maximum.accumulate(edges)  # far out in a tail, rounding errors may go down by 1e-17
        start = np.floor(rising * ((1 << precision) - n)).astype(np.int64) + np.arange(n + 1)
        return cls(np.diff(start), first, escape, precision)

    @classmethod
    def from_counts(
        cls, counts: Sequence[int] | np.ndarray, first: int = 0, escape: bool = False, precision: int = PRECISION
    ) -> Table:
        """Make a table from how often each symbol occurs (whole numbers; zero is allowed)."""
        counts = np.asarray(counts, dtype=np.int64)
        spare = (1 << precision) - len(counts)
        below = [0, *np.cumsum(counts).tolist()]
        total = max(below[-1], 1)
        start = [c * spare // total + i for i, c in enumerate(below)]  # Python's integers do not overflow
        start[-1] = 1 << precision  # as it is already, unless all counts are zero
        return cls(np.diff(start), first, escape, precision)

    @classmethod
    def from_distribution(
        cls, cdf: Callable[[np.ndarray], np.ndarray], lowest: int, highest: int, precision: int = PRECISION
    ) -> Table:
        """Make a table with escape for the values ``lowest ... highest`` of a rounded random variable.

        Args:
            cdf: its distribution function before rounding, in portable arithmetic; value v owns [v - 1/2, v + 1/2).
        """
        edges = cdf(np.arange(lowest, highest + 2) - 0.5)
        return cls.from_cdf(np.append(edges - edges[0], 1.0), lowest, escape=True, precision=precision)

    @classmethod
    def gaussian(cls, sigma: float, precision: int = PRECISION, mean: float = 0.0) -> Table:
        """A rounded Gaussian of a mean near 0: values within five standard deviations, the rest by escape."""
        reach = math.ceil(5 * sigma) + 1
        return cls.from_distribution(lambda x: portable.normal_cdf((x - mean) / sigma), -reach, reach, precision)

    @classmethod
    def logistic(cls, scale: float, precision: int = PRECISION) -> Table:
        """A rounded logistic variable of mean 0 (its standard deviation is 1.81 times ``scale``)."""
        reach = math.ceil(14 * scale) + 1
        return cls.from_distribution(lambda x: portable.sigmoid(x / scale), -reach, reach, precision)

    # --- how tables are used

    def __len__(self) -> int:
        return len(self.widths)

    @cached_property
    def last(self) -> int:
        """The last symbol: with ``escape``, that of the values out of range."""
        return len(self.widths) - 1

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 [n]: the sum of the widths before each symbol."""
        return np.cumsum(self.widths) - self.widths

    def interval(self, symbol: int) -> tuple[int, int]:
        return int(self.starts[symbol]), int(self.widths[symbol])

    def symbol_at(self, position: int) -> int:
        return int(np.searchsorted(self.starts, position, side="right")) - 1

    def symbols(self, values: np.ndarray) -> np.ndarray:
        """Return the symbol of each value; with ``escape``, the last one for values out of range.

        Raises:
            ValueError: a value out of range of a table without escape.
        """
        symbols = np.asarray(values, dtype=np.int64) - self.first
        outside = (symbols < 0) | (symbols >= len(self) - self.escape)
        if outside.any() and not self.escape:
            raise ValueError(f"The table covers {self.first} ... {self.first + len(self) - 1} and has no escape.")
        return np.where(outside, len(self) - 1, symbols)

    def bits(self, symbols: np.ndarray) -> np.ndarray:
        """The ideal code length of each symbol, -log2 p, in bits."""
        return self.precision - np.log2(self.widths[symbols])


def entropy(counts: np.ndarray) -> float:
    """Entropy, in bits per symbol, of a histogram: what the best fixed code of these symbols costs."""
    counts = np.asarray(counts, dtype=np.float64)
    p = counts[counts > 0] / counts.sum()
    return float((p * np.log2(1 / p)).sum())


# --- the Gaussians of the learned codecs ------------------------------------------------------

# 64 widths, log-spaced from 0.11 to 256 as in Ballé 2018 and its open implementations
LOG_SCALES = np.linspace(float(portable.log(0.11)), float(portable.log(256)), 64)
SCALES = portable.exp(LOG_SCALES)


@lru_cache(maxsize=1)
def gaussian_tables() -> list[Table]:
    """Return the rounded Gaussians of the 64 :data:`SCALES`."""
    return [Table.gaussian(float(sigma)) for sigma in SCALES]


FRACTIONS = 16
"""Means lie on multiples of 1/16."""


@lru_cache(maxsize=1)
def shifted_gaussian_tables() -> list[Table]:
    """Return the rounded Gaussians of the 64 :data:`SCALES` with means 0, 1/16 ... 8/16 each, see :func:`shifted`."""
    means = range(FRACTIONS // 2 + 1)
    return [Table.gaussian(float(sigma), mean=mean / FRACTIONS) for sigma in SCALES for mean in means]


def shifted(mean: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of the :func:`shifted_gaussian_tables` codes a value, and which number is coded in its place.

    Nine fractions are enough: with the whole part of the mean taken off, the value is coded about a mean of at most
    1/2; about a negative one, it is mirrored.

    Args:
        mean: in sixteenths, integers [...].
        scale: index of σ in :data:`SCALES`, integers [...].

    Returns:
        (whole, sign, table): the number is ``sign * (value - whole)``, and so ``value = sign * number + whole``.
    """
    whole = (mean + FRACTIONS // 2) // FRACTIONS
    fraction = mean - FRACTIONS * whole  # -8 ... 7
    sign = np.where(fraction < 0, -1, 1)
    return whole, sign, scale * (FRACTIONS // 2 + 1) + np.abs(fraction)


def nearest_scale(sigma: np.ndarray) -> np.ndarray:
    """Return, for each standard deviation, the index of the first of :data:`SCALES` that is not smaller."""
    return np.searchsorted(SCALES[:-1], np.asarray(sigma))


# --- values outside a table -------------------------------------------------------------------

ESCAPE_CLASSES = 32  # the largest escaped value has this many bits
_CLASS = Table(np.full(ESCAPE_CLASSES, (1 << PRECISION) // ESCAPE_CLASSES))
_BIT = Table(np.full(2, 1 << (PRECISION - 1)))


def fold_escape(values: np.ndarray, table: Table) -> np.ndarray:
    """Number the values outside a table 0, 1, 2 ...: alternately above and below its range."""
    last = table.first + len(table) - 2
    return np.where(values > last, 2 * (values - last - 1), 2 * (table.first - values) - 1)


def unfold_escape(numbers: np.ndarray, table: Table) -> np.ndarray:
    """The inverse of :func:`fold_escape`."""
    last = table.first + len(table) - 2
    return np.where(numbers % 2 == 0, last + 1 + numbers // 2, table.first - 1 - numbers // 2)


def encode_value(value: int, table: Table, encoder: Encoder) -> None:
    """Code a value with a table; one outside its range as the escape symbol, then in an Elias-gamma code.

    The gamma code of N = number + 1: how many bits follow the leading one (equally likely, 32 classes), then these.
    """
    symbol = int(table.symbols(value))
    encoder.encode(symbol, table)
    if table.escape and symbol == len(table) - 1:
        number = int(fold_escape(np.int64(value), table)) + 1
        extra = number.bit_length() - 1
        if extra >= ESCAPE_CLASSES:
            raise ValueError(f"The value {value} is too far outside its table to be coded.")
        encoder.encode(extra, _CLASS)
        for shift in reversed(range(extra)):
            encoder.encode(number >> shift & 1, _BIT)


def decode_value(table: Table, decoder: Decoder) -> int:
    """The inverse of :func:`encode_value`."""
    symbol = decoder.decode(table)
    if not (table.escape and symbol == len(table) - 1):
        return table.first + symbol
    number = 1
    for _ in range(decoder.decode(_CLASS)):
        number = number << 1 | decoder.decode(_BIT)
    return int(unfold_escape(np.int64(number - 1), table))


def check_whole_words(data: bytes) -> None:
    """Raise :class:`BitstreamError` unless ``data`` is a whole number of 32-bit words."""
    if len(data) % 4:
        raise BitstreamError("The entropy-coded data are damaged: their length is not a multiple of four bytes.")
