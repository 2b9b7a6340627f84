"""The training loop: same numbers after a stop, with two processes, and as computed by hand."""

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import pytorch_msssim
import safetensors.torch
import torch

from edu_compress import datasets, images, pretrained, training
from edu_compress.cli import main
from edu_compress.errors import CodecError, SettingError
from edu_compress.training import Pack, Recipe, Team, Trainer, rate_distortion_loss, rate_factor

CPU = torch.device("cpu")

TINY = Recipe(
    name="tiny",
    model="factorized",
    config={"N": 4, "M": 12, "gains": 4},
    steps=20,
    batch=2,
    crop=32,
    held_out=2,
    validate_every=8,
)

TOML = """\
name = "tiny"
model = "factorized"
steps = 6
batch = 2
crop = 32
held_out = 2
half = false
quantiser = "straight_through"  # no noise: one process and two see the same

[config]
N = 4
M = 12
gains = 4
"""


@pytest.fixture(scope="module")
def photos():
    return {f"{i}.png": images.sample("coffee")[60 * i : 60 * i + 64, 90 * i : 90 * i + 70 + i] for i in range(5)}


@pytest.fixture(scope="module")
def pictures(photos):
    return datasets.PictureSet.from_images("photos", photos)


@pytest.fixture(scope="module")
def folder(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    for name, picture in photos.items():
        images.save(path / name, picture)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(recipe, pictures, out=None, **more):
    return training.train(recipe, pictures, out, device="cpu", progress=False, **more)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


# --- parts ------------------------------------------------------------------------------------


def test_the_loss_is_the_formula():
    x, x_hat = torch.rand(2, 3, 16, 32), torch.rand(2, 3, 16, 32)
    likelihoods = {"y": torch.rand(2, 5, 1, 2) + 0.01, "z": torch.rand(2, 4, 1, 1) + 0.01}
    lam = torch.tensor([0.001, 0.04])
    result = rate_distortion_loss({"x_hat": x_hat, "likelihoods": likelihoods}, x, lam)
    total = 0.0
    for i in range(2):
        bits = -sum(np.log2(p[i].numpy()).sum() for p in likelihoods.values())
        error = np.mean((255 * (x[i] - x_hat[i]).numpy()) ** 2)
        assert result["bpp"][i].item() == pytest.approx(bits / (16 * 32), rel=1e-5)
        assert result["mse"][i].item() == pytest.approx(error, rel=1e-4)
        assert result["psnr"][i].item() == pytest.approx(10 * math.log10(255**2 / error), rel=1e-5)
        total += (bits / (16 * 32) + lam[i].item() * error) / math.sqrt(lam[i].item())
    assert result["loss"].item() == pytest.approx(0.1 * total / 2, rel=1e-4)


def test_the_rate_is_constant_then_half_a_cosine_to_a_hundredth():
    factors = [rate_factor(step / 1000, 0.4) for step in range(1000)]
    assert factors[:601] == [1.0] * 601
    assert factors[800] == pytest.approx((1 + 0.01) / 2)
    assert all(a > b for a, b in zip(factors[600:], factors[601:], strict=False))
    assert factors[-1] == pytest.approx(0.01, abs=1e-4)
    assert rate_factor(0.5, 0.0) == rate_factor(1.0, 0.0) == 1.0


def test_crops_are_cut_out_of_the_pictures_and_mirrored(photos):
    originals = list(photos.values())
    pack = Pack(originals, CPU)
    *numbers, lam = pack.draw((1, 2), 300, 32, (0.001, 0.05))
    crops = (255 * pack.cut(*numbers, 32)).round().byte().permute(0, 2, 3, 1).numpy()
    assert crops.shape == (300, 32, 32, 3)
    windows = {}
    for picture in originals:
        for top in range(picture.shape[0] - 31):
            for left in range(picture.shape[1] - 31):
                window = picture[top : top + 32, left : left + 32]
                windows[window.tobytes()] = windows[window[:, ::-1].tobytes()] = picture.shape
    found = [windows[crop.tobytes()] for crop in crops]  # KeyError: not a part of a picture
    assert len(set(found)) == len(originals)  # of every picture
    assert 0.001 <= lam.min() and lam.max() <= 0.05
    assert np.median(lam) == pytest.approx(math.sqrt(0.001 * 0.05), rel=0.4)  # uniform in log λ


def test_a_seed_repeats_its_crops(photos):
    pack = Pack(list(photos.values()), CPU)
    first, again, other = (pack.draw(seed, 8, 32, (0.001, 0.05)) for seed in [(0, 1), (0, 1), (0, 2)])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


# --- training ---------------------------------------------------------------------------------


def test_training_improves_the_held_out_pictures_and_writes_weights_with_a_card(pictures, tmp_path):
    recipe = dataclasses.replace(TINY, steps=60, validate_every=1, config={**TINY.config, "dct": False})
    run = train(recipe, pictures, tmp_path, command="this test")
    assert run.curve[-1]["loss"] < 0.7 * run.curve[0]["loss"]
    assert [entry["step"] for entry in run.curve] == list(range(1, 61))

    card = pretrained.read_card("tiny", tmp_path)
    assert card == run.card
    assert (card["steps"], card["command"], card["data"]["pictures"]) == (60, "this test", 5)
    assert card["data"]["manifest_sha256"] == pictures.manifest
    assert Recipe(**card["recipe"]) == recipe
    low, high = run.model.lam_range
    lams = [point["lam"] for point in card["validation"][-1]["points"]]
    assert lams[0] == pytest.approx(low) and lams[-1] == pytest.approx(high) and len(lams) == 4
    assert_equal(pretrained.load("tiny", folder=tmp_path).state_dict(), run.model.state_dict())


def test_the_last_validation_is_of_the_weights_as_stored(pictures, tmp_path):
    run = train(TINY, pictures, tmp_path)
    trainer = Trainer(TINY, pictures, CPU, Team())
    trainer.average = pretrained.load("tiny", folder=tmp_path)
    for point, expected in zip(trainer.validate()["points"], run.curve[-1]["points"], strict=True):
        assert point == pytest.approx(expected, rel=1e-4)


def test_twenty_steps_are_ten_a_checkpoint_and_ten_more(pictures, tmp_path):
    straight = Trainer(TINY, pictures, CPU, Team())
    for _ in range(20):
        straight.train_step()

    first = Trainer(TINY, pictures, CPU, Team())
    for _ in range(10):
        first.train_step()
    first.save_checkpoint(tmp_path / "checkpoint.pt")
    torch.manual_seed(999)  # what else happens in the process does not matter
    second = Trainer(TINY, pictures, CPU, Team())
    second.load_checkpoint(tmp_path / "checkpoint.pt")
    for _ in range(10):
        second.train_step()

    assert second.step == 20
    assert_equal(second.model.state_dict(), straight.model.state_dict())
    assert_equal(second.average.state_dict(), straight.average.state_dict())


def test_slices_of_a_time_limit_give_the_same_file_as_one_go(pictures, tmp_path):
    recipe = dataclasses.replace(TINY, steps=5, validate_every=2)
    slices, run = 0, None
    while run is None or run.card is None:
        run = train(recipe, pictures, tmp_path / "slices", pause_after=1e-9, resume=True)
        slices += 1
        assert run.step == slices  # the limit is over after each step
    train(recipe, pictures, tmp_path / "straight")
    files = [(tmp_path / way / "tiny.safetensors").read_bytes() for way in ("slices", "straight")]
    assert files[0] == files[1]
    cards = [pretrained.read_card("tiny", tmp_path / way) for way in ("slices", "straight")]
    validations = [[{**entry, "minutes": 0} for entry in card["validation"]] for card in cards]
    assert validations[0] == validations[1] and [entry["step"] for entry in validations[0]] == [2, 4, 5]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_writes_a_checkpoint_and_stops(number, pictures, tmp_path, monkeypatch):
    step = Trainer.train_step

    def interrupted_step(trainer):
        if trainer.step == 2:
            signal.raise_signal(number)
        return step(trainer)

    monkeypatch.setattr(Trainer, "train_step", interrupted_step)
    before = signal.getsignal(number)
    run = train(TINY, pictures, tmp_path)
    assert (run.step, run.interrupted, run.card) == (3, True, None)
    assert signal.getsignal(number) is before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    resumed = Trainer(TINY, pictures, CPU, Team())
    resumed.load_checkpoint(tmp_path / "checkpoint.pt")
    assert resumed.step == 3


def test_checkpoints_are_written_on_the_way(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0)
    written = []
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda trainer, path: written.append(trainer.step))
    train(dataclasses.replace(TINY, steps=3), pictures, tmp_path)
    assert written == [1, 2, 3, 3]


