r"""Refinement: the encoder searches better latents for one picture. Every decoder stays as it is.

The analysis transform g_a answers for all pictures at once, with one set of weights. For the picture at hand, other
latents have a smaller J = R + λD; what is lost by not looking for them is the **amortisation gap**. The decoder does
not ask where its symbols come from. So an encoder with time on its hands starts from the answer of g_a and h_a, and
then lets y and z themselves follow the gradient of this picture's own J::

    x --> g_a --> y --> h_a --> z                    once: where the search begins
                  |             |
                  v             v
         +------> y ----------> z -------+           `steps` times:
         |        |             |        |
         |        v             v        v
       Adam     soft rounding, noise     round       now and then: the real J, of symbols and grey levels
         ^        |             |        |
         |        v             v        v
         |       g_s, prior p(y | z) p(z)|
         |        |                      |
         +- ∂J/∂y, ∂J/∂z                 v
                                     the best symbols so far --> written as usual

Rounding has no useful gradient. Its stand-in is a staircase s_T, which becomes steep as the **temperature** T falls,
and noise between two such staircases: :math:`\hat y = s_T(s_T(y) + n)`. While T is high, a latent feels where J
falls beyond its own bin; when T is low, it has been moved to the middle of a bin, and rounding changes it no more.
Three details decide whether this gains one percent or five:

- **z is searched and written too.** h_a computed z for a y that is no more; computed anew from the refined y, with its
  many values near zero moved a little, z would be worse than both.
- **The rate of Adam falls to zero** (a cosine): noisy gradients at a constant rate end in a random walk.
- **Gaussian noise on a staircase** disturbs latents less than drawing each one's direction of rounding
  (stochastic Gumbel annealing), which finds less in the same number of steps.

Invariants: the file's J, as the real rounding has it, is never above that of the unrefined one; the same picture gives
the same file; what is returned is what is written.

References: Campos, Meierhans, Djelouah, Schroers, 2019, arXiv:1906.01223 (refining latents); Yang, Bamler, Mandt,
NeurIPS 2020, arXiv:2006.04240 (the amortisation gap in compression; Gumbel annealing); Agustsson, Theis, NeurIPS 2020,
arXiv:2006.09952 (soft rounding); Kim et al. (C3), CVPR 2024, arXiv:2312.02753 (annealed soft rounding with noise); the
temperatures and the Gaussian noise are those of COOL-CHIC 5 (Ladune et al., ICCV 2023, arXiv:2212.05458, and later).

Taught in lesson 07.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import SettingError
from .quantisation import Quantiser, soft_round

TEMPERATURE = (0.35, 0.08)
"""T at the first step and at the last, in quantisation steps; in between it falls linearly."""
DEVIATION = (0.22, 0.15)
"""Of the noise, likewise."""
RATE = 0.02
"""Adam's first rate, in quantisation steps: a latent that is pulled the same way at all of 100 steps moves by one."""
EPSILON = 0.3
"""Adam divides the gradient by its own size plus this: what matters much less than 0.3 bits a step, hardly moves."""
MAX_PIXELS = 6_000_000
"""Of a picture that is refined: a step takes about 0.6 kB of memory for each pixel."""


class Model(Protocol):
    """What is asked of a model, see :class:`~.hyperprior.Hyperprior`."""

    def analyse(self, x: Tensor) -> Tensor: ...
    def hyper_latent(self, y: Tensor) -> Tensor: ...
    def scale_of(self, lam: Tensor) -> Tensor | float: ...
    def z_scale_of(self, lam: Tensor) -> Tensor | float: ...
    def code_latents(self, y: Tensor, lam: Tensor, quantiser: Quantiser, *, z: Tensor) -> dict: ...


def soft_rounding_with_noise(temperature: float, deviation: float) -> Quantiser:
    r"""Return the stand-in for rounding :math:`s_T(s_T(y) + n)`, n Gaussian; both as rate and as reconstruction.

    Args:
        temperature: T of the staircases, in steps: 1/T is the sharpness of :func:`.quantisation.soft_round`.
        deviation: of n, in steps.
    """

    def soft(y: Tensor) -> tuple[Tensor, Tensor]:
        noisy = soft_round(y, 1 / temperature) + deviation * torch.randn_like(y)
        y_tilde = soft_round(noisy, 1 / temperature)
        return y_tilde, y_tilde

    return soft


