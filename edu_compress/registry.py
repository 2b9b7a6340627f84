r"""What every codec has in common: one interface, and one line in one list, which is open to everybody.

A *codec* is a pair of functions, and all our numbers come from running both of them::

    image            +--------+   data: bytes,     +--------+   image
    uint8 [H, W, 3]->| encode |-> a complete file->| decode |-> uint8 [H, W, 3]
                     +--------+                    +--------+
    setting (quality, QP, λ ...) --^

The rate of a picture is ``len(data)``: nothing that the decoder needs may be missing from it, so the decoder takes
*only* the bytes. The encoder's setting is a number in the codec's native unit, and ``codec.settings`` are the values
that trace its rate-distortion curve.

The registry knows of each codec what can be told without loading it (:class:`Entry`): a file finds its reader here, a
figure its colours, trained weights their network. Everybody can add to it::

    registry.register(Entry("mine", MyCodec, "step 1-64", ".mine", "my first codec"))      in a notebook

    [project.entry-points."edu_compress.codecs"]                 in the pyproject.toml of a package that is installed
    mine = "my_package:ENTRY"

Taught in lesson 00 (the interface) and lesson 02 (files that say what reads them).
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from . import container
from .errors import BitstreamError, SettingError

# --- the interface ----------------------------------------------------------------------------


@runtime_checkable
class Codec(Protocol):
    """The interface of every codec, and the parts of it that most share. Errors are :class:`.errors.CodecError`."""

    name: str
    settings: Sequence[float]

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress ``image`` (uint8 [H, W, 3], any size from 1 × 1) into a complete file."""
        ...

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture (uint8 [H, W, 3]) from a file that this codec wrote."""
        ...

    @staticmethod
    def ledger(data: bytes) -> dict[str, int]:
        """Say where each byte of ``data`` went; the values sum to ``len(data)``. The bytes alone must do."""
        ...

    @staticmethod
    def describe(data: bytes) -> list[tuple[str, str]]:
        """Return the header fields of ``data`` in file order, as (name, value) in words. The bytes alone must do."""
        ...

    def curve(self, image: np.ndarray, settings: Iterable[float]) -> Iterator[bytes]:
        """Yield the file for each setting. A progressive codec makes one, and cuts it."""
        for setting in settings:
            yield self.encode(image, setting)

    @classmethod
    def quick(cls) -> Codec:
        """A small codec, with random numbers where others have trained ones: what the tests of all codecs run on."""
        return cls()


class ContainerCodec(Codec):
    """What the codecs that write ``.edc`` files share: the container accounts for its bytes."""

    ledger = staticmethod(container.ledger)
    describe = staticmethod(container.describe)


# --- the entries ------------------------------------------------------------------------------

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""The colours of the course: those of Okabe and Ito (2008), which colour-blind readers can tell apart."""


class Style(NamedTuple):
    """How a codec is drawn, in every figure of the course; the colour and the rest are matplotlib's."""

    label: str
    color: str = "#777777"
    marker: str = "."
    linestyle: str = "--"


@dataclass(frozen=True)
class Entry:
    """One line of the registry: what is known of a codec before it is imported.

    Attributes:
        name: of the codec, also in its files.
        target: the class, or where it is: "module:class" (a leading dot: inside edu_compress).
        setting: what the setting is called, and its range.
        suffix: of the files it writes.
        about: the codec in a few words.
        style: how it is drawn; a grey dashed line with its name if not given.
        model: "module:class" of the network that can be trained for it, under the codec's name; "" if there is none.
        signature: how its files begin; empty for ``.edc`` files, and for a codec whose files another one reads.
        signature_at: byte where the signature stands.
        reads: other names that its ``.edc`` files may bear, with the options that read each.
    """

    name: str
    target: str | Callable[..., Codec]
    setting: str
    suffix: str
    about: str
    style: Style | None = None
    model: str = ""
    signature: bytes = b""
    signature_at: int = 0
    reads: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def load(self) -> Callable[..., Codec]:
        """Import the codec's class."""
        return load(self.target) if isinstance(self.target, str) else self.target


