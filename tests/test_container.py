"""The two formats of .edc files: what is packed comes back, and what is damaged or cut is found."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edu_compress import BitstreamError, SettingError, container
from edu_compress.container import Container, ProgressiveStream

printable = st.characters(min_codepoint=32, max_codepoint=126)
names = st.text(printable, min_size=1, max_size=20)
header = {
    "codec": st.text(printable, max_size=20).filter(lambda name: "/" not in name),
    "weights": names | st.just(""),
    "height": st.integers(0, 2**63 - 1),
    "width": st.integers(0, 2**63 - 1),
    "setting": st.floats(width=32, allow_nan=False),
}
section_names = names.filter(lambda name: name not in ("header", "checksum"))
containers = st.builds(
    Container, **header, sections=st.dictionaries(section_names, st.binary(max_size=200), max_size=5)
)
streams = st.builds(ProgressiveStream, **header, sections=st.lists(st.binary(max_size=200), max_size=5))


def flip(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def with_checksum(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


# --- both formats -----------------------------------------------------------------------------


@given(containers | streams)
def test_what_is_packed_comes_back_and_is_accounted_for(contents):
    data = contents.pack()
    assert container.unpack(data) == contents
    ledger = container.ledger(data)
    assert sum(ledger.values()) == len(data) and min(ledger.values()) >= 0
    described = dict(container.describe(data))
    assert described["codec"] == contents.codec
    assert described["height x width"] == f"{contents.height} x {contents.width} pixels"


@given(containers | streams, st.data())
def test_any_flipped_bit_is_found(contents, data):
    packed = contents.pack()
    with pytest.raises(BitstreamError):
        container.unpack(flip(packed, data.draw(st.integers(0, 8 * len(packed) - 1))))


@pytest.mark.parametrize(
    "kind, change, sentence",
    [
        (Container, {"sections": {"header": b""}}, "'header'"),
        (Container, {"sections": {"checksum": b""}}, "'checksum'"),
        (Container, {"sections": {"größe": b""}}, "ASCII"),
        (Container, {"sections": {"x" * 256: b""}}, "255"),
        (Container, {"codec": "a\nb"}, "ASCII"),
        (Container, {"codec": "a/b"}, "'/'"),
        (Container, {"height": -1}, "63 bits"),
        (Container, {"width": 2**63}, "63 bits"),
        (Container, {"setting": 1e300}, "float32"),
        (Container, {"setting": "high"}, "float32"),
        (ProgressiveStream, {"weights": "é"}, "ASCII"),
        (ProgressiveStream, {"height": -1}, "63 bits"),
        (ProgressiveStream, {"sections": [b"ab"], "lengths": [1]}, "lengths"),
        (ProgressiveStream, {"sections": [b"a", b"b"], "lengths": [1]}, "lengths"),
    ],
)
def test_what_a_reader_would_refuse_is_not_written(kind, change, sentence):
    with pytest.raises(SettingError, match=sentence):
        kind(**{"codec": "x", "height": 1, "width": 1, **change}).pack()


@pytest.mark.parametrize("kind", [Container, ProgressiveStream])
@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, 2**63 - 1])
def test_names_of_255_characters_and_numbers_of_63_bits_can_be_written(kind, number):
    contents = container.unpack(kind("x" * 255, number, 1).pack())
    assert contents == kind("x" * 255, number, 1)
    assert (contents.height, contents.setting, contents.weights, len(contents.sections)) == (number, 0, "", 0)


@pytest.mark.parametrize("unpack", [Container.unpack, ProgressiveStream.unpack, container.unpack, container.ledger])
@pytest.mark.parametrize(
    "data, sentence",
    [(b"", "letters EDC"), (b"GIF89a", "letters EDC"), (b"EDC", "version is missing"), (b"EDC\x03", "version is 3")],
)
def test_other_files_and_versions_are_named(unpack, data, sentence):
    with pytest.raises(BitstreamError, match=sentence):
        unpack(data)


def test_one_format_is_not_read_as_the_other():
    with pytest.raises(BitstreamError, match="version is 2; a container has version 1"):
        Container.unpack(ProgressiveStream("x", 1, 1).pack())
    with pytest.raises(BitstreamError, match="version is 1; a progressive stream has version 2"):
        ProgressiveStream.unpack(Container("x", 1, 1).pack())


@pytest.mark.parametrize("kind", [Container, ProgressiveStream])
def test_another_codecs_file_is_an_error(kind):
    with pytest.raises(BitstreamError, match="written by codec 'rnn', not 'hyperprior'"):
        kind.unpack(kind("rnn", 1, 1).pack(), codec="hyperprior")
    assert kind.unpack(kind("rnn", 1, 1).pack(), codec="rnn").codec == "rnn"


# --- the container ----------------------------------------------------------------------------


def test_the_bytes_of_a_container_by_hand():
    data = Container("abc", 300, 7, 0.5, {"y": b"\xaa\xbb"}, "w").pack()
    by_hand = b"EDC\x01\x05abc/w\xac\x02\x07\x00\x00\x00\x3f\x01y\x02\xaa\xbb"
    assert data == with_checksum(by_hand)
    assert container.ledger(data) == {"header": len(by_hand) - 2, "y": 2, "checksum": 4}
    assert container.describe(data) == [
        ("format", "EDC version 1"), ("codec", "abc"), ("weights", "w"), ("height x width", "300 x 7 pixels"),
        ("setting", "0.5"), ("section 'y'", "2 bytes"),
    ]  # fmt: skip


@given(containers, st.data())
def test_truncated_container_is_an_error(contents, data):
    packed = contents.pack()
    with pytest.raises(BitstreamError):
        Container.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


HEADER = b"EDC\x01\x01x\x01\x01\0\0\0\0"


@pytest.mark.parametrize(
    "body, sentence",
    [
        (b"EDC\x01\x04jpegab", "past its end"),
        (b"EDC\x01\x04jpeg" + b"\xff" * 12, "does not end"),
        (b"EDC\x01\x04jpeg\x81\x00" + b"\x01\0\0\0\0", "needless"),  # a second way to write 1
        (b"EDC\x01\x02\xff\xfe\x01\x01\0\0\0\0", "ASCII"),
        (b"EDC\x01\x05x\x1b[2J\x01\x01\0\0\0\0", "ASCII"),  # would clear the terminal that it is printed on
        (HEADER + b"\x01y\x00" * 2, "twice"),
        (HEADER + b"\x06header\x00", "called so"),  # the ledger would not sum to the length
        (HEADER + b"\x08checksum\x00", "called so"),
        (HEADER + b"\x01y\x7f", "past its end"),
        (HEADER + b"\x01", "past its end"),
    ],
)
def test_lies_with_a_correct_checksum_are_errors(body, sentence):
    with pytest.raises(BitstreamError, match=sentence):
        Container.unpack(with_checksum(body))


# --- the progressive stream -------------------------------------------------------------------

STREAM = ProgressiveStream("rnn", 300, 7, 3.0, [b"first", b"", b"third one"], "w")


def test_the_bytes_of_a_stream_by_hand():
    head = b"EDC\x02\x05rnn/w\xac\x02\x07\x00\x00\x40\x40\x03\x05\x00\x09"
    crcs = [zlib.crc32(head)]
    for section in STREAM.sections:
        crcs.append(zlib.crc32(section, crcs[-1]))
    after = [crc.to_bytes(4, "little") for crc in crcs]
    by_hand = [head, after[0], b"first", after[1], b"", after[2], b"third one", after[3]]
    data = STREAM.pack()
    assert data == b"".join(by_hand)
    assert container.ledger(data) == {
        "header": len(head) + 4, "section 1": 5, "section 2": 0, "section 3": 9, "checksums": 12,
    }  # fmt: skip
    assert container.section_ends(data) == [len(head) + 4, len(head) + 13, len(head) + 17, len(data)]


def test_a_stream_may_end_anywhere_behind_its_header():
    data = STREAM.pack()
    ends = container.section_ends(data)
    for length in range(ends[0], len(data) + 1):
        cut = ProgressiveStream.unpack(data[:length])
        complete = sum(end <= length for end in ends) - 1
        assert cut.sections == STREAM.sections[:complete] and cut.lengths == STREAM.lengths
        assert cut.cut == (complete < 3)
        assert ProgressiveStream.unpack(cut.pack()) == cut  # without what was left of a section
        ledger = container.ledger(data[:length])
        assert sum(ledger.values()) == length
        assert ledger.get("cut section", 0) == length - ends[complete]
        described = dict(container.describe(data[:length]))
        assert described["sections"] == f"{complete} of 3 complete"
        assert described["section 3"] == ("9 bytes, complete" if complete == 3 else "9 bytes, cut off")
    for length in range(ends[0]):
        with pytest.raises(BitstreamError):
            ProgressiveStream.unpack(data[:length])


def test_a_damaged_byte_in_what_is_there_of_a_cut_stream_is_an_error():
    data = STREAM.pack()
    for length in container.section_ends(data):
        for bit in range(8 * length):
            with pytest.raises(BitstreamError):
                ProgressiveStream.unpack(flip(data[:length], bit))


def test_sections_cannot_change_places_or_files():
    same = ProgressiveStream("rnn", 8, 8, 2.0, [b"one", b"two"]).pack()
    begin, first, end = container.section_ends(same)
    with pytest.raises(BitstreamError, match="Section 1"):
        ProgressiveStream.unpack(same[:begin] + same[first:end] + same[begin:first])
    other = ProgressiveStream("rnn", 8, 9, 2.0, [b"one", b"two"]).pack()
    with pytest.raises(BitstreamError, match="Section 2"):
        ProgressiveStream.unpack(same[:begin] + same[begin:first] + other[first:])


STREAM_HEADER = b"EDC\x02\x01x\x01\x01\0\0\0\0"


@pytest.mark.parametrize(
    "head, sentence",
    [
        (STREAM_HEADER + b"\xff\xff\xff\xff\x7f", "past its end"),  # billions of sections
        (STREAM_HEADER + b"\xff" * 12, "does not end"),
        (STREAM_HEADER + b"\x02\x81\x00\x00", "needless"),
        (b"EDC\x02\x05x\x1b[2J\x01\x01\0\0\0\0\x00", "ASCII"),
    ],
)
def test_lies_in_the_header_of_a_stream_are_errors(head, sentence):
    with pytest.raises(BitstreamError, match=sentence):
        ProgressiveStream.unpack(with_checksum(head))


def test_a_claim_of_huge_sections_is_a_stream_without_any():
    data = with_checksum(STREAM_HEADER + b"\x01" + b"\xff" * 8 + b"\x7f") + bytes(100)
    stream = ProgressiveStream.unpack(data)
    assert stream.sections == () and stream.lengths == (2**63 - 1,) and stream.cut
    assert container.ledger(data) == {"header": len(data) - 100, "checksums": 0, "cut section": 100}


def test_nothing_may_follow_the_last_section():
    with pytest.raises(BitstreamError, match="follows"):
        ProgressiveStream.unpack(STREAM.pack() + b"\0")


def test_truncate_cuts_behind_the_last_section_that_fits():
    data = STREAM.pack()
    ends = container.section_ends(data)
    for n_bytes in range(ends[0], len(data) + 10):
        cut = container.truncate(data, n_bytes)
        assert len(cut) == max(end for end in ends if end <= n_bytes) and data.startswith(cut)
    with pytest.raises(SettingError, match=f"alone has {ends[0]}"):
        container.truncate(data, ends[0] - 1)
    half = data[: ends[2] + 3]  # cut already
    assert container.truncate(half, len(data)) == data[: ends[2]]
