r"""Context models: what is decoded already tells about what comes next, at no cost in side information.

The hyperprior's μ and σ are a summary, sent in advance. But while the decoder works through the latents it knows much
more: all symbols before this one. The chain rule of probability says that nothing is lost by using them,

.. math:: p(\hat y \mid \hat z) = \prod_i p(\hat y_i \mid \hat y_1 \dots \hat y_{i-1}, \hat z)

and a context model is a network for the factors: a 5 × 5 convolution that sees only neighbours already decoded,
joined with the features of the hyperprior::

    z_hat --> h_s --> ψ ----------+
                                  +--> join --+--> entropy parameters --(+)--> μ, σ --> entropy decoder
    y_hat --> masked 5x5 --> φ ---+           |                          ^                   |
      ^                                       +--> ChannelSlice* --------+                   |
      |                                                 ^                                    |
      |                                                 +-- the slices before, here *--------+
      +------------------------------------ the symbols of this position --------------------+
                                                                       * if there are slices

Two masks::

    raster (Minnen 2018)      checkerboard (He 2021)
        # # # # #                 . # . # .             #  seen
        # # # # #                 # . # . #             .  not seen
        # # x . .                 . # x # .             x  the position itself
        . . . . .                 # . # . #
        . . . . .                 . # . # .

With the **raster** mask the positions depend on one another in a long chain, but not all of them: those with the same
``column + 3 · row`` do not see one another, so each such *wavefront* is decoded in one go. With the
**checkerboard** there are two passes: first the positions of one colour, the anchors, with the hyperprior alone
(φ = 0), then all others at once, from the anchors around them.

The channels of one position tell about one another, too. They can be decoded in **slices** (Minnen and Singh 2020): the
Gaussians of each slice get an addition that depends on the symbols of the slices before it at the same position. Most
bits are in few channels, so the first slices are small and the last ones large (He 2022)::

    each pass:   slice 1  -->  slice 2  -->  slice 3   -->   slice 4
                 8         8           16             32          ...  channels

Invariants: no μ or σ depends on a symbol that is decoded later or at the same time; the order of decoding changes the
file, never the picture; everything here is in exact arithmetic, as in :mod:`.hyperprior`.

References: Minnen, Ballé, Toderici, NeurIPS 2018, arXiv:1809.02736; He et al., CVPR 2021, arXiv:2103.15306 (the
checkerboard); Minnen, Singh, ICIP 2020, arXiv:2007.08739 (slices); He et al. ("ELIC"), CVPR 2022, arXiv:2203.10886
(slices of unequal sizes, together with the checkerboard).

Taught in lesson 07.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..entropy_coding import portable
from ..errors import SettingError
from ..learned.exact import ExactLinear, activation, relu
from ..learned.layers import MaskedConv2d, checkerboard_mask, raster_mask
from ..learned.orders import anchors, checkerboard_passes, raster_passes, wavefront_passes
from .hyperprior import ALL, ExactPrior, Hyperprior, HyperpriorCodec, HyperpriorConfig

MASKS = {"raster": raster_mask, "checkerboard": checkerboard_mask}


@dataclass(frozen=True)
class ContextConfig(HyperpriorConfig):
    """Sizes and options of a :class:`ContextModel`.

    Attributes:
        C: channels of the context features φ.
        mask: "raster" or "checkerboard".
        slices: numbers of channels of y that are decoded together, in order; their sum is M. Empty: all M at once.
        C_s: hidden channels of each slice's network, see :class:`ChannelSlice`.
    """

    E: int = 256
    C: int = 96
    mask: str = "raster"
    slices: tuple[int, ...] = ()
    C_s: int = 64

    def __post_init__(self):
        super().__post_init__()
        if self.slices and (sum(self.slices) != self.M or min(self.slices) < 1):
            raise ValueError(f"the slices are to hold {self.M} channels together, but {self.slices} do not")
        if self.mask not in MASKS:
            raise ValueError(f"the mask is one of {', '.join(MASKS)}, not {self.mask!r}")


class ChannelSlice(nn.Module):
    """What one slice of channels learns from the slices before it at the same position: additions to its μ and log σ.

    ``out(ReLU(see(symbols before) + hear(ReLU(joined))))``, all 1 × 1. It begins at zero.

    Args:
        before: channels of y in all slices before this one.
        size: channels of y in this one.
    """

    def __init__(self, before: int, size: int, config: ContextConfig):
        super().__init__()
        self.before, self.size = before, size
        self.see = nn.Conv2d(config.views * before, config.C_s, 1, bias=False)
        self.hear = nn.Conv2d(config.E, config.C_s, 1)
        self.out = nn.Conv2d(config.C_s, (1 + config.mean) * size, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Views of y_hat (B, views, M, h, w), ReLU(joined) (B, E, h, w) -> (B, 1 or 2, size, h, w)."""
        hidden = F.relu(self.see(seen[:, :, : self.before].flatten(1, 2)) + self.hear(heard))
        return self.out(hidden).unflatten(1, (-1, self.size))


