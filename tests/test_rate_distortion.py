"""Curves from real files, the cost J = R + λ D, Bjøntegaard deltas against a trusted package, and the λ converter."""

import io
import math
from dataclasses import asdict

import bjontegaard
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edu_compress import CodecError, ImageError, SettingError, files, images, metrics
from edu_compress.evaluation import results_folder
from edu_compress.rate_distortion import (
    LAMBDA_CONVENTIONS,
    RDCurve,
    RDPoint,
    bd_psnr,
    bd_rate,
    best_index,
    convert_lambda,
    hm_lambda,
    lagrangian,
    load_curves,
    lower_convex_hull,
    mean_curve,
    measure,
    setting_within,
)


def curve(codec: str, bpp, psnr, ms_ssim) -> RDCurve:
    mse = 255**2 / 10 ** (np.array(psnr) / 10)
    return RDCurve(codec, tuple(RDPoint(*row) for row in zip(bpp, mse, psnr, ms_ssim, range(len(bpp)), strict=True)))


# Mean over the Kodak pictures as published by CompressAI (results/image/kodak at commit 869a9f5, RGB).
JPEG = curve(
    "jpeg",
    [0.22115, 0.32661, 0.42313, 0.50839, 0.58787, 0.66013, 0.72895, 0.78603, 0.84972, 0.906,
     0.96438, 1.03721, 1.1274, 1.23985, 1.36883, 1.57181, 1.85882, 2.3502, 3.40134],
    [23.7799, 26.5772, 28.0422, 29.0418, 29.7847, 30.3783, 30.9032, 31.3078, 31.7048, 32.0587,
     32.3993, 32.7899, 33.2347, 33.7926, 34.3943, 35.239, 36.3289, 37.9121, 40.5567],
    [0.80307, 0.88986, 0.92358, 0.94271, 0.95335, 0.96062, 0.96614, 0.96969, 0.97265, 0.97525,
     0.97727, 0.97928, 0.98136, 0.98371, 0.98575, 0.98819, 0.99055, 0.99298, 0.99564],
)  # fmt: skip
BPG = curve(
    "bpg",
    [0.06777, 0.16102, 0.35155, 0.6847, 1.19967, 1.92971, 3.05788, 4.70314],
    [26.1951, 28.6815, 31.5947, 34.8575, 38.2599, 41.4789, 44.7031, 47.6325],
    [0.86859, 0.9242, 0.96114, 0.9808, 0.99047, 0.99493, 0.99755, 0.9988],
)


class PillowCodec:
    """A small real codec: the JPEG, or the lossless WebP, of Pillow."""

    def __init__(self, settings=(10, 30, 50, 70, 90), kind="JPEG", name="pillow"):
        self.settings, self.kind, self.name, self.calls = settings, kind, name, 0

    def encode(self, image, setting):
        self.calls += 1
        buffer = io.BytesIO()
        options = {"lossless": True} if self.kind == "WEBP" else {"quality": int(setting)}
        Image.fromarray(image).save(buffer, self.kind, **options)
        return buffer.getvalue()

    def decode(self, data):
        return images.load(data)


CAT = images.sample("cat")[:200, :240]


# --- curves -----------------------------------------------------------------------------------


def test_a_curve_is_measured_on_real_files():
    codec = PillowCodec()
    measured = measure(codec, CAT)
    assert measured.codec == "pillow" and measured.setting.tolist() == [10, 30, 50, 70, 90]
    for column in (measured.bpp, measured.psnr, measured.ms_ssim, measured.ms_ssim_db, -measured.mse):
        assert (np.diff(column) > 0).all()
    data = codec.encode(CAT, 50)
    point = measured.points[2]
    assert point.bpp == 8 * len(data) / (200 * 240)
    assert point.psnr == metrics.psnr(CAT, codec.decode(data)) and point.mse == metrics.mse(CAT, codec.decode(data))
    assert point.ms_ssim == metrics.ms_ssim(CAT, codec.decode(data))


def test_settings_can_be_chosen_and_points_are_in_order_of_rate():
    measured = measure(PillowCodec(), CAT, settings=[80, 20, 40])
    assert measured.setting.tolist() == [20, 40, 80]


def test_a_decoder_that_returns_another_size_is_found_out():
    codec = PillowCodec()
    codec.decode = lambda data: images.load(data)[:, :-1]
    with pytest.raises(ImageError):
        measure(codec, CAT)


def test_the_mean_curve_averages_setting_by_setting():
    curves = [measure(PillowCodec((20, 60)), picture) for picture in (CAT, CAT[::-1, :100], CAT[50:, 50:])]
    mean = mean_curve(curves)
    assert mean.codec == "pillow" and mean.setting.tolist() == [20, 60]
    for column in ("bpp", "mse", "psnr", "ms_ssim"):
        expected = np.mean([getattr(c, column) for c in curves], axis=0)
        assert getattr(mean, column) == pytest.approx(expected)


