r"""Where sixteen bits are enough: the large convolutions may multiply in bfloat16, all else stays float32.

bfloat16 has the exponent of float32 and eight bits of its digits: nothing overflows, half the bytes move, and
processors that have it multiply twice to sixteen times as fast. The noise of its rounding is far below that of a
gradient. It would not be below the bits: a likelihood is a difference of two nearly equal numbers.

Processors without bfloat16 are slower with it: "auto" measures. On a GPU, torch lets the remaining convolutions
multiply in TF32, and computes matrix products, of which a likelihood's density is made, in float32: as it should be.

Taught in lesson 05.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

LARGE = ("g_a", "g_s", "context", "h_a", "h_s")
"""The parts of the models that may compute in bfloat16."""

clock = time.perf_counter


def set_precision(model: nn.Module, precision: str, batch: tuple[int, ...], device: torch.device) -> str:
    """Let the large parts of a model compute in the precision of a recipe; return which one that is.

    A copy that is made later would share the parts with its original: copy first.

    Args:
        precision: "float32", "bfloat16", or "auto": the faster one for the transform g_a.
        batch: the shape of what g_a gets in training.
    """
    if precision == "auto":
        precision = faster_precision(model.g_a, batch, device)
    if precision == "bfloat16":
        for name, part in model.named_children():
            if name in LARGE:
                _compute_in_bfloat16(part)
    return precision


def faster_precision(transform: nn.Module, batch: tuple[int, ...], device: torch.device) -> str:
    """Measure a step forward and back in each precision."""
    seconds = {}
    for precision, enabled in (("float32", False), ("bfloat16", True)):
        for _ in range(2):  # in the first one, libraries choose their kernels
            x = torch.zeros(batch, device=device)
            begin = clock()
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                transform(x).sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[precision] = clock() - begin
    transform.zero_grad()
    return min(seconds, key=seconds.get)


def _compute_in_bfloat16(part: nn.Module) -> None:
    """Half the memory traffic; the part's weights and its output stay float32."""
    in_float32 = part.forward

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            y = in_float32(x)
        return y.float()

    part.forward = forward
