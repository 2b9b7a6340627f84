"""The DCT against SciPy's, and the properties that the lessons rely on."""

import numpy as np
import pytest
import scipy.fft

from edu_compress import dct

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("transform", [dct.dct2, dct.dct_fast])
@pytest.mark.parametrize("shape", [(8, 8), (5, 8, 8), (3, 4, 8, 8), (0, 8, 8)])
def test_forward_equals_scipy(transform, shape):
    blocks = RNG.uniform(-128, 127, shape)
    expected = scipy.fft.dctn(blocks, axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(transform(blocks), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("transform", [dct.idct2, dct.idct_fast])
def test_inverse_equals_scipy(transform):
    coefficients = RNG.uniform(-1024, 1023, (6, 8, 8))
    expected = scipy.fft.idctn(coefficients, axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(transform(coefficients), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 32])
def test_other_sizes(n):
    blocks = RNG.uniform(-128, 127, (3, n, n))
    np.testing.assert_allclose(dct.dct_matrix(n) @ dct.dct_matrix(n).T, np.eye(n), atol=1e-14)
    np.testing.assert_allclose(dct.dct2(blocks), scipy.fft.dctn(blocks, axes=(-2, -1), norm="ortho"), atol=1e-10)
    np.testing.assert_allclose(dct.idct2(dct.dct2(blocks)), blocks, atol=1e-10)


def test_integers_are_welcome():
    blocks = RNG.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    for forward, inverse in ((dct.dct2, dct.idct2), (dct.dct_fast, dct.idct_fast)):
        np.testing.assert_allclose(inverse(forward(blocks)), blocks, atol=1e-10)


def test_energy_is_kept():
    blocks = RNG.normal(size=(10, 8, 8))
    np.testing.assert_allclose((dct.dct2(blocks) ** 2).sum(), (blocks**2).sum())


def test_flat_block_is_dc_only():
    coefficients = dct.dct2(np.full((8, 8), 10.0))
    assert coefficients[0, 0] == pytest.approx(80)
    coefficients[0, 0] = 0
    np.testing.assert_allclose(coefficients, 0, atol=1e-12)


def test_rows_run_down_and_columns_across():
    wave_across = np.tile(dct.dct_matrix(8)[3], (8, 1))  # changes along x only
    peak = np.unravel_index(np.argmax(np.abs(dct.dct2(wave_across))), (8, 8))
    assert peak == (0, 3)


def test_the_matrix_is_shared_and_so_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        dct.dct_matrix(8)[0, 0] = 1


class _CountedNumber:
    """A number that counts how often numbers of its kind are multiplied."""

    multiplications = 0

    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        return _CountedNumber(self.value + other.value)

    def __sub__(self, other):
        return _CountedNumber(self.value - other.value)

    def __rmul__(self, factor):
        _CountedNumber.multiplications += 1
        return _CountedNumber(factor * self.value)


def test_fast_form_needs_eleven_multiplications():
    samples = RNG.normal(size=8)
    _CountedNumber.multiplications = 0
    transformed = dct._fast_rows(np.array([_CountedNumber(sample) for sample in samples], dtype=object))
    assert _CountedNumber.multiplications == 11
    expected = np.sqrt(8) * scipy.fft.dct(samples, norm="ortho")
    np.testing.assert_allclose([number.value for number in transformed], expected, atol=1e-12)