def test_only_like_curves_can_be_averaged():
    one = measure(PillowCodec((20, 60)), CAT)
    other_settings, other_codec = measure(PillowCodec((20, 70)), CAT), RDCurve("other", one.points)
    for curves in ([], [one, other_settings], [one, other_codec], [one, RDCurve("pillow", one.points[:1])]):
        with pytest.raises(SettingError):
            mean_curve(curves)


def test_curves_are_saved_and_loaded_exactly_even_those_without_loss(tmp_path):
    curves = [measure(PillowCodec((20, 60)), CAT), measure(PillowCodec((0,), "WEBP", "lossless"), CAT)]
    assert curves[1].psnr[0] == math.inf
    entries = [{"codec": curve.codec, "points": [asdict(point) for point in curve.points]} for curve in curves]
    files.write_json(tmp_path / "curves.json", {"command": "pytest", "curves": entries})
    assert load_curves(tmp_path / "curves.json") == curves


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"curves": [{"codec": "a"}]}', '{"curves": [{"codec": "a", "points": [{}]}]}']
)
def test_a_file_that_is_not_one_of_curves_is_an_error(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    for name in ("x.json", "missing.json"):
        with pytest.raises(CodecError) as error:
            load_curves(tmp_path / name)
        assert name in str(error.value) and str(error.value).endswith(".")


# --- choosing a setting -----------------------------------------------------------------------

point_lists = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12)


def test_the_cost_is_rate_plus_lambda_times_distortion():
    assert lagrangian([1.0, 2.0], [100.0, 10.0], 0.02).tolist() == [3.0, 2.2]
    assert best_index([1.0, 2.0], [100.0, 10.0], 0.02) == 1
    assert best_index([1.0, 2.0], [100.0, 10.0], 0.001) == 0


def test_a_larger_lambda_means_more_quality():
    rate, distortion = JPEG.bpp, JPEG.mse
    chosen = [best_index(rate, distortion, lam) for lam in np.geomspace(1e-5, 1, 60)]
    assert chosen == sorted(chosen) and chosen[0] == 0 and chosen[-1] == len(rate) - 1


@given(point_lists, st.floats(0.01, 100))
def test_the_best_point_for_any_lambda_is_on_the_hull(points, lam):
    rate, distortion = np.array(points).T
    hull = lower_convex_hull(rate, distortion)
    costs = lagrangian(rate, distortion, lam)
    assert costs[hull].min() == costs.min()


@given(point_lists)
def test_the_points_of_the_hull_are_the_best_ones_in_turn_as_lambda_grows(points):
    rate, distortion = np.array(points, dtype=float).T
    hull = lower_convex_hull(rate, distortion)
    assert (np.diff(rate[hull]) > 0).all() and (np.diff(distortion[hull]) < 0).all()
    equal_cost = -np.diff(rate[hull]) / np.diff(distortion[hull])  # the λ at which two neighbours cost the same
    assert (np.diff(equal_cost) > 0).all()
    edges = np.array([equal_cost[0] / 2, *equal_cost, equal_cost[-1] * 2]) if len(hull) > 1 else np.ones(2)
    for index, lam in zip(hull, np.sqrt(edges[1:] * edges[:-1]), strict=True):
        best = best_index(rate, distortion, lam)
        assert (rate[best], distortion[best]) == (rate[index], distortion[index])


def test_the_hull_leaves_out_what_lies_above_it_or_on_a_line():
    rate, distortion = [1, 2, 3, 4, 5, 2], [10, 5, 4.5, 2, 3, 8]
    assert lower_convex_hull(rate, distortion).tolist() == [0, 1, 3]
    assert lower_convex_hull([0, 1, 2], [2, 1, 0]).tolist() == [0, 2]
    assert lower_convex_hull([3, 3, 3], [2, 1, 1]).tolist() == [1]
    assert lower_convex_hull([0, 1, 2, 3], [10, 8, 7, 0]).tolist() == [0, 3]  # the last hides two


@pytest.mark.parametrize("settings", [(5, 95), (95, 5), (5, 20, 40, 60, 80, 95)])
@pytest.mark.parametrize("n_bytes", [2000, 5000, 9000])
def test_setting_within_finds_the_largest_file_that_fits(settings, n_bytes):
    codec = PillowCodec(settings)
    setting, data = setting_within(codec, CAT, n_bytes)
    assert data == codec.encode(CAT, setting) and len(data) <= n_bytes
    assert len(codec.encode(CAT, setting + 1)) > n_bytes
    assert codec.calls <= 14


