"""Hyperpriors: their Gaussians against SciPy, one rule of quantisation everywhere, and files that hold their symbols.

What is true of every codec with side information is tested here for all of them, the context models included.
"""

from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import CODECS, codec_of, model_of, picture

from edu_compress import BitstreamError, CodecError, SettingError, metrics, registry
from edu_compress.codecs import hyperprior
from edu_compress.codecs.hyperprior import Hyperprior, HyperpriorCodec, HyperpriorConfig
from edu_compress.container import Container
from edu_compress.entropy_coding.tables import SCALES, shifted, shifted_gaussian_tables
from edu_compress.learned.gaussians import Gaussians, centre_of_mass, gaussian_likelihood
from edu_compress.learned.quantisation import hard_rounding
from edu_compress.training import rate_distortion_loss

SIZES = [(1, 1), (1, 70), (65, 1), (16, 16), (17, 33), (64, 64), (100, 70)]
NO_GAINS = {"gains": 0, "dct": False, "lowest": 0.01, "highest": 0.01}


@pytest.fixture(scope="module", params=CODECS)
def small(request):
    return codec_of(request.param)


# --- Gaussians of unit bins -------------------------------------------------------------------


def column(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(0.11, 60))
def test_the_likelihood_is_the_probability_of_the_bin(y, mu, sigma):
    ours = gaussian_likelihood(column(y), column(mu), column(sigma)).item()
    normal = scipy.stats.norm(mu, sigma)
    theirs = normal.cdf(y + 0.5) - normal.cdf(y - 0.5)
    if y > mu:  # where the digits are
        theirs = normal.sf(y - 0.5) - normal.sf(y + 0.5)
    assert ours == pytest.approx(max(theirs, 1e-9), rel=1e-6)


@pytest.mark.parametrize("mu", [0.0, 0.3, -0.5, 17.9])
@pytest.mark.parametrize("sigma", [0.11, 0.7, 5.0, 30.0])
def test_all_bins_sum_to_one(mu, sigma):
    k = torch.arange(-400, 401, dtype=torch.float64)
    p = gaussian_likelihood(k, torch.tensor(mu), torch.tensor(sigma))
    assert p.sum().item() == pytest.approx(1, abs=1e-6)  # 801 bins of at least 1e-9


def test_an_impossible_symbol_still_pulls_at_its_gaussian():
    mu, sigma = column(0.0).requires_grad_(), column(0.2).requires_grad_()
    (-torch.log2(gaussian_likelihood(column(3.0), mu, sigma))).sum().backward()
    assert mu.grad.item() < 0 and sigma.grad.item() < 0  # a larger μ or σ would make the symbol cheaper


@given(st.integers(-6, 6), st.floats(-4, 4), st.floats(0.11, 20))
def test_the_centre_of_mass_is_the_mean_within_the_bin(k, mu, sigma):
    ours = centre_of_mass(column(k), column(mu), column(sigma)).item()
    assert k - 0.5 <= ours <= k + 0.5
    normal = scipy.stats.norm(mu, sigma)
    mass = scipy.integrate.quad(normal.pdf, k - 0.5, k + 0.5, epsabs=0)[0]
    if mass > 1e-8:
        moment = scipy.integrate.quad(lambda t: t * normal.pdf(t), k - 0.5, k + 0.5, epsabs=1e-12 * mass)[0]
        assert ours == pytest.approx(moment / mass, abs=1e-5)


@given(st.integers(-10_000, 10_000), st.floats(-300, 300), st.floats(0.11, 256))
def test_the_centre_of_mass_stays_in_the_bin_in_single_precision_too(k, mu, sigma):
    k, mu, sigma = (torch.tensor([value], dtype=torch.float32) for value in (k, mu, sigma))
    centre = centre_of_mass(k, mu, sigma)
    assert k - 0.5 <= centre <= k + 0.5


def test_where_the_bin_holds_everything_its_centre_of_mass_is_the_mean():
    centre = centre_of_mass(column(3, 3, 3), column(2.8, 3.0, 3.3), column(0.02, 0.02, 0.02))
    torch.testing.assert_close(centre, column(2.8, 3.0, 3.3))


