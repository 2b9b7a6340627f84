"""Other people's codecs: what the wrapping adds, and that their files are what we asked for."""

import numpy as np
import pytest

from edu_compress import BitstreamError, SettingError, images, metrics, open_codec, registry

CROP = images.sample("astronaut")[96:160, 192:256]


@pytest.fixture(scope="module")
def heic_file():
    return open_codec("heic").encode(CROP, 40)


@pytest.mark.parametrize("chroma", ["4:4:4", "4:2:0"])
def test_heic_chroma_and_colour_transform_are_those_we_asked_for(chroma):
    fields = dict(registry.describe(open_codec("heic", chroma=chroma).encode(CROP, 40)))
    assert fields["chroma"] == chroma
    assert fields["bits per sample"] == "8"
    assert fields["colour"] == "matrix BT.601, full range"
    assert fields["height x width"] == "64 x 64 pixels"


def test_heic_at_quality_100_loses_little():
    heic = open_codec("heic")
    assert metrics.psnr(CROP, heic.decode(heic.encode(CROP, 100))) > 45  # a wrong matrix or range would cost 20 dB


def test_heic_quality_buys_rate(heic_file):
    heic = open_codec("heic")
    smaller = heic.encode(CROP, 10)
    assert len(smaller) < len(heic_file)
    assert metrics.psnr(CROP, heic.decode(smaller)) < metrics.psnr(CROP, heic.decode(heic_file))


def test_heic_ledger_names_the_boxes(heic_file):
    ledger = registry.ledger(heic_file)
    assert {"ftyp", "hvcC", "coded picture (mdat)"} <= set(ledger)
    assert sum(ledger.values()) == len(heic_file)


def test_truncated_heic_is_an_error(heic_file):
    for length in range(len(heic_file)):
        with pytest.raises(BitstreamError):
            open_codec("heic").decode(heic_file[:length])


def test_damaged_heic_is_an_error_or_a_picture(heic_file):
    rng, heic = np.random.default_rng(0), open_codec("heic")
    for position in rng.integers(0, len(heic_file), 200):
        damaged = bytearray(heic_file)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            assert heic.decode(bytes(damaged)).dtype == np.uint8
        except BitstreamError as error:
            assert str(error).endswith(".")


def test_huge_heic_is_refused_before_it_is_decoded(heic_file):
    at = heic_file.index(b"ispe") + 8
    huge = heic_file[:at] + (60000).to_bytes(4, "big") * 2 + heic_file[at + 8 :]
    with pytest.raises(BitstreamError):
        open_codec("heic").decode(huge)


@pytest.mark.parametrize("options", [{"chroma": "4:1:1"}, {"preset": "best"}, {"tune": "vmaf"}])
def test_heic_options_are_checked(options):
    with pytest.raises(SettingError):
        open_codec("heic", **options)


@pytest.mark.parametrize("quality", [-1, 101, 50.5, float("nan"), "50", None])
def test_heic_quality_is_checked(quality):
    with pytest.raises(SettingError, match="whole number from 0 to 100"):
        open_codec("heic").encode(CROP, quality)
