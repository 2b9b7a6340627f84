r"""Quantisers: what to do in training about rounding, which has no gradient.

A codec rounds its latents. The derivative of rounding is zero almost everywhere, so a codec that trains must use
something else in its place, and be judged with the real thing. Each quantiser here takes latents ``y`` in units
of the quantisation step and returns two tensors::

               +--> y_rate   the rate is -log2 P(bin of width 1 around y_rate)
    y -> q(y) -+
               +--> y_hat    what the synthesis transform sees, so what the distortion is measured on

==================  =========================  =========================  ===========================================
name                y_rate                     y_hat                      source
==================  =========================  =========================  ===========================================
``round``           round(y)                   round(y)                   the codec itself; no gradient
``noise``           y + u                      y + u                      Ballé, Laparra, Simoncelli 2017, eq. 11
``straight_through``  round(y), dy := 1        round(y), dy := 1          Bengio 2013; Theis et al. 2017
``mixed``           y + u                      round(y), dy := 1          Minnen and Singh 2020
``soft``            r(s(y) + u)                r(s(y) + u)                Agustsson and Theis 2020, eqs. 10 to 13
``dither``          round(y - u) + u           round(y - u) + u           Ziv 1985; Agustsson and Theis 2020
==================  =========================  =========================  ===========================================

u is uniform on [-1/2, 1/2), fresh for each element. Noise is a good stand-in because y + u has a density that
agrees with the probabilities of round(y) at the integers: :math:`p_{y+u}(n) = P(\mathrm{round}(y) = n)`
(arXiv:1611.01704, section 3.1).

Taught in lesson 05.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Quantiser = Callable[[Tensor], tuple[Tensor, Tensor]]


def uniform_noise(y: Tensor) -> Tensor:
    """Return u, uniform on [-1/2, 1/2), of the shape of ``y``."""
    return torch.rand_like(y) - 0.5


def straight_through_round(y: Tensor) -> Tensor:
    """Round, with the gradient of the identity."""
    return y + (torch.round(y) - y).detach()


def hard_rounding(y: Tensor) -> tuple[Tensor, Tensor]:
    """What the codec does; use it for validation and for real files."""
    y_hat = torch.round(y)
    return y_hat, y_hat


def additive_noise(y: Tensor) -> tuple[Tensor, Tensor]:
    """Noise for both terms: a smooth, unbiased gradient, but g_s never sees rounded values before test time."""
    y_tilde = y + uniform_noise(y)
    return y_tilde, y_tilde


def straight_through(y: Tensor) -> tuple[Tensor, Tensor]:
    """Rounded values for both terms: no gap between training and test, but a biased gradient."""
    y_hat = straight_through_round(y)
    return y_hat, y_hat


def mixed(y: Tensor) -> tuple[Tensor, Tensor]:
    """Noise for the rate, rounded values for the distortion: g_s learns from what it will be given."""
    return y + uniform_noise(y), straight_through_round(y)


def soft_round(y: Tensor, alpha: float) -> Tensor:
    r"""A smooth staircase: the identity as :math:`\alpha \to 0`, rounding as :math:`\alpha \to \infty`.

    :math:`s_\alpha(y) = m + \tfrac12 \tanh(\alpha r) / \tanh(\alpha/2)` with
    :math:`m = \lfloor y \rfloor + \tfrac12,\; r = y - m` (arXiv:2006.09952).
    """
    middle = torch.floor(y) + 0.5
    return middle + 0.5 * torch.tanh(alpha * (y - middle)) / _tanh_half(alpha, y)


def soft_round_inverse(z: Tensor, alpha: float) -> Tensor:
    """The inverse of :func:`soft_round`, so that ``soft_round_inverse(soft_round(y, a), a) == y``."""
    middle = torch.floor(z) + 0.5
    slope = ((z - middle) * 2 * _tanh_half(alpha, z)).clamp(-1 + 1e-6, 1 - 1e-6)
    return middle + torch.atanh(slope) / alpha


def _tanh_half(alpha: float, like: Tensor) -> Tensor:
    return torch.tanh(torch.as_tensor(alpha / 2, dtype=like.dtype, device=like.device))


def soft_rounding(alpha: float) -> Quantiser:
    """Return the quantiser ``soft`` with sharpness ``alpha``; raise it during training, for example from 1 to 12.

    Noise is added to the soft-rounded latent, and the decoder undoes the staircase by the conditional mean
    :math:`r_\\alpha(z) \\approx s_\\alpha^{-1}(z - \\tfrac12) + \\tfrac12` (arXiv:2006.09952).
    The bin of width one around that value is the one whose probability is the density of z, so it serves as y_rate.
    """

    def soft(y: Tensor) -> tuple[Tensor, Tensor]:
        z = soft_round(y, alpha) + uniform_noise(y)
        value = soft_round_inverse(z - 0.5, alpha) + 0.5
        return value, value

    return soft


def dithered(y: Tensor) -> tuple[Tensor, Tensor]:
    """Universal quantisation: rounding on a grid moved by u, which the decoder must know too.

    Its error is uniform and independent of y, exactly as with additive noise, but the values are really discrete:
    a codec that shares the random numbers u has no gap between training and test at all.
    """
    u = uniform_noise(y)
    y_hat = straight_through_round(y - u) + u
    return y_hat, y_hat


QUANTISERS: dict[str, Quantiser] = {
    "round": hard_rounding,
    "noise": additive_noise,
    "straight_through": straight_through,
    "mixed": mixed,
    "soft": soft_rounding(4.0),
    "dither": dithered,
}
"""By name; ``soft`` with a fixed sharpness of 4 (for an annealed one, pass ``soft_rounding(alpha)`` itself)."""
