"""The training loop: same numbers after a stop, with two processes, and as computed by hand."""

import contextlib
import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from edu_compress import datasets, images, training
from edu_compress.cli import main
from edu_compress.errors import CodecError, SettingError
from edu_compress.learned import pretrained
from edu_compress.training import Pack, Recipe, Team, Trainer, loop, precision, recipe_from, team
from edu_compress.training.crops import centre_crops
from edu_compress.training.loop import rate_factor

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
steps = 3
batch = 2
crop = 32
held_out = 2
half = false
clip = 1e9  # would hide a sum in place of a mean

[task]
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


def player(trainer):
    return trainer.task.players["model"]


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key


# --- parts ------------------------------------------------------------------------------------


def test_the_rate_is_constant_then_half_a_cosine_to_a_hundredth():
    factors = [rate_factor(step / 1000, 0.4) for step in range(1000)]
    assert factors[:601] == [1.0] * 601
    assert factors[800] == pytest.approx((1 + 0.01) / 2)
    assert all(a > b for a, b in zip(factors[600:], factors[601:], strict=False))
    assert factors[-1] == pytest.approx(0.01, abs=1e-4)
    assert rate_factor(0.5, 0.0) == rate_factor(1.0, 0.0) == 1.0


def test_crops_are_cut_out_of_the_pictures_and_half_of_them_mirrored(photos):
    originals = list(photos.values())
    pack = Pack(originals, CPU)
    numbers = pack.draw(np.random.default_rng((1, 2)), 300, 32)
    crops = (255 * pack.cut(numbers, 32)).round().byte().permute(0, 2, 3, 1).numpy()
    assert crops.shape == (300, 32, 32, 3)
    windows = {}
    for number, picture in enumerate(originals):
        for top in range(picture.shape[0] - 31):
            for left in range(picture.shape[1] - 31):
                window = picture[top : top + 32, left : left + 32]
                windows[window[:, ::-1].tobytes()] = (number, True)
                windows[window.tobytes()] = (number, False)
    found = [windows[crop.tobytes()] for crop in crops]  # KeyError: not a part of a picture
    assert {number for number, _ in found} == set(range(len(originals)))  # of every picture
    assert 110 < sum(mirrored for _, mirrored in found) < 190


def test_held_out_pictures_are_cut_in_the_middle():
    picture = images.sample("coffee")[:300, :70]
    (crop,) = centre_crops([picture], 32)
    assert crop.shape == (1, 3, 256, 64)  # multiples of 32, at most 256
    wanted = torch.from_numpy(picture[22:278, 3:67].copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(crop, wanted)


def test_a_seed_repeats_its_crops(photos):
    pack = Pack(list(photos.values()), CPU)
    first, again, other = (pack.draw(np.random.default_rng(seed), 8, 32) for seed in [(0, 1), (0, 1), (0, 2)])
    assert np.array_equal(first, again) and not np.array_equal(first, other)


# --- a step -----------------------------------------------------------------------------------


def rates_of(trainer, steps):
    """The learning rates of the two groups in each step, as multiples of the recipe's."""
    rates = []
    for _ in range(steps):
        trainer.train_step()
        rates.append([group["lr"] / trainer.recipe.rate for group in player(trainer).optimiser.param_groups])
    return np.array(rates)


def test_each_step_is_made_with_the_rate_of_the_schedule(pictures):
    schedule = np.array([1, 1, 1, 1, 1, 1, 0.905, 0.658, 0.352, 0.105])  # half a cosine over the last five of ten
    recipe = dataclasses.replace(TINY, steps=10, decay=0.5)
    rates = rates_of(Trainer(recipe, pictures, CPU, Team()), 10)
    np.testing.assert_allclose(rates[:, 0], schedule, atol=1e-3)
    np.testing.assert_allclose(rates[:, 1], 3 * rates[:, 0])  # the density learns three times as fast

    warm = rates_of(Trainer(dataclasses.replace(recipe, warm_up=3), pictures, CPU, Team()), 4)
    np.testing.assert_allclose(warm[:, 0], [1 / 4, 2 / 4, 3 / 4, 1])

    late = Trainer(dataclasses.replace(recipe, warm_up=1, first_step=7), pictures, CPU, Team())  # in the schedule's end
    np.testing.assert_allclose(rates_of(late, 3)[:, 0], schedule[7:] * [1 / 2, 1, 1], atol=1e-3)
    assert (late.step, late.progress) == (10, 1)


def test_the_first_step_of_adam_is_the_rate_and_three_times_that_for_the_density(pictures):
    trainer = Trainer(TINY, pictures, CPU, Team())
    before = {key: tensor.clone() for key, tensor in player(trainer).module.state_dict().items()}
    trainer.train_step()
    moved = {
        key: float((tensor - before[key]).abs().max()) for key, tensor in player(trainer).module.state_dict().items()
    }
    assert moved["g_s.0.weight"] == pytest.approx(TINY.rate, rel=0.01)
    assert moved["density.b.0"] == pytest.approx(3 * TINY.rate, rel=0.01)
    assert moved["linear.filters"] == 0


@pytest.mark.parametrize("clip", [1e-3, 1e9])
def test_a_long_gradient_is_shortened_to_the_norm_of_the_recipe(clip, pictures):
    trainer = Trainer(dataclasses.replace(TINY, clip=clip), pictures, CPU, Team())
    trainer.train_step()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in player(trainer).parameters if p.grad is not None))
    assert norm == pytest.approx(clip, rel=1e-3) if clip < 1 else 1e-3 < norm < clip


