"""Weights and cards: what comes back is what was saved, and everything else is an error."""

import hashlib
import json
import os
import shutil

import pytest
import torch

from edu_compress.cli import main
from edu_compress.errors import CodecError, SettingError
from edu_compress.learned import pretrained

CONFIG = {"N": 4, "M": 8, "gains": 4}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return pretrained.build("factorized", CONFIG)


@pytest.fixture
def folder(model, tmp_path):
    pretrained.save("mine", model.state_dict(), {"model": "factorized", "config": CONFIG, "steps": 7}, tmp_path)
    return tmp_path


def test_load_gives_the_saved_model_back(model, folder):
    loaded = pretrained.load("mine", model="factorized", folder=folder)
    assert type(loaded) is type(model) and loaded.config == model.config
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key


def test_float16_halves_the_file_and_comes_back_as_float32(model, folder):
    state = model.state_dict() | {"exact": torch.tensor([1 / 3], dtype=torch.float64), "count": torch.tensor([2**40])}
    halves = pretrained.in_half_precision(state)
    assert halves["exact"].dtype == torch.float64 and halves["count"].dtype == torch.int64
    del halves["exact"], halves["count"]
    whole = pretrained.read_card("mine", folder)["bytes"]
    card = pretrained.save("half", halves, {"model": "factorized", "config": CONFIG}, folder)
    assert card["bytes"] < 0.6 * whole
    for key, tensor in pretrained.load("half", folder=folder).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, model.state_dict()[key].half().float())


def test_a_weight_beyond_float16_is_refused():
    with pytest.raises(CodecError, match="'w'.*half = false"):
        pretrained.in_half_precision({"w": torch.tensor([7e4])})


def test_the_card_vouches_for_the_file(folder):
    card, data = pretrained.read_card("mine", folder), (folder / "mine.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(data).hexdigest() and card["bytes"] == len(data)
    assert (card["name"], card["steps"]) == ("mine", 7)
    assert json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors: a JSON header, no pickle


@pytest.mark.parametrize("position", [0, 20, -1])
def test_a_changed_byte_is_found(folder, position):
    path = folder / "mine.safetensors"
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(CodecError, match="checksum"):
        pretrained.load("mine", folder=folder)


def test_what_is_missing_or_does_not_fit_is_one_sentence(folder):
    with pytest.raises(CodecError, match="no weights 'other'.*mine.*edu-compress train"):
        pretrained.load("other", folder=folder)
    with pytest.raises(CodecError, match="of the model 'factorized', not 'hyperprior'"):
        pretrained.load("mine", model="hyperprior", folder=folder)
    card = json.loads((folder / "mine.json").read_text())
    for change, message in [
        ({"config": {**CONFIG, "N": 5}}, "does not fit the model"),
        ({"config": {**CONFIG, "depth": 5}}, "depth"),
        ({"model": "telepathy"}, "telepathy"),
    ]:
        (folder / "mine.json").write_text(json.dumps(card | change))
        with pytest.raises(CodecError, match=message):
            pretrained.load("mine", folder=folder)
    for text, message in [("{", "cannot be read"), ("[]", "cannot be read"), ("{}", "lacks config, model, sha256")]:
        (folder / "mine.json").write_text(text)
        with pytest.raises(CodecError, match=message):
            pretrained.load("mine", folder=folder)
    (folder / "mine.json").write_text(json.dumps(card))
    (folder / "mine.safetensors").unlink()
    with pytest.raises(CodecError, match=r"mine\.safetensors"):
        pretrained.load("mine", folder=folder)


def test_unknown_models_and_fields_are_named():
    with pytest.raises(SettingError, match="factorized"):
        pretrained.build("telepathy", {})
    with pytest.raises(SettingError, match="depth"):
        pretrained.build("factorized", {"depth": 3})


def test_the_environment_names_folders_that_come_before_the_courses(folder, tmp_path, monkeypatch, capsys):
    (ours,) = pretrained.weights_folders()
    assert ours.parts[-2:] == ("data", "weights")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    card = json.loads((other / "mine.json").read_text())
    (other / "mine.json").write_text(json.dumps({**card, "steps": 8}))
    (other / "hyperprior.json").write_text(json.dumps(card))  # as one of the course's is called
    monkeypatch.setenv("EDU_COMPRESS_WEIGHTS", os.pathsep.join([str(folder), str(other)]))
    assert pretrained.weights_folders() == [folder, other, ours]
    assert {"mine", "factorized"} < set(pretrained.names())
    assert pretrained.read_card("mine")["steps"] == 7 and pretrained.folder_of("hyperprior") == other
    assert pretrained.load("mine").config.N == 4 and pretrained.read_card("factorized")["model"] == "factorized"
    assert main(["codecs"]) == 0
    printed = capsys.readouterr().out
    assert str(folder) in printed and "mine" in printed and "7 steps" in printed


def test_a_new_measurement_replaces_the_one_on_the_same_pictures(folder):
    for pictures, bpp in [("kodak", 1.0), ("mine", 2.0), ("kodak", 3.0)]:
        pretrained.add_measurement("mine", {"pictures": pictures, "bpp": bpp}, folder)
    measured = pretrained.read_card("mine", folder)["measured"]
    assert measured == [{"pictures": "mine", "bpp": 2.0}, {"pictures": "kodak", "bpp": 3.0}]
    pretrained.load("mine", folder=folder)  # the weights are as they were
