r"""Arithmetic coding, as a range coder: a whole message is one number in an interval that narrows.

Begin with the interval [0, 1). Each symbol shrinks it to the part that the symbol's probability owns::

    low   <- low + width · start / 2^precision
    width <-       width · size  / 2^precision

Any number in the last interval tells the whole message, and about −log2(width) bits are enough to name one. A computer
keeps 64 bits of ``low`` and ``width`` and writes the top byte as soon as it is settled. It may still be changed by
a *carry*: adding to ``low`` can overflow into bytes already written, as in 0.1999 + 0.0001. The encoder then adds one
to the last byte, and to the one before if that overflows too.

The decoder keeps ``code``, the number minus low, in the same 64 bits, and looks which symbol's part it lies in.

By hand: symbols 0, 1, 2 of probability 1/2, 1/4, 1/4 own [0, 1/2), [1/2, 3/4) and [3/4, 1). The message 0 2 1 narrows
[0, 1) to [0, 1/2), of that the last quarter, [3/8, 1/2), and of that the third, [7/16, 15/32). All numbers that
begin with the byte 0x70 lie in there, since 0x70 / 256 = 7/16::

    >>> import numpy as np
    >>> from edu_compress.entropy_coding import Table
    >>> table = Table(np.array([2, 1, 1]), precision=2)
    >>> [f"{low} + {width}" for low, width in narrowing_steps([0, 2, 1], table)]
    ['0 + 1/2', '3/8 + 1/8', '7/16 + 1/32']
    >>> encoder = RangeEncoder()
    >>> for symbol in [0, 2, 1]:
    ...     encoder.encode(symbol, table)
    >>> encoder.finish().hex()
    '70'

State of the encoder between two symbols: 0 <= low < 2^64 and 2^56 <= width < 2^64; low + width may be above 2^64, which
is a carry to come. State of the decoder: 0 <= code < width, and low and width are those of the encoder.

References: Martin 1979; Witten, Neal, Cleary 1987; the 64-bit layout follows Subbotin (1999), with carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from ..errors import BitstreamError
from .tables import Model

_BITS = 64
_TOP = 1 << _BITS
_MASK = _TOP - 1
_SETTLED = 1 << (_BITS - 8)  # below this width the top byte is settled but for a carry


def narrowing_steps(symbols: Iterable[int], model: Model) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield (low, width) of the interval after each symbol, as exact fractions: arithmetic coding by hand."""
    low, width = Fraction(0), Fraction(1)
    for symbol in symbols:
        start, size = model.interval(symbol)
        low += width * Fraction(start, 1 << model.precision)
        width *= Fraction(size, 1 << model.precision)
        yield low, width


class RangeEncoder:
    """Writes symbols in the order in which they are read back."""

    def __init__(self):
        self._out = bytearray()
        self._low, self._width = 0, _MASK

    def encode(self, symbol: int, model: Model) -> None:
        start, size = model.interval(symbol)
        unit = self._width >> model.precision
        self._low += unit * start
        self._width = unit * size
        if self._low >= _TOP:
            self._carry()
        while self._width < _SETTLED:
            self._out.append(self._low >> (_BITS - 8))
            self._low = self._low << 8 & _MASK
            self._width <<= 8

    def _carry(self) -> None:
        """Add one to the bytes already written."""
        self._low -= _TOP
        position = len(self._out) - 1
        while self._out[position] == 255:
            self._out[position] = 0
            position -= 1
        self._out[position] += 1

    def finish(self) -> bytes:
        """Write the fewest bytes that name a number in the interval, whatever follows them; return the stream."""
        value, count = _closing_bytes(self._low, self._width)
        if value >= _TOP:
            self._low = value
            self._carry()
            value -= _TOP
        self._out += (value >> (_BITS - 8 * count)).to_bytes(count, "big")
        return bytes(self._out)


class RangeDecoder:
    """Reads symbols in the order in which they were written.

    Bytes after the stream are ignored. A stream that ends early is read as if zeros followed: the symbols are then
    arbitrary, and :attr:`ran_dry` says so.

    Raises:
        BitstreamError: in :meth:`decode`, data that no encoder makes.
    """

    def __init__(self, data: bytes):
        self._data = data
        self._position = 8  # of the next byte to read
        self._low, self._width = 0, _MASK
        self._code = int.from_bytes(data[:8].ljust(8, b"\0"), "big")

    def decode(self, model: Model) -> int:
        unit = self._width >> model.precision
        position = self._code // unit
        if position >> model.precision:
            raise BitstreamError("The range-coded data are damaged: they lie outside of every symbol's interval.")
        symbol = model.symbol_at(position)
        start, size = model.interval(symbol)
        self._code -= unit * start
        self._low = self._low + unit * start & _MASK
        self._width = unit * size
        while self._width < _SETTLED:
            byte = self._data[self._position] if self._position < len(self._data) else 0
            self._code = self._code << 8 | byte
            self._low = self._low << 8 & _MASK
            self._width <<= 8
            self._position += 1
        return symbol

    @property
    def ran_dry(self) -> bool:
        """Whether other bytes behind the end of the data would have made other symbols: then some were missing."""
        unknown = 8 * min(max(self._position - len(self._data), 0), 8)  # bits of ``code`` that no byte has told
        return self._code + (1 << unknown) > self._width

    def consumed(self) -> int:
        """Number of bytes that belong to the symbols read so far, had the encoder finished after them."""
        return self._position - 8 + _closing_bytes(self._low, self._width)[1]


def _closing_bytes(low: int, width: int) -> tuple[int, int]:
    """Return (value, count): the number in [low, low + width) that needs the fewest top bytes, count of them.

    All numbers that begin with these bytes lie in the interval, so anything may follow.
    """
    for count in range(_BITS // 8 + 1):
        unit = 1 << (_BITS - 8 * count)
        value = -(-low // unit) * unit  # the first multiple not below low
        if value + unit <= low + width:
            return value, count
    raise AssertionError("an interval of at least 2^56 contains a whole multiple of 2^48")
