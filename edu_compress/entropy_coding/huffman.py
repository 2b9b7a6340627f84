r"""Huffman codes: the best code that gives each symbol a whole number of bits.

Merge the two rarest symbols into one, again and again; the merges form a tree, and the path from its root to
a symbol is the symbol's code. Only the lengths matter, so the codes are numbered in *canonical* order: by
length, then by symbol. The decoder needs nothing but the lengths.

A length of at least one bit is the weakness: a symbol of probability 0.99 is worth 0.014 bits and costs 1.

By hand: symbols 0, 1, 2 of probability 1/2, 1/4, 1/4 get the codes 0, 10, 11. The message 0 2 1 is 0 11 10, and with
three zeros 01110000, the byte 0x70::

    >>> table = Table(np.array([2, 1, 1]), precision=2)
    >>> [HuffmanCode.of_table(table).bits(symbol) for symbol in (0, 1, 2)]
    ['0', '10', '11']
    >>> encoder = HuffmanEncoder()
    >>> for symbol in [0, 2, 1]:
    ...     encoder.encode(symbol, table)
    >>> encoder.finish().hex()
    '70'
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from ..errors import BitstreamError
from .tables import Table


def merge_steps(counts: Sequence[float]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """Yield Huffman's merges in order: (symbols of the rarest group, of the next rarest, their common count).

    Symbols that never occur take no part.
    """
    heap = [(count, (symbol,)) for symbol, count in enumerate(counts) if count > 0]
    heapq.heapify(heap)
    while len(heap) > 1:
        count_a, a = heapq.heappop(heap)
        count_b, b = heapq.heappop(heap)
        yield a, b, count_a + count_b
        heapq.heappush(heap, (count_a + count_b, tuple(sorted(a + b))))


def huffman_lengths(counts: Sequence[float], limit: int | None = None) -> np.ndarray:
    """Return the code length of each symbol in bits, 0 for one that never occurs.

    Args:
        counts: how often each symbol occurs.
        limit: the longest code allowed; if given, the best code within the limit (:func:`_package_merge`).

    Raises:
        ValueError: more symbols than codes of ``limit`` bits.
    """
    used = [symbol for symbol, count in enumerate(counts) if count > 0]
    lengths = np.zeros(len(counts), dtype=np.int64)
    if len(used) == 1:
        lengths[used] = 1  # one symbol still needs a bit each, or the decoder could not count them
        return lengths
    if limit is not None:
        if len(used) > 1 << limit:
            raise ValueError(f"{len(used)} symbols do not fit into codes of at most {limit} bits.")
        return _package_merge(counts, used, limit)
    for a, b, _ in merge_steps(counts):
        lengths[list(a + b)] += 1  # each merge puts its symbols one step further from the root
    return lengths


def _package_merge(counts: Sequence[float], used: list[int], limit: int) -> np.ndarray:
    """The best lengths of at most ``limit`` bits (Larmore and Hirschberg 1990).

    A code length is bought as coins: symbol s may buy one coin at each of the levels 1 ... ``limit``, at the price
    count(s), and its length is the number of coins it buys. Pairs of coins of one level form a package, which is
    offered beside the coins of the level above. The 2n - 2 cheapest offers at the top are the cheapest lengths
    that form a prefix code.
    """
    coins = sorted((counts[symbol], (symbol,)) for symbol in used)
    offers = coins
    for _ in range(limit - 1):
        pairs = zip(offers[::2], offers[1::2], strict=False)
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
        offers = sorted(coins + packages)
    lengths = np.zeros(len(counts), dtype=np.int64)
    for _, symbols in offers[: 2 * len(used) - 2]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def canonical_codes(lengths: Sequence[int]) -> np.ndarray:
    """Number the codes: shorter ones first, within a length by symbol; each is the previous one plus 1.

    Returns:
        The code of each symbol as an integer (0 where the length is 0).
    """
    codes = np.zeros(len(lengths), dtype=np.int64)
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length > 0):
        code <<= int(length) - previous
        codes[symbol] = code
        code, previous = code + 1, int(length)
    return codes


class HuffmanCode:
    """A canonical prefix code.

    Args:
        lengths: code length of each symbol in bits, 0 for one that has none.

    Raises:
        ValueError: the lengths do not form a prefix code (Kraft's sum is above 1).
    """

    def __init__(self, lengths: Sequence[int]):
        self.lengths = np.asarray(lengths, dtype=np.int64)
        if sum(0.5 ** int(length) for length in self.lengths if length) > 1:
            raise ValueError("These lengths do not form a prefix code: the sum of 2^-length is above 1.")
        self.codes = canonical_codes(self.lengths)
        self._symbol = {
            (int(length), int(code)): symbol
            for symbol, (length, code) in enumerate(zip(self.lengths, self.codes, strict=True))
            if length
        }

    def bits(self, symbol: int) -> str:
        """The code of a symbol as a string of 0 and 1."""
        return format(int(self.codes[symbol]), f"0{int(self.lengths[symbol])}b")

    def symbol(self, length: int, code: int) -> int | None:
        """The symbol with this code of this length, None if there is none."""
        return self._symbol.get((length, code))

    @classmethod
    @lru_cache(maxsize=256)
    def of_table(cls, table: Table) -> HuffmanCode:
        """The Huffman code of a table's probabilities."""
        return cls(huffman_lengths(table.widths.tolist()))


class HuffmanEncoder:
    """Writes the code of each symbol, first bit first; the last byte is filled with zeros."""

    def __init__(self):
        self._bits: list[str] = []

    def encode(self, symbol: int, model: Table) -> None:
        self._bits.append(HuffmanCode.of_table(model).bits(symbol))

    def finish(self) -> bytes:
        bits = "".join(self._bits)
        bits += "0" * (-len(bits) % 8)
        return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


class HuffmanDecoder:
    """Reads bit by bit until the bits read form a code; a table's code is complete, so that they soon do.

    State: ``position`` bits are read, never more than there are: to read on is an error, so this one never runs dry.
    """

    ran_dry = False

    def __init__(self, data: bytes):
        self._data, self._position = data, 0

    def decode(self, model: Table) -> int:
        code_book = HuffmanCode.of_table(model)
        code = length = 0
        while True:
            byte, bit = divmod(self._position, 8)
            if byte >= len(self._data):
                raise BitstreamError("The Huffman-coded data end in the middle of a code.")
            code = code << 1 | self._data[byte] >> (7 - bit) & 1
            length, self._position = length + 1, self._position + 1
            symbol = code_book.symbol(length, code)
            if symbol is not None:
                return symbol

    def consumed(self) -> int:
        """Number of bytes used, the last one's padding included."""
        return -(-self._position // 8)
