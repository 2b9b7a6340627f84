"""Pictures in and out: every kind of file becomes uint8 RGB or one clear sentence; nothing is half written."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from edu_compress import ImageError, images

GRADIENT = np.stack(np.meshgrid(np.arange(40) * 6, np.arange(30) * 8), axis=-1)  # (30, 40, 2)
PICTURE = np.dstack([GRADIENT, 255 - GRADIENT[..., :1]]).astype(np.uint8)  # (30, 40, 3)

pictures = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp", ".PNG", ""])
def test_what_is_saved_is_loaded_back_exactly(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    images.save(path, PICTURE)
    assert np.array_equal(images.load(path), PICTURE)


def test_a_picture_is_loaded_from_a_path_from_bytes_and_from_a_file(tmp_path):
    images.save(tmp_path / "a.png", PICTURE)
    data = (tmp_path / "a.png").read_bytes()
    with open(tmp_path / "a.png", "rb") as file:
        loaded = [images.load(source) for source in (str(tmp_path / "a.png"), tmp_path / "a.png", data, file)]
    assert all(np.array_equal(image, PICTURE) for image in loaded)


def test_greyscale_and_black_and_white_are_widened_to_three_channels():
    grey = PICTURE[..., 0]
    assert np.array_equal(images.load(encoded(Image.fromarray(grey))), np.dstack([grey] * 3))
    loaded = images.load(encoded(Image.fromarray(grey > 100)))
    assert np.array_equal(loaded[..., 1], np.where(grey > 100, 255, 0))


def test_a_palette_is_looked_up():
    colours = np.array([[10, 20, 30], [200, 100, 0]], dtype=np.uint8)
    indices = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(colours.tobytes())
    assert np.array_equal(images.load(encoded(picture)), colours[indices])


def test_transparent_parts_are_laid_on_white():
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, 3] = [0, 128, 255]  # black: invisible, half, solid
    loaded = images.load(encoded(Image.fromarray(rgba)))
    assert loaded[0, 0].tolist() == [255, 255, 255]
    assert np.abs(loaded[0, 1].astype(int) - 127).max() <= 1
    assert loaded[0, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode, transparency", [("L", 7), ("RGB", (7, 7, 7)), ("P", 7), ("I;16", 7 * 257)])
def test_a_transparent_colour_becomes_white(mode, transparency):
    grey = np.array([[7, 100]], dtype=np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(grey).convert(mode)
    assert images.load(encoded(picture, transparency=transparency))[0, :, 0].tolist() == [255, 100]


def test_16_bit_greyscale_is_scaled_and_not_clipped():
    deep = np.array([[0, 128, 129, 256, 257, 32768, 65535]], dtype=np.uint16)
    loaded = images.load(encoded(Image.fromarray(deep)))[0, :, 0]
    assert loaded.tolist() == np.round(deep[0] / 257).astype(int).tolist() == [0, 0, 1, 1, 1, 128, 255]


def test_16_bit_colour_is_scaled_and_not_clipped():
    rows = b"\0" + struct.pack(">6H", 0, 32768, 65535, 1000, 2000, 3000)  # one row of two pixels, filter 0
    header = struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0)
    loaded = images.load(png(header, zlib.compress(rows)))
    assert np.abs(loaded.ravel() - np.array([0, 32768, 65535, 1000, 2000, 3000]) / 257).max() <= 1


def test_cmyk_is_converted():
    ink = np.zeros((1, 3, 4), dtype=np.uint8)
    ink[0, 1] = [255, 0, 0, 0]  # cyan
    ink[0, 2] = [0, 0, 0, 255]  # black
    loaded = images.load(encoded(Image.fromarray(ink, mode="CMYK"), "TIFF"))
    assert loaded[0].tolist() == [[255, 255, 255], [0, 255, 255], [0, 0, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_in_the_exif_data_is_carried_out(orientation):
    upright = PICTURE
    # EXIF 2.3, tag 0x0112: which side of the upright picture the stored row 0 and column 0 are
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(images.load(encoded(Image.fromarray(stored.copy()), exif=exif)), upright)


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    loaded = images.load(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert loaded.shape == (3, 4, 3) and loaded[0, 0].tolist() == [255, 0, 0]


def test_a_loaded_picture_can_be_written_to():
    images.load(encoded(Image.fromarray(PICTURE)))[0, 0] = 1


# --- what cannot be read ----------------------------------------------------------------------


def png(header: bytes, compressed: bytes) -> bytes:
    chunks = ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text
    return text


def test_missing_file_folder_empty_file_and_text_are_explained(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("no picture")
    for name, reason in [
        ("no.png", "No such file"),
        ("", "directory"),
        ("empty.png", "empty"),
        ("notes.txt", "not a picture"),
    ]:
        with pytest.raises(ImageError) as error:
            images.load(tmp_path / name)
        assert reason in sentence(error) and str(tmp_path / name) in str(error.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_truncated_picture_is_an_error(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for length in (20, len(data) // 2, len(data) - 100):
        with pytest.raises(ImageError) as error:
            images.load(data[:length])
        sentence(error)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
@given(data=st.data())
def test_a_damaged_picture_is_a_picture_or_an_error_but_never_a_crash(kind, data):
    damaged = bytearray(encoded(Image.fromarray(PICTURE), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks about odd metadata
            image = images.load(bytes(damaged))
    except ImageError as error:
        assert str(error).startswith("Cannot read the picture: ")
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@pytest.mark.parametrize("side", [10_001, 1_000_000])  # just above our limit, and above Pillow's
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    with pytest.raises(ImageError, match="pixels") as error:
        images.load(png(header, b""))  # there is nothing to decode: whoever tries gets another error
    assert "100,000,000" in sentence(error)


def test_a_picture_at_the_limit_gives_no_warning_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.load(encoded(Image.fromarray(PICTURE))).shape == (30, 40, 3)  # 1200 pixels


def test_real_numbers_and_32_bit_integers_are_refused():
    for picture in (Image.new("F", (2, 2), 0.5), Image.new("I", (2, 2), 70_000), Image.new("I", (2, 2), -1)):
        with pytest.raises(ImageError, match="8 or 16 bits") as error:
            images.load(encoded(picture, "TIFF"))
        sentence(error)


@pytest.mark.parametrize(
    "array, reason",
    [
        (PICTURE.astype(float), "float64"),
        (PICTURE > 3, "bool"),
        (PICTURE[..., :2], "shape"),
        (np.dstack([PICTURE, PICTURE]), "shape"),
        (PICTURE[0, 0], "shape"),
        (PICTURE[:0], "no picture"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)), "more than"),
    ],
)
def test_as_image_refuses_what_is_no_image(array, reason):
    with pytest.raises(ImageError, match=reason) as error:
        images.as_image(array)
    sentence(error)


def test_as_image_passes_an_image_on_and_widens_greyscale():
    assert images.as_image(PICTURE) is PICTURE
    assert images.as_image(PICTURE[..., 0]).shape == (30, 40, 3)


# --- samples ----------------------------------------------------------------------------------


def test_every_sample_is_a_photograph():
    assert images.sample_names()[:3] == ["astronaut", "cat", "coffee"]
    for name in images.sample_names():
        image = images.sample(name)
        assert image.dtype == np.uint8 and min(image.shape[:2]) >= 300 and image.std() > 20


def test_samples_are_those_of_scikit_image():
    from skimage import data

    assert np.array_equal(images.sample("cat"), data.chelsea())
    assert np.array_equal(images.sample("motorcycle"), data.stereo_motorcycle()[0])


def test_an_unknown_sample_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ImageError, match="astronaut, cat") as error:
        images.sample("lena")
    sentence(error)


def test_reading_a_sample_imports_neither_scikit_image_nor_torch():
    code = """
