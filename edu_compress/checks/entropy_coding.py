"""The checks of lesson 02: code lengths, canonical codes, a stack, learning while coding, a bound, a range decoder."""

from __future__ import annotations

from math import lgamma, log

import numpy as np

from ..entropy_coding import RangeEncoder, Table, huffman_lengths
from ..entropy_coding import canonical_codes as canonical
from ._core import Wrong, exercise, expect, expect_number


def _expect_not(value: object, mistakes: list[tuple[float, str]]) -> None:
    """Raise :class:`Wrong` with the sentence of the mistake whose number ``value`` is."""
    for number, sentence in mistakes:
        if np.ndim(value) == 0 and not isinstance(value, str) and np.isclose(float(value), number, 1e-9, 1e-9):
            raise Wrong(sentence)


def _expect_list(value: object, wanted: list, what: str, hint: str) -> None:
    """Raise :class:`Wrong` unless ``value`` holds the symbols ``wanted``, in their order."""
    expect(np.ndim(value) == 1, f"{what}: return one list of symbols.")
    found = [int(symbol) for symbol in value]
    expect(len(found) == len(wanted), f"{what}: you return {len(found)} symbols instead of {len(wanted)}.")
    right = next((i for i, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1]), len(wanted))
    expect(
        right == len(wanted), f"{what}: {right} of {len(wanted)} symbols are right before the first wrong one. {hint}"
    )


# --- cross-entropy --------------------------------------------------------------------------------


@exercise("you know the price of a wrong model in bits, unused symbols included")
def cross_entropy(answer, rng):
    for n in (2, 5, 17):
        p, q = rng.dirichlet(np.ones(n)), rng.dirichlet(np.full(n, 5.0)) + 1e-3
        p[0] = 0 if n > 2 else p[0]  # a symbol that never comes costs nothing
        p, q = p / p.sum(), q / q.sum()
        used = p > 0
        wanted = -np.sum(p[used] * np.log2(q[used]))
        own = -np.sum(p[used] * np.log2(p[used]))
        value = answer(p.copy(), q.copy())
        expect(np.ndim(value) > 0 or np.isfinite(value), "the result is not a number: 0 log 0 counts as 0 here.")
        mistakes = [
            (wanted * np.log(2), "your result is in nats: use log2."),
            (-wanted, "the sign is missing: log2 of a probability is negative."),
            (own, "this is the entropy of p: the code lengths must come from q."),
            (wanted - own, "this is the divergence KL(p || q), the waste: the cross-entropy is all that is paid."),
            (-np.sum(q * np.log2(q)), "this is the entropy of q: p says how often each length is paid."),
            (-np.mean(np.log2(q)), "each code length has to be weighted with its probability p."),
        ]
        if used.all():
            mistakes.append((-np.sum(q * np.log2(p)), "p and q are exchanged: p is the truth, q the model."))
        _expect_not(value, mistakes)
        expect_number(value, wanted, "the cross-entropy")


# --- canonical codes ------------------------------------------------------------------------------


@exercise("a decoder that knows only the lengths finds the same codes")
def canonical_codes(answer, rng):
    for n in (3, 5, 20):
        lengths = huffman_lengths(rng.integers(1, 2 + n**2, n).tolist())
        lengths = np.insert(lengths, rng.integers(n), 0) if n > 3 else lengths  # one symbol that does not occur
        numbers = canonical(lengths)
        wanted = [format(int(c), f"0{k}b") if k else "" for c, k in zip(numbers, lengths, strict=True)]
        _check_codes(answer(lengths.tolist()), wanted, lengths.tolist())


