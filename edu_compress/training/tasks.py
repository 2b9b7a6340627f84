r"""Tasks: what is trained, with which loss, and what is kept of it.

A task is all that the loop does not know::

    players    {name: Player}: weights with a loss of their own; usually one, two where they play against each other
    draw       random numbers --> batch
    losses     batch --> (player, loss), in turn: the loop makes a step of that player, then asks for the next
    validate   how good the averaged weights are
    artefact   the tensors to store: perhaps only a part of one player

**Rate–distortion.** J = R + λ D for each sample, with λ drawn log-uniformly over the model's range, so that one model
learns all of them. A large λ makes a large J: each sample's J is divided by √λ, so that no λ dominates the gradient.

**A prior alone** can only lower R. Its transforms are frozen, so its latents are computed once: many times as fast.

**Another task** is a subclass of :class:`Task` and a line in :data:`.recipe.TASKS`. ``tests/test_training_tasks.py``
has two small ones: a model without λ, and a decoder that plays against a critic.

Invariant: a task trains only models whose loss it knows, and refuses all others.

Taught in lesson 05.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .. import metrics
from ..codecs.hyperprior import Hyperprior
from ..datasets import PictureSet
from ..errors import SettingError
from ..learned import pretrained
from ..learned.quantisation import QUANTISERS
from ..learned.transforms import STRIDE, Transforms
from .crops import Pack, centre_crops, send
from .precision import set_precision
from .recipe import Recipe, check_types
from .soap import SOAP
from .team import Team

# --- the losses -------------------------------------------------------------------------------


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


def rate_loss(output: Mapping[str, Any], pixels: int, lam: Tensor, distortion: str = "mse") -> dict[str, Tensor]:
    """What a prior alone can lower of :func:`rate_distortion_loss`: R / √λ, times the same constant."""
    bpp = sum(-torch.log2(p).flatten(1).sum(1) for p in output["likelihoods"].values()) / pixels  # (B,)
    return {"loss": (bpp * torch.sqrt(DISTORTIONS[distortion][1] / lam)).mean(), "bpp": bpp}


# --- players ----------------------------------------------------------------------------------


@dataclass
class Player:
    """Weights with a loss of their own.

    Attributes:
        module: whose parameters they are.
        optimiser: what moves them; its groups may have several rates.
        average: a copy of the module, whose weights follow slowly: it is validated and stored.
        rates: of the optimiser's groups, before the schedule.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    average: nn.Module = field(init=False)
    rates: list[float] = field(init=False)

    PARTS: ClassVar = ("module", "average", "optimiser")  # what a checkpoint holds of it

    def __post_init__(self):
        self.average = copy.deepcopy(self.module).requires_grad_(False).eval()
        self.rates = [group["lr"] for group in self.optimiser.param_groups]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters, also those that are frozen just now and have no gradient."""
        return list(self.module.parameters())

    def state_dict(self) -> dict[str, Any]:
        """All that a checkpoint must hold of it."""
        return {part: getattr(self, part).state_dict() for part in self.PARTS}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state_dict` returned."""
        for part in self.PARTS:
            getattr(self, part).load_state_dict(state[part])


