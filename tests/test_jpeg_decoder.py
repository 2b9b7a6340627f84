"""The JPEG decoder: segments, entropy decoding, the kinds of files, and the sentences for what it refuses."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edu_compress import images
from edu_compress.codecs.jpeg import decoder, encoder, entropy, segments, tables
from edu_compress.codecs.jpeg.coefficients import Coefficients, Component
from edu_compress.errors import BitstreamError


def photograph(height=40, width=56):
    return images.sample("coffee")[100 : 100 + height, 200 : 200 + width]


def pillow(picture=None, mode="RGB", **options):
    out = io.BytesIO()
    Image.fromarray(photograph() if picture is None else picture).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


def by_name(data, name):
    return [segment for segment in decoder.read_segments(data) if segment.name == name]


def replace(data, segment, payload):
    """The file with other contents in one segment."""
    header = data[segment.offset : segment.offset + 2] + struct.pack(">H", len(payload) + 2)
    return data[: segment.offset] + header + payload + data[segment.offset + segment.length :]


def bytes_of(data, segment):
    return data[segment.offset : segment.offset + segment.length]


# --- segments ---------------------------------------------------------------------------------


def test_segments_of_a_file():
    data = pillow(quality=75, comment=b"hello")
    found = decoder.read_segments(data)
    names = "SOI APP0 COM DQT DQT SOF0 DHT DHT DHT DHT SOS".split()
    assert [segment.name for segment in found] == [*names, "scan data", "EOI"]
    assert sum(segment.length for segment in found) == len(data)
    assert all(bytes_of(data, segment).endswith(segment.payload) for segment in found)


def test_segments_in_words():
    data = pillow(quality=75, restart_marker_blocks=4, comment=b"hello") + b"more"
    words = {segment.name: segment.description for segment in decoder.read_segments(data)}
    assert words["APP0"] == "JFIF 1.01, pixel density 1 x 1 (ratio only)"
    assert words["COM"] == "comment 'hello'"
    assert words["DRI"] == "a restart marker after every 4 MCUs"
    assert words["SOF0"].startswith("baseline, 8 bits, 40 rows x 56 columns; component 1: 2 x 2, table 0; ")
    assert words["SOS"].startswith("component 1: DC table 0, AC table 0; ")
    assert words["DQT"] == "table 1: DC step 9, AC steps 9 to 50"
    assert words["DHT"] == "AC table 1: 162 codes"
    assert words["scan data"].startswith("2 restart markers, ")
    assert words["trailing bytes"] == "after the end of the image; decoders ignore them"
    exif = Image.Exif()
    exif[0x0112] = 1
    words = [segment.description for segment in decoder.read_segments(pillow(mode="CMYK", exif=exif))]
    assert "application data 'Exif'" in words
    assert "Adobe, colour transform 0 (none)" in words


def test_fill_bytes_comments_and_trailing_bytes_change_nothing():
    data = pillow(quality=75)
    picture = decoder.decode(data)
    parts = [bytes_of(data, segment) for segment in decoder.read_segments(data)]
    comment = b"\xff\xfe\x00\x05abc"
    unknown = b"\xff\xe7\x00\x06\xff\xd9\xff\xda"  # markers inside of a payload are none
    padded = (
        parts[0] + comment + b"\xff\xff\xff" + unknown + b"".join(parts[1:-1]) + b"\xff\xff" + parts[-1] + b"\xff\xd8"
    )
    names = [segment.name for segment in decoder.read_segments(padded)]
    assert names.count("fill bytes") == 2 and names[-1] == "trailing bytes"
    assert sum(segment.length for segment in decoder.read_segments(padded)) == len(padded)
    np.testing.assert_array_equal(decoder.decode(padded), picture)


def test_restart_intervals_and_stuffing():
    payload = b"\x12\xff\x00\x34\xff\xd0\xff\x00\xff\xff\xd1\x56"
    scan = segments.Segment(None, "scan data", 0, len(payload), payload)
    assert segments.restart_intervals(scan) == ([b"\x12\xff\x34", b"\xff", b"\x56"], [0, 1])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a JPEG file"),
        (b"\x89PNG\r\n\x1a\n", "not a JPEG file"),
        (b"\xff\xd8\x00\x00", "byte 2 should begin a marker"),
        (b"\xff\xd8\xff\xff", "byte 2 should begin a marker"),
        (b"\xff\xd8\xff\xe0\x00", "ends inside its APP0 segment at byte 2"),
        (b"\xff\xd8\xff\xff\xe0\x00\x09JFIF", "ends inside its APP0 segment at byte 3"),
        (b"\xff\xd8\xff\xfe\x00\x01abc", "COM segment at byte 2 says that it is 1 bytes long"),
        (b"\xff\xd8\xff\xd8", "marker SOI at byte 2"),
        (b"\xff\xd8\xff\xd3", "marker RST3 at byte 2"),
        (b"\xff\xd8\xff\xd9", "no picture"),
        (b"\xff\xd8\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9", "a scan stands before the frame header"),
    ],
)
def test_what_is_no_jpeg_file(data, sentence):
    with pytest.raises(BitstreamError, match=sentence):
        decoder.decode(data)


# --- entropy decoding -------------------------------------------------------------------------


def test_look_up_table_agrees_with_the_codes():
    table = tables.STANDARD_AC_LUMA
    lookup = entropy.lookup_table(table, "AC")
    assert len(lookup) == 1 << 16
    for symbol, code, length in table.code_list:
        for tail in (0, (1 << 16 - length) - 1):
            assert lookup[code << 16 - length | tail] == (symbol >> 4, symbol & 15, length)
    assert lookup[0xFFFF][0] == -1  # the code of ones only is never given


def test_peek_reads_at_every_bit():
    data = bytes(np.random.default_rng(0).integers(0, 256, 40, dtype=np.uint8))
    bits = entropy.Bits([data[:10], data[10:]])
    text = "".join(format(byte, "08b") for byte in data) + 16 * "0"
    assert [bits.peek[p] for p in range(8 * len(data))] == [int(text[p : p + 16], 2) for p in range(8 * len(data))]
    assert bits.intervals == [(0, 80), (80, 320)]


@pytest.mark.parametrize(("size", "values"), [(1, [-1, 1]), (2, [-3, -2, 2, 3]), (3, [-7, -6, -5, -4, 4, 5, 6, 7])])
def test_extend(size, values):
    """Table F.1: the numbers of a category in the order of their bits."""
    assert [entropy._extend(bits, size) for bits in range(1 << size)] == values


factors = st.tuples(st.integers(1, 2), st.integers(1, 2))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    sampling=st.one_of(st.tuples(factors), st.tuples(factors, factors, factors)),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    restart_interval=st.integers(0, 9),
)
def test_any_coefficients_come_back_exactly(seed, size, sampling, density, restart_interval):
    rng = np.random.default_rng(seed)
    h_max, v_max = (max(f[i] for f in sampling) for i in (0, 1))
    parts = []
    for i, (h, v) in enumerate(sampling):
        shape = (-(-size[0] * v // (8 * v_max)), -(-size[1] * h // (8 * h_max)), 8, 8)
        values = rng.integers(-1023, 1024, shape) >> rng.integers(0, 11, shape)
        quantised = np.where(rng.random(shape) < density, values, 0).astype(np.int16)
        parts.append(Component(i + 1, h, v, np.full((8, 8), 1 + min(i, 1)), quantised))
    space = "grey" if len(parts) == 1 else "YCbCr"
    data = encoder.write_coefficients(Coefficients("baseline", *size, space, tuple(parts)), True, restart_interval)
    found = decoder.read_coefficients(data)
    assert (found.height, found.width, found.colour_space, found.process) == (*size, space, "baseline")
    for ours, theirs in zip(found.components, parts, strict=True):
        assert (ours.identifier, ours.h, ours.v) == (theirs.identifier, theirs.h, theirs.v)
        assert ours.coefficients.dtype == np.int16
        np.testing.assert_array_equal(ours.coefficients, theirs.coefficients)
        np.testing.assert_array_equal(ours.quantisation, theirs.quantisation)


# --- kinds of files -----------------------------------------------------------------------------


def one_scan_each(picture, quality=80):
    """A baseline file of three scans: three grey files of libjpeg, put together by hand.

    All scans use Huffman tables number 0 and all components quantisation table 0, defined again before each scan.
    """
    planes = images.to_uint8(images.rgb_to_ycbcr(picture))
    files = [pillow(planes[..., 0], "L", quality=quality, optimize=True)]
    files += [pillow(planes[::2, ::2, i], "L", quality=quality - 30, optimize=True) for i in (1, 2)]
    lines = bytes([1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0])
    frame = struct.pack(">BHHB", 8, *picture.shape[:2], 3) + lines
    out = b"\xff\xd8" + encoder.segment(tables.Marker.SOF0, frame)
    for i, data in enumerate(files):
        for name in ("DQT", "DHT"):
            out += b"".join(bytes_of(data, segment) for segment in by_name(data, name))
        out += (
            encoder.segment(tables.Marker.SOS, bytes([1, i + 1, 0, 0, 63, 0])) + by_name(data, "scan data")[0].payload
        )
    return out + b"\xff\xd9", files


@pytest.mark.parametrize("size", [(40, 56), (33, 17), (1, 1), (9, 70)])
def test_scans_of_single_components_with_tables_that_change(size):
    data, files = one_scan_each(photograph(*size))
    picture = decoder.read_coefficients(data)
    for component, file in zip(picture.components, files, strict=True):
        grey = decoder.read_coefficients(file).components[0]
        np.testing.assert_array_equal(component.coefficients, grey.coefficients)
        np.testing.assert_array_equal(component.quantisation, grey.quantisation)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.abs(decoder.decode(data).astype(int) - theirs).max() <= 3


def test_a_progressive_file_without_its_last_scans_is_a_coarser_picture():
    data = pillow(photograph(), quality=90, progressive=True)
    full = decoder.decode(data).astype(float)
    errors = []
    for scan in by_name(data, "scan data"):
        coarse = decoder.decode(data[: scan.offset + scan.length] + b"\xff\xd9")
        errors.append(np.mean((coarse - full) ** 2))
    assert len(errors) == 10 and errors[-1] == 0
    assert errors[0] > 100 and all(later <= earlier * 1.001 for earlier, later in zip(errors, errors[1:], strict=False))


def test_extended_sequential_files_and_16_bit_quantisation_tables():
    data = pillow(quality=75)
    frame = by_name(data, "SOF0")[0]
    extended = data[: frame.offset + 1] + b"\xc1" + data[frame.offset + 2 :]
    for segment in reversed(by_name(data, "DQT")):
        wide = bytes([0x10 | segment.payload[0]]) + b"".join(bytes([0, step]) for step in segment.payload[1:])
        extended = replace(extended, segment, wide)
    assert decoder.read_coefficients(extended).process == "extended sequential"
    np.testing.assert_array_equal(decoder.decode(extended), decoder.decode(data))


def test_sequential_files_with_useless_numbers_in_the_scan_header():
    data = pillow(quality=75)
    header = by_name(data, "SOS")[0]
    zeros = replace(data, header, header.payload[:-3] + bytes(3))
    np.testing.assert_array_equal(decoder.decode(zeros), decoder.decode(data))


def test_all_bytes_like_things():
    data = pillow(quality=75)
    for same in (bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(decoder.decode(same), decoder.decode(data))


# --- upsampling -----------------------------------------------------------------------------------


def test_triangle_filter_by_hand():
    row = np.array([[0, 100, 200]], dtype=np.uint8)
    # 3/4 of the nearest sample and 1/4 of the next; halves are rounded up at odd places only
    np.testing.assert_array_equal(decoder.upsample(row, (1, 1), (1, 2), (1, 6)), [[0, 25, 75, 125, 175, 200]])
    np.testing.assert_array_equal(decoder.upsample(row, (1, 1), (1, 2), (1, 5)), [[0, 25, 75, 125, 175]])
    np.testing.assert_array_equal(
        decoder.upsample(row.T, (1, 2), (1, 1), (6, 1)), [[0], [25], [75], [125], [175], [200]]
    )


def test_other_factors_repeat_samples():
    row = np.array([[1, 2]], dtype=np.uint8)
    np.testing.assert_array_equal(decoder.upsample(row, (1, 1), (1, 4), (1, 7)), [[1, 1, 1, 1, 2, 2, 2]])
    np.testing.assert_array_equal(decoder.upsample(row, (1, 3), (1, 1), (2, 2)), [[1, 2], [1, 2]])
    three = np.array([[1, 2, 3, 4]], dtype=np.uint8)  # 2 samples for 3 pixels: libjpeg refuses such files
    np.testing.assert_array_equal(decoder.upsample(three, (1, 1), (2, 3), (1, 6)), [[1, 1, 2, 3, 3, 4]])


@pytest.mark.parametrize("vertical", [1, 2, 4])
@pytest.mark.parametrize("horizontal", [1, 2, 3])
def test_flat_stays_flat(vertical, horizontal):
    flat = np.full((5, 7), 77, dtype=np.uint8)
    larger = decoder.upsample(flat, (1, vertical), (1, horizontal), (5 * vertical, 7 * horizontal))
    assert larger.shape == (5 * vertical, 7 * horizontal) and (larger == 77).all()


# --- refused, with a sentence ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        (0xC3, "lossless"),
        (0xC5, "hierarchical"),
        (0xC9, "arithmetic-coded"),
        (0xCA, "arithmetic-coded"),
        (0xCB, "lossless"),
        (0xCF, "hierarchical"),
        (0xDE, "hierarchical"),
    ],
)
def test_other_processes(marker, sentence):
    data = pillow(quality=75)
    frame = by_name(data, "SOF0")[0]
    with pytest.raises(BitstreamError, match=f"This JPEG file is {sentence}"):
        decoder.decode(data[: frame.offset + 1] + bytes([marker]) + data[frame.offset + 2 :])


@pytest.mark.parametrize(
    ("position", "value", "sentence"),
    [
        (0, 12, "12 bits per sample"),
        (1, 0, r"states its height after the picture \(DNL\)"),
        (3, 0, "0 pixels wide"),
        (5, 2, "2 components"),
        (7, 0x51, "sampling factors 5 x 1"),
        (7, 0x01, "sampling factors 0 x 1"),
        (9, 1, "two components the same identifier"),
        (8, 3, "quantisation table 3 is used and not defined"),
        (6, 9, "a scan is of component 1, which does not exist"),
    ],
)
def test_frame_headers(position, value, sentence):
    data = pillow(quality=75)
    frame = by_name(data, "SOF0")[0]
    payload = bytearray(frame.payload)
    if position in (1, 3):
        payload[position : position + 2] = bytes(2)
    payload[position] = value
    with pytest.raises(BitstreamError, match=sentence):
        decoder.decode(replace(data, frame, bytes(payload)))


def test_missing_huffman_table():
    data = pillow(quality=75)
    for segment in reversed(by_name(data, "DHT")):
        data = data[: segment.offset] + data[segment.offset + segment.length :]
    with pytest.raises(BitstreamError, match="DC Huffman table 0 is used and not defined"):
        decoder.decode(data)


def test_a_cut_off_scan_says_how_far_it_got():
    picture = photograph(64, 64)
    data = pillow(picture, quality=75)
    scan = by_name(data, "scan data")[0]
    with pytest.raises(BitstreamError, match=r"is cut off: scan 1 can be decoded up to MCU (7|8|9) of 16 \([0-9]+ %\)"):
        decoder.decode(data[: scan.offset + scan.length // 2])
    with pytest.raises(BitstreamError, match="is damaged: scan 1 can be decoded up to MCU"):
        decoder.decode(data[: scan.offset + scan.length // 2] + b"\xff\xd9")
    with pytest.raises(BitstreamError, match="needs 24 bytes at least, and has 5"):
        decoder.decode(data[: scan.offset + 5])
    with pytest.raises(BitstreamError, match="has no end marker"):
        decoder.decode(data[:-2])
    data = pillow(picture, quality=75, restart_marker_blocks=3)
    third = data.index(b"\xff\xd2")
    with pytest.raises(BitstreamError, match=r"up to MCU 9 of 16 \(56 %\)"):
        decoder.decode(data[:third] + b"\xff\xd9")


def test_restart_markers_out_of_order():
    data = pillow(photograph(64, 64), quality=75, restart_marker_blocks=3)
    with pytest.raises(BitstreamError, match="scan 1 has its restart markers out of order"):
        decoder.decode(data.replace(b"\xff\xd1", b"\xff\xd2"))


def test_order_of_progressive_scans():
    """G.1.1.1: a coefficient's bits come from the top, each once, and DC before AC."""
    data = pillow(quality=75, progressive=True)
    found = decoder.read_segments(data)
    headers = [i for i, segment in enumerate(found) if segment.name == "SOS"]

    def file_of(order):
        """The file with its scans in this order; each takes its Huffman tables along."""
        first_dht = next(i for i, segment in enumerate(found) if segment.name == "DHT")
        start = [first_dht, *(i + 2 for i in headers)]
        scans = [b"".join(bytes_of(data, s) for s in found[a:b]) for a, b in zip(start, start[1:], strict=False)]
        return data[: found[first_dht].offset] + b"".join(scans[i] for i in order) + b"\xff\xd9"

    np.testing.assert_array_equal(decoder.decode(file_of(range(10))), decoder.decode(data))
    for order in ([1, 0], [0, 0], [0, 1, 1], [0, 5], [6], [0, 6, 6], [0, 2, 3, 4, 9]):
        with pytest.raises(BitstreamError, match="may not come here"):
            decoder.decode(file_of(order))
    header = found[headers[1]]
    for payload in (
        bytes([1, 1, 0, 0, 5, 2]),  # DC and AC in one scan
        bytes([1, 1, 0, 5, 1, 2]),  # from 5 to 1
        bytes([1, 1, 0, 1, 64, 2]),
        bytes([1, 1, 0, 1, 5, 14]),
        bytes([2, 1, 0, 2, 0, 1, 5, 2]),  # AC of two components
    ):
        with pytest.raises(BitstreamError, match="may not come here"):
            decoder.decode(replace(data, header, payload))


def test_a_component_coded_twice_or_never():
    data, _ = one_scan_each(photograph())
    found = decoder.read_segments(data)
    second = [i for i, segment in enumerate(found) if segment.name == "SOS"][1]
    start, end = found[second].offset, found[second + 1].offset + found[second + 1].length
    with pytest.raises(BitstreamError, match="component 2 is not coded"):
        decoder.decode(data[:start] + data[end:])
    with pytest.raises(BitstreamError, match="may not come here"):
        decoder.decode(data[:end] + data[start:])