import sys
from edu_compress import images
images.sample("cat")
print("skimage" in sys.modules, "torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


# --- writing ----------------------------------------------------------------------------------


def test_a_lossy_or_unknown_ending_is_refused_and_nothing_is_written(tmp_path):
    for name in ("a.jpg", "a.xyz"):
        with pytest.raises(ImageError, match="without loss") as error:
            images.save(tmp_path / name, PICTURE)
        sentence(error)
    with pytest.raises(ImageError):
        images.save(tmp_path / "a.png", PICTURE.astype(float))
    assert list(tmp_path.iterdir()) == []


# --- colour -----------------------------------------------------------------------------------


def test_ycbcr_is_that_of_jfif():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    expected = [[0, 128, 128], [255, 128, 128], [76.245, 84.97, 255.5], [149.685, 43.53, 21.23], [29.07, 255.5, 107.27]]
    assert np.allclose(images.rgb_to_ycbcr(colours), expected, atol=0.01)


def test_ycbcr_agrees_with_pillow_within_its_rounding():
    image = images.sample("coffee")
    theirs = np.asarray(Image.fromarray(image).convert("YCbCr")).astype(float)
    assert np.abs(images.rgb_to_ycbcr(image) - theirs).max() < 1.02  # Pillow cuts fractions off


@given(pictures)
def test_ycbcr_is_undone_by_its_inverse(image):
    restored = images.ycbcr_to_rgb(images.rgb_to_ycbcr(image))
    assert np.allclose(restored, image, atol=1e-10)
    assert np.array_equal(images.to_uint8(restored), image)


def test_to_uint8_rounds_halves_upwards_and_clips():
    assert images.to_uint8([-3.0, -0.5, 0.49, 0.5, 1.5, 2.5, 254.5, 300.0]).tolist() == [0, 0, 0, 1, 2, 3, 255, 255]


@given(pictures)
def test_ycocg_r_is_reversible(image):
    planes = images.rgb_to_ycocg_r(image)
    restored = images.ycocg_r_to_rgb(planes)
    assert np.array_equal(restored, image) and restored.dtype == np.uint8
    assert 0 <= planes[..., 0].min() and planes[..., 0].max() <= 255 and np.abs(planes[..., 1:]).max() <= 255


def test_ycocg_r_of_grey_has_no_colour_and_its_ranges_are_tight():
    grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    assert np.array_equal(images.rgb_to_ycocg_r(grey), np.stack([np.arange(256), *np.zeros((2, 256), int)], axis=1))
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, -1).T.astype(np.uint8)
    chroma = images.rgb_to_ycocg_r(corners)[:, 1:]
    assert chroma.min(axis=0).tolist() == [-255, -255] and chroma.max(axis=0).tolist() == [255, 255]


