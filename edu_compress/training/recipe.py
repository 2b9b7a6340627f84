r"""Recipes: all that decides what comes out of a training run, besides the pictures, in a small TOML file.

::

    name = "hyperprior"        common fields: those of Recipe
    model = "hyperprior"
    steps = 15000

    [task]                     what is trained: its kind, and the fields of that task
    kind = "prior"
    quantiser = "mixed"

    [config]                   fields of the model's configuration
    N = 64

Everything is checked when the recipe is made, before the first picture is read; the card of the weights keeps it.

Taught in lesson 05.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from ..errors import CodecError, SettingError

if TYPE_CHECKING:
    from .tasks import Task

TASKS: dict[str, str] = {
    "rate_distortion": "edu_compress.training.tasks:RateDistortion",
    "prior": "edu_compress.training.tasks:Prior",
}
"""What can be trained, by the kind in a recipe's ``[task]`` table: "module:class"."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what comes out of a training run, besides the pictures.

    Attributes:
        name: of the weights.
        model, config: what :func:`edu_compress.learned.pretrained.build` makes.
        steps: how many; one step is one batch.
        task: ``kind``, a name in :data:`TASKS` ("rate_distortion" if there is none), and the fields of that task's
            ``Settings``.
        seed: of everything random, also of the choice of the held-out pictures.
        batch: crops in a step, over all processes together.
        crop: side of a crop in pixels; a multiple of 16 for the models with a latent of that stride (some: of 64).
        optimiser: "adam", or "soap" (:mod:`.soap`).
        rate: its learning rate.
        warm_up: steps in which the rate rises from 0.
        decay: the share of the steps (or minutes), at the end, in which the rate falls.
        first_step: where in the schedule the run begins: more than 0 where it goes on from weights in ``start``.
        minutes: if not 0, the schedule ends after so many, and ``steps`` does not count.
        clip: largest norm of a player's gradient.
        ema: how slowly the moving average follows the weights: it remembers about 1 / (1 - ema) steps.
        precision: "float32"; or "bfloat16" for the large convolutions (all else, as the likelihoods, in float32); or
            "auto", the faster one on this machine (:mod:`.precision`).
        half: whether the weights are stored as float16.
        held_out: number of pictures that are kept for validation.
        validate_every: steps between two validations; more than there are for one at the end only.
        start: name of trained weights to begin with.
        take: the parts of them that are taken, such as ["g_a", "g_s"]; if empty, all of them.
        frozen: parts of the model that stay as they are,
        frozen_steps: for so many steps; if 0, to the end.
    """

    name: str
    model: str
    steps: int
    config: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
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
    precision: str = "float32"
    half: bool = True
    held_out: int = 16
    validate_every: int = 500
    start: str = ""
    take: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    frozen_steps: int = 0

    def __post_init__(self):
        check_types(self)
        for name in ("steps", "batch", "crop", "rate", "clip", "held_out", "validate_every"):
            if not getattr(self, name) > 0:
                raise SettingError(f"In the recipe, {name} = {getattr(self, name)!r} should be more than 0.")
        if not (0 <= self.decay <= 1 and 0 <= self.ema < 1):
            raise SettingError("In the recipe, decay should be from 0 to 1, and ema from 0 to less than 1.")
        if self.take and not self.start:
            raise SettingError("In the recipe, take names parts of the weights in start, but there is no start.")
        if not (0 <= self.first_step < self.steps and self.warm_up >= 0 and self.minutes >= 0):
            raise SettingError("In the recipe, warm_up and minutes are 0 or more, and first_step is less than steps.")
        for name, choice in (("precision", ("float32", "bfloat16", "auto")), ("optimiser", ("adam", "soap"))):
            if getattr(self, name) not in choice:
                raise SettingError(f"In the recipe, {name} is one of {', '.join(choice)}, not {getattr(self, name)!r}.")
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise SettingError(f"In the recipe, the name {self.name!r} should be of letters, digits, '-' and '_'.")
        object.__setattr__(self, "task", {"kind": self.kind, **asdict(self.task_class().check(self))})  # all its fields

    @property
    def kind(self) -> str:
        """What is trained: a name in :data:`TASKS`."""
        return self.task.get("kind", "rate_distortion")

    def task_class(self) -> type[Task]:
        """The class of the task."""
        if self.kind not in list(TASKS):
            raise SettingError(f"In the recipe, the kind of task is one of {', '.join(TASKS)}, not {self.kind!r}.")
        module, _, name = TASKS[self.kind].partition(":")
        return getattr(importlib.import_module(module), name)


def check_types(settings: Any) -> None:
    """Refuse a field of a dataclass that is not of its type: a sentence now in place of a traceback later."""
    for name, hint in get_type_hints(type(settings)).items():
        value, wanted = getattr(settings, name), get_origin(hint) or hint
        if wanted is float and type(value) is int:
            object.__setattr__(settings, name, float(value))  # TOML's 1 for 1.0
        elif type(value) is not wanted:
            raise SettingError(f"In the recipe, {name} = {value!r} should be of type {wanted.__name__}.")


def recipe_from(entries: Mapping[str, Any], source: str = "of these fields") -> Recipe:
    """Make a recipe of the entries of a file, a card or a checkpoint, those of earlier versions included.

    Before there were tasks, ``quantiser`` and ``latents`` (now the kind "prior") were common fields.

    Raises:
        SettingError: a field is unknown, missing or impossible.
    """
    before = {"quantiser", "latents"} & entries.keys()
    common = {name: value for name, value in entries.items() if name not in before}
    if before:
        task = {"kind": "prior" if entries.get("latents") else "rate_distortion"}
        common["task"] = task | ({"quantiser": entries["quantiser"]} if "quantiser" in before else {})
    try:
        return Recipe(**common)
    except TypeError as error:
        known = ", ".join(item.name for item in fields(Recipe))
        raise SettingError(f"The recipe {source} cannot be used ({error}); its fields are: {known}.") from error


def read_recipe(path: str | os.PathLike) -> Recipe:
    """Read a recipe from a TOML file, with the fields of :class:`Recipe`; ``config`` and ``task`` are tables.

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
    return recipe_from(entries, str(path))
