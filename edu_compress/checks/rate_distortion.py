"""The checks of lesson 00: entropy, PSNR, the convex hull, lambda, BD-rate, and a budget shared by several pictures."""

from __future__ import annotations

import numpy as np

from ..rate_distortion import RDCurve, RDPoint, lower_convex_hull
from ..rate_distortion import bd_rate as module_bd_rate
from ._core import Wrong, exercise, expect, expect_number


def _entropy(*columns: np.ndarray) -> float:
    """Joint entropy of integer arrays of one length, in bits."""
    counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def _expect_none_of(value: float, mistakes: list[tuple[float, str]], tolerance: float = 1e-6) -> None:
    """Raise :class:`Wrong` with the sentence of the mistake whose result ``value`` is."""
    for result, sentence in mistakes:
        if np.isclose(value, result, rtol=tolerance, atol=tolerance):
            raise Wrong(sentence)


def _as_number(value: object, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be one number, not {type(value).__name__}.") from None


@exercise("H(X | C) = H(X, C) - H(C), in bits, for any integers")
def conditional_entropy(answer, rng):
    context = rng.integers(-10, 10, 3000)
    symbols = 7 * context + rng.geometric(0.005, 3000)  # so wide that 256 * context + symbols mixes pairs up
    joint, h_symbols, h_context = _entropy(symbols, context), _entropy(symbols), _entropy(context)
    right = joint - h_context
    value = _as_number(answer(symbols, context), "H(X | C)")
    mistakes = [
        (h_symbols, "this is H(X), the entropy of the symbols alone: the context is not used."),
        (joint, "this is the joint entropy H(X, C): subtract the entropy of the context."),
        (joint - h_symbols, "symbols and context are exchanged: this is H(C | X)."),
        (right * np.log(2), "this is in nats: use log2, not log."),
        (-right, "the sign is wrong: an entropy is never negative."),
    ]
    _expect_none_of(value, mistakes)
    expect_number(value, right, "H(X | C)", hint="Count pairs (x, c) that occur together.")
    expect_number(answer(context, context), 0.0, "H(X | X)", hint="Who knows X needs no bits for X.")


@exercise("a uniform quantiser with this step has MSE step² / 12, which is exactly the PSNR asked for")
def step_for_psnr(answer, rng):
    psnr = float(rng.uniform(25, 45))
    allowed = 255**2 / 10 ** (psnr / 10)
    value = _as_number(answer(psnr), "the step")
    mistakes = [
        (allowed, "this is the MSE that the PSNR allows; one step remains: MSE = step² / 12."),
        (12 * allowed, "this is the square of the step: take its root."),
        (np.sqrt(allowed), "this is the root of the MSE: the 12 of step² / 12 is missing."),
        (np.sqrt(12 * allowed / 255), "the peak enters squared: PSNR = 10 log10(255² / MSE)."),
        (np.sqrt(12 * 255**2 / 10 ** (psnr / 20)), "PSNR has 10 log10 of a ratio of squares; you used 20."),
    ]
    _expect_none_of(value, mistakes)
    expect_number(value, np.sqrt(12 * allowed), f"the step for {psnr:.2f} dB")


@exercise("your hull holds exactly the settings that some lambda picks")
def lower_hull(answer, rng):
    for _ in range(20):
        rate = np.sort(rng.uniform(0.1, 3, 12))
        distortion = 200 * 2.0 ** (-2 * rate) * rng.uniform(1, 1.6, 12)
        distortion[-1] = 1.2 * distortion.min()  # costs the most and is not the best: no lambda wants it
        order = rng.permutation(12)  # settings do not come sorted by rate
        rate, distortion = rate[order], distortion[order]
        wanted = [int(i) for i in lower_convex_hull(rate, distortion)]
        try:
            found = [int(i) for i in np.asarray(answer(rate, distortion)).ravel()]
        except (TypeError, ValueError):
            raise Wrong("return the indices of the points on the hull, a list of integers.") from None
        expect(all(0 <= i < 12 for i in found), "an index is outside the array: return indices of the given points.")
        if extra := sorted(set(found) - set(wanted)):
            worse = _dominates(extra[0], rate, distortion)
            reason = (
                "it lies above a chord of two others" if worse is None else f"point {worse} costs less and is better"
            )
            raise Wrong(f"point {extra[0]} is on your hull, but no lambda picks it: {reason}.")
        if missing := sorted(set(wanted) - set(found)):
            raise Wrong(f"point {missing[0]} is missing from your hull: some lambda picks it.")
        expect(found == wanted, "the points are right, but not in the order of growing rate.")


def _dominates(index: int, rate: np.ndarray, distortion: np.ndarray) -> int | None:
    """Return a point with less rate and less distortion than point ``index``, if there is one."""
    better = np.flatnonzero((rate < rate[index]) & (distortion < distortion[index]))
    return int(better[0]) if better.size else None


@exercise("both losses now have their minimum at the same place")
def our_lambda(answer, rng):
    beta = float(10 ** rng.uniform(-4, -1))
    value = _as_number(answer(beta), "lambda")
    right = 1 / (255**2 * beta * np.log(2))
    mistakes = [
        (1 / (255**2 * beta), "R is still in nats: one nat is 1 / ln 2 bits."),
        (
            np.log(2) / (255**2 * beta),
            "you multiplied by ln 2; R in nats is R in bits times ln 2, and beta stands before it.",
        ),
        (1 / (beta * np.log(2)), "D is still on the scale 0 to 1: the MSE on the scale 0 to 255 is 255² times larger."),
        (1 / (255 * beta * np.log(2)), "the scale enters the MSE squared: 255², not 255."),
        (1 / right, "beta stands before R, our lambda before D: divide the loss by what stands before R."),
        (
            255**2 / (beta * np.log(2)),
            "the 255² went to the wrong side: a distortion on the scale 0 to 255 is larger, so lambda is smaller.",
        ),
    ]
    _expect_none_of(value, mistakes)
    expect_number(value, right, f"lambda for beta = {beta:.3g}")


@exercise("the average distance between the two curves, in per cent of rate")
def bd_rate(answer, rng):
    psnr_anchor = np.array([27.0, 30.5, 33.5, 37.0]) + rng.uniform(-0.3, 0.3, 4)
    psnr_test = psnr_anchor + rng.uniform(0.4, 0.9, 4)
    rate_anchor = 0.25 * 2 ** ((psnr_anchor - 27) / 3.6 + rng.uniform(-0.1, 0.1, 4))
    rate_test = 0.22 * 2 ** ((psnr_test - 27) / 3.7 + rng.uniform(-0.1, 0.1, 4))
    value = _as_number(answer(rate_anchor, psnr_anchor, rate_test, psnr_test), "the BD-rate")
    right = module_bd_rate(_curve(rate_anchor, psnr_anchor), _curve(rate_test, psnr_test), method="cubic").value
    mean_log = np.log1p(right / 100)
    mistakes = [
        (
            100 * np.expm1(-mean_log),
            "anchor and test are exchanged: a test codec that needs fewer bits has a negative BD-rate.",
        ),
        (100 * mean_log, "this is the mean difference of log rates: turn it into per cent with exp(...) - 1."),
        (
            mean_log / np.log(10),
            "this is the mean difference of log10 rates: turn it into per cent with 10 ** (...) - 1.",
        ),
        (right / 100, "this is a factor minus 1: multiply by 100 for per cent."),
        (1 + right / 100, "this is the ratio of the rates: subtract 1, and multiply by 100 for per cent."),
        (100 * np.expm1(mean_log / np.log(10)), "you took exp of a difference of log10: use 10 ** (...)."),
        (
            100 * np.expm1(mean_log * (min(psnr_anchor[-1], psnr_test[-1]) - max(psnr_anchor[0], psnr_test[0]))),
            "divide the difference of the integrals by the length of the common PSNR range.",
        ),
    ]
    _expect_none_of(value, mistakes, tolerance=1e-4)
    same = answer(rate_anchor, psnr_anchor, rate_anchor, psnr_anchor)
    expect_number(same, 0.0, "the BD-rate of a curve against itself", 1e-3)
    doubled = answer(rate_anchor, psnr_anchor, 2 * rate_anchor, psnr_anchor)
    expect_number(doubled, 100.0, "the BD-rate of a codec that always needs twice the bits", 1e-3)
    expect_number(value, right, "the BD-rate", 1e-3, "Integrate only where both curves have PSNR values.")


def _curve(rate: np.ndarray, psnr: np.ndarray) -> RDCurve:
    nan = float("nan")  # BD-rate by PSNR reads nothing else
    return RDCurve("four points", tuple(RDPoint(r, nan, p, nan, nan) for r, p in zip(rate, psnr, strict=True)))


@exercise("within the budget, and no worse than one lambda for all pictures")
def share_bits(answer, rng):
    for count in (2, 3, 5):
        pictures = []
        for deviation in 60.0 * 3.0 ** -np.arange(count) + rng.uniform(0, 2, count):
            rate = np.sort(rng.uniform(0.05, 4, 25))
            pictures.append((rate, deviation**2 * 2.0 ** (-2 * rate)))  # equation R(D) of a Gaussian source
        budget = float(rng.uniform(1.2, 2.0)) * count
        chosen = np.asarray(answer(pictures, budget)).ravel()
        expect(chosen.size == count, f"return one setting (an index) per picture: {count}, not {chosen.size}.")
        rate = sum(p[0][int(i)] for p, i in zip(pictures, chosen, strict=True))
        distortion = sum(p[1][int(i)] for p, i in zip(pictures, chosen, strict=True))
        expect(rate <= budget + 1e-9, f"your settings need {rate:.3f} bits, but the budget is {budget:.3f}.")
        best = _shared_lambda(pictures, budget)
        equal = sum(p[1][p[0] <= budget / count].min() for p in pictures)
        if np.isclose(distortion, equal, rtol=1e-9):
            raise Wrong(
                f"you gave each picture the same bits: D = {distortion:.1f}; one lambda for all reaches {best:.1f}."
            )
        slack = f"with the same budget one lambda for all reaches {best:.1f}. Is your lambda the largest that fits?"
        expect(distortion <= 1.01 * best, f"the sum of your distortions is {distortion:.1f}; {slack}")


def _shared_lambda(pictures: list[tuple[np.ndarray, np.ndarray]], budget: float) -> float:
    """Return the smallest sum of distortions that one lambda for all pictures reaches within the budget."""
    best = np.inf
    for lam in np.geomspace(1e-6, 1e3, 4000):
        picks = [int(np.argmin(rate + lam * distortion)) for rate, distortion in pictures]
        if sum(p[0][i] for p, i in zip(pictures, picks, strict=True)) <= budget:
            best = min(best, sum(p[1][i] for p, i in zip(pictures, picks, strict=True)))
    return best