def test_the_average_follows_the_weights_slowly_and_at_first_faster(pictures):
    trainer = Trainer(dataclasses.replace(TINY, ema=0.25), pictures, CPU, Team())
    weight = "g_s.0.weight"
    expected = player(trainer).module.state_dict()[weight].clone()
    for decay in (2 / 11, 0.25, 0.25):  # (1 + step) / (10 + step), but not more than ema
        trainer.train_step()
        expected = decay * expected + (1 - decay) * player(trainer).module.state_dict()[weight]
        torch.testing.assert_close(player(trainer).average.state_dict()[weight], expected)
    player(trainer).module.density.scale.fill_(7)
    trainer.train_step()
    assert (player(trainer).average.density.scale == 7).all()  # buffers are not averaged


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the processor wait for a GPU: reading a number, or a size that depends on numbers."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        assert name not in self.WAITS, name
        if name in ("index", "index_put", "index_put_"):
            assert all(index is None or index.dtype != torch.bool for index in arguments[1]), name
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("mask", ["raster", "checkerboard"])
def test_nothing_in_a_step_waits_for_the_device(mask, pictures):
    config = {"N": 4, "M": 12, "gains": 4, "H": 6, "Z": 4, "E": 8, "C": 4, "L": 4, "slices": [4, 8], "mask": mask}
    recipe = dataclasses.replace(
        TINY, model="context", config=config, optimiser="soap"
    )  # Adam reads its count: a CPU's
    trainer = Trainer(recipe, pictures, CPU, Team())
    trainer.train_step()
    with NoWaiting():
        trainer.train_step()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_in_a_step_waits_for_a_gpu(pictures):
    trainer = Trainer(dataclasses.replace(TINY, precision="bfloat16"), pictures, training.choose_device("cuda"), Team())
    for _ in range(2):
        trainer.train_step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.train_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# --- several processes ------------------------------------------------------------------------


def test_gradients_are_averaged_over_the_processes(monkeypatch):
    monkeypatch.setattr(team.dist, "all_reduce", lambda message: message.add_(torch.arange(6.0)))  # + the other's half
    a, b, frozen = (torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(
        torch.zeros(3), requires_grad=False))  # fmt: skip
    a.grad = torch.tensor([[2.0, 4.0], [6.0, 8.0]])  # b got none in this process, but it may have in the other
    Team(0, 2).average([a, frozen, b])
    assert a.grad.tolist() == [[1.0, 3.0], [5.0, 7.0]] and b.grad.tolist() == [4.0, 5.0] and frozen.grad is None


