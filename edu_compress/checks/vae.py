"""The checks of lesson 04: sampling, KL, bits per pixel, beta as lambda, the importance-weighted bound, refinement."""

from __future__ import annotations

import math

import numpy as np
import torch

from .. import vae
from ._core import Wrong, exercise, expect, expect_array, expect_number


def _tensors(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.from_numpy(rng.normal(size=shape)).float() for shape in shapes]


def _array(value: object, what: str) -> np.ndarray:
    """Return a student's tensor (or array, or number) as an array."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().numpy()
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be a tensor, not {type(value).__name__}.") from None


def _expect_none_of(value: np.ndarray, mistakes: list[tuple[torch.Tensor | float, str]]) -> None:
    """Raise :class:`Wrong` with the sentence of the mistake whose result ``value`` is."""
    for result, sentence in mistakes:
        result = _array(result, "the result")
        if value.shape == result.shape and np.allclose(value, result, rtol=1e-4, atol=1e-5):
            raise Wrong(sentence)


@exercise("z has the right distribution, and the gradient reaches the mean and the variance")
def reparameterise(answer, rng):
    mean, log_variance, noise = _tensors(rng, (5, 3), (5, 3), (5, 3))
    mean.requires_grad_()
    log_variance.requires_grad_()
    z = answer(mean, log_variance, noise)
    value = _array(z, "z")
    sigma = torch.exp(0.5 * log_variance)
    mistakes = [
        (mean + log_variance.exp() * noise, "you multiplied by the variance: the noise is multiplied by sigma."),
        (mean + log_variance * noise, "you multiplied by log sigma²: take the exponential, and the root."),
        (mean + log_variance.exp().sqrt(), "there is no noise in it: sigma is multiplied by eps."),
        (mean, "this is the mean alone: sigma and the noise are missing."),
        (mean + noise, "the noise has variance 1 here: multiply it by sigma."),
        (mean + torch.exp(2 * log_variance) * noise, "sigma is exp of one HALF of log sigma²."),
        (sigma * noise, "the mean is missing."),
    ]
    _expect_none_of(value, mistakes)
    expect_array(value, (mean + sigma * noise).detach().double().numpy(), "z", 1e-5)
    expect(
        isinstance(z, torch.Tensor) and z.requires_grad,
        "the numbers are right, but no gradient flows: stay with torch functions, without detach, numpy or no_grad.",
    )
    gradients = torch.autograd.grad(z.sum(), (mean, log_variance), allow_unused=True)
    for name, gradient in zip(("the mean", "log sigma²"), gradients, strict=True):
        expect(gradient is not None, f"the gradient does not reach {name}: something cuts it off.")


@exercise("the relative entropy between your posterior and the prior, in nats, one number for each patch")
def kl_divergence(answer, rng):
    mean, log_variance = _tensors(rng, (6, 4), (6, 4))
    value = _array(answer(mean, log_variance), "the KL divergence")
    nats = vae.kl_divergence(mean, log_variance)
    right = nats.sum(1)
    sigma = torch.exp(0.5 * log_variance)
    mistakes = [
        (nats, "this is one number for each latent: sum over the last axis, because independent latents add up."),
        (nats.sum(), "this is the sum over all patches: keep one number for each patch."),
        (nats.mean(), "this is one number for everything: sum over the latents only."),
        (nats.mean(1), "this is the mean over the latents: a patch pays for all of them, so take the sum."),
        (nats.sum(0), "you summed over the patches: sum over the latents, the last axis."),
        (right / math.log(2), "this is in bits: the exercise asks for nats."),
        (-right, "the sign is wrong: a KL divergence is never negative."),
        (2 * right, "the factor 1/2 is missing."),
        (right + 2, "the -1 of each latent is missing: KL(p || p) should be 0."),
        ((0.5 * (mean**2 + sigma - 1 - 0.5 * log_variance)).sum(1), "you put sigma where sigma² belongs."),
        ((0.5 * (mean.abs() + log_variance.exp() - 1 - log_variance)).sum(1), "the mean enters squared."),
        (
            (0.5 * (mean**2 + log_variance.exp() - 1 + log_variance)).sum(1),
            "the sign of log sigma² is wrong: the KL of a very sharp posterior is large.",
        ),
    ]
    _expect_none_of(value, mistakes)
    expect_array(value, right.double().numpy(), "the KL divergence", 1e-4)


@exercise("the negative ELBO in bits per pixel, all three terms of it")
def elbo_bits_per_pixel(answer, rng):
    pixels, variance = int(rng.integers(20, 90)), float(rng.uniform(20, 200))
    kl, squared_error = float(rng.uniform(5, 50)), float(rng.uniform(1000, 9000))
    value = _array(answer(kl, squared_error, variance, pixels), "the result")
    expect(value.shape == (), "return one number.")
    error, constant = squared_error / (2 * variance), pixels / 2 * math.log(2 * math.pi * variance)
    nats = kl + error + constant
    unit = pixels * math.log(2)
    mistakes = [
        (nats, "this is in nats per patch: divide by ln 2 and by the number of pixels."),
        (nats / pixels, "this is in nats per pixel: divide by ln 2."),
        (nats / math.log(2), "this is in bits per patch: divide by the number of pixels."),
        (nats * math.log(2) / pixels, "a nat is MORE than a bit (1 / ln 2 = 1.44 bits): divide by ln 2."),
        ((kl + error) / unit, "the constant of the Gaussian, (n/2) ln(2 pi s²), is missing."),
        ((kl + 2 * error + constant) / unit, "the squared error is divided by 2 s²."),
        ((kl + squared_error / 2 / math.sqrt(variance) + constant) / unit, "you were given the variance s²: no root."),
        ((kl + error + constant / pixels) / unit, "the constant belongs to each of the n pixels."),
        ((kl + error + constant * 2) / unit, "the constant has a factor 1/2 for each pixel."),
        (-nats / unit, "the sign: the exercise asks for the NEGATIVE of the ELBO, a cost."),
        ((error + constant - kl) / unit, "the KL term is a cost too: it is added."),
    ]
    _expect_none_of(value, mistakes)
    expect_number(value, nats / unit, "the negative ELBO in bits per pixel")


@exercise("beta and the noise variance are one knob, and its name in this course is lambda")
def lambda_of_beta(answer, rng):
    beta, variance = float(rng.uniform(0.2, 5)), float(rng.uniform(20, 400))
    value = _array(answer(beta, variance), "lambda")
    expect(value.shape == (), "return one number.")
    ln2 = math.log(2)
    mistakes = [
        (1 / (2 * beta * variance), "the KL term is in nats, R is in bits: one nat is 1 / ln 2 bits."),
        (
            ln2 / (2 * beta * variance),
            "you multiplied by ln 2: R in nats is R in bits times ln 2, and you divide by it.",
        ),
        (beta / (2 * ln2 * variance), "beta stands before the RATE, so a larger beta is a smaller lambda."),
        (1 / (ln2 * beta * variance), "the squared error is divided by 2 s²: the 2 is missing."),
        (1 / (2 * ln2 * beta * math.sqrt(variance)), "you were given the variance s², not s."),
        (2 * ln2 * beta * variance, "this is 1 / lambda: divide by what stands before R."),
        (1 / (2 * ln2 * variance), "beta is not used."),
        (1 / (2 * ln2 * beta * variance * 64), "the n pixels cancel: R and D are both per pixel."),
        (64 / (2 * ln2 * beta * variance), "the n pixels cancel: R and D are both per pixel."),
    ]
    for result, sentence in mistakes:
        if np.isclose(float(value), result, rtol=1e-6, atol=0):
            raise Wrong(sentence)
    expect_number(float(value) / vae.lambda_of(variance, beta), 1.0, "your lambda, divided by the right one,")


@exercise("the bound is right, and it survives weights that are too small for a float")
def importance_weighted_bound(answer, rng):
    log_weights = torch.from_numpy(rng.normal(-3, 1.5, (16, 7)))
    value = _array(answer(log_weights), "the bound")
    right = torch.logsumexp(log_weights, 0) - math.log(16)
    mistakes = [
        (log_weights.mean(0), "this is the mean of the logarithms, the ELBO: take the logarithm of the mean."),
        (torch.logsumexp(log_weights, 0), "this is the logarithm of the SUM: subtract log K."),
        (log_weights.exp().mean(0), "this is the mean of the weights: take its logarithm."),
        (
            torch.logsumexp(log_weights, 1) - math.log(16),
            "you averaged over the patches: the K samples are the first axis.",
        ),
        (
            torch.logsumexp(log_weights, 1) - math.log(7),
            "you averaged over the patches: the K samples are the first axis.",
        ),
        (log_weights.max(0).values, "this is the largest weight: take the mean of all K."),
        (right.mean(), "keep one bound for each patch."),
        (right / math.log(2), "this is in bits: stay in nats."),
    ]
    _expect_none_of(value, mistakes)
    expect_array(value, right.numpy(), "the bound", 1e-6)
    tiny = _array(answer(log_weights - 2000), "the bound")
    expect(
        bool(np.isfinite(tiny).all()),
        "with log weights near -2000, as large patches have, the result is not finite: exp(-2000) is 0 in a float. "
        "Subtract the largest log weight first, or use torch.logsumexp.",
    )
    expect_array(tiny, (right - 2000).numpy(), "the bound of tiny weights", 1e-6)


@exercise("your posteriors cost as little as the exact ones, which are known for this decoder")
def refine_posterior(answer, rng):
    torch.manual_seed(int(rng.integers(2**31)))
    patches = torch.randn(500, 16) @ torch.diag(torch.linspace(40, 1, 16)) + 128
    lam = 0.01
    model = vae.VAE(pixels=16, latents=8, hidden=0)
    model.initialise(patches, lam)
    x, exact = patches[:20], vae.Posterior(*(part.detach() for part in model.encode(patches[:20])))
    start = vae.Posterior(exact.mean + 0.5, exact.log_variance + 0.8)
    given = vae.Posterior(*(part.clone() for part in start))
    result = answer(model.decode, x, given.mean, given.log_variance, lam)
    expect(isinstance(result, tuple) and len(result) == 2, "return two tensors: the means and the log variances.")
    refined = vae.Posterior(*(torch.as_tensor(part).detach().float() for part in result))
    for name, part in refined._asdict().items():
        expect(part.shape == exact.mean.shape, f"{name} has shape {tuple(part.shape)}, not {tuple(exact.mean.shape)}.")
    before, best, after = (_cost(model, x, posterior, lam) for posterior in (start, exact, refined))
    expect(math.isfinite(after), "your posteriors are not finite: use a smaller step.")
    expect(after < before, f"J was {before:.3f} bits per pixel and is {after:.3f}: it should fall. Is the sign right?")
    gap = (after - best) / (before - best)
    frozen = [
        name
        for name, old, new in zip(given._fields, start, refined, strict=True)
        if torch.allclose(old, new, atol=1e-3)
    ]
    expect(not frozen, f"{' and '.join(frozen)} did not move: optimise both, the means and the log variances.")
    expect(gap < 0.05, f"you closed {1 - gap:.0%} of the gap; take more steps, or larger ones, until it is 95 %.")


@torch.no_grad()
def _cost(model: vae.VAE, x: torch.Tensor, posterior: vae.Posterior, lam: float) -> float:
    """J in bits per pixel, with so many samples of the noise that chance decides nothing."""
    noise = torch.randn(500, *posterior.mean.shape, generator=torch.Generator().manual_seed(1))
    D = ((x - model.decode(vae.reparameterise(*posterior, noise))) ** 2).mean()
    R = vae.bits_per_pixel(vae.kl_divergence(*posterior).sum(-1), x.shape[1]).mean()
    return float(R + lam * D)
