"""The widgets of lesson 02, driven without a browser: what a typed letter, a moved slider and a dragged bar change."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from edu_compress import entropy_coding as ec
from edu_compress import images, widgets
from edu_compress.widgets.entropy_coding import ac_coefficients, parse_counts


@pytest.fixture
def narrowing():
    return widgets.IntervalNarrowing({"a": 2, "b": 1, "c": 1}, "")


def test_each_letter_narrows_the_interval_to_its_share(narrowing):
    assert (narrowing.low, narrowing.width) == (0, 1)
    narrowing.message.value = "ac"
    assert (narrowing.low, narrowing.width) == (Fraction(3, 8), Fraction(1, 8))
    assert "2^-3.00" in narrowing.numbers.value
    assert narrowing.shortest() == "011"


def test_shortest_number_stays_inside_whatever_follows():
    narrowing = widgets.IntervalNarrowing({"x": 50, "y": 3, "z": 1}, "xxyxzxxxy")
    digits = narrowing.shortest()
    number = Fraction(int(digits, 2), 2 ** len(digits))
    assert narrowing.low <= number and number + Fraction(1, 2 ** len(digits)) <= narrowing.low + narrowing.width
    assert len(digits) <= -np.log2(float(narrowing.width)) + 2


def test_bytes_are_those_of_the_range_coder(narrowing):
    narrowing.message.value = "abcabca"
    decoder = ec.RangeDecoder(narrowing.data)
    assert "".join("abc"[decoder.decode(narrowing.table)] for _ in range(7)) == "abcabca"
    assert narrowing.data.hex(" ") in narrowing.numbers.value


def test_buttons_and_foreign_letters(narrowing):
    narrowing.buttons[1].click()
    narrowing.buttons[0].click()
    assert narrowing.message.value == "ba"
    narrowing.back.click()
    assert narrowing.message.value == "b"
    narrowing.message.value = "b?!"
    assert narrowing.width == Fraction(1, 4)
    narrowing.clear.click()
    assert narrowing.width == 1


def test_a_click_on_the_last_row_adds_the_symbol_under_it(narrowing):
    row = narrowing._top(0) + 5
    narrowing.stage.pointer = [narrowing.LEFT + 0.6 * narrowing.WIDTH, row]
    assert narrowing.message.value == "b"
    narrowing.stage.pointer = [narrowing.LEFT + 0.1 * narrowing.WIDTH, row]  # no longer the last row
    assert narrowing.message.value == "b"
    narrowing.stage.pointer = [narrowing.LEFT + 0.1 * narrowing.WIDTH, narrowing._top(1) + 5]
    assert narrowing.message.value == "ba"


def test_a_long_message_still_has_a_picture(narrowing):
    narrowing.message.value = "abc" * 40
    assert 0 < narrowing.width < Fraction(1, 2**80)
    assert Image.open(io.BytesIO(narrowing.still())).width > 600


@pytest.fixture
def tree():
    return widgets.HuffmanTree("a=8 b=5 c=3 d=2 e=1")


def test_finished_tree_has_the_lengths_of_huffmans_code(tree):
    assert tree.merges.value == tree.merges.max == 4
    assert [len(code) for code in tree.codes()] == tree.lengths.tolist() == [1, 2, 3, 4, 4]
    assert "39 bits" in tree.numbers.value  # 8 + 10 + 9 + 8 + 4


def test_merges_grow_the_codes_from_their_end(tree):
    final = tree.codes()
    tree.merges.value = 2
    assert [len(code) for code in tree.codes()] == [0, 0, 1, 2, 2]
    assert all(whole.endswith(part) for whole, part in zip(final, tree.codes(), strict=True))
    overlay = tree.stage.overlay
    tree.merges.value = 0
    assert tree.codes() == [""] * 5 and tree.stage.overlay != overlay


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ("a=5 b=2", {"a": 5, "b": 2}),
        ("x=1,y=0; z=3", {"x": 1, "z": 3}),
        ("banana", {"a": 3, "b": 1, "n": 2}),
        ("e = mc2", {" ": 2, "2": 1, "=": 1, "c": 1, "e": 1, "m": 1}),
    ],
)
def test_counts_are_given_or_counted(source, counts):
    assert parse_counts(source) == counts


def test_a_text_that_cannot_be_coded_keeps_the_tree_and_says_why(tree):
    for source in ("", "aaaa", "abcdefghijklmnopqrstuvwxyz"):
        tree.source.value = source
        assert "2 to 16" in tree.message.value
        assert tree.letters == list("abcde")
    tree.source.value = "ab"
    assert tree.message.value == "" and tree.codes() in (["0", "1"], ["1", "0"])


def test_still_of_the_tree_is_a_picture(tree):
    assert Image.open(io.BytesIO(tree.still())).width > 600


@pytest.fixture(scope="module")
def drawing():
    return widgets.HistogramModel(images.sample("coffee")[:128, :192])


def test_true_histogram_costs_the_entropy_and_nothing_else_is_cheaper(drawing):
    drawing.true.click()
    best, h = len(drawing.data), ec.entropy(drawing.counts)
    assert drawing.cross_entropy() == pytest.approx(h, abs=0.01)
    for button in (drawing.uniform, drawing.gaussian):
        button.click()
        assert drawing.cross_entropy() > h and len(drawing.data) > best
        assert f"{len(drawing.data):,} bytes" in drawing.numbers.value


def test_bytes_decode_to_the_symbols_of_the_photograph(drawing):
    values = ac_coefficients(drawing.photos.image)
    decoded = ec.decode_values(drawing.data, np.zeros(len(values), int), [drawing.table])
    assert np.array_equal(decoded, values)


def test_a_dragged_bar_follows_the_pointer_and_the_others_share_the_rest(drawing):
    drawing.uniform.click()
    drawing.stage.pointer = list(drawing._frame.pixel(7, 0.5))  # the bar of value 0
    assert drawing.model[7] == pytest.approx(0.5, rel=0.01)
    assert drawing.model.sum() == pytest.approx(1)
    assert np.ptp(np.delete(drawing.model, 7)) < 1e-9
    drawing.stage.pointer = [drawing.stage.pointer[0], 0.0]  # beyond the top: as high as allowed
    assert drawing.model[7] == pytest.approx(0.98, rel=0.01)
    before = drawing.model.copy()
    drawing.stage.pointer = [1.0, 1.0]  # left of all bars
    assert np.array_equal(drawing.model, before)


def test_the_model_stays_when_the_photograph_changes():
    drawing = widgets.HistogramModel(images.sample("coffee")[:64, :64])
    drawing.true.click()
    model, h = drawing.model.copy(), drawing.cross_entropy()
    drawing.photos.names.value = "cat"
    assert np.allclose(drawing.model, model)
    assert drawing.cross_entropy() != h


def test_a_flat_picture_has_a_histogram_too():
    drawing = widgets.HistogramModel(np.full((9, 9, 3), 90, np.uint8))
    for button in (drawing.true, drawing.gaussian, drawing.uniform):
        button.click()
    assert Image.open(io.BytesIO(drawing.still())).width > 600
