"""The steps of the JPEG encoder, each against a slow and plain version of itself, and whole files."""

import heapq
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edu_compress import images, registry
from edu_compress.codecs import jpeg
from edu_compress.codecs.jpeg import encoder, tables
from edu_compress.dct import dct_matrix
from edu_compress.errors import BitstreamError, ImageError, SettingError

PHOTO = images.sample("cat")[100:197, 130:251]  # 97 x 121: no multiple of anything


# --- tables -----------------------------------------------------------------------------------


def test_zigzag_is_figure_a6():
    assert tables.ZIGZAG[:15].tolist() == [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4]
    assert sorted(tables.ZIGZAG) == list(range(64))
    np.testing.assert_array_equal(tables.ZIGZAG + tables.ZIGZAG[::-1], 63)  # the same from both ends


def test_scale_table():
    np.testing.assert_array_equal(tables.scale_table(tables.STANDARD_LUMA, 50), tables.STANDARD_LUMA)
    np.testing.assert_array_equal(tables.scale_table(tables.STANDARD_CHROMA, 25), 2 * tables.STANDARD_CHROMA)
    assert (tables.scale_table(tables.STANDARD_LUMA, 100) == 1).all()
    assert tables.scale_table(tables.STANDARD_LUMA, 1).max() == 255


@pytest.mark.parametrize("table", encoder.STANDARD_HUFFMAN)
def test_standard_codes_are_complete_but_for_the_code_of_ones(table):
    assert sum(2.0**-length for _, _, length in table.code_list) == 1 - 2.0 ** -table.code_list[-1][2]
    words = [f"{code:0{length}b}" for _, code, length in table.code_list]
    assert "0" in words[-1] and words == sorted(words)  # canonical: in the order of the binary fractions
    assert not any(b.startswith(a) for a, b in zip(words, words[1:], strict=False))


def test_standard_codes_are_those_of_the_standard():
    """Some entries of T.81's tables K.3 and K.5, which list the code words themselves."""
    dc, ac = tables.STANDARD_DC_LUMA, tables.STANDARD_AC_LUMA
    assert (dc.codes[0], dc.lengths[0], dc.codes[11], dc.lengths[11]) == (0b00, 2, 0b111111110, 9)
    assert (ac.codes[0x00], ac.lengths[0x00]) == (0b1010, 4)  # EOB
    assert (ac.codes[0xF0], ac.lengths[0xF0]) == (0b11111111001, 11)  # ZRL
    assert (ac.codes[0xFA], ac.lengths[0xFA]) == (0b1111111111111110, 16)


def _huffman_cost(counts):
    """Bits of an unrestricted Huffman code: the sum of all inner nodes."""
    heap, cost = [count for count in counts if count], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


@given(hnp.arrays(np.int64, 256, elements=st.integers(0, 10**6), fill=st.just(0)))
def test_optimal_table(histogram):
    histogram[7] += 1  # one symbol at least
    table = tables.optimal_table(histogram)
    assert sorted(table.values) == np.flatnonzero(histogram).tolist()
    assert sum(2.0**-length for _, _, length in table.code_list) < 1  # the code of ones is free
    longest = table.code_list[-1][2]
    if longest < 16:  # then the limit of 16 changed nothing
        # The best code for one symbol more, which occurs once, has one of the longest codes, and does not exist.
        assert (table.lengths * histogram).sum() == _huffman_cost([*histogram.tolist(), 1]) - longest


def test_optimal_table_limits_codes_to_16_bits():
    fibonacci = [1, 1]
    while len(fibonacci) < 40:  # the steepest histogram there is: a code of 40 bits without the limit
        fibonacci.append(sum(fibonacci[-2:]))
    table = tables.optimal_table(np.array(fibonacci + [0] * 216))
    assert max(length for _, _, length in table.code_list) == 16
    assert table.code_list[-1][1] == 0xFFFE and sorted(table.values) == list(range(40))


def test_optimal_table_of_one_symbol_and_of_none():
    assert tables.optimal_table(np.eye(256)[5]).code_list == [(5, 0, 1)]
    with pytest.raises(SettingError, match="at least one symbol"):
        tables.optimal_table(np.zeros(256))


