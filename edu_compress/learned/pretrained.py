r"""Trained weights: where they are, what they are, and how a model comes back from them.

Weights called NAME are two files::

    NAME.safetensors   the tensors, by name; nothing in this format can run code when it is read, as a pickle can
    NAME.json          the card: which model, trained how, on what, how good; and the SHA-256 of the other file

    card["model"], card["config"] --build--> model --load_state_dict--> model.eval()
                                                          ^
    NAME.safetensors --SHA-256 as in the card?--> float16 -> float32

The weights of the course are in ``data/weights`` of the repository; the environment variable ``EDU_COMPRESS_WEIGHTS``
names folders that come before it, for example that of your own training run.

Invariants: weights whose hash is not the card's are never loaded; what is loaded has the class and the configuration
of the card, and every tensor of it comes from the file.

References:
    The format: https://github.com/huggingface/safetensors.
    Cards: Mitchell et al., "Model cards for model reporting", FAT* 2019, arXiv:1810.03993.

Taught in lesson 05.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from .. import files, registry
from ..errors import CodecError, SettingError

if TYPE_CHECKING:  # torch is imported where it is needed: listing the weights should be quick
    from torch import Tensor, nn

Card = dict[str, Any]


def weights_folders() -> list[Path]:
    """Where weights are looked for, first to last: the folders that ``EDU_COMPRESS_WEIGHTS`` names (separated as in
    ``PATH``), then the course's, ``data/weights`` beside the package."""
    own = [Path(folder) for folder in os.environ.get("EDU_COMPRESS_WEIGHTS", "").split(os.pathsep) if folder]
    return [*own, Path(__file__).resolve().parents[2] / "data" / "weights"]


def folder_of(name: str, folder: Path | None = None) -> Path:
    """The first of :func:`weights_folders` with a card of that name; or ``folder``, if it has one.

    Raises:
        CodecError: there are no such weights.
    """
    name = Path(name).name  # a name, never a path: it may come from a file of somebody else
    places = [folder] if folder else weights_folders()
    for place in places:
        if (place / f"{name}.json").exists():
            return place
    raise CodecError(
        f"There are no weights {name!r} in {' and '.join(map(str, places))} (there: "
        f"{', '.join(names(folder)) or 'none'}); train them with `edu-compress train`, or set EDU_COMPRESS_WEIGHTS to "
        "the folder that has them."
    )


# --- models -----------------------------------------------------------------------------------


def build(model: str, config: Mapping[str, Any]) -> nn.Module:
    """Make a model with fresh weights.

    Args:
        model: a name in :func:`.registry.models`, as in recipes and cards.
        config: fields of the model's configuration, which is the class with which its constructor's argument
            ``config`` is annotated; fields that are not given keep their defaults.

    Raises:
        SettingError: no such model, or no such field.
    """
    models = registry.models()
    if model not in models:
        raise SettingError(f"There is no model {model!r}; choose one of: {', '.join(models)}.")
    model_class = registry.load(models[model])
    config_class = get_type_hints(model_class.__init__)["config"]
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    try:
        return model_class(config_class(**fields))
    except (TypeError, ValueError) as error:
        raise SettingError(f"Model {model!r} cannot be made from the configuration {dict(config)}: {error}.") from error


# --- cards ------------------------------------------------------------------------------------


def names(folder: Path | None = None) -> list[str]:
    """Return the names of all weights in the folder; if none is given, in :func:`weights_folders`."""
    folders = [folder] if folder else weights_folders()
    return sorted({path.stem for one in folders for path in one.glob("*.json")})


def read_card(name: str, folder: Path | None = None) -> Card:
    """Return the card of weights.

    Raises:
        CodecError: there are no such weights, or the card is damaged.
    """
    path = folder_of(name, folder) / f"{Path(name).name}.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        missing = {"model", "config", "sha256"} - card.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise CodecError(f"The card {path} cannot be read ({error}); fetch or train the weights again.") from error
    if missing:
        raise CodecError(f"The card {path} lacks {', '.join(sorted(missing))}; fetch or train the weights again.")
    return card


