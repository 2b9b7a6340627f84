r"""Pictures in and out: files, colour spaces, blocks.

Every codec of the course starts from the same array and ends at the same array::

    any picture file          image                planes             blocks
    path, bytes, file --load--> uint8 [H, W, 3] ----> float64 [H, W] ----> [H/8, W/8, 8, 8]
    PNG, JPEG, WebP ... <-save-- sRGB, 0 ... 255 <---- Y, Cb, Cr      <----
                                      |    rgb_to_ycbcr    pad, to_blocks
                                      |    ycbcr_to_rgb    from_blocks, crop
                              metrics compare here

An *image* in this course is a NumPy array of type uint8 and shape [H, W, 3]: rows from the top, red, green, blue.
Files of other kinds are brought to this form when they are read: see :func:`load`.

Invariants: ``load`` after ``save`` gives the same array; ``crop(pad(x, n), *x.shape[:2]) == x``;
``from_blocks(to_blocks(x)) == x``; ``ycocg_r_to_rgb(rgb_to_ycocg_r(x)) == x``. An output file is written whole or
not at all.

References:
    JFIF: ITU-T T.871 (2011), clause 7 (YCbCr of 8-bit RGB, full range, with the luma weights of ITU-R BT.601).
    YCoCg-R: Malvar, Sullivan, Srinivasan, "Lifting-based reversible color transformations for image compression",
    Proc. SPIE 7073 (2008).

Taught in lesson 00 (pictures) and lesson 01 (colour, blocks).
"""

from __future__ import annotations

import importlib.util
import io
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import files
from .errors import ImageError

MAX_PIXELS = 100_000_000
"""The largest picture that the course opens. A few bytes of file can claim any size: we look before we decode."""

_SAVE_OPTIONS: dict[str, dict] = {
    ".png": {"format": "PNG"},
    ".bmp": {"format": "BMP"},
    ".ppm": {"format": "PPM"},
    ".tif": {"format": "TIFF", "compression": "tiff_lzw"},
    ".tiff": {"format": "TIFF", "compression": "tiff_lzw"},
    ".webp": {"format": "WEBP", "lossless": True},
}

# The course's photographs: files inside the installed scikit-image, so that no lesson needs a network.
_SAMPLES = {
    "astronaut": "astronaut.png",  # 512 x 512, NASA, public domain
    "cat": "chelsea.png",  # 451 x 300, Stefan van der Walt, CC0
    "coffee": "coffee.png",  # 600 x 400, Rachel Michetti, CC0
    "rocket": "rocket.jpg",  # 640 x 427, SpaceX, public domain; was a JPEG before
    "motorcycle": "motorcycle_left.png",  # 741 x 500, Middlebury stereo data set 2014
    "hubble": "hubble_deep_field.jpg",  # 1000 x 872, NASA, public domain; was a JPEG before
    "camera": "camera.png",  # 512 x 512, greyscale, Lav Varshney, CC0
}


# --- reading ----------------------------------------------------------------------------------