@pytest.mark.parametrize(
    "bits, values",
    [
        (15 * (0,), b""),  # 15 counts
        ((2,) + 15 * (0,), b"a"),  # two codes, one symbol
        (16 * (0,), b"a"),
        ((3,) + 15 * (0,), b"abc"),  # three codes of one bit
        (15 * (0,) + (257,), 257 * b"a"),
    ],
)
def test_impossible_huffman_tables(bits, values):
    with pytest.raises(BitstreamError, match="damaged"):
        tables.HuffmanTable(bits, values)


# --- pixels to coefficients -------------------------------------------------------------------


def test_subsample_is_the_mean_of_each_group():
    plane = np.array([[0.0, 2, 10], [4, 6, 20], [1, 1, 7]])
    np.testing.assert_array_equal(encoder.subsample(plane, 2, 2), [[3, 15], [1, 7]])
    np.testing.assert_array_equal(encoder.subsample(plane, 2, 1), [[1, 10], [5, 20], [1, 7]])
    np.testing.assert_array_equal(encoder.subsample(plane, 1, 1), plane)


def test_quantise_rounds_to_the_nearest_and_ties_to_zero():
    steps = np.full((8, 8), 10)
    values = np.array([-15.1, -15, -14.9, -5, -4, 0, 4, 5, 5.1, 14, 15, 15.1])
    quantised = encoder.quantise(values[:, None, None], steps)[:, 0, 0]
    assert quantised.tolist() == [-2, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 2]


def test_flat_pictures():
    """Half of all grey levels are ties at quality 50; the last bit of a float must not decide where they go."""
    for level in range(256):
        flat = np.full((16, 24, 3), level, dtype=np.uint8)
        luma, cb, cr = encoder.to_coefficients(flat, 50, "4:4:4").components
        ratio = 8 * (level - 128) / 16
        towards_zero = np.sign(ratio) * np.ceil(abs(ratio) - 0.5)
        assert (luma.coefficients[..., 0, 0] == towards_zero).all()
        assert not luma.coefficients.reshape(-1, 64)[:, 1:].any()
        assert not cb.coefficients.any() and not cr.coefficients.any()


def test_extreme_pictures_stay_inside_the_range_of_a_baseline_file():
    """Each pattern drives one coefficient as far as it goes."""
    waves = np.einsum("uy,vx->uvyx", dct_matrix(8), dct_matrix(8)).reshape(64, 8, 8)
    for channels in ([1, 1, 1], [1, 0, 0], [0, 0, 1], [1, 0, 1]):
        tall = np.where(np.concatenate([waves, -waves]).reshape(-1, 8, 1) > 0, np.multiply(channels, 255), 0)
        data = jpeg.encode(tall.astype(np.uint8), 100, "4:4:4", optimize=False)  # the standard codes suffice
        decoded = jpeg.decode(data).astype(int)
        assert np.abs(decoded - tall).max() <= 3


# --- coefficients to symbols and bits ---------------------------------------------------------


def _plain_symbols(block):
    """T.81, figures F.1 to F.3, one coefficient after another; [(symbol, extra bits as text)]."""

    def with_bits(run, value):
        size = int(abs(value)).bit_length()
        bits = value if value > 0 else value + 2**size - 1
        return (16 * run + size, f"{bits:0{size}b}" if size else "")

    symbols, run = [with_bits(0, block[0])], 0
    for value in block[1:]:
        if value == 0:
            run += 1
            continue
        while run > 15:
            symbols.append((0xF0, ""))
            run -= 16
        symbols.append(with_bits(run, value))
        run = 0
    return symbols + ([(0x00, "")] if run else [])


sparse_blocks = hnp.arrays(
    np.int16, st.tuples(st.integers(1, 6), st.just(64)), elements=st.integers(-1023, 1023), fill=st.just(0)
)


@given(sparse_blocks)
def test_run_length_symbols(blocks):
    expected = [(i, *symbol) for i, block in enumerate(blocks.tolist()) for symbol in _plain_symbols(block)]
    symbols = encoder.run_length_symbols(blocks[:, None], np.array([0]))
    sizes = symbols.values & 15
    bits = [f"{extra:0{size}b}" if size else "" for extra, size in zip(symbols.extra, sizes, strict=True)]
    assert list(zip(symbols.mcus, symbols.values, bits, strict=True)) == expected
    first = np.flatnonzero(np.diff(symbols.mcus, prepend=-1))
    assert (symbols.tables == 1 - np.isin(np.arange(len(bits)), first)).all()  # DC first, then AC