def test_the_bits_of_the_tables_are_those_of_the_gaussians():
    mean = np.arange(-40, 40)
    scale = np.arange(80) % 64
    gaussians = Gaussians(mean, scale)
    symbols = np.rint(mean / 16 + SCALES[scale] * np.tile([-1.3, 0, 0.4, 2.0], 20)).astype(int)
    p = scipy.stats.norm.cdf(symbols + 0.5, gaussians.mu, gaussians.sigma)
    p -= scipy.stats.norm.cdf(symbols - 0.5, gaussians.mu, gaussians.sigma)
    np.testing.assert_allclose(gaussians.bits(symbols), -np.log2(p), atol=0.01)


# --- the models -------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"S": 4}, {"dct": False}, NO_GAINS], ids=["default", "S=4", "no DCT", "one λ"])
@pytest.mark.parametrize("name", CODECS)
def test_forward_follows_the_convention_of_the_field(name, changes):
    model = model_of(name, **changes).train()
    x, lam = torch.rand(2, 3, 64, 112), torch.full((2,), model.config.lowest)
    output = model(x, lam)
    assert output["x_hat"].shape == x.shape
    assert output["likelihoods"]["y"].shape == (2, 16, 4, 7)
    assert output["likelihoods"]["z"].shape == (2, 4, *model.hyper_size(4, 7))
    rate_distortion_loss(output, x, lam)["loss"].backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not missing


@pytest.mark.parametrize("mean", [False, True], ids=["scale", "mean-scale"])
def test_it_works_without_the_additions_of_the_course(mean):
    """No DCT, no gains, no logarithms, z at a quarter of y's positions in each direction: as in the papers."""
    torch.manual_seed(0)
    config = {"N": 8, "M": 12, "dct": False, "gains": 0, "lowest": 0.01, "highest": 0.01, "S": 4, "logs": False}
    small = HyperpriorCodec("plain", Hyperprior(HyperpriorConfig(**config, H=8, Z=6, E=12, mean=mean)))
    photo = picture(40, 50)
    data = small.encode(photo, 0.01)
    _, latents, _ = small.read(data)
    assert latents.y.shape == (12, 3, 4) and latents.z.shape == (6, 1, 1)
    assert small.decode(data).shape == photo.shape


def test_the_scale_hyperprior_predicts_no_mean_and_does_not_see_signs():
    small = codec_of("scale_hyperprior")
    y = small.analyse(picture(70, 90))
    latents = small.quantise(y, small.lam_range[0])
    assert (small.predict(latents, small.lam_range[0]).mean == 0).all()
    flipped = y * torch.where(torch.rand(y.shape) < 0.5, -1, 1)
    assert (small.quantise(flipped, small.lam_range[0]).z == latents.z).all()
    with_mean = codec_of("hyperprior")
    assert (with_mean.quantise(flipped, 0.01).z != with_mean.quantise(y, 0.01).z).any()


def test_the_distortion_does_not_train_the_prior_but_how_far_to_pull():
    model = model_of("hyperprior").train()
    x = torch.rand(1, 3, 64, 64)
    model(x, torch.tensor([0.01]), "straight_through")["x_hat"].square().sum().backward()
    assert model.pull.bias.grad.abs().sum() > 0
    assert all(p.grad is None for p in [*model.entropy_parameters.parameters(), *model.h_s.parameters()])


def test_pulling_to_the_centre_of_mass_makes_the_latents_better():
    """With Gaussians that fit, y_hat in the centre of mass is nearer to y than the middle of the bin."""
    model = model_of("hyperprior")
    with torch.no_grad():
        model.pull.bias.fill_(1)
    mu, sigma = torch.randn(1, 16, 50, 50), torch.full((1, 16, 50, 50), 0.6)
    y = mu + sigma * torch.randn_like(mu)
    k = torch.round(y)
    pulled = model.reconstruction(k, mu, sigma, torch.tensor([0.01]))
    assert (pulled - y).square().mean() < 0.95 * (k - y).square().mean()