def test_setting_within_searches_real_settings_between_the_listed_ones():
    codec = PillowCodec((0.5, 9.5))
    codec.encode = lambda image, setting: bytes(int(1000 * setting))
    setting, data = setting_within(codec, CAT, 3333)
    assert len(data) == int(1000 * setting) and 3320 < len(data) <= 3333


def test_setting_within_takes_the_best_setting_if_all_fit_and_refuses_if_none_does():
    codec = PillowCodec()
    assert setting_within(codec, CAT, 10**9)[0] == 90
    lossless = PillowCodec((0,), "WEBP")
    assert setting_within(lossless, CAT, 10**9) == (0, lossless.encode(CAT, 0))
    for chosen in (codec, lossless):
        with pytest.raises(SettingError, match="at least") as error:
            setting_within(chosen, CAT, 100)
        assert str(error.value).endswith(".")


# --- Bjøntegaard's delta ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pchip", "cubic"])
@pytest.mark.parametrize("metric", ["psnr", "ms_ssim_db"])
@pytest.mark.parametrize("anchor, test", [(JPEG, BPG), (BPG, JPEG)])
def test_bjontegaard_deltas_equal_the_bjontegaard_package(anchor, test, metric, method):
    columns = (anchor.bpp, getattr(anchor, metric), test.bpp, getattr(test, metric))
    options = {"method": method, "require_matching_points": False, "min_overlap": 0}
    assert bd_rate(anchor, test, metric, method).value == pytest.approx(
        bjontegaard.bd_rate(*columns, **options), abs=1e-6
    )
    assert bd_psnr(anchor, test, metric, method).value == pytest.approx(
        bjontegaard.bd_psnr(*columns, **options), abs=1e-6
    )


def test_bjontegaard_deltas_equal_the_package_on_measured_curves():
    jpeg = measure(PillowCodec(range(20, 91, 10)), CAT)
    coarse = measure(PillowCodec(range(20, 91, 10)), images.to_uint8(CAT * 0.9))
    theirs = bjontegaard.bd_rate(jpeg.bpp, jpeg.psnr, coarse.bpp, coarse.psnr, method="pchip")
    assert bd_rate(jpeg, coarse).value == pytest.approx(theirs, abs=1e-6)


def test_bpg_saves_59_percent_against_jpeg_on_kodak():
    result = bd_rate(JPEG, BPG)
    assert result.value == pytest.approx(-58.9, abs=0.05)
    assert (result.low, result.high) == (26.1951, 40.5567)  # dB that both curves reach
    assert result.anchor_share == pytest.approx((40.5567 - 26.1951) / (40.5567 - 23.7799))
    assert result.test_share == pytest.approx((40.5567 - 26.1951) / (47.6325 - 26.1951))
    assert float(result) == result.value
    assert str(result) == "-58.86 % over 26.2 ... 40.6 dB (86% of the anchor, 67% of the test curve)"


def test_bd_psnr_says_over_which_rates_it_holds():
    result = bd_psnr(JPEG, BPG)
    assert result.unit == "dB" and result.value > 4
    assert (result.low, result.high) == (pytest.approx(0.22115), pytest.approx(3.40134))
    assert result.anchor_share == pytest.approx(1)


@pytest.mark.parametrize("method", ["pchip", "cubic"])
def test_a_curve_that_needs_a_fixed_share_less_rate_has_that_bd_rate(method):
    cheaper = curve("cheaper", 0.75 * JPEG.bpp, JPEG.psnr, JPEG.ms_ssim)
    assert bd_rate(JPEG, cheaper, method=method).value == pytest.approx(-25)
    assert bd_rate(cheaper, JPEG, method=method).value == pytest.approx(100 / 3)
    better = curve("better", JPEG.bpp, JPEG.psnr + 1.5, JPEG.ms_ssim)
    assert bd_psnr(JPEG, better, method=method).value == pytest.approx(1.5)
    assert bd_rate(JPEG, JPEG, method=method).value == bd_psnr(JPEG, JPEG, method=method).value == 0


def test_curves_that_cannot_be_compared_are_an_error():
    few = RDCurve("few", JPEG.points[:3])
    far = curve("far", BPG.bpp, BPG.psnr + 30, BPG.ms_ssim)
    falling = curve("falling", BPG.bpp, BPG.psnr[::-1], BPG.ms_ssim)
    double = curve("double", BPG.bpp.round(0), BPG.psnr, BPG.ms_ssim)
    lossless = curve("lossless", BPG.bpp, [*BPG.psnr[:-1], math.inf], BPG.ms_ssim)
    cases = {"4": few, "common": far, "monotonic": falling, "not monotonic": double, "without loss": lossless}
    for reason, bad in cases.items():
        for pair in ((JPEG, bad), (bad, JPEG)):
            with pytest.raises(CodecError, match=reason) as error:
                bd_rate(*pair)
            assert str(error.value).endswith(".")
    with pytest.raises(SettingError, match="ms_ssim_db"):
        bd_rate(JPEG, BPG, metric="ms_ssim")
    with pytest.raises(SettingError, match="cubic"):
        bd_psnr(JPEG, BPG, method="linear")


