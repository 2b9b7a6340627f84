"""Tasks: the losses as computed by hand, priors on stored latents, and two strangers that show what the loop can do."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import pytorch_msssim
import safetensors.torch
import torch
from torch import nn

from edu_compress import datasets, images, registry, training
from edu_compress.codecs.factorized import FactorizedPrior
from edu_compress.errors import SettingError
from edu_compress.learned import pretrained
from edu_compress.training import Player, Recipe, Task, Team, Trainer, rate_distortion_loss, tasks

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


@pytest.fixture(scope="module")
def pictures():
    photos = {f"{i}.png": images.sample("coffee")[60 * i : 60 * i + 64, 90 * i : 90 * i + 70 + i] for i in range(5)}
    return datasets.PictureSet.from_images("photos", photos)


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


# --- losses -----------------------------------------------------------------------------------


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


def test_at_its_reference_the_loss_of_a_distortion_is_J_itself():
    x, x_hat = torch.rand(2, 3, 176, 176), torch.rand(2, 3, 176, 176)
    likelihoods = {"y": torch.rand(2, 5, 11, 11) + 0.01}
    for distortion, lam, D in [
        ("mse", 0.01, tasks.mean_squared_error(x_hat, x)),
        ("ms_ssim", 20.0, tasks.ms_ssim_distortion(x_hat, x)),
    ]:
        result = rate_distortion_loss(
            {"x_hat": x_hat, "likelihoods": likelihoods}, x, torch.full((2,), lam), distortion
        )
        assert result["loss"].item() == pytest.approx((result["bpp"] + lam * D).mean().item(), rel=1e-5)


@pytest.mark.parametrize("distortion", ["mse", "ms_ssim"])
def test_what_a_prior_can_lower_is_the_rate_in_that_loss(distortion):
    x, lam = torch.rand(2, 3, 176, 176), torch.tensor([0.002, 0.04])
    likelihoods = {"y": torch.rand(2, 5, 11, 11) + 0.01, "z": torch.rand(2, 4, 1, 1) + 0.01}
    whole = rate_distortion_loss({"x_hat": x, "likelihoods": likelihoods}, x, lam, distortion)  # D = 0
    alone = tasks.rate_loss({"likelihoods": likelihoods}, 176 * 176, lam, distortion)
    torch.testing.assert_close(alone["loss"], whole["loss"])
    torch.testing.assert_close(alone["bpp"], whole["bpp"])


def test_the_distortion_can_be_ms_ssim():
    x, x_hat = torch.rand(2, 3, 176, 192), torch.rand(2, 3, 176, 192).requires_grad_()
    ours = tasks.ms_ssim_distortion(x_hat, x)
    theirs = 1 - pytorch_msssim.ms_ssim(x_hat, x, data_range=1.0, size_average=False)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    ours.sum().backward()
    assert torch.isfinite(x_hat.grad).all() and x_hat.grad.any()


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
    state = trainer.task.model.state_dict()
    return {part: all(torch.equal(state[k], weights[k]) for k in weights if k.startswith(part)) for part in PRIOR.take}


@pytest.mark.parametrize("frozen_steps", [0, 2])
def test_parts_are_taken_and_stay_frozen_for_so_many_steps(frozen_steps, tiny_weights, pictures):
    trainer = Trainer(dataclasses.replace(PRIOR, frozen_steps=frozen_steps), pictures, CPU, Team())
    prior = trainer.task.model.h_s[0].weight.detach().clone()
    for _ in range(2):
        trainer.train_step()
        assert all(taken(trainer, tiny_weights).values())
    assert not torch.equal(trainer.task.model.h_s[0].weight, prior)
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
    for kind in ("prior", "rate_distortion"):
        trainer = Trainer(dataclasses.replace(PRIOR, task={"kind": kind}, batch=4), pictures, CPU, Team())
        trainer.validate()  # with pictures, as ever
        for _ in range(30):
            trainer.train_step()
        assert all(taken(trainer, tiny_weights).values())
        trainer.validate()
        losses.append([entry["loss"] for entry in trainer.curve])
    (before, from_latents), (_, from_pictures) = losses
    assert max(from_latents, from_pictures) < before
    assert abs(from_latents - from_pictures) < 0.3 * (before - min(from_latents, from_pictures))


def test_stored_latents_are_those_of_the_crops_or_of_their_mirror_images(tiny_weights, pictures):
    task = Trainer(dataclasses.replace(PRIOR, task={"kind": "prior"}), pictures, CPU, Team()).task
    x = torch.from_numpy(task.training[0][:64, :64].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        wanted = [task.model.analyse(view)[0].half().float() for view in (x, x.flip(3))]
    width = task.latents.width[0]
    for number, latent in enumerate(wanted):  # the whole of a picture of 4 x 4 positions
        crop = np.array([[task.latents.start[number]], [width], [1]])
        torch.testing.assert_close(task.latents.cut(crop, 4)[0], latent)
    y, lam = task.draw(np.random.default_rng(0), slice(0, 2))
    assert y.shape == (2, 12, 2, 2) and lam.shape == (2,) and y.abs().max() > 5  # in grey levels, not divided by 255


@pytest.mark.parametrize("dct", [True, False])
def test_a_density_begins_at_the_size_of_what_it_describes(dct, pictures):
    """So its network sees numbers of order one: that of y from the pictures' DCT, that of z from what h_a is set to."""
    recipe = dataclasses.replace(TINY, config={**TINY.config, "dct": dct})
    model = Trainer(recipe, pictures, CPU, Team()).task.model
    if dct:
        assert torch.equal(model.density.scale, model.linear.deviation / 2) and model.density.scale.max() > 20
    recipe = dataclasses.replace(TINY, model="hyperprior", config={**PRIOR.config, "dct": dct})
    task = Trainer(recipe, pictures, CPU, Team()).task
    x = task.pack.cut(task.pack.draw(np.random.default_rng((0, 0)), 64, 32), 32)  # those that it began with
    deviation = task.model.hyper_latent(task.model.analyse(x)).std((0, 2, 3))
    torch.testing.assert_close(task.model.density.scale, deviation, rtol=1e-3, atol=1e-3)


