r"""The fast path: many values at once, coded by constriction; what the learned codecs use.

The stream is the one that :class:`~.rans.RansEncoder` makes from the same tables in the same order, word for word.
What is fast is the order: the values of one call are sorted by the table they are coded with, so that constriction
codes all values of a table in one call::

    values   3 -1  0  7  0        indexes  5 2 2 5 2
    coded   (table 2: -1 0 0) (escapes of table 2) (table 5: 3 7) (escapes of table 5)

The decoder knows the indexes (from the side information, or from what it has decoded before), so it knows the order
too. A context model decodes in several passes: each :meth:`FastDecoder.decode` is one pass, and its indexes may depend
on the values of the passes before.

Both classes can do the same with our own :mod:`.rans` instead (``ours=True``): slower, and the same bytes.

By hand, as in :mod:`.rans`, but with 24 bits of precision in place of 2, so that x = 21 has 22 more binary places::

    >>> table = Table(np.array([2, 1, 1]) << 22)
    >>> data = encode_values(np.array([0, 2, 1]), np.array([0, 0, 0]), [table])
    >>> int.from_bytes(data, "little") / 2**22
    21.0
    >>> decode_values(data, np.array([0, 0, 0]), [table]).tolist()
    [0, 2, 1]

What callers must respect: the same tables and indexes, pass by pass, on both sides; tables of 24 bits; an encoder
that knows the whole message before it makes the first byte. Data that end early decode to arbitrary values, so a
decoder asks :attr:`FastDecoder.ran_dry` between passes, and calls :meth:`FastDecoder.finish` after the last. A new file
format should have the end mark, which makes ``ran_dry`` certain; those of factorized, hyperprior and context have none.

State between two calls: that of :class:`.rans.RansStack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import constriction
import numpy as np

from ..errors import BitstreamError
from .rans import END_MARK, UNMARKED, RansDecoder, RansEncoder
from .tables import _BIT, _CLASS, ESCAPE_CLASSES, PRECISION, Table, check_whole_words, fold_escape, unfold_escape


@lru_cache(maxsize=4096)
def _constriction_model(table: Table) -> constriction.stream.model.Categorical:
    """The same table for constriction.

    With ``perfect=False`` it gives each of n symbols one unit and shares the other 2^24 - n in proportion to the
    numbers it gets. Ours are whole and sum to just that, so that nothing is rounded: the widths come out as they are.
    """
    if table.precision != PRECISION:
        raise ValueError(f"The fast path needs tables of {PRECISION} bits, not of {table.precision}.")
    return constriction.stream.model.Categorical((table.widths - 1).astype(np.float64), perfect=False)


def _by_table(indexes: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Return the order that sorts indexes (int [n]), equal ones in their own order, and (index, begin, end) of each."""
    small = indexes.astype(np.uint16) if indexes.max(initial=0) < 1 << 16 else indexes  # NumPy sorts these by digits
    order = np.argsort(small, kind="stable")
    in_order = small[order]
    begin = [0, *(np.flatnonzero(in_order[1:] != in_order[:-1]) + 1).tolist()][: len(indexes)]
    return order, list(zip(in_order[begin].tolist(), begin, [*begin[1:], len(indexes)], strict=False))


class FastEncoder:
    """Collects passes of values, and codes them last to first.

    Args:
        ours: whether our own rANS makes the stream, instead of constriction.
        end_mark: whether the stream has an end mark, see :mod:`.rans`.
    """

    def __init__(self, ours: bool = False, end_mark: bool = False):
        self._ours, self._end_mark = ours, end_mark
        self._groups: list[tuple[np.ndarray, Table]] = []

    def encode(self, values: np.ndarray, indexes: np.ndarray, tables: Sequence[Table]) -> None:
        """Add a pass.

        Args:
            values: integers [n].
            indexes: integers [n]: which of ``tables`` each value is coded with.
        """
        values, indexes = np.asarray(values, dtype=np.int64).ravel(), np.asarray(indexes).ravel()
        order, groups = _by_table(indexes)
        values = values[order]
        for index, begin, end in groups:
            table, part = tables[index], values[begin:end]
            symbols = table.symbols(part)
            self._groups.append((symbols, table))
            if table.escape:
                self._escapes(part[symbols == len(table) - 1], table)

    def _escapes(self, values: np.ndarray, table: Table) -> None:
        """Elias-gamma codes, plane by plane: all classes, then the highest bit of all numbers, then the next ..."""
        if not len(values):
            return
        numbers = fold_escape(values, table) + 1
        extra = np.frexp(numbers.astype(np.float64))[1] - 1  # bits after the leading one
        if extra.max() >= ESCAPE_CLASSES:
            raise ValueError("A value is too far outside its table to be coded.")
        self._groups.append((extra, _CLASS))
        for plane in reversed(range(int(extra.max()))):
            self._groups.append((numbers[extra > plane] >> plane & 1, _BIT))

    def finish(self) -> bytes:
        """Return the stream of all passes."""
        if self._ours:
            encoder = RansEncoder(self._end_mark)
            for symbols, table in self._groups:
                for symbol in symbols.tolist():
                    encoder.encode(symbol, table)
            return encoder.finish()
        coder = constriction.stream.stack.AnsCoder(np.array([END_MARK] if self._end_mark else [], dtype=np.uint32))
        for symbols, table in reversed(self._groups):
            coder.encode_reverse(symbols.astype(np.int32), _constriction_model(table))
        return coder.get_compressed().astype("<u4").tobytes()