@pytest.mark.parametrize("changes", [{}, {"mean": False}, NO_GAINS], ids=["default", "no means", "one λ"])
def test_latent_residual_prediction_moves_what_is_decoded_by_at_most_half_a_step(changes):
    model = model_of("hyperprior", L=6, **changes)
    without = model_of("hyperprior", **changes)
    without.load_state_dict(model.state_dict(), strict=False)
    k, lam = torch.randint(-5, 6, (1, 16, 4, 5)).float(), torch.tensor([0.01])
    mu, sigma = torch.randn(2, 1, 16, 4, 5).exp()
    moved = model.reconstruction(k, mu, sigma, lam) - without.reconstruction(k, mu, sigma, lam)
    assert 0.05 < moved.abs().mean() < 0.5
    with torch.no_grad():
        model.residual.layers[-1].bias.fill_(100)
    moved = model.reconstruction(k, mu, sigma, lam) - without.reconstruction(k, mu, sigma, lam)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5))  # however large its weights are
    fresh = Hyperprior(replace(model.config))
    assert (fresh.residual(torch.randn(1, fresh.residual.layers[0].in_channels, 4, 5)) == 0).all()


@pytest.mark.parametrize("name", ["hyperprior", "context-sliced"])
def test_latent_residual_prediction_changes_the_picture_but_not_the_file(name):
    small, photo = codec_of(name, L=6), picture(40, 50)
    data = small.encode(photo, 0.01)
    decoded = small.decode(data)
    with torch.no_grad():
        for p in small.model.residual.parameters():
            p.neg_()
    assert small.encode(photo, 0.01) == data
    assert metrics.mse(small.decode(data), decoded) > 1