def test_every_lambda_of_the_range_is_drawn_as_often_in_each_octave(pictures):
    recipe = dataclasses.replace(TINY, batch=2000)
    _, lam = Trainer(recipe, pictures, CPU, Team()).task.draw(np.random.default_rng(3), slice(0, 2000))
    position = torch.log(lam / 0.0004) / math.log(0.05 / 0.0004)  # uniform in [0, 1)
    counts = torch.histc(position, 4, 0, 1)
    assert counts.sum() == 2000 and 420 < counts.min() and counts.max() < 580


def test_validation_is_of_the_pictures_that_a_decoder_would_show(pictures):
    trainer = Trainer(TINY, pictures, CPU, Team())
    trainer.validate()
    task, point = trainer.task, trainer.curve[0]["points"][-1]
    assert point["lam"] == pytest.approx(0.05)
    measured = []
    for x in task.held_out:
        output = task.trained(x, torch.tensor([0.05]), "round")
        shown = images.to_uint8(255 * output["x_hat"][0].numpy())
        mse = np.mean((shown - 255 * x[0].numpy()) ** 2)
        bits = -torch.log2(output["likelihoods"]["y"]).sum().item()
        measured.append((bits / x[0, 0].numel(), 10 * math.log10(255**2 / mse), mse))
    wanted = np.mean(measured, axis=0)
    assert [point[name] for name in ("estimated_bpp", "psnr", "mse")] == pytest.approx(wanted.tolist(), rel=1e-4)


def test_a_model_of_one_lambda_is_validated_there(pictures):
    config = {"N": 4, "M": 12, "gains": 0, "lowest": 0.01, "highest": 0.01}
    trainer = Trainer(dataclasses.replace(TINY, config=config), pictures, CPU, Team())
    trainer.train_step()
    trainer.validate()
    assert [point["lam"] for point in trainer.curve[0]["points"]] == [pytest.approx(0.01)]


