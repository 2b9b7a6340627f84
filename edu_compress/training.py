r"""Training a learned codec: one loop for every model, on one processor or several, that can stop and go on.

::

            step number --> seed --> which picture, where, flipped?, λ     (the same on every machine)
                                          |
    pictures, uint8, on the device --> crops x (B,3,S,S) --> model(x, λ) --> loss --> gradients --> mean over processes
                                                                                         |
            weights  <-- Adam, rate(step) <-- clip the norm <----------------------------+
               |
               +--> moving average (EMA) --> validation, checkpoint, and in the end weights and card

**A model** here is a ``torch.nn.Module`` with ``config`` (a dataclass), ``lam_range`` (lowest and highest λ), and
``model(x, lam, quantiser)``, which returns ``x_hat`` and ``likelihoods``. It may have ``initialise(crops)``, to choose
its first weights from pictures, and ``parameter_groups(rate)``, to learn some parameters faster than others.

**The loss.** J = R + λ D for each sample, with λ drawn log-uniformly over the model's range, so that one model learns
all of them. A large λ makes a large J: each sample's J is divided by √λ, so that no λ dominates the gradient.

**Randomness without state.** All that is random in step t is drawn from generators that are seeded with (seed, t).
So a run that was stopped and resumed goes through the same random numbers as one that was not, there is no state of a
generator to keep, and the crops do not depend on how many processes share the work. On the CPU, with the same number
of threads, a resumed run gives the same weights to the last bit. (On a GPU some sums are taken in no fixed order.)

**The schedule** is a function of the step alone: after a ``warm_up``, a constant rate, then half a cosine down to 1 %
of it over the last ``decay`` of the steps. A pause does not bend it: the run can be resumed. To train for less time
altogether, take fewer ``steps``: then the cosine ends where they end. Or give ``minutes``: then the schedule is a
function of the time that has passed, and the run is finished when the time is over, whatever the machine's speed.

**A long run** leaves usable weights at every validation, so that nothing is lost with the machine: a new run can
``start`` from those, with ``first_step`` as its place in the schedule and a warm-up for its fresh optimiser.

**Several processes** (one for each GPU) are started by ``torchrun``. Each takes its share of the batch, the gradients
are averaged, and all make the same step: data parallelism is no more than that. Batch 32 means 32 crops a step, on
one device or on eight.

Invariants: 10 steps, a stop and 10 more are the same as 20; a file is written whole or not at all; held-out pictures
are never trained on; the weights of a finished run are the ones that its card's last validation was made with.

References:
    Adam: Kingma, Ba, ICLR 2015, arXiv:1412.6980. Moving average: Polyak, Juditsky, SIAM J. Control and
    Optimization 30 (1992). Cosine: Loshchilov, Hutter, ICLR 2017, arXiv:1608.03983.
    One model for all λ: Cui et al., CVPR 2021, arXiv:2003.02012.

Taught in lesson 05.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import io
import math
import os
import platform
import signal
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm

from . import __version__, files, metrics, pretrained
from .datasets import PictureSet
from .errors import CodecError, SettingError
from .soap import SOAP

STRIDE = 16  # pixels for each position of the models' latents, across and down
CHECKPOINT = "checkpoint.pt"
CHECKPOINT_EVERY = 180.0  # seconds: what a power cut costs
LARGE = ("g_a", "g_s", "context", "h_a", "h_s")  # parts that may compute in bfloat16
OPTIMISERS = {"adam": torch.optim.Adam, "soap": SOAP}

# --- recipes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """All that decides what comes out of a training run, besides the pictures. Kept in a small TOML file.

    Attributes:
        name: of the weights.
        model, config: what :func:`edu_compress.pretrained.build` makes.
        steps: how many; one step is one batch.
        seed: of everything random, also of the choice of the held-out pictures.
        batch: crops in a step, over all processes together.
        crop: side of a crop in pixels, a multiple of 16 (some models: of 64).
        optimiser: "adam", or "soap" (:mod:`.soap`).
        rate: its learning rate.
        warm_up: steps in which the rate rises from 0.
        decay: the share of the steps (or minutes), at the end, in which the rate falls.
        first_step: where in the schedule the run begins: more than 0 where it goes on from weights in ``start``.
        minutes: if not 0, the schedule ends after so many, and ``steps`` does not count.
        clip: largest norm of the gradient.
        ema: how slowly the moving average follows the weights: it remembers about 1 / (1 - ema) steps.
        quantiser: in place of rounding, a name in :mod:`edu_compress.quantisation`.
        precision: "float32"; or "bfloat16" for the large convolutions (:data:`LARGE`; all else, as the likelihoods, in
            float32); or "auto", the faster one on this machine: processors without bfloat16 are slower with it.
        half: whether the weights are stored as float16.
        held_out: number of pictures that are kept for validation.
        validate_every: steps between two validations.
        start: name of trained weights to begin with.
        take: the parts of them that are taken, such as ["g_a", "g_s"]; if empty, all of them.
        frozen: parts of the model that stay as they are,
        frozen_steps: for so many steps; if 0, to the end.
        latents: train the prior alone (R, without D) on latents that are computed once: many times as fast. The
            model must have ``analyse`` and ``code_latents``.
    """

    name: str
    model: str
    steps: int
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    batch: int = 8
    crop: int = 128
    optimiser: str = "adam"
    rate: float = 1e-3
    warm_up: int = 0
    decay: float = 0.4
    first_step: int = 0
    minutes: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    quantiser: str = "mixed"
    precision: str = "float32"
    half: bool = True
    held_out: int = 16
    validate_every: int = 500
    start: str = ""
    take: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    frozen_steps: int = 0
    latents: bool = False

    def __post_init__(self):
        types = {"int": int, "float": float, "bool": bool, "str": str, "dict[str, Any]": dict, "list[str]": list}
        for item in fields(self):
            value, wanted = getattr(self, item.name), types[item.type]
            if wanted is float and type(value) is int:
                object.__setattr__(self, item.name, float(value))  # TOML's 1 for 1.0
            elif type(value) is not wanted:
                raise SettingError(f"In the recipe, {item.name} = {value!r} should be of type {wanted.__name__}.")
        positive = ("steps", "batch", "crop", "rate", "clip", "held_out", "validate_every")
        for name in positive:
            if not getattr(self, name) > 0:
                raise SettingError(f"In the recipe, {name} = {getattr(self, name)!r} should be more than 0.")
        if self.crop % STRIDE:
            raise SettingError(f"In the recipe, crop = {self.crop} should be a multiple of 16, the models' stride.")
        if self.latents and ("g_a" not in self.frozen or self.frozen_steps):
            raise SettingError("In the recipe, latents = true needs a frozen g_a, to the end: they are computed once.")
        if not (0 <= self.decay <= 1 and 0 <= self.ema < 1):
            raise SettingError("In the recipe, decay should be from 0 to 1, and ema from 0 to less than 1.")
        if self.take and not self.start:
            raise SettingError("In the recipe, take names parts of the weights in start, but there is no start.")
        if not (0 <= self.first_step < self.steps and self.warm_up >= 0 and self.minutes >= 0):
            raise SettingError("In the recipe, warm_up and minutes are 0 or more, and first_step is less than steps.")
        for name, choice in (("precision", ("float32", "bfloat16", "auto")), ("optimiser", tuple(OPTIMISERS))):
            if getattr(self, name) not in choice:
                raise SettingError(f"In the recipe, {name} is one of {', '.join(choice)}, not {getattr(self, name)!r}.")
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise SettingError(f"In the recipe, the name {self.name!r} should be of letters, digits, '-' and '_'.")


def read_recipe(path: str | os.PathLike) -> Recipe:
    """Read a recipe from a TOML file, with the fields of :class:`Recipe`; ``config`` is a table.

    Raises:
        CodecError: the file is missing or is not TOML.
        SettingError: a field is unknown, missing or impossible.
    """
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CodecError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except ValueError as error:
        raise CodecError(f"The recipe {path} is not a TOML file: {error}.") from error
    try:
        return Recipe(**entries)
    except TypeError as error:
        known = ", ".join(item.name for item in fields(Recipe))
        raise SettingError(f"The recipe {path} cannot be used ({error}); its fields are: {known}.") from error


def rate_factor(progress: float, decay: float) -> float:
    """What the learning rate is multiplied by: 1, then half a cosine from 1 to 0.01 over the last share ``decay``.

    Args:
        progress: the share of the steps, or of the minutes, that are done, 0 to 1.
    """
    start = 1 - decay
    if progress <= start:
        return 1.0
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (min(progress, 1) - start) / decay)) / 2


# --- the loss ---------------------------------------------------------------------------------


def mean_squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B,), on the 0 ... 255 scale."""
    return 255**2 * ((x_hat - x) ** 2).mean((1, 2, 3))


