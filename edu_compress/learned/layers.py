r"""Building blocks of the learned codecs: GDN, a linear path that starts as the DCT, gain units, masked convolutions.

A learned codec of the course is drawn like this; the blocks with a star live here::

            +------------------------------------+
    x ----->| conv  GDN*  conv  GDN*  conv       |--(+)-> y --(x gain*)--> round --> y_hat ...
       |    +------------------------------------+   ^
       +--->| linear path*: 16 x 16 block DCT    |---+
            +------------------------------------+

References:
    GDN: Ballé, Laparra, Simoncelli, "Density modeling of images using a generalized normalization
    transformation", ICLR 2016, arXiv:1511.06281; used for compression in arXiv:1611.01704.
    Gain units: Cui et al., "Asymmetric gained deep image compression with continuous rate adaptation",
    CVPR 2021, arXiv:2003.02012.
    Residual blocks: He et al., "ELIC: efficient learned image compression with unevenly grouped space-channel
    contextual adaptive coding", CVPR 2022, arXiv:2203.10886.

Taught in lesson 05.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..dct import dct_matrix
from ..entropy_coding import portable


class _LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient passes below the bound if it would push x back up."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * ((x >= ctx.bound) | (gradient < 0)), None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Return max(x, bound) elementwise; an x below the bound can still learn its way back.

    ``torch.clamp`` would stop its gradient altogether, and the parameter would stay below for ever.
    """
    return _LowerBound.apply(x, bound)


class GDN(nn.Module):
    r"""Generalised divisive normalisation over the C channels of each position, and its approximate inverse.

    GDN:  :math:`y_i = x_i / \sqrt{\beta_i + \sum_j \gamma_{ij} x_j^2}`;
    IGDN: :math:`x_i = y_i \sqrt{\beta_i + \sum_j \gamma_{ij} y_j^2}` (arXiv:1611.01704, section 2).

    A channel is divided by the local contrast around it, as neurons in the early visual system do; what is left is
    nearer to independent and to Gaussian. β and γ must stay positive: we learn their square roots, bounded from below.
    """

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.sqrt_beta = nn.Parameter(torch.ones(channels))
        self.sqrt_gamma = nn.Parameter(torch.sqrt(0.1 * torch.eye(channels) + 2.0**-36))

    def forward(self, x: Tensor) -> Tensor:
        beta = lower_bound(self.sqrt_beta, 1e-3) ** 2
        gamma = lower_bound(self.sqrt_gamma, 2.0**-18) ** 2
        energy = F.conv2d(x * x, gamma[:, :, None, None], beta)  # a 1 x 1 convolution is the sum over j
        return x * torch.sqrt(energy) if self.inverse else x * torch.rsqrt(energy)


