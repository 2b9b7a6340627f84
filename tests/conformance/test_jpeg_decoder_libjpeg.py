"""Our JPEG decoder against libjpeg-turbo (by way of Pillow), on files of libjpeg, of other programs, and of ours.

What must be the same, and what may differ: the coefficients are exact. libjpeg's inverse DCT works with integers and
is sometimes 1 grey level off the exact one, so each component (Y, Cb, Cr) may differ by 1. In the conversion to RGB
such differences are multiplied by up to 1.772 and added up: 3 is then the most. Where the inverse DCT is a plain
division (blocks with a DC coefficient only), the upsampled components must be exactly libjpeg's.
"""

import io
import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import skimage
from PIL import Image

from edu_compress import images
from edu_compress.codecs.jpeg import decoder, encoder
from edu_compress.codecs.jpeg.coefficients import Coefficients, Component
from edu_compress.dct import dct2

SIZES = [(1, 1), (1, 40), (40, 1), (2, 3), (3, 5), (7, 9), (8, 8), (16, 17), (33, 6), (61, 83), (150, 200)]
QUALITIES = [1, 20, 50, 75, 90, 100]
SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
ODD_SAMPLINGS = {  # (h, v) of each component; some that cameras write, and some that only the standard knows
    "4:1:1": [(4, 1), (1, 1), (1, 1)],
    "4:4:0": [(1, 2), (1, 1), (1, 1)],
    "4:1:0": [(4, 2), (1, 1), (1, 1)],
    "4:2:0 written as 4:2:2 of double height": [(2, 2), (1, 1), (1, 1)],
    "4:2:2 with factors 2": [(2, 2), (1, 2), (1, 2)],
    "three to one": [(3, 1), (1, 1), (1, 1)],
    "rows by four": [(1, 4), (1, 1), (1, 1)],
    "Cb and Cr differ": [(2, 2), (2, 1), (1, 2)],
    "chroma finer than luma": [(1, 1), (2, 2), (2, 2)],
    "luma between": [(2, 1), (4, 1), (1, 1)],
    "all factors 3": [(3, 1), (3, 1), (3, 1)],
}


def photograph(height, width, name="coffee"):
    return images.sample(name)[90 : 90 + height, 150 : 150 + width]


def pillow(picture, mode="RGB", **options):
    out = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def by_libjpeg(data, mode="RGB"):
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def components_by_libjpeg(data):
    """The components of a YCbCr file after upsampling, before the conversion to RGB."""
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", None)
    assert image.mode == "YCbCr"
    return np.asarray(image)


def difference(a, b):
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b.astype(int))


def assert_like_libjpeg(data):
    """Compare the components and the picture of a YCbCr file, see above."""
    ours = np.stack(decoder.planes(decoder.read_coefficients(data)), axis=-1)
    assert difference(ours, components_by_libjpeg(data)).max() <= 1
    of_picture = difference(decoder.decode(data), by_libjpeg(data))
    assert of_picture.max() <= 3
    if of_picture.size > 10_000:
        assert of_picture.mean() < 0.06 and (of_picture > 1).mean() < 0.01


def assert_same_coefficients(a, b):
    for left, right in zip(a.components, b.components, strict=True):
        np.testing.assert_array_equal(left.coefficients, right.coefficients)
        np.testing.assert_array_equal(left.quantisation, right.quantisation)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_files_of_libjpeg(size, sampling):
    picture = photograph(*size)
    for quality in QUALITIES:
        options = dict(quality=quality, subsampling=SAMPLINGS[sampling])
        baseline, progressive = pillow(picture, **options), pillow(picture, progressive=True, **options)
        assert_like_libjpeg(baseline)
        assert_like_libjpeg(progressive)
        # Two ways through the file format, sharing hardly a line of code, to the same coefficients.
        assert_same_coefficients(decoder.read_coefficients(baseline), decoder.read_coefficients(progressive))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("options", [dict(restart_marker_blocks=1), dict(restart_marker_rows=1), dict(optimize=True)])
def test_restart_markers_and_own_tables(options, progressive):
    picture = photograph(61, 83)
    plain = decoder.read_coefficients(pillow(picture, quality=85))
    assert_same_coefficients(
        plain, decoder.read_coefficients(pillow(picture, quality=85, progressive=progressive, **options))
    )


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("mode", "options"), [("L", {}), ("CMYK", {}), ("RGB", {"keep_rgb": True})])
def test_grey_cmyk_and_rgb(mode, options, size, progressive):
    for quality in QUALITIES:
        data = pillow(photograph(*size), mode, quality=quality, progressive=progressive, **options)
        assert difference(decoder.decode(data), by_libjpeg(data)).max() <= 1


