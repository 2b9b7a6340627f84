"""The container, the registry, and what every codec must do."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edu_compress import BitstreamError, CodecError, SettingError, codec, images, metrics, open_codec, registry
from edu_compress.codec import Container

names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=20)
containers = st.builds(
    Container,
    codec=names,
    weights=names | st.just(""),
    height=st.integers(1, 10**6),
    width=st.integers(1, 10**6),
    setting=st.floats(width=32, allow_nan=False),
    sections=st.dictionaries(names, st.binary(max_size=200), max_size=5),
)


@given(containers)
def test_container_round_trip(container):
    assert Container.unpack(container.pack()) == container


@given(containers, st.data())
def test_any_flipped_bit_is_found_by_the_checksum(container, data):
    packed = bytearray(container.pack())
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        Container.unpack(bytes(packed))


@given(containers, st.data())
def test_truncated_container_is_an_error(container, data):
    packed = container.pack()
    with pytest.raises(BitstreamError):
        Container.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


def with_checksum(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"EDC\x01\x04jpegab", "past its end"),
        (b"EDC\x01\x04jpeg" + b"\xff" * 12, "does not end"),
        (b"EDC\x01\x02\xff\xfe\x01\x01\0\0\0\0", "ASCII"),
        (b"EDC\x01\x05x\x1b[2J\x01\x01\0\0\0\0", "ASCII"),  # would clear the terminal that it is printed on
        (b"EDC\x01\x01x\x01\x01\0\0\0\0" + b"\x01y\x00" * 2, "twice"),
        (b"EDC\x01\x01x\x01\x01\0\0\0\0\x06header\x00", "called so"),  # the ledger would not sum to the length
        (b"EDC\x01\x01x\x01\x01\0\0\0\0\x01y\x7f", "past its end"),
        (b"EDC\x02\x01x\x01\x01\0\0\0\0", "version is 2"),
    ],
)
def test_lies_with_a_correct_checksum_are_errors(body, sentence):
    with pytest.raises(BitstreamError, match=sentence):
        Container.unpack(with_checksum(body))


def test_another_codecs_file_is_an_error():
    with pytest.raises(BitstreamError, match="written by codec 'rnn'"):
        Container.unpack(Container("rnn", 1, 1).pack(), codec="hyperprior")


def test_unknown_files_and_codecs_are_errors():
    with pytest.raises(BitstreamError, match="not a file of any codec"):
        codec.identify(b"GIF89a")
    with pytest.raises(SettingError, match="choose one of"):
        open_codec("zip")
    with pytest.raises(SettingError, match="does not take"):
        open_codec("jpeg", colour="blue")


# --- what every registered codec must do; this grows by itself with the registry ---------------

SIZES = [(1, 1), (1, 40), (7, 9), (16, 17), (64, 48)]


def test_a_file_is_opened_with_the_weights_it_names(monkeypatch):
    golden = Path(__file__).parent / "golden"
    data = (golden / "checkerboard-0.03.edc").read_bytes()
    with pytest.raises(CodecError, match="no weights 'golden-checkerboard'"):
        codec.open_reader(data)
    monkeypatch.setenv("EDU_COMPRESS_WEIGHTS", str(golden))
    assert codec.open_reader(data).weights == "golden-checkerboard"
    assert codec.open_reader(data).decode(data).shape == (160, 240, 3)
    assert sum(codec.ledger(data).values()) == len(data)


@pytest.mark.parametrize("name, weights", [("checkerboard", "checkerboard-msssim"), ("context", "context-deep")])
def test_a_codec_serves_other_weights_of_the_course(name, weights):
    one, image = open_codec(name, weights=weights), images.sample("cat")[:96, 100:260]
    data = one.encode(image, one.settings[5])
    assert len(data) < image.size / 15
    assert metrics.psnr(image, codec.open_reader(data).decode(data)) > 27


def test_the_name_of_weights_in_a_file_is_never_a_path():
    data = codec.Container("checkerboard", 16, 16, 0.01, {"z": b"", "y": b""}, "../results/libjpeg_kodak").pack()
    with pytest.raises(CodecError, match="no weights"):
        codec.open_reader(data)


@pytest.mark.parametrize("name", registry)
def test_codec_follows_the_interface(name):
    one = open_codec(name)
    assert isinstance(one, codec.Codec)
    assert one.name == name
    assert len(one.settings) >= 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", registry)
def test_any_size_round_trips_and_the_ledger_balances(name, size):
    one = open_codec(name)
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    data = one.encode(image, one.settings[-1])
    decoded = one.decode(data)
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    assert open_codec(codec.identify(data)).decode(data).shape == image.shape
    assert sum(codec.ledger(data).values()) == len(data)
    assert all(isinstance(field, str) and isinstance(value, str) for field, value in codec.describe(data))


@pytest.mark.parametrize("name", registry)
@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 7), np.uint8), "photo.png", None]
)
def test_what_is_not_a_picture_is_one_clear_sentence(name, picture):
    one = open_codec(name)
    with pytest.raises(CodecError) as caught:
        one.encode(picture, one.settings[0])
    assert re.match(r"[A-Z].*\.$", str(caught.value), re.DOTALL)


@pytest.mark.parametrize("name", registry)
@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"EDC", b"not a picture at all"])
def test_what_is_not_a_file_of_ours_is_an_error(name, data):
    with pytest.raises(CodecError):
        open_codec(name).decode(data)
