"""The checks of lesson 05: noisy densities, straight-through rounding, bits from a c.d.f., GDN, gains, and a step."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import laplace

from ._core import Wrong, exercise, expect, expect_array, expect_number, expect_right


def _tensor(value: object, what: str) -> torch.Tensor:
    expect(isinstance(value, torch.Tensor), f"{what} should be a torch tensor, not {type(value).__name__}.")
    return value


def _normals(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=shape))


@exercise("at the integers, the density of y + u is the probability of the rounded y")
def noisy_density(answer, rng):
    scale = float(rng.uniform(0.4, 2))
    source = laplace(loc=float(rng.uniform(-0.4, 0.4)), scale=scale)
    v = np.concatenate([np.arange(-3.0, 4.0), rng.uniform(-3, 3, 6)])  # integers and others
    right = source.cdf(v + 0.5) - source.cdf(v - 0.5)
    mistakes = [
        (source.pdf(v), "this is the density of y itself; the noise averages it over [v - 1/2, v + 1/2]."),
        (source.cdf(v), "this is the c.d.f. at v; the density of the sum is a difference of two values of it."),
        (-right, "the sign is wrong: subtract the lower value of the c.d.f. from the upper one."),
        (source.cdf(v + 1) - source.cdf(v - 1), "the noise goes from -1/2 to 1/2: the interval has length 1, not 2."),
        (source.cdf(v + 1) - source.cdf(v), "the interval should lie around v, from v - 1/2 to v + 1/2."),
        (source.cdf(np.round(v) + 0.5) - source.cdf(np.round(v) - 0.5),
         "this is the probability of the nearest integer; the density of y + u is defined between the integers, too."),
    ]  # fmt: skip
    expect_right(answer(source.cdf, v), right, "the density of y + u", mistakes)


@exercise("values are rounded, and the gradient passes as if nothing had happened")
def straight_through(answer, rng):
    y = (3 * _normals(rng, 40)).requires_grad_()
    y_hat = _tensor(answer(y), "the result")
    values = y_hat.detach()
    expect(y_hat.shape == y.shape, f"the result has shape {tuple(y_hat.shape)}, it should be {tuple(y.shape)}.")
    if not torch.allclose(values, torch.round(y)):
        if torch.allclose(values, torch.floor(y)):
            raise Wrong("this rounds down; use torch.round.")
        if torch.allclose(values, y):
            raise Wrong("nothing is rounded: in y + (round(y) - y), detach the bracket, not the sum.")
        raise Wrong("the values are not rounded to the nearest integer.")
    expect(
        y_hat.requires_grad,
        "no gradient flows: the result is detached from y. Detach only the difference round(y) - y, or write a "
        "torch.autograd.Function with a backward.",
    )
    weights = _normals(rng, 40)
    (gradient,) = torch.autograd.grad((weights * y_hat).sum(), y)
    expect(bool(gradient.any()), "the gradient is zero everywhere: that is the gradient of torch.round itself.")
    if torch.allclose(gradient, torch.ones_like(gradient)):
        raise Wrong("the gradient is 1 whatever comes from above: backward must hand on the gradient that it is given.")
    expect_array(gradient.numpy(), weights.numpy(), "the gradient with respect to y")


@exercise("your bits are right also in the tail, where 1 - 1 would lose every digit")
def bits_from_cdf(answer, rng):
    logits = lambda y: 1.7 * (y - 0.3)  # noqa: E731 - the c.d.f. is a sigmoid
    y = torch.from_numpy(rng.integers(-4, 5, 30).astype(np.float32))
    lower, upper = logits(y.double() - 0.5), logits(y.double() + 0.5)
    p = torch.sigmoid(upper) - torch.sigmoid(lower)
    right = -torch.log2(p).numpy()
    value = _tensor(answer(logits, y), "the bits").detach().double().numpy()
    for result, sentence in (
        (-torch.log(p).numpy(), "this is in nats: use log2, or divide by ln 2."),
        (torch.log2(p).numpy(), "the sign is wrong: bits are positive."),
        (p.numpy(), "these are probabilities; one step remains: the bits are -log2 p."),
    ):
        if value.shape == result.shape and np.allclose(value, result, rtol=1e-3):
            raise Wrong(sentence)
    expect_array(value, right, "the bits", 1e-3, "P(y) = c(y + 1/2) - c(y - 1/2), where c = sigmoid(logits).")
    far = torch.tensor([-25.0, 25.0])
    inner, outer = (torch.sigmoid(-logits(far.double() + far.sign() * half).abs()) for half in (-0.5, 0.5))
    exact = -torch.log2(inner - outer).numpy()
    value = _tensor(answer(logits, far), "the bits").detach().double().numpy()
    names = ("lower", "upper")
    for side in (0, 1):
        if not np.isfinite(value[side]) or value[side] > 1e3:
            raise Wrong(
                f"in the {names[side]} tail (y = {far[side]:g}) your probability is zero, so the bits are infinite: "
                "in float32, sigmoid is exactly 1 there. Use 1 - sigmoid(x) = sigmoid(-x) to stay where it is small."
            )
        expect_number(value[side], exact[side], f"the bits at y = {far[side]:g}", 1e-2, "Do not bound p from below.")


@exercise("each channel is divided by the square root of beta plus a weighted sum of all squares")
def gdn(answer, rng):
    x = _normals(rng, 2, 5, 3, 4)
    beta = torch.from_numpy(rng.uniform(0.5, 2, 5))
    gamma = torch.from_numpy(rng.uniform(0, 1, (5, 5)))  # not symmetric
    right, alternatives = _gdn(x, beta, gamma), []
    energy = torch.einsum("ij,bjhw->bihw", gamma, x * x) + beta[:, None, None]
    alternatives += [
        (_gdn(x, beta, gamma.T), "gamma is transposed: the sum for output i runs over gamma[i, j] x_j²."),
        (x / energy, "the square root is missing."),
        (x * torch.sqrt(energy), "this is the inverse GDN: it multiplies; GDN divides."),
        (_gdn(x, beta, gamma * torch.eye(5)), "each channel is divided by itself only: the sum runs over all j."),
        (_gdn(x, torch.zeros(5, dtype=x.dtype), gamma), "beta is missing."),
    ]
    value = _tensor(answer(x, beta, gamma), "the result").detach()
    for result, sentence in alternatives:
        if value.shape == result.shape and torch.allclose(value, result):
            raise Wrong(sentence)
    expect_array(value.numpy(), right.numpy(), "the result")


def _gdn(x: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt(torch.einsum("ij,bjhw->bihw", gamma, x * x) + beta[:, None, None])


@exercise("between two anchors the gain moves along an exponential, as λ does")
def gain(answer, rng):
    lams = np.geomspace(0.001, 0.064, 4)
    gains = np.exp(rng.uniform(-3, 0, (4, 6)))  # 4 anchors, 6 channels
    lam = float(rng.uniform(lams[1] * 1.2, lams[2] * 0.9))
    t = float(np.log(lam / lams[1]) / np.log(lams[2] / lams[1]))
    linear_t = (lam - lams[1]) / (lams[2] - lams[1])
    geometric = lambda w: gains[1] ** (1 - w) * gains[2] ** w  # noqa: E731
    mistakes = [
        ((1 - t) * gains[1] + t * gains[2], "this interpolates the gains linearly: interpolate their logarithms."),
        (geometric(linear_t), "the position between the anchors should be measured on the logarithm of λ."),
        ((1 - linear_t) * gains[1] + linear_t * gains[2], "both λ and the gains should enter by their logarithms."),
        (geometric(1 - t), "the weights are exchanged: at the left anchor its own gain has weight 1."),
        (gains[1], "this is the gain of the anchor to the left; λ lies between two anchors."),
        (gains[2], "this is the gain of the anchor to the right; λ lies between two anchors."),
    ]
    expect_right(answer(lam, lams, gains), geometric(t), "the gain", mistakes)
    for k in (0, 3):
        expect_array(answer(float(lams[k]), lams, gains), gains[k], f"the gain at anchor {k}")


@exercise("no other step has a smaller R + λ D on these samples")
def best_step(answer, rng):
    y = rng.laplace(0, float(rng.uniform(3, 8)), 4000)
    steps = np.geomspace(1, 30, 25)
    for lam in (0.01, 0.1):
        R, D = (np.array(column) for column in zip(*(_rate_and_distortion(y, step) for step in steps), strict=True))
        J = R + lam * D
        right = steps[J.argmin()]
        value = answer(y, lam, steps)
        mistakes = [
            (steps[D.argmin()], "this step has the smallest distortion, whatever it costs: minimise R + λ D."),
            (steps[R.argmin()], "this step has the smallest rate, whatever it loses: minimise R + λ D."),
            (steps[(R * np.log(2) + lam * D).argmin()], "your rate is in nats: use log2."),
            (steps[(lam * R + D).argmin()], "λ stands before D, not before R."),
            (J.argmin(), "this is the index of the best step: return the step."),
            (steps[J.argmax()], "this step has the largest J."),
        ]
        for result, sentence in mistakes:
            if np.isscalar(value) and np.isclose(value, result) and not np.isclose(value, right):
                raise Wrong(sentence)
        expect_number(value, right, f"the step for λ = {lam:g}", hint=f"Its J is {J.min():.4f}.")


def _rate_and_distortion(y: np.ndarray, step: float) -> tuple[float, float]:
    """Entropy (bits per sample) and MSE of rounding to multiples of a step."""
    symbols = np.rint(y / step)
    p = np.unique(symbols, return_counts=True)[1] / len(y)
    return float(-(p * np.log2(p)).sum()), float(np.mean((y - step * symbols) ** 2))
