"""The command line, run as a user runs it."""

import subprocess
import sys

import numpy as np
import pytest

from edu_compress import images, metrics, registry
from edu_compress.cli import main


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    images.save(path, images.sample("coffee")[100:200, 100:260])
    return path


def test_encode_inspect_decode(photo, tmp_path, capsys):
    file, back = tmp_path / "photo.jpg", tmp_path / "back.png"
    assert (
        main(["encode", str(photo), str(file), "--codec", "jpeg", "--setting", "90", "--option", "subsampling=4:4:4"])
        == 0
    )
    printed = capsys.readouterr().out
    assert f"{file.stat().st_size:,} bytes" in printed and "dB PSNR" in printed

    assert main(["inspect", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "ledger" in printed and "160" in printed

    assert main(["decode", str(file), str(back)]) == 0
    assert metrics.psnr(images.load(photo), images.load(back)) > 35


def test_a_file_in_another_decoding_order_is_read_and_says_so(photo, tmp_path, capsys):
    file, back = tmp_path / "photo.edc", tmp_path / "back.png"
    assert main(["encode", str(photo), str(file), "--codec", "context", "--option", "order=raster"]) == 0
    assert main(["inspect", str(file)]) == 0
    assert "read by codec 'context', weights 'context', order 'raster'" in capsys.readouterr().out
    assert main(["decode", str(file), str(back)]) == 0
    assert metrics.psnr(images.load(photo), images.load(back)) > 28


def test_the_decoder_takes_options(photo, tmp_path, monkeypatch, capsys):
    file, found = tmp_path / "photo.jpg", []
    main(["encode", str(photo), str(file)])
    open_codec = registry.open_codec
    monkeypatch.setattr(registry, "open_codec", lambda name, **options: found.append(options) or open_codec(name))
    options = ["--option", "sharp=true", "--option", "n=-3", "--option", "x=0.5", "--option", "word=1.2.3"]
    assert main(["decode", str(file), str(tmp_path / "back.png"), *options]) == 0
    assert found == [{"sharp": True, "n": -3, "x": 0.5, "word": "1.2.3"}]
    assert [type(value) for value in found[0].values()] == [bool, int, float, str]
    monkeypatch.undo()
    assert main(["decode", str(file), str(tmp_path / "back.png"), "--option", "colour=blue"]) == 1
    assert "does not take these options" in capsys.readouterr().err


def test_a_sample_photograph_can_be_named_instead_of_a_file(tmp_path):
    assert main(["encode", "coffee", str(tmp_path / "c.jpg")]) == 0
    assert images.load(tmp_path / "c.jpg").shape == images.sample("coffee").shape


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "missing.png", "out.jpg"],
        ["encode", "coffee", "out.png", "--codec", "jpeg"],
        ["encode", "coffee", "out.jpg", "--setting", "1000"],
        ["encode", "coffee", "out.jpg", "--codec", "zip"],
        ["encode", "coffee", "out.jpg", "--option", "subsampling"],
        ["encode", "coffee", "out.jpg", "--option", "restart_interval=--5"],
        ["encode", "coffee", "no/such/folder/out.jpg"],
        ["decode", "missing.jpg", "out.png"],
        ["inspect", "pyproject.toml"],
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_1(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "pyproject.toml").write_text("[project]")
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("edu-compress: ") and captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]  # nothing half-written is left


def test_a_damaged_file_leaves_no_output(photo, tmp_path, capsys):
    file = tmp_path / "photo.jpg"
    main(["encode", str(photo), str(file)])
    file.write_bytes(file.read_bytes()[:500])
    assert main(["decode", str(file), str(tmp_path / "back.png")]) == 1
    assert not (tmp_path / "back.png").exists()


def test_wrong_usage_is_status_2():
    with pytest.raises(SystemExit) as caught:
        main(["encode"])
    assert caught.value.code == 2


def test_lab_starts_jupyterlab_on_the_first_lesson_with_the_users_arguments(monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "call", lambda command: started.extend(command) or 0)
    assert main(["lab", "--no-browser", "--port", "9999"]) == 0
    assert started[1:3] == ["-m", "jupyterlab"] and started[-1].endswith("00_rate_and_distortion.ipynb")
    assert started[-4:-1] == ["--no-browser", "--port", "9999"]
    with pytest.raises(SystemExit):
        main(["codecs", "--no-browser"])


def test_codecs_and_help_teach(capsys):
    assert main(["codecs"]) == 0
    assert "quality" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "edu-compress inspect photo.jpg" in capsys.readouterr().out


def test_doctor_passes_here_and_says_so():
    run = subprocess.run([sys.executable, "-m", "edu_compress.cli", "doctor"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "[FAIL]" not in run.stdout and run.stdout.count("[OK]") >= 5


def test_importing_the_package_is_cheap():
    code = (
        "import sys, edu_compress; print([m for m in ('torch', 'matplotlib', 'skimage', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_pictures_that_are_not_photographs_too(tmp_path):
    images.save(tmp_path / "dot.png", np.full((1, 1, 3), 77, np.uint8))
    assert main(["encode", str(tmp_path / "dot.png"), str(tmp_path / "dot.jpg")]) == 0
    assert main(["decode", str(tmp_path / "dot.jpg"), str(tmp_path / "back.png")]) == 0
    assert images.load(tmp_path / "back.png").shape == (1, 1, 3)
