r"""The files of the course, ``.edc``: bytes in, bytes out, without any codec.

The standards write standard files (our JPEG is a ``.jpg``). The learned codecs, and our lossless one, share two
formats. In both, ``name`` is ``codec`` or ``codec/weights``: a file says by itself what reads it. (varint: 7 bits a
byte, low bits first, as in LEB128.)

The **container** (format version 1) is read whole or not at all. Its CRC covers all that stands before it, so a damaged
or shortened file is an error, never a wrong picture::

    "EDC"  1  name         H       W       setting   { name         length  payload }*  CRC-32
    3      1  1 + n bytes  varint  varint  float32     1 + n bytes  varint  n bytes     4

The **progressive stream** (format version 2) can be cut anywhere behind its header, and what is left is a valid file
that holds a coarser picture. The header has its own CRC; it tells all lengths, so that a reader knows what is missing.
The CRC of a section goes on from the one before, so that a section cannot change its place either::

    "EDC"  2  name  H  W  setting  count   lengths         CRC-32  { payload  CRC-32 }*
                                   varint  count varints   4         n bytes  4
                                                                  ^-- may end anywhere from here on

==============  ===========================  =====================
format version  written by                   read by edu_compress
==============  ===========================  =====================
1               all codecs but progressive   0.1 and later
2               progressive codecs           later than 0.1.0
==============  ===========================  =====================

Invariants: ``unpack(c.pack()) == c`` (for a setting that is a float32); ``unpack(data).pack() == data``, but for a
section that was cut; ``sum(ledger(data).values()) == len(data)``; of a stream, every prefix that holds its header is a
file, and a damaged byte in a section that is there is an error.

Taught in lesson 02.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import BitstreamError, SettingError

MAGIC = b"EDC"
_CONTAINER, _STREAM = 1, 2  # format versions
_CRC = 4  # bytes
_LEDGER_LINES = ("header", "checksum")  # what else the ledger of a container lists


@dataclass(frozen=True)
class Container:
    """The contents of a container.

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
        """Return the complete file.

        Raises:
            SettingError: a name or a number that the format cannot hold.
        """
        out = _pack_header(self, _CONTAINER)
        for name, payload in self.sections.items():
            if name in _LEDGER_LINES:
                raise SettingError(f"A section must not be called {name!r}: that is a line of the ledger.")
            out += _pack_name(name) + _pack_varint(len(payload)) + payload
        return bytes(out) + _pack_crc(zlib.crc32(out))

    @classmethod
    def unpack(cls, data: bytes, codec: str | None = None) -> Container:
        """Read a file back.

        Args:
            data: the file.
            codec: if given, the codec that the file must belong to.

        Raises:
            BitstreamError: not an ``.edc`` file, another version, truncated, corrupt, or another codec's.
        """
        _check_version(data, _CONTAINER)
        body = data[:-_CRC]
        if data[-_CRC:] != _pack_crc(zlib.crc32(body)):
            raise BitstreamError("The .edc file is damaged or incomplete: its checksum does not match.")
        fields = _Fields(body)
        name, weights, height, width, setting = fields.header(codec)
        return cls(name, height, width, setting, dict(fields.sections()), weights)

    def ledger(self) -> dict[str, int]:
        """Bytes of ``header``, each section's payload, and ``checksum``."""
        sections = {name: len(payload) for name, payload in self.sections.items()}
        return {"header": len(self.pack()) - sum(sections.values()) - _CRC, **sections, "checksum": _CRC}


