r"""Transforms: from pixels to latents and back, with what every learned codec of the course has beside them.

::

    x (B,3,H,W) --> g_a ----(+)--> y (B,M,H/16,W/16)          y_hat --> g_s -----(+)--> x_hat
        |                    ^                                  |                 ^
        +--> linear path ----+                                  +--> linear path -+

g_a and g_s are those of Ballé, Laparra and Simoncelli 2017 (three strided convolutions with GDN between them), perhaps
with residual blocks after each GDN; a codec may bring others. The linear path starts as a block DCT
(:class:`~.layers.LinearPath`), and gain units make one model serve every λ (:class:`~.layers.Gain`).

References: arXiv:1611.01704 (transforms); arXiv:2003.02012 (gains).

Taught in lesson 05.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .layers import GDN, Gain, LinearPath, ResidualBlock

STRIDE = 16
"""Pixels per latent position, across and down."""


def _chain(*layers: nn.Module, R: int) -> nn.Sequential:
    """The layers one after the other, with R residual blocks after each GDN.

    The layers have the names 0, 1, 2 ... with and without blocks, so that trained weights fit both.
    """
    named = {}
    for k, layer in enumerate(layers):
        named[str(k)] = layer
        if isinstance(layer, GDN):
            named |= {f"{k}_residual_{r}": ResidualBlock(len(layer.sqrt_beta)) for r in range(R)}
    return nn.Sequential(collections.OrderedDict(named))


def analysis_transform(N: int, M: int, R: int = 0) -> nn.Sequential:
    """g_a: (B, 3, H, W) -> (B, M, H/16, W/16), strides 4 · 2 · 2."""
    return _chain(
        nn.Conv2d(3, N, 9, stride=4, padding=4), GDN(N),
        nn.Conv2d(N, N, 5, stride=2, padding=2), GDN(N),
        nn.Conv2d(N, M, 5, stride=2, padding=2),
        R=R,
    )  # fmt: skip


def synthesis_transform(N: int, M: int, R: int = 0) -> nn.Sequential:
    """g_s: (B, M, H/16, W/16) -> (B, 3, H, W), the mirror of :func:`analysis_transform`."""
    return _chain(
        nn.ConvTranspose2d(M, N, 5, stride=2, padding=2, output_padding=1), GDN(N, inverse=True),
        nn.ConvTranspose2d(N, N, 5, stride=2, padding=2, output_padding=1), GDN(N, inverse=True),
        nn.ConvTranspose2d(N, 3, 9, stride=4, padding=4, output_padding=3),
        R=R,
    )  # fmt: skip


class Transforms(nn.Module):
    """Analysis g_a, synthesis g_s, the linear path beside them and the gain units: what all models from here on share.

    A subclass adds its prior; in all there is a factorised ``density``, of y or of z.

    Args:
        config: with at least the fields of :class:`~edu_compress.codecs.factorized.FactorizedConfig`.
        g_a: (B, 3, H, W) -> (B, M, H/16, W/16); if not given, :func:`analysis_transform`.
        g_s: its mirror; if not given, :func:`synthesis_transform`.
    """

    # Beside the linear path, what the transforms see and return must be of order one for Adam to be able to learn:
    # latents are tens of grey levels, pixels up to 128 either side of grey.
    INPUT, LATENT, OUTPUT = 64.0, 10.0, 25.0

    def __init__(self, config: Any, g_a: nn.Sequential | None = None, g_s: nn.Sequential | None = None):
        super().__init__()
        self.config = config
        self.g_a = g_a or analysis_transform(config.N_a or config.N, config.M, config.R)
        self.g_s = g_s or synthesis_transform(config.N, config.M, config.R)
        self.linear = LinearPath(config.M) if config.dct else None
        self.gain = Gain(config.M, config.lowest, config.highest, config.gains) if config.gains else None
        if config.dct:  # begin as the DCT alone
            for last in (self.g_a[-1], self.g_s[-1]):
                nn.init.normal_(last.weight, std=0.1 * last.weight.std().item())
                nn.init.zeros_(last.bias)

    @property
    def lam_range(self) -> tuple[float, float]:
        """The smallest and the largest λ that the model is trained for."""
        return self.config.lowest, self.config.highest

    @property
    def size(self) -> Tensor:
        """Rough size of each latent, for networks that want inputs of order one: (M, 1, 1)."""
        if self.linear is None:
            return torch.full((self.config.M, 1, 1), self.LATENT, device=self.g_a[-1].bias.device)
        return self.linear.deviation.clamp(min=self.LATENT)[:, None, None]

    @torch.no_grad()
    def initialise(self, pictures: Tensor) -> None:
        """Choose the DCT filters from pictures ((B, 3, H, W) in [0, 1])."""
        if self.linear is not None:
            self.linear.choose_filters(255 * pictures - 128)

    fast: tuple[str, ...] = ("density.",)
    """Parameters that learn three times as fast as the others: few numbers, which follow many."""

    def parameter_groups(self, rate: float) -> list[dict]:
        """The parameters with their learning rates, for Adam."""
        fast = [p for name, p in self.named_parameters() if name.startswith(self.fast)]
        others = [p for name, p in self.named_parameters() if not name.startswith(self.fast)]
        return [{"params": others, "lr": rate}, {"params": fast, "lr": 3 * rate}]

    def analyse(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in [0, 1] -> latent y (B, M, H/16, W/16)."""
        x = 255 * x - 128
        y = self.LATENT * self.g_a(x / self.INPUT)
        return y if self.linear is None else y + self.linear.analysis(x)

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Latent (B, M, H/16, W/16) -> pixels (B, 3, H, W), in [0, 1] up to overshoot."""
        x = self.OUTPUT * self.g_s(y_hat / self.size)
        if self.linear is not None:
            x = x + self.linear.synthesis(y_hat)
        return (x + 128) / 255

    def scale_of(self, lam: Tensor) -> Tensor | float:
        """Quantisation steps per unit of latent, at each λ: (B, M, 1, 1)."""
        return 1.0 if self.gain is None else self.gain(lam)

    def portable_step(self, lam: float) -> np.ndarray:
        """The quantisation step of each channel at one λ, float64 [M], the same on every machine."""
        return np.ones(self.config.M) if self.gain is None else self.gain.portable_step(lam)