def load(source: str | os.PathLike | bytes | BinaryIO) -> np.ndarray:
    """Read a picture of any common format as RGB.

    Greyscale is repeated over the three channels; a palette is looked up; transparent parts are laid on white;
    16-bit samples are scaled to 8 bits, not clipped; CMYK is converted without a profile; the rotation in the EXIF
    data is carried out. Of an animation, the first frame is taken. An embedded colour profile is ignored: as in the
    evaluation scripts of the field, the numbers in the file count, and are taken for sRGB.

    Args:
        source: a path, the bytes of a file, or a file opened in binary mode.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: missing, not a picture, damaged, incomplete, or more than :data:`MAX_PIXELS` pixels.
    """
    name = str(source) if isinstance(source, str | os.PathLike) else "the picture"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is our limit, and an error
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
                _check_size(picture.height, picture.width)  # so far only the header has been read
                ImageOps.exif_transpose(picture, in_place=True)
                return as_image(_to_rgb(picture))
    except Exception as error:  # the parsers of some forty formats: a damaged byte can raise anything in them
        raise ImageError(f"Cannot read {name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Say in words why a picture could not be read."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "it is empty, or not a picture of a known format (PNG, JPEG, WebP ...)."
    if isinstance(error, Image.DecompressionBombError):  # Pillow's own limit, above ours
        return f"it has more than {MAX_PIXELS:,} pixels; make it smaller first."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"it is damaged, incomplete or of an unusual kind ({error})."


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """Return the pixels of an open Pillow picture as uint8 [H, W, 3], or [H, W] for 16-bit greyscale."""
    if picture.mode == "F":
        raise ImageError("its pixels are real numbers of unknown range; save it with 8 or 16 bits per sample first.")
    if picture.mode.startswith("I"):  # 16-bit greyscale; Pillow itself would clip it to 255
        grey = np.asarray(picture).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ImageError("its samples have 32 bits; save it with 8 or 16 bits per sample first.")
        if (transparent := picture.info.get("transparency")) is not None:
            grey[grey == transparent] = 65535
        return ((grey * 255 + 32767) // 65535).astype(np.uint8)
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture.convert("RGBA"))
        picture = paper
    return np.array(picture.convert("RGB"))


def as_image(array: np.ndarray) -> np.ndarray:
    """Check that ``array`` is an image of the course, and return it; greyscale is widened to three channels.

    Args:
        array: uint8 [H, W, 3] or [H, W].

    Raises:
        ImageError: another type or shape, no pixels, or more than :data:`MAX_PIXELS`.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise ImageError(f"An image has samples of type uint8 (0 to 255), not {array.dtype}; images.to_uint8 converts.")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(f"An image has shape [height, width, 3], not {list(array.shape)}.")
    _check_size(*array.shape[:2])
    return array


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"An array of {width} x {height} pixels is no picture; it needs at least 1 x 1.")
    if height * width > MAX_PIXELS:
        raise ImageError(f"The picture has {width} x {height} pixels, more than {MAX_PIXELS:,}; make it smaller first.")


def sample_names() -> list[str]:
    """Return the names of the course's photographs; the first is the one that lessons use by default."""
    return list(_SAMPLES)


def sample(name: str) -> np.ndarray:
    """Return a photograph of the course by name, uint8 [H, W, 3].

    The files lie inside the scikit-image package. They are found without importing it, which would take longer
    than reading them, and without its downloader.

    Raises:
        ImageError: no such photograph, or scikit-image is not installed.
    """
    if name not in _SAMPLES:
        raise ImageError(f"There is no sample photograph {name!r}; choose one of: {', '.join(_SAMPLES)}.")
    package = importlib.util.find_spec("skimage")
    if package is None:
        raise ImageError("The sample photographs are part of scikit-image: pip install scikit-image.")
    return load(Path(package.submodule_search_locations[0]) / "data" / _SAMPLES[name])


# --- writing ----------------------------------------------------------------------------------


def save(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image without loss; the ending of the name chooses the format, PNG if it has none.

    Args:
        path: ``.png``, ``.bmp``, ``.ppm``, ``.tif``, ``.tiff`` or ``.webp`` (in its lossless mode).
        image: uint8 [H, W, 3].

    Raises:
        CodecError: another ending, not an image, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower() or ".png"
    if suffix not in _SAVE_OPTIONS:
        raise ImageError(f"Pictures are saved without loss, as {', '.join(_SAVE_OPTIONS)}; not as {suffix} ({path}).")
    encoded = io.BytesIO()
    Image.fromarray(as_image(image)).save(encoded, **_SAVE_OPTIONS[suffix])
    files.write_atomically(path, encoded.getvalue())


# --- colour -----------------------------------------------------------------------------------

# ITU-T T.871, clause 7: luma weights of BT.601; Cb and Cr are B - Y and R - Y scaled to the range of one byte.
_KR, _KG, _KB = 0.299, 0.587, 0.114
_RGB_TO_YCBCR = np.array(
    [
        [_KR, _KG, _KB],
        [-_KR / (2 - 2 * _KB), -_KG / (2 - 2 * _KB), 0.5],
        [0.5, -_KG / (2 - 2 * _KR), -_KB / (2 - 2 * _KR)],
    ]
)
_YCBCR_TO_RGB = np.linalg.inv(_RGB_TO_YCBCR)
_CHROMA_OFFSET = np.array([0.0, 128.0, 128.0])


def rgb_to_ycbcr(image: np.ndarray) -> np.ndarray:
    """Convert RGB to the YCbCr of JPEG files (JFIF: full range, BT.601 weights), without rounding.

    Args:
        image: [..., 3], 0 to 255.

    Returns:
        float64 [..., 3]: Y from 0 to 255; Cb and Cr from 0.5 to 255.5, 128 for grey.
    """
    return np.asarray(image, dtype=np.float64) @ _RGB_TO_YCBCR.T + _CHROMA_OFFSET


def ycbcr_to_rgb(planes: np.ndarray) -> np.ndarray:
    """Invert :func:`rgb_to_ycbcr`; float64 [..., 3], neither rounded nor clipped (see :func:`to_uint8`)."""
    return (np.asarray(planes, dtype=np.float64) - _CHROMA_OFFSET) @ _YCBCR_TO_RGB.T


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Round to the nearest grey level (halves upwards) and clip to 0 ... 255.

    Never ``x.astype(np.uint8)`` alone: that cuts the fraction off, half a grey level too dark on average, and wraps
    256 to 0.
    """
    return np.clip(np.floor(np.asarray(x) + 0.5), 0, 255).astype(np.uint8)


def rgb_to_ycocg_r(image: np.ndarray) -> np.ndarray:
    """Convert RGB to YCoCg-R by lifting steps, which integers can undo exactly (Malvar et al., 2008).

    Args:
        image: uint8 [..., 3].

    Returns:
        int32 [..., 3]: Y from 0 to 255, Co and Cg from -255 to 255 (one bit more than a byte).
    """
    red, green, blue = np.moveaxis(np.asarray(image, dtype=np.int32), -1, 0)
    orange = red - blue
    middle = blue + (orange >> 1)
    difference = green - middle
    return np.stack([middle + (difference >> 1), orange, difference], axis=-1)


def ycocg_r_to_rgb(planes: np.ndarray) -> np.ndarray:
    """Invert :func:`rgb_to_ycocg_r`: the same steps backwards, each with the opposite sign; uint8 [..., 3]."""
    luma, orange, difference = np.moveaxis(np.asarray(planes, dtype=np.int32), -1, 0)
    middle = luma - (difference >> 1)
    green = difference + middle
    blue = middle - (orange >> 1)
    return np.stack([blue + orange, green, blue], axis=-1).astype(np.uint8)


# --- blocks -----------------------------------------------------------------------------------


def pad(image: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last row and column until height and width are multiples of ``multiple``.

    Repeating, and not zeros, because an edge at the border would cost bits.

    Args:
        image: [H, W] or [H, W, C], any type.
        multiple: of pixels, at least 1.
    """
    height, width = image.shape[:2]
    padding = [(0, -height % multiple), (0, -width % multiple)] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, padding, mode="edge")


def crop(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Undo :func:`pad`: keep the top left ``height`` x ``width`` pixels.

    Raises:
        ImageError: the image is smaller than that.
    """
    if image.shape[0] < height or image.shape[1] < width:
        raise ImageError(f"Cannot crop {image.shape[1]} x {image.shape[0]} pixels to {width} x {height}.")
    return image[:height, :width]


def to_blocks(plane: np.ndarray, size: int = 8) -> np.ndarray:
    """Cut a plane into square blocks.

    Args:
        plane: [H, W], both multiples of ``size``: use :func:`pad` first.
        size: of a block, in pixels.

    Returns:
        a copy, [H/size, W/size, size, size]: ``blocks[i, j]`` is the block in block row i, block column j.

    Raises:
        ImageError: the plane cannot be cut into whole blocks.
    """
    height, width = plane.shape
    if height % size or width % size:
        raise ImageError(f"{width} x {height} pixels do not make whole blocks of {size} x {size}; pad the plane first.")
    rows = plane.reshape(height // size, size, width // size, size)  # (H/8, 8, W/8, 8)
    return rows.swapaxes(1, 2).copy()  # (H/8, W/8, 8, 8)


def from_blocks(blocks: np.ndarray) -> np.ndarray:
    """Put the blocks of :func:`to_blocks` back together: [H/size, W/size, size, size] -> [H, W]."""
    rows, columns, size, _ = blocks.shape
    return blocks.swapaxes(1, 2).reshape(rows * size, columns * size)
