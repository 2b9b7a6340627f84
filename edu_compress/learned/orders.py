r"""Decoding orders: which positions of a latent are decoded together, so that each sees only what is known.

A context model sees neighbours through a mask. Where no position of a group sees another one of the group, or a later
one, the group is decoded in one *pass*. The numbers are the passes::

    raster order          wavefronts of the 5 x 5 raster mask     checkerboard
    0  1  2  3            0  1  2  3                              0 1 0 1
    4  5  6  7            3  4  5  6                              1 0 1 0
    8  9 10 11            6  7  8  9                              0 1 0 1

Positions are numbered in raster order; a pass is an array of such numbers.

Invariant: the passes hold every position once, and none is empty.

Taught in lesson 07.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .layers import raster_mask


def anchors(h: int, w: int, device: torch.device | None = None) -> Tensor:
    """The positions of the checkerboard that are decoded first: bool (h, w)."""
    return (torch.arange(h, device=device)[:, None] + torch.arange(w, device=device)) % 2 == 0


def raster_passes(h: int, w: int) -> list[np.ndarray]:
    """One position after the other: h w passes."""
    return [np.array([position]) for position in range(h * w)]


def slope(mask: Tensor) -> int:
    """The smallest s for which all that a causal mask (bool (k, k)) sees has a smaller ``column + s · row``.

    A neighbour a rows above and b columns to the right needs b < s a.
    """
    up, right = (mask.nonzero() - len(mask) // 2).T.tolist()
    return max((b // -a + 1 for a, b in zip(up, right, strict=True) if a < 0), default=0)


def wavefront_passes(h: int, w: int, mask: Tensor | None = None) -> list[np.ndarray]:
    """The positions with ``column + s row`` = 0, 1, 2 ..., empty ones left out; s is the :func:`slope` of the mask.

    A raster mask of 5 x 5, which is meant if none is given, reaches two columns to the right in the row above: position
    (r, c) needs (r - 1, c + 2). So s = 3, and there are w + 3 h - 3 passes.
    """
    row, column = np.divmod(np.arange(h * w), w)
    wave = column + slope(raster_mask() if mask is None else mask) * row
    order = np.argsort(wave, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(wave[order])) + 1)


def checkerboard_passes(h: int, w: int) -> list[np.ndarray]:
    """The anchors, then the others: two passes (one for a single position)."""
    first = anchors(h, w).flatten().numpy()
    return [part for part in (np.flatnonzero(first), np.flatnonzero(~first)) if len(part)]
