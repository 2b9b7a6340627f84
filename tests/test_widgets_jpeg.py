"""The widgets of lesson 01, driven without a browser."""

import io

import numpy as np
import pytest
from PIL import Image

from edu_compress import images, jpeg, metrics, open_codec, widgets
from edu_compress.codecs.jpeg import encoder
from edu_compress.codecs.jpeg.tables import STANDARD_LUMA, ZIGZAG, scale_table
from edu_compress.dct import idct2
from edu_compress.errors import BitstreamError
from edu_compress.widgets.jpeg import CELL, annotate, byte_box, mcu_of_scan_bytes

PHOTO = images.sample("coffee")[60:188, 100:292]  # 192 x 128


def size_of(png):
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


def pixels(stage):
    with Image.open(io.BytesIO(stage.png)) as picture:
        return np.asarray(picture)


# --- DctExplorer ------------------------------------------------------------------------------


@pytest.fixture
def dct_explorer():
    return widgets.DctExplorer(PHOTO)


def test_all_64_waves_give_the_luma_back(dct_explorer):
    dct_explorer.keep.value = 64
    luma = images.rgb_to_ycbcr(PHOTO)[..., 0]
    assert np.abs(dct_explorer.reconstruction - luma).max() < 0.5 + 1e-9
    assert np.array_equal(pixels(dct_explorer.original), pixels(dct_explorer.partial))


def test_one_wave_gives_flat_blocks(dct_explorer):
    dct_explorer.keep.value = 1
    blocks = images.to_blocks(dct_explorer.reconstruction)
    assert np.ptp(blocks, axis=(2, 3)).max() == 0


def test_more_waves_never_make_it_worse(dct_explorer):
    errors = []
    for k in (1, 3, 10, 30, 64):
        dct_explorer.keep.value = k
        errors.append(metrics.mse(dct_explorer.luma, dct_explorer.reconstruction))
    assert errors == sorted(errors, reverse=True)


def test_a_click_on_the_photograph_chooses_the_block(dct_explorer):
    before = dct_explorer.waves.png
    dct_explorer.picture.pointer = [100.5, 31.0]
    assert dct_explorer.block == (3, 12)
    assert dct_explorer.picture.frames == ((96, 24, 8, 8),)
    assert dct_explorer.waves.png != before
    block = idct2(dct_explorer.coefficients[3, 12]) + 128
    assert np.array_equal(pixels(dct_explorer.original), images.to_uint8(block))
    assert "row 3, column 12" in dct_explorer.numbers.value


@pytest.mark.parametrize("k", [1, 2, 3, 17, 64])
def test_a_click_on_a_wave_keeps_all_up_to_it(dct_explorer, k):
    row, column = divmod(int(ZIGZAG[k - 1]), 8)
    dct_explorer.waves.pointer = [CELL * column + 5.0, CELL * row + 5.0]
    assert dct_explorer.keep.value == k
    assert dct_explorer.kept.sum() == k and dct_explorer.kept[row, column]


def test_another_photograph_is_transformed_anew(dct_explorer):
    dct_explorer.photos.names.value = "cat"
    assert dct_explorer.reconstruction.shape == dct_explorer.photos.image.shape[:2]


# --- QuantisationExplorer ---------------------------------------------------------------------


@pytest.fixture
def explorer():
    return widgets.QuantisationExplorer(PHOTO)


def test_the_standard_tables_give_the_file_of_the_codec(explorer):
    for quality in (5, 25, 90):
        explorer.quality.value = quality
        assert explorer.data == jpeg.encode(PHOTO, quality)
        assert np.array_equal(explorer.decoded, jpeg.decode(explorer.data))
    assert f"{len(explorer.data):,} bytes" in explorer.numbers.value
    assert f"{metrics.psnr(PHOTO, explorer.decoded):.2f} dB" in explorer.numbers.value


def test_the_shown_picture_is_the_decoded_file(explorer):
    explorer.quality.value = 12
    assert np.array_equal(pixels(explorer.picture), jpeg.decode(explorer.data))


def test_flat_and_sloping_tables(explorer):
    explorer.quality.value = 50
    explorer.kind.value = "flat"
    assert (explorer.steps[0] == 16).all() and explorer.slope.disabled
    explorer.kind.value = "slope"
    explorer.slope.value = 5
    assert not explorer.slope.disabled
    assert explorer.steps[0][0, 0] == 16 and explorer.steps[1][7, 7] == 16 + 5 * 14