# --- blocks -----------------------------------------------------------------------------------


@given(pictures, st.integers(1, 17))
def test_crop_undoes_pad(image, multiple):
    padded = images.pad(image, multiple)
    assert padded.shape[0] % multiple == padded.shape[1] % multiple == 0
    assert 0 <= padded.shape[0] - image.shape[0] < multiple and 0 <= padded.shape[1] - image.shape[1] < multiple
    assert np.array_equal(images.crop(padded, *image.shape[:2]), image)


def test_padding_repeats_the_last_row_and_column_of_a_plane():
    assert images.pad(np.array([[1, 2], [3, 4]]), 3).tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]


def test_cropping_to_more_than_there_is_is_an_error():
    with pytest.raises(ImageError):
        images.crop(PICTURE, 31, 40)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9))
def test_from_blocks_undoes_to_blocks(rows, columns, size):
    plane = np.arange(rows * columns * size**2).reshape(rows * size, columns * size)
    blocks = images.to_blocks(plane, size)
    assert blocks.shape == (rows, columns, size, size)
    i, j = rows - 1, columns - 1
    assert np.array_equal(blocks[i, j], plane[i * size : (i + 1) * size, j * size : (j + 1) * size])
    assert np.array_equal(images.from_blocks(blocks), plane)


def test_blocks_are_a_copy_and_must_be_whole():
    plane = np.zeros((8, 16))
    images.to_blocks(plane)[0, 0] = 1
    assert not plane.any()
    with pytest.raises(ImageError, match="pad"):
        images.to_blocks(np.zeros((8, 15)))
