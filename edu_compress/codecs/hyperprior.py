r"""Hyperpriors: side information that tells the entropy coder where the latents are large.

A factorised prior codes a channel with the same table everywhere. But where one latent is large, so are its
neighbours: in textured regions all are, in the sky none is. The hyperprior spends a few bits on a second, coarser
latent z, from which the decoder computes, for each single y, the Gaussian to code it with::

    x --> g_a --> y --+--> · gain --> round --> entropy coder --> "y" --> entropy decoder --> y_hat --> g_s --> x_hat
                      |                             ^                          ^                ^
                     h_a                            +-- μ, σ of each symbol ---+--- (its bin's centre of mass)
                      |                                                        |
                      z --> · gain --> round --> entropy coder --> "z" --> entropy decoder --> z_hat --> h_s
                                                     ^                         ^
                                                     +-- one table a channel --+   (factorised density)

**Scale hyperprior** (arXiv:1802.01436, section 3): μ = 0, and h_a sees |y|. **Mean-scale hyperprior**
(arXiv:1809.02736, section 2): μ too is predicted. One class does both (``HyperpriorConfig.mean``).

**One rule for quantisation**, in training, estimation and coding: the symbol is round(y · gain), on a grid that does
not move with μ. The probability of symbol k is that of the bin [k - 1/2, k + 1/2) under N(μ, σ²); its table is
chosen by σ and the fractional part of μ. (If y - μ is rounded in one place and y in another, as in some public
code, the model is trained for symbols that are never coded.) What a moving grid would give, a better reconstruction,
the decoder gets another way: it knows μ and σ, so it moves y_hat from the middle of the bin towards its centre of mass
(:func:`.gaussians.centre_of_mass`), which for a bin around zero is nearly μ; how far, is learned (``pull``).

**One model for all λ**: μ and σ are predicted in the latents' own units and multiplied by the gain; z has gains of
its own; and the last layers get a bias that depends on λ.

Invariants: everything that the entropy decoder depends on is computed exactly (:mod:`.exact`): a file decodes to the
same symbols on every machine. Estimated bits and real files agree within 1 % + 64 bytes.

References: Ballé, Minnen, Singh, Hwang, Johnston, ICLR 2018, arXiv:1802.01436; Minnen, Ballé, Toderici, NeurIPS 2018,
arXiv:1809.02736; gains: arXiv:2003.02012.

Taught in lesson 06.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .. import images
from ..container import Container
from ..entropy_coding import (
    FastDecoder,
    FastEncoder,
    Table,
    decode_values,
    encode_values,
    portable,
    shifted,
    shifted_gaussian_tables,
)
from ..entropy_coding.tables import FRACTIONS, LOG_SCALES, SCALES
from ..errors import BitstreamError, SettingError
from ..learned.density import FactorizedDensity
from ..learned.exact import ExactLinear, exact, on_grid, relu
from ..learned.gaussians import SMALLEST, Gaussians, centre_of_mass, gaussian_likelihood
from ..learned.latent_codec import LatentCodec, channel_of_each, check_plausible
from ..learned.layers import Bias, Gain, lower_bound
from ..learned.per_picture import refine
from ..learned.quantisation import QUANTISERS, Quantiser
from ..learned.transforms import Transforms
from .factorized import FactorizedConfig


@dataclass(frozen=True)
class HyperpriorConfig(FactorizedConfig):
    """Sizes and options of a :class:`Hyperprior`; ``data/recipes`` has the course's.

    Attributes:
        H: channels inside h_a and h_s.
        Z: channels of z.
        S: positions of y for each of z, across and down; 4 in the papers, 2 here, which learns faster.
        E: channels of the last hidden layer before μ and σ.
        K: side of the kernels in the first layer of h_a.
        L: channels inside the latent residual prediction, see :class:`LatentResidual`; 0 for none.
        mean: whether μ is predicted, not only σ.
        logs: whether networks that look at latents also see the logarithm of their magnitude, see
            :meth:`Hyperprior.view`; not so in the papers.
    """

    M: int = 256
    H: int = 64
    Z: int = 24
    S: int = 2
    E: int = 192
    K: int = 1
    L: int = 0
    mean: bool = True
    logs: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.S not in (2, 4):
            raise ValueError(f"S is 2 or 4, not {self.S}")

    @property
    def views(self) -> int:
        """Numbers that :meth:`Hyperprior.view` makes of each latent."""
        return 2 if self.mean and self.logs else 1


# --- the model --------------------------------------------------------------------------------


def hyper_analysis(into: int, config: HyperpriorConfig) -> nn.Sequential:
    """h_a: (B, into, h, w) -> (B, Z, h/S, w/S), rounded up."""
    H, Z, K = config.H, config.Z, config.K
    last = nn.Conv2d(H, Z, 5, stride=2, padding=2) if config.S == 4 else nn.Conv2d(H, Z, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(into, H, K, padding=K // 2), nn.ReLU(),
        nn.Conv2d(H, H, 5, stride=2, padding=2), nn.ReLU(),
        last,
    )  # fmt: skip


def hyper_synthesis(config: HyperpriorConfig) -> nn.Sequential:
    """The first layers of h_s: (B, Z, h/S, w/S) -> features (B, H, h, w), or a little more where z was rounded up."""
    H, Z = config.H, config.Z
    up = {"stride": 2, "padding": 2, "output_padding": 1}
    return nn.Sequential(
        nn.ConvTranspose2d(Z, H, 5, **up) if config.S == 4 else nn.Conv2d(Z, H, 3, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(H, H, 5, **up), nn.ReLU(),
        nn.Conv2d(H, H, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class LatentResidual(nn.Module):
    """Latent residual prediction: what rounding took away, guessed from all that is known after decoding.

    Minnen and Singh, ICIP 2020, arXiv:2007.08739: 0.5 tanh of a small network, so that a value moves by at most half a
    step. It begins at zero. The entropy decoder does not depend on it, so it need not be exact.

    Args:
        into: channels of what is known of a position, see :meth:`Hyperprior.reconstruction`.
        L: hidden channels.
        M: channels of y.
    """

    def __init__(self, into: int, L: int, M: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(into, L, 1), nn.ReLU(), nn.Conv2d(L, M, 1))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, known: Tensor) -> Tensor:
        """(B, into, h, w) -> what to add to the symbols, in steps: (B, M, h, w)."""
        return 0.5 * torch.tanh(self.layers(known))


class Hyperprior(Transforms):
    """Transforms, hyper-transforms and the density of z: what is trained, and what :class:`HyperpriorCodec` uses.

    h_s is cut in two: features of the whole picture (``h_s``), and the layers that turn the features of a position
    into its μ and σ (``join`` and ``entropy_parameters``, 1 × 1 convolutions), which a context model shares.
    """

    fast = ("density.", "z_gain.")
    HYPER = 4.0  # what z is divided by before h_s; its deviation at the beginning, well above that of the noise

    def __init__(self, config: HyperpriorConfig = HyperpriorConfig()):  # noqa: B008 - frozen
        super().__init__(config)
        M, H, Z, E = config.M, config.H, config.Z, config.E
        anchors = (config.lowest, config.highest, config.gains)
        self.h_a = hyper_analysis(config.views * M, config)
        self.density = FactorizedDensity(Z)
        self.h_s = hyper_synthesis(config)
        self.join = nn.Sequential(nn.Conv2d(H, E, 1))
        self.entropy_parameters = nn.Sequential(nn.ReLU(), nn.Conv2d(E, (1 + config.mean) * M, 1))
        self.bias = Bias(E, *anchors) if config.gains else None
        self.z_gain = Gain(Z, *anchors) if config.gains else None
        self.pull = Bias(M, *anchors) if config.gains else None  # to the centres of mass; none in the papers
        self.residual = LatentResidual((config.views + 2) * M, config.L, M) if config.L else None
        for layer in (*self.h_a, *self.h_s):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # weaker ones let z drown in its noise
        nn.init.normal_(self.entropy_parameters[-1].weight, std=0.01)  # begin at the measured deviations
        nn.init.zeros_(self.entropy_parameters[-1].bias)
        if self.z_gain is not None:  # the less quality, the fewer bits for z
            self.z_gain.log_gain.data.copy_(torch.linspace(-0.6, 0.6, config.gains)[:, None])

    @torch.no_grad()
    def initialise(self, pictures: Tensor) -> None:
        """Choose the DCT filters from pictures ((B, 3, H, W) in [0, 1]), and make all channels of z begin awake.

        A channel that is smaller than its noise tells h_s nothing, so nothing tells it to grow: it would stay asleep.
        """
        super().initialise(pictures)
        last, z = self.h_a[-1], self.hyper_latent(self.analyse(pictures))
        last.weight *= self.HYPER / z.std((0, 2, 3))[:, None, None, None]
        last.bias.zero_()
        self.density.scale.fill_(self.HYPER)

    def view(self, y: Tensor) -> Tensor:
        """What networks see of latents y (B, M, h, w) in their own units: (B, views · M, h, w).

        A prediction of μ needs signs, one of σ magnitudes: the mean-scale hyperprior of the paper sees y, the scale
        hyperprior |y|. Ours sees log(1 + 4|y|) besides, or instead: log σ is nearly a weighted mean of such logarithms,
        so a small network learns it in minutes, and one large latent does not drown the others.
        """
        y = y / self.size
        signs = [y] if self.config.mean else []
        if self.config.logs:
            return torch.cat([*signs, torch.log(1 + 4 * torch.abs(y))], dim=1)
        return y if self.config.mean else torch.abs(y)

    def hyper_latent(self, y: Tensor) -> Tensor:
        """y (B, M, h, w) -> z (B, Z, h/S, w/S)."""
        return self.HYPER * self.h_a(self.view(y))

    def features(self, z_hat: Tensor, size: torch.Size) -> Tensor:
        """z_hat -> features (B, H, h, w), with h and w those of y (z is rounded up, so there may be more)."""
        return self.h_s(z_hat / self.HYPER)[:, :, : size[0], : size[1]]

    def joined(self, psi: Tensor, y_hat: Tensor) -> Tensor:
        """Features of each position before the last layers: (B, E, h, w). A context model adds what it sees of y_hat.

        Args:
            psi: features from z (B, H, h, w).
            y_hat: rounded latents in their own units (B, M, h, w); not used here.
        """
        return self.join(psi)

    def parameters_of(self, joined: Tensor, y_hat: Tensor | None) -> Tensor:
        """Last layers, before their outputs become μ and σ: (B, 2M, h, w), or M channels without means. A context model
        adds what it sees of y_hat at the same position.

        Args:
            joined: features (B, E, h, w).
            y_hat: rounded latents in their own units (B, M, h, w); not used here.
        """
        return self.entropy_parameters(joined)

    def mean_and_scale(
        self, joined: Tensor, scale: Tensor | float, lam: Tensor, y_hat: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The Gaussian of each latent, in quantisation steps: μ and σ, each (B, M, h, w). Slices, if any, see y_hat."""
        if self.bias is not None:
            joined = joined + self.bias(lam)
        out = self.parameters_of(joined, y_hat)
        unit = self.size * scale  # the rough size of each latent, in steps
        log_sigma = out[:, -self.config.M :]
        mu = out[:, : self.config.M] * unit if self.config.mean else torch.zeros_like(log_sigma)
        sigma = torch.exp(log_sigma.clamp(-12, 6)) * unit
        return mu, lower_bound(sigma, SMALLEST)

    def gaussians(self, y_hat: Tensor, z_hat: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
        """The Gaussian of each latent in quantisation steps, from rounded latents in their own units."""
        psi = self.features(z_hat, y_hat.shape[2:])
        return self.mean_and_scale(self.joined(psi, y_hat), self.scale_of(lam), lam, y_hat)

    def reconstruction(self, k: Tensor, mu: Tensor, sigma: Tensor, lam: Tensor) -> Tensor:
        """What the synthesis gets for symbols k: moved within their bins to where y is likely to have been.

        The centre of mass is the best guess from the Gaussian of this symbol alone, and ``pull`` says how far to trust
        it; the latent residual prediction learns from all channels of the position.
        """
        symbols = k.detach()
        inside = centre_of_mass(symbols, mu, sigma) - symbols  # in [-1/2, 1/2]
        y_hat = k if self.pull is None else k + self.pull(lam) * inside
        if self.residual is not None:
            seen = self.view(symbols / self.scale_of(lam))
            y_hat = y_hat + self.residual(torch.cat([seen, inside, torch.log(sigma)], dim=1))
        return y_hat

    def z_scale_of(self, lam: Tensor) -> Tensor | float:
        """Quantisation steps per unit of z, at each λ: (B, Z, 1, 1)."""
        return 1.0 if self.z_gain is None else self.z_gain(lam)

    def forward(self, x: Tensor, lam: Tensor, quantiser: str | Quantiser = "mixed") -> dict:
        """Code a batch as training sees it.

        Args:
            x: pixels (B, 3, H, W) in [0, 1]; H and W are multiples of 16.
            lam: λ of each picture (B,).
            quantiser: name in :data:`~.quantisation.QUANTISERS`, or a function; "round" for what the
                codec does.

        Returns:
            ``x_hat`` (B, 3, H, W) and ``likelihoods`` {"y": (B, M, H/16, W/16), "z": (B, Z, H/16S, W/16S)}.
        """
        return self.code_latents(self.analyse(x), lam, quantiser)

    def code_latents(
        self,
        y: Tensor,
        lam: Tensor,
        quantiser: str | Quantiser = "mixed",
        synthesis: bool = True,
        z: Tensor | None = None,
    ) -> dict:
        """The second half of :meth:`forward`, from y (B, M, h, w) on; without ``synthesis`` there is no ``x_hat``.

        z (B, Z, h/S, w/S) is that of y, unless another is given.
        """
        quantise: Callable = QUANTISERS[quantiser] if isinstance(quantiser, str) else quantiser
        scale, z_scale = self.scale_of(lam), self.z_scale_of(lam)  # (B, M, 1, 1), (B, Z, 1, 1)
        z_rate, z_hat = quantise((self.hyper_latent(y) if z is None else z) * z_scale)
        y_rate, y_hat = quantise(y * scale)
        mu, sigma = self.gaussians(y_hat / scale, z_hat / z_scale, lam)
        likelihoods = {
            "y": gaussian_likelihood(y_rate, mu, sigma),
            "z": self.density.likelihood(z_rate / z_scale, 1 / z_scale),
        }
        if not synthesis:
            return {"likelihoods": likelihoods}
        # no gradient to μ and σ from the distortion: they are to describe y
        y_hat = self.reconstruction(y_hat, mu.detach(), sigma.detach(), lam) / scale
        return {"x_hat": self.synthesise(y_hat), "likelihoods": likelihoods}

    def hyper_size(self, h: int, w: int) -> tuple[int, int]:
        """Height and width of z for a latent of h x w."""
        return -(-h // self.config.S), -(-w // self.config.S)


# --- the prior in exact arithmetic ------------------------------------------------------------


@dataclass(frozen=True)
class Latents:
    """The symbols of a picture: what its file holds.

    Attributes:
        y: integers (M, h, w).
        z: integers (Z, h/S, w/S), rounded up.
    """

    y: np.ndarray
    z: np.ndarray


ALL = slice(None)
"""All channels."""


@dataclass(frozen=True)
class AtLambda:
    """What depends on λ alone, all in portable arithmetic.

    Attributes:
        step, z_step: quantisation steps of the channels of y and z, float64 [M] and [Z].
        z_tables: of z.
        unit: rough size of each channel of y in steps, float64 [M], and its logarithm.
        bias: of the last hidden layer, float64 (E,), on the grid of the activations.
    """

    step: np.ndarray
    z_step: np.ndarray
    z_tables: list[Table]
    unit: np.ndarray
    log_unit: np.ndarray
    bias: Tensor


class ExactPrior:
    """The decoder's half of a :class:`Hyperprior` in exact arithmetic. Positions are rows, numbered in raster order."""

    def __init__(self, model: Hyperprior):
        self.config, self.model = model.config, model
        self.h_s = exact(model.h_s)
        self.join = ExactLinear(model.join[0].weight[:, :, 0, 0], model.join[0].bias)
        last = model.entropy_parameters[-1]
        self.last = ExactLinear(last.weight[:, :, 0, 0], last.bias)
        self.size = model.size.double().flatten().numpy()
        self.slices = [ALL]  # of the channels, in the order in which they are decoded
        self.at = functools.lru_cache(maxsize=64)(self._at)

    def _at(self, lam: float) -> AtLambda:
        model = self.model
        step = model.portable_step(lam)
        z_step = np.ones(self.config.Z) if model.z_gain is None else model.z_gain.portable_step(lam)
        bias = np.zeros(self.config.E) if model.bias is None else model.bias.portable_bias(lam)
        unit = self.size / step
        return AtLambda(
            step, z_step, model.density.tables(z_step), unit, portable.log(unit), on_grid(torch.from_numpy(bias))
        )

    def features(self, z: np.ndarray, lam: float, h: int, w: int) -> Tensor:
        """Symbols of z -> what the hyperprior says of each position: (h w, E)."""
        z_hat = torch.from_numpy(z * self.at(lam).z_step[:, None, None])  # (Z, h/S, w/S)
        psi = self.h_s(z_hat[None] / self.model.HYPER)[0, :, :h, :w]  # (H, h, w)
        return self.join(psi.flatten(1).T)

    def canvas(self, h: int, w: int) -> np.ndarray:
        """Where the decoder notes what it sees of the latents it has decoded: (h, w, views, M)."""
        return np.zeros((h, w, self.config.views, self.config.M))

    def note(self, canvas: np.ndarray, positions: np.ndarray, y: np.ndarray, lam: float, channels: slice = ALL) -> None:
        """Note symbols (m, n) of m channels at n positions on the canvas. The hyperprior alone has no use for them."""

    def gaussians(self, features: Tensor, canvas: np.ndarray, positions: np.ndarray, lam: float) -> Gaussians:
        """The Gaussians of all symbols at n positions, which are noted already if the model has slices: (M, n)."""
        found = [here for _, here in self.gaussians_by_slice(features, canvas, positions, lam)]
        return Gaussians(np.concatenate([one.mean for one in found]), np.concatenate([one.scale for one in found]))

    def gaussians_by_slice(
        self, features: Tensor, canvas: np.ndarray, positions: np.ndarray, lam: float
    ) -> Iterator[tuple[slice, Gaussians]]:
        """The Gaussians at n positions, for one of the ``slices`` after the other: its m channels; mean, scale (m, n).

        The decoder notes the symbols of each slice before it asks for the next; the encoder has noted all before.
        """
        at = self.at(lam)
        heard = relu(self.joined(features, canvas, positions) + at.bias)  # (n, E)
        out = self.last(heard).unflatten(1, (-1, self.config.M))  # (n, 1 or 2, M)
        for channels, addition in zip(self.slices, self.additions(heard, canvas, positions), strict=True):
            numbers = (out[:, :, channels] + addition).permute(1, 2, 0).numpy()  # (1 or 2, m, n)
            log_sigma = np.clip(numbers[-1], -12, 6) + at.log_unit[channels, None]
            scale = np.rint((log_sigma - LOG_SCALES[0]) / (LOG_SCALES[1] - LOG_SCALES[0]))
            mu = numbers[0] * at.unit[channels, None] if self.config.mean else np.zeros_like(log_sigma)
            mean = np.rint(FRACTIONS * mu)
            yield channels, Gaussians(mean.astype(np.int64), scale.clip(0, len(SCALES) - 1).astype(np.int64))

    def joined(self, features: Tensor, canvas: np.ndarray, positions: np.ndarray) -> Tensor:
        """Features of n positions, with their context where there is one: (n, E)."""
        return features[positions]

    def additions(self, heard: Tensor, canvas: np.ndarray, positions: np.ndarray) -> Iterator[Tensor | float]:
        """What is added to the last layer's outputs, slice by slice: (n, 1 or 2, m). Here: nothing, to all channels."""
        yield 0.0


# --- the codec --------------------------------------------------------------------------------

AT_ONCE = 4096
"""Positions for which Gaussians are computed together: a picture of 1 megapixel; a context model takes 200 MB."""


def in_pieces(positions: np.ndarray) -> list[np.ndarray]:
    """Cut numbers of positions into pieces of at most :data:`AT_ONCE`, in order."""
    return np.split(positions, range(AT_ONCE, len(positions), AT_ONCE))


class HyperpriorCodec(LatentCodec):
    """Writes ``.edc`` files with a trained :class:`Hyperprior`; the setting is λ, any number in ``lam_range``.

    ``encode`` is :meth:`analyse`, once per picture, then :meth:`quantise` and :meth:`write` for each λ; ``decode``
    is :meth:`read` and :meth:`reconstruct`.

    Args:
        weights: name of trained weights, see ``edu-compress codecs``.
        model: a model to use instead, under that name.
        refine: number of gradient steps by which the encoder improves the latents of each picture, see
            :mod:`.per_picture`; slow.

    Attributes:
        progress: whether refinement shows a progress bar.
    """

    progress = False
    name = model_name = "hyperprior"
    sections = ("z", "y")
    small = {**LatentCodec.small, "H": 8, "Z": 4, "E": 16}

    def __init__(self, weights: str = "", model: Hyperprior | None = None, refine: int = 0):
        super().__init__(weights, model)
        if not isinstance(refine, int) or refine < 0:
            raise SettingError(f"refine is a number of gradient steps, 0 or more, not {refine!r}.")
        if refine and self.model.config.distortion != "mse":
            raise SettingError(f"refine minimises the squared error; the weights {self.weights!r} are for MS-SSIM.")
        self.refine = refine
        self.prior = ExactPrior(self.model)

    def passes(self, h: int, w: int) -> list[np.ndarray]:
        """The positions (numbered in raster order) that are decoded together, first to last. Here: all at once."""
        return [np.arange(h * w)]

    def _pieces(self, h: int, w: int) -> list[np.ndarray]:
        """The passes, those of large pictures cut so that memory holds out, and so that missing data are noticed."""
        return [piece for positions in self.passes(h, w) for piece in in_pieces(positions)]

    # --- encoding

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress a picture (uint8 [H, W, 3]) with λ = ``setting``.

        Raises:
            SettingError: λ is outside the range of the model, or the picture too large to be refined.
        """
        image = images.as_image(image)
        lam = self.check_lam(setting)
        if not self.refine:
            return self.write(self.quantise(self.analyse(image), lam), image.shape[:2], lam)
        symbols = refine(self.model, self.pixels(image), image.shape[:2], lam, self.refine, self.progress)
        return self.write(Latents(*(k.numpy().astype(np.int64) for k in symbols)), image.shape[:2], lam)

    @torch.inference_mode()
    def quantise(self, y: Tensor, lam: float) -> Latents:
        """Latent (M, h, w) -> its symbols and those of its side information."""
        at, z = self.prior.at(lam), self.model.hyper_latent(y[None])[0]
        symbols = lambda latent, step: np.rint(latent.double().numpy() / step[:, None, None]).astype(np.int64)  # noqa: E731
        return Latents(symbols(y, at.step), symbols(z, at.z_step))

    @torch.inference_mode()
    def predict(self, latents: Latents, lam: float) -> Gaussians:
        """The Gaussians of all symbols of y, (M, h, w) each; the encoder knows all symbols, so it takes one pass."""
        M, h, w = latents.y.shape
        canvas, everywhere = self.prior.canvas(h, w), np.arange(h * w)
        self.prior.note(canvas, everywhere, latents.y.reshape(M, -1), lam)
        features = self.prior.features(latents.z, lam, h, w)
        mean, scale = np.empty((2, M, h * w), np.int64)
        for positions in in_pieces(everywhere):
            found = self.prior.gaussians(features, canvas, positions, lam)
            mean[:, positions], scale[:, positions] = found.mean, found.scale
        return Gaussians(mean.reshape(M, h, w), scale.reshape(M, h, w))

    def write(self, latents: Latents, size: tuple[int, int], lam: float, gaussians: Gaussians | None = None) -> bytes:
        """Symbols -> a complete file.

        Args:
            latents: the symbols.
            size: (height, width) of the picture.
            lam: λ.
            gaussians: what :meth:`predict` says of the symbols at this λ, if that is known already.
        """
        lam = self.check_lam(lam)  # as the decoder will read it: else it would compute other Gaussians
        gaussians = gaussians or self.predict(latents, lam)
        whole, sign, index = shifted(gaussians.mean, gaussians.scale)
        M, h, w = latents.y.shape
        values, index = (sign * (latents.y - whole)).reshape(M, -1), index.reshape(M, -1)
        encoder = FastEncoder()
        for positions in self._pieces(h, w):
            for channels in self.prior.slices:
                encoder.encode(values[channels, positions], index[channels, positions], shifted_gaussian_tables())
        z = encode_values(latents.z, channel_of_each(latents.z.shape), self.prior.at(lam).z_tables)
        return Container(self.name, *size, lam, {"z": z, "y": encoder.finish()}, self.weights).pack()

    # --- decoding

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture from a file.

        Raises:
            BitstreamError: the file is damaged or was made with other weights.
        """
        container, latents, gaussians = self.read(data)
        return self.reconstruct(latents, gaussians, (container.height, container.width), container.setting)

    def read(self, data: bytes) -> tuple[Container, Latents, Gaussians]:
        """File -> its container, its symbols, and the Gaussians they were coded with."""
        *_, (_, found) = self.read_in_passes(data)
        return found

    @torch.inference_mode()
    def read_in_passes(self, data: bytes) -> Iterator[tuple[np.ndarray, tuple[Container, Latents, Gaussians]]]:
        """Decode pass by pass, to be watched: yield the positions of each pass, and all that is decoded by then.

        The first has no positions: by then, z is decoded, and what it says of each position is known.
        """
        container, h, w = self.open_container(data)
        lam, z_size, M = container.setting, self.model.hyper_size(h, w), self.model.config.M
        z_tables = self.prior.at(lam).z_tables
        check_plausible(container, math.prod(z_size), z_tables, "z")
        z = decode_values(container.sections["z"], channel_of_each((len(z_tables), *z_size)), z_tables)

        features, canvas = self.prior.features(z, lam, h, w), self.prior.canvas(h, w)
        decoder, tables = FastDecoder(container.sections["y"]), shifted_gaussian_tables()
        y, mean, scale = np.zeros((3, M, h * w), np.int64)
        found = container, Latents(y.reshape(M, h, w), z), Gaussians(mean.reshape(M, h, w), scale.reshape(M, h, w))
        yield np.arange(0), found
        for positions in self._pieces(h, w):
            if decoder.ran_dry:
                raise BitstreamError("The coded picture is incomplete: its data end too early.")
            for channels, here in self.prior.gaussians_by_slice(features, canvas, positions, lam):
                whole, sign, index = shifted(here.mean, here.scale)
                symbols = sign * decoder.decode(index, tables) + whole
                self.prior.note(canvas, positions, symbols, lam, channels)
                y[channels, positions] = symbols
                mean[channels, positions], scale[channels, positions] = here.mean, here.scale
            yield positions, found
        decoder.finish()

    @torch.inference_mode()
    def reconstruct(self, latents: Latents, gaussians: Gaussians, size: tuple[int, int], lam: float) -> np.ndarray:
        """Symbols -> picture (uint8 [height, width, 3]). Nothing depends on this, so it is done in float32."""
        k, mu, sigma = (torch.from_numpy(a).float() for a in (latents.y, gaussians.mu, gaussians.sigma))
        step = torch.from_numpy(self.prior.at(lam).step).float()[:, None, None]
        y_hat = self.model.reconstruction(k[None], mu[None], sigma[None], torch.tensor([lam]))[0]
        return self.synthesise(step * y_hat, size)

    @torch.inference_mode()
    def bits(self, latents: Latents, lam: float) -> dict[str, np.ndarray]:
        """Estimated bits of each symbol by the network itself, without tables and exact arithmetic: y (M, h, w), z."""
        at = self.prior.at(lam)
        y, z = (
            torch.from_numpy(symbols * step[:, None, None]).float()[None]
            for symbols, step in ((latents.y, at.step), (latents.z, at.z_step))
        )
        lam = torch.tensor([lam])
        scale = self.model.scale_of(lam)
        p = {
            "y": gaussian_likelihood(y * scale, *self.model.gaussians(y, z, lam)),
            "z": self.model.density.likelihood(z, 1 / self.model.z_scale_of(lam)),
        }
        return {name: -torch.log2(likelihood)[0].numpy() for name, likelihood in p.items()}
