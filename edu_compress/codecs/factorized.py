r"""The first learned codec: non-linear transforms, uniform quantisation, a fully factorised prior.

::

        grey levels                latents                symbols
    x (B,3,H,W) --> g_a --> y (B,M,H/16,W/16) --> · gain(λ) --> round --> entropy coder --> y.bin
                                                                 ^                           |
                                              tables of integer frequencies,                 |
                                              one per channel, from the prior p(y)           |
                                                                 v                           |
    x_hat <-- g_s <-- y_hat (B,M,H/16,W/16) <-- / gain(λ) <-- symbols <-- entropy decoder <--+

The transforms are those of Ballé, Laparra and Simoncelli 2017 (three strided convolutions with GDN between
them), with two additions that can be switched off: a linear path beside them that starts as a block DCT
(``dct``), and gain units, which make one model serve every λ (``gains``; off, the model serves the one
λ it is trained for). Larger models have residual blocks after each GDN as well (``R``).

The prior is the non-parametric density of Ballé et al. 2018, appendix 6.1: a small monotonic network per channel that
*is* the cumulative distribution function c, so that the probability of a bin is the difference of two of its values.

The training loss is J = R + λD with noise in place of rounding, see :mod:`~.quantisation`.

Invariants: the estimated bits (−Σ log2 of the likelihoods) and the real file agree within 1 % + 64 bytes; a file
decodes to the same symbols on every machine, because its tables come from portable arithmetic
(:mod:`edu_compress.entropy_coding.portable` and :meth:`FactorizedDensity.tables`).

References: arXiv:1611.01704 (transforms, noise); arXiv:1802.01436, appendix 6.1 (density); arXiv:2003.02012 (gains).

Taught in lesson 05.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import images
from ..container import Container
from ..entropy_coding import Table, decode_values, encode_values, portable
from ..errors import BitstreamError, SettingError
from ..learned.layers import GDN, Gain, LinearPath, ResidualBlock, lower_bound
from ..learned.quantisation import QUANTISERS, Quantiser
from ..registry import ContainerCodec

STRIDE = 16
"""Pixels per latent position, across and down."""


@dataclass(frozen=True)
class FactorizedConfig:
    """Sizes and options of a :class:`FactorizedPrior`; ``data/recipes`` has the course's, :data:`PAPER` the paper's.

    Attributes:
        N: channels inside the transforms.
        M: channels of the latent.
        R: residual blocks after each GDN; none in the paper.
        N_a: channels inside g_a, where it is wider than g_s (which costs nothing when decoding); 0 for N.
        dct: whether a linear path, initialised as a block DCT, runs beside the transforms.
        gains: number of λ anchors of the gain units; 0 for a model of one λ, as in the paper.
        lowest, highest: the range of λ that the model is trained for.
        distortion: what λ weighs: "mse" on the 0 ... 255 scale, or "ms_ssim" for 1 - MS-SSIM.
    """

    N: int = 64
    M: int = 192
    R: int = 0
    N_a: int = 0
    dct: bool = True
    gains: int = 8
    lowest: float = 0.0004
    highest: float = 0.05
    distortion: str = "mse"

    def __post_init__(self):
        if self.distortion not in ("mse", "ms_ssim"):
            raise ValueError(f"the distortion is mse or ms_ssim, not {self.distortion!r}")


PAPER = FactorizedConfig(N=192, M=192, dct=False, gains=0, lowest=0.01, highest=0.01)
"""The network of arXiv:1611.01704 for colour pictures."""


# --- the prior --------------------------------------------------------------------------------


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


# --- the model --------------------------------------------------------------------------------


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
        config: with at least the fields of :class:`FactorizedConfig`.
    """

    # Beside the linear path, what the transforms see and return must be of order one for Adam to be able to learn:
    # latents are tens of grey levels, pixels up to 128 either side of grey.
    INPUT, LATENT, OUTPUT = 64.0, 10.0, 25.0

    def __init__(self, config: FactorizedConfig):
        super().__init__()
        self.config = config
        self.g_a = analysis_transform(config.N_a or config.N, config.M, config.R)
        self.g_s = synthesis_transform(config.N, config.M, config.R)
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


