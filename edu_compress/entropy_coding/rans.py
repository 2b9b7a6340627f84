r"""Asymmetric numeral systems (rANS): a message is one large number, and symbols are pushed on it like on a stack.

Writing a decimal digit d behind a number x makes it 10 x + d: that digit costs log2(10) bits, for all digits
alike. rANS makes digits of unequal cost. A symbol that owns ``size`` of 2^precision positions grows the number by only
2^precision / size, so it costs −log2 p::

    push:  x <- (x // size) · 2^precision + start + (x mod size)
    pop:   position = x mod 2^precision            -> symbol, start, size
           x <- size · (x // 2^precision) + position − start

Pop undoes push exactly, the last symbol first. A computer keeps 64 bits of x: before a push would overflow
them, the low 32 bits are moved to a list of words; after a pop has shrunk x below 2^32, a word is moved back.

By hand, with 2 bits of precision: symbols 0, 1, 2 of size 2, 1, 1 start at 0, 2, 3. The message 0 2 1 is pushed from
its end, on x = 0: symbol 1 makes it 0 · 4 + 2 + 0 = 2, symbol 2 makes it 2 · 4 + 3 + 0 = 11, and symbol 0, for which
11 = 5 · 2 + 1, makes it 5 · 4 + 0 + 1 = 21. To pop: 21 mod 4 = 1, a position of symbol 0, and x = 2 · 5 + 1 - 0 = 11,
and so on::

    >>> from edu_compress.entropy_coding import Table
    >>> table, stack = Table(np.array([2, 1, 1]), precision=2), RansStack()
    >>> for symbol in [1, 2, 0]:
    ...     stack.push(*table.interval(symbol), table.precision)
    ...     print(stack.state)
    2
    11
    21
    >>> [(stack.pop(table), stack.state) for _ in range(3)]
    [(0, 11), (2, 2), (1, 0)]

State between two symbols: 0 <= state < 2^64, and state >= 2^32 as long as there are words.

**Where does it end?** On a small number, likely symbols cost nothing: number 0 of a table on x = 0 leaves x = 0. So an
x of 0 need not mean that all symbols are popped; and if data are missing, 0 stays 0, and more symbols come out. With an
**end mark** the bottom of the stack is x = 2^24 - 1 instead. That is at least the size of any symbol, so that every
push makes it larger, and whoever pops a symbol too many finds less. It costs 3 bytes, which a stream of whole words
often has to spare.

The layout (64-bit state, 32-bit words, 24 bits of probability) is that of constriction's ``AnsCoder``, so that the two
produce the same words for the same tables: the fast coder holds no magic.

Reference: Duda, arXiv:1311.2540.
"""

from __future__ import annotations

import numpy as np

from .tables import PRECISION, Model, check_whole_words

_WORD = 32
_WORD_MASK = (1 << _WORD) - 1
_STATE = 64


class RansStack:
    """The number x, as a list of 32-bit words and a 64-bit state.

    Args:
        words: what already lies on the stack; symbols are pushed on top of it and it is there again after they
            are popped.
    """

    def __init__(self, words: list[int] | None = None):
        self.words = list(words or [])
        self.state = 0
        while self.words and self.state >> _WORD == 0:
            self._refill()

    def push(self, start: int, size: int, precision: int) -> None:
        if self.state >> (_STATE - precision) >= size:
            self.words.append(self.state & _WORD_MASK)
            self.state >>= _WORD
        self.state = self.state // size << precision | start + self.state % size

    def pop(self, model: Model) -> int:
        position = self.state & (1 << model.precision) - 1
        symbol = model.symbol_at(position)
        start, size = model.interval(symbol)
        self.state = size * (self.state >> model.precision) + position - start
        if self.state >> _WORD == 0 and self.words:
            self._refill()
        return symbol

    def _refill(self) -> None:
        self.state = self.state << _WORD | self.words.pop()

    def all_words(self) -> list[int]:
        """The whole number as words, the state's last (its most significant word on top)."""
        words, state = list(self.words), self.state
        while state:
            words.append(state & _WORD_MASK)
            state >>= _WORD
        return words


END_MARK = (1 << PRECISION) - 1
"""The number under a message with an end mark."""

UNMARKED = 64
"""So many symbols may come from nothing in a stream without end mark: there, no likely symbol has number 0."""


class RansEncoder:
    """Collects symbols and pushes them last to first, so that the decoder pops them first to last.

    Args:
        end_mark: whether the number begins as :data:`END_MARK`, for at most 3 bytes more.
    """

    def __init__(self, end_mark: bool = False):
        self.end_mark = end_mark
        self._intervals: list[tuple[int, int, int]] = []

    def encode(self, symbol: int, model: Model) -> None:
        self._intervals.append((*model.interval(symbol), model.precision))  # now: an adaptive model will change

    def finish(self) -> bytes:
        stack = RansStack([END_MARK] if self.end_mark else [])
        for start, size, precision in reversed(self._intervals):
            stack.push(start, size, precision)
        return np.array(stack.all_words(), dtype="<u4").tobytes()


class RansDecoder:
    """Pops symbols, in the order in which they were encoded.

    Args:
        data: the stream.
        end_mark: whether the encoder left one.
    """

    def __init__(self, data: bytes, end_mark: bool = False):
        check_whole_words(data)
        self.stack, self.end_mark = RansStack(np.frombuffer(data, dtype="<u4").tolist()), end_mark
        self._from_nothing = 0  # symbols popped when the number was 0

    def decode(self, model: Model) -> int:
        self._from_nothing += self.stack.state == 0
        return self.stack.pop(model)

    @property
    def ran_dry(self) -> bool:
        """Whether symbols were popped that were never pushed: exactly, with an end mark; without, from many on."""
        if self.end_mark:
            return not self.stack.words and self.stack.state < END_MARK
        return self._from_nothing > UNMARKED