class ContextModel(Hyperprior):
    """A hyperprior with a masked convolution over y_hat, and perhaps with slices of channels."""

    def __init__(self, config: ContextConfig = ContextConfig()):  # noqa: B008 - frozen
        super().__init__(config)
        self.context = MaskedConv2d(config.views * config.M, config.C, MASKS[config.mask]())
        self.join_context = nn.Conv2d(config.C, config.E, 1, bias=False)
        self.slices = nn.ModuleList(  # all but the first, before which there is nothing to see
            ChannelSlice(sum(config.slices[:k]), config.slices[k], config) for k in range(1, len(config.slices))
        )

    def joined(self, psi: Tensor, y_hat: Tensor) -> Tensor:
        phi = F.relu(self.context(self.view(y_hat)))  # (B, C, h, w)
        if self.config.mask == "checkerboard":
            phi = phi * ~anchors(*y_hat.shape[2:], phi.device)
        return self.join(psi) + self.join_context(phi)  # one layer on ψ and φ side by side, written as two

    def parameters_of(self, joined: Tensor, y_hat: Tensor) -> Tensor:
        out = self.entropy_parameters(joined)
        if not self.slices:
            return out
        seen, heard = self.view(y_hat).unflatten(1, (-1, self.config.M)), F.relu(joined)
        first = torch.zeros_like(out).unflatten(1, (-1, self.config.M))[:, :, : self.config.slices[0]]  # sees nothing
        additions = [first, *(later(seen, heard) for later in self.slices)]  # (B, 1 or 2, size, h, w) each
        return out + torch.cat(additions, dim=2).flatten(1, 2)


# --- the codecs -------------------------------------------------------------------------------