def ms_ssim_distortion(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM: (B, 3, H, W) in [0, 1] -> (B,)."""
    return 1 - metrics.ms_ssim(x_hat, x, data_range=1.0)


DISTORTIONS = {"mse": (mean_squared_error, 0.01), "ms_ssim": (ms_ssim_distortion, 20.0)}
"""D by name, and the λ at which the loss of a sample is J itself."""


def rate_distortion_loss(
    output: Mapping[str, Any], x: Tensor, lam: Tensor, distortion: str = "mse"
) -> dict[str, Tensor]:
    """Rate, distortion, and what is minimised: the mean over the batch of (R + λ D) / √λ, times a constant.

    Args:
        output: of the model: ``x_hat`` (B, 3, H, W) and ``likelihoods``, a dictionary of probabilities.
        x: pixels (B, 3, H, W) in [0, 1].
        lam: λ of each sample (B,).
        distortion: D, a name in :data:`DISTORTIONS`.

    Returns:
        ``loss``, a scalar, and for each sample (B,): ``bpp`` (estimated), ``mse`` (0 ... 255 scale), ``psnr`` (dB).
    """
    bits = sum(-torch.log2(p).flatten(1).sum(1) for p in output["likelihoods"].values())  # (B,)
    bpp = bits / (x.shape[2] * x.shape[3])
    measure, reference = DISTORTIONS[distortion]
    D, mse = measure(output["x_hat"], x), mean_squared_error(output["x_hat"].detach(), x)
    loss = ((bpp + lam * D) * torch.sqrt(reference / lam)).mean()
    return {"loss": loss, "bpp": bpp, "mse": mse, "psnr": 20 * math.log10(255) - 10 * torch.log10(mse)}


def rate_loss(output: Mapping[str, Any], crop: int, lam: Tensor) -> dict[str, Tensor]:
    """What a prior alone can lower of :func:`rate_distortion_loss`: R / √λ, times a constant; ``psnr`` is unknown."""
    bpp = sum(-torch.log2(p).flatten(1).sum(1) for p in output["likelihoods"].values()) / crop**2  # (B,)
    return {"loss": (bpp * torch.sqrt(0.01 / lam)).mean(), "bpp": bpp, "psnr": torch.full_like(bpp, math.nan)}


# --- crops ------------------------------------------------------------------------------------


class Pack:
    """Pictures of any sizes, one after the other in one uint8 array on the device; crops are cut there by indexing.

    Decoding a picture takes longer than a training step on a GPU. So all are decoded once, and stay: 500 pictures of
    440 x 440 pixels are 300 MB.

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

    def draw(self, seed: Sequence[int], count: int, size: int, lam_range: tuple[float, float]) -> tuple:
        """Choose ``count`` crops and their λ: (first pixel, step from row to row, step from column to column, λ)."""
        picture, top, left, flip, lam = np.random.default_rng(seed).random((5, count))  # uniform in [0, 1)
        picture = (picture * len(self.height)).astype(np.int64)
        top = (top * (self.height[picture] - size + 1)).astype(np.int64)
        left = (left * (self.width[picture] - size + 1)).astype(np.int64)
        flip = (flip < 0.5) & self.flip
        row_step = self.width[picture]
        first = self.start[picture] + top * row_step + left + np.where(flip, size - 1, 0)
        low, high = lam_range
        return first, row_step, np.where(flip, -1, 1), low * (high / low) ** lam

    def cut(self, first: np.ndarray, row_step: np.ndarray, column_step: np.ndarray, size: int) -> Tensor:
        """Return crops (B, C, size, size), from numbers (B,) as :meth:`draw` returns them."""
        device = self.pixels.device
        where = torch.from_numpy(np.stack([first, row_step, column_step])).to(device)  # (3, B)
        first, row_step, column_step = where[:, :, None, None]
        steps = torch.arange(size, device=device)
        index = first + row_step * steps[:, None] + column_step * steps  # (B, size, size)
        return (
            self.pixels[index].permute(0, 3, 1, 2).float() / self.unit
        )  # channels last in memory, as convolutions like it


@torch.inference_mode()
def _latent_pack(model: nn.Module, pictures: Sequence[np.ndarray], device: torch.device) -> Pack:
    """The latents of all pictures and of their mirror images, [h, w, M] each: 400 MB for 500 pictures of 440 x 440."""
    latents = []
    for picture in pictures:
        height, width = (side // STRIDE * STRIDE for side in picture.shape[:2])
        x = torch.from_numpy(picture[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255
        for view in (x, x.flip(3)):
            latents.append(model.analyse(view)[0].permute(1, 2, 0).half().cpu().numpy())
    return Pack(latents, device, flip=False, unit=1.0)


def _centre_crops(pictures: Sequence[np.ndarray], multiple: int, largest: int = 256) -> list[Tensor]:
    """The middle of each picture, with sides that the model can take: (1, 3, h, w) in [0, 1]."""
    crops = []
    for picture in pictures:
        height, width = (min(side, largest) // multiple * multiple for side in picture.shape[:2])
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        crop = torch.from_numpy(picture[top : top + height, left : left + width].copy())
        crops.append(crop.permute(2, 0, 1)[None].float() / 255)
    return crops


# --- several processes ------------------------------------------------------------------------


@dataclass(frozen=True)
class Team:
    """The processes that train together: this one's rank, and their number."""

    rank: int = 0
    size: int = 1

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

    def any(self, wish: bool) -> bool:
        """Whether one of the processes wants it: all stop at the same step, or they would wait for one another."""
        if self.size == 1:
            return wish
        votes = torch.tensor([float(wish)])  # on the CPU: asking does not hold the GPU up
        dist.all_reduce(votes)
        return votes.item() > 0


@contextlib.contextmanager
def _team(device: torch.device) -> Iterator[Team]:
    """Join the other processes, if ``torchrun`` started this one; it says so in the environment."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield Team()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), size)
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
    return device


# --- one run ----------------------------------------------------------------------------------


class Trainer:
    """A model in training: the weights, their moving average, the optimiser, and the step they are at."""

    def __init__(self, recipe: Recipe, pictures: PictureSet, device: torch.device, team: Team):
        self.recipe, self.manifest, self.device, self.team = recipe, pictures.manifest, device, team
        self.step, self.minutes, self.curve = recipe.first_step, 0.0, []
        if recipe.batch % team.size:
            raise SettingError(f"A batch of {recipe.batch} cannot be shared equally by {team.size} processes.")
        training, held_out = pictures.split(recipe.held_out, recipe.seed)
        for name, picture in pictures.pictures.items():
            if min(picture.shape[:2]) < recipe.crop:
                raise SettingError(
                    f"{name} is only {min(picture.shape[:2])} pixels wide or high; make the crops of {recipe.crop} "
                    "smaller, or take the picture out."
                )
        self.pack, self.held_out = Pack(training, device), _centre_crops(held_out, math.gcd(recipe.crop, 64))
        self.model = self._fresh_model()
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.precision = recipe.precision
        if recipe.precision == "auto":
            self.precision = _faster_precision(self.model.g_a, recipe, device)
        if self.precision == "bfloat16":
            for name in LARGE:
                if hasattr(self.model, name):
                    _compute_in_bfloat16(self.model.get_submodule(name))
        if recipe.latents:
            self.pack = _latent_pack(self.model, training, device)
        self.parameters = list(self.model.parameters())
        self.frozen = [_part(self.model, name) for name in recipe.frozen]
        groups = getattr(self.model, "parameter_groups", lambda rate: self.parameters)(recipe.rate)
        self.optimiser = OPTIMISERS[recipe.optimiser](groups, lr=recipe.rate)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]

    def _fresh_model(self) -> nn.Module:
        """Build the model; let it choose its first weights from 64 crops, if it wants to."""
        torch.manual_seed(self.recipe.seed)
        model = pretrained.build(self.recipe.model, self.recipe.config).to(self.device)
        if hasattr(model, "initialise"):
            *crops, _ = self.pack.draw((self.recipe.seed, 0), 64, self.recipe.crop, model.lam_range)
            model.initialise(self.pack.cut(*crops, self.recipe.crop))
        if self.recipe.start:
            pretrained.take_parts(model, self.recipe.start, self.recipe.take)
        self.team.copy_from_first(list(model.state_dict().values()))
        return model.to(memory_format=torch.channels_last)  # 5 % faster on a CPU, more on a GPU

    @property
    def progress(self) -> float:
        """The share of the schedule that is done, 0 to 1."""
        recipe = self.recipe
        return min(1.0, self.minutes / recipe.minutes if recipe.minutes else self.step / recipe.steps)

    def rate_factor(self) -> float:
        """What the learning rates are multiplied by now."""
        done = self.step - self.recipe.first_step  # in this run: its optimiser is new
        return rate_factor(self.progress, self.recipe.decay) * min(1.0, (done + 1) / (self.recipe.warm_up + 1))

    def train_step(self) -> Tensor:
        """Make one step; return this process's (loss, bpp, psnr), still on the device: reading them would wait."""
        recipe, share = self.recipe, self.recipe.batch // self.team.size
        for part in self.frozen:
            part.requires_grad_(0 < recipe.frozen_steps <= self.step)
        mine = slice(self.team.rank * share, (self.team.rank + 1) * share)
        size = recipe.crop // STRIDE if recipe.latents else recipe.crop
        drawn = self.pack.draw((recipe.seed, self.step + 1), recipe.batch, size, self.model.lam_range)
        *crops, lam = (numbers[mine] for numbers in drawn)
        x = self.pack.cut(*crops, size)  # (B, 3, S, S), or latents (B, M, S/16, S/16)
        lam = torch.from_numpy(lam).float().to(self.device)  # (B,)

        noise_seed = np.random.SeedSequence((recipe.seed, self.step + 1, self.team.rank + 1)).generate_state(1)
        torch.manual_seed(int(noise_seed[0]))
        if recipe.latents:
            result = rate_loss(self.model.code_latents(x, lam, recipe.quantiser, synthesis=False), recipe.crop, lam)
        else:
            result = self._loss(self.model(x, lam, recipe.quantiser), x, lam)
        self.optimiser.zero_grad()
        result["loss"].backward()
        self.team.average(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, recipe.clip)

        factor = self.rate_factor()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = factor * rate
        self.optimiser.step()
        self.step += 1
        self._update_average()
        return torch.stack([result[key].detach().mean() for key in ("loss", "bpp", "psnr")])

    def _loss(self, output: dict[str, Any], x: Tensor, lam: Tensor) -> dict[str, Tensor]:
        return rate_distortion_loss(output, x, lam, getattr(self.model.config, "distortion", "mse"))

    def _update_average(self) -> None:
        """Move the average towards the weights; faster in the beginning, to forget what it began with."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        follow = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
        follow(list(self.average.parameters()), list(self.model.parameters()), None)
        for buffer, current in zip(self.average.buffers(), self.model.buffers(), strict=True):
            buffer.copy_(current)

    def validate(self) -> dict[str, Any]:
        """Code the held-out pictures with the averaged weights and real rounding, at four λ; add to the curve."""
        low, high = self.average.lam_range
        points = [self._validation_point(lam) for lam in np.geomspace(low, high, 4 if low < high else 1).tolist()]
        loss = round(float(np.mean([point.pop("loss") for point in points])), 4)
        self.curve.append({"step": self.step, "minutes": round(self.minutes, 2), "loss": loss, "points": points})
        return self.curve[-1]

    @torch.no_grad()
    def _validation_point(self, lam: float) -> dict[str, float]:
        results = []
        for x in self.held_out:
            x, lams = x.to(self.device), torch.full((1,), lam, device=self.device)
            output = self.average(x, lams, "round")
            output["x_hat"] = (255 * output["x_hat"]).round().clamp(0, 255) / 255
            results.append(self._loss(output, x, lams))
        mean = {key: float(torch.stack([result[key].mean() for result in results]).mean()) for key in results[0]}
        return {
            "lam": lam,
            "estimated_bpp": mean["bpp"],
            "psnr": mean["psnr"],
            "mse": mean["mse"],
            "loss": mean["loss"],
        }

    def save_checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on from here."""
        state = {
            "recipe": asdict(self.recipe),
            "manifest": self.manifest,
            "step": self.step,
            "minutes": self.minutes,
            "curve": self.curve,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
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
            recipe = state["recipe"]
        except Exception as error:  # a damaged byte can raise anything in the reader
            raise CodecError(f"The checkpoint {path} is damaged; delete it and begin again.") from error
        now = asdict(self.recipe)
        changed = ", ".join(key for key in now if now[key] != recipe.get(key))
        if changed:
            raise SettingError(f"The checkpoint {path} was made with another {changed}; begin a new run for this one.")
        if state["manifest"] != self.manifest:
            raise SettingError(f"The checkpoint {path} was made with other pictures; train with the same ones.")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.minutes, self.curve = state["step"], state["minutes"], state["curve"]


def _part(model: nn.Module, name: str) -> nn.Module:
    """A module of the model, by its name."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        parts = ", ".join(child for child, _ in model.named_children())
        raise SettingError(f"In the recipe, frozen names {name!r}; the parts of this model are: {parts}.") from None


def _faster_precision(transform: nn.Module, recipe: Recipe, device: torch.device) -> str:
    """Measure two steps of g_a in each precision."""
    seconds = {}
    for precision, enabled in (("float32", False), ("bfloat16", True)):
        for _ in range(2):  # in the first one, libraries choose their kernels
            x = torch.zeros(recipe.batch, 3, recipe.crop, recipe.crop, device=device)
            begin = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
                transform(x).sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[precision] = time.perf_counter() - begin
    transform.zero_grad()
    return min(seconds, key=seconds.get)


def _compute_in_bfloat16(transform: nn.Module) -> None:
    """Let a transform multiply in bfloat16: half the memory traffic; its weights and its output stay float32."""
    in_float32 = transform.forward

    def forward(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            y = in_float32(x)
        return y.float()

    transform.forward = forward


# --- the whole run ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What :func:`train` returns.

    Attributes:
        model: with the averaged weights, for use.
        card: of the weights; None if the run was stopped before its end, and in all processes but the first.
        curve: the validations, as in the card.
        step, minutes: how far it is, over all its parts.
        interrupted: whether a signal stopped it.
    """

    model: nn.Module
    card: dict[str, Any] | None
    curve: list[dict[str, Any]]
    step: int
    minutes: float
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
        files.make_folder(out)
    chosen = choose_device(device)
    with _team(chosen) as team, _stop_signals() as signals:
        trainer = Trainer(recipe, pictures, chosen, team)
        if checkpoint is not None and checkpoint.exists():
            trainer.load_checkpoint(checkpoint)
        first, card = team.rank == 0, None

        def save_weights() -> dict[str, Any]:
            card = _card(trainer, pictures, command)
            if out is None:
                return card
            state = trainer.average.state_dict()
            stored = pretrained.in_half_precision(state) if recipe.half else state
            return pretrained.save(recipe.name, stored, card, Path(out))

        _run_steps(trainer, signals, checkpoint if first else None, save_weights, pause_after, progress and first)
        if trainer.progress == 1 and first:
            if recipe.half:  # the weights as they will be stored
                trainer.average.load_state_dict(pretrained.in_half_precision(trainer.average.state_dict()))
            trainer.validate()
            card = save_weights()
        return Run(trainer.average, card, trainer.curve, trainer.step, trainer.minutes, bool(signals))


def _run_steps(
    trainer: Trainer,
    signals: list[int],
    checkpoint: Path | None,
    save_weights: Callable[[], object],
    pause_after: float | None,
    progress: bool,
) -> None:
    """Train until the schedule's end, a signal, or the pause; validate, write weights and checkpoints on the way."""
    recipe, recent = trainer.recipe, collections.deque(maxlen=100)  # steps: the progress bar shows their mean
    total = None if recipe.minutes else recipe.steps
    bar = tqdm(total=total, initial=trainer.step, desc=recipe.name, unit="step", disable=not progress)
    minutes_before, begin = trainer.minutes, time.monotonic()
    reported = saved = begin

    def report() -> None:
        loss, bpp, psnr = torch.stack(list(recent)).mean(0).tolist()
        if not math.isfinite(loss):
            raise CodecError(f"At step {trainer.step} the loss is {loss}; begin again with a lower rate in the recipe.")
        quality = {} if math.isnan(psnr) else {"PSNR": f"{psnr:.2f} dB"}
        bar.set_postfix(loss=f"{loss:.3f}", bpp=f"{bpp:.3f}", **quality)

    def save() -> None:
        if checkpoint is not None:
            trainer.save_checkpoint(checkpoint)

    stop = False
    while trainer.progress < 1 and not stop:
        recent.append(trainer.train_step())
        now = time.monotonic()
        trainer.minutes = minutes_before + (now - begin) / 60
        bar.update()
        if now - reported > 0.5:
            report()
            reported = now
        if trainer.step % recipe.validate_every == 0 and trainer.progress < 1 and trainer.team.rank == 0:
            trainer.validate()
            save_weights()
        if now - saved > CHECKPOINT_EVERY:
            report()
            save()
            saved = now
        stop = trainer.team.any(bool(signals) or (pause_after is not None and now - begin > 60 * pause_after))
    if recent:
        report()
    if trainer.step > recipe.first_step:
        save()
    bar.close()


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


def _card(trainer: Trainer, pictures: PictureSet, command: str) -> dict[str, Any]:
    """The card of the averaged weights as they are now."""
    recipe = trainer.recipe
    return {
        "model": recipe.model,
        "config": asdict(trainer.average.config),
        "parameters": sum(p.numel() for p in trainer.average.parameters()),
        "recipe": asdict(recipe),
        "command": command,
        "data": {"name": pictures.name, "pictures": len(pictures.pictures), "manifest_sha256": pictures.manifest},
        "steps": trainer.step,
        "precision": trainer.precision,
        "minutes": round(trainer.minutes, 2),
        "hardware": _hardware(trainer.device, trainer.team),
        "versions": {"edu_compress": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "validation": trainer.curve,
        "measured": [],
    }


def _hardware(device: torch.device, team: Team) -> str:
    if device.type == "cuda":
        return f"{team.size} x {torch.cuda.get_device_name(device)}"
    instructions, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return f"{device.type} {platform.machine()} ({instructions}), processes: {team.size}, threads in each: {threads}"