def make_optimiser(recipe: Recipe, parameters: Sequence, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser of a recipe, for parameters or groups of them."""
    if recipe.optimiser == "soap":
        return SOAP(parameters, lr=recipe.rate)
    return torch.optim.Adam(parameters, lr=recipe.rate, fused=True if device.type == "cuda" else None)  # in one kernel


# --- tasks ------------------------------------------------------------------------------------


class Task(abc.ABC):
    """See the module docstring. A subclass fills ``players``.

    Args:
        recipe: what to train, and how.
        pictures: to learn from and, those held out, to validate with.
        device, team: where, and with whom.
    """

    @dataclass(frozen=True)
    class Settings:
        """Fields of the recipe's [task] table."""

    precision = "float32"

    def __init__(self, recipe: Recipe, pictures: PictureSet, device: torch.device, team: Team):
        self.recipe, self.device, self.team, self.settings = recipe, device, team, self.check(recipe)
        self.players: dict[str, Player] = {}
        self.frozen: list[nn.Module] = []
        self.training, held_out = pictures.split(recipe.held_out, recipe.seed)
        for name, picture in pictures.pictures.items():
            if min(picture.shape[:2]) < recipe.crop:
                raise SettingError(
                    f"{name} is only {min(picture.shape[:2])} pixels wide or high; make the crops of {recipe.crop} "
                    "smaller, or take the picture out."
                )
        self.pack, self.held_out = Pack(self.training, device), centre_crops(held_out, math.gcd(recipe.crop, 64))

    @classmethod
    def check(cls, recipe: Recipe) -> Any:
        """Return the settings; refuse a recipe that this task cannot follow."""
        table = {name: value for name, value in recipe.task.items() if name != "kind"}
        try:
            settings = cls.Settings(**table)
        except TypeError as error:
            known = ", ".join(("kind", *(item.name for item in fields(cls.Settings))))
            raise SettingError(
                f"In the recipe, the task {recipe.kind!r} cannot be used ({error}); its fields are: {known}."
            ) from error
        check_types(settings)
        return settings

    # --- the model of the recipe

    def build_model(self, known: type[nn.Module]) -> Any:
        """Make the recipe's model, with trained parts if it starts from some, and with its frozen parts noted.

        It gets its first weights on the CPU: they are the same on every device.

        Args:
            known: the models whose loss this task knows.
        """
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        model = pretrained.build(recipe.model, recipe.config)
        if not isinstance(model, known):
            raise SettingError(
                f"The task {recipe.kind!r} has no loss for the model {recipe.model!r}; name another model, or another "
                "kind of task, in the recipe."
            )
        self.initialise(model)
        if recipe.start:
            pretrained.take_parts(model, recipe.start, recipe.take)
        self.frozen = [_part(model, name) for name in recipe.frozen]
        model.to(self.device)
        self.team.copy_from_first(list(model.state_dict().values()))
        return model.to(memory_format=torch.channels_last)  # 5 % faster on a CPU, more on a GPU

    def initialise(self, model: nn.Module) -> None:  # noqa: B027 - most models have none
        """Choose first weights from pictures, where the model has a way to."""

    def begin_step(self, step: int) -> None:
        """Freeze or thaw, before step number ``step``."""
        for part in self.frozen:
            part.requires_grad_(0 < self.recipe.frozen_steps <= step)

    # --- what the loop asks for

    @abc.abstractmethod
    def draw(self, random: np.random.Generator, mine: slice) -> Any:
        """Choose a batch with these random numbers alone; return this process's share of it."""

    @abc.abstractmethod
    def losses(self, batch: Any) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Yield the name of a player, and its ``loss`` (a scalar) with whatever else is to be shown.

        When the next is asked for, that player has made its step.
        """

    @abc.abstractmethod
    def validate(self) -> dict[str, Any]:
        """Measure the averaged weights on the held-out pictures: ``loss``, and ``points`` (a list of measurements)."""

    @property
    def trained(self) -> Any:
        """The model with its averaged weights, for use."""
        return self.players["model"].average

    def artefact(self) -> dict[str, Tensor]:
        """The tensors to store."""
        return self.trained.state_dict()


class RateDistortion(Task):
    """R + λ D, for the models with transforms, a prior and a range of λ."""

    known = Transforms

    @dataclass(frozen=True)
    class Settings:
        """Fields of the recipe's [task] table.

        Attributes:
            quantiser: in place of rounding, a name in :mod:`edu_compress.learned.quantisation`.
        """

        quantiser: str = "mixed"

    def __init__(self, recipe: Recipe, pictures: PictureSet, device: torch.device, team: Team):
        super().__init__(recipe, pictures, device, team)
        self.model = self.build_model(self.known)
        self.distortion = self.model.config.distortion
        if self.distortion not in DISTORTIONS:
            raise SettingError(f"The task {recipe.kind!r} has no loss for the distortion {self.distortion!r}.")
        optimiser = make_optimiser(recipe, self.model.parameter_groups(recipe.rate), device)
        self.players["model"] = Player(self.model, optimiser)  # it copies the model, so before the precision
        shape = (recipe.batch // team.size, 3, recipe.crop, recipe.crop)
        self.precision = set_precision(self.model, recipe.precision, shape, device)

    @classmethod
    def check(cls, recipe: Recipe) -> Any:
        settings = super().check(recipe)
        if settings.quantiser not in QUANTISERS:
            known = ", ".join(QUANTISERS)
            raise SettingError(f"In the recipe, quantiser is one of {known}, not {settings.quantiser!r}.")
        if recipe.crop % STRIDE:
            raise SettingError(f"In the recipe, crop = {recipe.crop} should be a multiple of {STRIDE}.")
        return settings

    def initialise(self, model: Transforms) -> None:
        crops = self.pack.draw(np.random.default_rng((self.recipe.seed, 0)), 64, self.recipe.crop)
        model.initialise(self.pack.cut(crops, self.recipe.crop).cpu())

    def draw(self, random: np.random.Generator, mine: slice) -> tuple[Tensor, Tensor]:
        return self._draw(self.pack, self.recipe.crop, random, mine)

    def _draw(self, pack: Pack, size: int, random: np.random.Generator, mine: slice) -> tuple[Tensor, Tensor]:
        """Crops (B, C, size, size) of a pack, and their λ (B,): log-uniform over the model's range."""
        crops, (low, high) = pack.draw(random, self.recipe.batch, size), self.model.lam_range
        lam = (low * (high / low) ** random.random(self.recipe.batch)).astype(np.float32)
        return pack.cut(crops[:, mine], size), send(lam[mine], self.device)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        x, lam = batch
        yield "model", rate_distortion_loss(self.model(x, lam, self.settings.quantiser), x, lam, self.distortion)

    def validate(self) -> dict[str, Any]:
        """Code the held-out pictures with real rounding, at four λ."""
        low, high = self.trained.lam_range
        points = [self.validation_point(lam) for lam in np.geomspace(low, high, 4 if low < high else 1).tolist()]
        return {"loss": round(float(np.mean([point.pop("loss") for point in points])), 4), "points": points}

    @torch.no_grad()
    def validation_point(self, lam: float) -> dict[str, float]:
        results = []
        for x in self.held_out:
            x, lams = x.to(self.device), torch.full((1,), lam, device=self.device)
            output = self.trained(x, lams, "round")
            output["x_hat"] = (255 * output["x_hat"]).round().clamp(0, 255) / 255
            results.append(rate_distortion_loss(output, x, lams, self.distortion))
        mean = {key: float(torch.stack([result[key].mean() for result in results]).mean()) for key in results[0]}
        names = {"estimated_bpp": "bpp", "psnr": "psnr", "mse": "mse", "loss": "loss"}
        return {"lam": lam, **{name: mean[key] for name, key in names.items()}}


class Prior(RateDistortion):
    """R alone, on latents that are computed once, for models whose transforms are frozen: many times as fast."""

    known = Hyperprior

    def __init__(self, recipe: Recipe, pictures: PictureSet, device: torch.device, team: Team):
        super().__init__(recipe, pictures, device, team)
        self.latents = latent_pack(self.model, self.training, device)

    @classmethod
    def check(cls, recipe: Recipe) -> Any:
        if "g_a" not in recipe.frozen or recipe.frozen_steps:
            raise SettingError("In the recipe, a prior alone needs a frozen g_a, to the end: latents are stored.")
        return super().check(recipe)

    def draw(self, random: np.random.Generator, mine: slice) -> tuple[Tensor, Tensor]:
        return self._draw(self.latents, self.recipe.crop // STRIDE, random, mine)

    def losses(self, batch: tuple[Tensor, Tensor]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        y, lam = batch  # (B, M, S/16, S/16), (B,)
        output = self.model.code_latents(y, lam, self.settings.quantiser, synthesis=False)
        yield "model", rate_loss(output, self.recipe.crop**2, lam, self.distortion)


@torch.inference_mode()
def latent_pack(model: Transforms, pictures: Sequence[np.ndarray], device: torch.device) -> Pack:
    """The latents of all pictures and of their mirror images, [h, w, M] each: 400 MB for 500 pictures of 440 × 440."""
    latents = []
    for picture in pictures:
        height, width = (side // STRIDE * STRIDE for side in picture.shape[:2])
        x = torch.from_numpy(picture[:height, :width].copy()).to(device).permute(2, 0, 1)[None].float() / 255
        for view in (x, x.flip(3)):
            latents.append(model.analyse(view)[0].permute(1, 2, 0).half().cpu().numpy())
    return Pack(latents, device, flip=False, unit=1.0)


def _part(model: nn.Module, name: str) -> nn.Module:
    """A module of the model, by its name."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        parts = ", ".join(child for child, _ in model.named_children())
        raise SettingError(f"In the recipe, frozen names {name!r}; the parts of this model are: {parts}.") from None
