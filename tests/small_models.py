"""Small untrained models of the learned codecs, for tests: nothing depends on the weights that the course ships.

Their linear path makes them DCT codecs, so their pictures can be recognised, and what they predict varies from
position to position as if they had learned.
"""

import numpy as np
import torch
from torch import nn

from edu_compress import images
from edu_compress.codecs.context import CheckerboardCodec, ContextCodec, ContextConfig, ContextModel
from edu_compress.codecs.hyperprior import Hyperprior, HyperpriorCodec, HyperpriorConfig
from edu_compress.learned.latent_codec import LatentCodec

TRAINING_PHOTO = LatentCodec.pixels(images.sample("coffee")[:384, :576])
"""From which DCT filters are chosen: (1, 3, 384, 576) in [0, 1]."""

SMALL = {"N": 4, "M": 16, "H": 8, "Z": 4, "E": 16}


def lively(model: Hyperprior, seed: int = 0) -> Hyperprior:
    """Move a fresh model away from its cautious first weights: μ, σ and z vary, and so does what depends on λ."""
    torch.manual_seed(seed)
    if model.config.dct:
        model.initialise(TRAINING_PHOTO)
    with torch.no_grad():
        nn.init.normal_(model.entropy_parameters[-1].weight, std=0.7 / model.config.E**0.5)
        nn.init.normal_(model.entropy_parameters[-1].bias, std=0.2)
        model.h_a[-1].weight.mul_(4)
        for per_lambda in (model.gain, model.z_gain, model.bias, model.pull):
            for p in per_lambda.parameters() if per_lambda is not None else ():
                p.add_(0.2 * torch.randn_like(p))
        for p in model.density.parameters():
            p.add_(0.3 * torch.randn_like(p))
        if isinstance(model, ContextModel):
            nn.init.normal_(model.join_context.weight, std=2 / model.config.C**0.5)
            for later in model.slices:
                nn.init.normal_(later.out.weight, std=0.7 / model.config.C_s**0.5)
        if model.residual is not None:
            nn.init.normal_(model.residual.layers[-1].weight, std=0.7 / model.config.L**0.5)
    return model.eval()


def model_of(name: str, seed: int = 0, **changes) -> Hyperprior:
    """A small lively model, named as in :data:`CODECS`; the sliced ones have latent residual prediction, too."""
    torch.manual_seed(seed)
    if name in ("hyperprior", "scale_hyperprior"):
        return lively(Hyperprior(HyperpriorConfig(**{**SMALL, "mean": name == "hyperprior", **changes})), seed)
    config = {**SMALL, "C": 8, "C_s": 12, "mask": "raster" if name.startswith("context") else "checkerboard", **changes}
    if name.endswith("-sliced"):
        M = config["M"]
        config = {"slices": (M // 16, 3 * M // 16, M // 4, M // 2), "L": 6, **config}  # 1, 3, 4 and 8 channels of 16
    return lively(ContextModel(ContextConfig(**config)), seed)


CODECS = {
    "hyperprior": HyperpriorCodec,
    "scale_hyperprior": HyperpriorCodec,
    "context": ContextCodec,
    "checkerboard": CheckerboardCodec,
    "context-sliced": ContextCodec,
    "checkerboard-sliced": CheckerboardCodec,
}


def codec_of(name: str, seed: int = 0, **changes) -> HyperpriorCodec:
    """A codec with such a model, under the weights "small"."""
    return CODECS[name]("small", model_of(name, seed, **changes))


def picture(height: int, width: int) -> np.ndarray:
    """A piece of a photograph."""
    return images.sample("coffee")[100 : 100 + height, 60 : 60 + width]