def _check_codes(codes: object, wanted: list[str], lengths: list[int]) -> None:
    expect(not isinstance(codes, str) and np.ndim(codes) == 1, "return a list of strings, one for each symbol.")
    codes = list(codes)
    expect(all(isinstance(code, str) for code in codes), "return strings of 0 and 1, such as '010'.")
    expect(len(codes) == len(lengths), f"{len(lengths)} lengths need {len(lengths)} codes, yours are {len(codes)}.")
    for symbol, (code, length) in enumerate(zip(codes, lengths, strict=True)):
        if len(code) != length:
            zeros = " Do you keep the zeros in front?" if len(code) < length and code else ""
            raise Wrong(f"the code of symbol {symbol} is {code!r}: it should have {length} bits.{zeros}")
    for symbol, code in enumerate(codes):
        others = [other for i, other in enumerate(codes) if i != symbol and code and other.startswith(code)]
        expect(not others, f"{code!r} is how {others[:1]} begins: the decoder cannot tell them apart.")
    mirrored = ["".join("10"[int(bit)] for bit in code) for code in codes]
    expect(mirrored != wanted, "all bits are exchanged: the first code consists of zeros.")
    for symbol, (code, right) in enumerate(zip(codes, wanted, strict=True)):
        expect(
            code == right,
            f"this is a prefix code, but not the canonical one: symbol {symbol} of lengths {lengths} has {right!r}, "
            f"not {code!r}. Shorter codes come first, and within a length the smaller symbol.",
        )


# --- rANS -----------------------------------------------------------------------------------------