class FastDecoder:
    """Decodes the passes of a :class:`FastEncoder`, first to last.

    Args:
        data: the stream.
        ours: whether our own rANS reads it, instead of constriction.
        end_mark: whether the encoder left one.

    Raises:
        BitstreamError: the data cannot be a stream.
    """

    def __init__(self, data: bytes, ours: bool = False, end_mark: bool = False):
        check_whole_words(data)
        words = np.frombuffer(data, dtype="<u4").astype(np.uint32)
        if len(words) and words[-1] == 0:
            raise BitstreamError("The entropy-coded data are damaged: their last word is zero.")
        self._ours = RansDecoder(data) if ours else None
        self._coder = constriction.stream.stack.AnsCoder(words)
        self._bottom = END_MARK if end_mark else 0
        self._from_nothing = 0  # values decoded when the number was 0

    def _number(self) -> tuple[int, int]:
        """How many words there are below the state, and the state."""
        return (len(self._ours.stack.words), self._ours.stack.state) if self._ours else self._coder.pos()

    @property
    def exhausted(self) -> bool:
        """Whether the number on the stack has come down to its bottom, where it is after the last symbol.

        If it is there before, data are missing, or only symbols remain that cost nothing, see :mod:`.rans`.
        """
        return self._number() == (0, self._bottom)

    @property
    def ran_dry(self) -> bool:
        """Whether values were decoded that the data do not hold: exactly, with an end mark; without, from many on."""
        return self._number() < (0, self._bottom) or self._from_nothing > UNMARKED

    def decode(self, indexes: np.ndarray, tables: Sequence[Table]) -> np.ndarray:
        """Decode a pass: int64 of the shape of ``indexes``."""
        indexes = np.asarray(indexes)
        if self._number() == (0, 0):
            self._from_nothing += indexes.size
        order, groups = _by_table(indexes.ravel())
        parts = []
        for index, begin, end in groups:  # there are tens of thousands in a picture, often of a single value
            table = tables[index]
            values = symbols = self._symbols(end - begin, table)
            if table.escape and table.last in symbols.tolist():  # for few symbols, faster than to compare in NumPy
                escaped = symbols == table.last
                values = symbols.astype(np.int64)
                values[escaped] = self._escapes(int(escaped.sum()), table) - table.first
            parts.append(values)
        in_order = np.concatenate([np.zeros(0, np.int64), *parts])
        firsts = np.array([tables[index].first for index, *_ in groups], dtype=np.int64)
        in_order += np.repeat(firsts, [end - begin for _, begin, end in groups])
        values = np.empty(indexes.size, dtype=np.int64)
        values[order] = in_order
        return values.reshape(indexes.shape)

    def _symbols(self, count: int, table: Table) -> np.ndarray:
        """int32 [count]."""
        if self._ours:
            return np.array([self._ours.decode(table) for _ in range(count)], dtype=np.int32)
        return self._coder.decode(_constriction_model(table), count)

    def _escapes(self, count: int, table: Table) -> np.ndarray:
        extra = self._symbols(count, _CLASS)
        numbers = np.ones(count, dtype=np.int64)
        for plane in reversed(range(int(extra.max()))):
            active = extra > plane
            numbers[active] = numbers[active] << 1 | self._symbols(int(active.sum()), _BIT)
        return unfold_escape(numbers - 1, table)

    def finish(self) -> None:
        """Check that nothing is left over.

        Raises:
            BitstreamError: the stream holds more than what was decoded: it or the model is not the right one.
        """
        if not self.exhausted:
            raise BitstreamError("The entropy-coded data are damaged: something is left over after the last symbol.")


def encode_values(values: np.ndarray, indexes: np.ndarray, tables: Sequence[Table], end_mark: bool = False) -> bytes:
    """Code integers, each with the table its index names, in one pass."""
    encoder = FastEncoder(end_mark=end_mark)
    encoder.encode(values, indexes, tables)
    return encoder.finish()


def decode_values(data: bytes, indexes: np.ndarray, tables: Sequence[Table], end_mark: bool = False) -> np.ndarray:
    """The inverse of :func:`encode_values`.

    Raises:
        BitstreamError: the data are damaged.
    """
    decoder = FastDecoder(data, end_mark=end_mark)
    values = decoder.decode(indexes, tables)
    decoder.finish()
    return values