def test_a_clicked_step_can_be_changed_and_taken_back(explorer):
    explorer.component.value = "chroma"
    explorer.table.pointer = [CELL * 2 + 1.0, CELL * 1 + 1.0]
    before, size = explorer.steps[1][1, 2], len(explorer.data)
    assert explorer.step.value == before
    explorer.step.value = 1
    assert explorer.steps[1][1, 2] == 1 and len(explorer.data) > size
    written = jpeg.read_coefficients(explorer.data).components[2]
    assert written.quantisation[1, 2] == 1
    explorer.quality.value += 1
    assert explorer.steps[1][1, 2] == 1  # a change stays while the quality moves
    explorer.reset.click()
    assert np.array_equal(explorer.steps[0], scale_table(STANDARD_LUMA, explorer.quality.value))
    assert explorer.step.value == explorer.steps[1][1, 2] > 1


def test_choosing_a_cell_changes_no_step(explorer):
    data = explorer.data
    for column in range(8):
        explorer.table.pointer = [CELL * column + 1.0, 1.0]
    explorer.component.value = "chroma"
    explorer.component.value = "luma"
    assert explorer.data == data


def test_a_click_moves_the_crops(explorer):
    explorer.picture.pointer = [60.0, 70.0]
    left, top, width, height = explorer.picture.frames[0]
    assert (left, top) == (60 - width // 2, 70 - height // 2)
    assert np.array_equal(pixels(explorer.crop), explorer.decoded[top : top + height, left : left + width])
    assert np.array_equal(pixels(explorer.original), PHOTO[top : top + height, left : left + width])


# --- annotate, hex view -----------------------------------------------------------------------


def test_every_byte_of_a_file_has_a_meaning():
    for data in (jpeg.encode(PHOTO, 50), jpeg.encode(PHOTO, 50, restart_interval=3), jpeg.encode(PHOTO, 9, "4:0:0")):
        notes = annotate(data)
        assert len(notes) == len(data)
        assert "content" not in {field for _, field in notes}


def test_files_of_libjpeg_have_meanings_too():
    data = open_codec("libjpeg").encode(PHOTO, 60)
    assert len(annotate(data)) == len(data)


def test_meanings_fit_the_values():
    data = jpeg.encode(PHOTO, 50, restart_interval=4)
    place = {field: i for i, (_, field) in reversed(list(enumerate(annotate(data))))}  # the first of each
    assert data[place["height, low byte"]] == PHOTO.shape[0]
    assert data[place["width, low byte"]] == PHOTO.shape[1]
    assert data[place["its sampling factors H, V"]] == 0x22
    assert data[place["step of coefficient 63 in zigzag order (v = 7, u = 7)"]] == STANDARD_LUMA[7, 7]
    assert data[place["last coefficient"]] == 63
    assert data[place["restart interval in MCUs, low byte"]] == 4
    assert data[place["the restart marker RST0"]] == 0xD0
    assert data[place["stuffed zero: says that the FF before it is no marker"] - 1] == 0xFF


@pytest.mark.parametrize("interval", [0, 5])
def test_a_changed_byte_spoils_nothing_before_its_mcu(interval):
    """Independent of how the MCUs were found: decode, and look where the coefficients begin to differ."""
    coefficients = encoder.to_coefficients(PHOTO, 30)
    data = encoder.write_coefficients(coefficients, restart_interval=interval)
    scan = next(s for s in jpeg.read_segments(data) if s.name == "scan data")
    mcus = mcu_of_scan_bytes(coefficients, scan, interval)
    assert len(mcus) == scan.length
    columns, decoded, exact = PHOTO.shape[1] // 16, 0, 0
    for i in range(3, scan.length - 2, 29):
        broken = bytearray(data)
        broken[scan.offset + i] ^= 0x55
        try:
            luma = jpeg.read_coefficients(bytes(broken)).components[0].coefficients
        except BitstreamError:
            continue
        different = np.argwhere((luma != coefficients.components[0].coefficients).any(axis=(2, 3)))
        if len(different):
            first = min(int(row // 2 * columns + column // 2) for row, column in different)
            assert first >= mcus[i]
            decoded, exact = decoded + 1, exact + (first == mcus[i])
    assert decoded > 3 and exact > decoded / 3


def test_hex_view_has_a_row_for_every_32_bytes():
    data = jpeg.encode(PHOTO, 30)
    left, top, width, height = byte_box(len(data) - 1)
    picture = widgets.hex_view(data)
    assert picture.width >= left + width and picture.height > top + height
    assert widgets.hex_view(data, 64).height < picture.height


# --- ByteBreaker ------------------------------------------------------------------------------


@pytest.fixture
def breaker():
    return widgets.ByteBreaker(PHOTO)


def offset_of(breaker, field):
    return [field for _, field in annotate(breaker.original)].index(field)


def test_the_whole_file_decodes_in_both(breaker):
    assert breaker.data == breaker.original
    assert np.array_equal(pixels(breaker.ours), jpeg.decode(breaker.data))
    assert all("as before" in sentence.value for sentence in breaker.says)


def test_a_click_chooses_a_byte(breaker):
    breaker.hex.pointer = [byte_box(77)[0] + 4.0, byte_box(77)[1] + 4.0]
    assert breaker.offset.value == 77
    assert breaker.value.value == f"{breaker.data[77]:02x}"
    assert [int(button.description) for button in breaker.bits] == [int(b) for b in f"{breaker.data[77]:08b}"]
    assert breaker.hex.frames == (byte_box(77),)
    breaker.hex.pointer = [breaker.hex.width - 1.0, breaker.hex.height - 1.0]  # on the legend
    assert breaker.offset.value == len(breaker.data) - 1


def test_a_flipped_bit_can_be_undone(breaker):
    breaker.offset.value = 40
    breaker.bits[0].click()
    assert breaker.data[40] == breaker.original[40] ^ 0x80
    breaker.bits[7].click()
    breaker.undo.click()
    assert breaker.data[40] == breaker.original[40] ^ 0x80
    breaker.undo.click()
    breaker.undo.click()  # one too many
    assert breaker.data == breaker.original


def test_a_larger_dc_step_changes_the_picture(breaker):
    breaker.offset.value = offset_of(breaker, "step of coefficient 0 in zigzag order (v = 0, u = 0)")
    assert "DQT" in breaker.meaning.value
    breaker.value.value = "ff"
    left, top, _, _ = byte_box(breaker.offset.value)
    assert (pixels(breaker.hex)[top + 1, left + 1] == 0).all()  # marked
    assert breaker.data[breaker.offset.value] == 255
    assert all("another picture" in sentence.value for sentence in breaker.says)
    breaker.reset.click()
    assert breaker.data == breaker.original and "as before" in breaker.says[0].value


def test_nonsense_in_the_value_field_changes_nothing(breaker):
    breaker.offset.value = 5
    for nonsense in ("xyz", "123", "-1", ""):
        breaker.value.value = nonsense
        assert breaker.data == breaker.original
        assert breaker.value.value == f"{breaker.original[5]:02x}"


def test_the_decoders_sentence_is_shown(breaker):
    breaker.offset.value = 0
    breaker.delete.click()
    assert len(breaker.data) == len(breaker.original) - 1
    assert "not a JPEG file" in breaker.says[0].value
    assert (pixels(breaker.ours) == 225).all()
    breaker.undo.click()
    assert breaker.data == breaker.original


def test_after_a_deleted_byte_the_meanings_move_along(breaker):
    breaker.offset.value = offset_of(breaker, "bits per sample")
    breaker.delete.click()
    assert "height, high byte" in breaker.meaning.value


def test_a_missing_restart_marker_is_noticed(breaker):
    breaker.restarts.value = True
    breaker.offset.value = offset_of(breaker, "the restart marker RST0") - 1
    breaker.delete.click()
    breaker.delete.click()
    assert "restart markers" in breaker.says[0].value


def test_a_byte_of_the_scan_shows_its_mcu(breaker):
    breaker.offset.value = len(breaker.data) - 3
    height, width = breaker.photos.image.shape[:2]
    last = 16 * ((width - 1) // 16), 16 * ((height - 1) // 16)
    assert breaker.ours.frames[0][:2] == last
    breaker.offset.value = 1
    assert breaker.ours.frames == ()


def test_a_picture_that_says_to_be_huge_is_shown_small(breaker):
    breaker.offset.value = offset_of(breaker, "height, high byte")
    breaker.value.value = "10"  # 4,000 rows and more
    assert max(breaker.libjpeg.width, breaker.libjpeg.height) <= breaker.SIZE
    assert "needs" in breaker.says[0].value or "cut off" in breaker.says[0].value


# --- all --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DctExplorer", "QuantisationExplorer", "ByteBreaker"])
def test_tiny_pictures_work_and_stills_are_pictures(name):
    widget = getattr(widgets, name)(np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3))
    assert size_of(widget.still())[0] > 300