@given(st.lists(st.integers(1, 27).flatmap(lambda n: st.tuples(st.integers(0, 2**n - 1), st.just(n))), min_size=1))
def test_pack_bits(words):
    text = "".join(f"{word:0{length}b}" for word, length in words)
    text += "1" * (-len(text) % 8)
    expected = int(text, 2).to_bytes(len(text) // 8, "big")
    assert encoder.pack_bits(*(np.array(column) for column in zip(*words, strict=True))) == expected


def test_pack_many_bits():
    lengths = np.random.default_rng(0).integers(1, 28, 200_000)  # more words than are packed at a time
    words = (1 << lengths) - 2  # a row of ones and a zero; of one bit: zero
    text = "".join("1" * (length - 1) + "0" for length in lengths.tolist())
    text += "1" * (-len(text) % 8)
    assert encoder.pack_bits(words, lengths) == int(text, 2).to_bytes(len(text) // 8, "big")


def test_stuff():
    assert encoder.stuff(b"\x01\xff\xff\x02\xff") == b"\x01\xff\x00\xff\x00\x02\xff\x00"


def test_dc_differences_start_again_after_a_restart():
    dc = np.array([[5, 7], [4, 4], [9, 9]])
    assert encoder.dc_differences(dc).tolist() == [[5, 2], [-3, 0], [5, 0]]
    assert encoder.dc_differences(dc, restart_interval=2).tolist() == [[5, 2], [-3, 0], [9, 0]]


def test_mcus_have_their_blocks_in_rows_and_cheap_ones_outside():
    numbers = np.zeros((3, 3, 8, 8), dtype=np.int16)
    numbers[..., 0, 0] = np.arange(1, 10).reshape(3, 3)
    numbers[..., 7, 7] = 1
    component = jpeg.coefficients.Component(1, 2, 2, tables.STANDARD_LUMA, numbers)
    blocks = encoder.mcus(component, 2, 2)
    assert blocks[:, :, 0].tolist() == [[1, 2, 4, 5], [3, 3, 6, 6], [7, 8, 8, 8], [9, 9, 9, 9]]
    assert blocks[:, :, 63].tolist() == [[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]


# --- files ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    subsampling=st.sampled_from(list(encoder.SUBSAMPLING)),
    quality=st.integers(1, 100),
    optimize=st.booleans(),
    restart_interval=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_the_file_holds_exactly_the_coefficients(height, width, subsampling, quality, optimize, restart_interval, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = jpeg.encode(image, quality, subsampling, optimize, restart_interval)
    written, read = encoder.to_coefficients(image, quality, subsampling), jpeg.read_coefficients(data)
    assert (read.process, read.height, read.width) == ("baseline", height, width)
    assert read.colour_space == ("grey" if subsampling == "4:0:0" else "YCbCr")
    for mine, theirs in zip(written.components, read.components, strict=True):
        np.testing.assert_array_equal(theirs.coefficients, mine.coefficients)
        np.testing.assert_array_equal(theirs.quantisation, mine.quantisation)
    assert sum(jpeg.ledger(data).values()) == len(data)
    assert jpeg.decode(data).shape == image.shape


def test_restart_markers_stand_in_turn_and_nowhere_else():
    data = jpeg.encode(PHOTO, 90, "4:4:4", restart_interval=7)  # 13 x 16 blocks: 30 intervals
    scan = jpeg.read_segments(data)[-2].payload
    markers = [scan[i + 1] for i in range(len(scan) - 1) if scan[i] == 0xFF and scan[i + 1]]
    assert markers == [0xD0 + i % 8 for i in range(29)]
    assert jpeg.ledger(data)["restart markers"] == 58
    np.testing.assert_array_equal(jpeg.decode(data), jpeg.decode(jpeg.encode(PHOTO, 90, "4:4:4")))


def test_optimised_tables_change_the_size_and_not_the_picture():
    standard, optimised = (jpeg.encode(PHOTO, 60, optimize=optimize) for optimize in (False, True))
    assert len(optimised) < len(standard)
    np.testing.assert_array_equal(jpeg.decode(standard), jpeg.decode(optimised))


def test_more_quality_costs_more_and_gives_more():
    codec_ = jpeg.JpegCodec()
    files = [codec_.encode(PHOTO, quality) for quality in codec_.settings]
    errors = [np.mean((codec_.decode(data).astype(float) - PHOTO) ** 2) for data in files]
    assert (np.diff([len(data) for data in files]) > 0).all()
    assert (np.diff(errors) < 0).all()


def test_greyscale_is_written_only_if_asked():
    grey = images.as_image(PHOTO[:, :, 1])
    colour_file, grey_file = jpeg.encode(grey, 75), jpeg.encode(grey, 75, "4:0:0")
    assert len(jpeg.read_coefficients(colour_file).components) == 3
    assert len(jpeg.read_coefficients(grey_file).components) == 1
    assert len(grey_file) < len(colour_file)
    decoded = jpeg.decode(grey_file)
    assert (decoded == decoded[:, :, :1]).all()


def test_greyscale_arrays_and_sides_of_65535_pixels():
    line = np.arange(65535, dtype=np.uint32).astype(np.uint8)[None]
    decoded = jpeg.decode(jpeg.encode(line, 95))
    assert decoded.shape == (1, 65535, 3)
    assert np.abs(decoded[0, 256:512, 0].astype(int) - line[0, 256:512]).mean() < 4
    with pytest.raises(ImageError, match="65,535"):
        jpeg.encode(np.zeros((65536, 1), dtype=np.uint8), 50)


def test_codec_follows_the_protocol():
    opened = registry.open_codec("jpeg", subsampling="4:2:2", restart_interval=3)
    assert isinstance(opened, registry.Codec)
    data = opened.encode(PHOTO, 80.0)  # the command line has real numbers only
    assert registry.identify(data) == ("jpeg", {})
    account = registry.ledger(data)
    assert account["quantisation tables"] == 2 * 69 and account["metadata"] == 0
    assert sum(account.values()) == len(data)
    names = [name for name, _ in registry.describe(data)]
    assert names == ["SOI", "APP0", *2 * ["DQT"], "SOF0", *4 * ["DHT"], "DRI", "SOS", "scan data", "EOI"]


@pytest.mark.parametrize("quality", [0, 101, -5, 75.5, float("nan"), float("inf"), None, "75"])
def test_impossible_quality(quality):
    with pytest.raises(SettingError, match="whole number from 1 to 100"):
        jpeg.encode(PHOTO, quality)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"subsampling": "4:1:1"}, "subsampling is one of"),
        ({"subsampling": None}, "subsampling is one of"),
        ({"restart_interval": -1}, "restart interval"),
        ({"restart_interval": 65536}, "restart interval"),
        ({"restart_interval": 1.5}, "restart interval"),
    ],
)
def test_impossible_options(options, words):
    with pytest.raises(SettingError, match=words):
        jpeg.encode(PHOTO, 75, **options)
    with pytest.raises(SettingError, match=words):
        jpeg.JpegCodec(**options)


