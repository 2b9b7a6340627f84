"""The widget of lesson 05, driven without a browser; with small fixed weights, so no training matters."""

import base64
import html.parser
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import TRAINING_PHOTO

from edu_compress import images, metrics, open_codec, plots, widgets
from edu_compress.codecs.factorized import FactorizedCodec, FactorizedConfig, FactorizedPrior
from edu_compress.widgets._core import to_png


@pytest.fixture(scope="module")
def codec():
    """An untrained model whose linear path makes it a DCT codec: its pictures are recognisable."""
    torch.manual_seed(0)
    model = FactorizedPrior(FactorizedConfig(N=8, M=48))
    model.initialise(TRAINING_PHOTO)
    return FactorizedCodec("small", model)


@pytest.fixture(scope="module")
def explorer(codec):
    return widgets.LambdaExplorer(images.sample("coffee")[100:250, 100:330], codec)


@pytest.fixture(autouse=True)
def one_thread():
    """As many as the widget uses: with more, sums may be rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(stage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(stage.png)))


def test_every_move_codes_and_decodes_as_the_codec_does(explorer, codec):
    for lam in (0.001, 0.0123, 0.04):
        explorer.lam.value = lam
        data = codec.encode(explorer.photos.image, explorer.coded.lam)
        assert explorer.coded.data == data
        assert np.array_equal(pixels(explorer.picture), codec.decode(data))


def test_numbers_are_those_of_the_real_file(explorer, codec):
    explorer.lam.value = 0.008
    image, shown = explorer.photos.image, explorer.numbers.value
    data = codec.encode(image, explorer.coded.lam)
    decoded = codec.decode(data)
    rate, mse = metrics.bits_per_pixel(data, image), metrics.mse(image, decoded)
    assert f"{len(data):,} bytes" in shown
    assert f"{metrics.psnr(image, decoded):.2f} dB" in shown
    assert f"{metrics.ms_ssim(image, decoded):.4f}" in shown
    assert f"{rate:.3f} bpp" in shown
    assert f"{rate + explorer.coded.lam * mse:.3f} bpp" in shown
    _, symbols = codec.read(data)
    assert f"{np.mean(symbols == 0):.1%}" in shown


def test_more_lambda_buys_more_quality_for_more_bytes(explorer):
    coded = []
    for lam in (0.0005, 0.002, 0.008, 0.032):
        explorer.lam.value = lam
        coded.append(explorer.coded)
    assert all(a.rate < b.rate and a.mse > b.mse and a.zeros > b.zeros for a, b in zip(coded, coded[1:], strict=False))


def test_both_ends_of_the_slider_are_in_the_range_of_the_model(explorer, codec):
    for power, lam in zip((explorer.lam.min, explorer.lam.max), codec.model.lam_range, strict=True):
        explorer.lam.value = 10.0**power
        assert explorer.coded.lam == pytest.approx(lam, rel=1e-6)


def test_bits_map_adds_up_to_the_file(explorer):
    explorer.lam.value = 0.02
    estimate, real = explorer.coded.bits.sum() / 8, len(explorer.coded.data)
    assert abs(estimate - real) < 0.02 * real + 64
    height, width = explorer.photos.image.shape[:2]
    assert explorer.coded.bits.shape == (-(-height // 16), -(-width // 16))
    shown = pixels(explorer.bits).astype(int).sum(axis=2)
    assert shown.shape == (height, width)
    # the darkest place of the map is the most expensive position
    row, column = np.unravel_index(explorer.coded.bits.argmax(), explorer.coded.bits.shape)
    assert shown[16 * row, 16 * column] == shown.min()


def test_error_map_and_crops_show_what_was_decoded(explorer):
    explorer.lam.value = 0.004
    explorer.picture.pointer = [30.0, 200.0]
    inside = slice(90, 150), slice(0, 60)
    image, decoded = explorer.photos.image, explorer.coded.decoded
    assert explorer.original.png == to_png(image[inside])
    assert explorer.crop.png == to_png(decoded[inside])
    assert np.array_equal(pixels(explorer.error), plots.error_map(image, decoded))
    assert 'x="0" y="90"' in explorer.error.overlay == explorer.bits.overlay == explorer.picture.overlay


def test_jpeg_is_compared_at_the_nearest_number_of_bytes(explorer):
    explorer.lam.value = 0.02
    wanted = len(explorer.coded.data)
    quality, data = explorer.jpeg_at(wanted)
    libjpeg = open_codec("libjpeg")
    image = explorer.photos.image
    assert data == libjpeg.encode(image, quality)
    assert abs(len(data) - wanted) == min(abs(len(libjpeg.encode(image, q)) - wanted) for q in range(1, 96))
    assert f"{metrics.psnr(image, libjpeg.decode(data)):.2f} dB" in explorer.numbers.value


def test_line_of_equal_cost_runs_through_the_operating_point(explorer):
    for lam in (0.0004, 0.003, 0.05):
        explorer.lam.value = lam
        coded = explorer.coded
        rate, distortion = explorer._equal_cost(coded)
        assert np.allclose(rate + coded.lam * distortion, coded.cost)
        assert np.interp(coded.mse, distortion, rate) == pytest.approx(coded.rate)
        slope = np.diff(distortion) / np.diff(rate)
        assert np.allclose(slope, -1 / coded.lam)
        right, low, high = explorer._limits
        assert rate.min() >= -1e-9 and rate.max() <= right + 1e-9  # inside of the plane
        assert distortion.min() >= low and distortion.max() <= high


def test_overlay_moves_with_the_slider_and_fits_both_planes(explorer):
    seen = set()
    for axes in ("MSE", "PSNR"):
        explorer.axes.value = axes
        for lam in (0.002, 0.03):
            explorer.lam.value = lam
            seen.add(explorer.plane.overlay)
            x, y = (float(re.search(f'{c}="([-0-9.]+)"', explorer.plane.overlay)[1]) for c in ("cx", "cy"))
            rate, height = explorer._frame.data(x, y)
            assert rate == pytest.approx(explorer.coded.rate, abs=0.01)
            assert height == pytest.approx(explorer.coded.mse if axes == "MSE" else explorer.coded.psnr, rel=0.02)
    assert len(seen) == 4
    explorer.axes.value = "MSE"


def test_thread_count_of_torch_is_left_as_it_was(explorer):
    torch.set_num_threads(2)
    explorer.lam.value = 0.0077
    assert torch.get_num_threads() == 2


def test_another_photograph_is_analysed_anew(codec):
    explorer = widgets.LambdaExplorer(np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3), codec)
    assert explorer.coded.decoded.shape == (5, 9, 3) and explorer.bits.width == 9
    upload = io.BytesIO()
    Image.fromarray(images.sample("cat")[:100, :130]).save(upload, "PNG")
    chosen = SimpleNamespace(content=upload.getvalue())  # of what ipywidgets gives, the chooser reads this alone
    explorer.photos._uploaded(SimpleNamespace(new=(chosen,)))
    assert explorer.coded.decoded.shape == (100, 130, 3)
    assert explorer.coded.data == codec.encode(images.sample("cat")[:100, :130], explorer.coded.lam)


def test_a_flat_picture_takes_fewer_bytes_than_any_jpeg(codec):
    explorer = widgets.LambdaExplorer(np.full((40, 50, 3), 128, np.uint8), codec)
    explorer.axes.value = "PSNR"
    explorer.lam.value = 0.001
    _, jpeg = explorer.jpeg_at(len(explorer.coded.data))
    assert len(jpeg) > len(explorer.coded.data)
    assert "JPEG, at its smallest" in explorer.numbers.value
    assert explorer.still()[:4] == b"\x89PNG"


def test_still_is_a_picture(explorer):
    assert Image.open(io.BytesIO(explorer.still())).width > 600


# --- the twin ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twin(explorer):
    return explorer.twin(steps=5)


def test_twin_holds_real_steps_of_the_slider(explorer, twin, codec):
    data = json.loads(re.search(r"const data = (\{.*\});", twin)[1].replace("<\\/", "</"))
    lams = np.geomspace(*codec.model.lam_range, 5)
    assert len(data["steps"]) == 5
    for lam, step in zip(lams, data["steps"], strict=True):
        coded = explorer.code(lam)
        assert f"{len(coded.data):,} bytes" in step["numbers"] and f"{coded.psnr:.2f} dB" in step["numbers"]
        _, jpeg = explorer.jpeg_at(len(coded.data))
        assert step["jpeg"] == "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    assert len({step["overlay"] for step in data["steps"]}) == 5


class Outline(html.parser.HTMLParser):
    """Collects the tags and addresses of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.sources = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]


def test_twin_is_self_contained_and_is_a_film_strip_where_scripts_are_taken_out(explorer, twin):
    outline = Outline(twin)
    assert len(outline.sources) == 5 and all(source.startswith("data:image/webp;base64,") for source in outline.sources)
    assert outline.tags.count("script") == 1 and "{{" not in twin
    for lam, source in zip(np.geomspace(*explorer.codec.model.lam_range, 5), outline.sources, strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB")
        assert metrics.psnr(explorer.code(lam).decoded, np.asarray(picture)) > 30
    without = re.sub(r"<(script|style)>.*?</\1>", "", twin, flags=re.S)
    assert without.count("<img ") == 5 and without.count("λ = ") == 5 and "scroll" in without


def test_twin_is_small_and_can_be_saved_as_a_page(codec, tmp_path):
    explorer = widgets.LambdaExplorer("coffee", codec)
    assert explorer.photos.image.shape == (256, 384, 3)
    explorer.save_twin(tmp_path / "twin.html")
    page = (tmp_path / "twin.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and 'charset="utf-8"' in page
    assert len(page.encode()) < 1_000_000
