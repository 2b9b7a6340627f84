r"""Growing a trained model: a larger one that begins by computing what the smaller one did.

::

                 old inputs   new inputs
    old outputs | trained    |     0     |    new units send nothing to old ones yet,
    new outputs |   fresh    |   fresh   |    but they have values, so that they can learn to

So nothing of what was learned is lost, and training goes on with more channels, more latents or a wider range of λ.

Invariant: at every λ of the old range the larger model's first output is the smaller one's (but for the new latents,
which the linear path fills at once).

References: Chen, Goodfellow, Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016,
arXiv:1511.05641 (the idea).

Taught in lesson 07.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import LinearPath, MaskedConv2d, PerLambda


def fits(small: Sequence[int], large: Sequence[int]) -> bool:
    """Whether a tensor of one shape has room in one of the other."""
    return len(small) == len(large) and all(a <= b for a, b in zip(small, large, strict=True))


def grown(key: str, trained: nn.Module, model: nn.Module) -> Tensor:
    """A tensor of the model, by its name, with the trained one in it.

    Args:
        key: as in ``state_dict``; both have it, and the trained one fits in.
        trained, model: the smaller and the larger model; the larger one has its first weights.
    """
    small, large = trained.state_dict()[key], model.state_dict()[key]
    if small.shape == large.shape:
        return small
    owner, result = model.get_submodule(key.rpartition(".")[0]), large.clone()
    if isinstance(owner, LinearPath):
        return _more_filters(key.rpartition(".")[2], trained.linear, owner)
    if isinstance(owner, PerLambda):  # (anchors, C): beyond the old range, go on as the fresh values do
        rows, columns = small.shape
        result[rows:, :columns] = small[-1] + large[rows:, :columns] - large[rows - 1, :columns]
    places = [_places(*sizes, trained.config.M, model.config.M) for sizes in zip(small.shape, large.shape, strict=True)]
    if key.endswith("weight") and isinstance(owner, nn.Conv2d | nn.ConvTranspose2d | MaskedConv2d):
        out = 1 if isinstance(owner, nn.ConvTranspose2d) else 0  # where the outputs stand in the kernel's shape
        result.index_fill_(out, places[out], 0.0)
    result[torch.meshgrid(*places, indexing="ij")] = small
    return result


def _places(small: int, large: int, M_small: int, M_large: int) -> Tensor:
    """Where the old channels stand among the new ones. Some layers see several numbers of each of the M latents."""
    views = small // M_small if small % M_small == 0 and large * M_small == small * M_large else 1
    return torch.cat([torch.arange(small // views) + i * (large // views) for i in range(views)])


def _more_filters(name: str, trained: LinearPath, linear: LinearPath) -> Tensor:
    """The old filters (or their deviations), then the strongest that are not among them."""
    overlap = linear.filters.flatten(1) @ trained.filters.flatten(1).T  # 1 for the same filter, 0 for another
    new = (overlap.amax(1) < 0.5).nonzero()[:, 0]
    old, fresh = getattr(trained, name), getattr(linear, name)
    return torch.cat([old, fresh[new[: len(fresh) - len(old)]]])