@pytest.mark.parametrize("name", CODECS)
def test_a_few_steps_of_training_lower_the_loss(name):
    torch.manual_seed(0)
    model = model_of(name).train()
    crops = [picture(64, 64), picture(200, 200)[136:, 136:]]
    x = torch.stack([torch.from_numpy(crop.copy()).permute(2, 0, 1) / 255 for crop in crops])
    lam = torch.tensor([0.002, 0.02])
    optimiser = torch.optim.Adam(model.parameter_groups(3e-3))
    losses = []
    for _ in range(25):
        result = rate_distortion_loss(model(x, lam), x, lam)
        optimiser.zero_grad()
        result["loss"].backward()
        optimiser.step()
        losses.append(result["loss"].item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


# --- one rule of quantisation -----------------------------------------------------------------


def test_training_estimation_and_coding_round_alike(small):
    """The symbols and the bits of the codec are those of the model in training with real rounding."""
    photo = picture(80, 96)
    for lam in small.lam_range:
        y, rounded = small.analyse(photo), []

        def spy(values, rounded=rounded):
            rounded.append(hard_rounding(values)[0])
            return hard_rounding(values)

        with torch.inference_mode():
            output = small.model.code_latents(y[None], torch.tensor([lam]), spy)
        z, y_hat = (values[0].numpy() for values in rounded)
        latents = small.quantise(y, lam)
        assert np.mean(latents.y != y_hat) < 1e-3 and np.mean(latents.z != z) < 0.02  # ties in the last float32 bit
        estimate = small.bits(latents, lam)
        for part in ("y", "z"):
            trained = -torch.log2(output["likelihoods"][part]).sum().item()
            assert estimate[part].sum() == pytest.approx(trained, rel=0.002)


def test_the_picture_of_the_codec_is_the_picture_of_the_model(small):
    photo = picture(64, 96)
    lam = small.check_lam(0.01)
    x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        x_hat = small.model(x, torch.tensor([lam]), "round")["x_hat"][0].permute(1, 2, 0).numpy()
    decoded = small.decode(small.encode(photo, lam))
    assert metrics.mse(np.clip(255 * x_hat, 0, 255), decoded.astype(float)) < 0.5  # μ and σ are on a grid in the codec


def test_what_the_codec_predicts_is_what_the_network_predicts(small):
    photo = picture(96, 128)
    for lam in small.lam_range:
        latents, at = small.quantise(small.analyse(photo), lam), small.prior.at(lam)
        y, z = (
            torch.from_numpy(symbols * step[:, None, None]).float()[None]
            for symbols, step in ((latents.y, at.step), (latents.z, at.z_step))
        )
        with torch.inference_mode():
            mu, sigma = (t[0].double().numpy() for t in small.model.gaussians(y, z, torch.tensor([lam])))
        gaussians = small.predict(latents, lam)
        slack = 0.004 * at.unit[:, None, None]  # rounded activations, in steps
        assert (np.abs(gaussians.mu - mu) <= 1 / 32 + slack).all()
        inside = (sigma > SCALES[0]) & (sigma < SCALES[-1])
        assert np.abs(np.log(gaussians.sigma / sigma))[inside].max() < 0.5 * np.log(SCALES[1] / SCALES[0]) + 0.01


def test_estimated_and_real_bits_agree(small):
    photo = picture(200, 320)
    for lam in (*small.lam_range, small.check_lam(0.005)):
        latents = small.quantise(small.analyse(photo), lam)
        estimate = sum(bits.sum() / 8 for bits in small.bits(latents, lam).values())
        size = len(small.write(latents, photo.shape[:2], lam))
        assert abs(size - estimate) < 0.01 * estimate + 64


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_file_holds_the_symbols_and_the_decoder_finds_their_gaussians(small, size):
    photo = picture(*size)
    for lam in small.lam_range:
        latents = small.quantise(small.analyse(photo), lam)
        data = small.write(latents, size, lam)
        container, read, gaussians = small.read(data)
        assert (read.y == latents.y).all() and (read.z == latents.z).all()
        predicted = small.predict(latents, lam)
        assert (predicted.mean == gaussians.mean).all() and (predicted.scale == gaussians.scale).all()
        assert (container.height, container.width, container.setting) == (*size, lam)
        decoded = small.decode(data)
        assert decoded.shape == photo.shape and decoded.dtype == np.uint8
        assert (decoded == small.reconstruct(read, gaussians, size, lam)).all()
        assert small.encode(photo, lam) == data


@pytest.mark.parametrize("name", CODECS)
def test_a_model_of_one_lambda_has_files_too(name):
    small, photo = codec_of(name, **NO_GAINS), picture(33, 50)
    latents = small.quantise(small.analyse(photo), small.check_lam(0.01))
    _, read, _ = small.read(small.encode(photo, 0.01))
    assert (read.y == latents.y).all() and (read.z == latents.z).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_any_symbols_survive(small, h, w, seed):
    """Also those that no picture has: far outside all tables, where the prior did not expect them."""
    rng = np.random.default_rng(seed)
    lam = small.lam_range[seed % 2]
    latents = small.quantise(torch.from_numpy(rng.normal(0, 50, (16, h, w)).astype(np.float32)), lam)
    wild = rng.random(latents.y.shape) < 0.05
    latents.y[wild] = rng.integers(-(2**20), 2**20, wild.sum())
    latents.z[rng.random(latents.z.shape) < 0.05] = rng.integers(-5000, 5000)
    _, read, _ = small.read(small.write(latents, (16 * h, 16 * w), lam))
    assert (read.y == latents.y).all() and (read.z == latents.z).all()


def test_more_lambda_is_more_bits_and_more_quality(small):
    photo = picture(160, 240)
    points = []
    for lam in (0.0004, 0.004, 0.05):
        data = small.encode(photo, lam)
        points.append((len(data), metrics.psnr(photo, small.decode(data))))
    assert points == sorted(points) and points[-1][1] > points[0][1]


def test_the_ledger_is_complete(small):
    data = small.encode(picture(64, 64), 0.01)
    ledger = small.ledger(data)
    assert list(ledger) == ["header", "z", "y", "checksum"] and sum(ledger.values()) == len(data)


def test_side_information_is_not_optional(small):
    """With other z the rest decodes to something else, or not at all."""
    photo = picture(120, 120)
    latents = small.quantise(small.analyse(photo), 0.01)
    container = Container.unpack(small.write(latents, (120, 120), small.check_lam(0.01)))
    other = Container.unpack(small.write(replace(latents, z=latents.z + 40), (120, 120), small.check_lam(0.01)))
    assert other.sections["z"] != container.sections["z"]
    mixed = replace(container, sections={"z": other.sections["z"], "y": container.sections["y"]}).pack()
    try:
        assert (small.read(mixed)[1].y != latents.y).any()
    except BitstreamError:
        pass


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 1.0, -1, float("nan"), float("inf"), "0.01", None])
def test_impossible_lambda_is_one_sentence(small, lam):
    with pytest.raises(SettingError, match="outside the range"):
        small.encode(picture(20, 20), lam)


