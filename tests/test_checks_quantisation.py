"""The checks of lesson 05: right answers pass, typical wrong answers get the sentence that helps, stubs wait."""

import numpy as np
import pytest
import torch

from edu_compress import checks
from edu_compress.learned.quantisation import straight_through_round

NAMES = ("noisy_density", "straight_through", "bits_from_cdf", "gdn", "gain", "best_step")


def bits_from_cdf(logits, y, log=torch.log2):
    lower, upper = logits(y - 0.5), logits(y + 0.5)
    sign = -torch.sign(lower + upper)
    return -log(torch.abs(torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)))


def plain_bits(logits, y):
    return -torch.log2(torch.sigmoid(logits(y + 0.5)) - torch.sigmoid(logits(y - 0.5)))


def gdn(x, beta, gamma):
    return x / torch.sqrt(beta[:, None, None] + torch.einsum("ij,bjhw->bihw", gamma, x**2))


def gain(lam, lams, gains):
    return np.exp([np.interp(np.log(lam), np.log(lams), column) for column in np.log(gains).T])


def costs(y, steps):
    for step in steps:
        q = np.rint(y / step)
        p = np.unique(q, return_counts=True)[1] / len(y)
        yield -(p * np.log2(p)).sum(), np.mean((y - q * step) ** 2)


def best_step(y, lam, steps):
    return steps[np.argmin([R + lam * D for R, D in costs(y, steps)])]


RIGHT = {
    "noisy_density": lambda cdf, v: cdf(v + 0.5) - cdf(v - 0.5),
    "straight_through": straight_through_round,
    "bits_from_cdf": bits_from_cdf,
    "gdn": gdn,
    "gain": gain,
    "best_step": best_step,
}

WRONG = [
    ("noisy_density", lambda cdf, v: cdf(v), "c.d.f. at v"),
    ("noisy_density", lambda cdf, v: (cdf(v + 1e-6) - cdf(v - 1e-6)) / 2e-6, "density of y itself"),
    ("noisy_density", lambda cdf, v: cdf(v - 0.5) - cdf(v + 0.5), "sign is wrong"),
    ("noisy_density", lambda cdf, v: cdf(v + 1) - cdf(v - 1), "not 2"),
    ("noisy_density", lambda cdf, v: cdf(v + 1) - cdf(v), "around v"),
    ("noisy_density", lambda cdf, v: RIGHT["noisy_density"](cdf, np.round(v)), "between the integers"),
    ("noisy_density", lambda cdf, v: 3.0, "has shape"),
    ("straight_through", torch.round, "gradient of torch.round"),
    ("straight_through", lambda y: torch.round(y).detach(), "no gradient flows"),
    ("straight_through", lambda y: y + torch.floor(y).detach() - y.detach(), "rounds down"),
    ("straight_through", lambda y: y, "nothing is rounded"),
    ("straight_through", lambda y: 0.5 * y, "not rounded to the nearest"),
    ("straight_through", lambda y: y.detach().numpy(), "torch tensor"),
    ("straight_through", lambda y: torch.round(y).detach() + 2 * (y - y.detach()), "the gradient with respect to y"),
    ("bits_from_cdf", plain_bits, "upper tail"),
    ("bits_from_cdf", lambda lo, y: bits_from_cdf(lo, y, torch.log), "nats"),
    ("bits_from_cdf", lambda lo, y: -bits_from_cdf(lo, y), "sign is wrong"),
    ("bits_from_cdf", lambda lo, y: 2 ** -bits_from_cdf(lo, y), "probabilities"),
    ("bits_from_cdf", lambda lo, y: bits_from_cdf(lo, y).clamp(max=30), "Do not bound p"),
    ("gdn", lambda x, b, g: gdn(x, b, g.T), "transposed"),
    ("gdn", lambda x, b, g: gdn(x, b, g) ** 2 / x, "square root"),
    ("gdn", lambda x, b, g: x * x / gdn(x, b, g), "inverse GDN"),
    ("gdn", lambda x, b, g: gdn(x, b, g * torch.eye(5)), "itself only"),
    ("gdn", lambda x, b, g: gdn(x, 0 * b, g), "beta is missing"),
    ("gdn", lambda x, b, g: x, "the result"),
    ("gain", lambda lam, ls, g: np.array([np.interp(lam, ls, c) for c in g.T]), "both λ and the gains"),
    ("gain", lambda lam, ls, g: np.array([np.interp(np.log(lam), np.log(ls), c) for c in g.T]), "the gains linearly"),
    ("gain", lambda lam, ls, g: np.exp([np.interp(lam, ls, c) for c in np.log(g).T]), "logarithm of λ"),
    ("gain", lambda lam, ls, g: g[np.searchsorted(ls, lam) - 1], "to the left"),
    ("gain", lambda lam, ls, g: g[np.searchsorted(ls, lam)], "to the right"),
    ("best_step", lambda y, lam, s: s[0], "smallest distortion"),
    ("best_step", lambda y, lam, s: s[-1], "smallest rate"),
    ("best_step", lambda y, lam, s: s[np.argmin([lam * R + D for R, D in costs(y, s)])], "smallest distortion"),
    ("best_step", lambda y, lam, s: int(np.argmin([R + lam * D for R, D in costs(y, s)])), "index"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", ["2026", "1", "77"])
def test_right_answers_pass(name, seed, monkeypatch):
    monkeypatch.setenv("EDU_COMPRESS_SEED", seed)
    result = getattr(checks, name)(RIGHT[name])
    assert result, result


def test_an_autograd_function_is_a_right_answer_too():
    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return torch.round(y)

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    assert checks.straight_through(Round.apply)


def test_a_backward_that_ignores_what_comes_from_above_is_explained():
    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return torch.round(y)

        @staticmethod
        def backward(ctx, gradient):
            return torch.ones_like(gradient)

    assert "hand on the gradient" in repr(checks.straight_through(Round.apply))


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
