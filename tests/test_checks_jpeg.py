"""The checks of lesson 01: right answers pass, typical wrong answers get the sentence that helps, stubs wait."""

import numpy as np
import pytest
import scipy.fft

from edu_compress import checks
from edu_compress.codecs.jpeg import read_segments
from edu_compress.codecs.jpeg.segments import parse_quantisation_tables
from edu_compress.codecs.jpeg.tables import STANDARD_LUMA, ZIGZAG, scale_table
from edu_compress.dct import dct2, dct_matrix, idct2
from edu_compress.images import to_uint8


def dct(s):
    return scipy.fft.dct(s, norm="ortho")


def zigzag(block):
    return [block[r, c] for r, c in sorted(np.ndindex(8, 8), key=lambda p: (sum(p), p[sum(p) % 2 == 0]))]


def diagonals(block, direction):
    return [block[r, c] for r, c in sorted(np.ndindex(8, 8), key=lambda p: (sum(p), direction * p[0]))]


def extend(size, bits):
    return bits if size == 0 or bits >= 1 << (size - 1) else bits - (1 << size) + 1


def run_length(symbols, zrl=16, fill=True):
    values = []
    for symbol, number in symbols:
        if symbol == 0xF0:
            values += [0] * zrl
        elif symbol:
            values += [0] * (symbol >> 4) + [number]
    return values + [0] * (63 - len(values)) * fill


def block_pixels(q, steps):
    return to_uint8(idct2(q * steps) + 128)


def first_table(data, number=0):
    tables = {}
    for segment in read_segments(data):
        if segment.name == "DQT":
            tables |= parse_quantisation_tables(segment)
    return tables[number]


def nearest(table):
    return min(range(1, 101), key=lambda q: np.abs(scale_table(STANDARD_LUMA, q) - table).sum())


def zigzagged(table):
    return table.ravel()[ZIGZAG].reshape(8, 8)


def jpeg_quality(data):
    return nearest(first_table(data))


RIGHT = {
    "dct": dct,
    "zigzag": zigzag,
    "extend": extend,
    "run_length": run_length,
    "block_pixels": block_pixels,
    "jpeg_quality": jpeg_quality,
}

