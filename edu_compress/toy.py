r"""A codec small enough to draw: two numbers in, two symbols, two numbers out.

A photograph has too many dimensions to look at. Here the source is a cloud of points in the plane, bent like a
banana, and everything a learned codec does can be drawn: which points share a symbol (the *cells*) and where the
decoder puts them (the *reconstruction points*)::

    x (n, 2) --> g_a --> y (n, 2) --> quantise --> y_hat --> g_s --> x_hat (n, 2)
                                          |
                          prior: one density for each of the two symbols --> bits

With linear g_a and g_s the cells are equal parallelograms, whatever is learned. With small networks they bend with
the source.

The cost of a training step here is mostly overhead, so K codecs are trained at once, one for each λ: a layer holds K
matrices, and the prior 2 K densities. The codecs do not know of each other.

    R: bits per point (both symbols)       D: squared distance between x and x_hat       J = R + λ D

Invariants: the gradient of one codec's loss touches no other codec; ``measure(codec, x, "round")`` is what
a file would cost and give.

References: the toy source and its figure are an idea of Ballé et al., "Nonlinear transform coding",
arXiv:2007.03034, section II; the quantisers stand in :mod:`edu_compress.learned.quantisation`.

Taught in lesson 05.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from .codecs.factorized import FactorizedDensity
from .learned.quantisation import QUANTISERS, Quantiser, soft_rounding

LAMBDAS: tuple[float, ...] = tuple(float(f"{lam:.2g}") for lam in np.geomspace(0.3, 30, 7))
"""Of the codecs that are trained side by side, unless others are asked for; in bits per unit of squared distance."""


def banana(n: int, generator: torch.Generator | None = None) -> Tensor:
    r"""Draw n points of the source: (n, 2).

    The first coordinate is Gaussian; the second is Gaussian around a parabola of the first:
    :math:`x_1 = 2t,\; x_2 = t^2 - 1 + \tfrac14 s` with t, s standard Gaussian. Their covariance is zero, so no linear
    transform can make them less correlated; yet who knows one nearly knows the other.
    """
    t, s = torch.randn(2, n, generator=generator)
    return torch.stack([2 * t, t * t - 1 + s / 4], dim=1)


def banana_density(x: Tensor) -> Tensor:
    """Probability density of the source at points x (..., 2)."""
    t, s = x[..., 0] / 2, 4 * (x[..., 1] - (x[..., 0] / 2) ** 2 + 1)
    return torch.exp(-(t * t + s * s) / 2) / (2 * torch.pi) * (1 / 2 * 4)


# --- K codecs side by side --------------------------------------------------------------------


class ParallelLinear(nn.Module):
    """K linear layers: (K, n, into) -> (K, n, out), each with its own matrix. All begin with equal weights."""

    def __init__(self, K: int, into: int, out: int):
        super().__init__()
        one = nn.Linear(into, out)
        self.weight = nn.Parameter(one.weight.detach().T.repeat(K, 1, 1))
        self.bias = nn.Parameter(one.bias.detach().repeat(K, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class Transform(nn.Module):
    """K transforms of the plane, (K, n, 2) -> (K, n, 2): a matrix, and beside it a network with two hidden layers.

    It begins as the identity: the same trick as the DCT beside the large codec's networks.
    """

    def __init__(self, K: int, linear: bool, width: int):
        super().__init__()
        self.matrix = ParallelLinear(K, 2, 2)
        self.network = None if linear else nn.Sequential(
            ParallelLinear(K, 2, width), nn.Tanh(), ParallelLinear(K, width, width), nn.Tanh(),
            ParallelLinear(K, width, 2),
        )  # fmt: skip
        with torch.no_grad():
            self.matrix.weight.copy_(torch.eye(2))
            self.matrix.bias.zero_()
            if self.network is not None:
                self.network[-1].weight.mul_(0.1)
                self.network[-1].bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.matrix(x) if self.network is None else self.matrix(x) + self.network(x)


class ToyCodec(nn.Module):
    """K codecs of the plane, one for each λ.

    Args:
        lams: λ of each codec, in bits per unit of squared distance.
        linear: whether g_a and g_s are matrices and nothing else.
        width: of the hidden layers of the networks beside the matrices.
    """

    def __init__(self, lams: Sequence[float] = LAMBDAS, linear: bool = False, width: int = 24):
        super().__init__()
        self.lams = tuple(lams)
        self.g_a, self.g_s = (Transform(len(lams), linear, width) for _ in "as")
        self.prior = FactorizedDensity(2 * len(lams))
        # The step that is best at a high rate: with D = 2 step²/12, the slope of R(D), 1/(D ln 2), is λ. We begin with
        # half of it, because a codec whose points all fall into one cell learns nothing.
        step = torch.sqrt(6 / (torch.tensor(self.lams) * np.log(2))) / 2
        self.register_buffer("gain", 1 / step[:, None, None])

    def analyse(self, x: Tensor) -> Tensor:
        """Points (n, 2) -> latents of every codec (K, n, 2), in steps of the quantiser."""
        return self.gain * self.g_a(x.expand(len(self.lams), *x.shape))

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Quantised latents of every codec (K, n, 2) -> points (K, n, 2)."""
        return self.g_s(y_hat / self.gain)

    def bits(self, y: Tensor) -> Tensor:
        """Cost of latents (K, n, 2): -log2 of the probability of the bin around each, summed over both: (K, n)."""
        K, n, _ = y.shape
        channels = y.permute(1, 0, 2).reshape(n, 2 * K, 1, 1)
        return -torch.log2(self.prior.likelihood(channels)).reshape(n, K, 2).sum(-1).T

    def forward(self, x: Tensor, quantiser: str | Quantiser = "round") -> tuple[Tensor, Tensor]:
        """Code points (n, 2) with every codec; return R and D of each, both (K,)."""
        quantise: Callable = QUANTISERS[quantiser] if isinstance(quantiser, str) else quantiser
        y_rate, y_hat = quantise(self.analyse(x))
        distance = (self.synthesise(y_hat) - x).square().sum(-1)  # (K, n)
        return self.bits(y_rate).mean(1), distance.mean(1)


