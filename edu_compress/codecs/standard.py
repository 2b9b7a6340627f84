r"""Other people's codecs behind the interface of the course: what ours are measured against.

::

    image --> the library's encoder --> a standard file --> the library's decoder --> image

Nothing here is our own work but the wrapping: settings in the codec's native unit, errors in one sentence, and a
ledger, which our own reader of the format writes.

HEIC is one intra picture of HEVC (ITU-T H.265) in a file of boxes (ISO/IEC 14496-12 and 23008-12)::

    length  type  payload        length counts itself and the type: 8 bytes before the payload
    4       4     length - 8     "ftyp" what kind of file; "meta" its description, made of boxes; "mdat" the coded data

References: libjpeg-turbo (https://libjpeg-turbo.org), as it comes with Pillow; libheif
(https://github.com/strukturag/libheif) with the encoder x265 and the decoder libde265, as they come with pillow-heif.

Taught in lesson 01 (JPEG) and lesson 10 (the showdown).
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pillow_heif
from PIL import Image

from .. import images
from ..errors import BitstreamError, ImageError, SettingError
from ..registry import Codec
from . import jpeg
from .jpeg.tables import check_quality


class LibjpegCodec(Codec):
    """JPEG as libjpeg-turbo writes and reads it, through Pillow; the setting is the quality, from 1 to 100.

    Args:
        subsampling: "4:4:4", "4:2:2" or "4:2:0".
        optimize: make Huffman tables for each picture. The default is Pillow's: those of the standard, so that the
            files are as most programs write them, and a few per cent larger than necessary.

    Raises:
        SettingError: another subsampling.
    """

    name = "libjpeg"
    settings = jpeg.JpegCodec.settings

    def __init__(self, subsampling: str = "4:2:0", optimize: bool = False):
        if subsampling not in ("4:4:4", "4:2:2", "4:2:0"):
            raise SettingError(f"The subsampling of Pillow's JPEG is 4:4:4, 4:2:2 or 4:2:0, not {subsampling!r}.")
        self.subsampling, self.optimize = subsampling, optimize

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress ``image`` (uint8 [H, W, 3], a side has at most 65,500 pixels) into a ``.jpg`` file."""
        image, quality = images.as_image(image), check_quality(setting)
        if max(image.shape) > 65500:
            raise ImageError(
                f"A picture of {image.shape[1]} x {image.shape[0]} pixels is too large for libjpeg (65,500 a side)."
            )
        file = io.BytesIO()
        options = {"quality": quality, "subsampling": self.subsampling, "optimize": self.optimize}
        Image.fromarray(image).save(file, "JPEG", **options)
        return file.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture with libjpeg.

        Raises:
            BitstreamError: not a JPEG file, or damaged so that libjpeg notices.
        """
        if data[:2] != b"\xff\xd8":
            raise BitstreamError("This is not a JPEG file: it does not begin with the bytes FF D8.")
        try:
            return images.load(data)
        except ImageError as error:
            raise BitstreamError(f"libjpeg cannot decode this file. {error}") from error

    @staticmethod
    def ledger(data: bytes) -> dict[str, int]:
        """Say where each byte went, see :func:`.jpeg.ledger`."""
        return jpeg.ledger(data)

    @staticmethod
    def describe(data: bytes) -> list[tuple[str, str]]:
        """Return the segments with their fields in words, see :func:`.jpeg.describe`."""
        return jpeg.describe(data)


class HeicCodec(Codec):
    """HEVC intra as x265 writes it, in .heic files, through libheif; the setting is libheif's quality, from 0 to 100.

    libheif gives x265 the rate factor (100 - quality) / 2, rounded down, which steers QP: 8 units of quality are 4 of
    the rate factor. The colour transform is BT.601, full range. Our defaults are those of a fair anchor for PSNR over
    RGB: all of the chroma, and x265 tuned for PSNR (libheif's default is 4:2:0, tuned for SSIM). At 4:4:4 x265 would
    also code the chroma with QP + 6, which suits the eye but costs 9 % of rate at equal PSNR: we ask for QP - 1,
    because an offset of 0 is what it takes for "not given".

    Args:
        chroma: "4:4:4" or "4:2:0".
        preset: of x265, from "ultrafast" to "placebo"; slower ones search more.
        tune: of x265, "psnr" or "ssim".

    Raises:
        SettingError: another chroma, preset or tune.
    """

    name = "heic"
    settings = (8, 14, 20, 26, 32, 38, 44, 50)

    def __init__(self, chroma: str = "4:4:4", preset: str = "slow", tune: str = "psnr"):
        for what, value, known in (("chroma", chroma, _CHROMA[1:4:2]), ("preset", preset, _PRESETS)):
            if value not in known:
                raise SettingError(f"The {what} of codec 'heic' is one of {', '.join(known)}, not {value!r}.")
        if tune not in ("psnr", "ssim"):
            raise SettingError(f"x265 is tuned for 'psnr' or 'ssim' here, not {tune!r}.")
        self.chroma, self.preset, self.tune = chroma, preset, tune

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        """Compress ``image`` (uint8 [H, W, 3]) into a ``.heic`` file."""
        image, quality = images.as_image(image), _check_heic_quality(setting)
        height, width = image.shape[:2]
        file = io.BytesIO()
        options = {"preset": self.preset, "tune": self.tune}
        if self.chroma == "4:4:4":
            options |= {"x265:cbqpoffs": "-1", "x265:crqpoffs": "-1"}
        try:
            pillow_heif.encode(
                "RGB", (width, height), image.tobytes(), file,
                quality=quality, subsampling=self.chroma, enc_params=options,
            )  # fmt: skip
        except _HEIF_ERRORS as error:
            raise ImageError(
                f"libheif cannot encode a picture of {width} x {height} pixels: {str(error).rstrip('.')}."
            ) from error
        return file.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """Rebuild the picture with libheif.

        Raises:
            BitstreamError: not a HEIC file, incomplete, too large, or damaged so that libheif notices.
        """
        _boxes(data)  # a file that was cut off is an error, even if enough is there for a picture
        try:
            file = pillow_heif.open_heif(data)
            if not len(file):
                raise BitstreamError("The HEIC file is damaged: there is no picture in it.")
            if file.size[0] * file.size[1] > images.MAX_PIXELS:
                raise BitstreamError(f"The HEIC file claims {file.size[0]} x {file.size[1]} pixels, which is too many.")
            return images.as_image(np.asarray(file.to_pillow().convert("RGB")))
        except _HEIF_ERRORS as error:
            raise BitstreamError(f"libheif cannot decode this file: {str(error).rstrip('.')}.") from error

    @staticmethod
    def ledger(data: bytes) -> dict[str, int]:
        """Bytes of each type of box, headers included; those of boxes that hold boxes are "box headers"."""
        found: dict[str, int] = {}
        for kind, payload in _boxes(data):
            if kind == "mdat":
                found["coded picture (mdat)"] = found.get("coded picture (mdat)", 0) + len(payload)
            else:
                found[kind] = found.get(kind, 0) + 8 + len(payload)
        return found | {"box headers": len(data) - sum(found.values())}

    @staticmethod
    def describe(data: bytes) -> list[tuple[str, str]]:
        """Return the fields that matter: brand, size, chroma, bit depth, colour transform, length of the data."""
        fields = []
        for kind, payload in _boxes(data):
            if kind == "ftyp":
                fields.append(("brand", repr(payload[:4].decode("latin-1"))))
            elif kind == "ispe" and len(payload) >= 12:
                width, height = (int.from_bytes(payload[at : at + 4], "big") for at in (4, 8))
                fields.append(("height x width", f"{height} x {width} pixels"))
            elif kind == "hvcC" and len(payload) >= 19:  # ISO/IEC 14496-15, 8.3.3.1
                fields.append(("chroma", _CHROMA[payload[16] & 3]))
                fields.append(("bits per sample", f"{8 + (payload[17] & 7)}"))
            elif kind == "colr" and payload[:4] == b"nclx" and len(payload) >= 11:
                matrix = int.from_bytes(payload[8:10], "big")
                span = "full" if payload[10] & 128 else "limited"
                fields.append(("colour", f"matrix {_MATRICES.get(matrix, matrix)}, {span} range"))
            elif kind == "mdat":
                fields.append(("coded picture", f"{len(payload):,} bytes"))
        return fields


_CHROMA = ("greyscale", "4:2:0", "4:2:2", "4:4:4")  # by chroma_format_idc of H.265
_MATRICES = {1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}  # by matrix_coefficients of H.273
_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_HEIF_ERRORS = (ValueError, RuntimeError, EOFError, SyntaxError, OSError)
_HOLDS_BOXES = {"meta": 4, "iprp": 0, "ipco": 0}  # bytes before the first box inside


def _check_heic_quality(setting: float) -> int:
    if isinstance(setting, (int, float, np.number)) and 0 <= setting <= 100 and setting == int(setting):
        return int(setting)
    raise SettingError(f"The quality of codec 'heic' is a whole number from 0 to 100, not {setting!r}.")


def _boxes(data: bytes) -> list[tuple[str, bytes]]:
    """Return (type, payload) of the boxes that hold no boxes, in file order."""
    if data[4:11] != b"ftyphei":
        raise BitstreamError("This is not a HEIC file: it does not begin with a box 'ftyp' of brand 'heic' or 'heix'.")
    return list(_walk(data, 0, len(data)))


def _walk(data: bytes, start: int, end: int) -> Iterator[tuple[str, bytes]]:
    while start < end:
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8].decode("latin-1")
        inside, stop = start + 8, start + length
        if length < 8 or stop > end:
            raise BitstreamError("The HEIC file is damaged or incomplete: a box in it points past its end.")
        if kind in _HOLDS_BOXES:
            yield from _walk(data, inside + _HOLDS_BOXES[kind], stop)
        else:
            yield kind, data[inside:stop]
        start = stop