WRONG = [
    ("dct", lambda s: scipy.fft.idct(s, norm="ortho"), "the inverse"),
    ("dct", lambda s: np.append(np.sqrt(2) * dct(s)[0], dct(s)[1:]), "all is right but coefficient 0"),
    ("dct", scipy.fft.dct, "as in SciPy"),
    ("dct", lambda s: scipy.fft.dct(s) / 2, "the factors c(u) are missing"),
    ("dct", lambda s: dct(np.resize(s, 8)), "has shape (8,), it should be (5,)"),
    ("dct", lambda s: np.append(dct(s)[0], np.sqrt(2) * dct(s)[1:]) / np.sqrt(len(s)), "take the square root"),
    ("dct", lambda s: np.zeros(len(s)), "C @ s of section 3"),
    ("dct", lambda s: dct(s) if len(s) == 8 else 2 * dct(s), "Is the 8 still"),
    ("dct", lambda s: "waves", "array of numbers"),
    ("zigzag", lambda block: zigzag(block.T), "begins downwards"),
    ("zigzag", np.ravel, "order of the rows"),
    ("zigzag", lambda block: diagonals(block, 1), "run downwards"),
    ("zigzag", lambda block: diagonals(block, -1), "run upwards"),
    ("zigzag", lambda block: zigzag(block)[::-1], "reversed"),
    ("zigzag", lambda block: zigzag(block)[:63], "shape"),
    ("zigzag", lambda block: [*zigzag(block)[:63], block[0, 0]], "occur twice"),
    ("zigzag", lambda block: np.array(zigzag(block))[[*range(40), 41, 40, *range(42, 64)]], "first 40"),
    ("extend", lambda size, bits: bits, "begin with 0 are a negative number"),
    ("extend", lambda size, bits: extend(size, bits) - (extend(size, bits) < 0), "v + 2**size - 1"),
    ("extend", lambda size, bits: -extend(size, bits), "the sign is wrong"),
    ("extend", lambda size, bits: bits if bits >> (size - 1) else bits - (1 << size) + 1, "stops for size 0"),
    ("extend", lambda size, bits: "number", "one number"),
    ("run_length", lambda symbols: run_length(symbols, fill=False), "EOB fills the list"),
    ("run_length", lambda symbols: run_length(symbols, zrl=15), "16 zeros: 15 before"),
    ("run_length", lambda symbols: run_length(symbols, zrl=17)[:63], "16 zeros in all"),
    ("run_length", lambda symbols: run_length(symbols, zrl=0), "it is not EOB"),
    ("run_length", lambda symbols: [0, *run_length(symbols)], "DC is not coded here"),
    ("run_length", lambda symbols: sorted(run_length(symbols)), "symbol >> 4 zeros"),
    ("run_length", lambda symbols: 63, "one list"),
    ("block_pixels", lambda q, steps: to_uint8(idct2(q * steps)), "level shift"),
    ("block_pixels", lambda q, steps: to_uint8(idct2(q) + 128), "still quantised"),
    ("block_pixels", lambda q, steps: to_uint8(idct2(q @ steps) + 128), "product of matrices"),
    ("block_pixels", lambda q, steps: to_uint8(dct_matrix(8).T @ (q * steps) + 128), "columns only"),
    ("block_pixels", lambda q, steps: to_uint8(dct2(q * steps) + 128), "forwards"),
    ("block_pixels", lambda q, steps: block_pixels(q, steps).T, "transposed"),
    ("block_pixels", lambda q, steps: idct2(q * steps) + 128, "round to whole numbers"),
    ("block_pixels", lambda q, steps: np.floor(idct2(q * steps) + 128.5).astype(np.int64).astype(np.uint8), "wrapped"),
    ("block_pixels", lambda q, steps: np.clip(idct2(q * steps) + 128, 0, 255).astype(np.uint8), "fraction is cut off"),
    ("block_pixels", lambda q, steps: block_pixels(q, steps).astype(float), "not uint8"),
    ("jpeg_quality", lambda data: int(first_table(data)[0, 0]), "step of the DC"),
    ("jpeg_quality", lambda data: nearest(first_table(data, 1)), "This is chroma's table: one"),
    ("jpeg_quality", lambda data: jpeg_quality(data) - 1, "argmin counts from 0"),
    ("jpeg_quality", lambda data: 99, "a comment first"),
    ("jpeg_quality", lambda data: "fifty", "one number"),
    ("jpeg_quality", lambda data: nearest(zigzagged(zigzagged(first_table(data)))), "zigzag twice"),
    ("jpeg_quality", lambda data: nearest(zigzagged(first_table(data, 1))), "chroma's table, in zigzag"),
    ("jpeg_quality", lambda data: nearest(zigzagged(zigzagged(first_table(data, 1)))), "chroma's table, with zigzag"),
    ("jpeg_quality", lambda data: nearest(zigzagged(first_table(data))), "still in zigzag order"),
]


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("seed", ["2026", "1", "77"])
def test_right_answers_pass(name, seed, monkeypatch):
    monkeypatch.setenv("EDU_COMPRESS_SEED", seed)
    result = getattr(checks, name)(RIGHT[name])
    assert result, result


@pytest.mark.parametrize("name", RIGHT)
def test_stubs_are_not_attempted(name):
    def stub(*_): ...

    assert "not attempted yet" in repr(getattr(checks, name)(stub))


@pytest.mark.parametrize(("name", "answer", "sentence"), WRONG)
def test_wrong_answers_are_explained(name, answer, sentence):
    result = getattr(checks, name)(answer)
    assert not result
    assert sentence in repr(result)
    assert "your code stopped" not in repr(result)