@dataclass(frozen=True)
class ProgressiveStream:
    """The contents of a progressive stream, whole or cut.

    Attributes:
        codec, height, width, setting, weights: as in a :class:`Container`; the setting is that of the whole stream.
        sections: those that are complete, the coarsest first.
        lengths: of all sections of the whole stream, in bytes; if not given, ``sections`` are all.
    """

    codec: str
    height: int
    width: int
    setting: float = 0.0
    sections: Sequence[bytes] = ()
    weights: str = ""
    lengths: Sequence[int] = ()

    def __post_init__(self):
        object.__setattr__(self, "sections", tuple(self.sections))
        object.__setattr__(self, "lengths", tuple(self.lengths) or tuple(map(len, self.sections)))

    @property
    def cut(self) -> bool:
        """Whether sections of the whole stream are missing."""
        return len(self.sections) < len(self.lengths)

    def pack(self) -> bytes:
        """Return the file, as far as its sections are there.

        Raises:
            SettingError: a name or a number that the format cannot hold, or sections of other lengths than ``lengths``.
        """
        if tuple(map(len, self.sections)) != self.lengths[: len(self.sections)]:
            raise SettingError("The sections of a progressive stream must have the lengths that its header tells.")
        out = _pack_header(self, _STREAM) + _pack_varint(len(self.lengths))
        out += b"".join(map(_pack_varint, self.lengths))
        crc = zlib.crc32(out)
        out += _pack_crc(crc)
        for payload in self.sections:
            crc = zlib.crc32(payload, crc)
            out += payload + _pack_crc(crc)
        return bytes(out)

    @classmethod
    def unpack(cls, data: bytes, codec: str | None = None) -> ProgressiveStream:
        """Read a file back, which may end anywhere behind its header.

        Args:
            data: the file.
            codec: if given, the codec that the file must belong to.

        Raises:
            BitstreamError: no stream, another version, cut inside of its header, corrupt, or another codec's.
        """
        _check_version(data, _STREAM)
        fields = _Fields(data)
        name, weights, height, width, setting = fields.header(codec)
        lengths = tuple(fields.varint() for _ in range(fields.varint()))
        crc = zlib.crc32(data[: fields.position])
        if fields.take(_CRC) != _pack_crc(crc):
            raise BitstreamError("The header of the .edc file is damaged: its checksum does not match.")
        sections = []
        for length in lengths:
            if fields.position + length + _CRC > len(data):
                break  # the stream was cut; the rest of this section is of no use
            sections.append(fields.take(length))
            crc = zlib.crc32(sections[-1], crc)
            if fields.take(_CRC) != _pack_crc(crc):
                raise BitstreamError(f"Section {len(sections)} of the .edc file is damaged: its checksum differs.")
        if len(sections) == len(lengths) and fields.position < len(data):
            raise BitstreamError("The .edc file is inconsistent: something follows its last section.")
        return cls(name, height, width, setting, sections, weights, lengths)

    def ledger(self) -> dict[str, int]:
        """Bytes of ``header``, each complete section, and the checksums of these sections."""
        sections = {f"section {number}": len(payload) for number, payload in enumerate(self.sections, 1)}
        checksums = _CRC * len(sections)
        header = len(self.pack()) - sum(sections.values()) - checksums
        return {"header": header, **sections, "checksums": checksums}


# --- what the bytes tell by themselves --------------------------------------------------------


def unpack(data: bytes) -> Container | ProgressiveStream:
    """Read a file of either format.

    Raises:
        BitstreamError: not an ``.edc`` file, another version, or corrupt.
    """
    return (ProgressiveStream if data[3:4] == bytes([_STREAM]) else Container).unpack(data)


def ledger(data: bytes) -> dict[str, int]:
    """Say where each byte of an ``.edc`` file went; the values sum to ``len(data)``."""
    account = unpack(data).ledger()
    unused = len(data) - sum(account.values())
    return account | {"cut section": unused} if unused else account


def describe(data: bytes) -> list[tuple[str, str]]:
    """Return the fields of an ``.edc`` file in their order, as (name, value) in words."""
    c = unpack(data)
    fields = [("format", f"EDC version {data[3]}"), ("codec", c.codec), ("weights", c.weights or "none")]
    fields += [("height x width", f"{c.height} x {c.width} pixels"), ("setting", f"{c.setting:g}")]
    if isinstance(c, Container):
        return fields + [(f"section {name!r}", f"{len(payload):,} bytes") for name, payload in c.sections.items()]
    state = ["complete"] * len(c.sections) + ["cut off"] * (len(c.lengths) - len(c.sections))
    numbered = enumerate(zip(c.lengths, state, strict=True), 1)
    fields.append(("sections", f"{len(c.sections)} of {len(c.lengths)} complete"))
    return fields + [(f"section {number}", f"{length:,} bytes, {there}") for number, (length, there) in numbered]


