"""The lossless codec: exact for every picture, smaller than PNG, and the same bytes on every machine."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from elsewhere import NO_EXTRAS, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edu_compress import BitstreamError, ImageError, SettingError, images, open_codec
from edu_compress.codecs.lossless import _END_MARK, LEAST_BITS, MAX_SIDE, TABLES, LosslessCodec
from edu_compress.container import Container
from edu_compress.entropy_coding import FastDecoder

codec = LosslessCodec()


def picture(kind, height, width, seed=0):
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    grey = {
        "noise": rng.integers(0, 256, (height, width, 3)),
        "black or white": 255 * rng.integers(0, 2, (height, width, 3)),  # the largest residuals there are
        "flat": np.broadcast_to(rng.integers(0, 256, 3), (height, width, 3)),
        "checkerboard": 255 * ((row + column) % 2),
        "ramp": (3 * row + 2 * column) % 256,
        "lines": 200 * (row % 5 == 0),
    }[kind]
    if grey.ndim == 2:
        grey = np.repeat(grey[:, :, None], 3, axis=2)
    return grey.astype(np.uint8)


KINDS = ["noise", "black or white", "flat", "checkerboard", "ramp", "lines"]


@given(st.sampled_from(KINDS), st.integers(1, 24), st.integers(1, 24), st.integers(0, 1000))
@settings(max_examples=60)
def test_every_picture_comes_back_exactly(kind, height, width, seed):
    image = picture(kind, height, width, seed)
    np.testing.assert_array_equal(codec.decode(codec.encode(image, 0)), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (2, 150), (150, 2), (3, 3)])
def test_thin_and_tiny_pictures(size):
    image = picture("noise", *size)
    np.testing.assert_array_equal(codec.decode(codec.encode(image, 0)), image)


def test_a_picture_higher_than_wide_is_coded_on_its_side():
    image = picture("noise", 30, 12)
    high, wide = (Container.unpack(codec.encode(turned)) for turned in (image, image.swapaxes(0, 1)))
    assert (high.height, high.width) == (30, 12)
    assert high.sections == wide.sections
    assert codec.decode(high.pack()).flags.c_contiguous


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee", "motorcycle"])
def test_photographs_come_back_exactly_and_are_much_smaller_than_png(name):
    image = images.sample(name)[40:240, 60:360]
    data = codec.encode(image, 0)
    np.testing.assert_array_equal(codec.decode(data), image)
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG", optimize=True)
    assert len(data) < 0.85 * len(png.getvalue())


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_coder_makes_and_reads_the_same_file(kind):
    image = picture(kind, 20, 30)
    data = codec.encode(image, 0)
    ours = open_codec("lossless", our_coder=True)
    assert ours.encode(image, 0) == data
    np.testing.assert_array_equal(ours.decode(data), image)


GOLDEN = "0c401bb86fab5c6e1a3e3e24a1ef74f95f598efc9d1efd4d8e860a224b4e98b4"  # made on Linux, x86-64 with AVX-512


def digest_of_files() -> str:
    pictures = [images.sample("coffee")[100:137, 200:251]]  # none with random numbers: NumPy may change its generators
    pictures += [picture(kind, 37, 51) for kind in ("checkerboard", "ramp", "lines")]
    return hashlib.sha256(b"".join(codec.encode(image, 0) for image in pictures)).hexdigest()


def test_files_are_the_same_on_this_machine():
    assert digest_of_files() == GOLDEN


def test_files_are_the_same_without_the_wide_instructions_of_this_machine():
    code = "import test_lossless as t; print(t.digest_of_files())"
    assert run_python(code, NPY_DISABLE_CPU_FEATURES=NO_EXTRAS) == GOLDEN


def test_no_sample_costs_less_than_the_bound_that_sizes_are_checked_with():
    assert min(float(table.bits(np.arange(len(table))).min()) for table in TABLES) > LEAST_BITS
    for height, width in [(300, 300), (1, 2000), (700, 200)]:  # the emptiest pictures are not refused
        image = np.full((height, width, 3), 255, np.uint8)
        data = codec.encode(image, 0)
        assert len(data) < 200 + height * width / 300
        np.testing.assert_array_equal(codec.decode(data), image)


def test_the_end_mark_keeps_the_stream_from_running_dry_before_the_end():
    number = int(_END_MARK[0][0]) - TABLES[0].first
    assert TABLES[0].interval(number)[0] > 0
    data = codec.encode(picture("flat", 5, 5), 0)
    assert not FastDecoder(Container.unpack(data).sections["residuals"]).exhausted


def test_there_is_nothing_to_set():
    with pytest.raises(SettingError, match="use 0"):
        codec.encode(picture("flat", 2, 2), 3)


def test_a_side_has_a_limit():
    with pytest.raises(ImageError, match="65,535"):
        codec.encode(np.zeros((MAX_SIDE + 1, 1, 3), np.uint8))


# --- files that lie -----------------------------------------------------------------------------

SMALL = Container.unpack(codec.encode(images.sample("coffee")[:30, :40], 0))


def with_stream(stream):
    return replace(SMALL, sections={"residuals": stream}).pack()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (replace(SMALL, sections={}).pack(), "one section"),
        (replace(SMALL, setting=1.0).pack(), "setting 0"),
        (replace(SMALL, weights="x").pack(), "no weights"),
        (replace(SMALL, height=0).pack(), "a picture has"),
        (replace(SMALL, height=20_000, width=20_000).pack(), "a picture has"),
        (replace(SMALL, height=9_000, width=9_000).pack(), "bytes can hold"),
        (replace(SMALL, height=MAX_SIDE + 1, width=1).pack(), "a side has"),
        (replace(SMALL, height=29).pack(), "damaged"),
        (replace(SMALL, height=31).pack(), "damaged|incomplete"),
        (with_stream(SMALL.sections["residuals"][:-4]), "damaged|incomplete"),
        (with_stream(SMALL.sections["residuals"][-40:]), "damaged|incomplete"),
        (with_stream(b"\1\0\0\0" + SMALL.sections["residuals"]), "left over|damaged"),
        (with_stream(b""), "bytes can hold"),
    ],
)
def test_lies_are_found(data, sentence):
    with pytest.raises(BitstreamError, match=sentence):
        codec.decode(data)


def test_data_that_end_early_stop_the_decoder_soon():
    flat = Container.unpack(codec.encode(np.zeros((200, 300, 3), np.uint8), 0))
    stream = flat.sections["residuals"]
    claim = 8 * len(stream) / LEAST_BITS / 3  # pixels: as much as may be claimed
    with pytest.raises(BitstreamError, match="end too early"):
        codec.decode(replace(flat, height=int(claim**0.5), width=int(claim**0.5)).pack())