def test_processes_get_different_shares_of_one_batch(pictures):
    recipe = dataclasses.replace(TINY, batch=4)
    task = Trainer(recipe, pictures, CPU, Team()).task
    whole, first, second = (
        task.draw(np.random.default_rng((0, 1)), mine) for mine in (slice(0, 4), slice(0, 2), slice(2, 4))
    )
    for one, a, b in zip(whole, first, second, strict=True):
        assert torch.equal(one, torch.cat([a, b])) and not torch.equal(a, b)


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
        ({"task": {"kind": "prior"}, "frozen": []}, "frozen g_a"),
        ({"task": {"kind": "prior"}, "frozen_steps": 3}, "frozen g_a"),
        ({"task": {"kind": "telepathy"}}, "one of rate_distortion, prior, not 'telepathy'"),
        ({"task": {"quantiser": "rounding"}}, "quantiser is one of round, noise, .*, not 'rounding'"),
        ({"task": {"quantiser": 3}}, "quantiser = 3 should be of type str"),
        ({"task": {"volume": 11}}, "volume.*its fields are: kind, quantiser"),
        ({"crop": 40}, "crop = 40 should be a multiple of 16"),
    ],
    ids=str,
)
def test_recipes_that_contradict_themselves_are_refused(change, message):
    with pytest.raises(SettingError, match=message):
        dataclasses.replace(PRIOR, **change)


# --- strangers: what the interface is for -----------------------------------------------------


def register_ladder(monkeypatch):
    """A model of somebody else, as :func:`registry.register` takes it."""
    entry = registry.Entry("ladder", f"{__name__}:Ladder", "rungs", ".ladder", "a toy", model=f"{__name__}:Ladder")
    monkeypatch.setitem(registry._entries, "ladder", entry)


def test_a_model_whose_loss_the_task_does_not_know_is_refused(pictures, monkeypatch):
    register_ladder(monkeypatch)
    recipe = dataclasses.replace(TINY, model="ladder", config={})
    with pytest.raises(SettingError, match="task 'rate_distortion' has no loss for the model 'ladder'"):
        train(recipe, pictures)
    prior = dataclasses.replace(TINY, task={"kind": "prior"}, frozen=["g_a"])  # its latents have no prior of their own
    with pytest.raises(SettingError, match="task 'prior' has no loss for the model 'factorized'"):
        train(prior, pictures)
    monkeypatch.setitem(tasks.DISTORTIONS, "mse", tasks.DISTORTIONS["mse"])
    del tasks.DISTORTIONS["mse"]
    with pytest.raises(SettingError, match="no loss for the distortion 'mse'"):
        train(TINY, pictures)


@dataclasses.dataclass(frozen=True)
class LadderConfig:
    rungs: int = 3


class Ladder(nn.Module):
    """Codes a picture, then what is missing, and so on: a model without λ."""

    def __init__(self, config: LadderConfig = LadderConfig()):  # noqa: B008 - frozen
        super().__init__()
        self.config = config
        self.encoder, self.decoder = nn.Conv2d(3, 8, 4, stride=4), nn.ConvTranspose2d(8, 3, 4, stride=4)

    def forward(self, x):
        residuals = [x - 0.5]
        for _ in range(self.config.rungs):
            residuals.append(residuals[-1] - self.decoder(torch.tanh(self.encoder(residuals[-1]))))
        return residuals[1:]


class Progressive(Task):
    """L1 of the residuals over all iterations."""

    def __init__(self, recipe, pictures, device, team):
        super().__init__(recipe, pictures, device, team)
        self.model = self.build_model(Ladder)
        self.players["model"] = Player(self.model, tasks.make_optimiser(recipe, self.model.parameters(), device))

    def draw(self, random, mine):
        return self.pack.cut(self.pack.draw(random, self.recipe.batch, self.recipe.crop)[:, mine], self.recipe.crop)

    def losses(self, x):
        yield "model", {"loss": sum(residual.abs().mean() for residual in self.model(x))}

    @torch.no_grad()
    def validate(self):
        errors = np.mean([[r.square().mean() for r in self.trained(x)] for x in self.held_out], axis=0)
        points = [{"iterations": i + 1, "mse": 255**2 * float(error)} for i, error in enumerate(errors)]
        return {"loss": float(errors.mean()), "points": points}


def test_a_model_without_lambda_is_trained_by_the_same_loop(pictures, tmp_path, monkeypatch):
    register_ladder(monkeypatch)
    monkeypatch.setitem(training.TASKS, "progressive", f"{__name__}:Progressive")
    task = {"kind": "progressive"}
    recipe = Recipe("ladder", "ladder", 40, task=task, batch=4, crop=36, held_out=1, rate=0.01, validate_every=10)
    run = train(recipe, pictures, tmp_path)
    losses = [entry["loss"] for entry in run.curve]
    assert losses[-1] < 0.6 * losses[0]
    assert [point["iterations"] for point in run.curve[-1]["points"]] == [1, 2, 3]
    assert_equal(pretrained.load("ladder", folder=tmp_path).state_dict(), run.model.state_dict())
    with pytest.raises(SettingError, match="its fields are: kind"):
        dataclasses.replace(recipe, task={**task, "quantiser": "noise"})


