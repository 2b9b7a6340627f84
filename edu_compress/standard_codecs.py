r"""Other people's codecs behind the interface of the course: what ours are measured against.

::

    image --> the library's encoder --> a standard file --> the library's decoder --> image

Nothing here is our own work but the wrapping: settings in the codec's native unit, errors in one sentence, and a
ledger, which our own reader of the format writes.

References: libjpeg-turbo (https://libjpeg-turbo.org), as it comes with Pillow.

Taught in lesson 01 (JPEG) and lesson 10 (the showdown).
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from . import images, jpeg
from .errors import BitstreamError, ImageError, SettingError
from .jpeg.tables import check_quality


class LibjpegCodec:
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

    def ledger(self, data: bytes) -> dict[str, int]:
        """Say where each byte went, see :func:`.jpeg.ledger`."""
        return jpeg.ledger(data)

    def describe(self, data: bytes) -> list[tuple[str, str]]:
        """Return the segments with their fields in words, see :func:`.jpeg.describe`."""
        return jpeg.describe(data)
