r"""What every codec of the course has in common: one interface, one registry, one container.

A *codec* is a pair of functions, and all our numbers come from running both of them::

    image            +--------+   data: bytes,     +--------+   image
    uint8 [H, W, 3]->| encode |-> a complete file->| decode |-> uint8 [H, W, 3]
                     +--------+                    +--------+
    setting (quality, QP, λ ...) --^

The rate of a picture is ``len(data)``: nothing that the decoder needs may be missing from it, so
the decoder takes *only* the bytes. The encoder's setting is a number in the codec's native unit, and
``codec.settings`` are the values that trace its rate-distortion curve.

The standards write standard files (our JPEG is a ``.jpg``). The learned codecs, and our lossless one,
share the container ``.edc``, whose bytes are (varint: 7 bits a byte, low bits first, as in LEB128)::

    "EDC"  version  name         H       W       setting   { name         length  payload }*  CRC-32
    3      1        1 + n bytes  varint  varint  float32     1 + n bytes  varint  n bytes     4

``name`` is ``codec`` or ``codec/weights``: a file says by itself what reads it. The CRC covers all
that stands before it, so a damaged file is an error, never a wrong picture.

Invariants: ``Container.unpack(c.pack()) == c``; ``sum(ledger(data).values()) == len(data)``.

Taught in lesson 00 (the interface) and lesson 02 (the container).
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from .errors import BitstreamError, SettingError

MAGIC = b"EDC"
FORMAT_VERSION = 1


@runtime_checkable
class Codec(Protocol):
    """The interface of every codec. Errors are :class:`~edu_compress.errors.CodecError`."""

    name: str
    settings: Sequence[float]

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress ``image`` (uint8 [H, W, 3], any size from 1 × 1) into a complete file."""
        ...

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture (uint8 [H, W, 3]) from a file that this codec wrote."""
        ...

    def ledger(self, data: bytes) -> dict[str, int]:
        """Say where each byte of ``data`` went; the values sum to ``len(data)``."""
        ...

    def describe(self, data: bytes) -> list[tuple[str, str]]:
        """Return the header fields of ``data`` in file order, as (name, value) in words."""
        ...


# --- the registry -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One line of the registry: enough to list a codec, and to find it without importing it."""

    name: str
    target: str  # "module:class" inside edu_compress, imported when the codec is opened
    setting: str  # what the setting is called, and its range
    suffix: str  # of the files it writes
    about: str
    signature: bytes = b""  # how its files begin; "" for .edc files, and for a codec whose files another one reads
    signature_at: int = 0  # byte where the signature stands


_ENTRIES = (
    Entry("jpeg", "jpeg:JpegCodec", "quality 1-100", ".jpg", "our JPEG (ITU-T T.81), lesson 01", b"\xff\xd8"),
    Entry(
        "libjpeg", "standard_codecs:LibjpegCodec", "quality 1-100", ".jpg", "JPEG as Pillow's libjpeg-turbo writes it"
    ),
    Entry("heic", "standard_codecs:HeicCodec", "quality 0-100", ".heic", "HEVC intra by x265", b"ftyphei", 4),
    Entry(
        "factorized", "factorized:FactorizedCodec", "λ 0.0004-0.05", ".edc", "learned transforms, one prior; lesson 05"
    ),
    Entry("hyperprior", "hyperprior:HyperpriorCodec", "λ 0.0004-0.05", ".edc", "side information: μ, σ; lesson 06"),
    Entry("context", "context:ContextCodec", "λ 0.0004-0.05", ".edc", "autoregressive context, wavefronts; lesson 07"),
    Entry("checkerboard", "context:CheckerboardCodec", "λ 0.0004-0.05", ".edc", "context in two passes; lesson 07"),
    Entry(
        "lossless",
        "lossless:LosslessCodec",
        "none (0)",
        ".edc",
        "our lossless codec: predict, model, entropy-code; lesson 02",
    ),
)

registry: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def open_codec(name: str, **options) -> Codec:
    """Return the codec called ``name``; ``options`` go to its constructor.

    Raises:
        SettingError: no such codec, or it does not take one of the options.
    """
    if name not in registry:
        raise SettingError(f"There is no codec {name!r}; choose one of: {', '.join(registry)}.")
    module, _, attribute = registry[name].target.partition(":")
    factory = getattr(importlib.import_module(f"edu_compress.{module}"), attribute)
    try:
        return factory(**options)
    except TypeError as error:
        raise SettingError(f"Codec {name!r} does not take these options: {error}.") from error


def identify(data: bytes) -> str:
    """Return the name of the codec that reads this file, from its first bytes.

    Raises:
        BitstreamError: no codec of the course knows this kind of file.
    """
    if data[: len(MAGIC)] == MAGIC:
        return Container.unpack(data).codec
    for entry in registry.values():
        if entry.signature and data.startswith(entry.signature, entry.signature_at):
            return entry.name
    raise BitstreamError("This is not a file of any codec in the course (it starts with none of their signatures).")


def open_reader(data: bytes) -> Codec:
    """Return the codec that decodes this file, with the weights that the file names.

    Raises:
        BitstreamError: no codec of the course knows this kind of file.
        CodecError: there are no such weights.
    """
    name = identify(data)
    if data[: len(MAGIC)] == MAGIC and (weights := Container.unpack(data).weights):
        return open_codec(name, weights=weights)
    return open_codec(name)


