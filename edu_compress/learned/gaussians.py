r"""Gaussians of unit bins: what a symbol costs, and where in its bin the latent is likely to be.

::

           N(μ, σ²)                  the bin of symbol k is [k - 1/2, k + 1/2): its probability is the area over it,
            _/|\_                    its centre of mass the best guess of what was rounded to k
         __/  | |\__
    -----+----+-|+-----+----         all lengths in quantisation steps
       k - 1    k    k + 1

Taught in lesson 06.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..entropy_coding import shifted, shifted_gaussian_tables
from ..entropy_coding.tables import FRACTIONS, SCALES
from .layers import lower_bound

SMALLEST = float(SCALES[0])
"""Smallest σ, in quantisation steps: below it a symbol costs nothing anyhow."""


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x * math.sqrt(0.5))


def gaussian_likelihood(y: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """Probability of the bin [y - 1/2, y + 1/2) under N(μ, σ²), at least 1e-9; all in steps, any common shape.

    At whole y this is the probability of a symbol; at noisy y it is the density of N(μ, σ²) convolved with a unit
    box (arXiv:1802.01436, equation 7), which is why noise can stand in for rounding.
    """
    distance = torch.abs(y - mu)  # the Gaussian is even: take both edges in its lower tail, where digits are kept
    p = _normal_cdf((0.5 - distance) / sigma) - _normal_cdf((-0.5 - distance) / sigma)
    return lower_bound(p, 1e-9)


def centre_of_mass(k: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    r"""The mean of N(μ, σ²) within the bin of symbol k: the best reconstruction (least squared error) of y.

    :math:`\mu - \sigma \frac{\varphi(b) - \varphi(a)}{\Phi(b) - \Phi(a)}` with the bin's edges
    :math:`a, b = (k \mp \tfrac12 - \mu)/\sigma`, kept within the bin where both tails vanish numerically.
    """
    a, b = (k - 0.5 - mu) / sigma, (k + 0.5 - mu) / sigma
    density = lambda t: torch.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)  # noqa: E731
    mean = mu - sigma * (density(b) - density(a)) / gaussian_likelihood(k, mu, sigma)
    return torch.minimum(torch.maximum(mean, k - 0.5), k + 0.5)


@dataclass(frozen=True)
class Gaussians:
    """Which Gaussian each symbol of y is coded with.

    Attributes:
        mean: μ in sixteenths of a step, integers (M, ...).
        scale: σ as an index into :data:`.entropy_coding.tables.SCALES`, integers (M, ...).
    """

    mean: np.ndarray
    scale: np.ndarray

    @property
    def mu(self) -> np.ndarray:
        """μ in steps, float64."""
        return self.mean / FRACTIONS

    @property
    def sigma(self) -> np.ndarray:
        """σ in steps, float64."""
        return SCALES[self.scale]

    def bits(self, symbols: np.ndarray) -> np.ndarray:
        """What each symbol costs, -log2 of its probability in the table it is coded with (escapes: of the escape)."""
        whole, sign, index = shifted(self.mean, self.scale)
        values, tables, bits = sign * (symbols - whole), shifted_gaussian_tables(), np.empty(symbols.shape)
        for i in np.unique(index):
            here = index == i
            bits[here] = tables[i].bits(tables[i].symbols(values[here]))
        return bits
