"""The checks of lesson 06: bins of a Gaussian, its tables, side information, centres of mass, exact sums."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

from ..entropy_coding.tables import LOG_SCALES, SCALES
from ._core import Wrong, exercise, expect, expect_array, expect_number, expect_right


def _bin(k: np.ndarray, mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    distance = np.abs(k - mu)
    return ndtr((0.5 - distance) / sigma) - ndtr((-0.5 - distance) / sigma)


@exercise("the mass of every bin, with its digits in both tails")
def bin_probability(answer, rng):
    k = rng.integers(-6, 7, 40)
    mu, sigma = rng.normal(0, 2, 40), rng.uniform(0.5, 4, 40)
    mistakes = [
        (np.exp(-(((k - mu) / sigma) ** 2) / 2) / sigma / np.sqrt(2 * np.pi),
         "this is the density at k: take the mass of the bin, a difference of two Φ."),
        (_bin(k, 0 * mu, sigma), "μ is not used: the edges of the bin are measured from μ."),
        (_bin(k, mu, sigma**2), "you divide by the variance; divide by σ."),
        (ndtr((k + 1 - mu) / sigma) - ndtr((k - mu) / sigma), "the bin of k reaches from k - 1/2 to k + 1/2."),
        (-_bin(k, mu, sigma), "this is negative: take Φ of the upper edge minus Φ of the lower one."),
        (-np.log2(_bin(k, mu, sigma)), "these are the bits of k: return the probability itself."),
    ]  # fmt: skip
    expect_right(answer(k, mu, sigma), _bin(k, mu, sigma), "the probability", mistakes)
    far = np.array([9.0, 12.0, 20.0])
    tail = np.asarray(answer(far, np.zeros(3), np.ones(3)), dtype=np.float64)
    expect(np.all(tail > 0), "far above μ you return 0: 1 - 1 has no digits left; mirror the bin into the lower tail.")
    expected = log_ndtr(0.5 - far)
    expect(
        not np.all(np.log(tail) > expected + 1),
        "far above μ you return too much: do not add a tiny number to the probability, nor limit it from below.",
    )
    expect(
        np.allclose(np.log(tail), expected, rtol=1e-2),
        "far above μ the digits are lost in 1 - 1; mirror the bin into the lower tail.",
    )


@exercise("the table nearest in log σ")
def scale_index(answer, rng):
    step = LOG_SCALES[1] - LOG_SCALES[0]
    borders = np.exp(LOG_SCALES[[5, 25, 45]] + 0.508 * step)  # the nearest table in σ is another one here
    sigma = np.concatenate([np.exp(rng.uniform(np.log(0.02), np.log(900), 60)), borders, [0.01, 0.115, 250.0, 5000.0]])
    exact = (np.log(sigma) - LOG_SCALES[0]) / step
    mistakes = [
        (np.rint(exact), "limit the index to 0 ... 63: there are no other tables."),
        (np.floor(exact).clip(0, 63), "this is the next smaller table: round to the nearest."),
        (np.ceil(exact).clip(0, 63), "this is the next larger table: round to the nearest."),
        (np.rint(63 * (sigma - 0.11) / 255.89).clip(0, 63), "the tables are equally spaced in log σ, not in σ."),
        (np.abs(sigma[:, None] - SCALES).argmin(1), "this is the table nearest in σ; it should be nearest in log σ."),
        (np.rint(np.log(sigma) / step).clip(0, 63), "table 0 is at σ = 0.11: count the steps from log 0.11."),
        (np.rint(exact * 63 / 64).clip(0, 63), "between 64 tables there are 63 steps."),
        (np.rint(exact * 64 / 63).clip(0, 63), "between 64 tables there are 63 steps."),
    ]
    value = np.asarray(answer(sigma))
    expect(value.dtype.kind in "iu", f"an index is an integer; you return {value.dtype}: convert at the end.")
    expect_right(value, np.rint(exact).clip(0, 63), "the index", mistakes)


@exercise("bits won by the blocks, less the bits that their widths cost")
def side_information_saving(answer, rng):
    def bits(part: np.ndarray) -> float:
        sigma = np.sqrt(np.mean(part**2) + 0.01)
        return -np.log2(_bin(part, 0, sigma)).sum()

    for B, cost in ((4, 6.0), (2, 3.0)):
        width = np.exp(rng.normal(0, 1, (3, 4)))
        y = np.rint(rng.normal(size=(12, 16)) * np.kron(width, np.ones((4, 4)))).astype(int)
        blocks = [y[i : i + B, j : j + B] for i in range(0, 12, B) for j in range(0, 16, B)]
        inside, whole = sum(bits(block) for block in blocks), bits(y)
        right = whole + cost - inside - cost * len(blocks)
        value = float(answer(y, B, cost))
        mistakes = [
            (whole - inside, "the widths are for nothing here: each block, and the whole channel, pays `cost` bits."),
            (whole - inside - cost * len(blocks), "the one σ of the whole channel costs `cost` bits, too."),
            (-right, "the sign is wrong: a positive number means saved."),
            (right * np.log(2), "this is in nats: use log2."),
            (whole + cost - inside - cost, "every block pays `cost` bits, not all of them together."),
        ]
        for result, sentence in mistakes:
            if np.isclose(value, result) and not np.isclose(value, right):
                raise Wrong(sentence)
        expect_number(value, right, f"the saving for B = {B}", 1e-5, "Is σ = √(mean of y² + 0.01) everywhere?")


@exercise("the best reconstruction of every bin, and its nearest edge where there is no mass")
def centre_of_mass(answer, rng):
    k = rng.integers(-5, 6, 40).astype(np.float64)
    mu, sigma = k + rng.uniform(-2, 2, 40), rng.uniform(0.5, 3, 40)  # no bin of less than 1e-3
    a, b = (k - 0.5 - mu) / sigma, (k + 0.5 - mu) / sigma
    density = [np.exp(-t * t / 2) / np.sqrt(2 * np.pi) for t in (a, b)]
    shift = sigma * (density[1] - density[0]) / _bin(k, mu, sigma)
    wrong_sign, no_factor = "the sign of the second term is wrong: see the formula.", "the factor σ is missing."
    mistakes = [
        (mu + shift, wrong_sign),
        (np.clip(mu + shift, k - 0.5, k + 0.5), wrong_sign),
        (mu - shift / sigma, no_factor),
        (np.clip(mu - shift / sigma, k - 0.5, k + 0.5), no_factor),
        (mu, "this is μ: the mean over the whole line, not over the bin."),
        (k, "this is the middle of the bin."),
        (np.clip(mu, k - 0.5, k + 0.5), "this is the point of the bin nearest to μ, not its centre of mass."),
    ]
    expect_right(answer(k, mu, sigma), mu - shift, "the centre", mistakes)
    far = np.array([100.0, -100.0, 60.0])
    edges = np.array([99.5, -99.5, 59.5])
    value = np.asarray(answer(far, np.zeros(3), np.ones(3)), dtype=np.float64)
    expect(np.all(np.isfinite(value)), "where the bin has no mass you divide by 0; use a tiny number in its place.")
    expect_array(value, edges, "the centre of a bin without mass", tolerance=1e-2, hint="Limit the result to the bin.")


@exercise("the same to the last bit in every order, and equal to whole numbers' arithmetic")
def exact_dot(answer, rng):
    n = 2000
    weights, inputs = rng.normal(0, 0.3, n), rng.normal(0, 20, n)
    inputs[:3] = 9000.0, -7000.0, 5000.0  # out of the limits
    value = answer(weights, inputs)
    for _ in range(20):
        order = rng.permutation(n)
        expect(
            answer(weights[order], inputs[order]) == value,
            "another order gives another sum: a number is not on its grid, so that sums are rounded.",
        )
    whole = lambda x, bits: np.floor(x * 2.0**bits + 0.5).astype(object)  # noqa: E731
    terms = [
        int(w) * max(-(4096 << 10), min(4096 << 10, int(x)))
        for w, x in zip(whole(weights, 16), whole(inputs, 10), strict=True)
    ]  # noqa: E501
    unlimited = sum(int(w) * int(x) for w, x in zip(whole(weights, 16), whole(inputs, 10), strict=True)) / 2**26
    right = sum(terms) / 2**26
    expect(value != unlimited, "the inputs are not limited to ±4096: then no bound holds for the sum.")
    expect(
        value == right,
        f"the dot product is {float(value)!r}, exact integers give {right!r}: check both grids (halves up) and limits.",
    )