class Duel(Task):
    """The synthesis transform of a codec against a critic; what the entropy decoder needs stays as it is."""

    def __init__(self, recipe, pictures, device, team):
        super().__init__(recipe, pictures, device, team)
        self.model = self.build_model(FactorizedPrior).requires_grad_(False)
        g_s = self.model.g_s.requires_grad_(True)
        critic = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU(), nn.Conv2d(4, 1, 1))
        for name, module in (("critic", critic), ("decoder", g_s)):
            self.players[name] = Player(module, tasks.make_optimiser(recipe, module.parameters(), device))
        self.turns = []

    def draw(self, random, mine):
        return self.pack.cut(self.pack.draw(random, self.recipe.batch, self.recipe.crop)[:, mine], self.recipe.crop)

    def losses(self, x):
        critic, step = self.players["critic"].module, self.players["critic"].optimiser.state_dict
        x_hat = self.model(x, torch.full((len(x),), 0.01), "round")["x_hat"]
        self.turns.append(len(step()["state"]))
        yield "critic", {"loss": ((critic(x) - 1) ** 2).mean() + (critic(x_hat.detach()) ** 2).mean()}
        self.turns.append(len(step()["state"]))
        yield "decoder", {"loss": ((critic(x_hat) - 1) ** 2).mean(), "score": critic(x_hat)}

    def validate(self):
        return {"loss": 0.0, "points": []}

    @property
    def trained(self):
        model = copy.deepcopy(self.model)
        model.g_s = self.players["decoder"].average
        return model

    def artefact(self):
        return {f"g_s.{key}": tensor for key, tensor in self.players["decoder"].average.state_dict().items()}


def test_two_players_take_turns_and_only_one_is_stored(tiny_weights, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(training.TASKS, "duel", f"{__name__}:Duel")
    recipe = dataclasses.replace(TINY, name="duel", start="tiny", task={"kind": "duel"}, steps=4, clip=1e-3)

    straight = Trainer(recipe, pictures, CPU, Team())
    first = {name: copy.deepcopy(one.module.state_dict()) for name, one in straight.task.players.items()}
    measured = straight.train_step()
    assert list(measured) == ["critic loss", "decoder loss", "decoder score"]
    assert straight.task.turns == [0, 4]  # the critic had made its step when the decoder's loss was computed
    for name, one in straight.task.players.items():
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in one.parameters))
        assert norm <= 1.001e-3 or name == "critic"  # whose gradients the decoder's loss has been added to by now
        assert not any(torch.equal(first[name][key], tensor) for key, tensor in one.module.state_dict().items() if
                       key.endswith("weight"))  # fmt: skip
        average = next(iter(one.average.parameters()))
        begin, now = next(iter(first[name].values())), next(iter(one.module.parameters()))
        torch.testing.assert_close(average, 2 / 11 * begin + 9 / 11 * now.detach())
    for _ in range(3):
        straight.train_step()

    train(recipe, pictures, tmp_path / "duel", pause_after=1e-9)  # one step, a checkpoint, three more
    resumed = Trainer(recipe, pictures, CPU, Team())
    resumed.load_checkpoint(tmp_path / "duel" / "checkpoint.pt")
    for _ in range(3):
        resumed.train_step()
    for name in ("critic", "decoder"):
        for part in ("module", "average"):
            assert_equal(*(getattr(one.task.players[name], part).state_dict() for one in (straight, resumed)))

    run = train(recipe, pictures, tmp_path / "duel", resume=True)
    stored = safetensors.torch.load_file(tmp_path / "duel" / "duel.safetensors")
    assert stored and all(key.startswith("g_s.") for key in stored)
    kept = {key: tensor for key, tensor in run.model.state_dict().items() if not key.startswith("g_s.")}
    assert_equal(kept, {key: tiny_weights[key] for key in kept})
    assert run.card["recipe"]["task"] == {"kind": "duel"}