def ledger(data: bytes) -> dict[str, int]:
    """Say where each byte of a compressed file went; the values sum to ``len(data)``."""
    return open_reader(data).ledger(data)


def describe(data: bytes) -> list[tuple[str, str]]:
    """Return the header fields of a compressed file in file order, as (name, value) in words."""
    return open_reader(data).describe(data)


# --- the container ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """The contents of an ``.edc`` file.

    Attributes:
        codec: name in the registry.
        height, width: of the picture, in pixels, before any padding.
        setting: the encoder's setting (λ for the learned codecs), stored as float32.
        sections: the coded parts by name, in coding order (``{"z": ..., "y": ...}``); none is called "header" or
            "checksum", which are lines of the ledger.
        weights: name of the trained weights, "" where a codec has none.
    """

    codec: str
    height: int
    width: int
    setting: float = 0.0
    sections: Mapping[str, bytes] = field(default_factory=dict)
    weights: str = ""

    def pack(self) -> bytes:
        """Return the complete file."""
        out = bytearray(MAGIC + bytes([FORMAT_VERSION]))
        out += _pack_name(f"{self.codec}/{self.weights}" if self.weights else self.codec)
        out += _pack_varint(self.height) + _pack_varint(self.width) + struct.pack("<f", self.setting)
        for name, payload in self.sections.items():
            out += _pack_name(name) + _pack_varint(len(payload)) + payload
        return bytes(out + struct.pack("<I", zlib.crc32(out)))

    @classmethod
    def unpack(cls, data: bytes, codec: str | None = None) -> Container:
        """Read a file back.

        Args:
            data: the file.
            codec: if given, the codec that the file must belong to.

        Raises:
            BitstreamError: not an ``.edc`` file, another version, truncated, corrupt, or another codec's.
        """
        if data[:3] != MAGIC:
            raise BitstreamError("This is not an .edc file: it does not start with the letters EDC.")
        if len(data) < 4 or data[3] != FORMAT_VERSION:
            version = data[3] if len(data) > 3 else "missing"
            raise BitstreamError(f"The .edc format version is {version}; this program reads version {FORMAT_VERSION}.")
        body = data[:-4]
        if len(data) < 12 or struct.unpack("<I", data[-4:])[0] != zlib.crc32(body):
            raise BitstreamError("The .edc file is damaged or incomplete: its checksum does not match.")
        fields = _Fields(body, position=4)
        name, _, weights = fields.name().partition("/")
        height, width = fields.varint(), fields.varint()
        setting = struct.unpack("<f", fields.take(4))[0]
        sections = dict(fields.sections())
        if codec is not None and name != codec:
            raise BitstreamError(f"The file was written by codec {name!r}, not {codec!r}; decode it with that one.")
        return cls(name, height, width, setting, sections, weights)


class ContainerCodec:
    """What the codecs that write ``.edc`` files share: how to read a file's header and ledger."""

    def ledger(self, data: bytes) -> dict[str, int]:
        """Bytes of ``header``, each section's payload, and ``checksum``; they sum to ``len(data)``."""
        sections = {name: len(payload) for name, payload in Container.unpack(data).sections.items()}
        header = len(data) - sum(sections.values()) - 4
        return {"header": header, **sections, "checksum": 4}

    def describe(self, data: bytes) -> list[tuple[str, str]]:
        """The fields of the container, see the module docstring."""
        c = Container.unpack(data)
        fields = [("format", f"EDC version {FORMAT_VERSION}"), ("codec", c.codec), ("weights", c.weights or "none")]
        fields += [("height x width", f"{c.height} x {c.width} pixels"), ("setting", f"{c.setting:g}")]
        return fields + [(f"section {name!r}", f"{len(payload):,} bytes") for name, payload in c.sections.items()]


def _pack_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _pack_name(name: str) -> bytes:
    encoded = name.encode("ascii")
    return bytes([len(encoded)]) + encoded


class _Fields:
    """Reads the fields of a container one after another; every overrun is a :class:`BitstreamError`."""

    def __init__(self, data: bytes, position: int):
        self.data, self.position = data, position

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            raise BitstreamError("The .edc file is inconsistent: a length in it points past its end.")
        return self.data[start : self.position]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise BitstreamError("The .edc file is inconsistent: a number in it does not end.")

    def name(self) -> str:
        raw = self.take(self.take(1)[0])
        name = raw.decode("latin-1")  # every byte is some character, so this cannot fail
        if not (name.isascii() and name.isprintable()):  # names are printed: no control characters for the terminal
            raise BitstreamError("The .edc file is inconsistent: a name in it is not plain ASCII.")
        return name

    def sections(self) -> Iterator[tuple[str, bytes]]:
        seen = {"header", "checksum"}  # the other lines of the ledger
        while self.position < len(self.data):
            name = self.name()
            if name in seen:
                raise BitstreamError(
                    f"The .edc file is inconsistent: section {name!r} occurs twice, or must not be called so."
                )
            seen.add(name)
            yield name, self.take(self.varint())