class FactorizedPrior(Transforms):
    """Transforms and prior; what is trained. :class:`FactorizedCodec` writes files with it."""

    def __init__(self, config: FactorizedConfig = FactorizedConfig()):  # noqa: B008 - frozen
        super().__init__(config)
        self.density = FactorizedDensity(config.M)

    def initialise(self, pictures: Tensor) -> None:
        """Choose the DCT filters and the rough size of each latent from pictures ((B, 3, H, W) in [0, 1])."""
        super().initialise(pictures)
        if self.linear is not None:
            self.density.scale.copy_(self.linear.deviation / 2)

    def forward(self, x: Tensor, lam: Tensor, quantiser: str | Quantiser = "mixed") -> dict:
        """Code a batch as training sees it.

        Args:
            x: pixels (B, 3, H, W) in [0, 1]; H and W are multiples of 16.
            lam: λ of each picture (B,).
            quantiser: name in :data:`~.quantisation.QUANTISERS`, or a function; "round" for what the
                codec does.

        Returns:
            ``x_hat`` (B, 3, H, W) and ``likelihoods`` {"y": (B, M, H/16, W/16)}.
        """
        quantise: Callable = QUANTISERS[quantiser] if isinstance(quantiser, str) else quantiser
        scale = self.scale_of(lam)
        y_rate, y_hat = quantise(self.analyse(x) * scale)
        # the prior describes y itself, so that all λ share it: a bin of one step is 1/scale wide there
        likelihood = self.density.likelihood(y_rate / scale, 1 / scale)
        return {"x_hat": self.synthesise(y_hat / scale), "likelihoods": {"y": likelihood}}


# --- the codec --------------------------------------------------------------------------------


