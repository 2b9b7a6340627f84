"""Codecs over folders: every number in the result is checked against one picture, one setting, one file."""

import hashlib
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
import spy

from edu_compress import evaluation, images, metrics, open_codec, rate_distortion, registry
from edu_compress.cli import main
from edu_compress.datasets import manifest_hash
from edu_compress.errors import CodecError, ImageError, SettingError
from edu_compress.learned import pretrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    images.save(path / "a.png", images.sample("coffee")[100:200, 100:260])
    images.save(path / "b.png", images.sample("cat")[50:177, 90:200])
    return path


@pytest.fixture(scope="module")
def result(folder):
    return evaluation.evaluate("libjpeg", folder, [20, 80], workers=2, progress=False, command="this test")


def test_every_point_is_a_real_file(folder, result):
    codec = open_codec("libjpeg")
    assert [picture["name"] for picture in result["pictures"]] == ["a.png", "b.png"]
    for picture in result["pictures"]:
        image = images.load(folder / picture["name"])
        for point, setting in zip(picture["points"], [20, 80], strict=True):
            data = codec.encode(image, setting)
            assert (point["setting"], point["bytes"]) == (setting, len(data))
            assert point["bpp"] == metrics.bits_per_pixel(data, image)
            assert point["psnr"] == pytest.approx(metrics.psnr(image, codec.decode(data)))
            assert 0 < point["encode_seconds"] < 10 and 0 < point["decode_seconds"] < 10


def test_the_curve_is_the_mean_and_can_be_loaded(result, tmp_path):
    path = tmp_path / "new" / "result.json"
    evaluation.save(path, result)
    (curve,) = rate_distortion.load_curves(path)
    assert curve.codec == "libjpeg"
    for column in ("bpp", "psnr", "ms_ssim", "mse"):
        expected = np.mean([[point[column] for point in picture["points"]] for picture in result["pictures"]], axis=0)
        np.testing.assert_allclose(getattr(curve, column), expected)
    stored = json.loads(path.read_text())
    assert stored["command"] == "this test" and stored["versions"]["pillow"]


def test_the_manifest_is_that_of_the_names_and_contents(folder, result, tmp_path):
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert result["data"] == {"name": folder.name, "pictures": 2, "manifest_sha256": manifest_hash(digests)}


def test_processes_have_one_thread_are_warmed_up_once_and_decode_with_fresh_codecs(tmp_path, monkeypatch):
    for name in "ab":
        images.save(tmp_path / f"{name}.png", np.full((16, 16, 3), 7, np.uint8))
    monkeypatch.setattr(registry, "_entries", {**registry._entries, "spy": spy.ENTRY})
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    result = evaluation.evaluate("spy", tmp_path, [1, 2], progress=False)
    found = [point["bytes"] for picture in result["pictures"] for point in picture["points"]]
    assert found == [1102, 1103, 1104, 1105]  # one thread; the first file of the process is not among them
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_codec_of_a_notebook_is_refused_with_a_sentence(folder, monkeypatch):
    entry = replace(spy.ENTRY, target=type("Mine", (spy.Spy,), {"__module__": "__main__"}))
    monkeypatch.setattr(registry, "_entries", {**registry._entries, "spy": entry})
    with pytest.raises(SettingError, match="put it into a module"):
        evaluation.evaluate("spy", folder, progress=False)


def test_a_picture_without_loss_has_infinite_psnr_in_the_file_too(tmp_path):
    images.save(tmp_path / "grey.png", np.full((16, 16, 3), 128, np.uint8))
    evaluation.save(tmp_path / "r.json", evaluation.evaluate("libjpeg", tmp_path, [50], progress=False))
    (curve,) = rate_distortion.load_curves(tmp_path / "r.json")
    assert math.isinf(curve.psnr[0]) and curve.mse[0] == 0


def test_a_picture_that_fails_names_itself(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bad.png").write_bytes((folder / "a.png").read_bytes()[:500])
    with pytest.raises(ImageError, match=r"^bad\.png: Cannot read"):
        evaluation.evaluate("libjpeg", tmp_path, [50], progress=False)
    with pytest.raises(SettingError, match=r"^a\.png at setting 1000"):
        evaluation.evaluate("libjpeg", folder, [1000], progress=False)


@pytest.mark.parametrize(
    ("name", "settings", "more"),
    [
        ("telepathy", [50], {}),
        ("jpeg", [50], {"options": {"colour": "none"}}),
        ("jpeg", [], {}),
        ("jpeg", [50, 50], {}),
        ("jpeg", [50], {"workers": 0}),
    ],
)
def test_mistakes_are_found_before_any_work(name, settings, more, folder):
    with pytest.raises(SettingError):
        evaluation.evaluate(name, folder, settings, progress=False, **more)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(CodecError, match="no pictures"):
        evaluation.evaluate("jpeg", tmp_path, [50])


def test_on_the_command_line_with_a_card(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDU_COMPRESS_WEIGHTS", str(tmp_path))
    pretrained.save("w", {}, {"model": "factorized", "config": {}}, tmp_path)
    command = ["evaluate", "jpeg", "--data", str(folder), "--settings", "30", "60", "--option", "subsampling=4:4:4"]
    out = tmp_path / "jpeg.json"
    assert main([*command, "--out", str(out), "--card", "w"]) == 0
    assert "mean over 2 pictures" in capsys.readouterr().out
    stored = json.loads(out.read_text())
    again = f"edu-compress evaluate jpeg --data {folder.name} --settings 30 60 --option subsampling=4:4:4"
    assert stored["command"] == again and str(folder.parent) not in out.read_text()
    (measured,) = pretrained.read_card("w", tmp_path)["measured"]
    assert measured["points"] == stored["curves"][0]["points"] and measured["options"] == {"subsampling": "4:4:4"}
    assert main([*command, "--card", "missing"]) == 1
    assert "missing" in capsys.readouterr().err
