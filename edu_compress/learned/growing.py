r"""Growing a trained model: a larger one that begins by computing what the smaller one did.

::

                 old inputs   new inputs
    old outputs | trained    |     0     |    new units send nothing to old ones yet,
    new outputs |   fresh    |   fresh   |    but they have values, so that they can learn to

So nothing of what was learned is lost, and training goes on with more channels, more latents or a wider range of λ.

What is learned per λ keeps its λ: the new anchors take the values that the old ones have there, and beyond the old
range they go on as fresh ones do.

Invariant: at every λ of the old range the larger model's first output is the smaller one's, up to rounding (but for the
new latents, which the linear path fills at once, and if the new anchors are where the old ones were; if they lie
between them, nearly).

References: Chen, Goodfellow, Shlens, "Net2Net: accelerating learning via knowledge transfer", ICLR 2016,
arXiv:1511.05641 (the idea).

Taught in lesson 07.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from .layers import LinearPath, MaskedConv2d, PerLambda


def fits(key: str, trained: nn.Module, model: nn.Module) -> bool:
    """Whether the model has a tensor by that name in which the trained one has room, and means the same."""
    if key not in model.state_dict():
        return False
    small, large = trained.state_dict()[key].shape, model.state_dict()[key].shape
    old_owner, owner = (network.get_submodule(key.rpartition(".")[0]) for network in (trained, model))
    if isinstance(owner, PerLambda):
        return small[1] <= large[1]  # any anchors
    if len(small) != len(large) or small[2:] != large[2:] or any(a > b for a, b in zip(small, large, strict=True)):
        return False  # channels grow, kernels do not
    if isinstance(owner, MaskedConv2d):
        return torch.equal(old_owner.mask, owner.mask)
    if key.startswith("slices."):  # each slice sees all before it: new ones can only come last
        old = trained.config.slices
        return model.config.slices[: len(old)] == old
    return True


def grown(key: str, trained: nn.Module, model: nn.Module) -> Tensor:
    """A tensor of the model, by its name, with the trained one in it.

    Args:
        key: as in ``state_dict``, of a tensor that :func:`fits`.
        trained, model: the smaller and the larger model; the larger one has its first weights.
    """
    small, large = trained.state_dict()[key], model.state_dict()[key]
    path, _, name = key.rpartition(".")
    old_owner, owner, result = trained.get_submodule(path), model.get_submodule(path), large.clone()
    places = [_places(*sizes, trained.config.M, model.config.M) for sizes in zip(small.shape, large.shape, strict=True)]
    if isinstance(owner, PerLambda):
        result[:, places[1]] = _at_new_anchors(small, large[:, places[1]], old_owner, owner)
        return result
    if small.shape == large.shape:
        return small
    if isinstance(owner, LinearPath):
        return _more_filters(name, old_owner, owner)
    if key.endswith("weight") and isinstance(owner, nn.Conv2d | nn.ConvTranspose2d | MaskedConv2d):
        out = 1 if isinstance(owner, nn.ConvTranspose2d) else 0  # where the outputs stand in the kernel's shape
        result.index_fill_(out, places[out], 0.0)
    result[torch.meshgrid(*places, indexing="ij")] = small
    return result


def _places(small: int, large: int, M_small: int, M_large: int) -> Tensor:
    """Where the old channels stand among the new ones. Some layers see several numbers of each of the M latents."""
    views = small // M_small if small % M_small == 0 and large * M_small == small * M_large else 1
    return torch.cat([torch.arange(small // views) + i * (large // views) for i in range(views)])


def _at_new_anchors(table: Tensor, fresh: Tensor, old: PerLambda, new: PerLambda) -> Tensor:
    """The rows of ``table`` (old anchors, C) at the λ of the new anchors; outside the old range with fresh slopes."""
    if (old.lowest, old.highest, old.anchors) == (new.lowest, new.highest, new.anchors):
        return table
    lam = torch.from_numpy(np.geomspace(new.lowest, new.highest, new.anchors)).to(table)
    within = lam.clamp(old.lowest, old.highest)
    return (old.interpolate(table, within) - new.interpolate(fresh, within))[:, :, 0, 0] + fresh


def _more_filters(name: str, trained: LinearPath, linear: LinearPath) -> Tensor:
    """The old filters (or their deviations), then the strongest that are not among them."""
    overlap = linear.filters.flatten(1) @ trained.filters.flatten(1).T  # 1 for the same filter, 0 for another
    new = (overlap.amax(1) < 0.5).nonzero()[:, 0]
    old, fresh = getattr(trained, name), getattr(linear, name)
    return torch.cat([old, fresh[new[: len(fresh) - len(old)]]])