@pytest.mark.parametrize("image", [PHOTO.astype(float), PHOTO[:0], PHOTO[..., :2], np.zeros(5, dtype=np.uint8)])
def test_impossible_images(image):
    with pytest.raises(ImageError):
        jpeg.encode(image, 75)


AC_3_4 = np.arange(64).reshape(8, 8) == 8 * 3 + 4


def test_coefficients_that_no_baseline_file_can_hold():
    good = encoder.to_coefficients(PHOTO, 75)
    luma, cb, cr = good.components
    bad = {
        "go beyond": [
            (replace(luma, coefficients=luma.coefficients + np.int16(2000)), cb, cr),
            (replace(luma, quantisation=luma.quantisation + 255), cb, cr),
            (replace(luma, coefficients=np.where(AC_3_4, np.int16(-1024), luma.coefficients)), cb, cr),  # 11 bits
        ],
        "one quantisation table": [(luma, cb, replace(cr, quantisation=cr.quantisation + 1))],
    }
    for words, cases in bad.items():
        for components in cases:
            with pytest.raises(SettingError, match=words):
                encoder.write_coefficients(replace(good, components=components))
    with pytest.raises(SettingError, match="Only greyscale"):
        encoder.write_coefficients(replace(good, colour_space="RGB"))


def test_huffman_tables_of_another_picture():
    blocks, tables_of_mcu = encoder.interleave(encoder.to_coefficients(PHOTO, 90).components)
    symbols = encoder.run_length_symbols(blocks, tables_of_mcu)
    other = encoder.run_length_symbols(np.zeros_like(blocks), tables_of_mcu)
    with pytest.raises(SettingError, match="no code for a symbol"):
        encoder.scan_data(symbols, encoder.optimal_tables(other))
