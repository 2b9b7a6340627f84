r"""The discrete cosine transform (DCT-II): a block of pixels as a sum of cosine waves.

Neighbouring pixels are alike, so most of a block's energy is in a few slow waves, and the many coefficients of fast
waves are near zero: cheap to code, or to leave out. The transform itself loses nothing. In one dimension, with N = 8,

    X[u] = c(u) * sum over x of  s[x] cos((2x + 1) u pi / 2N),     c(0) = sqrt(1/N),  c(u) = sqrt(2/N)

or X = C s with the matrix ``C = dct_matrix(8)``. C is orthonormal, C Cᵀ = I: its transpose is its inverse, and a
quantisation error has the same energy in coefficients as in pixels (Parseval). In two dimensions the same waves go
along the rows and then along the columns; this is what *separable* means, and makes 2 x 8 products of each sample
instead of 64::

    block s        along the rows      along the columns    coefficients S
    [..., 8, 8] --> s Cᵀ -----------> C (s Cᵀ) -----------> [..., 8, 8]
    y down,                                                 vertical frequency v down,
    x right                                                 horizontal frequency u right; S[0, 0] is "DC"

:func:`dct2` multiplies by the matrix. :func:`dct_fast` follows the flow graph of Loeffler, Ligtenberg and Moschytz:
11 multiplications for 8 samples instead of 64, the least possible. It is how a codec in C or silicon does it; NumPy
spends its time on moving arrays, so that here the matrix is the faster one, and the one that our codecs use.

Invariants: ``idct2(dct2(x)) == x`` and ``dct_fast(x) == dct2(x)`` up to rounding (1e-10);
``sum(dct2(x)**2) == sum(x**2)``.

References:
    Ahmed, Natarajan, Rao, "Discrete cosine transform", IEEE Trans. Computers C-23 (1974), 90-93.
    Loeffler, Ligtenberg, Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989,
    988-991, figure 1. ITU-T T.81, clause A.3.3, defines the same two-dimensional DCT.

Taught in lesson 01; lesson 03 uses other sizes of the matrix.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def dct_matrix(n: int = 8) -> np.ndarray:
    """Return the orthonormal DCT-II as a matrix: float64 [n, n], read-only; row u is the wave of frequency u."""
    u, x = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = np.sqrt(2 / n) * np.cos((2 * x + 1) * u * np.pi / (2 * n))
    matrix[0] /= np.sqrt(2)
    matrix.setflags(write=False)  # it is shared: see lru_cache
    return matrix


def dct2(blocks: np.ndarray) -> np.ndarray:
    """Transform square blocks, float64 [..., n, n] -> [..., n, n]: S = C s Cᵀ."""
    matrix = dct_matrix(blocks.shape[-1])
    return _along_rows(_along_rows(blocks, matrix).swapaxes(-1, -2), matrix).swapaxes(-1, -2)


def idct2(coefficients: np.ndarray) -> np.ndarray:
    """Invert :func:`dct2`: s = Cᵀ S C."""
    matrix = dct_matrix(coefficients.shape[-1]).T
    return _along_rows(_along_rows(coefficients, matrix).swapaxes(-1, -2), matrix).swapaxes(-1, -2)


def _along_rows(blocks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Multiply each row by the matrix. All rows of all blocks make one tall matrix: one product, not one a block."""
    rows = np.asarray(blocks, dtype=np.float64).reshape(-1, blocks.shape[-1])
    return (rows @ matrix.T).reshape(blocks.shape)


# --- the fast form ----------------------------------------------------------------------------


def dct_fast(blocks: np.ndarray) -> np.ndarray:
    """Transform blocks of 8 x 8 with the fewest multiplications; the same result as :func:`dct2`."""
    blocks = np.asarray(blocks, dtype=np.float64)
    return _fast_rows(_fast_rows(blocks).swapaxes(-1, -2)).swapaxes(-1, -2) / 8  # sqrt(8) from each direction


def idct_fast(coefficients: np.ndarray) -> np.ndarray:
    """Invert :func:`dct_fast`: the same flow graph from right to left."""
    coefficients = np.asarray(coefficients, dtype=np.float64)
    return _fast_rows_inverse(_fast_rows_inverse(coefficients).swapaxes(-1, -2)).swapaxes(-1, -2) / 8


def _butterfly(a, b):
    """The sum and the difference. Done twice it gives twice its input: it is its own inverse but for the 2."""
    return a + b, a - b


def _rotate(a, b, eighths: float, scale: float = 1.0):
    """Turn the point (a, b) clockwise by ``eighths`` of a quarter turn: 3 multiplications, not 4, and 3 additions."""
    angle = eighths * np.pi / 16
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)  # constants: a codec has them in a table
    shared = cos * (a + b)
    return shared + (sin - cos) * b, shared - (sin + cos) * a


def _fast_rows(x: np.ndarray) -> np.ndarray:
    """Transform rows of 8 samples, times sqrt(8)."""
    # Stage 1: mirror images. The even waves are symmetric and see only the sums, the odd ones only the differences.
    (s0, d0), (s1, d1), (s2, d2), (s3, d3) = (_butterfly(x[..., i], x[..., 7 - i]) for i in range(4))
    # The even half is a DCT of 4 samples, and splits once more in the same way.
    (p0, q0), (p1, q1) = _butterfly(s0, s3), _butterfly(s1, s2)
    X0, X4 = _butterfly(p0, p1)
    X2, X6 = _rotate(q1, q0, 6, np.sqrt(2))
    # The odd half: two rotations, then butterflies.
    (r3, r0), (r2, r1) = _rotate(d3, d0, 3), _rotate(d2, d1, 1)
    (t3, t1), (t0, t2) = _butterfly(r3, r1), _butterfly(r0, r2)
    X1, X7 = _butterfly(t0, t3)
    X3, X5 = np.sqrt(2) * t2, np.sqrt(2) * t1
    return np.stack([X0, X1, X2, X3, X4, X5, X6, X7], axis=-1)


def _fast_rows_inverse(X: np.ndarray) -> np.ndarray:
    """Transform rows of 8 coefficients back, times sqrt(8): every step undone, the last one first."""
    X0, X1, X2, X3, X4, X5, X6, X7 = np.moveaxis(X, -1, 0)
    t0, t3 = _butterfly(X1, X7)
    t2, t1 = np.sqrt(2) * X3, np.sqrt(2) * X5
    (r3, r1), (r0, r2) = _butterfly(t3, t1), _butterfly(t0, t2)
    (d3, d0), (d2, d1) = _rotate(r3, r0, -3), _rotate(r2, r1, -1)
    q1, q0 = _rotate(X2, X6, -6, np.sqrt(2))
    p0, p1 = _butterfly(X0, X4)
    (s0, s3), (s1, s2) = _butterfly(p0, q0), _butterfly(p1, q1)
    pairs = [_butterfly(s, d) for s, d in ((s0, d0), (s1, d1), (s2, d2), (s3, d3))]
    return np.stack([left for left, _ in pairs] + [right for _, right in reversed(pairs)], axis=-1)
