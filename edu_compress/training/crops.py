r"""Crops: pictures on the device, and batches cut out of them without waiting.

::

    pictures, uint8, any size --> one long array of pixels on the device
                                            |
    random numbers --> first pixel, steps --+--> index --> crops x (B, 3, S, S)
                       (8 numbers a crop)

Decoding a picture takes longer than a training step on a GPU. So all are decoded once, and stay: 500 pictures of
440 × 440 pixels are 300 MB. A crop is then an index, and a mirrored crop one that runs backwards.

Taught in lesson 05.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Pack:
    """Pictures of any sizes, one after the other in one array on the device; crops are cut there by indexing.

    Args:
        pictures: arrays [H, W, C].
        device: where they are kept.
        flip: whether half of the crops are mirrored.
        unit: what crops are divided by.
    """

    def __init__(self, pictures: Sequence[np.ndarray], device: torch.device, flip: bool = True, unit: float = 255.0):
        self.height, self.width = np.array([picture.shape[:2] for picture in pictures]).T  # (n,) each
        ends = np.cumsum(self.height * self.width)
        self.start = ends - self.height * self.width
        rows = np.concatenate([picture.reshape(-1, picture.shape[2]) for picture in pictures])
        self.pixels, self.flip, self.unit = torch.from_numpy(rows).to(device), flip, unit

    def draw(self, random: np.random.Generator, count: int, size: int) -> np.ndarray:
        """Choose ``count`` crops: first pixel, step from row to row, step from column to column, int64 [3, count]."""
        picture, top, left, flip = random.random((4, count))  # uniform in [0, 1)
        picture = (picture * len(self.height)).astype(np.int64)
        top = (top * (self.height[picture] - size + 1)).astype(np.int64)
        left = (left * (self.width[picture] - size + 1)).astype(np.int64)
        flip = (flip < 0.5) & self.flip
        row_step = self.width[picture]
        first = self.start[picture] + top * row_step + left + np.where(flip, size - 1, 0)
        return np.stack([first, row_step, np.where(flip, -1, 1)])

    def cut(self, crops: np.ndarray, size: int) -> Tensor:
        """Return crops (B, C, size, size), from numbers [3, B] as :meth:`draw` returns them."""
        first, row_step, column_step = send(crops, self.pixels.device)[:, :, None, None]
        steps = torch.arange(size, device=self.pixels.device)
        index = first + row_step * steps[:, None] + column_step * steps  # (B, size, size)
        # channels last in memory, as convolutions like it
        return self.pixels[index].permute(0, 3, 1, 2).float() / self.unit


def send(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Copy to the device without waiting for the step that it is still computing."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def centre_crops(pictures: Sequence[np.ndarray], multiple: int, largest: int = 256) -> list[Tensor]:
    """The middle of each picture, with sides that the model can take: (1, 3, h, w) in [0, 1]."""
    crops = []
    for picture in pictures:
        height, width = (min(side, largest) // multiple * multiple for side in picture.shape[:2])
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        crop = torch.from_numpy(picture[top : top + height, left : left + width].copy())
        crops.append(crop.permute(2, 0, 1)[None].float() / 255)
    return crops