@pytest.mark.parametrize("transform", [0, 1, 2])
@pytest.mark.parametrize(("mode", "options"), [("CMYK", {}), ("RGB", {"keep_rgb": True})])
def test_adobe_colour_transforms(mode, options, transform):
    data = pillow(photograph(61, 83), mode, quality=90, **options)
    position = data.index(b"Adobe") + 11
    data = data[:position] + bytes([transform]) + data[position + 1 :]
    errors = difference(decoder.decode(data), by_libjpeg(data))
    assert errors.max() <= 3 and errors.mean() < 0.06


def test_colour_space_without_any_marker():
    """By the identifiers R, G, B; and with JFIF in the file, whatever else says: both as libjpeg does."""
    rgb = pillow(photograph(30, 40), quality=90, keep_rgb=True)
    adobe = rgb.index(b"\xff\xee")
    nothing = rgb[:adobe] + rgb[adobe + 16 :]
    assert decoder.read_coefficients(nothing).colour_space == "RGB"
    assert difference(decoder.decode(nothing), by_libjpeg(nothing)).max() <= 1
    jfif = pillow(photograph(30, 40), quality=90)
    both = jfif[:20] + rgb[adobe : adobe + 16] + jfif[20:]
    assert decoder.read_coefficients(both).colour_space == "YCbCr"
    assert difference(decoder.decode(both), by_libjpeg(both)).max() <= 3


def with_sampling(picture, factors, quality=90, dc_only=False):
    """Coefficients of a picture for any sampling factors: chroma by leaving samples out, which is good enough here."""
    h_max, v_max = (max(f[i] for f in factors) for i in (0, 1))
    height, width = picture.shape[:2]
    tables = [
        encoder.tables.scale_table(t, quality) for t in (encoder.tables.STANDARD_LUMA, encoder.tables.STANDARD_CHROMA)
    ]
    components = []
    for i, (h, v) in enumerate(factors):
        rows = np.arange(-(-height * v // v_max)) * v_max // v
        columns = np.arange(-(-width * h // h_max)) * h_max // h
        plane = images.rgb_to_ycbcr(picture)[..., i][rows][:, columns]
        steps = np.full((8, 8), 8) if dc_only else tables[min(i, 1)]
        quantised = encoder.quantise(dct2(encoder.level_shifted_blocks(plane)), steps)
        if dc_only:
            quantised[..., 1:] = quantised[..., 1:, :] = 0
        components.append(Component(i + 1, h, v, steps, quantised))
    return Coefficients("baseline", height, width, "YCbCr", tuple(components))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 9), (17, 16), (33, 6), (61, 83)], ids=str)
@pytest.mark.parametrize("sampling", ODD_SAMPLINGS)
def test_odd_sampling_factors(sampling, size):
    coefficients = with_sampling(photograph(*size), ODD_SAMPLINGS[sampling])
    data = encoder.write_coefficients(coefficients)
    assert_same_coefficients(decoder.read_coefficients(data), coefficients)
    assert_like_libjpeg(data)


@pytest.mark.parametrize("sampling", [*ODD_SAMPLINGS, "4:2:2"])
def test_upsampling_is_exactly_as_in_libjpeg(sampling):
    factors = ODD_SAMPLINGS.get(sampling, [(2, 1), (1, 1), (1, 1)])
    rng = np.random.default_rng(0)
    for height, width in itertools.product([1, 2, 8, 31, 97], [1, 4, 5, 6, 33, 100]):
        noise = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        picture = noise.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        data = encoder.write_coefficients(with_sampling(picture, factors, dc_only=True))
        ours = np.stack(decoder.planes(decoder.read_coefficients(data)), axis=-1)
        np.testing.assert_array_equal(ours, components_by_libjpeg(data))
        of_picture = difference(decoder.decode(data), by_libjpeg(data))  # libjpeg's 1.402 ... have 16 bits
        assert of_picture.max() <= 1 and (of_picture.size < 10_000 or of_picture.mean() < 0.001)


@pytest.mark.parametrize("subsampling", encoder.SUBSAMPLING)
@pytest.mark.parametrize("restart_interval", [0, 1, 5])
def test_our_own_files(subsampling, restart_interval):
    for size, quality in itertools.product(SIZES, [10, 90]):
        picture = photograph(*size)
        data = encoder.encode(picture, quality, subsampling, restart_interval=restart_interval)
        assert_same_coefficients(
            decoder.read_coefficients(data), encoder.to_coefficients(picture, quality, subsampling)
        )
        if subsampling == "4:0:0":
            assert difference(decoder.decode(data), by_libjpeg(data)).max() <= 1
        else:
            assert_like_libjpeg(data)


FILES_OF_OTHER_PROGRAMS = [
    *Path(skimage.__file__).parent.glob("data/*.jp*g"),
    *Path(matplotlib.get_data_path()).glob("sample_data/*.jp*g"),
]


@pytest.mark.parametrize("path", FILES_OF_OTHER_PROGRAMS, ids=lambda path: path.name)
def test_files_of_other_programs(path):
    data = path.read_bytes()
    assert_like_libjpeg(data)
    assert sum(segment.length for segment in decoder.read_segments(data)) == len(data)