class ExactContextPrior(ExactPrior):
    """An :class:`~.hyperprior.ExactPrior` with the masked convolution, as a product of gathered rows."""

    def __init__(self, model: ContextModel):
        super().__init__(model)
        seen = model.context.mask
        self.margin = len(seen) // 2
        self.offsets = seen.nonzero().numpy()  # (12, 2): row and column in the canvas
        weight = model.context.weight.transpose(1, 2)  # (C, 12, views · M)
        self.context = ExactLinear(weight.flatten(1), model.context.bias)
        self.join_context = ExactLinear(model.join_context.weight[:, :, 0, 0])
        if model.slices:
            ends = np.cumsum(model.config.slices).tolist()
            self.slices = [slice(begin, end) for begin, end in zip((0, *ends), ends, strict=False)]
            rows = lambda layer: (layer.weight[:, :, 0, 0], layer.bias)  # noqa: E731 - 1 x 1: a product with rows
            self.see = [ExactLinear(*rows(later.see)) for later in model.slices]
            self.out = [ExactLinear(*rows(later.out)) for later in model.slices]
            hear = [rows(later.hear) for later in model.slices]  # what they hear is the same: one product for all
            self.hear = ExactLinear(*(torch.cat(parts) for parts in zip(*hear, strict=True)))

    def canvas(self, h: int, w: int) -> np.ndarray:
        """What is seen of the latents decoded so far, with a margin of zeros: (h + 4, w + 4, views, M)."""
        return super().canvas(h + 2 * self.margin, w + 2 * self.margin)

    def note(self, canvas: np.ndarray, positions: np.ndarray, y: np.ndarray, lam: float, channels: slice = ALL) -> None:
        row, column = self._place(canvas, positions)
        seen = activation(torch.from_numpy(self._view(y, self.at(lam).unit[channels]))).numpy()  # (views, size, n)
        canvas[row + self.margin, column + self.margin, :, channels] = seen.transpose(2, 0, 1)

    def _place(self, canvas: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.divmod(positions, canvas.shape[1] - 2 * self.margin)

    def _view(self, y: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """:meth:`~.hyperprior.Hyperprior.view` in portable arithmetic: symbols (m, n) -> (views, m, n)."""
        y_hat = y / unit[:, None]
        signs = [y_hat] if self.config.mean else []
        if self.config.logs:
            return np.stack([*signs, portable.log(1 + 4 * np.abs(y_hat))])
        return y_hat[None] if self.config.mean else np.abs(y_hat)[None]

    def joined(self, features: Tensor, canvas: np.ndarray, positions: np.ndarray) -> Tensor:
        return features[positions] + self.join_context(self._phi(canvas, positions))

    def additions(self, heard: Tensor, canvas: np.ndarray, positions: np.ndarray) -> Iterator[Tensor | float]:
        yield 0.0  # no slice comes before the first
        if len(self.slices) == 1:
            return
        row, column = self._place(canvas, positions)
        hears = self.hear(heard).chunk(len(self.see), dim=1)  # (n, C_s) each
        for channels, hear, see, out in zip(self.slices[1:], hears, self.see, self.out, strict=True):
            seen = canvas[row + self.margin, column + self.margin, :, : channels.start]  # (n, views, before)
            hidden = see(torch.from_numpy(seen.reshape(len(seen), -1))) + hear
            yield out(relu(hidden)).unflatten(1, (-1, channels.stop - channels.start))

    def _phi(self, canvas: np.ndarray, positions: np.ndarray) -> Tensor:
        """Context features φ of n positions: (n, C)."""
        row, column = self._place(canvas, positions)
        neighbours = canvas[row[:, None] + self.offsets[:, 0], column[:, None] + self.offsets[:, 1]]
        rows = torch.from_numpy(neighbours.reshape(len(positions), -1))  # (n, 12 · views · M)
        phi = relu(self.context(rows))
        if self.config.mask == "checkerboard":
            phi = phi * torch.from_numpy((row + column) % 2)[:, None]  # anchors have none
        return phi


class ContextCodec(HyperpriorCodec):
    """Writes ``.edc`` files with a trained :class:`ContextModel` with the raster mask.

    Args:
        weights: name of trained weights, see ``edu-compress codecs``.
        model: a model to use instead, under that name.
        refine: number of gradient steps by which the encoder improves the latents of each picture.
        order: "wavefront", or "raster" to see what it spares; a file names its order, and its codec reads no other.
    """

    name = model_name = "context"
    mask = "raster"
    small = {**HyperpriorCodec.small, "C": 8}
    orders = {"wavefront": wavefront_passes, "raster": raster_passes}

    def __init__(self, weights: str = "", model: ContextModel | None = None, refine: int = 0, order: str = ""):
        super().__init__(weights, model, refine)
        default = next(iter(self.orders))
        if self.model.config.mask != self.mask:
            raise SettingError(f"The weights {self.weights!r} have the mask {self.model.config.mask!r}; choose others.")
        if order not in ("", *self.orders):
            raise SettingError(f"The order is one of {', '.join(self.orders)}, not {order!r}.")
        if order not in ("", default):
            self.name = f"{self.name}-{order}"
        self.passes = self.orders[order or default]
        self.prior = ExactContextPrior(self.model)


class CheckerboardCodec(ContextCodec):
    """The same with the checkerboard mask: two passes."""

    name = "checkerboard"
    mask = "checkerboard"
    small = {**ContextCodec.small, "mask": mask}
    orders = {"checkerboard": checkerboard_passes}
