r"""A density that is learned without a formula: the fully factorised prior of lesson 05, and of z in all that follow.

The non-parametric density of Ballé et al. 2018, appendix 6.1: a small monotonic network per channel that *is* the
cumulative distribution function c, so that the probability of a bin is the difference of two of its values::

    y --> H1, b1, a1 --> H2, b2, a2 --> H3, b3, a3 --> H4, b4 --> sigmoid --> c(y), from 0 to 1, always rising

Invariant: the tables of a channel come from portable arithmetic (:mod:`edu_compress.entropy_coding.portable`), so they
are the same on every machine.

References: arXiv:1802.01436, appendix 6.1.

Taught in lesson 05.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..entropy_coding import Table, portable
from .layers import lower_bound


class FactorizedDensity(nn.Module):
    r"""One non-parametric density per channel, given by its cumulative distribution function c.

    :math:`c = \sigma(f_K \circ \dots \circ f_1)`, with :math:`f_k(x) = g_k(H_k x + b_k)` and
    :math:`g_k(x) = x + \tanh(a_k) \odot \tanh(x)`, where H is kept positive by a softplus and tanh(a) > -1, so that
    c always rises from 0 to 1 (arXiv:1802.01436, appendix 6.1; K = 4, hidden width 3).

    Args:
        C: number of channels.
        hidden: widths of the hidden layers.
        spread: initial width of the density, in units of ``scale``.
    """

    def __init__(self, C: int, hidden: tuple[int, ...] = (3, 3, 3), spread: float = 4.0):
        super().__init__()
        widths = (1, *hidden, 1)
        layers = list(zip(widths[:-1], widths[1:], strict=True))
        slope = spread ** (-1 / len(layers))
        self.H = nn.ParameterList(
            nn.Parameter(torch.full((C, out, into), math.log(math.expm1(slope / out)))) for into, out in layers
        )
        self.b = nn.ParameterList(nn.Parameter(torch.rand(C, out, 1) - 0.5) for _, out in layers)
        self.a = nn.ParameterList(nn.Parameter(torch.zeros(C, out, 1)) for _, out in layers[:-1])
        self.register_buffer("scale", torch.ones(C))  # rough size of each channel, so that the network sees order one

    def logits(self, y: Tensor) -> Tensor:
        """The c.d.f. before its sigmoid: y (C, 1, n) -> (C, 1, n)."""
        x = y / self.scale[:, None, None]
        for k, (H, b) in enumerate(zip(self.H, self.b, strict=True)):
            x = F.softplus(H) @ x + b  # (C, width, n)
            if k < len(self.a):
                x = x + torch.tanh(self.a[k]) * torch.tanh(x)
        return x

    def likelihood(self, y: Tensor, width: Tensor | float = 1.0) -> Tensor:
        """Probability of the bin around each latent: c(y + width/2) - c(y - width/2).

        Args:
            y: latents (B, C, h, w).
            width: of the bins, broadcast against ``y``.

        Returns:
            Probabilities (B, C, h, w), at least 1e-9.
        """
        half = torch.as_tensor(width, dtype=y.dtype, device=y.device) / 2
        channels_first = lambda t: t.transpose(0, 1).reshape(y.shape[1], 1, -1)  # noqa: E731
        lower, upper = self.logits(channels_first(y - half)), self.logits(channels_first(y + half))
        # sigmoid(upper) - sigmoid(lower), taken in the tail where both are small: 1 - 1 would lose every digit
        sign = -torch.sign(lower + upper).detach()
        p = torch.abs(torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower))
        p = p.reshape(y.shape[1], y.shape[0], *y.shape[2:]).transpose(0, 1)
        return lower_bound(p, 1e-9)

    def tables(self, step: np.ndarray) -> list[Table]:
        """Integer tables of the rounded latents, one per channel, from portable arithmetic.

        Args:
            step: float64 [C]: the width of each channel's bins.
        """
        c = _PortableDensity(self)
        tail = 2.0**-20  # what lies further out is left to the escape symbol
        lowest = np.floor(c.quantile(tail) / step).astype(np.int64) - 1
        highest = np.ceil(c.quantile(1 - tail) / step).astype(np.int64) + 1
        counts = highest - lowest + 2  # bin edges of each channel
        channel = np.repeat(np.arange(len(step)), counts)
        k = np.arange(len(channel)) - np.repeat(np.cumsum(counts) - counts, counts) + lowest[channel]
        edges = c(channel, (k - 0.5) * step[channel])
        return [
            Table.from_cdf(np.append(own - own[0], 1.0), int(first), escape=True)
            for own, first in zip(np.split(edges, np.cumsum(counts)[:-1]), lowest, strict=True)
        ]


class _PortableDensity:
    """The c.d.f. of :meth:`FactorizedDensity.logits`, in float64 and operations that all machines round alike.

    Sums are written out, because a matrix product may add in any order.
    """

    def __init__(self, density: FactorizedDensity):
        as_double = lambda p: p.detach().cpu().double().numpy()  # noqa: E731
        self.scale = as_double(density.scale)
        self.H = [portable.softplus(as_double(H)) for H in density.H]  # (C, out, in)
        self.b = [as_double(b)[..., 0] for b in density.b]  # (C, out)
        self.a = [portable.tanh(as_double(a)[..., 0]) for a in density.a]

    def __call__(self, channel: np.ndarray, y: np.ndarray) -> np.ndarray:
        """c of the channel given for each element: both [n] -> [n]."""
        x = [y / self.scale[channel]]
        for k, (H, b) in enumerate(zip(self.H, self.b, strict=True)):
            total = []
            for out in range(b.shape[1]):
                value = b[channel, out]
                for into, of_x in enumerate(x):
                    value = value + H[channel, out, into] * of_x
                if k < len(self.a):
                    value = value + self.a[k][channel, out] * portable.tanh(value)
                total.append(value)
            x = total
        return portable.sigmoid(x[0])

    def quantile(self, p: float) -> np.ndarray:
        """The y of each channel where c(y) = p, to a thousandth of its scale: float64 [C]."""
        channel = np.arange(len(self.scale))
        low, high = -1e3 * self.scale, 1e3 * self.scale
        for _ in range(21):  # halve the interval
            middle = (low + high) / 2
            below = self(channel, middle) < p
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2
