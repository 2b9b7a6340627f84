"""The checks of lesson 00: right answers pass, typical wrong answers get the sentence that helps, stubs wait."""

import numpy as np
import pytest

from edu_compress import checks, rate_distortion

NAMES = ("conditional_entropy", "step_for_psnr", "our_lambda", "lower_hull", "bd_rate", "share_bits")


def entropy(*columns):
    counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)[1]
    p = counts / counts.sum()
    return -np.sum(p * np.log2(p))


def conditional_entropy(x, c):
    return entropy(x, c) - entropy(c)


def step_for_psnr(psnr):
    return np.sqrt(12) * 255 / 10 ** (psnr / 20)


def our_lambda(beta):
    return rate_distortion.convert_lambda(
        rate_distortion.convert_lambda(1 / beta, "nats"), "mse-0-1"
    )  # each takes one difference away


def bd_rate(rate_a, psnr_a, rate_t, psnr_t, common=True, log=np.log10):
    low, high = max(psnr_a.min(), psnr_t.min()), min(psnr_a.max(), psnr_t.max())
    if not common:  # a mistake
        low, high = min(psnr_a.min(), psnr_t.min()), max(psnr_a.max(), psnr_t.max())
    area = [np.polyint(np.polyfit(p, log(r), 3)) for r, p in ((rate_a, psnr_a), (rate_t, psnr_t))]
    area = [np.polyval(a, high) - np.polyval(a, low) for a in area]
    return 100 * (10 ** ((area[1] - area[0]) / (high - low)) - 1)


def best(rate, distortion, lam):
    return int(np.argmin(rate + lam * distortion))


def share_bits(pictures, budget):
    """The largest lambda that fits, by halving an interval of its logarithm."""
    low, high = -9.0, 9.0
    for _ in range(60):
        middle = (low + high) / 2
        rates = [rate[best(rate, distortion, 10**middle)] for rate, distortion in pictures]
        low, high = (middle, high) if sum(rates) <= budget else (low, middle)
    return [best(rate, distortion, 10**low) for rate, distortion in pictures]


RIGHT = {
    "conditional_entropy": conditional_entropy,
    "step_for_psnr": step_for_psnr,
    "our_lambda": our_lambda,
    "lower_hull": rate_distortion.lower_convex_hull,
    "bd_rate": bd_rate,
    "share_bits": share_bits,
}


def module_bd(function, rate_a, psnr_a, rate_t, psnr_t, **options):
    def curve(rate, psnr):
        points = (rate_distortion.RDPoint(r, 0, p, 0, 0) for r, p in zip(rate, psnr, strict=True))
        return rate_distortion.RDCurve("four points", tuple(points))

    return function(curve(rate_a, psnr_a), curve(rate_t, psnr_t), **options).value


def not_dominated(rate, distortion):
    """The Pareto front: right about points that are worse in both, wrong about those above a chord."""
    return [i for i in np.argsort(rate) if not ((rate < rate[i]) & (distortion < distortion[i])).any()]


def greedy(rate, distortion, start, pick):
    """From each point to the one that buys the most per bit; right or wrong by how ties are resolved."""
    hull = [start]
    while (better := np.flatnonzero(distortion < distortion[hull[-1]])).size:
        with np.errstate(divide="ignore"):
            drop = (distortion[hull[-1]] - distortion[better]) / (rate[better] - rate[hull[-1]])
        by_rate = np.argsort(-rate[better])  # the farthest first
        hull.append(int(better[by_rate][pick(drop[by_rate])]))
    return hull


def cheapest(rate, distortion):
    return int(np.lexsort((distortion, rate))[0])


def last_of_the_largest(values):
    return int(np.flatnonzero(values == values.max())[-1])


def equal_bits(pictures, budget):
    limit = budget / len(pictures)
    return [int(np.argmin(np.where(rate <= limit, distortion, np.inf))) for rate, distortion in pictures]


