"""Larger models that begin with a smaller one's weights: they compute the same, and what has no room is refused."""

import math

import numpy as np
import pytest
import torch
from small_models import SMALL, lively, picture

from edu_compress import SettingError
from edu_compress.codecs.context import ContextConfig, ContextModel
from edu_compress.learned import pretrained
from edu_compress.learned.growing import fits
from edu_compress.learned.layers import Gain

TRAINED = {**SMALL, "R": 1, "C": 8, "C_s": 6, "L": 5, "gains": 4, "slices": (1, 3, 4, 8)}
SPACING = math.log(0.05 / 0.0004) / 3  # of the anchors in log λ
LARGER = [
    {"N": 6},
    {"N": 8, "N_a": 10},
    {"R": 2},
    {"H": 12, "Z": 5},
    {"E": 20, "C": 12},
    {"C_s": 9, "L": 8},
    {"gains": 6, "highest": 0.05 * math.exp(2 * SPACING)},
    {"gains": 5, "lowest": 0.0004 * math.exp(-SPACING)},
    {"N": 6, "N_a": 9, "R": 3, "H": 9, "Z": 6, "E": 18, "C": 9, "C_s": 7, "L": 7, "gains": 5,
     "highest": 0.05 * math.exp(SPACING)},
]  # fmt: skip
LAMBDAS = (0.0004, 0.001, 0.0123, 0.05)


