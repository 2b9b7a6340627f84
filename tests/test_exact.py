"""Exact arithmetic, against the same networks in Python's integers, which have no last bit to lose."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from edu_compress.errors import CodecError
from edu_compress.learned.exact import (
    ACTIVATION_BITS,
    LIMIT,
    WEIGHT_BITS,
    ExactLinear,
    activation,
    exact,
    on_grid,
    relu,
)

numbers = st.floats(-1e5, 1e5)


def hyper_synthesis() -> nn.Sequential:
    """Every kind of layer that there is, with weights that are large for a network."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.ConvTranspose2d(3, 5, 5, stride=2, padding=2, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(5, 4, 5, stride=2, padding=2, output_padding=1), nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1),
    )  # fmt: skip
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(7)
    return network


# --- the grid ---------------------------------------------------------------------------------


@given(numbers, st.sampled_from([ACTIVATION_BITS, WEIGHT_BITS]))
def test_the_grid_holds_the_nearest_multiple(x, bits):
    rounded = on_grid(torch.tensor([x], dtype=torch.float64), bits).item()
    assert (rounded * 2**bits).is_integer()
    assert abs(rounded - x) <= 0.5 * 2.0**-bits
    assert on_grid(torch.tensor([rounded], dtype=torch.float64), bits).item() == rounded


def test_halves_are_rounded_up():
    halves = torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64) / 1024
    assert (1024 * on_grid(halves)).tolist() == [-1, 0, 1, 2]


@given(numbers, numbers)
def test_activations_are_limited_and_rise(a, b):
    low, high = activation(torch.tensor(sorted([a, b]), dtype=torch.float64)).tolist()
    assert -LIMIT <= low <= high <= LIMIT


def test_float32_is_taken_as_it_is():
    x = torch.tensor([0.1, -3.3])
    assert on_grid(x).dtype == torch.float64
    assert torch.equal(on_grid(x), on_grid(x.double()))


# --- networks ---------------------------------------------------------------------------------


def integers(x: torch.Tensor, bits: int) -> np.ndarray:
    """Multiples of 2^-bits -> Python's integers."""
    scaled = (x.detach() * 2.0**bits).numpy()
    assert (scaled == np.rint(scaled)).all()
    return scaled.astype(np.int64).astype(object)


def rounded(total: np.ndarray) -> np.ndarray:
    """Sums in steps of 2^-26 -> activations in steps of 2^-10: halves up, limited."""
    half = 1 << (WEIGHT_BITS - 1)
    limit = int(LIMIT) << ACTIVATION_BITS
    return np.clip((total + half) >> WEIGHT_BITS, -limit, limit)


