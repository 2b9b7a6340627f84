"""Figures: what stands on which axis, in which style; and the numbers behind the pictures."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from edu_compress import images, plots, registry
from edu_compress.rate_distortion import RDCurve, RDPoint

CURVE = RDCurve("jpeg", (RDPoint(0.5, 100.0, 28.1, 0.9, 20), RDPoint(1.5, 10.0, 38.1, 0.99, 80)))
PHOTO = images.sample("coffee")[:60, :90]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# --- styles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.entries())
def test_a_codec_is_drawn_as_its_entry_says(name):
    assert plots.style(name) == registry.find(name).style
    assert len(plots.style(name).label) > 3


def test_an_unknown_curve_gets_its_name_and_a_grey_dashed_line(monkeypatch):
    grey = plots.Style("published", "#777777", ".", "--")
    assert plots.style("published") == grey
    bare = registry.Entry("published", "nowhere:Nothing", "none", ".x", "without style")
    monkeypatch.setattr(registry, "_entries", {**registry._entries, "published": bare})
    assert plots.style("published") == grey


def test_the_style_of_the_course_is_white_and_not_smoothed():
    with plt.rc_context():
        plots.use_style()
        assert plt.rcParams["figure.facecolor"] == plt.rcParams["savefig.facecolor"] == "white"
        assert plt.rcParams["image.interpolation"] == "nearest" and plt.rcParams["image.cmap"] == "gray"
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"][:2] == [plots.BLUE, plots.RED]


# --- curves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric, heights, label",
    [
        ("psnr", [28.1, 38.1], "PSNR (dB)"),
        ("ms_ssim", [0.9, 0.99], "MS-SSIM"),
        ("ms_ssim_db", [10.0, 20.0], "MS-SSIM (dB)"),
        ("mse", [100.0, 10.0], "MSE (grey levels²)"),
    ],
)
def test_the_rate_is_to_the_right_and_the_metric_upwards(metric, heights, label):
    ax = plots.rd_plot(CURVE, metric)
    (line,) = ax.get_lines()
    assert line.get_xdata().tolist() == [0.5, 1.5]
    np.testing.assert_allclose(line.get_ydata(), heights)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rate (bits per pixel)", label)
    assert ax.get_xlim()[0] == 0  # lengths can be compared


def test_each_curve_has_its_style_and_a_line_in_the_legend():
    ax = plots.rd_plot([CURVE, RDCurve("published", CURVE.points)], ax=plt.subplots()[1])
    ours, published = ax.get_lines()
    style = plots.style("jpeg")
    assert (ours.get_color(), ours.get_marker(), ours.get_linestyle()) == (style.color, style.marker, style.linestyle)
    assert (published.get_color(), published.get_linestyle()) == ("#777777", "--")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["JPEG (ours)", "published"]


def test_it_draws_where_it_is_told_or_in_a_new_figure():
    given = plt.subplots()[1]
    assert plots.rd_plot(CURVE, ax=given) is given
    assert plots.rd_plot(CURVE) is not given


# --- pictures ---------------------------------------------------------------------------------


def test_pictures_stand_in_a_row_with_their_titles_and_without_axes():
    figure = plots.show_images([PHOTO, PHOTO[:30]], ["a", "b"], width=2.0, cmap="viridis")
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"] and not any(ax.axison for ax in figure.axes)
    shown = [ax.get_images()[0] for ax in figure.axes]
    assert np.array_equal(shown[0].get_array(), PHOTO) and np.array_equal(shown[1].get_array(), PHOTO[:30])
    assert shown[0].get_cmap().name == "viridis"
    np.testing.assert_allclose(figure.get_size_inches(), [4.0, 2.0 * 60 / 90 + 0.4])  # as high as the tallest needs
    assert plots.show_images([PHOTO]).axes[0].get_title() == ""


def test_an_error_map_is_white_where_equal_and_darkest_at_full_scale():
    original = np.full((1, 5, 3), 100, np.uint8)
    decoded = original.copy()
    decoded[0, 1] += 8  # in all three channels: a root-mean-square difference of 8
    decoded[0, 2, 0] -= 14  # in one channel: of 14 / sqrt(3)
    decoded[0, 3] += 32
    decoded[0, 4] += 90
    shown = plots.error_map(original, decoded)
    assert shown.dtype == np.uint8 and shown.shape == original.shape
    purples = plt.get_cmap("Purples")
    for column, difference in enumerate([0, 8, 14 / math.sqrt(3), 32, 32]):
        expected = images.to_uint8(255 * np.array(purples(difference / 32)[:3]))
        assert shown[0, column].tolist() == expected.tolist()
    assert shown[0, 0].min() > 250
    half = plots.error_map(original, decoded, full_scale=16)
    assert half[0, 1].tolist() == images.to_uint8(255 * np.array(purples(0.5)[:3])).tolist()
    assert np.array_equal(plots.error_map(decoded, original), shown)  # no wrap-around: 92 - 100 is 8 apart


@pytest.mark.parametrize(
    "size, at, box",
    [
        (20, None, (20, 35, 20, 20)),
        (20, (30, 40), (20, 30, 20, 20)),
        (20, (0, 0), (0, 0, 20, 20)),
        (20, (59, 89), (40, 70, 20, 20)),
        (21, (30, 40), (20, 30, 21, 21)),
        (200, (3, 4), (0, 0, 60, 90)),  # larger than the picture: all of it
    ],
)
def test_a_crop_lies_inside_around_its_centre(size, at, box):
    assert plots.crop_box(PHOTO, size, at) == box


def test_a_crop_has_96_pixels_if_nothing_is_said():
    assert plots.crop_box(np.zeros((400, 300, 3)))[2:] == (96, 96)


def test_side_by_side_shows_the_picture_the_crop_and_the_errors():
    decoded = np.clip(PHOTO.astype(int) + 9, 0, 255).astype(np.uint8)
    figure = plots.side_by_side(PHOTO, {"worse": decoded}, size=20, at=(30, 40))
    rows = np.array(figure.axes).reshape(3, 2)
    assert [ax.get_title() for ax in rows[0]] == ["original", "worse"]
    shown = [[ax.get_images()[0].get_array() if ax.get_images() else None for ax in row] for row in rows]
    assert np.array_equal(shown[0][0], PHOTO) and np.array_equal(shown[0][1], decoded)
    assert np.array_equal(shown[1][0], PHOTO[20:40, 30:50]) and np.array_equal(shown[1][1], decoded[20:40, 30:50])
    assert shown[2][0] is None and np.array_equal(shown[2][1], plots.error_map(PHOTO, decoded))
    assert all(ax.get_images()[0].get_interpolation() == "nearest" for ax in rows[1])
    for ax in rows[0]:
        (frame,) = ax.patches
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((30, 20), 20, 20)
        assert to_rgb(frame.get_edgecolor()) == to_rgb(plots.ORANGE) and not frame.get_fill()
    np.testing.assert_allclose(figure.get_size_inches(), [5.2, 2.6 * (60 / 90 + 1 + 60 / 90) + 0.4])
    assert not any(ax.axison for ax in figure.axes)


def test_side_by_side_without_errors_has_two_rows():
    figure = plots.side_by_side(PHOTO, {"a": PHOTO, "b": PHOTO}, errors=False)
    assert len(figure.axes) == 6
    np.testing.assert_allclose(figure.get_size_inches(), [7.8, 2.6 * (60 / 90 + 60 / 90) + 0.4])
