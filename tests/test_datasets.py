"""Folders of pictures and public sets; downloads are tested against a web server of our own."""

import functools
import hashlib
import http.server
import threading

import numpy as np
import pytest

from edu_compress import datasets, images
from edu_compress.cli import main
from edu_compress.datasets import PictureSet, PublicSet
from edu_compress.errors import CodecError, SettingError


def write_pictures(folder, count=3):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        images.save(folder / f"{i}.png", np.full((20, 30, 3), 10 * i, np.uint8))
    return folder


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- folders ----------------------------------------------------------------------------------


def test_read_folder_takes_pictures_only_and_identifies_them(tmp_path):
    folder = write_pictures(tmp_path / "set")
    (folder / "LICENSES.md").write_text("not a picture")
    pictures = datasets.read_folder(folder)
    assert (pictures.name, list(pictures.pictures)) == ("set", ["0.png", "1.png", "2.png"])
    assert pictures.pictures["2.png"][0, 0].tolist() == [20, 20, 20]
    lines = "".join(f"{i}.png {sha256(folder / f'{i}.png')}\n" for i in range(3))
    assert pictures.manifest == hashlib.sha256(lines.encode()).hexdigest()


def test_the_manifest_hash_changes_with_a_byte_or_a_name_and_not_with_the_order():
    base = datasets.manifest_hash({"a": "00", "b": "11"})
    assert datasets.manifest_hash({"b": "11", "a": "00"}) == base
    assert (
        len({base, datasets.manifest_hash({"a": "00", "b": "12"}), datasets.manifest_hash({"a": "00", "c": "11"})}) == 3
    )


@pytest.mark.parametrize("content", ["nothing", "no folder", "damaged"])
def test_folders_that_cannot_be_used_are_errors(content, tmp_path):
    if content == "damaged":
        (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(CodecError, match={"damaged": "half.png"}.get(content, str(tmp_path))):
        datasets.read_folder(tmp_path / "missing" if content == "no folder" else tmp_path)


def test_training_on_a_test_picture_is_refused(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "set")
    monkeypatch.setitem(datasets._TEST_PICTURES, sha256(folder / "1.png"), "kodim01.png")
    with pytest.raises(CodecError, match=r"1\.png is the test picture kodim01\.png"):
        datasets.read_folder(folder)


def test_a_set_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_BYTES", 2 * 20 * 30 * 3)
    with pytest.raises(CodecError, match="fewer or smaller"):
        datasets.read_folder(write_pictures(tmp_path / "set"))


def test_split_is_a_partition_that_the_seed_decides():
    pictures = PictureSet.from_images("set", {f"{i:02}": np.full((4, 4, 3), i, np.uint8) for i in range(20)})
    values = [[int(x[0, 0, 0]) for x in part] for part in pictures.split(held_out=5, seed=1)]
    assert [len(part) for part in values] == [15, 5]
    assert sorted(values[0] + values[1]) == list(range(20))
    again = [[int(x[0, 0, 0]) for x in part] for part in pictures.split(held_out=5, seed=1)]
    other = [[int(x[0, 0, 0]) for x in part] for part in pictures.split(held_out=5, seed=2)]
    assert again == values and other[1] != values[1]
    for held_out in (0, 20):
        with pytest.raises(SettingError):
            pictures.split(held_out, seed=1)


# --- public sets ------------------------------------------------------------------------------


@pytest.fixture
def public_set(tmp_path, monkeypatch):
    """Serve three pictures on this machine as the public set "tiny"; the cache is empty."""
    folder = write_pictures(tmp_path / "server")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    files = {path.name: sha256(path) for path in folder.iterdir()}
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setitem(datasets.PUBLIC_SETS, "tiny", PublicSet("three grey pictures", url, files))
    monkeypatch.setenv("EDU_COMPRESS_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()


def test_fetch_downloads_once_and_repairs_what_is_damaged(public_set, tmp_path, capsys):
    assert main(["data", "tiny"]) == 0
    cache = tmp_path / "cache" / "tiny"
    assert capsys.readouterr().out == f"{cache}\n"
    assert datasets.find_folder("tiny") == cache
    assert {path.name: sha256(path) for path in cache.iterdir()} == datasets.PUBLIC_SETS["tiny"].files
    (cache / "1.png").write_bytes(b"damaged")
    (public_set / "0.png").unlink()  # is not asked for again
    datasets.fetch("tiny")
    assert datasets.read_folder(cache).pictures.keys() == {"0.png", "1.png", "2.png"}


def test_another_file_under_the_same_name_is_refused(public_set, tmp_path):
    (public_set / "1.png").write_bytes(b"something else")
    with pytest.raises(CodecError, match=r"1\.png is not the file we know.*name their folder"):
        datasets.fetch("tiny")
    assert not (tmp_path / "cache" / "tiny" / "1.png").exists()


def test_a_file_that_is_not_there_any_more_says_what_to_do(public_set, tmp_path, capsys):
    (public_set / "2.png").unlink()
    assert main(["data", "tiny"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "2.png" in error and "name their folder" in error and str(tmp_path / "cache" / "tiny") in error


def test_find_folder_takes_a_path_a_set_and_nothing_else(tmp_path):
    assert datasets.find_folder(tmp_path) == tmp_path
    for unknown in ("no_such_set", tmp_path / "missing"):
        with pytest.raises(CodecError, match="kodak"):
            datasets.find_folder(unknown)
    with pytest.raises(SettingError, match="kodak"):
        datasets.fetch("no_such_set")


def test_the_kodak_table_is_complete(capsys):
    assert list(datasets.PUBLIC_SETS["kodak"].files) == [f"kodim{i:02}.png" for i in range(1, 25)]
    assert all(len(digest) == 64 and int(digest, 16) for digest in datasets.PUBLIC_SETS["kodak"].files.values())
    assert main(["data"]) == 0
    assert "r0k.us" in capsys.readouterr().out