WRONG = [
    ("conditional_entropy", lambda x, c: entropy(x), "the context is not used"),
    ("conditional_entropy", lambda x, c: entropy(x, c), "joint entropy"),
    ("conditional_entropy", lambda x, c: entropy(x, c) - entropy(x), "exchanged"),
    ("conditional_entropy", lambda x, c: conditional_entropy(x, c) * np.log(2), "nats"),
    ("conditional_entropy", lambda x, c: entropy(c) - entropy(x, c), "never negative"),
    ("conditional_entropy", lambda x, c: entropy(256 * c + x) - entropy(c), "256 * c + x"),  # pairs collide
    ("conditional_entropy", lambda x, c: entropy(256 * x + c) - entropy(c), "256 * x + c"),
    ("conditional_entropy", lambda x, c: entropy(1000 * c + x) - entropy(c), "it should be"),
    ("conditional_entropy", lambda x, c: entropy(x - c), "H(X - C)"),
    ("conditional_entropy", lambda x, c: "many bits", "should be one number"),
    ("step_for_psnr", lambda p: 255**2 / 10 ** (p / 10), "MSE that the PSNR allows"),
    ("step_for_psnr", lambda p: 12 * 255**2 / 10 ** (p / 10), "take its root"),
    ("step_for_psnr", lambda p: 255 / 10 ** (p / 20), "12"),
    ("step_for_psnr", lambda p: np.sqrt(255**2 / 10 ** (p / 10) / 12), "wrong side"),
    ("step_for_psnr", lambda p: np.sqrt(12 * 255 / 10 ** (p / 10)), "squared"),
    ("step_for_psnr", lambda p: np.sqrt(12 * 255**2 / 10 ** (p / 20)), "20"),
    ("step_for_psnr", lambda p: 1.0, "it should be"),
    ("our_lambda", lambda b: 1 / (255**2 * b), "nats"),
    ("our_lambda", lambda b: np.log(2) / (255**2 * b), "multiplied by ln 2"),
    ("our_lambda", lambda b: 1 / (b * np.log(2)), "scale 0 to 1"),
    ("our_lambda", lambda b: 1 / (255 * b * np.log(2)), "not 255"),
    ("our_lambda", lambda b: 255**2 * b * np.log(2), "divide the loss"),
    ("our_lambda", lambda b: 255**2 / (b * np.log(2)), "wrong side"),
    ("lower_hull", lambda r, d: np.argsort(r), "should not be"),
    ("lower_hull", not_dominated, "above the straight line"),
    ("lower_hull", lambda r, d: greedy(r, d, int(np.argmin(r)), np.argmax), "costs as much and is better"),
    ("lower_hull", lambda r, d: greedy(r, d, cheapest(r, d), last_of_the_largest), "or on it"),
    ("lower_hull", lambda r, d: rate_distortion.lower_convex_hull(r, d)[1:], "missing"),
    ("lower_hull", lambda r, d: rate_distortion.lower_convex_hull(r, d)[::-1], "order"),
    ("lower_hull", lambda r, d: np.sort(r) * 100, "outside the array"),
    ("lower_hull", lambda r, d: "all", "list of integers"),
    ("bd_rate", lambda ra, pa, rt, pt: bd_rate(rt, pt, ra, pa), "exchanged"),
    ("bd_rate", lambda *a: bd_rate(*a) / 100, "multiply by 100"),
    ("bd_rate", lambda *a: 1 + bd_rate(*a) / 100, "subtract 1"),
    ("bd_rate", lambda *a: 100 * np.log1p(bd_rate(*a) / 100), "exp(...) - 1"),
    ("bd_rate", lambda *a: np.log10(1 + bd_rate(*a) / 100), "10 ** (...) - 1"),
    ("bd_rate", lambda *a: 100 * np.expm1(np.log10(1 + bd_rate(*a) / 100)), "you took exp"),
    ("bd_rate", lambda *a: 100 * np.expm1(np.log(10) * np.log1p(bd_rate(*a) / 100)), "you took 10 **"),
    ("bd_rate", lambda *a: abs(bd_rate(*a)), "the sign is lost"),
    ("bd_rate", lambda *a: 100 + bd_rate(*a), "subtract 100"),
    ("bd_rate", lambda *a: bd_rate(*a, common=False), "you integrated over all PSNR values"),
    ("bd_rate", lambda *a: bd_rate(*a, log=np.asarray), "logarithm of the rates"),
    ("bd_rate", lambda *a: np.log10(1 + bd_rate(*a, log=np.asarray) / 100), "logarithm of the rates"),
    ("bd_rate", lambda *a: module_bd(rate_distortion.bd_rate, *a), "PCHIP"),
    ("bd_rate", lambda *a: module_bd(rate_distortion.bd_psnr, *a, method="cubic"), "BD-PSNR"),
    ("bd_rate", lambda ra, pa, rt, pt: 100 * (np.mean(rt / ra) - 1), "it should be"),  # ignores the quality
    ("share_bits", equal_bits, "the same bits"),
    ("share_bits", lambda pictures, budget: [int(np.argmax(rate)) for rate, _ in pictures], "the budget is"),
    ("share_bits", lambda pictures, budget: [int(np.argmin(rate)) for rate, _ in pictures], "one lambda for all"),
    ("share_bits", lambda pictures, budget: [0], "one setting (an index) per picture"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", ["2026", "1", "77"])
def test_right_answers_pass(name, seed, monkeypatch):
    monkeypatch.setenv("EDU_COMPRESS_SEED", seed)
    result = getattr(checks, name)(RIGHT[name])
    assert result, result


def test_ties_are_resolved_as_the_exercise_says():
    """Of equal slopes the farthest point, of equal rates the better one: the lesson's solution."""
    assert checks.lower_hull(lambda r, d: greedy(r, d, cheapest(r, d), np.argmax))


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
