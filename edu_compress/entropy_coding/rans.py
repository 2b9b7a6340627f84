r"""Asymmetric numeral systems (rANS): a message is one large number, and symbols are pushed on it like on a stack.

Writing a decimal digit d behind a number x makes it 10 x + d: that digit costs log2(10) bits, for all digits
alike. rANS makes digits of unequal cost. A symbol that owns ``size`` of 2^precision positions grows the number by only
2^precision / size, so it costs −log2 p::

    push:  x <- (x // size) · 2^precision + start + (x mod size)
    pop:   position = x mod 2^precision            -> symbol, start, size
           x <- size · (x // 2^precision) + position − start

Pop undoes push exactly, the last symbol first. A computer keeps 64 bits of x: before a push would overflow
them, the low 32 bits are moved to a list of words; after a pop has shrunk x below 2^32, a word is moved back.

The layout (64-bit state, 32-bit words, 24 bits of probability) is that of constriction's ``AnsCoder``, so that the two
produce the same words for the same tables: the fast coder holds no magic.

Reference: Duda, arXiv:1311.2540.
"""

from __future__ import annotations

import numpy as np

from .tables import Model, check_whole_words

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


class RansEncoder:
    """Collects symbols and pushes them last to first, so that the decoder pops them first to last."""

    def __init__(self):
        self._intervals: list[tuple[int, int, int]] = []

    def encode(self, symbol: int, model: Model) -> None:
        self._intervals.append((*model.interval(symbol), model.precision))  # now: an adaptive model will change

    def finish(self) -> bytes:
        stack = RansStack()
        for start, size, precision in reversed(self._intervals):
            stack.push(start, size, precision)
        return np.array(stack.all_words(), dtype="<u4").tobytes()


class RansDecoder:
    """Pops symbols, in the order in which they were encoded."""

    def __init__(self, data: bytes):
        check_whole_words(data)
        self.stack = RansStack(np.frombuffer(data, dtype="<u4").tolist())

    def decode(self, model: Model) -> int:
        return self.stack.pop(model)