def test_a_file_of_other_weights_is_refused(small):
    data = small.encode(picture(20, 20), 0.01)
    other = replace(Container.unpack(data), weights="other").pack()
    with pytest.raises(BitstreamError, match="made with the weights 'other'"):
        small.decode(other)


def test_a_file_of_another_codec_is_refused():
    data = codec_of("hyperprior").encode(picture(20, 20), 0.01)
    with pytest.raises(BitstreamError, match="written by codec 'hyperprior', not 'context'"):
        codec_of("context").decode(data)


def sentence(small, container: Container) -> str:
    with pytest.raises(CodecError) as error:
        small.decode(container.pack())
    assert str(error.value).endswith(".") and "\n" not in str(error.value) and len(str(error.value)) < 250
    return str(error.value)


def test_damaged_sections_are_one_sentence(small):
    container = Container.unpack(small.encode(picture(100, 90), 0.01))
    z, y = container.sections.values()
    for sections in ({"y": y}, {"z": z}, {"y": y, "z": z}, {"z": z, "y": y, "x": b""}, {}):
        assert "sections" in sentence(small, replace(container, sections=sections))
    for name, part in container.sections.items():
        for damaged in (part[:-1], part + bytes(4), b"\1\2\3\4" + part):  # half a word, no end, something left over
            sentence(small, replace(container, sections={**container.sections, name: damaged}))


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (2**40, 1), (60_000, 60_000), (5000, 9000)])
def test_sizes_that_the_data_cannot_hold_are_refused_at_once(small, size):
    container = Container.unpack(small.encode(picture(20, 20), 0.01))
    claim = replace(container, height=size[0], width=size[1])
    assert f"claims {size[1]} x {size[0]} pixels" in sentence(small, claim)


def test_a_last_symbol_may_be_number_0_of_its_table(monkeypatch):
    """Such a symbol leaves no trace on the empty stack: that is not "data end too early"."""
    monkeypatch.setattr(hyperprior, "AT_ONCE", 1)
    small = codec_of("hyperprior", M=1)
    latents = small.quantise(small.analyse(picture(40, 50)), 0.01)
    gaussians = small.predict(latents, 0.01)  # without context: it does not depend on y
    whole, sign, index = shifted(gaussians.mean[0, -1, -1], gaussians.scale[0, -1, -1])
    latents.y[0, -1, -1] = sign * shifted_gaussian_tables()[int(index)].first + whole
    _, decoded, _ = small.read(small.write(latents, (40, 50), 0.01))
    assert np.array_equal(decoded.y, latents.y)


def test_the_codecs_are_in_the_registry():
    for name, small in CODECS.items():
        if name in registry.entries():
            assert registry.find(name).load() is small and small.name == name


@pytest.mark.parametrize("name", CODECS)
def test_files_hold_lambda_as_float32_and_are_written_for_that(name):
    small, photo = codec_of(name), picture(40, 50)
    lam = 0.01  # not a float32
    latents = small.quantise(small.analyse(photo), lam)
    _, decoded, _ = small.read(small.write(latents, photo.shape[:2], lam))
    assert np.array_equal(decoded.y, latents.y)
