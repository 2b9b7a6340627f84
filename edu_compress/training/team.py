r"""Several processes that train together, one for each GPU: data parallelism.

``torchrun`` starts them. Each computes the gradient of its share of the batch, the gradients are averaged, and all make
the same step: no more than that. Batch 32 means 32 crops a step, on one device or on eight.

Whatever depends on the world outside, a signal or the clock, must be agreed on: processes that disagree would wait for
one another for ever, or drift apart.

Taught in lesson 05.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import SettingError


@dataclass(frozen=True)
class Team:
    """The processes that train together: this one's rank, and their number."""

    rank: int = 0
    size: int = 1

    def share(self, batch: int) -> slice:
        """Which of a batch's crops this process computes.

        Raises:
            SettingError: the batch cannot be shared equally.
        """
        if batch % self.size:
            raise SettingError(f"A batch of {batch} cannot be shared equally by {self.size} processes.")
        return slice(self.rank * batch // self.size, (self.rank + 1) * batch // self.size)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes, in one message."""
        if self.size > 1:
            parameters = [p for p in parameters if p.requires_grad]
            for p in parameters:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
            message = torch.cat([p.grad.flatten() for p in parameters]) / self.size
            dist.all_reduce(message)  # the sum
            for p, mean in zip(parameters, message.split([p.numel() for p in parameters]), strict=True):
                p.grad.copy_(mean.view_as(p))

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Make the tensors of all processes equal to those of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def agree(self, stop: bool, minutes: float) -> tuple[bool, float]:
        """Whether one of the processes wants to stop, and the latest of their clocks."""
        if self.size == 1:
            return stop, minutes
        votes = torch.tensor([float(stop), minutes], dtype=torch.float64)  # on the CPU: a GPU is not held up by it
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return votes[0].item() > 0, votes[1].item()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Join the other processes, if ``torchrun`` started this one; it says so in the environment."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield Team()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), size)
        dist.barrier()  # all leave together: libraries abort a process whose partner is gone
    finally:
        dist.destroy_process_group()


def choose_device(name: str = "auto") -> torch.device:
    """Return the device: "auto" takes a GPU if there is one; under torchrun, process i takes GPU i.

    Raises:
        SettingError: torch does not know the device, or this machine does not have it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without CUDA
        reason = str(error).splitlines()[0]
        raise SettingError(f"The device {name!r} cannot be used here ({reason}); try --device cpu.") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # all crops have the same size: try the algorithms once
    return device
