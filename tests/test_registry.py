"""The registry, which is open to everybody, and what every codec in it must do."""

import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from edu_compress import BitstreamError, CodecError, SettingError, images, metrics, open_codec, open_reader, registry
from edu_compress.container import Container
from edu_compress.registry import Entry, Style

GOLDEN = Path(__file__).parent / "golden"


class Raw(registry.Codec):
    """A codec with a format of its own, and neither λ nor weights: size and samples, or only every n-th grey level."""

    name = "raw"
    settings = (16, 1)

    def __init__(self, negative: bool = False):
        self.negative = negative  # a choice of the decoder

    def encode(self, image, setting):
        height, width = images.as_image(image).shape[:2]
        return b"RAW" + height.to_bytes(4) + width.to_bytes(4) + (image // int(setting) * int(setting)).tobytes()

    def decode(self, data):
        height, width = int.from_bytes(data[3:7]), int.from_bytes(data[7:11])
        image = np.frombuffer(data, np.uint8, offset=11).reshape(height, width, 3)
        return 255 - image if self.negative else image

    @staticmethod
    def ledger(data):
        return {"header": 11, "samples": len(data) - 11}

    @staticmethod
    def describe(data):
        return [("height", str(int.from_bytes(data[3:7])))]


RAW = Entry("raw", Raw, "step 1-64", ".raw", "nothing is coded", signature=b"RAW")


@pytest.fixture
def clean(monkeypatch):
    """The registry as it was, after the test."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


# --- finding and opening ----------------------------------------------------------------------


def test_unknown_files_and_codecs_are_errors():
    with pytest.raises(BitstreamError, match="not a file of any codec"):
        registry.identify(b"GIF89a")
    with pytest.raises(BitstreamError, match="'telepathy', which is not in the registry"):
        registry.identify(Container("telepathy", 1, 1).pack())
    with pytest.raises(SettingError, match="'zip'; choose one of: jpeg, "):
        open_codec("zip")


def test_a_wrong_option_is_told_from_a_fault_of_the_codec(clean):
    with pytest.raises(SettingError, match="'jpeg' does not take these options: .*'colour'"):
        open_codec("jpeg", colour="blue")

    def faulty(option=0):
        return option + "text"

    registry.register(replace(RAW, target=faulty))
    with pytest.raises(SettingError):
        open_codec("raw", colour="blue")
    with pytest.raises(TypeError, match="unsupported operand"):
        open_codec("raw", option=1)


def test_a_codec_of_your_own_is_found_like_the_others(clean):
    registry.register(RAW)
    image = images.sample("cat")[:5, :9]
    data = open_codec("raw").encode(image, 1)
    assert registry.identify(data) == ("raw", {})
    assert np.array_equal(open_reader(data).decode(data), image)
    assert np.array_equal(open_reader(data, negative=True).decode(data), 255 - image)
    assert registry.ledger(data) == {"header": 11, "samples": 135}
    assert registry.describe(data) == [("height", "5")]
    assert list(registry.entries())[-1] == "raw" and isinstance(registry.quick("raw"), Raw)
    registry.register(replace(RAW, about="again, from the same cell"))
    assert registry.find("raw").about.startswith("again")
    with pytest.raises(SettingError, match="of the course"):
        registry.register(replace(RAW, name="jpeg"))


def test_codecs_of_installed_packages_are_found_and_a_broken_one_is_only_a_warning(clean, monkeypatch):
    class Found:
        def __init__(self, name, entry):
            self.name, self.entry = name, entry

        def load(self):
            if self.entry is None:
                raise ImportError("no module named lost")
            return self.entry

    def entry_points(group):
        return [Found("lost", None), Found("raw", RAW)] if group == "edu_compress.codecs" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    registry._find_installed.cache_clear()
    with pytest.warns(UserWarning, match="'lost' of an installed package.*no module named lost"):
        assert isinstance(open_codec("raw"), Raw)
    assert "lost" not in registry.entries()


def test_the_models_and_styles_are_those_of_the_entries():
    assert set(registry.models()) == {"factorized", "hyperprior", "context"}
    assert all(isinstance(entry.style, Style) for entry in registry.entries().values())
    assert len({entry.style for entry in registry.entries().values()}) == len(registry.entries())  # all differ


def test_counting_the_bytes_of_a_file_needs_no_weights_and_no_torch():
    code = f"""if True:
        import sys
        from pathlib import Path
        from edu_compress import registry
        data = Path({str(GOLDEN / "context-0.03.edc")!r}).read_bytes()
        assert sum(registry.ledger(data).values()) == len(data)
        print(dict(registry.describe(data))["weights"], "torch" in sys.modules)"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["golden-context", "False"]


def test_a_file_names_its_decoding_order():
    image = images.sample("cat")[:40, :60]
    by_raster = registry.find("context").load()("small", registry.quick("context").model, order="raster")
    data = by_raster.encode(image, by_raster.settings[0])
    assert Container.unpack(data).codec == "context-raster"
    assert registry.identify(data) == ("context", {"weights": "small", "order": "raster"})
    course = open_codec("context", order="raster")
    data = course.encode(image, course.settings[0])
    assert np.array_equal(open_reader(data).decode(data), course.decode(data))


def test_a_file_is_opened_with_the_weights_it_names(monkeypatch):
    data = (GOLDEN / "checkerboard-0.03.edc").read_bytes()
    with pytest.raises(CodecError, match="no weights 'golden-checkerboard'"):
        open_reader(data)
    monkeypatch.setenv("EDU_COMPRESS_WEIGHTS", str(GOLDEN))
    assert open_reader(data).weights == "golden-checkerboard"
    assert open_reader(data).decode(data).shape == (160, 240, 3)
    assert sum(registry.ledger(data).values()) == len(data)


@pytest.mark.parametrize(
    "name, weights", [("checkerboard", "checkerboard-msssim"), ("context", "context-deep"), ("context", "context-wide")]
)
def test_a_codec_serves_other_weights_of_the_course(name, weights):
    one, image = open_codec(name, weights=weights), images.sample("cat")[:96, 100:260]
    data = one.encode(image, one.settings[5])
    assert len(data) < image.size / 15
    assert metrics.psnr(image, open_reader(data).decode(data)) > 27


def test_the_name_of_weights_in_a_file_is_never_a_path():
    data = Container("checkerboard", 16, 16, 0.01, {"z": b"", "y": b""}, "../results/libjpeg_kodak").pack()
    with pytest.raises(CodecError, match="no weights"):
        open_reader(data)


# --- what every registered codec must do; this grows by itself with the registry ---------------

NAMES = list(registry.entries())
SIZES = [(1, 1), (1, 40), (7, 9), (16, 17), (64, 48)]


@pytest.fixture(scope="module", params=NAMES)
def one(request):
    """A small untrained instance of each codec."""
    return registry.quick(request.param)


def test_codec_follows_the_interface(one):
    entry = registry.find(one.name)
    assert isinstance(one, registry.Codec) and one.name == entry.name
    assert len(one.settings) >= 1 and entry.setting and entry.about


@pytest.mark.parametrize("size", SIZES)
def test_any_size_round_trips_and_the_ledger_balances(one, size):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    data = one.encode(image, one.settings[-1])
    decoded = one.decode(data)
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    assert np.array_equal(registry.quick(one.name).decode(data), decoded)  # another instance knows the bytes alone
    ledger = registry.ledger(data)
    assert ledger == one.ledger(data) and sum(ledger.values()) == len(data) and min(ledger.values()) >= 0
    assert all(isinstance(field, str) and isinstance(value, str) for field, value in registry.describe(data))
    name, _ = registry.identify(data)
    assert name == one.name or not registry.find(one.name).signature  # standard files have one reader


def test_a_curve_is_a_file_for_each_setting(one):
    image, settings = images.sample("cat")[100:140, 100:160], one.settings[:: max(1, len(one.settings) // 2)]
    files = list(one.curve(image, settings))
    assert len(files) == len(settings)
    pictures = [one.decode(data) for data in files]
    assert all(picture.shape == image.shape for picture in pictures)
    errors = [metrics.mse(image, picture) for picture in pictures]
    assert sorted(errors, reverse=True) == errors and sorted(map(len, files)) == list(map(len, files))


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 7), np.uint8), "photo.png", None]
)
def test_what_is_not_a_picture_is_one_clear_sentence(one, picture):
    with pytest.raises(CodecError) as caught:
        one.encode(picture, one.settings[0])
    assert re.match(r"[A-Z].*\.$", str(caught.value), re.DOTALL)


@pytest.mark.parametrize("setting", [-1e9, 1e9, float("nan"), "high", None])
def test_a_setting_that_is_none_is_one_clear_sentence(one, setting):
    with pytest.raises(SettingError) as caught:
        one.encode(np.zeros((4, 4, 3), np.uint8), setting)
    assert re.match(r"[A-Zλ].*\.$", str(caught.value), re.DOTALL)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"EDC", b"not a picture at all"])
def test_what_is_not_a_file_of_ours_is_an_error(one, data):
    with pytest.raises(CodecError):
        one.decode(data)
