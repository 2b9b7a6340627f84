"""The widget of lesson 06, driven without a browser; with small fixed weights, so no training matters."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import SMALL, TRAINING_PHOTO, codec_of

from edu_compress import images, metrics, widgets
from edu_compress.codecs.factorized import FactorizedCodec, FactorizedConfig, FactorizedPrior
from edu_compress.widgets.hyperprior import allocate

PHOTO = images.sample("coffee")[100:250, 100:330]  # 10 x 15 positions, the last ones not whole


@pytest.fixture(scope="module")
def factorized():
    torch.manual_seed(0)
    model = FactorizedPrior(FactorizedConfig(N=SMALL["N"], M=SMALL["M"]))
    model.initialise(TRAINING_PHOTO)
    return FactorizedCodec("small", model)


@pytest.fixture(scope="module")
def codecs():
    return [codec_of("hyperprior"), codec_of("context")]


@pytest.fixture(scope="module")
def widget(codecs, factorized):
    return widgets.BitAllocation(PHOTO, codecs, factorized)


@pytest.fixture(autouse=True)
def one_thread():
    """As many as the widget uses: with more, sums may be rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(stage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(stage.png)))


def map_named(widget, name: str) -> np.ndarray:
    widget.map.value = name
    return widget.view().values


def test_every_move_writes_the_file_that_the_codec_writes(widget, codecs):
    for k, codec in enumerate(codecs):
        widget.codec.value = k
        for lam in (0.001, 0.02):
            widget.lam.value = lam
            data = codec.encode(PHOTO, np.float32(widget.allocation.lam))
            assert widget.data == data
            assert np.array_equal(pixels(widget.picture), codec.decode(data))
            assert f"{len(data):,} bytes" in widget.numbers.value
            assert f"{metrics.psnr(PHOTO, codec.decode(data)):.2f} dB" in widget.numbers.value


def test_bits_are_those_of_the_tables_and_add_up_to_the_file(widget, codecs):
    for k, codec in enumerate(codecs):
        widget.codec.value = k
        widget.lam.value = 0.01
        shown = widget.allocation
        _, latents, gaussians = codec.read(widget.data)
        assert np.array_equal(shown.latents.y, latents.y) and np.array_equal(shown.sigma, gaussians.sigma)
        tables = gaussians.bits(latents.y)
        likely = tables < 15  # what is rarer is an escape, or costs a table's least probability
        assert likely.mean() > 0.9
        assert np.allclose(shown.y_bits[likely], tables[likely], atol=0.02)
        sizes = codec.ledger(widget.data)
        assert abs(shown.z_bits.sum() / 8 - sizes["z"]) < 8
        assert shown.total.sum() == pytest.approx(shown.y_bits.sum() + shown.z_bits.sum())


