r"""Networks in exact arithmetic: the same numbers on every machine, so that what they steer can be decoded anywhere.

The tables of the entropy coder come from networks (h_s, the context model). If the decoder's σ differs from the
encoder's in its last bit, one symbol is decoded with another table, and the rest of the file is lost. Ordinary
floating-point networks do differ: a sum of a thousand products is rounded at each step, so its last bits depend on
the order, which depends on the number of threads, the processor's instructions and the library.

The cure: numbers with few binary digits, in a type with many::

    weights     multiples of 2^-16
    inputs      multiples of 2^-10, at most 2^12     } products are multiples of 2^-26,
    sums        below 2^27                           } so every partial sum is a whole number of them below 2^53:
                                                       float64 holds it exactly, in whatever order it came about

After each layer the activations are rounded to multiples of 2^-10 again, and limited to ±2^12. That changes the
network a little (by far less than rounding the latents does), and both sides use the changed one.

Only matrix products need this. Single operations (+, −, ×, ÷, a comparison, rounding) are the same on every machine
already, as IEEE 754 lays down; exp and log are in :mod:`.entropy_coding.portable`.

Invariant: :func:`exact` refuses weights with which a sum could reach 2^53.

References: Ballé, Johnston, Minnen, "Integer networks for data compression with latent-variable models", ICLR 2019
(the problem, and a cure by integers throughout).

Taught in lesson 06.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..errors import CodecError

ACTIVATION_BITS = 10
WEIGHT_BITS = 16
LIMIT = 4096.0


def on_grid(x: Tensor, bits: int = ACTIVATION_BITS) -> Tensor:
    """Round to multiples of 2^-bits (halves up), in float64: multiplying by powers of two is exact."""
    return (x.double() * 2.0**bits + 0.5).floor_().mul_(2.0**-bits)


def activation(x: Tensor) -> Tensor:
    """Round to the grid of the activations, and limit to ±2^12: what goes into each layer."""
    return on_grid(x).clamp_(-LIMIT, LIMIT)


def relu(x: Tensor) -> Tensor:
    """:func:`activation` of ReLU, for a sum of numbers on the grid: they need no rounding, only the limit."""
    return x.clamp(0, LIMIT)


class ExactNetwork(nn.Module):
    """Layers with weights on their grid, and the activations put back on theirs after each layer."""

    def __init__(self, layers: nn.Sequential):
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        x = activation(x)
        for layer in self.layers:
            x = activation(layer(x))
        return x


class ExactLinear:
    """A matrix product with rows: (n, in) -> (n, out). A convolution is one, once its inputs are gathered in rows.

    Args:
        weight: (out, in).
        bias: (out,), if any.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        bias = torch.zeros(len(weight)) if bias is None else bias
        self.weight, self.bias = on_grid(weight.detach(), WEIGHT_BITS), on_grid(bias.detach(), WEIGHT_BITS)
        check_exact(self.weight, self.bias)

    def __call__(self, x: Tensor) -> Tensor:
        return activation(torch.addmm(self.bias, x, self.weight.T))


@torch.no_grad()
def exact(network: nn.Sequential) -> ExactNetwork:
    """Return the same network in exact arithmetic; it takes and returns float64.

    Args:
        network: convolutions, transposed convolutions and ReLUs; it is not changed.

    Raises:
        CodecError: with these weights a sum could be too large to be exact, or a layer is of another kind.
    """
    network = copy.deepcopy(network).double().requires_grad_(False).eval()
    for layer in network:
        for parameter in layer.parameters():
            parameter.copy_(on_grid(parameter, WEIGHT_BITS))
        if isinstance(layer, nn.Conv2d):
            check_exact(layer.weight, layer.bias)
        elif isinstance(layer, nn.ConvTranspose2d):
            check_exact(layer.weight.transpose(0, 1), layer.bias)
        elif not isinstance(layer, nn.ReLU):  # such as a softmax, whose exp is another one on every machine
            raise CodecError(f"A layer {type(layer).__name__} cannot be computed exactly; use convolutions and ReLUs.")
    return ExactNetwork(network)


def check_exact(weight: Tensor, bias: Tensor) -> None:
    """Raise :class:`CodecError` if a sum of products could reach 2^53 steps of the grid: (out, in, ...), (out,)."""
    largest = weight.abs().flatten(1).sum(1) * LIMIT + (0.0 if bias is None else bias.abs())  # of each output
    if not largest.max() < 2.0 ** (53 - ACTIVATION_BITS - WEIGHT_BITS):
        raise CodecError("These weights are too large for exact arithmetic (a sum could pass 2^53); train them again.")