def test_processes_stop_together_and_share_the_latest_clock(monkeypatch):
    others = torch.tensor([1.0, 2.5], dtype=torch.float64)
    monkeypatch.setattr(team.dist, "all_reduce", lambda votes, operation: votes.copy_(torch.maximum(votes, others)))
    assert Team(0, 2).agree(False, 2.0) == (True, 2.5)
    assert Team(0, 2).agree(False, 3.0) == (True, 3.0)
    assert Team().agree(False, 2.0) == (False, 2.0)
    shares = [Team(rank, 2).share(8) for rank in (0, 1)]
    assert shares == [slice(0, 4), slice(4, 8)]


# --- the clock --------------------------------------------------------------------------------


@pytest.fixture
def seconds(monkeypatch):
    """A clock that goes on by six seconds with each step."""
    passed = [1000.0]
    step = Trainer.train_step

    def slow_step(trainer):
        passed[0] += 6
        return step(trainer)

    monkeypatch.setattr(loop, "clock", lambda: passed[0])
    monkeypatch.setattr(Trainer, "train_step", slow_step)
    return passed


def test_with_minutes_the_schedule_follows_the_clock(seconds, pictures):
    trainer = Trainer(dataclasses.replace(TINY, minutes=0.8, decay=0.5, steps=1000), pictures, CPU, Team())
    rates = []
    trainer.run(lambda minutes: rates.append(player(trainer).optimiser.param_groups[0]["lr"]))
    assert trainer.step == 8 and trainer.minutes == pytest.approx(0.8) and trainer.progress == 1
    cosine = [0.01 + 0.99 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]  # over 24 of the 48 seconds
    np.testing.assert_allclose(rates, TINY.rate * np.array([1, 1, 1, 1, *cosine]), rtol=1e-6)


def test_a_pause_is_not_a_part_of_the_minutes(seconds, pictures, tmp_path):
    recipe = dataclasses.replace(TINY, minutes=1.0, steps=1000)
    paused = train(recipe, pictures, tmp_path, pause_after=0.25)
    assert (paused.step, paused.minutes, paused.card) == (3, pytest.approx(0.3), None)
    seconds[0] += 3600
    run = train(recipe, pictures, tmp_path, resume=True)
    assert (run.step, run.minutes) == (10, pytest.approx(1.0))
    assert run.speed == pytest.approx(10 * 2 * 32 * 32 / 1e6 / 60)


def test_checkpoints_are_written_on_the_way(seconds, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 10)
    written = []
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda trainer, path: written.append(trainer.step))
    train(dataclasses.replace(TINY, steps=5), pictures, tmp_path)
    assert written == [2, 4, 5]


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
    player(trainer).average = pretrained.load("tiny", folder=tmp_path)
    trainer.validate()
    for point, expected in zip(trainer.curve[-1]["points"], run.curve[-1]["points"], strict=True):
        assert point == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_twenty_steps_are_ten_a_checkpoint_and_ten_more(optimiser, pictures, tmp_path):
    recipe = dataclasses.replace(TINY, optimiser=optimiser)
    straight = Trainer(recipe, pictures, CPU, Team())
    for _ in range(20):
        straight.train_step()

    first = Trainer(recipe, pictures, CPU, Team())
    for _ in range(10):
        first.train_step()
    first.save_checkpoint(tmp_path / "checkpoint.pt")
    torch.manual_seed(999)  # what else happens in the process does not matter
    second = Trainer(recipe, pictures, CPU, Team())
    second.load_checkpoint(tmp_path / "checkpoint.pt")
    for _ in range(10):
        second.train_step()

    assert second.step == 20
    assert_equal(player(second).module.state_dict(), player(straight).module.state_dict())
    assert_equal(player(second).average.state_dict(), player(straight).average.state_dict())


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


def test_each_validation_leaves_usable_weights(pictures, tmp_path):
    recipe = dataclasses.replace(TINY, validate_every=2)
    for _ in range(3):  # a run that never ends: three steps, and then the machine is lost
        train(recipe, pictures, tmp_path, pause_after=1e-9, resume=True)
    card = pretrained.read_card("tiny", tmp_path)
    assert card["steps"] == 2 and [entry["step"] for entry in card["validation"]] == [2]
    straight = Trainer(recipe, pictures, CPU, Team())
    for _ in range(2):
        straight.train_step()
    expected = {key: tensor.half().float() for key, tensor in player(straight).average.state_dict().items()}
    assert_equal(pretrained.load("tiny", folder=tmp_path).state_dict(), expected)


