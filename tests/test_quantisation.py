"""Quantisers: what they return, what gradient they pass, and that noise stands for rounding as the paper says."""

import pytest
import torch

from edu_compress.learned.quantisation import QUANTISERS, soft_round, soft_round_inverse, soft_rounding

Y = torch.linspace(-3.3, 3.3, 4001, dtype=torch.float64)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", QUANTISERS)
def test_what_the_decoder_sees_is_within_half_a_step(name):
    y_rate, y_hat = QUANTISERS[name](Y)
    limit = 1.0 if name == "soft" else 0.5  # noise on a soft-rounded value, and the way back
    assert (y_rate - Y).abs().max() <= limit + 1e-9
    assert (y_hat - Y).abs().max() <= limit + 1e-9


@pytest.mark.parametrize("name", ["round", "straight_through", "mixed"])
def test_these_hand_the_decoder_whole_numbers(name):
    y_hat = QUANTISERS[name](Y)[1]
    torch.testing.assert_close(y_hat, torch.round(Y))


@pytest.mark.parametrize(
    ("name", "slope"), [("round", 0), ("straight_through", 1), ("mixed", 1), ("noise", 1), ("dither", 1)]
)
def test_gradient_with_respect_to_y(name, slope):
    y = Y.clone().requires_grad_()
    y_rate, y_hat = QUANTISERS[name](y)
    if name == "round":
        assert not y_hat.requires_grad or torch.autograd.grad(y_hat.sum(), y)[0].abs().max() == 0
    else:
        torch.testing.assert_close(torch.autograd.grad((y_hat + 0 * y_rate).sum(), y)[0], torch.full_like(y, slope))


@pytest.mark.parametrize("name", ["noise", "dither"])
def test_the_error_is_uniform_and_independent_of_y(name):
    y = torch.randn(200_000, dtype=torch.float64) * 2
    error = QUANTISERS[name](y)[1] - y
    assert abs(error.mean()) < 0.005
    assert abs(error.var() - 1 / 12) < 0.002
    assert abs((error * y).mean()) < 0.01


@pytest.mark.parametrize("alpha", [0.5, 2.0, 8.0])
def test_soft_round_is_a_bijection(alpha):
    torch.testing.assert_close(soft_round_inverse(soft_round(Y, alpha), alpha), Y, atol=1e-4, rtol=0)
    assert (soft_round(Y, alpha).diff() > 0).all()


def test_soft_round_goes_from_the_identity_to_rounding():
    torch.testing.assert_close(soft_round(Y, 1e-3), Y, atol=1e-6, rtol=0)
    far_from_edges = (Y - torch.floor(Y) - 0.5).abs() > 0.1
    torch.testing.assert_close(soft_round(Y, 100.0)[far_from_edges], torch.round(Y)[far_from_edges], atol=1e-6, rtol=0)


def test_soft_rounding_without_sharpness_is_noise():
    torch.manual_seed(5)
    soft = soft_rounding(1e-3)(Y)[1]
    torch.manual_seed(5)
    torch.testing.assert_close(soft, QUANTISERS["noise"](Y)[1], atol=1e-4, rtol=0)


def test_density_of_noisy_latents_agrees_with_probabilities_of_rounded_ones():
    y = torch.randn(400_000, dtype=torch.float64) * 1.3 + 0.2
    noisy = QUANTISERS["noise"](y)[0]
    for n in (-2, 0, 1):
        density = ((noisy - n).abs() < 0.02).double().mean() / 0.04
        probability = (torch.round(y) == n).double().mean()
        assert abs(density - probability) < 0.015