def test_bfloat16_is_for_the_transforms_only(pictures, monkeypatch):
    trainers = [Trainer(dataclasses.replace(TINY, precision=p), pictures, CPU, Team()) for p in ("float32", "bfloat16")]
    x, lam = torch.rand(2, 3, 32, 32), torch.full((2,), 0.01)
    outputs = [trainer.model(x, lam, "round") for trainer in trainers]
    for output in outputs:
        assert output["x_hat"].dtype == output["likelihoods"]["y"].dtype == torch.float32
    latents = [trainer.model.g_a(x) for trainer in trainers]
    assert not torch.equal(*latents)
    assert (latents[0] - latents[1]).norm() < 0.02 * latents[0].norm()
    assert all(math.isfinite(trainers[1].train_step()[0]) for _ in range(3))
    assert all(p.dtype == torch.float32 for p in trainers[1].model.parameters())


def test_a_model_may_choose_its_learning_rates(pictures, monkeypatch):
    monkeypatch.setattr(
        "edu_compress.factorized.FactorizedPrior.parameter_groups",
        lambda model, rate: [
            {"params": model.g_a.parameters(), "lr": 0.0},
            {"params": model.g_s.parameters()},
            {"params": [*model.density.parameters(), *model.gain.parameters()], "lr": rate / 100},
        ],
        raising=False,
    )
    trainer = Trainer(TINY, pictures, CPU, Team())
    before = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
    trainer.train_step()
    after = trainer.model.state_dict()
    moved = {part: max(float((after[k] - before[k]).abs().max()) for k in after if k.startswith(part)) for part in
             ("g_a", "g_s", "density")}  # fmt: skip
    assert moved["g_a"] == 0
    assert moved["g_s"] == pytest.approx(TINY.rate, rel=0.01)  # Adam's first step is the rate
    assert moved["density"] == pytest.approx(TINY.rate / 100, rel=0.01)