def add_measurement(name: str, measurement: Mapping[str, Any], folder: Path | None = None) -> None:
    """Write into the card what was measured with real files, in place of an earlier one on the same pictures."""
    folder = folder or folder_of(name)
    card = read_card(name, folder)
    others = [old for old in card.get("measured", []) if old["pictures"] != measurement["pictures"]]
    _write_card(folder / f"{name}.json", {**card, "measured": [*others, dict(measurement)]})


def _write_card(path: Path, card: Card) -> None:
    files.write_json(path, card)


# --- weights ----------------------------------------------------------------------------------


def load(name: str, model: str | None = None, folder: Path | None = None) -> nn.Module:
    """Return a trained model, ready for use: in evaluation mode, in float32, on the CPU.

    Args:
        name: of the weights.
        model: if given, the model (a name in :func:`.registry.models`) that the weights must be of.
        folder: where they are; looked for in :func:`weights_folders` if not given.

    Raises:
        CodecError: the weights are missing, damaged, or of another model.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    folder = folder or folder_of(name)
    card = read_card(name, folder)
    if model is not None and card["model"] != model:
        raise CodecError(f"The weights {name!r} are of the model {card['model']!r}, not {model!r}; choose others.")
    path = folder / f"{name}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodecError(f"Cannot read {path}: {error.strerror}; fetch or train the weights again.") from error
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise CodecError(f"{path} does not have the checksum of its card; fetch or train the weights again.")
    network = build(card["model"], card["config"])
    try:
        network.load_state_dict(safetensors.torch.load(data))  # copies into float32
    except (SafetensorError, RuntimeError) as error:
        raise CodecError(f"{path} does not fit the model of its card, {card['model']!r}: {error}") from error
    return network.eval().requires_grad_(False)


def take_parts(model: nn.Module, name: str, parts: Sequence[str] = ()) -> None:
    """Copy trained tensors into a model, which may be of another kind, and larger.

    Args:
        model: to copy into.
        name: of the weights.
        parts: names of the modules that are copied ("g_a", "gain" ...); all tensors of the weights if empty.

    Raises:
        CodecError: the weights cannot be read.
        SettingError: the model or the weights do not have a part, or the model's is smaller or of another kind.
    """
    from .growing import fits, grown

    trained, target = load(name), model.state_dict()
    source = trained.state_dict()
    chosen = {key for key in source if not parts or key.split(".")[0] in parts}
    missing = set(parts) - {key.split(".")[0] for key in chosen}
    wrong = sorted(key for key in chosen if not fits(key, trained, model))
    if missing or wrong:
        raise SettingError(f"The weights {name!r} cannot give this model its {', '.join(missing or wrong)}.")
    model.load_state_dict({**target, **{key: grown(key, trained, model) for key in chosen}})


def save(name: str, state: Mapping[str, Tensor], card: Mapping[str, Any], folder: Path) -> Card:
    """Write weights and their card; return the card, to which the hash and the size are added.

    Args:
        name: of the weights: letters, digits, "-" and "_".
        state: tensors by name, as from ``model.state_dict()``.
        card: at least ``model`` and ``config``, as for :func:`build`.
        folder: where to; made if need be.
    """
    import safetensors.torch

    data = safetensors.torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in state.items()})
    card = {"name": name, **card, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    files.make_folder(folder)
    files.write_atomically(folder / f"{name}.safetensors", data)  # the card last: it vouches for the weights
    _write_card(folder / f"{name}.json", card)
    return card


def in_half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with float32 as float16: half the bytes, three decimal digits.

    Other types stay: integers, and float64, in which exact arithmetic is done.

    Raises:
        CodecError: a weight is too large for float16 (65504).
    """
    import torch

    halves = {key: tensor.half() if tensor.dtype == torch.float32 else tensor for key, tensor in state.items()}
    for key, tensor in halves.items():
        if tensor.dtype == torch.float16 and not torch.isfinite(tensor).all():
            raise CodecError(f"The weights {key!r} do not fit float16; store them with `half = false` in the recipe.")
    return halves
