"""The widget of lesson 07, driven without a browser; with small fixed weights, so no training matters."""

import io

import numpy as np
import pytest
from PIL import Image
from small_models import codec_of

from edu_compress import images, widgets
from edu_compress.codecs.context import ContextCodec
from edu_compress.learned.orders import wavefront_passes
from edu_compress.widgets.context import UNKNOWN, measure

PHOTO = images.sample("coffee")[100:200, 100:250]
ROWS, COLUMNS = 7, 10


@pytest.fixture(scope="module")
def codecs():
    wavefront = codec_of("context")
    raster = ContextCodec("small", wavefront.model, order="raster")
    return [raster, wavefront, codec_of("checkerboard"), codec_of("hyperprior")]


@pytest.fixture(scope="module")
def widget(codecs):
    return widgets.DecodeOrder(PHOTO, codecs)


def test_files_and_pictures_are_those_of_the_codecs(widget, codecs):
    for codec, order in zip(codecs, widget.orders, strict=True):
        assert order.data == codec.encode(PHOTO, widget.lam)
        assert np.array_equal(order.decoded, codec.decode(order.data))
    raster, wavefront = widget.orders[:2]
    assert np.array_equal(raster.decoded, wavefront.decoded)


def test_passes_are_those_of_the_decoders(widget):
    raster, wavefront, checkerboard, hyperprior = widget.orders
    assert [len(order.passes) for order in widget.orders] == [ROWS * COLUMNS, COLUMNS + 3 * ROWS - 3, 2, 1]
    for order in widget.orders:
        assert sorted(np.concatenate(order.passes).tolist()) == list(range(ROWS * COLUMNS))
    assert all(map(np.array_equal, wavefront.passes, wavefront_passes(ROWS, COLUMNS)))
    assert checkerboard.pass_of()[0, :3].tolist() == [0, 1, 0]
    assert np.array_equal(raster.pass_of().ravel(), np.arange(ROWS * COLUMNS))
    assert not hyperprior.pass_of().any()


def test_times_are_in_order(widget):
    for order in widget.orders:
        assert len(order.ended) == len(order.passes)
        moments = np.array([order.begun, *order.ended])
        assert moments[0] > 0 and np.all(np.diff(moments) >= 0) and moments[-1] < order.total


def test_watching_leaves_the_codec_as_it_was(codecs):
    prior = codecs[1].prior
    measure(codecs[1], PHOTO, 0.01, runs=1)
    assert codecs[1].prior is prior


def test_what_a_position_sees_is_decoded_before_it(widget):
    for order in widget.orders:
        number = order.pass_of()
        for r in range(ROWS):
            for c in range(COLUMNS):
                assert all(number[seen] < number[r, c] for seen in order.seen_from(r, c))
    raster, wavefront, checkerboard, hyperprior = widget.orders
    assert len(raster.seen_from(3, 5)) == len(wavefront.seen_from(3, 5)) == 12
    assert raster.seen_from(0, 0) == [] and raster.seen_from(0, 1) == [(0, 0)]
    assert checkerboard.seen_from(3, 5) == [] and len(checkerboard.seen_from(3, 4)) == 12  # an anchor; between them
    assert hyperprior.seen_from(3, 5) == []


def test_clock_by_passes(widget):
    player = widget.player
    player.by = "pass"
    for at in (0, 1, 2, 25, 1000):
        player.at = at
        for order in widget.orders:
            done = min(at, len(order.passes))
            assert widget.passes_done(order) == done
            known = np.concatenate([[], *order.passes[:done]])
            picture = widget.picture(order)
            corners = picture[::16, ::16].reshape(-1, 3)  # of each position
            decoded = order.decoded[::16, ::16].reshape(-1, 3)
            grey = np.all(corners == UNKNOWN, axis=1)
            assert np.array_equal(corners[known.astype(int)], decoded[known.astype(int)])
            now = len(order.passes[done]) if done < len(order.passes) else 0
            assert grey.sum() == ROWS * COLUMNS - len(known) - now


def test_clock_by_time_is_one_for_all(widget):
    player = widget.player
    player.by = "time"
    for order in widget.orders:
        player.at = 1000 * order.begun * 0.5
        assert widget.passes_done(order) == 0
        assert np.all(widget.picture(order) == UNKNOWN)  # z comes first
        middle = len(order.passes) // 2
        player.at = 1000 * order.ended[middle] + 1e-6
        assert widget.passes_done(order) >= middle + 1
        player.at = 1000 * order.total
        assert np.array_equal(widget.picture(order), order.decoded)


def test_page_gets_what_was_measured(widget):
    player = widget.player
    assert player.size == [PHOTO.shape[1], PHOTO.shape[0], ROWS, COLUMNS]
    for order, sent in zip(widget.orders, player.orders, strict=True):
        assert sent["bytes"] == len(order.data) and sent["passes"] == len(order.passes)
        assert sent["total"] == pytest.approx(1000 * order.total)
        assert np.array_equal(np.reshape(sent["passOf"], (ROWS, COLUMNS)), order.pass_of())
        assert np.array_equal(Image.open(io.BytesIO(sent["png"])), order.decoded)
        seen = [[down, right] for down, right in sent["sees"]]
        assert len(seen) == len(order.sees) and np.array_equal(np.ravel(order.blind), sent["blind"])
    assert player.slower in player.slower_choices


def test_measuring_again_and_another_photograph(codecs):
    widget = widgets.DecodeOrder(PHOTO, codecs[1:3])
    first = widget.orders
    widget.again.click()
    assert widget.orders is not first and widget.orders[0].data == first[0].data
    widget.photos.image = images.sample("cat")[:40, :90]
    assert widget.player.size == [90, 40, 3, 6] and widget.player.orders[0]["passes"] == 6 + 3 * 3 - 3
    assert f"λ = {widget.lam:g}" in widget.message.value
    tiny = widgets.DecodeOrder(np.full((1, 1, 3), 90, np.uint8), codecs)
    assert [len(order.passes) for order in tiny.orders] == [1, 1, 1, 1]
    assert tiny.still()[:4] == b"\x89PNG"


def test_still_is_a_picture(widget):
    for by, at in (("time", 3.0), ("pass", 5.0)):
        widget.player.by, widget.player.at = by, at
        assert Image.open(io.BytesIO(widget.still())).width > 600
