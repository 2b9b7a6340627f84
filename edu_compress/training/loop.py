r"""The training loop: draw, step, average, validate, checkpoint.

It does not know what is trained: that is the task's (:mod:`.tasks`). A step is one batch, with which each player makes
a step on its own loss.

**The schedule** is a function of the step alone: after a ``warm_up``, a constant rate, then half a cosine down to 1 %
of it over the last ``decay`` of the steps. A pause does not bend it: the run can be resumed. To train for less time
altogether, take fewer ``steps``: then the cosine ends where they end. Or give ``minutes``: then the schedule is a
function of the time that has passed, and the run is finished when the time is over, whatever the machine's speed.

**Nothing in a step waits for the device**: what is to be shown stays there until the next report, twice a second.

Taught in lesson 05.
"""

from __future__ import annotations

import collections
import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .. import files
from ..datasets import PictureSet
from ..errors import CodecError, SettingError
from .recipe import Recipe, recipe_from
from .tasks import Player
from .team import Team

CHECKPOINT_EVERY = 180.0  # seconds: what a power cut costs
REPORT_EVERY = 0.5  # seconds

clock = time.monotonic


def rate_factor(progress: float, decay: float) -> float:
    """What the learning rate is multiplied by: 1, then half a cosine from 1 to 0.01 over the last share ``decay``.

    Args:
        progress: the share of the steps, or of the minutes, that are done, 0 to 1.
    """
    start = 1 - decay
    if progress <= start:
        return 1.0
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (min(progress, 1) - start) / decay)) / 2