def test_without_a_folder_nothing_is_written(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(dataclasses.replace(TINY, steps=2), pictures)
    assert run.card["steps"] == 2 and not list(tmp_path.iterdir())


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"batch": True},
        {"rate": "fast"},
        {"crop": 40},
        {"decay": 1.5},
        {"ema": 1.0},
        {"precision": "float8"},
        {"name": "../elsewhere"},
    ],
)
def test_impossible_recipes_are_refused(change):
    with pytest.raises(SettingError, match=f"recipe, .*{next(iter(change))}"):
        dataclasses.replace(TINY, **change)


def test_recipes_are_read_from_toml(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TOML)
    recipe = training.read_recipe(path)
    assert (recipe.steps, recipe.half, recipe.config) == (6, False, {"N": 4, "M": 12, "gains": 4})
    for text, message in [
        ("steps = ", "not a TOML file"),
        (TOML.replace("crop", "corp"), "corp.*its fields are"),
        ('name = "x"', "missing.*its fields are"),
    ]:
        path.write_text(text)
        with pytest.raises(CodecError, match=message):
            training.read_recipe(path)
    with pytest.raises(CodecError, match="Cannot read"):
        training.read_recipe(tmp_path / "missing.toml")


def test_what_does_not_go_together_is_said(pictures, tmp_path):
    train(dataclasses.replace(TINY, steps=1), pictures, tmp_path)
    checkpoint = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(SettingError, match="--resume"):
        train(TINY, pictures, tmp_path)
    with pytest.raises(SettingError, match="another steps"):
        train(TINY, pictures, tmp_path, resume=True)
    others = datasets.PictureSet.from_images("others", {k: 255 - v for k, v in pictures.pictures.items()})
    with pytest.raises(SettingError, match="other pictures"):
        train(dataclasses.replace(TINY, steps=1), others, tmp_path, resume=True)
    for damaged in (checkpoint[: len(checkpoint) // 2], b"", b"\x80\x02."):
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(CodecError, match="damaged"):
            train(dataclasses.replace(TINY, steps=1), pictures, tmp_path, resume=True)
    with pytest.raises(SettingError, match=r"0\.png is only 64 pixels"):
        train(dataclasses.replace(TINY, crop=128), pictures)
    with pytest.raises(SettingError, match="held"):
        train(dataclasses.replace(TINY, held_out=5), pictures)
    with pytest.raises(SettingError, match="device"):
        training.choose_device("abacus")
    with pytest.raises(SettingError, match="shared equally"):
        Trainer(TINY, pictures, CPU, Team(0, 3))
    with pytest.raises(SettingError, match="minutes"):
        train(TINY, pictures, pause_after=0)
    with pytest.raises(CodecError, match="Cannot make the folder"):
        train(TINY, pictures, tmp_path / "checkpoint.pt" / "folder")


def test_a_loss_that_is_not_a_number_keeps_the_last_checkpoint(pictures, tmp_path):
    recipe = dataclasses.replace(TINY, rate=1e30, steps=8)
    with pytest.raises(CodecError, match="lower rate"):
        train(recipe, pictures, tmp_path)
    assert not list(tmp_path.iterdir())


# --- the command, in processes of its own -----------------------------------------------------


@contextlib.contextmanager
def command(*words, torchrun=False, **more):
    """Start ``edu-compress train`` on the CPU."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"] if torchrun else []
    words = [sys.executable, "-m", *launcher, "edu_compress.cli", "train", *map(str, words), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment, text=True, **pipes, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def test_two_processes_make_the_same_steps_as_one(folder, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TOML)
    with command(recipe, "--data", folder, "--out", tmp_path / "two", torchrun=True) as process:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
    assert output.count("tiny.safetensors") == 1  # one of the two reports
    assert main(["train", str(recipe), "--data", str(folder), "--out", str(tmp_path / "one"), "--device", "cpu"]) == 0
    one, two = (pretrained.load("tiny", folder=tmp_path / way).state_dict() for way in ("one", "two"))
    start = Trainer(training.read_recipe(recipe), datasets.read_folder(folder), CPU, Team()).model.state_dict()
    moved = math.sqrt(sum(float(((one[key] - start[key]) ** 2).sum()) for key in one))
    apart = math.sqrt(sum(float(((one[key] - two[key]) ** 2).sum()) for key in one))
    assert moved > 0.01 and apart < 0.01 * moved  # but for rounding, which Adam magnifies where a gradient is nearly 0
    card = json.loads((tmp_path / "two" / "tiny.json").read_text())
    assert "processes: 2" in card["hardware"] and str(folder) not in json.dumps(card)
    assert card["command"] == f"edu-compress train tiny.toml --data {folder.name}"


@pytest.mark.parametrize("torchrun", [False, True])
def test_ctrl_c_leaves_a_checkpoint_that_goes_on(torchrun, folder, tmp_path):
    (tmp_path / "tiny.toml").write_text(TOML.replace("steps = 6", "steps = 1000000"))
    words = (tmp_path / "tiny.toml", "--data", folder, "--out", tmp_path / "run")
    with command(*words, torchrun=torchrun, start_new_session=True) as process:
        shown = ""
        while "PSNR" not in shown:  # the progress bar
            letter = process.stderr.read(1)
            assert letter, shown
            shown += letter
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        output, errors = process.communicate()
    assert process.returncode == (1 if torchrun else 130), errors
    assert "stopped at step" in output and "--resume" in output
    with command(*words, "--resume", "--pause-after", 1e-9) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "stopped at step" in output
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] > 1


@pytest.mark.parametrize("half", [True, False])
def test_weights_are_stored_as_the_recipe_says(half, pictures, tmp_path):
    train(dataclasses.replace(TINY, steps=2, half=half), pictures, tmp_path)
    stored = safetensors.torch.load_file(tmp_path / "tiny.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16 if half else torch.float32}


# --- beginning with trained parts ---------------------------------------------------------------

PRIOR = dataclasses.replace(
    TINY,
    model="hyperprior",
    config={"N": 4, "M": 12, "gains": 4, "H": 6, "Z": 4, "E": 8},
    start="tiny",
    take=["g_a", "g_s", "linear", "gain"],
    frozen=["g_a", "g_s", "gain"],
)


@pytest.fixture
def tiny_weights(pictures, tmp_path, monkeypatch):
    train(dataclasses.replace(TINY, steps=2), pictures, tmp_path)
    monkeypatch.setenv("EDU_COMPRESS_WEIGHTS", str(tmp_path))
    return pretrained.load("tiny").state_dict()


def taken(trainer, weights):
    """Whether each part that is taken is as in the weights."""
    state = trainer.model.state_dict()
    return {part: all(torch.equal(state[k], weights[k]) for k in weights if k.startswith(part)) for part in PRIOR.take}


@pytest.mark.parametrize("frozen_steps", [0, 2])
def test_parts_are_taken_and_stay_frozen_for_so_many_steps(frozen_steps, tiny_weights, pictures):
    trainer = Trainer(dataclasses.replace(PRIOR, frozen_steps=frozen_steps), pictures, CPU, Team())
    prior = trainer.model.h_s[0].weight.detach().clone()
    for _ in range(2):
        trainer.train_step()
        assert all(taken(trainer, tiny_weights).values())
    assert not torch.equal(trainer.model.h_s[0].weight, prior)
    trainer.train_step()
    thawed = frozen_steps > 0
    assert taken(trainer, tiny_weights) == {"g_a": not thawed, "g_s": not thawed, "linear": True, "gain": not thawed}


def test_a_run_with_frozen_parts_goes_on_after_a_stop(tiny_weights, pictures, tmp_path):
    recipe = dataclasses.replace(PRIOR, name="prior", steps=4, frozen_steps=2)
    one = train(recipe, pictures, tmp_path / "one")
    train(recipe, pictures, tmp_path / "two", pause_after=1e-9)
    two = train(recipe, pictures, tmp_path / "two", resume=True)
    assert one.step == two.step == 4
    assert_equal(one.model.state_dict(), two.model.state_dict())


def test_a_prior_learns_from_latents_that_are_computed_once_what_it_learns_from_pictures(tiny_weights, pictures):
    losses = []
    for latents in (True, False):
        trainer = Trainer(dataclasses.replace(PRIOR, latents=latents, batch=4), pictures, CPU, Team())
        before = trainer.validate()["loss"]  # with pictures, as ever
        for _ in range(30):
            trainer.train_step()
        assert all(taken(trainer, tiny_weights).values())
        losses.append(trainer.validate()["loss"])
    assert max(losses) < before
    assert abs(losses[0] - losses[1]) < 0.3 * (before - min(losses))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frozen": ["brain"]}, "frozen names 'brain'; the parts of this model are: g_a, g_s,"),
        ({"take": ["brain"]}, "cannot give this model its brain"),
        ({"take": []}, "cannot give this model its density"),
        ({"config": {**PRIOR.config, "N": 3}}, r"cannot give this model its g_a\.0\.bias, g_a\.0\.weight"),
    ],
    ids=["frozen", "take", "all", "size"],
)
def test_parts_that_do_not_exist_or_fit_are_named(change, message, tiny_weights, pictures):
    with pytest.raises(SettingError, match=message):
        Trainer(dataclasses.replace(PRIOR, **change), pictures, CPU, Team())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": ""}, "there is no start"),
        ({"latents": True, "frozen": []}, "frozen g_a"),
        ({"latents": True, "frozen_steps": 3}, "frozen g_a"),
    ],
    ids=str,
)
def test_recipes_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(SettingError, match=message):
        dataclasses.replace(PRIOR, **change)


def test_the_distortion_can_be_ms_ssim():
    x, x_hat = torch.rand(2, 3, 176, 192), torch.rand(2, 3, 176, 192).requires_grad_()
    ours = training.ms_ssim_distortion(x_hat, x)
    theirs = 1 - pytorch_msssim.ms_ssim(x_hat, x, data_range=1.0, size_average=False)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    ours.sum().backward()
    assert torch.isfinite(x_hat.grad).all() and x_hat.grad.any()
