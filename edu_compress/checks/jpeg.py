"""The checks of lesson 01: the DCT, the zigzag, and the steps of a JPEG decoder."""

from __future__ import annotations

import numpy as np

from .. import dct as dct_module
from ..codecs.jpeg import encoder, read_segments
from ..codecs.jpeg.tables import STANDARD_CHROMA, STANDARD_LUMA, ZIGZAG, Marker, scale_table
from ..images import to_uint8
from ._core import Wrong, exercise, expect, expect_array, expect_number


def _numbers(value: object, wanted: np.ndarray, what: str) -> np.ndarray:
    """Return ``value`` as numbers of the shape of ``wanted``, or raise :class:`Wrong`."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be an array of numbers, not {type(value).__name__}.") from None
    expect(array.shape == wanted.shape, f"{what} has shape {array.shape}, it should be {wanted.shape}.")
    return array


def _expect_not(value: np.ndarray, mistakes: list[tuple[np.ndarray, str]], tolerance: float = 1e-6) -> None:
    """Raise :class:`Wrong` with the sentence of the mistake whose result ``value`` is."""
    for result, sentence in mistakes:
        if result.shape == value.shape and np.allclose(value, result, tolerance, tolerance):
            raise Wrong(sentence)


@exercise("your coefficients are those of the orthonormal DCT, for every length")
def dct(answer, rng):
    for n in (8, 5, 1, 16):
        s = rng.uniform(-128, 127, n)
        matrix = dct_module.dct_matrix(n)
        wanted = matrix @ s
        value = _numbers(answer(s), wanted, f"the DCT of {n} samples")
        first = np.sqrt(2) * matrix[0] @ s
        u, x = np.arange(n)[:, None], np.arange(n)
        mistakes = [
            (matrix.T @ s, "this is the inverse transform: u and x are exchanged."),
            (np.append(first, wanted[1:]), "all is right but coefficient 0: it has c(0) = sqrt(1/n), not sqrt(2/n)."),
            (np.append(first, wanted[1:]) / np.sqrt(2 / n), "the factors c(u) are missing."),
            (
                np.append(wanted[0], np.sqrt(2) * wanted[1:]) / np.sqrt(n),
                "your c(u) are 1/n and 2/n, the squares: take the square root, because a wave has length sqrt(n/2).",
            ),
            (np.append(first, wanted[1:]) * np.sqrt(2 * n), "this is 2 sum s cos, as in SciPy: multiply by c(u) / 2."),
            (
                np.append(wanted[0], np.sqrt(2 / n) * (np.cos(x * u * np.pi / n) @ s)[1:]),
                "the waves start at the border of a pixel: use (2x + 1) / 2n, its middle, and not x / n.",
            ),
        ]  # fmt: skip
        if n > 1:  # with one sample, several mistakes give the same number
            _expect_not(value, mistakes)
        hint = "Compare it with C @ s of section 3." if n == 8 else "Is the 8 still in your formula? Use len(s)."
        expect_array(value, wanted, f"the DCT of {n} samples", hint=hint)


@exercise("every coefficient stands where figure A.6 of T.81 puts it")
def zigzag(answer, rng):
    block = rng.permutation(64).reshape(8, 8) - 32
    wanted = block.ravel()[ZIGZAG]
    value = _numbers(answer(block.copy()), wanted, "the list")
    diagonals = [[(r, d - r) for r in range(8) if 0 <= d - r < 8] for d in range(15)]
    one_way = np.array([block[r, c] for diagonal in diagonals for r, c in diagonal])
    mistakes = [
        (block.T.ravel()[ZIGZAG], "your path begins downwards: the second coefficient is (v, u) = (0, 1)."),
        (block.ravel(), "this is the order of the rows: follow the diagonals, on which u + v is the same."),
        (one_way, "all your diagonals run downwards: every second one must run upwards."),
        (
            np.array([block[r, c] for diagonal in diagonals for r, c in diagonal[::-1]]),
            "all your diagonals run upwards: every second one must run downwards.",
        ),
        (wanted[::-1], "the order is reversed: low frequencies come first."),
    ]  # fmt: skip
    _expect_not(value, mistakes)
    if sorted(value.tolist()) != sorted(wanted.tolist()):
        raise Wrong("some coefficients are missing, and others occur twice: each of the 64 has one place.")
    wrong = int(np.flatnonzero(value != wanted)[0]) if (value != wanted).any() else 64
    expect(wrong == 64, f"the first {wrong} coefficients are right; the next should be (v, u) = {_place(wrong)}.")


def _place(k: int) -> tuple[int, int]:
    row, column = divmod(int(ZIGZAG[min(k, 63)]), 8)
    return row, column


@exercise("you read every coefficient back from its size and its bits")
def extend(answer, rng):
    for number in (0, 1, -1, 3, -3, 2, -2, *rng.integers(-1023, 1024, 60).tolist()):
        size = abs(number).bit_length()
        bits = number if number > 0 else number + (1 << size) - 1
        try:
            value = answer(size, bits)
        except ValueError:  # a shift by size - 1 = -1
            expect(size > 0, "your code stops for size 0: no bits follow, and the number is 0.")
            raise
        given = f"size {size}, bits {format(bits, f'0{size}b') if size else 'none'}"
        if number < 0 and value == bits:
            raise Wrong(f"{given}: you return {value}, but bits that begin with 0 are a negative number.")
        if number < 0 and value in (-bits, bits - (1 << size)):
            raise Wrong(f"{given}: {value} is not right: a negative number v is written as v + 2**size - 1.")
        if number > 0 and value == -number:
            raise Wrong(f"{given}: the sign is wrong: bits that begin with 1 are a positive number.")
        expect_number(value, number, f"the number of {given}")


@exercise("runs, ZRL and EOB all put their zeros where they belong")
def run_length(answer, rng):
    for block in _sparse_blocks(rng):
        symbols = encoder.run_length_symbols(block[None, None], np.zeros(1, dtype=int))
        pairs = [(int(s), _number(s, e)) for s, e in zip(symbols.values[1:], symbols.extra[1:], strict=True)]
        wanted = block[1:].astype(np.int64)
        raw = answer(list(pairs))
        expect(np.ndim(raw) == 1, "return one list of 63 numbers: the AC coefficients in zigzag order.")
        expect(len(raw) != 64, "return 63 numbers: DC is not coded here.")
        shown = _shown(pairs)
        if any(symbol == encoder.ZRL for symbol, _ in pairs) and len(raw) == 63:
            _expect_not(np.asarray(raw), _zrl_mistakes(pairs))
        expect(len(raw) == 63, f"for {shown} you return {len(raw)} numbers: EOB fills the list up to 63.")
        expect_array(raw, wanted, f"the list for {shown}", hint="symbol >> 4 zeros stand before a number.")


def _sparse_blocks(rng: np.random.Generator) -> list[np.ndarray]:
    """Return blocks [64] in zigzag order: with short runs, with long ones, full to the end, and empty."""
    blocks = []
    for density in (0.2, 0.05, 0.04, 0.0):
        block = rng.integers(1, 40, 64) * rng.choice([-1, 1], 64) * (rng.random(64) < density)
        block[0] = 7
        blocks.append(block)
    blocks[1][[20, 60]], blocks[1][21:60] = (5, -3), 0  # a run of 39 zeros: two ZRL
    blocks[2][63] = -1  # no EOB
    return [block.astype(np.int16) for block in blocks]


def _number(symbol: int, extra: int) -> int:
    size = int(symbol) & 15
    return int(extra) if size == 0 or extra >> (size - 1) else int(extra) - (1 << size) + 1


def _shown(pairs: list[tuple[int, int]]) -> str:
    text = ", ".join(f"(0x{symbol:02X}, {number})" for symbol, number in pairs[:4])
    return f"[{text}{', ...' if len(pairs) > 4 else ''}]"


def _zrl_mistakes(pairs: list[tuple[int, int]]) -> list[tuple[np.ndarray, str]]:
    """What comes out if ZRL is taken for 15 zeros, for 16 and its number, or for nothing."""
    results = []
    for zeros, sentence in (
        (15, "ZRL (F0) stands for 16 zeros: 15 before the number, and the number itself, which is 0."),
        (16, "ZRL (F0) stands for 16 zeros in all: its number, which is 0, is one of them."),
        (0, "ZRL (F0) has size 0, but it is not EOB: it stands for 16 zeros."),
    ):
        values: list[int] = []
        for symbol, number in pairs:
            values += [0] * (zeros if symbol == encoder.ZRL else symbol >> 4)
            values += [number] if symbol & 15 or (symbol == encoder.ZRL and zeros == 16) else []
        results.append((np.array((values + [0] * 63)[:63]), sentence))
    return results


@exercise("dequantised, transformed back, shifted, rounded and clipped")
def block_pixels(answer, rng):
    for strength in (4, 60):  # the second one leaves the range 0 ... 255
        steps = scale_table(STANDARD_LUMA, 40)
        q = np.rint(rng.laplace(0, strength, (8, 8)) * 16 / steps).astype(np.int16)
        q[0, 0] = rng.integers(-20, 20)
        exact = dct_module.idct2(q * steps)
        wanted = to_uint8(exact + 128)
        value = answer(q.copy(), steps.copy())
        array = _numbers(value, wanted, "the block")
        mistakes = [
            (to_uint8(exact), "the level shift is missing: add 128 before you clip."),
            (to_uint8(dct_module.idct2(q) + 128), "the coefficients are still quantised: multiply them by the steps."),
            (
                to_uint8(dct_module.idct2(q @ steps) + 128),
                "q @ steps is a product of matrices: each coefficient has its own step, so use q * steps.",
            ),
            (
                to_uint8(dct_module.dct_matrix(8).T @ (q * steps) + 128),
                "you transformed the columns only: the inverse is C.T @ S @ C.",
            ),
            (to_uint8(dct_module.dct2(q * steps) + 128), "you transformed forwards: the inverse is C.T @ S @ C."),
            (to_uint8(exact.T + 128), "the block is transposed: rows and columns are exchanged."),
            (exact + 128, "round to whole numbers, and clip to 0 ... 255: images.to_uint8 does both."),
            (np.floor(exact + 128.5) % 256, "numbers below 0 or above 255 have wrapped around: clip before astype."),
            (np.trunc(np.clip(exact + 128, 0, 255)), "the fraction is cut off: astype does not round."),
        ]  # fmt: skip
        if not np.array_equal(array, wanted):
            _expect_not(array, mistakes)
        expect(np.abs(array - wanted).max() <= 1, "the pixels are wrong: dequantise, idct2, add 128, round, clip.")
        expect(np.asarray(value).dtype == np.uint8, f"the pixels have type {np.asarray(value).dtype}, not uint8.")


@exercise("you tell the quality of a stranger's file from its quantisation table")
def jpeg_quality(answer, rng):
    image = rng.integers(0, 256, (16, 24, 3)).astype(np.uint8)
    for quality in (50, 90, 10, 75, *rng.integers(2, 97, 6).tolist()):
        value = answer(_strange_file(encoder.encode(image, quality, optimize=bool(quality % 2)), quality))
        steps = scale_table(STANDARD_LUMA, quality)
        if value in [q for q in range(1, 101) if np.array_equal(scale_table(STANDARD_LUMA, q), steps)]:
            continue
        if value == steps[0, 0]:
            raise Wrong(f"{value} is the step of the DC coefficient: which quality gives this table?")
        other = "The file has a comment first, and then both tables in one DQT."
        hint = next((why for found, why in _quality_mistakes(quality) if np.array_equal(value, found)), other)
        expect_number(value, quality, f"the quality of a file with DC step {steps[0, 0]}", hint=hint)


def _quality_mistakes(quality: int) -> list[tuple[int, str]]:
    """Return the qualities that typical mistakes find in the table of ``quality``, and what to say."""
    luma, chroma = scale_table(STANDARD_LUMA, quality).ravel(), scale_table(STANDARD_CHROMA, quality).ravel()
    return [
        (quality - 1, "argmin counts from 0, and qualities begin with 1."),
        (_nearest(luma[ZIGZAG]), "Your table is still in zigzag order: table[tables.ZIGZAG] = steps."),
        (_nearest(luma[ZIGZAG][ZIGZAG]), "This is zigzag twice: table[tables.ZIGZAG] = steps brings the rows back."),
        (_nearest(chroma), "This is chroma's table: one DQT holds both, each after a byte with its number."),
        (_nearest(chroma[ZIGZAG]), "This is chroma's table, in zigzag order: look for number 0."),
        (_nearest(chroma[ZIGZAG][ZIGZAG]), "This is chroma's table, with zigzag twice: look for number 0."),
    ]


def _nearest(table: np.ndarray) -> int:
    """Return the quality whose table of luma is nearest to ``table`` [64]."""
    return min(range(1, 101), key=lambda q: np.abs(scale_table(STANDARD_LUMA, q).ravel() - table).sum())


def _strange_file(data: bytes, quality: int) -> bytes:
    """Return the same picture as other programs may write it: with a comment first, both tables in one segment."""
    steps = [scale_table(table, quality).ravel()[ZIGZAG].tolist() for table in (STANDARD_LUMA, STANDARD_CHROMA)]
    both = encoder.segment(Marker.DQT, bytes([1, *steps[1], 0, *steps[0]]))  # chroma first: the number tells
    comment = encoder.segment(Marker.COM, b"a comment with \xff\xdb in it")
    parts = [data[s.offset : s.offset + s.length] for s in read_segments(data) if s.name != "DQT"]
    return b"".join([parts[0], parts[1], comment, both, *parts[2:]])