class Trainer:
    """A task in training: its players, the step they are at, and their curve of validations."""

    def __init__(self, recipe: Recipe, pictures: PictureSet, device: torch.device, team: Team):
        self.recipe, self.manifest, self.team, self.mine = recipe, pictures.manifest, team, team.share(recipe.batch)
        self.step, self.minutes, self.curve = recipe.first_step, 0.0, []
        self.task = recipe.task_class()(recipe, pictures, device, team)

    @property
    def progress(self) -> float:
        """The share of the schedule that is done, 0 to 1."""
        recipe = self.recipe
        return min(1.0, self.minutes / recipe.minutes if recipe.minutes else self.step / recipe.steps)

    def rate_factor(self) -> float:
        """What the learning rates are multiplied by now."""
        done = self.step - self.recipe.first_step  # in this run: its optimisers are new
        return rate_factor(self.progress, self.recipe.decay) * min(1.0, (done + 1) / (self.recipe.warm_up + 1))

    def run(
        self,
        stop: Callable[[float], bool] = lambda minutes: False,
        save_weights: Callable[[], object] = lambda: None,
        checkpoint: Path | None = None,
        progress: bool = False,
    ) -> None:
        """Train until the schedule's end, or until ``stop``.

        Args:
            stop: asked after each step, with the minutes of this call; one process that wishes it stops all.
            save_weights: called after each validation on the way.
            checkpoint: the file to write every three minutes and at the end, if this process is to.
            progress: whether to show a bar.
        """
        recipe, team, bar = self.recipe, self.team, Progress(self, progress)
        begin = saved = clock()
        minutes_before, stopped = self.minutes, False
        while self.progress < 1 and not stopped:
            measured = self.train_step()
            now = clock()
            minutes = (now - begin) / 60
            stopped, self.minutes = team.agree(stop(minutes), minutes_before + minutes)
            bar.update(measured, now)
            if self.step % recipe.validate_every == 0 and self.progress < 1 and team.rank == 0:
                self.validate()
                save_weights()
            if checkpoint is not None and now - saved > CHECKPOINT_EVERY:
                bar.report()  # and refuse to keep what is not a number
                self.save_checkpoint(checkpoint)
                saved = now
        bar.close()
        if checkpoint is not None and self.step > recipe.first_step:
            self.save_checkpoint(checkpoint)

    # --- a step

    def train_step(self) -> dict[str, Tensor]:
        """Make one step; return this process's losses and what comes with them, still on the device."""
        recipe, task = self.recipe, self.task
        task.begin_step(self.step)
        batch = task.draw(np.random.default_rng((recipe.seed, self.step + 1)), self.mine)
        noise_seed = np.random.SeedSequence((recipe.seed, self.step + 1, self.team.rank + 1)).generate_state(1)
        torch.manual_seed(int(noise_seed[0]))
        measured = {}
        for name, result in task.losses(batch):
            self._move(task.players[name], result["loss"])
            prefix = f"{name} " if len(task.players) > 1 else ""
            measured |= {prefix + key: value.detach().mean() for key, value in result.items()}
        self.step += 1
        for player in task.players.values():
            self._update_average(player)
        return measured

    def _move(self, player: Player, loss: Tensor) -> None:
        """One step of one player: gradients, their mean over the processes, their norm, the rate, the step."""
        player.optimiser.zero_grad()
        loss.backward()
        self.team.average(player.parameters)
        nn.utils.clip_grad_norm_(player.parameters, self.recipe.clip)
        factor = self.rate_factor()
        for group, rate in zip(player.optimiser.param_groups, player.rates, strict=True):
            group["lr"] = factor * rate
        player.optimiser.step()

    def _update_average(self, player: Player) -> None:
        """Move the average towards the weights; faster in the beginning, to forget what it began with."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        follow = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
        follow(list(player.average.parameters()), player.parameters, None)
        for buffer, current in zip(player.average.buffers(), player.module.buffers(), strict=True):
            buffer.copy_(current)

    # --- what is kept

    def validate(self) -> None:
        """Let the task measure the averaged weights; add to the curve."""
        self.curve.append({"step": self.step, "minutes": round(self.minutes, 2), **self.task.validate()})

    def save_checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on from here."""
        state = {
            "recipe": asdict(self.recipe),
            "manifest": self.manifest,
            "step": self.step,
            "minutes": self.minutes,
            "curve": self.curve,
            "players": {name: player.state_dict() for name, player in self.task.players.items()},
        }
        file = io.BytesIO()
        torch.save(state, file)
        files.write_atomically(path, file.getvalue())

    def load_checkpoint(self, path: Path) -> None:
        """Go back to a checkpoint of the same recipe and pictures.

        Raises:
            CodecError: it is damaged.
            SettingError: it is of another recipe, or the pictures have changed.
        """
        try:
            # weights_only: tensors, numbers and texts; a file from elsewhere cannot run code
            state = torch.load(path, map_location="cpu", weights_only=True)
            entries = dict(state["recipe"])
        except Exception as error:  # a damaged byte can raise anything in the reader
            raise CodecError(f"The checkpoint {path} is damaged; delete it and begin again.") from error
        now, then = asdict(self.recipe), asdict(recipe_from(entries, f"in the checkpoint {path}"))
        changed = ", ".join(key for key in now if now[key] != then[key])
        if changed:
            raise SettingError(f"The checkpoint {path} was made with another {changed}; begin a new run for this one.")
        if state["manifest"] != self.manifest:
            raise SettingError(f"The checkpoint {path} was made with other pictures; train with the same ones.")
        if "players" not in state:  # written before there were tasks
            state["players"] = {"model": {**state, "module": state["model"]}}
        for name, player in self.task.players.items():
            player.load_state_dict(state["players"][name])
        self.step, self.minutes, self.curve = state["step"], state["minutes"], state["curve"]


class Progress:
    """The bar with the means of the last hundred steps; it also finds losses that are not numbers."""

    def __init__(self, trainer: Trainer, shown: bool):
        self.trainer, self.recent, self.reported = trainer, collections.deque(maxlen=100), clock()
        recipe = trainer.recipe
        total = None if recipe.minutes else recipe.steps
        self.bar = tqdm(total=total, initial=trainer.step, desc=recipe.name, unit="step", disable=not shown)

    def update(self, measured: dict[str, Tensor], now: float) -> None:
        """After a step; twice a second, read what was measured, which waits for the device."""
        self.recent.append(measured)
        self.bar.update()
        if now - self.reported > REPORT_EVERY:
            self.report()
            self.reported = now

    def report(self) -> None:
        """Show the means.

        Raises:
            CodecError: a loss is not a number any more.
        """
        if not self.recent:
            return
        means = torch.stack([torch.stack(list(measured.values())) for measured in self.recent]).mean(0).tolist()
        shown = dict(zip(self.recent[-1], means, strict=True))
        for name, value in shown.items():
            if name.endswith("loss") and not math.isfinite(value):
                raise CodecError(
                    f"At step {self.trainer.step} the {name} is {value}; begin again with a lower rate in the recipe."
                )
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()})

    def close(self) -> None:
        """Show the last means."""
        self.report()
        self.bar.close()