@exercise("you popped every symbol, and the number went back to where it began")
def rans_pop(answer, rng):
    for n, precision, count in ((2, 3, 1), (3, 4, 8), (6, 8, 60)):
        table = Table.from_counts(rng.integers(1, 20, n), precision=precision)
        symbols = rng.integers(0, n, count).tolist()
        number = 1
        for symbol in reversed(symbols):  # the last one first, so that it comes out last
            start, size = table.interval(symbol)
            number = (number // size << precision) + start + number % size
        value = answer(number, table.widths.tolist(), count)
        if np.ndim(value) == 1 and count > 5 and [int(s) for s in value] == symbols[::-1]:
            raise Wrong("the order is reversed: the symbol that is popped first is the first of your list.")
        _expect_list(
            value, symbols, f"{count} symbols of widths {table.widths.tolist()}",
            "The position is x mod the sum of all widths; then x becomes size · (x // sum) + position − start.",
        )  # fmt: skip


# --- learning while coding ------------------------------------------------------------------------


@exercise("each symbol was priced with what had been seen before it, and nothing more")
def adaptive_cost(answer, rng):
    for n, count in ((2, 7), (5, 200)):
        symbols = rng.choice(n, count, p=rng.dirichlet(np.full(n, 0.6)))
        symbols[:2] = 0, 1
        counts = np.bincount(symbols, minlength=n)
        # the product of all prices does not depend on the order: (N + n - 1)! / ((n - 1)! prod c!)
        nats = lgamma(count + n) - lgamma(n) - sum(lgamma(c + 1) for c in counts)
        p = (counts[counts > 0]) / count
        running, early, forgot = np.ones(n), 0.0, 0.0
        for symbol in symbols:
            running[symbol] += 1
            early -= np.log2(running[symbol] / running.sum())
        for i, symbol in enumerate(symbols):
            forgot -= np.log2((np.sum(symbols[:i] == symbol) + 1) / (i + 1))
        value = answer(symbols.tolist(), n)
        _expect_not(
            value,
            [
                (nats, "your result is in nats: use log2."),
                (-nats / log(2), "the sign is missing: log2 of a probability is negative."),
                (nats / log(2) / count, "this is the cost of one symbol on average: return the sum."),
                (early, "you count the symbol before you code it: the decoder has not seen it yet."),
                (forgot, "your probabilities do not sum to one: after i symbols the denominator is i + n."),
                (-count * float(p @ np.log2(p)), "this is N times the entropy: it uses the finished histogram."),
                (count * np.log2(n), "your model does not learn: add 1 to a count after each symbol."),
            ],
        )
        expect_number(value, nats / log(2), f"the cost of {count} symbols out of {n}")


# --- a sharper bound ------------------------------------------------------------------------------


def _redundancy(p: np.ndarray) -> float:
    """Bits per symbol that Huffman's code of ``p`` wastes."""
    used = p[p > 0]
    return float(p @ huffman_lengths(p.tolist()) + used @ np.log2(used))


def _sources(p1: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Sources whose most probable symbol has probability ``p1``: random ones, and the most wasteful one."""
    tiny = 1e-7 * (1 - p1)
    shares = [rng.dirichlet(np.full(n, a)) for n in (2, 3, 8) for a in (0.1, 0.5, 3.0)]
    return [np.array([p1, 1 - p1 - 2 * tiny, tiny, tiny]), *(np.append(p1, (1 - p1) * share) for share in shares)]


@exercise("no source breaks your bound, and a source comes as close to it as you like")
def huffman_bound(answer, rng):
    for p1 in (0.5, 0.9, *rng.uniform(0.5, 0.999, 20)):
        value = answer(float(p1))
        expect(np.ndim(value) == 0 and not isinstance(value, str), "return one number, in bits per symbol.")
        h = -p1 * np.log2(p1) - (1 - p1) * np.log2(1 - p1)
        if np.isclose(value, 1 - h):
            worst = max(_sources(p1, rng), key=_redundancy)
            raise Wrong(
                f"1 − h(p1) is the waste of a source of two symbols. With p = {np.round(worst, 3).tolist()} "
                f"Huffman wastes {_redundancy(worst):.3f} bits, not {value:.3f}: the rest can waste up to a bit."
            )
        for source in _sources(p1, rng):
            waste = _redundancy(source)
            expect(
                value >= waste - 1e-5,
                f"your bound at p1 = {p1:.3f} is {value:.3f}, but Huffman wastes {waste:.3f} bits "
                f"with p = {np.round(source, 3).tolist()}.",
            )
        sharp = 2 - h - p1
        expect(not np.isclose(value, 1), "1 bit is true, but it is the bound that you were asked to sharpen.")
        expect(
            value <= sharp + 0.005,
            f"your bound at p1 = {p1:.3f} is true, but it can be sharpened from {value:.3f} to {sharp:.3f}.",
        )


# --- the range decoder ----------------------------------------------------------------------------


_RANGE_HINT = (
    "Begin with width = 2^64 − 1 and code = the first 8 bytes, the first one on top (zeros if there are fewer). "
    "Round as the encoder does (unit first, then unit · start), and read a byte while width < 2^56."
)


@exercise("every symbol is back, whatever stands behind the stream")
def range_decoder(answer, rng):
    likely = Table.from_counts([1, 10**6, 1])  # its middle contains 1/2: long runs of carries
    for count, models in ((1, 1), (40, 3), (400, 5)):
        tables = [_random_table(rng) for _ in range(models - 1)] + [likely]
        chosen = [tables[i] for i in rng.integers(0, models, count)]
        symbols = [table.symbol_at(int(rng.integers(1 << table.precision))) for table in chosen]
        encoder = RangeEncoder()
        for symbol, table in zip(symbols, chosen, strict=True):
            encoder.encode(symbol, table)
        data = encoder.finish()
        tail = bytes(rng.integers(0, 256, 9, dtype=np.uint8))
        alone = answer(data, chosen)
        _expect_list(alone, symbols, f"{count} symbols in {len(data)} bytes", _RANGE_HINT)
        _expect_list(
            answer(data + tail, chosen), symbols, f"{count} symbols, with random bytes behind the {len(data)} bytes",
            "Without these bytes it is right: the decoder must not care what stands there, nor where the data end.",
        )  # fmt: skip


def _random_table(rng: np.random.Generator) -> Table:
    return Table.from_counts(rng.integers(0, 100, rng.integers(2, 12)) ** 2, precision=int(rng.choice([8, 16, 24])))
