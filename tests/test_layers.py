"""GDN against its formula, the DCT path against orthonormality, gains against their definition."""

import numpy as np
import pytest
import torch

from edu_compress.learned.layers import (
    GDN,
    Gain,
    LinearPath,
    MaskedConv2d,
    ResidualBlock,
    checkerboard_mask,
    dct_filters,
    lower_bound,
    raster_mask,
)


def test_gdn_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    gdn, x = GDN(5), torch.randn(2, 5, 3, 4)
    with torch.no_grad():
        gdn.sqrt_gamma.uniform_(0.1, 1)
        gdn.sqrt_beta.uniform_(0.5, 1)
    beta, gamma = gdn.sqrt_beta**2, gdn.sqrt_gamma**2
    energy = beta[None, :, None, None] + torch.einsum("ij,bjhw->bihw", gamma, x**2)
    torch.testing.assert_close(gdn(x), x / torch.sqrt(energy))
    gdn.inverse = True
    torch.testing.assert_close(gdn(x), x * torch.sqrt(energy))


def test_a_parameter_below_its_bound_can_come_back():
    x = torch.tensor([0.5, 2.0], requires_grad=True)
    (lower_bound(x, 1.0) * torch.tensor([-1.0, 1.0])).sum().backward()  # both gradients ask for a change
    assert x.grad.tolist() == [-1.0, 1.0]  # the first would raise x: it passes
    x.grad = None
    lower_bound(x, 1.0).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]  # would push it further down: stopped


def test_a_residual_block_begins_as_the_identity_and_learns():
    torch.manual_seed(0)
    block, x = ResidualBlock(8), torch.randn(1, 8, 6, 7)
    assert torch.equal(block(x), x)
    before = (block(x) - 1).square().mean()
    before.backward()
    with torch.no_grad():
        for p in block.parameters():
            p -= 0.1 * p.grad
    assert (block(x) - 1).square().mean() < before


def test_dct_filters_are_orthonormal():
    filters = dct_filters().reshape(768, 768)
    np.testing.assert_allclose(filters @ filters.T, np.eye(768), atol=1e-12)


def test_all_filters_together_lose_nothing_and_fewer_keep_the_strongest():
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(4, 3, 8, 8) * 40, size=(64, 64), mode="bicubic")
    errors = []
    for M in (768, 192, 48):
        path = LinearPath(M)
        path.choose_filters(smooth)
        errors.append((path.synthesis(path.analysis(smooth)) - smooth).square().mean().item())
        assert (path.deviation.diff() <= 0).all()
    assert errors[0] < 1e-6 < errors[1] < errors[2]


def test_the_synthesis_of_the_linear_path_is_the_transposed_convolution():
    torch.manual_seed(0)
    path, y = LinearPath(5), torch.randn(2, 5, 3, 4)
    path.filters.normal_()
    transposed = torch.nn.functional.conv_transpose2d(y, path.filters, stride=16)
    torch.testing.assert_close(path.synthesis(y), transposed, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("k", [3, 5, 7])
@pytest.mark.parametrize("make_mask", [raster_mask, checkerboard_mask, lambda k: raster_mask(k).flip(0)])
def test_a_masked_convolution_is_a_convolution_with_zeros_in_its_kernel(make_mask, k):
    torch.manual_seed(0)
    layer, x = MaskedConv2d(3, 4, make_mask(k)), torch.randn(2, 3, 6, 5)
    kernel = torch.zeros(4, 3, k, k)
    kernel[:, :, layer.mask] = layer.weight.detach()
    with torch.no_grad():
        layer.bias.normal_()
    expected = torch.nn.functional.conv2d(x, kernel, layer.bias, padding=k // 2)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


def test_gain_starts_at_the_high_rate_optimum_and_grows_with_lambda():
    gain = Gain(3, 0.001, 0.1, anchors=5)
    lam = torch.tensor([0.001, 0.01, 0.1])
    step = 1 / gain(lam)[:, 0, 0, 0]
    torch.testing.assert_close(step, torch.sqrt(18 / (np.log(2) * lam)))
    assert gain(lam).shape == (3, 3, 1, 1)


def test_gain_interpolates_exponentially_between_anchors():
    gain = Gain(2, 1.0, 100.0, anchors=3)
    with torch.no_grad():
        gain.log_gain.copy_(torch.log(torch.tensor([[1.0, 2.0], [4.0, 2.0], [8.0, 32.0]])))
    middle = gain(torch.tensor([10**0.5, 10**1.5]))[:, :, 0, 0]
    torch.testing.assert_close(middle, torch.tensor([[2.0, 2.0], [32**0.5, 8.0]]))