class LatentCodec(ContainerCodec):
    """What the codecs with trained transforms share: λ, the way from a picture to y and from y_hat to a picture.

    A subclass has ``name``, ``sections`` and ``model_name``, and writes and reads the symbols; ``small`` is the
    configuration of the model in :meth:`quick`.

    Args:
        weights: name of trained weights, see ``edu-compress codecs``.
        model: a model to use instead, under that name.
    """

    name: str
    model_name: str
    sections: tuple[str, ...]
    small = {"N": 4, "M": 16}

    def __init__(self, weights: str = "", model: Transforms | None = None):
        weights = weights or self.name
        if model is None:
            from ..learned import pretrained  # a floor above: only who opens a codec by name needs it

            model = pretrained.load(weights, model=self.model_name)
        self.weights, self.model = weights, model.eval()
        self.lam_range = tuple(float(np.float32(lam)) for lam in model.lam_range)  # as files hold it
        self.settings = tuple(np.geomspace(*model.lam_range, 10).tolist())

    @classmethod
    def quick(cls) -> LatentCodec:
        """A small untrained codec, under the weights "quick": random networks beside a DCT of a photograph."""
        from ..learned import pretrained

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = pretrained.build(cls.model_name, cls.small)
            model.initialise(cls.pixels(images.sample("coffee")[:384, :576]))
        return cls("quick", model)

    def check_lam(self, setting: float) -> float:
        """Return λ as the file will hold it (rounded to float32), if the model is trained for it."""
        lowest, highest = self.lam_range
        if not (isinstance(setting, int | float | np.number) and lowest <= np.float32(setting) <= highest):
            raise SettingError(f"λ = {setting} is outside the range of these weights, {lowest:g} to {highest:g}.")
        return float(np.float32(setting))

    @staticmethod
    def pixels(image: np.ndarray) -> Tensor:
        """Picture, padded to whole multiples of 16 pixels, as networks like it: (1, 3, H, W) in [0, 1]."""
        return torch.from_numpy(images.pad(image, STRIDE)).permute(2, 0, 1)[None].float() / 255

    @torch.inference_mode()
    def analyse(self, image: np.ndarray) -> Tensor:
        """Picture -> latent y (M, h, w)."""
        return self.model.analyse(self.pixels(image))[0]

    @torch.inference_mode()
    def synthesise(self, y_hat: Tensor, size: tuple[int, int]) -> np.ndarray:
        """Latent (M, h, w) -> picture (uint8 [height, width, 3])."""
        x_hat = self.model.synthesise(y_hat[None])[0].permute(1, 2, 0)  # (H, W, 3)
        return images.crop(images.to_uint8(255 * x_hat.numpy()), *size)

    def open_container(self, data: bytes) -> tuple[Container, int, int]:
        """Read the container of a file of this codec and these weights: it, and h, w of its latent."""
        container = Container.unpack(data, self.name)
        if container.weights != self.weights:
            raise BitstreamError(
                f"The file was made with the weights {container.weights!r}; open the codec with these "
                f"(it has {self.weights!r})."
            )
        lowest, highest = self.lam_range
        if not lowest <= container.setting <= highest or tuple(container.sections) != self.sections:
            raise BitstreamError("The file is inconsistent: its λ or its sections are not those of this codec.")
        h, w = (-(-side // STRIDE) for side in (container.height, container.width))
        return container, h, w


class FactorizedCodec(LatentCodec):
    """Writes ``.edc`` files with a trained :class:`FactorizedPrior`; the setting is λ, any number in ``lam_range``.

    ``encode`` is three steps that a slider over λ can take apart: :meth:`analyse` once per picture, then
    :meth:`quantise` and :meth:`write` for each λ; ``decode`` is :meth:`read` and :meth:`reconstruct`.
    """

    name = model_name = "factorized"
    sections = ("y",)

    def __init__(self, weights: str = "", model: FactorizedPrior | None = None):
        super().__init__(weights, model)
        self._prior_at = functools.lru_cache(maxsize=64)(self._make_prior)

    # --- encoding

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress a picture (uint8 [H, W, 3]) with λ = ``setting``.

        Raises:
            SettingError: λ is outside the range of the model.
        """
        image = images.as_image(image)
        lam = self.check_lam(setting)
        return self.write(self.quantise(self.analyse(image), lam), image.shape[:2], lam)

    def quantise(self, y: Tensor, lam: float) -> np.ndarray:
        """Latent -> symbols, integers (M, h, w)."""
        step, _ = self._prior_at(lam)
        return np.rint(y.double().numpy() / step[:, None, None]).astype(np.int64)

    def write(self, symbols: np.ndarray, size: tuple[int, int], lam: float) -> bytes:
        """Symbols -> a complete file; ``size`` is (height, width) of the picture."""
        lam = self.check_lam(lam)  # as the decoder will read it: else it would make other tables
        _, tables = self._prior_at(lam)
        data = encode_values(symbols, channel_of_each(symbols.shape), tables)
        return Container(self.name, *size, lam, {"y": data}, self.weights).pack()

    # --- decoding

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture from a file.

        Raises:
            BitstreamError: the file is damaged or was made with other weights.
        """
        container, symbols = self.read(data)
        return self.reconstruct(symbols, (container.height, container.width), container.setting)

    def read(self, data: bytes) -> tuple[Container, np.ndarray]:
        """File -> its container and symbols (M, h, w)."""
        container, h, w = self.open_container(data)
        _, tables = self._prior_at(container.setting)
        check_plausible(container, h * w, tables, "y")
        symbols = decode_values(container.sections["y"], channel_of_each((len(tables), h, w)), tables)
        return container, symbols

    def reconstruct(self, symbols: np.ndarray, size: tuple[int, int], lam: float) -> np.ndarray:
        """Symbols (M, h, w) -> picture (uint8 [height, width, 3])."""
        step, _ = self._prior_at(lam)
        return self.synthesise(torch.from_numpy((symbols * step[:, None, None]).astype(np.float32)), size)

    # --- the prior at one λ

    def _make_prior(self, lam: float) -> tuple[np.ndarray, list[Table]]:
        """Return the quantisation steps (float64 [M]) and the tables of all channels."""
        step = self.model.portable_step(lam)
        return step, self.model.density.tables(step)

    def bits(self, symbols: np.ndarray, lam: float) -> np.ndarray:
        """Estimated bits of each symbol, -log2 p by the network itself (no tables): (M, h, w)."""
        step = torch.from_numpy(self._prior_at(lam)[0]).float()[:, None, None]
        with torch.inference_mode():
            y_hat = torch.from_numpy(symbols).float() * step
            return -torch.log2(self.model.density.likelihood(y_hat[None], step))[0].numpy()


def channel_of_each(shape: tuple[int, int, int]) -> np.ndarray:
    """The channel number of every symbol: (C, h, w)."""
    return np.broadcast_to(np.arange(shape[0])[:, None, None], shape)


def check_plausible(container: Container, positions: int, tables: list[Table], section: str) -> None:
    """Refuse a size that so few bytes cannot hold, before memory is set aside for it.

    Args:
        positions: of the latent in ``section``, each with one symbol for every table.
    """
    cheapest = sum(float(table.bits(table.widths.argmax())) for table in tables)  # bits of a position
    too_large = container.height * container.width > images.MAX_PIXELS or not positions
    if too_large or positions * cheapest > 8 * len(container.sections[section]) + 64:
        raise BitstreamError(
            f"The file is damaged: it claims {container.width} x {container.height} pixels, "
            f"which {len(container.sections[section])} bytes cannot hold."
        )
