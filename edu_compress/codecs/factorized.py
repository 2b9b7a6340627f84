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

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import images
from ..container import Container
from ..entropy_coding import Table, decode_values, encode_values
from ..learned.density import FactorizedDensity
from ..learned.latent_codec import LatentCodec, channel_of_each, check_plausible
from ..learned.quantisation import QUANTISERS, Quantiser
from ..learned.transforms import Transforms


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


# --- the model --------------------------------------------------------------------------------


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