@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_auto_takes_the_precision_that_is_faster_and_the_card_says_which(faster, pictures, tmp_path, monkeypatch):
    seconds = {"float32": 5.0, "bfloat16": 5.0, faster: 2.0}
    times = [0.0, 9.0, 10.0, 10.0 + seconds["float32"], 20.0, 29.0, 30.0, 30.0 + seconds["bfloat16"]]
    monkeypatch.setattr(precision, "clock", iter(times).__next__)  # the first of two steps is a rehearsal
    run = train(dataclasses.replace(TINY, steps=1, precision="auto"), pictures, tmp_path)
    assert (run.card["precision"], run.card["recipe"]["precision"]) == (faster, "auto")


def test_bfloat16_is_for_the_transforms_only(pictures):
    trainers = [Trainer(dataclasses.replace(TINY, precision=p), pictures, CPU, Team()) for p in ("float32", "bfloat16")]
    x, lam = torch.rand(2, 3, 32, 32), torch.full((2,), 0.01)
    outputs = [trainer.task.model(x, lam, "round") for trainer in trainers]
    for output in outputs:
        assert output["x_hat"].dtype == output["likelihoods"]["y"].dtype == torch.float32
    latents = [trainer.task.model.g_a(x) for trainer in trainers]
    assert not torch.equal(*latents)
    assert (latents[0] - latents[1]).norm() < 0.02 * latents[0].norm()
    assert all(math.isfinite(trainers[1].train_step()["loss"]) for _ in range(3))
    assert all(p.dtype == torch.float32 for p in player(trainers[1]).parameters)
    assert [trainer.task.precision for trainer in trainers] == ["float32", "bfloat16"]
    averages = [player(trainer).average.g_a(x).dtype for trainer in trainers]
    assert averages == [torch.float32, torch.float32]


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
        {"first_step": 20},
        {"minutes": -1.0},
        {"warm_up": -1},
        {"optimiser": "magic"},
        {"held_out": 0},
    ],
)
def test_impossible_recipes_are_refused(change):
    with pytest.raises(SettingError, match=f"recipe, .*{next(iter(change))}"):
        dataclasses.replace(TINY, **change)


def test_recipes_are_read_from_toml(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TOML)
    recipe = training.read_recipe(path)
    assert (recipe.steps, recipe.half, recipe.config) == (3, False, {"N": 4, "M": 12, "gains": 4})
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


def test_recipes_from_before_there_were_tasks_are_understood():
    before = {"name": "x", "model": "hyperprior", "steps": 3, "quantiser": "noise", "latents": True, "frozen": ["g_a"]}
    assert recipe_from(before).task == {"kind": "prior", "quantiser": "noise"}
    assert recipe_from({**before, "latents": False}).task == {"kind": "rate_distortion", "quantiser": "noise"}
    for name in pretrained.names():  # the cards that the course ships
        assert recipe_from(pretrained.read_card(name)["recipe"]).name == name


def test_the_recipes_of_the_course_can_be_read():
    paths = list((Path(__file__).parents[1] / "data" / "recipes").glob("*.toml"))
    assert [training.read_recipe(path).name for path in paths] == [path.stem for path in paths]


def test_a_checkpoint_from_before_there_were_tasks_goes_on(pictures, tmp_path):
    trainer = Trainer(TINY, pictures, CPU, Team())
    trainer.train_step()
    trainer.save_checkpoint(tmp_path / "new.pt")
    state = torch.load(tmp_path / "new.pt", weights_only=True)
    of_model, task = state.pop("players")["model"], state["recipe"].pop("task")
    state["recipe"] |= {"quantiser": task["quantiser"], "latents": False}
    state |= {"model": of_model["module"], "average": of_model["average"], "optimiser": of_model["optimiser"]}
    torch.save(state, tmp_path / "old.pt")
    resumed = Trainer(TINY, pictures, CPU, Team())
    resumed.load_checkpoint(tmp_path / "old.pt")
    for one in (trainer, resumed):
        one.train_step()
    assert_equal(player(resumed).module.state_dict(), player(trainer).module.state_dict())


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
        Team(0, 3).share(8)
    with pytest.raises(SettingError, match="minutes"):
        train(TINY, pictures, pause_after=0)
    with pytest.raises(CodecError, match="Cannot make the folder"):
        train(TINY, pictures, tmp_path / "checkpoint.pt" / "folder")


