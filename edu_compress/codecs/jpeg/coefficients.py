"""What stands between pixels and bits in JPEG: the quantised coefficients of a picture.

Everything on the pixels' side of them loses information, nothing on the bits' side does::

    image --encoder.to_coefficients--> Coefficients --encoder.write_coefficients--> file
    image <--------decoder------------ Coefficients <---decoder.read_coefficients--- file

Invariant: ``read_coefficients(write_coefficients(c))`` has the same numbers as ``c``.

Taught in lesson 01.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Component:
    """One of the planes that a picture consists of, most often Y, Cb or Cr.

    Attributes:
        identifier: its number in the file; usually 1 for Y, 2 for Cb, 3 for Cr.
        h, v: sampling factors: it has ceil(W h / h_max) columns and ceil(H v / v_max) rows of samples (T.81, A.1.1).
        quantisation: int64 [8, 8], the quantisation table.
        coefficients: int16 [rows, cols, 8, 8], quantised, in natural order (vertical frequency, horizontal frequency).
    """

    identifier: int
    h: int
    v: int
    quantisation: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True)
class Coefficients:
    """Everything in a file that makes its picture.

    Attributes:
        process: "baseline", "extended sequential" or "progressive".
        height, width: in pixels.
        colour_space: what the components are: "grey", "YCbCr", "RGB", "CMYK" or "YCCK".
        components: 1, 3 or 4 of them.
    """

    process: str
    height: int
    width: int
    colour_space: str
    components: tuple[Component, ...]