class ResidualBlock(nn.Module):
    """x + conv 1 × 1 (conv 3 × 3 (conv 1 × 1 (x))), half as wide inside: the bottleneck block of arXiv:2203.10886.

    It begins as the identity, so it can be put between layers that are trained already.
    """

    def __init__(self, N: int):
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(N, N // 2, 1), nn.ReLU(),
            nn.Conv2d(N // 2, N // 2, 3, padding=1), nn.ReLU(),
            nn.Conv2d(N // 2, N, 1),
        )  # fmt: skip
        nn.init.zeros_(self.branch[-1].weight)
        nn.init.zeros_(self.branch[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


# --- the linear path --------------------------------------------------------------------------

LINEAR_BLOCK = 16
"""Side of the blocks of the linear path, in pixels: the stride of the whole analysis transform."""

# An orthonormal colour transform (luma, red-blue, green-magenta): unlike YCbCr's, its transpose is its inverse,
# so the synthesis can use the transposed weights.
_COLOUR = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def dct_filters() -> np.ndarray:
    """Return the 768 orthonormal filters of a 16 × 16 block DCT of three colours: [768, 3, 16, 16]."""
    d = dct_matrix(LINEAR_BLOCK)
    filters = np.einsum("cr,iy,jx->cijryx", _COLOUR, d, d)
    return filters.reshape(-1, 3, LINEAR_BLOCK, LINEAR_BLOCK)


class LinearPath(nn.Module):
    """A block transform written as one convolution: the M strongest of the 768 DCT filters, frozen.

    A non-linear transform that learns from nothing starts at 20 dB; beside this path it starts where JPEG is, and
    learns the rest. :meth:`choose_filters` picks the filters; they are stored with the weights.
    """

    def __init__(self, M: int):
        super().__init__()
        self.register_buffer("filters", torch.zeros(M, 3, LINEAR_BLOCK, LINEAR_BLOCK))
        self.register_buffer("deviation", torch.ones(M))  # standard deviation of each coefficient, in grey levels

    @torch.no_grad()
    def choose_filters(self, pictures: Tensor) -> None:
        """Keep the filters with the largest variance over ``pictures`` ((B, 3, H, W), grey levels around zero)."""
        filters = torch.from_numpy(dct_filters()).to(pictures)
        y = F.conv2d(pictures, filters, stride=LINEAR_BLOCK)  # (B, 768, H/16, W/16)
        deviation = y.transpose(0, 1).flatten(1).std(dim=1)
        keep = deviation.argsort(descending=True)[: len(self.filters)]
        self.filters.copy_(filters[keep])
        self.deviation.copy_(deviation[keep])

    def analysis(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in grey levels -> coefficients (B, M, H/16, W/16)."""
        return F.conv2d(x, self.filters, stride=LINEAR_BLOCK)

    def synthesis(self, y: Tensor) -> Tensor:
        """The transpose of :meth:`analysis`: (B, M, H/16, W/16) -> (B, 3, H, W).

        The blocks do not overlap, so each is a matrix product (six times as fast as ``conv_transpose2d`` on a CPU).
        """
        blocks = F.conv2d(y, self.filters.flatten(1).T[:, :, None, None])  # (B, 3 · 16 · 16, H/16, W/16)
        return F.pixel_shuffle(blocks, LINEAR_BLOCK)


# --- what depends on λ ------------------------------------------------------------------------


class PerLambda(nn.Module):
    """Numbers that are learned at a few anchors, equally spaced in log λ, and interpolated linearly between them.

    Args:
        lowest, highest: the range of λ.
        anchors: how many, at least 2.
    """

    def __init__(self, lowest: float, highest: float, anchors: int = 8):
        super().__init__()
        self.lowest, self.highest, self.anchors = lowest, highest, anchors

    def position(self, lam: Tensor) -> Tensor:
        """Where λ lies between the anchors: 0 at the lowest, ``anchors - 1`` at the highest."""
        return torch.log(lam / self.lowest) / np.log(self.highest / self.lowest) * (self.anchors - 1)

    def interpolate(self, table: Tensor, lam: Tensor) -> Tensor:
        """Rows of ``table`` (anchors, C) at λ (B,): (B, C, 1, 1)."""
        position = self.position(lam).clamp(0, self.anchors - 1)
        left = position.floor().clamp(max=self.anchors - 2).long()
        weight = (position - left)[:, None]
        return (table[left] * (1 - weight) + table[left + 1] * weight)[:, :, None, None]

    def portable_at(self, table: Tensor, lam: float) -> np.ndarray:
        """The same at one λ, float64 [C]: alike on every machine, so not with the logarithm that this one has."""
        octaves = portable.log(lam / self.lowest) / portable.log(self.highest / self.lowest)
        position = min(max(float(octaves) * (self.anchors - 1), 0.0), self.anchors - 1.0)
        left = min(int(position), self.anchors - 2)
        rows = table.detach().double().numpy()
        return rows[left] * (1 - (position - left)) + rows[left + 1] * (position - left)


class Gain(PerLambda):
    """One model for every λ: y is multiplied by a gain per channel before rounding, divided by it after decoding.

    The gain is interpolated exponentially between the anchors (arXiv:2003.02012). A larger gain means finer
    quantisation steps 1/gain, so more quality.

    It starts at the step that is optimal for an orthonormal transform of 3 colour values a pixel at high rate: with
    d the squared error of one coefficient, the slope of its R(d), -1/(2 d ln 2), equals -λ/3, and d = step²/12.
    """

    def __init__(self, M: int, lowest: float, highest: float, anchors: int = 8):
        super().__init__(lowest, highest, anchors)
        step = np.sqrt(12 * 3 / (2 * np.log(2) * np.geomspace(lowest, highest, anchors)))
        self.log_gain = nn.Parameter(torch.from_numpy(-np.log(step)).float()[:, None].repeat(1, M))

    def forward(self, lam: Tensor) -> Tensor:
        """λ (B,) -> gain (B, M, 1, 1)."""
        return torch.exp(self.interpolate(self.log_gain, lam))

    def portable_step(self, lam: float) -> np.ndarray:
        """The quantisation step 1/gain of each channel at one λ, float64 [M], the same on every machine."""
        return portable.exp(-self.portable_at(self.log_gain, lam))


class Bias(PerLambda):
    """A bias per channel that depends on λ: it tells a network how coarse the latents are that it sees."""

    def __init__(self, C: int, lowest: float, highest: float, anchors: int = 8):
        super().__init__(lowest, highest, anchors)
        self.bias = nn.Parameter(torch.zeros(anchors, C))

    def forward(self, lam: Tensor) -> Tensor:
        """λ (B,) -> bias (B, C, 1, 1)."""
        return self.interpolate(self.bias, lam)

    def portable_bias(self, lam: float) -> np.ndarray:
        """The bias at one λ, float64 [C], the same on every machine."""
        return self.portable_at(self.bias, lam)


# --- masked convolution -----------------------------------------------------------------------


class MaskedConv2d(nn.Module):
    """A convolution that has weights for some neighbours only: those that are decoded already.

    Args:
        into, out: channels.
        mask: bool (k, k), k odd, with n True: which neighbours are seen; the position itself is in the middle.
    """

    def __init__(self, into: int, out: int, mask: Tensor):
        super().__init__()
        self.register_buffer("mask", mask.clone())
        self.rows = int(mask.any(1).nonzero().max()) + 1  # those below are not seen: no need to multiply by zeros
        self.register_buffer("places", mask.flatten().nonzero()[:, 0], persistent=False)  # of the n in the kernel
        self.weight = nn.Parameter(torch.empty(out, into, int(mask.sum())))  # (out, in, n)
        self.bias = nn.Parameter(torch.zeros(out))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Conv2d does

    def forward(self, x: Tensor) -> Tensor:
        margin, rows = len(self.mask) // 2, self.rows
        empty = self.weight.new_zeros(*self.weight.shape[:2], rows * len(self.mask))
        kernel = empty.index_copy(2, self.places, self.weight).unflatten(2, (rows, -1))  # (out, in, rows, k)
        return F.conv2d(F.pad(x, (margin, margin, margin, rows - 1 - margin)), kernel, self.bias)


def raster_mask(k: int = 5) -> Tensor:
    """What comes before a position in raster order: the rows above it, and its own row to the left. bool (k, k)."""
    return (torch.arange(k * k) < k * k // 2).view(k, k)


def checkerboard_mask(k: int = 5) -> Tensor:
    """The squares of the other colour of a chessboard. bool (k, k)."""
    return (torch.arange(k)[:, None] + torch.arange(k)) % 2 == 1
