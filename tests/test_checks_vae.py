"""The checks of lesson 04: right answers pass, typical wrong answers get the sentence that helps, stubs wait."""

import math

import numpy as np
import pytest
import torch

from edu_compress import checks, vae

NAMES = (
    "reparameterise", "kl_divergence", "elbo_bits_per_pixel", "lambda_of_beta", "importance_weighted_bound",
    "refine_posterior",
)  # fmt: skip


def kl(mean, log_variance):
    return vae.kl_divergence(mean, log_variance).sum(-1)


def elbo(kl, error, variance, n):
    return (kl + error / (2 * variance) + n / 2 * math.log(2 * math.pi * variance)) / (n * math.log(2))


def refine(decode, x, mean, log_variance, lam, steps=300, sign=1, only_mean=False):
    mean, log_variance = mean.clone().requires_grad_(), log_variance.clone().requires_grad_()
    optimiser = torch.optim.Adam([mean] if only_mean else [mean, log_variance], lr=0.03)
    for _ in range(steps):
        z = mean + torch.exp(0.5 * log_variance) * torch.randn(8, *mean.shape)
        J = kl(mean, log_variance).sum() / x.shape[1] / math.log(2) + lam * ((x - decode(z)) ** 2).mean((0, 2)).sum()
        optimiser.zero_grad()
        (sign * J).backward()
        optimiser.step()
    return mean, log_variance


RIGHT = {
    "reparameterise": vae.reparameterise,
    "kl_divergence": kl,
    "elbo_bits_per_pixel": elbo,
    "lambda_of_beta": lambda beta, variance: vae.lambda_of(variance, beta),
    "importance_weighted_bound": lambda w: torch.logsumexp(w, 0) - math.log(len(w)),
    "refine_posterior": refine,
}

WRONG = [
    ("reparameterise", lambda m, v, e: m + v.exp() * e, "multiplied by the variance"),
    ("reparameterise", lambda m, v, e: m + v * e, "take the exponential"),
    ("reparameterise", lambda m, v, e: m + torch.exp(v / 2), "no noise"),
    ("reparameterise", lambda m, v, e: m, "mean alone"),
    ("reparameterise", lambda m, v, e: m + e, "variance 1"),
    ("reparameterise", lambda m, v, e: vae.reparameterise(m, v, e).detach(), "no gradient"),
    ("reparameterise", lambda m, v, e: vae.reparameterise(m, v.detach(), e), "does not reach log sigma²"),
    ("reparameterise", lambda m, v, e: vae.reparameterise(m, v, e).T, "has shape"),
    ("kl_divergence", vae.kl_divergence, "for each latent"),
    ("kl_divergence", lambda m, v: kl(m, v).sum(), "over all patches"),
    ("kl_divergence", lambda m, v: kl(m, v) / m.shape[1], "mean over the latents"),
    ("kl_divergence", lambda m, v: vae.kl_divergence(m, v).sum(0), "over the patches"),
    ("kl_divergence", lambda m, v: kl(m, v) / math.log(2), "in bits"),
    ("kl_divergence", lambda m, v: -kl(m, v), "never negative"),
    ("kl_divergence", lambda m, v: 2 * kl(m, v), "1/2"),
    ("kl_divergence", lambda m, v: 0.5 * (m**2 + v.exp() - v).sum(-1), "-1"),
    ("kl_divergence", lambda m, v: kl(m, v / 2), "sigma where sigma²"),
    ("kl_divergence", lambda m, v: kl(m, v) + v.sum(-1), "very sharp"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(k, e, v, n) * n * math.log(2), "nats per patch"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(k, e, v, n) * math.log(2), "nats per pixel"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(k, e, v, n) * n, "bits per patch"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(k, e, v, n) - math.log2(2 * math.pi * v) / 2, "constant"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(k, 2 * e, v, n), "2 s²"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: -elbo(k, e, v, n), "sign"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(-k, e, v, n), "is added"),
    ("elbo_bits_per_pixel", lambda k, e, v, n: elbo(k, e, math.pi, n), "it should be"),
    ("lambda_of_beta", lambda b, v: 1 / (2 * b * v), "nats"),
    ("lambda_of_beta", lambda b, v: math.log(2) / (2 * b * v), "multiplied by ln 2"),
    ("lambda_of_beta", lambda b, v: b / (2 * v * math.log(2)), "before the RATE"),
    ("lambda_of_beta", lambda b, v: 1 / (b * v * math.log(2)), "the 2 is missing"),
    ("lambda_of_beta", lambda b, v: 1 / vae.lambda_of(v, b), "1 / lambda"),
    ("lambda_of_beta", lambda b, v: vae.lambda_of(v), "beta is not used"),
    ("lambda_of_beta", lambda b, v: vae.lambda_of(v, b) / 64, "cancel"),
    ("lambda_of_beta", lambda b, v: 1.0, "it should be 1"),
    ("importance_weighted_bound", lambda w: w.mean(0), "the ELBO"),
    ("importance_weighted_bound", lambda w: torch.logsumexp(w, 0), "subtract log K"),
    ("importance_weighted_bound", lambda w: torch.exp(w).mean(0), "take its logarithm"),
    ("importance_weighted_bound", lambda w: torch.logsumexp(w, 1) - math.log(7), "first axis"),
    ("importance_weighted_bound", lambda w: w.max(0).values, "largest"),
    ("importance_weighted_bound", lambda w: torch.exp(w).mean(0).log(), "not finite"),
    ("refine_posterior", lambda d, x, m, v, lam: m, "two tensors"),
    ("refine_posterior", lambda d, x, m, v, lam: (m.T, v.T), "has shape"),
    ("refine_posterior", lambda *a: refine(*a, steps=5, sign=-1), "should fall"),
    ("refine_posterior", lambda *a: refine(*a, only_mean=True), "log_variance did not move"),
    ("refine_posterior", lambda *a: refine(*a, steps=5), "take more steps"),
]


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass(name):
    result = getattr(checks, name)(RIGHT[name])
    assert result, result


@pytest.mark.parametrize("name, answer, sentence", WRONG, ids=[f"{n}-{s}" for n, _, s in WRONG])
def test_wrong_answers_get_the_sentence_that_helps(name, answer, sentence):
    result = getattr(checks, name)(answer)
    assert not result
    assert sentence in result.sentence


@pytest.mark.parametrize("name", NAMES)
def test_untouched_stubs_are_not_attempted(name):
    assert "not attempted" in repr(getattr(checks, name)(lambda *arguments: ...))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2])
def test_graders_can_change_the_seed(name, seed, monkeypatch):
    monkeypatch.setenv("EDU_COMPRESS_SEED", str(seed))
    assert getattr(checks, name)(RIGHT[name])


def test_numpy_answers_are_taken_where_no_gradient_is_asked():
    assert checks.kl_divergence(lambda m, v: kl(m, v).numpy())
    assert checks.importance_weighted_bound(lambda w: np.logaddexp.reduce(w.numpy(), 0) - np.log(len(w)))
