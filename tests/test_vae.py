"""The variational autoencoder against closed forms: Shannon's bound, the exact likelihood, torch.distributions."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from edu_compress import images, vae
from edu_compress.errors import SettingError
from edu_compress.rate_distortion import convert_lambda

LAM = 0.005


@pytest.fixture(scope="module")
def patches():
    return vae.random_patches([vae.luma(images.sample(name)) for name in ("coffee", "motorcycle")], 4000)


@pytest.fixture(scope="module")
def variances(patches):
    return np.linalg.eigvalsh(np.cov(patches.double().numpy().T, bias=True))


@pytest.fixture(scope="module")
def linear(patches):
    """The best linear VAE, set in closed form."""
    model = vae.VAE(latents=64, hidden=0)
    model.initialise(patches, LAM)
    return model


@pytest.fixture(scope="module")
def trained(patches):
    torch.manual_seed(0)
    model = vae.VAE(hidden=128)
    model.initialise(patches, LAM)
    losses = vae.train(model, patches, LAM, steps=500)
    return model, losses


# --- patches ---


@pytest.mark.parametrize("shape", [(16, 24), (13, 9), (1, 1)])
def test_patches_make_the_plane_again(shape):
    plane = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    back = vae.from_patches(vae.to_patches(plane), *shape)
    assert np.array_equal(back, plane)


def test_random_patches_come_from_their_planes_and_from_their_seed():
    ramp = np.arange(40.0)[:, None] * 100 + np.arange(30.0)  # each pixel says where it stood
    drawn = vae.random_patches([ramp, ramp + 0.5], 50, seed=3)
    assert drawn.shape == (100, 64)
    corner = drawn[:, 0]
    expected = corner[:, None] + (torch.arange(8.0)[:, None] * 100 + torch.arange(8.0)).reshape(1, 64)
    assert torch.equal(drawn, expected)
    assert (corner[:50] % 1 == 0).all() and (corner[50:] % 1 == 0.5).all()
    assert torch.equal(drawn, vae.random_patches([ramp, ramp + 0.5], 50, seed=3))
    assert not torch.equal(drawn, vae.random_patches([ramp, ramp + 0.5], 50, seed=4))


# --- the parts of the ELBO ---


def test_kl_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    expected = kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0))
    torch.testing.assert_close(vae.kl_divergence(mean, log_variance), expected)


def test_log_likelihood_is_that_of_torch():
    x, x_hat = 30 * torch.randn(4, 64), 30 * torch.randn(4, 64)
    expected = Independent(Normal(x_hat, 5.0), 1).log_prob(x)
    torch.testing.assert_close(vae.log_likelihood(x, x_hat, 25.0), expected)


def test_reparameterised_samples_have_the_moments_and_pass_the_gradient():
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 1.4]])
    mean.requires_grad_(), log_variance.requires_grad_()
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    z = vae.reparameterise(mean, log_variance, noise)
    torch.testing.assert_close(z.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), log_variance[0].exp(), atol=0.05, rtol=0)
    (z**2).mean(0).sum().backward()  # E z² = mu² + sigma², so the gradients are 2 mu and sigma²
    torch.testing.assert_close(mean.grad, 2 * mean.detach(), atol=0.05, rtol=0)
    torch.testing.assert_close(log_variance.grad, log_variance.detach().exp(), atol=0.05, rtol=0)


def test_negative_elbo_is_the_lagrangian_of_the_course(trained, patches):
    model, _ = trained
    x, variance = patches[:50], vae.noise_variance(LAM)
    output = model(x)
    R, D = vae.rate_and_distortion(x, output)
    constant = math.log2(2 * math.pi * variance) / 2
    torch.testing.assert_close(
        -vae.bits_per_pixel(vae.elbo(x, output, variance)), R + LAM * D + constant, rtol=1e-4, atol=1e-4
    )


def test_lambda_is_the_one_of_the_gaussian_convention():
    sigma = 11.0
    assert 3 * vae.lambda_of(sigma**2) == pytest.approx(convert_lambda(sigma, "gaussian"))  # 3 samples a pixel there
    assert vae.lambda_of(sigma**2, beta=4) == pytest.approx(vae.lambda_of(sigma**2) / 4)
    assert vae.noise_variance(vae.lambda_of(77.0, beta=3), beta=3) == pytest.approx(77)


# --- Shannon ---


def test_water_filling_of_one_gaussian_is_its_rate_distortion_function():
    for variance in (400.0, 3000.0):
        R, D = vae.gaussian_rate_distortion(np.array([variance]), LAM)
        assert R == pytest.approx(0.5 * np.log2(variance / D))
        assert D == pytest.approx(vae.noise_variance(LAM))
    assert vae.gaussian_rate_distortion(np.array([1.0]), LAM) == (0, 1)  # below the water: not sent


def test_water_filling_is_the_best_of_all_ways_to_share_the_distortion(variances):
    R, D = vae.gaussian_rate_distortion(variances, LAM)
    rng = np.random.default_rng(0)
    for _ in range(50):
        kept = variances * rng.uniform(0.01, 1, variances.shape)  # any other distortions, none above the variance
        assert np.mean(0.5 * np.log2(variances / kept)) + LAM * kept.mean() > R + LAM * D


def test_best_linear_vae_lies_on_shannons_bound(linear, patches, variances):
    posterior = linear.encode(patches)
    R = vae.bits_per_pixel(vae.kl_divergence(*posterior).sum(1).mean()).item()
    # the expected distortion is exact for a linear decoder: that of the mean, plus the noise through the decoder
    through = (linear.basis * linear.deviation) @ linear.linear_decoder.weight
    noise = (posterior.log_variance.exp()[0] * (through**2).sum(0)).sum() / 64
    D = (((patches - linear.decode(posterior.mean)) ** 2).mean() + noise).item()
    bound = vae.gaussian_rate_distortion(variances, LAM)
    assert (R, D) == (pytest.approx(bound[0], rel=2e-3), pytest.approx(bound[1], rel=2e-3))


def test_linear_vae_trained_from_nothing_finds_the_bound_and_stays_above_it(patches, variances):
    lam = 0.0005  # the few latents that pay at a low rate are found quickly
    torch.manual_seed(0)
    model = vae.VAE(latents=16, hidden=0)
    vae.train(model, patches, lam, steps=1500, rate=1e-2)
    R, D = vae.measure(model, patches.repeat(5, 1))
    bound_R, bound_D = vae.gaussian_rate_distortion(variances, lam)
    assert 0.995 < (R + lam * D) / (bound_R + lam * bound_D) < 1.03


def test_for_the_best_linear_vae_the_bounds_equal_the_likelihood(linear, patches):
    """Its posterior is exact, so every importance weight is p(x) itself: no Monte Carlo noise, and no gap."""
    through = ((linear.basis * linear.deviation) @ linear.linear_decoder.weight).double()
    variance = vae.noise_variance(LAM)
    covariance = through @ through.T + variance * torch.eye(64, dtype=torch.float64)
    exact = MultivariateNormal(linear.centre.double(), covariance).log_prob(patches[:20].double())
    for samples in (1, 10):
        bound = vae.importance_weighted_bound(linear, patches[:20], variance, samples)
        torch.testing.assert_close(bound.double(), exact, rtol=2e-3, atol=0.5)


# --- training, and after it ---


def test_networks_beat_every_linear_vae(trained, patches, variances):
    model, losses = trained
    R, D = vae.measure(model, patches)
    bound_R, bound_D = vae.gaussian_rate_distortion(variances, LAM)
    assert R + LAM * D < 0.97 * (bound_R + LAM * bound_D)
    assert np.mean(losses[-50:]) < np.mean(losses[:50])


def test_training_is_reproducible(patches):
    outcomes = []
    for _ in range(2):
        torch.manual_seed(5)
        model = vae.VAE(hidden=16)
        model.initialise(patches, LAM)
        outcomes.append(vae.train(model, patches, LAM, steps=20, seed=1))
    assert outcomes[0] == outcomes[1]


def test_more_lambda_buys_less_distortion_for_more_rate(patches):
    points = []
    for lam in (0.001, 0.004, 0.016):
        torch.manual_seed(0)
        model = vae.VAE(hidden=32)
        model.initialise(patches, lam)
        vae.train(model, patches, lam, steps=100)
        points.append(vae.measure(model, patches))
    assert points == sorted(points) and [d for _, d in points] == sorted((d for _, d in points), reverse=True)


def test_refined_posteriors_are_the_exact_ones_where_these_are_known(linear, patches):
    """However wrong the encoder, the decoder alone decides which posterior is the best."""
    x = patches[:40]
    exact = linear.encode(x)
    spoilt = copy.deepcopy(linear)
    with torch.no_grad():
        spoilt.linear_mean.bias += 0.3
        spoilt.log_variance += 0.5
    weights = copy.deepcopy(spoilt.state_dict())
    mean, log_variance = vae.refine(spoilt, x, LAM, steps=400)
    assert (mean - exact.mean).abs().mean() < 0.03  # from 0.3
    assert (log_variance - exact.log_variance).abs().mean() < 0.05  # from 0.5
    assert all(
        torch.equal(before, after) for before, after in zip(weights.values(), spoilt.state_dict().values(), strict=True)
    )
    assert all(parameter.grad is None for parameter in spoilt.parameters())


def test_refined_posteriors_cost_less(trained):
    model, _ = trained
    x = vae.to_patches(vae.luma(images.sample("astronaut")[100:200, 200:300]))  # not trained on
    noise = torch.randn(200, len(x), model.latents, generator=torch.Generator().manual_seed(7))  # not that of refine

    @torch.no_grad()
    def cost(posterior):
        D = ((x - model.decode(vae.reparameterise(*posterior, noise))) ** 2).mean()
        return (vae.bits_per_pixel(vae.kl_divergence(*posterior).sum(1).mean()) + LAM * D).item()

    assert cost(vae.refine(model, x, LAM)) < 0.995 * cost(model.encode(x))


def test_more_samples_tighten_the_bound(trained, patches):
    model, _ = trained
    bounds = [
        vae.importance_weighted_bound(model, patches[:500], vae.noise_variance(LAM), k).mean().item()
        for k in (1, 8, 64)
    ]
    assert bounds == sorted(bounds)


def test_wrong_input_gets_a_sentence(patches):
    with pytest.raises(SettingError, match="positive"):
        vae.train(vae.VAE(), patches, 0.0, steps=1)
    with pytest.raises(SettingError, match=r"\(N, 64\)"):
        vae.train(vae.VAE(), patches[:, :10], LAM, steps=1)
