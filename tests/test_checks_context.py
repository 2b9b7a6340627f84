"""The checks of lesson 07: right answers pass, typical wrong answers get the sentence that helps, stubs wait."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edu_compress import checks
from edu_compress.learned import layers
from edu_compress.learned.layers import checkerboard_mask

NAMES = ("raster_mask", "chain_rule_bits", "conv_macs", "checkerboard_context", "wave_slope", "earliest_pass")


def raster_mask(k):
    row, column = np.indices((k, k)) - k // 2
    return (row < 0) | (row == 0) & (column < 0)


def chain_rule_bits(joint, symbols):
    bits = []
    for symbol in symbols:
        beginning, joint = joint.sum(), joint[symbol]
        bits.append(-np.log2(joint.sum() / beginning))
    return bits


def conv_macs(model, density=1 / 256):
    total = 0
    for into, out, k, stride in model:
        total += into * out * k**2 * density
        density *= stride**2
    return total


def anchor(h, w):
    return (torch.arange(h)[:, None] + torch.arange(w)) % 2 == 0


def checkerboard_context(y_hat, kernel, mask=None):
    mask = checkerboard_mask(5) if mask is None else mask
    phi = F.conv2d(y_hat[None], kernel * mask, padding=2)[0]
    return phi * ~anchor(*y_hat.shape[1:])


def wave_slope(mask):
    offsets = np.argwhere(mask) - len(mask) // 2
    slope = 0
    while any(column + slope * row >= 0 for row, column in offsets):
        slope += 1
    return slope


def earliest_pass(mask, h, w):
    offsets = np.argwhere(mask) - len(mask) // 2
    passes = np.zeros((h, w), int)
    for r in range(h):
        for c in range(w):
            for row, column in offsets + (r, c):
                if 0 <= row and 0 <= column < w:
                    passes[r, c] = max(passes[r, c], passes[row, column] + 1)
    return passes


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass_with_any_seed(name, monkeypatch):
    for seed in ("2026", "1", "99"):
        monkeypatch.setenv("EDU_COMPRESS_SEED", seed)
        result = getattr(checks, name)(globals()[name])
        assert result, result


@pytest.mark.parametrize("name", NAMES)
def test_stubs_are_not_attempted(name):
    assert "not attempted yet" in repr(getattr(checks, name)(lambda *arguments: None))


def test_the_course_own_mask_passes_as_a_tensor_too():
    assert checks.raster_mask(layers.raster_mask)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda k: np.arange(k * k).reshape(k, k) <= k * k // 2, "would see"),
        (lambda k: np.indices((k, k))[0] < k // 2, "same row"),
        (lambda k: ~raster_mask(k), "exchanged"),
        (lambda k: raster_mask(k)[::-1, ::-1], "future"),
        (lambda k: raster_mask(k).T, "rows and columns"),
        (lambda k: raster_mask(k).astype(float), "True and False"),
        (lambda k: np.indices((k, k))[1] < k // 2, "differs at"),
    ],
)
def test_wrong_masks(answer, sentence):
    assert_says(checks.raster_mask(answer), sentence)


def marginal_bits(joint, symbols):
    axes = range(joint.ndim)
    return [-np.log2(joint.sum(tuple(a for a in axes if a != i))[s]) for i, s in enumerate(symbols)]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (marginal_bits, "by itself"),
        (lambda p, s: np.log(2) * np.array(chain_rule_bits(p, s)), "nats"),
        (lambda p, s: -np.array(chain_rule_bits(p, s)), "sign"),
        (lambda p, s: 2.0 ** -np.array(chain_rule_bits(p, s)), "probabilities"),
        (lambda p, s: np.cumsum(chain_rule_bits(p, s)), "so far"),
        (lambda p, s: chain_rule_bits(p.transpose(range(p.ndim)[::-1]), s[::-1])[::-1], "come after"),
        (lambda p, s: -np.log2(p[s]), "shape"),
    ],
)
def test_wrong_bits(answer, sentence):
    assert_says(checks.chain_rule_bits(answer), sentence)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda m: 2 * conv_macs(m), "one MAC"),
        (lambda m: conv_macs(m, 1.0), "16 x 16"),
        (lambda m: sum(i * o * k * k for i, o, k, _ in m), "weights once"),
        (lambda m: sum(i * o * k * k for i, o, k, _ in m) / 256, "stride² as many"),
        (lambda m: conv_macs([(i, o, k**0.5, s) for i, o, k, s in m]), "k x k"),
        (lambda m: conv_macs(m) + 1, "it should be"),
    ],
)
def test_wrong_counts(answer, sentence):
    assert_says(checks.conv_macs(answer), sentence)


def test_a_count_at_the_positions_of_the_output():
    def answer(model, density=1 / 256):
        total = 0
        for into, out, k, stride in model:
            density *= stride**2
            total += into * out * k**2 * density
        return total

    assert_says(checks.conv_macs(answer), "input")


def convolved(y_hat, kernel, mask):
    return F.conv2d(y_hat[None], kernel * mask, padding=2)[0]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda y, k: convolved(y, k, checkerboard_mask(5)), "must be 0 there"),
        (lambda y, k: convolved(y, k, checkerboard_mask(5)) * anchor(*y.shape[1:]), "wrong half"),
        (lambda y, k: checkerboard_context(y, k, torch.ones(5, 5)), "not masked"),
        (lambda y, k: checkerboard_context(y, k, ~checkerboard_mask(5)), "wrong colour"),
        (lambda y, k: checkerboard_context(y, k, layers.raster_mask(5)), "raster mask"),
        (lambda y, k: checkerboard_context(y, k)[None], "no batch"),
        (lambda y, k: checkerboard_context(y, k).numpy(), "torch tensor"),
        (lambda y, k: checkerboard_context(y, k) + 1, "differs at"),
    ],
)
def test_wrong_contexts(answer, sentence):
    assert_says(checks.checkerboard_context(answer), sentence)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda mask: len(mask) // 2, "too late"),
        (lambda mask: len(mask) // 2 + 1, "smallest whole number"),
        (lambda mask: wave_slope(mask) + 0.5, "smallest whole number"),
        (lambda mask: np.ones(3), "one number"),
    ],
)
def test_wrong_slopes(answer, sentence):
    assert_says(checks.wave_slope(answer), sentence)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda mask, h, w: earliest_pass(mask, h, w) + 1, "from 0"),
        (lambda mask, h, w: np.arange(h * w).reshape(h, w), "raster order"),
        (lambda mask, h, w: np.add.outer(3 * np.arange(h), np.arange(w)), "wavefront of the full"),
        (lambda mask, h, w: np.zeros((h, w)), "differs at"),
    ],
)
def test_wrong_passes(answer, sentence):
    assert_says(checks.earliest_pass(answer), sentence)


def assert_says(result, sentence):
    assert not result
    assert sentence in repr(result)
