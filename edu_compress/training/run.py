r"""A whole run: from a recipe and pictures to weights and their card, whatever happens on the way.

::

    recipe, pictures --> Trainer --> run --> last validation --> NAME.safetensors, NAME.json
                            ^         |
                            |         +-- every three minutes, at Ctrl+C, SIGTERM or a pause --> checkpoint.pt
                            +------------------------- --resume -------------------------------------+

Taught in lesson 05.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import __version__
from ..datasets import PictureSet
from ..errors import SettingError
from ..files import make_folder
from ..learned import pretrained
from .loop import Trainer
from .recipe import Recipe
from .team import Team, choose_device, joined

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Run:
    """What :func:`train` returns.

    Attributes:
        model: with the averaged weights, for use.
        card: of the weights; None if the run was stopped before its end, and in all processes but the first.
        curve: the validations, as in the card.
        step, minutes: how far it is, over all its parts.
        speed: million pixels a second, validations included.
        interrupted: whether a signal stopped it.
    """

    model: nn.Module
    card: dict[str, Any] | None
    curve: list[dict[str, Any]]
    step: int
    minutes: float
    speed: float
    interrupted: bool


def train(
    recipe: Recipe,
    pictures: PictureSet,
    out: str | os.PathLike | None = None,
    *,
    pause_after: float | None = None,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
    command: str = "",
) -> Run:
    """Train a model, or go on with it, and in the end write the weights and their card.

    Ctrl+C, a request to terminate (SIGTERM) and ``pause_after`` stop it after the step at hand, with a checkpoint. Each
    validation writes the weights as they are by then.

    Args:
        recipe: what to train, and how.
        pictures: to learn from and, those held out, to validate with.
        out: folder for checkpoint, weights and card; if None, nothing is written.
        pause_after: stop this part of the run after so many minutes; unlike ``minutes`` of the recipe, which ends it.
        resume: go on from the checkpoint in ``out``, if there is one.
        device: "auto", "cpu", "cuda", or another that torch knows.
        threads: for torch on the CPU; a resumed run repeats bit for bit only with the same number.
        progress: show a progress bar, with the time left.
        command: which did this; for the card.

    Raises:
        SettingError: recipe, pictures, device and checkpoint do not go together.
        CodecError: the loss is not a number any more, or a file cannot be read or written.
    """
    if pause_after is not None and not pause_after > 0:
        raise SettingError(f"A pause should come after more than 0 minutes, not {pause_after:g}.")
    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = None if out is None else Path(out) / CHECKPOINT
    if checkpoint is not None and checkpoint.exists() and not resume:
        raise SettingError(
            f"There is a run in {out} already; go on with it (--resume), or name another folder (--out)."
        )
    if out is not None:
        make_folder(out)
    chosen = choose_device(device)
    with joined(chosen) as team, _stop_signals() as signals:
        trainer = Trainer(recipe, pictures, chosen, team)
        if checkpoint is not None and checkpoint.exists():
            trainer.load_checkpoint(checkpoint)
        first, card = team.rank == 0, None

        def stop(minutes: float) -> bool:
            return bool(signals) or (pause_after is not None and minutes > pause_after)

        def save_weights() -> dict[str, Any]:
            card = _card(trainer, pictures, command, chosen)
            if out is None:
                return card
            tensors = trainer.task.artefact()
            return pretrained.save(
                recipe.name, pretrained.in_half_precision(tensors) if recipe.half else tensors, card, Path(out)
            )

        trainer.run(stop, save_weights, checkpoint if first else None, progress and first)
        if trainer.progress == 1 and first:
            if recipe.half:  # validate the weights as they will be stored
                for player in trainer.task.players.values():
                    player.average.load_state_dict(pretrained.in_half_precision(player.average.state_dict()))
            trainer.validate()
            card = save_weights()
        pixels = (trainer.step - recipe.first_step) * recipe.batch * recipe.crop**2
        speed = pixels / 1e6 / (60 * max(trainer.minutes, 1e-9))
        return Run(trainer.task.trained, card, trainer.curve, trainer.step, trainer.minutes, speed, bool(signals))


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT (Ctrl+C) and SIGTERM in a list instead of dying of them: the step at hand is finished first."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield received
        return
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _card(trainer: Trainer, pictures: PictureSet, command: str, device: torch.device) -> dict[str, Any]:
    """The card of the averaged weights as they are now."""
    recipe, model = trainer.recipe, trainer.task.trained
    return {
        "model": recipe.model,
        "config": asdict(model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "recipe": asdict(recipe),
        "command": command,
        "data": {"name": pictures.name, "pictures": len(pictures.pictures), "manifest_sha256": pictures.manifest},
        "steps": trainer.step,
        "precision": trainer.task.precision,
        "minutes": round(trainer.minutes, 2),
        "hardware": _hardware(device, trainer.team),
        "versions": {"edu_compress": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "validation": trainer.curve,
        "measured": [],
    }


def _hardware(device: torch.device, team: Team) -> str:
    if device.type == "cuda":
        return f"{team.size} x {torch.cuda.get_device_name(device)}"
    instructions, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return f"{device.type} {platform.machine()} ({instructions}), processes: {team.size}, threads in each: {threads}"