def test_bits_of_z_are_shared_out_among_the_positions_that_it_describes(widget):
    shown = widget.allocation
    shares, z = shown.z_share, shown.z_bits.sum(axis=0)
    S = widget.codecs[0].model.config.S
    assert shares.shape == (10, 15) and z.shape == (-(-10 // S), -(-15 // S))
    for r in range(z.shape[0]):
        for c in range(z.shape[1]):
            cell = shares[S * r : S * r + S, S * c : S * c + S]
            assert np.ptp(cell) == 0 and cell.sum() == pytest.approx(z[r, c])


def test_a_click_chooses_the_position_under_the_pointer(widget):
    widget.codec.value, widget.lam.value = 0, 0.02
    for (x, y), (r, c) in (((33.0, 50.0), (3, 2)), ((229.9, 149.9), (9, 14)), ((0.5, 0.5), (0, 0))):
        widget.picture.pointer = [x, y]
        assert widget.position == (r, c)
        assert f'x="{16 * c}" y="{16 * r}"' in widget.map_picture.overlay == widget.picture.overlay
        shown = widget.allocation
        assert f"row {r}, column {c}" in widget.readout.value
        assert f"{shown.y_bits[:, r, c].sum():.1f} bits" in widget.readout.value
        for one in (*widget.allocations, widget.without):
            assert f"{one.total[r, c]:.1f} bits" in widget.readout.value
        dearest = int(shown.y_bits[:, r, c].argmax())
        assert widget.listed()[0] == dearest
        line = re.search(rf"<td [^>]*>{dearest}</td>(.*?)</tr>", widget.readout.value)[1]
        cells = re.findall(r"tabular-nums;'>([^<]*)</td>", line)
        expected = [shown.mu[dearest, r, c], shown.sigma[dearest, r, c], shown.y_bits[dearest, r, c]]
        assert int(cells[0]) == shown.latents.y[dearest, r, c]
        assert np.allclose([float(cell) for cell in cells[1:4]], expected, atol=0.051)
    widget.map_picture.pointer = [100.0, 20.0]
    assert widget.position == (1, 6)


def test_each_map_shows_its_numbers(widget):
    widget.codec.value, widget.lam.value, widget.channel.value = 1, 0.02, 2
    shown, without, m = widget.allocation, widget.without, widget._channel()
    assert np.array_equal(map_named(widget, "y"), shown.y_bits.sum(axis=0))
    assert np.array_equal(map_named(widget, "z"), shown.z_share)
    assert np.allclose(map_named(widget, "saved"), without.y_bits.sum(axis=0) - shown.total)
    assert np.array_equal(map_named(widget, "sigma"), shown.sigma[m])
    assert np.array_equal(map_named(widget, "mu"), shown.mu[m])
    assert np.array_equal(map_named(widget, "symbol"), shown.latents.y[m])
    normalised = map_named(widget, "normalised")
    assert np.allclose(normalised * shown.sigma[m] + shown.mu[m], shown.latents.y[m])
    assert np.array_equal(map_named(widget, "channel"), shown.y_bits[m])


def test_maps_are_drawn_in_the_size_of_the_photograph(widget):
    widget.map.value = "y"
    drawn, values = pixels(widget.map_picture).astype(int).sum(axis=2), widget.view().values
    assert drawn.shape == PHOTO.shape[:2]
    r, c = np.unravel_index(values.argmax(), values.shape)
    assert drawn[16 * r, 16 * c] == drawn.min()  # the darkest is the dearest
    widget.blend.value = True
    blended = pixels(widget.map_picture)
    assert np.ptp(blended[16 * r : 16 * r + 16, 16 * c : 16 * c + 16]) > 0  # the photograph shines through
    widget.blend.value = False
    widget.map.value = "saved"
    low, high = widget.view().range()
    assert low == -high < 0 and "blue: saved" in widget._titles["legend"].value


def test_slider_of_lambda_changes_everything(widget):
    widget.codec.value, widget.map.value = 0, "y"
    seen = set()
    for lam in (0.0005, 0.005, 0.05):
        widget.lam.value = lam
        seen.add((widget.picture.png, widget.map_picture.png, widget.numbers.value, widget.readout.value))
    assert all(len({state[part] for state in seen}) == 3 for part in range(4))


def test_channels_are_ranked_by_what_they_cost(codecs, factorized):
    widget = widgets.BitAllocation(PHOTO, codecs[0], factorized)
    totals = widget.allocation.y_bits.sum(axis=(1, 2))
    assert widget.channel.max == len(totals)
    chosen = []
    for rank in range(1, len(totals) + 1):
        widget.channel.value = rank
        chosen.append(widget._channel())
    assert sorted(chosen) == list(range(len(totals)))
    assert np.all(np.diff(totals[chosen]) <= 0)


def test_chart_shows_both_beliefs_about_the_symbol(widget):
    widget.codec.value = 0
    widget.picture.pointer = [120.0, 70.0]
    for rank in (1, 5, 16):
        widget.channel.value = rank
        (r, c), m, shown = widget.position, widget._channel(), widget.allocation
        values, p, q, symbol = widget._distribution()
        assert symbol == shown.latents.y[m, r, c] and symbol in values
        assert -np.log2(p[values == symbol][0]) == pytest.approx(shown.y_bits[m, r, c], rel=1e-6)
        assert shown.sigma[m, r, c] > 13 or p.sum() == pytest.approx(1, abs=0.01)  # the chart is cut off at 40 steps
        assert 0 < q.sum() <= 1.001
        assert widget.chart.overlay.count("<rect") == len(values) and "polyline" in widget.chart.overlay
        assert f"{shown.y_bits[m, r, c]:.2f} bits" in widget._titles["chart"].value


def test_reference_says_what_its_own_codec_says(widget, codecs, factorized):
    lam = widget.without.lam
    y = factorized.analyse(PHOTO)
    assert np.array_equal(widget.without.y_bits, factorized.bits(factorized.quantise(y, lam), lam))
    decoded = factorized.decode(factorized.encode(PHOTO, lam))
    assert f"by estimate, {metrics.psnr(PHOTO, decoded):.2f} dB" in widget.numbers.value
    (r, c), m = widget.position, widget._channel()
    symbol = widget.without.latents.y[m, r, c]
    p = widget.without.probability(m, r, c, np.array([symbol]))
    assert -np.log2(p[0]) == pytest.approx(widget.without.y_bits[m, r, c], rel=1e-4)
    hyperprior = widgets.BitAllocation(PHOTO, codecs[1], codecs[0])  # with and without context
    lam = hyperprior.allocation.lam
    assert hyperprior.without.total.sum() == allocate(codecs[0], codecs[0].analyse(PHOTO), lam).total.sum()
    assert hyperprior.map.label == "bits of y" and any("hyperprior" in name for name in hyperprior.map.options)


def test_a_reference_with_other_channels_is_compared_by_position_only(codecs):
    widget = widgets.BitAllocation(PHOTO, codecs[0], codec_of("checkerboard", M=24))
    assert widget._distribution()[2] is None and "polyline" not in widget.chart.overlay
    r, c = widget.position
    assert f"{widget.without.total[r, c]:.1f} bits" in widget.readout.value
    assert widget.still()[:4] == b"\x89PNG"


def test_own_photograph_of_any_size(codecs, factorized):
    widget = widgets.BitAllocation(np.arange(5 * 9 * 3, dtype=np.uint8).reshape(5, 9, 3), codecs, factorized)
    assert widget.decoded.shape == (5, 9, 3) and widget.position == (0, 0)
    upload = io.BytesIO()
    Image.fromarray(images.sample("cat")[:100, :130]).save(upload, "PNG")
    chosen = SimpleNamespace(content=upload.getvalue())  # of what ipywidgets gives, the chooser reads this alone
    widget.photos._uploaded(SimpleNamespace(new=(chosen,)))
    assert widget.decoded.shape == (100, 130, 3)
    assert widget.data == codecs[0].encode(images.sample("cat")[:100, :130], widget.allocation.lam)


def test_thread_count_of_torch_is_left_as_it_was(widget):
    torch.set_num_threads(2)
    widget.lam.value = 0.0077
    assert torch.get_num_threads() == 2


def test_still_is_a_picture(widget):
    for name in ("y", "saved", "sigma"):
        widget.map.value = name
        assert Image.open(io.BytesIO(widget.still())).width > 600