# --- training ---------------------------------------------------------------------------------


def train(
    codec: ToyCodec, quantiser: str = "soft", steps: int = 800, batch: int = 256, seed: int = 0, progress: bool = True
) -> ToyCodec:
    """Train all codecs on fresh points; ``quantiser`` "soft" is annealed: its sharpness grows from 1 to 12.

    Adam at 0.01, falling to zero along half a cosine. With the same seed, the same points and the same noise.

    Returns:
        The codec itself, trained.
    """
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(codec.parameters(), lr=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    lams = torch.tensor(codec.lams)
    bar = tqdm(range(steps), desc=quantiser, unit="step", disable=not progress)
    for step in bar:
        quantise = soft_rounding(12.0 ** (step / steps)) if quantiser == "soft" else quantiser
        R, D = codec(banana(batch), quantise)
        loss = (R + lams * D).sum()  # a sum: each codec's gradient is its own
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            bar.set_postfix(J=f"{loss.item() / len(lams):.3f}")
    return codec.eval()


@torch.no_grad()
def measure(codec: ToyCodec, quantiser: str | Quantiser = "round", n: int = 20_000, seed: int = 1) -> tuple:
    """Return (R, D) of each λ on n points that no training saw, as arrays (K,)."""
    torch.manual_seed(seed)
    R, D = codec(banana(n), quantiser)
    return R.numpy(), D.numpy()


class LabResult(NamedTuple):
    """R (bits per point) and D (squared distance) of codecs trained with one quantiser, for each λ.

    Attributes:
        believed: with the quantiser of the training: what the training loss was made of.
        real: with rounding: what a file costs and gives.
    """

    believed: tuple[np.ndarray, np.ndarray]
    real: tuple[np.ndarray, np.ndarray]


def quantiser_lab(
    names: Sequence[str] = ("noise", "straight_through", "mixed", "soft", "dither"),
    lams: Sequence[float] = LAMBDAS,
    steps: int = 500,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, LabResult]:
    """Train the same codec with each quantiser, from the same first weights; compare what it believes with what is."""
    results = {}
    for name in names:
        torch.manual_seed(seed)
        codec = train(ToyCodec(lams), name, steps, seed=seed, progress=progress)
        believed = measure(codec, soft_rounding(12.0) if name == "soft" else name)
        results[name] = LabResult(believed, measure(codec))
    return results


# --- what can be drawn ------------------------------------------------------------------------


class Cells(NamedTuple):
    """One codec of the plane, drawn.

    Attributes:
        border: bool (rows, columns): whether a pixel lies on the border of a cell; rows go upwards.
        points: reconstruction points (m, 2).
        probability: how often each is used (m,), the largest first.
    """

    border: np.ndarray
    points: np.ndarray
    probability: np.ndarray


EXTENT = (-5.6, 5.6, -2.6, 6.6)
"""Left, right, bottom and top of what is drawn: all but one in 200 points of the source."""


def plane(columns: int = 320) -> Tensor:
    """Return the points of a grid over :data:`EXTENT`: (rows, columns, 2), rows upwards."""
    left, right, bottom, top = EXTENT
    rows = round(columns * (top - bottom) / (right - left))
    y, x = torch.meshgrid(torch.linspace(bottom, top, rows), torch.linspace(left, right, columns), indexing="ij")
    return torch.stack([x, y], dim=-1)


@torch.no_grad()
def cells(codec: ToyCodec, columns: int = 320, n: int = 20_000, seed: int = 1) -> list[Cells]:
    """Find the cells and the reconstruction points of every codec."""
    grid = plane(columns)
    symbols = torch.round(codec.analyse(grid.reshape(-1, 2))).reshape(len(codec.lams), *grid.shape)
    torch.manual_seed(seed)
    of_source = torch.round(codec.analyse(banana(n)))  # (K, n, 2)
    used = [each.unique(dim=0, return_counts=True) for each in of_source]
    drawn = []
    for k, (values, count) in enumerate(used):
        order = count.argsort(descending=True)
        y_hat = F.pad(values[order][None], (0, 0, 0, 0, k, len(codec.lams) - k - 1))  # codec k sees it, others zeros
        drawn.append(Cells(_borders(symbols[k]), codec.synthesise(y_hat)[k].numpy(), (count[order] / n).numpy()))
    return drawn


def _borders(symbols: Tensor) -> np.ndarray:
    """Mark where the symbols (rows, columns, 2) differ from those of the next pixel to the right or above."""
    right = (symbols[:-1, 1:] != symbols[:-1, :-1]).any(-1)
    above = (symbols[1:, :-1] != symbols[:-1, :-1]).any(-1)
    return F.pad(right | above, (0, 1, 0, 1)).numpy()