# --- one λ, many conventions ------------------------------------------------------------------

N = 1000  # pixels

# Each objective as its own code states it, from what a picture really has: its bits, and its sum of squared errors over
# 3 N samples (0 ... 255). Written without the converter.
OBJECTIVES = {
    "course": lambda v, bits, sse: bits / N + v * sse / (3 * N),
    "compressai": lambda v, bits, sse: v * 255**2 * (sse / 255**2 / (3 * N)) + bits / N,
    "compressai-tutorial": lambda v, bits, sse: sse / 255**2 / (3 * N) + v * bits / N,
    "tfc": lambda v, bits, sse: bits / N + v * sse / (3 * N),
    "tfc-2018": lambda v, bits, sse: v * (sse / 255**2) * 255**2 / N + bits / N,
    "mse-0-1": lambda v, bits, sse: v * sse / 255**2 / (3 * N) + bits / N,
    "distortion-first": lambda v, bits, sse: sse / (3 * N) + v * bits / N,
    "sse": lambda v, bits, sse: sse + v * bits,
    "nats": lambda v, bits, sse: bits * math.log(2) / N + v * sse / (3 * N),
    "per-sample": lambda v, bits, sse: bits / (3 * N) + v * sse / (3 * N),
    "gaussian": lambda v, bits, sse: bits * math.log(2) + sse / (2 * v**2),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@given(value=st.floats(1e-3, 1e3))
def test_both_conventions_rank_all_files_alike(name, value):
    ours = convert_lambda(value, name)
    files = [(1000, 3e6), (2500, 7e5), (9000, 2e4)]  # bits, sum of squared errors
    ratios = [OBJECTIVES[name](value, *file) / OBJECTIVES["course"](ours, *file) for file in files]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-9)  # a multiple of our cost: the same minimum
    assert convert_lambda(ours, "course", name) == pytest.approx(value, rel=1e-9)


def test_every_convention_is_tested_and_documented():
    assert {name for name, c in LAMBDA_CONVENTIONS.items() if c.distortion == "MSE"} == set(OBJECTIVES)
    assert all(convention.objective and convention.source for convention in LAMBDA_CONVENTIONS.values())


def test_conversions_that_users_look_for():
    assert convert_lambda(0.0130, "compressai") == 0.0130  # 255² stands in its loss
    assert convert_lambda(0.01, "compressai", "tfc") == 0.01
    assert convert_lambda(2048, "mse-0-1", "compressai") == pytest.approx(0.0315, abs=5e-5)
    assert convert_lambda(5.0, "compressai-ms-ssim", "course-ms-ssim") == 5.0
    assert hm_lambda(12) == 0.57 and hm_lambda(15) == pytest.approx(1.14)
    assert convert_lambda(hm_lambda(32), "sse") == pytest.approx(3 / (0.57 * 2 ** (20 / 3)))


def test_what_cannot_be_converted_is_an_error():
    cases = [
        (0.1, "nobody"),
        (0.1, "course", "nobody"),
        (0, "sse"),
        (-1, "course"),
        (math.nan, "course"),
        (math.inf, "sse"),
    ]
    for arguments in [*cases, (0.1, "compressai-ms-ssim", "course")]:
        with pytest.raises(SettingError) as error:
            convert_lambda(*arguments)
        assert str(error.value).endswith(".")


# BD-rates over PSNR that were computed by another program from the same published curves
@pytest.mark.parametrize(
    ("test", "against_jpeg", "against_bpg"),
    [
        ("bpg", -58.9, 0),
        ("bmshj2018-factorized", -44.5, 32.5),
        ("bmshj2018-hyperprior", -55.0, 3.9),
        ("mbt2018-mean", -58.0, -3.3),
        ("mbt2018", -61.0, -11.2),
        ("minnen2018-checkerboard", -61.7, -7.4),
        ("cheng2020-anchor", -65.4, -18.9),
    ],
)
def test_published_curves_give_the_known_bd_rates(test, against_jpeg, against_bpg):
    published = {curve.codec: curve for curve in load_curves(results_folder() / "published_kodak.json")}
    for anchor, expected in (("jpeg", against_jpeg), ("bpg", against_bpg)):
        result = bd_rate(published[f"published {anchor}"], published[f"published {test}"])
        assert result.value == pytest.approx(expected, abs=0.06)