def annealed(progress: float) -> Quantiser:
    """The stand-in for rounding when a part ``progress`` (0 ... 1) of all steps is done."""
    at = lambda first, last: first + progress * (last - first)  # noqa: E731
    return soft_rounding_with_noise(at(*TEMPERATURE), at(*DEVIATION))


class Refinement:
    """The search for the latents of one picture: its state, and what a step and a look at the real J are.

    Args:
        model: see :class:`Model`; its parameters stay as they are.
        x: pixels (1, 3, H', W') in [0, 1], padded to whole multiples of 16.
        size: (H, W), what of it is the picture: the padding may look like anything.
        lam: λ.

    Attributes:
        y, z: the latents in quantisation steps, (1, M, h, w) and (1, Z, h/S, w/S); they begin as g_a's and h_a's.
        best: the symbols with the smallest real J so far, like y and z but whole numbers.
        J: that smallest J, in bits for the whole picture.
    """

    def __init__(self, model: Model, x: Tensor, size: tuple[int, int], lam: float):
        self.model, self.x, self.size, self.lam = model, x, size, torch.tensor([lam])
        with torch.no_grad():
            self.scale, self.z_scale = model.scale_of(self.lam), model.z_scale_of(self.lam)
            y = model.analyse(x)
            z = model.hyper_latent(y)
            self.y, self.z = (y * self.scale).requires_grad_(), (z * self.z_scale).requires_grad_()
        self.J, self.best = math.inf, (self.y, self.z)
        self.look()

    def cost(self, y: Tensor, z: Tensor, quantiser: str | Quantiser, to_grey_levels: bool = False) -> Tensor:
        """J = R + λD in bits for the whole picture, a scalar; ``to_grey_levels``: of x_hat as a picture holds it."""
        output = self.model.code_latents(y / self.scale, self.lam, quantiser, z=z / self.z_scale)
        bits = sum(-torch.log2(p).sum() for p in output["likelihoods"].values())
        x_hat = 255 * output["x_hat"]
        if to_grey_levels:
            x_hat = torch.round(x_hat.clamp(0, 255))
        error = (x_hat - 255 * self.x)[..., : self.size[0], : self.size[1]]
        return bits + self.lam[0] * (error**2).sum() / 3  # D is the mean over the three colours of H W pixels

    @torch.no_grad()
    def look(self) -> None:
        """Round, take the real J, and keep the symbols if there were no better ones."""
        y, z = torch.round(self.y), torch.round(self.z)
        J = self.cost(y, z, "round", to_grey_levels=True).item()
        if J < self.J:
            self.J, self.best = J, (y, z)

    def search(self, steps: int, progress: bool = False) -> None:
        """Take gradient steps, with a look at the real J after every tenth part of them."""
        optimiser = torch.optim.Adam([self.y, self.z], lr=RATE, eps=EPSILON)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        bar = tqdm(range(steps), desc="refining", unit="step", disable=not progress)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)  # the same file each time
            for step in bar:
                J = self.cost(self.y, self.z, annealed(step / steps))
                self.y.grad, self.z.grad = torch.autograd.grad(J, (self.y, self.z))  # and none for the weights
                optimiser.step()
                cosine.step()
                if (step + 1) % math.ceil(steps / 10) == 0 or step + 1 == steps:
                    self.look()
                    bar.set_postfix_str(f"J = {self.J / math.prod(self.size):.4f} bits per pixel")


def refine(
    model: Model, x: Tensor, size: tuple[int, int], lam: float, steps: int, progress: bool = False
) -> tuple[Tensor, Tensor]:
    """Find better symbols for one picture than rounding y and z gives.

    Args:
        model: see :class:`Model`.
        x: pixels (1, 3, H', W') in [0, 1], padded to whole multiples of 16.
        size: (H, W) of the picture.
        lam: λ; D is the squared error.
        steps: each costs about three decodings.
        progress: show a progress bar.

    Returns:
        Symbols of y (M, h, w) and z (Z, h/S, w/S), whole numbers as float32.

    Raises:
        SettingError: the picture is too large.
    """
    if math.prod(size) > MAX_PIXELS:
        raise SettingError(
            f"A picture of {size[1]} x {size[0]} pixels is too large to be refined, which takes memory for every "
            f"pixel: at most {MAX_PIXELS:,}. Encode it without refine, or in parts."
        )
    refinement = Refinement(model, x, size, lam)
    refinement.search(steps, progress)
    y, z = refinement.best
    return y[0], z[0]
