"""The checks of lesson 02: right answers pass, typical wrong answers get the sentence that helps, stubs wait."""

import numpy as np
import pytest

from edu_compress import checks
from edu_compress import entropy_coding as ec

NAMES = ("cross_entropy", "canonical_codes", "rans_pop", "adaptive_cost", "huffman_bound", "range_decoder")


def cross_entropy(p, q):
    used = p > 0
    return -np.sum(p[used] * np.log2(q[used]))


def canonical_codes(lengths):
    codes = ec.canonical_codes(lengths)
    return [format(int(code), f"0{length}b") if length else "" for code, length in zip(codes, lengths, strict=True)]


def rans_pop(x, widths, count, shift=0):
    total, starts, symbols = sum(widths), np.cumsum([0, *widths]).tolist(), []
    for _ in range(count):
        position = x % total
        symbol = max(s for s in range(len(widths)) if starts[s] <= position)
        x = widths[symbol] * (x // total) + position - starts[symbol] + shift
        symbols.append(symbol)
    return symbols


def adaptive_cost(symbols, n, start=1, early=False, base=np.log2):
    counts, bits = np.full(n, float(start)), 0.0
    for symbol in symbols:
        counts[symbol] += early
        bits -= base(counts[symbol] / counts.sum())
        counts[symbol] += not early
    return bits


def h(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def huffman_bound(p1):
    return 2 - h(p1) - p1


def range_decoder(data, models):
    decoder = ec.RangeDecoder(data)
    return [decoder.decode(model) for model in models]


def without_bytes_to_come(data, models):
    """Forgets to read on: the code is shifted, but zeros come in."""
    return range_decoder(data[:8], models)


def wrong_width(data, models):
    decoder = ec.RangeDecoder(data)
    decoder._code >>= 8
    return [decoder.decode(model) for model in models]


def counts_on_the_end(data, models):
    """Takes the last eight bytes for the end of the stream."""
    return range_decoder(data if len(data) < 9 else data[:-9] + bytes(9), models)


RIGHT = {name: globals()[name] for name in NAMES}


WRONG = [
    ("cross_entropy", lambda p, q: cross_entropy(p, q) * np.log(2), "nats"),
    ("cross_entropy", lambda p, q: -cross_entropy(p, q), "sign"),
    ("cross_entropy", lambda p, q: cross_entropy(p, p), "entropy of p"),
    ("cross_entropy", lambda p, q: cross_entropy(q, q), "entropy of q"),
    ("cross_entropy", lambda p, q: cross_entropy(q, p + 1e-300), "exchanged"),
    ("cross_entropy", lambda p, q: cross_entropy(p, q) - cross_entropy(p, p), "divergence"),
    ("cross_entropy", lambda p, q: -np.mean(np.log2(q)), "weighted"),
    ("cross_entropy", lambda p, q: np.nan, "0 log 0"),
    ("cross_entropy", lambda p, q: p * np.log2(q), "should be one number"),
    ("canonical_codes", lambda lengths: "01", "list of strings"),
    ("canonical_codes", lambda lengths: [0] * len(lengths), "strings of 0 and 1"),
    ("canonical_codes", lambda lengths: canonical_codes(lengths)[1:], "codes, yours are"),
    ("canonical_codes", lambda lengths: [c.lstrip("0") for c in canonical_codes(lengths)], "should have"),
    ("canonical_codes", lambda lengths: ["0" * n for n in lengths], "cannot tell them apart"),
    ("canonical_codes", lambda lengths: [c.translate({48: "1", 49: "0"}) for c in canonical_codes(lengths)], "exchang"),
    ("canonical_codes", lambda lengths: canonical_codes(lengths[::-1])[::-1], "not the canonical one"),
    ("rans_pop", lambda x, widths, count: rans_pop(x, widths, count)[::-1], "reversed"),
    ("rans_pop", lambda x, widths, count: rans_pop(x, widths, count)[1:], "instead of"),
    ("rans_pop", lambda x, widths, count: rans_pop(x, widths, count, shift=1), "before the first wrong one"),
    ("rans_pop", lambda x, widths, count: 0, "one list"),
    ("adaptive_cost", lambda s, n: adaptive_cost(s, n, base=np.log), "nats"),
    ("adaptive_cost", lambda s, n: -adaptive_cost(s, n), "sign"),
    ("adaptive_cost", lambda s, n: adaptive_cost(s, n, early=True), "has not seen it yet"),
    ("adaptive_cost", lambda s, n: adaptive_cost(s, n) / len(s), "return the sum"),
    ("adaptive_cost", lambda s, n: len(s) * ec.entropy(np.bincount(s)), "finished histogram"),
    ("adaptive_cost", lambda s, n: len(s) * np.log2(n), "does not learn"),
    ("adaptive_cost", lambda s, n: adaptive_cost(s, n, start=0.5), "it should be"),
    ("huffman_bound", lambda p1: 1.0, "asked to sharpen"),
    ("huffman_bound", lambda p1: p1 + 0.0861, "can be sharpened"),
    ("huffman_bound", lambda p1: 1 - h(p1), "two symbols"),
    ("huffman_bound", lambda p1: 0.1, "but Huffman wastes"),
    ("huffman_bound", lambda p1: [p1], "one number"),
    ("range_decoder", lambda data, models: [0] * len(models), "symbols are right"),
    ("range_decoder", without_bytes_to_come, "read a byte while"),
    ("range_decoder", wrong_width, "first 8 bytes"),
    ("range_decoder", counts_on_the_end, "symbols are right"),
    ("range_decoder", lambda data, models: range_decoder(data, models[1:]), "instead of"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", ["2026", "1", "77"])
def test_right_answers_pass(name, seed, monkeypatch):
    monkeypatch.setenv("EDU_COMPRESS_SEED", seed)
    result = getattr(checks, name)(RIGHT[name])
    assert result, result


@pytest.mark.parametrize("name", NAMES)
def test_stubs_are_not_attempted(name):
    def stub(*_): ...

    assert "not attempted yet" in repr(getattr(checks, name)(stub))


@pytest.mark.parametrize(("name", "answer", "sentence"), WRONG)
def test_wrong_answers_are_explained(name, answer, sentence):
    result = getattr(checks, name)(answer)
    assert not result
    assert sentence in repr(result)
    assert "your code stopped" not in repr(result)