def test_a_loss_that_is_not_a_number_keeps_the_last_checkpoint(seconds, pictures, tmp_path, monkeypatch):
    recipe = dataclasses.replace(TINY, rate=1e30, steps=8)  # the first loss is one of the fresh weights
    with pytest.raises(CodecError, match="At step 2 the loss is .*lower rate"):
        train(recipe, pictures, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 5)
    monkeypatch.setattr(loop, "REPORT_EVERY", 1e9)  # nobody has looked at the losses when the checkpoint is due
    with pytest.raises(CodecError, match="lower rate"):
        train(recipe, pictures, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1


def test_flags_replace_fields_of_the_recipe(folder, tmp_path, monkeypatch):
    seen = {}

    def enough(recipe, pictures, out, **more):
        seen.update(dataclasses.asdict(recipe), out=out, **more)
        raise CodecError("Enough.")

    monkeypatch.setattr(training, "train", enough)
    (tmp_path / "tiny.toml").write_text(TOML)
    flags = "--steps 70 --batch 6 --minutes 2 --start other --first-step 5 --pause-after 9 --threads 1 --resume"
    assert main(["train", str(tmp_path / "tiny.toml"), "--data", str(folder), *flags.split()]) == 1
    wanted = {"steps": 70, "batch": 6, "minutes": 2.0, "start": "other", "first_step": 5, "crop": 32}
    wanted |= {"pause_after": 9.0, "threads": 1, "resume": True, "out": Path("runs") / "tiny"}
    assert {name: seen[name] for name in wanted} == wanted
    command = f"train tiny.toml --data {folder.name} --steps 70 --batch 6 --minutes 2 --start other --first-step 5"
    assert seen["command"] == f"edu-compress {command}"  # in the card: without what changes nothing in the result


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


def gradients(checkpoint):
    state = torch.load(checkpoint, weights_only=True)["players"]["model"]["optimiser"]["state"]
    return torch.cat([of_one["exp_avg"].flatten() for of_one in state.values()])


@pytest.mark.timeout(900)  # three processes load torch: 15 seconds of a processor, minutes where it has other work
def test_two_processes_make_the_same_steps_as_one(folder, tmp_path, capsys):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TOML)
    with command(recipe, "--data", folder, "--out", tmp_path / "two", torchrun=True) as process:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
    assert output.count("tiny.safetensors") == 1  # one of the two reports
    assert main(["train", str(recipe), "--data", str(folder), "--out", str(tmp_path / "one"), "--device", "cpu"]) == 0
    assert re.search(r"estimated_bpp [\d.]+ .*\n3 steps, [\d.]+ Mpixel/s\n$", capsys.readouterr().out, re.DOTALL)
    # Adam's averages of the gradients, because the weights magnify a rounding where a gradient is nearly 0
    one, two = (gradients(tmp_path / way / "checkpoint.pt") for way in ("one", "two"))
    assert one.norm() > 0 and (one - two).norm() < 0.01 * one.norm()
    card = json.loads((tmp_path / "two" / "tiny.json").read_text())
    assert "processes: 2" in card["hardware"] and str(folder) not in json.dumps(card)
    assert card["command"] == f"edu-compress train tiny.toml --data {folder.name}"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("torchrun", [False, True])
def test_ctrl_c_leaves_a_checkpoint_that_goes_on(torchrun, folder, tmp_path):
    (tmp_path / "tiny.toml").write_text(TOML.replace("steps = 3", "steps = 1000000"))
    words = (tmp_path / "tiny.toml", "--data", folder, "--out", tmp_path / "run")
    with command(*words, torchrun=torchrun, start_new_session=True) as process:
        shown = ""
        while "psnr" not in shown:  # the progress bar
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
