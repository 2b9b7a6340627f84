r"""What the codecs with trained transforms share: λ, and the way from a picture to y and from y_hat to a picture.

::

    picture --> pad to whole multiples of 16 --> analyse --> y ... symbols --> file
    file --> symbols ... y_hat --> synthesise --> crop --> picture

The dots are the codec's own: how it quantises, and how it models and codes the symbols.

Taught in lesson 05.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import images
from ..container import Container
from ..entropy_coding import Table
from ..errors import BitstreamError, SettingError
from ..registry import ContainerCodec
from . import pretrained
from .transforms import STRIDE, Transforms


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
            model = pretrained.load(weights, model=self.model_name)
        self.weights, self.model = weights, model.eval()
        self.lam_range = tuple(float(np.float32(lam)) for lam in model.lam_range)  # as files hold it
        self.settings = tuple(np.geomspace(*model.lam_range, 10).tolist())

    @classmethod
    def quick(cls) -> LatentCodec:
        """A small untrained codec, under the weights "quick": random networks beside a DCT of a photograph."""
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