def conv_in_integers(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """x (in, h, w), weight (out, in, k, k): the definition of a convolution, in integers of any length."""
    out, _, k, _ = weight.shape
    _, h, w = x.shape
    padded = np.zeros((len(x), h + 2 * padding, w + 2 * padding), object)
    padded[:, padding : padding + h, padding : padding + w] = x
    total = np.broadcast_to((bias << ACTIVATION_BITS)[:, None, None], (out, h, w)).copy()
    for i, j in np.ndindex(k, k):
        total += np.einsum("oi,ihw->ohw", weight[:, :, i, j], padded[:, i : i + h, j : j + w])
    return total


def transposed_in_integers(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Stride 2, padding 2, output padding 1, k = 5: a convolution of x with zeros between its values."""
    C, h, w = x.shape
    stretched = np.zeros((C, 2 * h, 2 * w), object)
    stretched[:, ::2, ::2] = x
    return conv_in_integers(stretched, weight.swapaxes(0, 1)[:, :, ::-1, ::-1], bias, padding=2)


def in_integers(network: nn.Sequential, x: torch.Tensor) -> np.ndarray:
    value = integers(activation(x)[0], ACTIVATION_BITS)
    for layer in network:
        if isinstance(layer, nn.ReLU):
            value = np.maximum(value, 0)
            continue
        weight, bias = (integers(on_grid(p, WEIGHT_BITS), WEIGHT_BITS) for p in (layer.weight, layer.bias))
        if isinstance(layer, nn.ConvTranspose2d):
            value = rounded(transposed_in_integers(value, weight, bias))
        else:
            value = rounded(conv_in_integers(value, weight, bias, layer.padding[0]))
    return value


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0, 1e4])  # the last ones meet the limit
def test_an_exact_network_is_the_network_in_integers(scale):
    network = hyper_synthesis()
    torch.manual_seed(1)
    x = scale * torch.randn(1, 3, 4, 3)
    ours = integers(exact(network)(x)[0], ACTIVATION_BITS)
    theirs = in_integers(network, x)
    assert (ours == theirs).all()
    assert (np.abs(theirs) == int(LIMIT) << ACTIVATION_BITS).any() == (scale > 1)


def test_an_exact_network_is_nearly_the_network():
    network, x = hyper_synthesis(), torch.randn(2, 3, 5, 6)
    difference = (exact(network)(x) - network(x)).abs().max()
    assert 0 < difference < 0.02


def test_the_network_itself_is_not_changed():
    network = hyper_synthesis()
    before = [p.clone() for p in network.parameters()]
    exact(network)
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new) and new.dtype == torch.float32


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 9))
def test_a_matrix_product_is_the_product_of_integers(seed, into, rows):
    rng = np.random.default_rng(seed)
    weight, bias = (torch.from_numpy(3 * rng.normal(size=size)) for size in ((7, into), 7))
    layer = ExactLinear(weight, bias)
    x = activation(torch.from_numpy(50 * rng.normal(size=(rows, into))))
    total = integers(x, ACTIVATION_BITS) @ integers(layer.weight, WEIGHT_BITS).T
    total += integers(layer.bias, WEIGHT_BITS) << ACTIVATION_BITS
    assert (integers(layer(x), ACTIVATION_BITS) == rounded(total)).all()


def test_sums_at_the_very_limit_are_exact():
    """The largest inputs, and weights just small enough to be taken: odd sums near 2^53."""
    weight = torch.full((1, 64), (2.0**15 - 1) / 64, dtype=torch.float64)
    x = torch.full((1, 64), LIMIT, dtype=torch.float64)
    x[0, 0] -= 2.0**-ACTIVATION_BITS
    weight[0, 0] += 2.0**-WEIGHT_BITS
    layer = ExactLinear(weight)
    total = (integers(x, ACTIVATION_BITS) @ integers(layer.weight, WEIGHT_BITS).T)[0, 0]
    assert total % 2 == 1 and 2**52 < total < 2**53
    assert int((x @ layer.weight.T).item() * 2**26) == total


# --- the order of summation -------------------------------------------------------------------


def sums_in_another_order(network: nn.Sequential, order: torch.Tensor) -> nn.Sequential:
    """A 1 x 1 convolution with its input channels in another order."""
    permuted = nn.Conv2d(len(order), network[0].out_channels, 1)
    permuted.load_state_dict({"weight": network[0].weight[:, order], "bias": network[0].bias})
    return nn.Sequential(permuted)


def test_the_order_of_summation_matters_to_floats_only():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(600, 40, 1)), torch.randn(1, 600, 8, 8)
    order = torch.randperm(600)
    other = sums_in_another_order(network, order)
    assert not torch.equal(network(x), other(x[:, order]))
    assert torch.equal(exact(network)(x), exact(other)(x[:, order]))


def test_relu_of_a_sum_of_activations_is_an_activation():
    sums = activation(3000 * torch.randn(1000)) + activation(3000 * torch.randn(1000))
    assert torch.equal(relu(sums), activation(torch.relu(sums))) and sums.max() > LIMIT


def test_one_row_alone_gives_what_it_gives_among_others():
    torch.manual_seed(0)
    layer, x = ExactLinear(torch.randn(300, 700)), activation(10 * torch.randn(301, 700))
    together = layer(x)
    for rows in (slice(0, 1), slice(7, 10), slice(150, 301)):
        assert torch.equal(layer(x[rows]), together[rows])


def test_another_algorithm_gives_the_same():
    """A convolution as F.conv2d does it, and as a product with gathered rows."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(20, 30, 5, padding=2)), 4 * torch.randn(1, 20, 9, 11)
    rows = F.unfold(activation(x), 5, padding=2)[0].T  # (h w, 20 * 25)
    gathered = ExactLinear(network[0].weight.flatten(1), network[0].bias)(rows)
    assert torch.equal(exact(network)(x)[0].flatten(1).T, gathered)


# --- weights that are too large ---------------------------------------------------------------


@pytest.mark.parametrize("value", [2.0**15, 1e30, float("inf"), float("nan")])
def test_weights_with_which_a_sum_could_overflow_are_refused(value):
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    with torch.no_grad():
        network[0].weight.fill_(value)
    for make in (lambda: exact(network), lambda: ExactLinear(torch.tensor([[value]]))):
        with pytest.raises(CodecError, match=r"^These weights are too large for exact arithmetic .*\.$"):
            make()


@pytest.mark.parametrize("layer", [nn.Conv2d(40, 3, 1), nn.ConvTranspose2d(3, 40, 1)])
def test_many_weights_are_as_large_as_a_few_large_ones(layer):
    """40 inputs of one output, or 40 outputs of one input: what counts is how much comes together in one sum."""
    with torch.no_grad():
        layer.weight.fill_(1000.0)
    if isinstance(layer, nn.Conv2d):
        with pytest.raises(CodecError, match="too large"):
            exact(nn.Sequential(layer))
    else:
        exact(nn.Sequential(layer))


def test_a_bias_counts_too():
    with pytest.raises(CodecError, match="too large"):
        ExactLinear(torch.tensor([[2.0**14]]), torch.tensor([2.0**27]))


@pytest.mark.parametrize(
    "layer", [nn.Softmax(dim=1), nn.Linear(2, 2), nn.Sigmoid()], ids=lambda layer: type(layer).__name__
)
def test_layers_that_are_not_known_to_be_exact_are_refused(layer):
    with pytest.raises(CodecError, match=f"A layer {type(layer).__name__} cannot be computed exactly"):
        exact(nn.Sequential(nn.Conv2d(2, 2, 1), layer))