def load(target: str) -> Callable:
    """Import "module:attribute"; a module with a leading dot is one of edu_compress."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module, __package__), attribute)


_LAMBDA = "λ 0.0004-0.05"

_entries: dict[str, Entry] = {entry.name: entry for entry in (
    Entry(
        "jpeg", ".codecs.jpeg:JpegCodec", "quality 1-100", ".jpg", "our JPEG (ITU-T T.81), lesson 01",
        Style("JPEG (ours)", RED, "o", "-"), signature=b"\xff\xd8",
    ),
    Entry(
        "libjpeg", ".codecs.standard:LibjpegCodec", "quality 1-100", ".jpg", "JPEG as Pillow's libjpeg-turbo writes it",
        Style("JPEG (libjpeg)", RED, "s", ":"),
    ),
    Entry(
        "heic", ".codecs.standard:HeicCodec", "quality 0-100", ".heic", "HEVC intra by x265",
        Style("HEVC (x265)", BLACK, "s", "--"), signature=b"ftyphei", signature_at=4,
    ),
    Entry(
        "factorized", ".codecs.factorized:FactorizedCodec", _LAMBDA, ".edc", "learned transforms, one prior; lesson 05",
        Style("factorised prior", SKY, "o", "-"), model=".codecs.factorized:FactorizedPrior",
    ),
    Entry(
        "hyperprior", ".codecs.hyperprior:HyperpriorCodec", _LAMBDA, ".edc", "side information: μ, σ; lesson 06",
        Style("hyperprior", BLUE, "s", "-"), model=".codecs.hyperprior:Hyperprior",
    ),
    Entry(
        "context", ".codecs.context:ContextCodec", _LAMBDA, ".edc", "autoregressive context, wavefronts; lesson 07",
        Style("autoregressive", GREEN, "D", "-"), model=".codecs.context:ContextModel",
        reads={"context-raster": {"order": "raster"}},
    ),
    Entry(
        "checkerboard", ".codecs.context:CheckerboardCodec", _LAMBDA, ".edc", "context in two passes; lesson 07",
        Style("checkerboard", GREEN, "X", "--"),
    ),
    Entry(
        "lossless", ".codecs.lossless:LosslessCodec", "none (0)", ".edc",
        "our lossless codec: predict, model, entropy-code; lesson 02", Style("lossless (ours)", YELLOW, "*", "-"),
    ),
)}  # fmt: skip
_OURS = frozenset(_entries)


def register(entry: Entry) -> None:
    """Add a codec to the registry, or replace one that was added before.

    Raises:
        SettingError: the name is that of a codec of the course.
    """
    if entry.name in _OURS:
        raise SettingError(f"{entry.name!r} is a codec of the course; give yours another name.")
    _entries[entry.name] = entry


def entries() -> dict[str, Entry]:
    """Return all entries by name: those of the course, of installed packages, and those that were registered."""
    _find_installed()
    return dict(_entries)


@functools.cache  # once
def _find_installed() -> None:
    for found in importlib.metadata.entry_points(group="edu_compress.codecs"):
        try:
            register(found.load())
        except Exception as error:  # a fault of that package must not take the others away
            warnings.warn(f"The codec {found.name!r} of an installed package cannot be used: {error}", stacklevel=3)


def find(name: str) -> Entry:
    """Return the entry of a codec.

    Raises:
        SettingError: no such codec.
    """
    found = _entries.get(name) or entries().get(name)  # a package is asked only for what is not here
    if found is None:
        raise SettingError(f"There is no codec {name!r}; choose one of: {', '.join(entries())}.")
    return found


def models() -> dict[str, str]:
    """Return the networks that can be trained, "module:class", by the name of their codec."""
    return {entry.name: entry.model for entry in entries().values() if entry.model}


# --- opening ----------------------------------------------------------------------------------


def open_codec(name: str, **options) -> Codec:
    """Return the codec called ``name``; ``options`` go to its constructor.

    Raises:
        SettingError: no such codec, or it does not take one of the options.
    """
    target = find(name).load()
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:
        raise SettingError(f"Codec {name!r} does not take these options: {error}.") from error
    return target(**options)  # a TypeError in here is a fault of the codec, and keeps its traceback


def quick(name: str) -> Codec:
    """Return a small, untrained instance of a codec, see :meth:`Codec.quick`."""
    target = find(name).load()
    return getattr(target, "quick", target)()  # a function that makes codecs has no method


def identify(data: bytes) -> tuple[str, dict[str, object]]:
    """Tell from the bytes of a file which codec reads it, and with which options: the weights, the order ...

    Raises:
        BitstreamError: no codec here knows this kind of file, or it is damaged.
    """
    if data[: len(container.MAGIC)] == container.MAGIC:
        header = container.unpack(data)
        weights = {"weights": header.weights} if header.weights else {}
        for entry in entries().values():
            if header.codec == entry.name:
                return entry.name, weights
            if header.codec in entry.reads:
                return entry.name, weights | dict(entry.reads[header.codec])
        raise BitstreamError(f"The file was written by codec {header.codec!r}, which is not in the registry.")
    for entry in entries().values():
        if entry.signature and data.startswith(entry.signature, entry.signature_at):
            return entry.name, {}
    raise BitstreamError("This is not a file of any codec in the registry (it starts with none of their signatures).")


def open_reader(data: bytes, **options) -> Codec:
    """Return the codec that decodes this file, with the weights that the file names.

    Args:
        data: the file.
        options: choices that the decoder leaves open; they go to the constructor.

    Raises:
        BitstreamError: no codec here knows this kind of file.
        CodecError: there are no such weights, or the codec does not take the options.
    """
    name, found = identify(data)
    return open_codec(name, **{**found, **options})


def ledger(data: bytes) -> dict[str, int]:
    """Say where each byte of a compressed file went; the values sum to ``len(data)``. Needs no weights."""
    return _account(data).ledger(data)


def describe(data: bytes) -> list[tuple[str, str]]:
    """Return the header fields of a compressed file in file order, as (name, value) in words. Needs no weights."""
    return _account(data).describe(data)


def _account(data: bytes):
    """What has ``ledger`` and ``describe`` for this file: the container, or the class of the codec."""
    if data[: len(container.MAGIC)] == container.MAGIC:
        return container
    return find(identify(data)[0]).load()
