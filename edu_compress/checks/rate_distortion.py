"""The checks of lesson 00: entropy, PSNR, the convex hull, lambda, BD-rate, and a budget shared by several pictures."""

from __future__ import annotations

import numpy as np

from .. import rate_distortion
from ..rate_distortion import RDCurve, RDPoint, lower_convex_hull
from ._core import Wrong, exercise, expect, expect_number, expect_right


def _entropy(*columns: np.ndarray) -> float:
    """Joint entropy of integer arrays of one length, in bits."""
    counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)[1]
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def _as_number(value: object, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be one number, not {type(value).__name__}.") from None


@exercise("H(X | C) = H(X, C) - H(C), in bits, for any integers")
def conditional_entropy(answer, rng):
    context = rng.integers(-10, 10, 3000)
    symbols = 7 * context + rng.geometric(0.005, 3000)  # -69 to about 1500: 256 * context + symbols mixes pairs up
    joint, h_symbols, h_context = _entropy(symbols, context), _entropy(symbols), _entropy(context)
    mixed_up = (
        "256 * c + x gives different pairs (c, x) the same number as soon as x leaves 0 to 255 "
        "(-1 after c = 1 is 255 after c = 0): count the pairs themselves, with np.unique(..., axis=1)."
    )
    right = joint - h_context
    value = _as_number(answer(symbols, context), "H(X | C)")
    mistakes = [
        (_entropy(256 * context + symbols) - h_context, mixed_up),
        (
            _entropy(symbols - context),
            "this is H(X - C), which is never less than H(X | C): count pairs (x, c).",
        ),
        (h_symbols, "this is H(X), the entropy of the symbols alone: the context is not used."),
        (joint, "this is the joint entropy H(X, C): subtract the entropy of the context."),
        (joint - h_symbols, "symbols and context are exchanged: this is H(C | X)."),
        (right * np.log(2), "this is in nats: use log2, not log."),
        (-right, "the sign is wrong: an entropy is never negative."),
    ]
    expect_right(value, right, "H(X | C)", mistakes, "Count pairs (x, c) that occur together.")
    expect_number(answer(context, context), 0.0, "H(X | X)", hint="Who knows X needs no bits for X.")
    value = _as_number(answer(context, symbols), "H(X | C)")  # now the context is wide
    mistakes = [(_entropy(256 * context + symbols) - h_symbols, mixed_up.replace("c + x", "x + c"))]
    expect_right(value, joint - h_symbols, "H(X | C) for numbers outside of 0 to 255", mistakes)


@exercise("a uniform quantiser with this step has MSE step² / 12, which is exactly the PSNR asked for")
def step_for_psnr(answer, rng):
    psnr = float(rng.uniform(25, 45))
    allowed = 255**2 / 10 ** (psnr / 10)
    value = _as_number(answer(psnr), "the step")
    mistakes = [
        (allowed, "this is the MSE that the PSNR allows; one step remains: MSE = step² / 12."),
        (12 * allowed, "this is the square of the step: take its root."),
        (np.sqrt(allowed), "this is the root of the MSE: the 12 of step² / 12 is missing."),
        (np.sqrt(allowed / 12), "the 12 is on the wrong side: MSE = step² / 12, so step² = 12 MSE."),
        (np.sqrt(12 * allowed / 255), "the peak enters squared: PSNR = 10 log10(255² / MSE)."),
        (np.sqrt(12 * 255**2 / 10 ** (psnr / 20)), "PSNR has 10 log10 of a ratio of squares; you used 20."),
    ]
    expect_right(value, np.sqrt(12 * allowed), f"the step for {psnr:.2f} dB", mistakes)


@exercise("your hull holds exactly the settings that some lambda picks")
def lower_hull(answer, rng):
    for _ in range(20):
        rate = np.sort(rng.uniform(0.1, 3, 12))
        distortion = 200 * 2.0 ** (-2 * rate) * rng.uniform(1, 1.6, 12)
        distortion[-1] = 1.2 * distortion.min()  # costs the most and is not the best: no lambda wants it
        _expect_hull(answer, rate, distortion, rng)
    ties = np.array([[1.0, 1, 2, 3, 3, 4], [9.0, 8, 6, 4, 5, 4]])  # equal rates, equal distortions, three on one line
    for _ in range(20):
        _expect_hull(answer, *ties, rng)


def _expect_hull(answer, rate: np.ndarray, distortion: np.ndarray, rng) -> None:
    order = rng.permutation(len(rate))  # settings do not come sorted by rate
    rate, distortion = rate[order], distortion[order]
    wanted = [int(i) for i in lower_convex_hull(rate, distortion)]
    try:
        found = [int(i) for i in np.asarray(answer(rate, distortion)).ravel()]
    except (TypeError, ValueError):
        raise Wrong("return the indices of the points on the hull, a list of integers.") from None
    expect(all(0 <= i < len(rate) for i in found), "an index is outside the array: return indices of the given points.")
    if extra := sorted(set(found) - set(wanted)):
        raise Wrong(f"point {extra[0]} is on your hull, but should not be: {_why_not(extra[0], rate, distortion)}.")
    if missing := sorted(set(wanted) - set(found)):
        raise Wrong(f"point {missing[0]} is missing from your hull: some lambda picks it.")
    expect(found == wanted, "the points are right, but not in the order of growing rate, each once.")


def _why_not(i: int, rate: np.ndarray, distortion: np.ndarray) -> str:
    """Say why point ``i`` is not on the hull."""
    no_worse = (rate <= rate[i]) & (distortion <= distortion[i])
    better = np.flatnonzero(no_worse & ((rate < rate[i]) | (distortion < distortion[i])))
    if not better.size:
        return "it lies above the straight line between two others, or on it, so no lambda needs it"
    dearer = "costs as much" if rate[better[0]] == rate[i] else "costs less"
    return f"point {better[0]} {dearer} and is " + ("better" if distortion[better[0]] < distortion[i] else "as good")


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
    expect_right(value, right, f"lambda for beta = {beta:.3g}", mistakes)


@exercise("the average distance between the two curves, in per cent of rate")
def bd_rate(answer, rng):
    # about 6 dB in common, 4 dB more on either side: whoever integrates there extrapolates
    psnr_anchor = np.array([27.0, 30.5, 33.5, 37.0]) + rng.uniform(-0.3, 0.3, 4)
    psnr_test = np.array([31.0, 34.0, 37.5, 41.0]) + rng.uniform(-0.3, 0.3, 4)
    rate_anchor = 0.25 * 2 ** ((psnr_anchor - 27) / 3.6 + rng.uniform(-0.1, 0.1, 4))
    rate_test = 0.22 * 2 ** ((psnr_test - 27) / 4.2 + rng.uniform(-0.1, 0.1, 4))  # needs fewer bits: negative
    four = rate_anchor, psnr_anchor, rate_test, psnr_test
    anchor, test = _curve(rate_anchor, psnr_anchor), _curve(rate_test, psnr_test)
    right = rate_distortion.bd_rate(anchor, test, method="cubic").value
    mistakes = [
        (rate_distortion.bd_rate(anchor, test).value, "this is the piecewise cubic (PCHIP) of section 7; the proposal "
         "of 2001 has one polynomial of degree 3 through all four points: np.polyfit(psnr, np.log(rate), 3)."),
        (rate_distortion.bd_psnr(anchor, test, method="cubic").value, "this is BD-PSNR, in dB: "
         "make log rate a function of PSNR, not PSNR a function of log rate."),
        *_slips_with_logarithms(np.log1p(right / 100)),
        *_slips_with_integrals(*four),
    ]  # fmt: skip
    what = "the BD-rate"
    expect_right(_as_number(answer(*four), what), right, what, mistakes, tolerance=1e-5)
    same = answer(rate_anchor, psnr_anchor, rate_anchor, psnr_anchor)
    expect_number(same, 0.0, "the BD-rate of a curve against itself", 1e-5)
    doubled = answer(rate_anchor, psnr_anchor, 2 * rate_anchor, psnr_anchor)
    expect_number(doubled, 100.0, "the BD-rate of a codec that always needs twice the bits", 1e-5)


def _slips_with_logarithms(mean_log: float) -> list[tuple[float, str]]:
    """What becomes of a right mean difference of log rates when step 5 goes wrong."""
    right = 100 * np.expm1(mean_log)
    return [
        (100 * np.expm1(-mean_log),
         "anchor and test are exchanged: a test codec that needs fewer bits has a negative BD-rate."),
        (abs(right), "the sign is lost: a test codec that needs fewer bits has a negative BD-rate. Do not take abs()."),
        (100 * mean_log, "this is the mean difference of log rates: turn it into per cent with exp(...) - 1."),
        (mean_log / np.log(10),
         "this is the mean difference of log10 rates: turn it into per cent with 10 ** (...) - 1."),
        (right / 100, "this is a factor minus 1: multiply by 100 for per cent."),
        (1 + right / 100, "this is the ratio of the rates: subtract 1, and multiply by 100 for per cent."),
        (100 + right, "this is the ratio of the rates in per cent: subtract 100, so that equal rates give 0."),
        (100 * np.expm1(mean_log / np.log(10)), "you took exp of a difference of log10: use 10 ** (...)."),
        (100 * np.expm1(mean_log * np.log(10)), "you took 10 ** of a difference of natural logarithms: use exp(...)."),
    ]  # fmt: skip


def _slips_with_integrals(rate_anchor, psnr_anchor, rate_test, psnr_test) -> list[tuple[float, str]]:
    """What becomes of right polynomials that are integrated over the wrong range, or of rates without logarithm."""

    def areas(low, high, y_anchor, y_test):
        integrals = (np.polyint(np.polyfit(x, y, 3)) for x, y in ((psnr_anchor, y_anchor), (psnr_test, y_test)))
        return [np.polyval(integral, high) - np.polyval(integral, low) for integral in integrals]

    low, high = max(psnr_anchor[0], psnr_test[0]), min(psnr_anchor[-1], psnr_test[-1])
    lowest, highest = min(psnr_anchor[0], psnr_test[0]), max(psnr_anchor[-1], psnr_test[-1])
    logs = np.log(rate_anchor), np.log(rate_test)
    difference = np.diff(areas(low, high, *logs))[0]
    everywhere = np.diff(areas(lowest, highest, *logs))[0] / (highest - lowest)
    without_log = areas(low, high, rate_anchor, rate_test)
    mean = (without_log[1] - without_log[0]) / (high - low)
    no_log = "take the logarithm of the rates before you fit (step 1), or the large files decide alone."
    return [
        (100 * np.expm1(difference), "divide the difference of the integrals by the length of the common PSNR range."),
        (100 * np.expm1(everywhere),
         "you integrated over all PSNR values: outside of the range that both curves cover nothing was measured."),
        *((result, no_log) for result in (
            100 * np.expm1(mean), 100 * (10**mean - 1), 100 * mean, mean, 100 * (without_log[1] / without_log[0] - 1)
        )),
    ]  # fmt: skip


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