def section_ends(data: bytes) -> list[int]:
    """Return how long a progressive stream is with 0, 1, 2 ... of the sections that are complete in it."""
    account = ProgressiveStream.unpack(data).ledger()
    ends = [account.pop("header")]
    del account["checksums"]
    for length in account.values():
        ends.append(ends[-1] + length + _CRC)
    return ends


def truncate(data: bytes, n_bytes: int) -> bytes:
    """Cut a progressive stream to at most ``n_bytes``, behind the last section that fits.

    Raises:
        BitstreamError: not a progressive stream, or a damaged one.
        SettingError: not even the header fits.
    """
    ends = section_ends(data)
    if n_bytes < ends[0]:
        raise SettingError(f"The stream cannot be cut to {n_bytes} bytes: its header alone has {ends[0]}.")
    return data[: max(end for end in ends if end <= n_bytes)]


# --- fields -----------------------------------------------------------------------------------


def _check_version(data: bytes, version: int) -> None:
    if data[:3] != MAGIC:
        raise BitstreamError("This is not an .edc file: it does not start with the letters EDC.")
    if data[3:4] != bytes([version]):
        found = data[3] if len(data) > 3 else "missing"
        kind = {_CONTAINER: "container", _STREAM: "progressive stream"}[version]
        raise BitstreamError(f"The .edc format version is {found}; a {kind} has version {version}.")


def _pack_header(contents: Container | ProgressiveStream, version: int) -> bytearray:
    c = contents
    if "/" in c.codec:
        raise SettingError(f"The name of a codec has no '/' in it, as {c.codec!r} has: the weights follow there.")
    try:
        setting = struct.pack("<f", c.setting)
    except (OverflowError, struct.error) as error:
        raise SettingError(f"The setting in an .edc file is a number of float32, not {c.setting!r}.") from error
    name = _pack_name(f"{c.codec}/{c.weights}" if c.weights else c.codec)
    return bytearray(MAGIC + bytes([version]) + name + _pack_varint(c.height) + _pack_varint(c.width) + setting)


def _pack_crc(crc: int) -> bytes:
    return struct.pack("<I", crc)


def _pack_varint(value: int) -> bytes:
    if not 0 <= value < 1 << 63:
        raise SettingError(f"A number in an .edc file has 0 to 63 bits, unlike {value}.")
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _pack_name(name: str) -> bytes:
    if len(name) > 255 or not _is_plain(name):
        raise SettingError(f"A name in an .edc file has at most 255 printable ASCII characters, unlike {name!r}.")
    return bytes([len(name)]) + name.encode("ascii")


def _is_plain(name: str) -> bool:
    """Whether a name can be printed anywhere: no control characters for the terminal."""
    return name.isascii() and name.isprintable()


class _Fields:
    """Reads the fields of a file one after another, from behind the version; an overrun is a BitstreamError."""

    def __init__(self, data: bytes):
        self.data, self.position = data, len(MAGIC) + 1

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
            if byte < 128 and (byte or not shift):
                return value
            if not byte:
                raise BitstreamError("The .edc file is inconsistent: a number in it has needless bytes.")
        raise BitstreamError("The .edc file is inconsistent: a number in it does not end.")

    def name(self) -> str:
        name = self.take(self.take(1)[0]).decode("latin-1")  # every byte is some character, so this cannot fail
        if not _is_plain(name):
            raise BitstreamError("The .edc file is inconsistent: a name in it is not plain ASCII.")
        return name

    def header(self, codec: str | None) -> tuple[str, str, int, int, float]:
        """Codec, weights, height, width, setting; the codec must be the one given, if one is."""
        name, _, weights = self.name().partition("/")
        height, width, setting = self.varint(), self.varint(), struct.unpack("<f", self.take(4))[0]
        if codec is not None and name != codec:
            raise BitstreamError(f"The file was written by codec {name!r}, not {codec!r}; decode it with that one.")
        return name, weights, height, width, setting

    def sections(self) -> Iterator[tuple[str, bytes]]:
        seen = set(_LEDGER_LINES)
        while self.position < len(self.data):
            name = self.name()
            if name in seen:
                raise BitstreamError(
                    f"The .edc file is inconsistent: section {name!r} occurs twice, or must not be called so."
                )
            seen.add(name)
            yield name, self.take(self.varint())
