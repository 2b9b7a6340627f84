r"""One bit, and models that learn while they code: encoder and decoder both update them after each symbol.

Nothing about the model is sent. The decoder sees the same symbols as the encoder, so its model takes the same steps,
as long as the update is integer arithmetic.

The update moves every boundary between two symbols a fraction 2^-rate of its way to where it would be if the symbol
just seen were certain. A fast rate learns and forgets quickly. This is how AV1 adapts its tables; the binary
relative, with the mean of a fast and a slow estimate, is how VVC's arithmetic coder (CABAC) estimates each bit.
"""

from __future__ import annotations

from bisect import bisect_right


class Bit:
    """A model of one bit, for a probability that somebody knows: a network, for example, for each bit another one.

    >>> from edu_compress.entropy_coding import RangeDecoder, RangeEncoder
    >>> encoder, probabilities = RangeEncoder(), [65000, 65000, 400]  # a network expects 1, 1, 0
    >>> for bit, p in zip([1, 1, 0], probabilities, strict=True):
    ...     encoder.encode(bit, Bit(p))
    >>> decoder = RangeDecoder(encoder.finish())
    >>> [decoder.decode(Bit(p)) for p in probabilities]
    [1, 1, 0]

    Args:
        p: the probability of a 1, an integer number of 2^-16: rounded so that both sides have the same, never as float.

    Raises:
        ValueError: p is not one of 1 ... 2^16 - 1: what is certain cannot be coded, only left out.
    """

    precision = 16

    def __init__(self, p: int):
        if not 0 < p < 1 << 16:
            raise ValueError(f"The probability of a bit is 1 to 65535 in units of 2^-16, not {p}.")
        self.p = p

    def interval(self, bit: int) -> tuple[int, int]:
        return (0, self.p) if bit else (self.p, (1 << 16) - self.p)

    def symbol_at(self, position: int) -> int:
        return int(position < self.p)


class AdaptiveTable:
    """An adaptive model of n symbols; begins with all equally likely.

    State: 0 = bounds[0] < bounds[1] < ... < bounds[n] = 2^precision, so that every symbol can always be coded.

    Args:
        n: number of symbols.
        rate: 2^-rate of the way is gone with each update.
        precision: log2 of the sum of all widths.
    """

    def __init__(self, n: int, rate: int = 5, precision: int = 16):
        self.precision, self.rate, self.n = precision, rate, n
        total = 1 << precision
        self.bounds = [total * i // n for i in range(n + 1)]  # symbol s owns bounds[s] ... bounds[s + 1] - 1

    def interval(self, symbol: int) -> tuple[int, int]:
        return self.bounds[symbol], self.bounds[symbol + 1] - self.bounds[symbol]

    def symbol_at(self, position: int) -> int:
        return bisect_right(self.bounds, position) - 1

    def update(self, symbol: int) -> None:
        """Learn that ``symbol`` was coded. Every width stays at least 1, because it is at least 1 in the target."""
        bounds, total = self.bounds, self.bounds[-1]
        for i in range(1, self.n):
            target = i if i <= symbol else total - (self.n - i)
            bounds[i] += (target - bounds[i]) >> self.rate


class AdaptiveBit(Bit):
    """A bit whose probability is learned: the mean of a fast and a slow estimate of the probability of a 1.

    State: 0 <= each estimate <= 2^16, and 32 <= p <= 2^16 - 32: no bit ever costs more than 11 bits.

    Args:
        fast, slow: rates of the two estimates; the fast one follows changes, the slow one is exact when nothing
            changes.
    """

    def __init__(self, fast: int = 4, slow: int = 7):
        self.fast, self.slow = fast, slow
        self._estimates = [1 << 15, 1 << 15]

    @property
    def p(self) -> int:
        return min(max(sum(self._estimates) >> 1, 32), (1 << 16) - 32)

    def update(self, bit: int) -> None:
        target = bit << 16
        for i, rate in enumerate((self.fast, self.slow)):
            self._estimates[i] += (target - self._estimates[i]) >> rate
