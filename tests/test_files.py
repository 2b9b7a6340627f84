"""Files are written whole or not at all."""

import json
import math
import os
import stat
from pathlib import Path

import pytest

from edu_compress import CodecError, files


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file.bin"
    files.write_atomically(path, b"old")
    files.write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, failure):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail(*_):
        raise failure

    monkeypatch.setattr(os, step, fail)
    with pytest.raises((CodecError, KeyboardInterrupt)) as error:
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    assert "No space left" in str(error.value) or error.type is KeyboardInterrupt


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_new_file_gets_ordinary_permissions_and_an_old_one_keeps_its_own(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    files.write_atomically(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    (tmp_path / "private").touch(mode=0o600)
    files.write_atomically(tmp_path / "private", b"secret")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_a_folder_a_device_and_a_missing_folder_are_refused(tmp_path, monkeypatch):
    device = tmp_path / "device"
    device.touch()
    monkeypatch.setattr(Path, "is_file", lambda path: False)  # never a real one: a failing test would replace it
    for path in (tmp_path, device, tmp_path / "no" / "file"):
        with pytest.raises(CodecError, match="Cannot write") as error:
            files.write_atomically(path, b"x")
        assert str(error.value).endswith(".")
    assert list(tmp_path.iterdir()) == [device]


def test_a_folder_is_made_with_those_around_it_and_may_be_there_already(tmp_path):
    for _ in range(2):
        assert files.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "file").touch()
    with pytest.raises(CodecError, match="Cannot make the folder"):
        files.make_folder(tmp_path / "file" / "b")


def test_infinity_is_written_as_text_that_float_reads(tmp_path):
    value = {"psnr": [1.5, math.inf, (-math.inf, math.nan)], "n": 3, "name": "inf"}
    files.write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"psnr": [1.5, "inf", ["-inf", "nan"]], "n": 3, "name": "inf"}
    assert text.endswith("}\n") and "Infinity" not in text and math.isinf(float("inf"))