def photo() -> torch.Tensor:
    return torch.from_numpy(picture(64, 96).copy()).permute(2, 0, 1)[None] / 255


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A function that makes a small model as if it were trained, and puts its weights where they are found."""
    monkeypatch.setenv("EDU_COMPRESS_WEIGHTS", str(tmp_path))

    def make(**changes) -> ContextModel:
        config = {**TRAINED, **changes}
        torch.manual_seed(1)
        model = lively(ContextModel(ContextConfig(**config)), seed=1)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if ".branch." in name:  # residual blocks that are no longer the identity
                    p.add_(0.1 * torch.randn_like(p))
        pretrained.save("small", model.state_dict(), {"model": "context", "config": config}, tmp_path)
        return model

    return make


def larger(**changes) -> ContextModel:
    """A model with fresh weights, then with those of the small one in it."""
    torch.manual_seed(2)
    model = ContextModel(ContextConfig(**{**TRAINED, **changes}))
    model.initialise(torch.rand(1, 3, 64, 64))
    pretrained.take_parts(model, "small")
    return model.eval()


@torch.inference_mode()
def same_output(small: ContextModel, large: ContextModel) -> None:
    for lam in LAMBDAS:
        before, after = (model(photo(), torch.tensor([lam]), "round") for model in (small, large))
        torch.testing.assert_close(after["x_hat"], before["x_hat"], atol=1e-4, rtol=0)
        for part, channels in (("y", small.config.M), ("z", small.config.Z)):
            bits = (-torch.log2(output["likelihoods"][part][:, :channels]) for output in (after, before))
            torch.testing.assert_close(*bits, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("changes", LARGER, ids=lambda changes: " ".join(changes))
def test_a_larger_model_begins_by_computing_what_the_smaller_one_did(train, changes):
    same_output(train(), larger(**changes))


@pytest.mark.parametrize("mask", ["raster", "checkerboard"])
def test_slices_and_latent_residual_prediction_can_be_added(train, mask):
    same_output(train(slices=(), L=0, mask=mask), larger(mask=mask))


def test_new_units_are_there_to_learn(train):
    """They send nothing yet, but the gradient reaches what they send with, and once they send, them."""
    train()
    model = larger(N=6, E=20, C=12)
    model(photo(), torch.tensor([0.01]))["x_hat"].square().sum().backward()
    first, second = (model.get_submodule(f"g_s.{name}").weight for name in (0, 2))  # (in, out, 5, 5)
    assert (second[4:, :4] == 0).all() and (second.grad[4:, :4] != 0).all()
    assert (first[:, 4:] != 0).all()


def test_the_same_sizes_are_an_exact_copy(train):
    small, copy = train(), larger()
    assert all(torch.equal(copy.state_dict()[key], tensor) for key, tensor in small.state_dict().items())


@torch.inference_mode()
@pytest.mark.parametrize("slices", [((1, 3, 4, 8), (1, 3, 4, 8, 8)), ((), (4, 4, 16)), ((), ())], ids=str)
def test_more_latents_leave_the_old_ones_as_they_were(train, slices):
    small, large = train(slices=slices[0]), larger(M=24, slices=slices[1])
    assert torch.equal(large.linear.filters[:16], small.linear.filters)
    assert torch.equal(large.linear.deviation[:16], small.linear.deviation)
    filters = large.linear.filters.flatten(1)
    torch.testing.assert_close(filters @ filters.T, torch.eye(24), atol=1e-5, rtol=0)  # all different

    y = large.analyse(photo())
    torch.testing.assert_close(y[:, :16], small.analyse(photo()), atol=1e-3, rtol=1e-5)
    assert y[:, 16:].abs().max() > 1
    torch.testing.assert_close(large.hyper_latent(y), small.hyper_latent(y[:, :16]), atol=1e-3, rtol=1e-4)
    z, silent = small.hyper_latent(y[:, :16]), torch.cat([y[:, :16], 0 * y[:, 16:]], dim=1)
    for lam in torch.tensor(LAMBDAS)[:, None]:
        before = small.gaussians(y[:, :16], z, lam)
        for y_hat in (silent, y):
            for old, new in zip(before, large.gaussians(y_hat, z, lam), strict=True):
                torch.testing.assert_close(new[:, :16], old, atol=1e-3, rtol=1e-4)
        k, scale = torch.round(silent * large.scale_of(lam)), large.scale_of(lam)
        mu, sigma = large.gaussians(silent, z, lam)
        decoded = large.reconstruction(k, mu, sigma, lam) / scale
        expected = small.reconstruction(k[:, :16], mu[:, :16], sigma[:, :16], lam) / small.scale_of(lam)
        torch.testing.assert_close(decoded[:, :16], expected, atol=1e-3, rtol=1e-4)
        decoded[:, 16:] = 0
        torch.testing.assert_close(large.synthesise(decoded), small.synthesise(expected), atol=1e-4, rtol=0)


def test_anchors_anywhere_take_the_values_that_the_old_ones_have_there(train):
    small, large = train(), larger(gains=6, lowest=0.001, highest=0.3)
    lam = torch.from_numpy(np.geomspace(0.001, 0.3, 6)).float()
    inside = lam <= 0.05
    torch.testing.assert_close(large.gain(lam)[inside], small.gain(lam)[inside])
    fresh = Gain(16, 0.001, 0.3, 6)
    beyond = torch.log(large.gain(lam[~inside]) / small.gain(torch.tensor([0.05])))  # go on as fresh gains do
    torch.testing.assert_close(beyond, torch.log(fresh(lam[~inside]) / fresh(torch.tensor([0.05]))))


@pytest.mark.parametrize(
    "changes, tensor",
    [
        ({"N": 3}, "g_a.0.bias"),
        ({"M": 15, "slices": (1, 3, 4, 7)}, "context.weight"),
        ({"R": 0}, "g_a.1_residual_0"),
        ({"E": 15}, "bias.bias"),
        ({"C_s": 5}, "slices.0.hear.bias"),
        ({"L": 0}, "residual.layers.0.bias"),
        ({"K": 3}, "h_a.0.weight"),  # a larger kernel, but not a larger copy
        ({"slices": (1, 3, 12)}, "slices.0"),
        ({"slices": ()}, "slices.0"),
        ({"M": 24, "slices": (2, 3, 4, 15)}, "slices.0"),
        ({"mask": "checkerboard"}, "context.bias"),
    ],
    ids=str,
)
def test_what_has_no_room_or_another_meaning_is_refused(train, changes, tensor):
    train()
    with pytest.raises(SettingError, match=rf"The weights 'small' cannot give this model its .*{tensor}.*\.$"):
        larger(**changes)


def test_parts_that_do_not_change_may_go_into_a_model_of_another_kind(train):
    small = train()
    model = ContextModel(ContextConfig(**{**TRAINED, "mask": "checkerboard", "slices": (), "E": 8}))
    pretrained.take_parts(model, "small", ["g_a", "g_s", "linear", "h_a"])
    assert torch.equal(model.g_a[0].weight, small.g_a[0].weight) and model.context.rows == 5
    assert not fits("context.mask", small, model)
