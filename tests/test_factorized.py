"""The first learned codec: its density, its tables, its files. With small fixed weights, so no training matters."""

import hashlib

import numpy as np
import pytest
import torch
from elsewhere import NO_EXTRAS, run_python
from small_models import TRAINING_PHOTO

from edu_compress import BitstreamError, SettingError, images, metrics
from edu_compress.codecs.factorized import PAPER, FactorizedCodec, FactorizedConfig, FactorizedPrior
from edu_compress.learned.density import FactorizedDensity

CONFIG = FactorizedConfig(N=8, M=48)


def small_model() -> FactorizedPrior:
    """An untrained model whose linear path makes it a DCT codec: its pictures are recognisable, its files small."""
    torch.manual_seed(0)
    model = FactorizedPrior(CONFIG)
    model.initialise(TRAINING_PHOTO)
    return model.eval()


@pytest.fixture(scope="module")
def codec():
    return FactorizedCodec("small", small_model())


@pytest.fixture(scope="module")
def photo():
    return images.sample("coffee")[100:260, 100:340]


# --- the density ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def density():
    torch.manual_seed(1)
    density = FactorizedDensity(5)
    with torch.no_grad():
        for p in density.parameters():
            p.add_(0.5 * torch.randn_like(p))
        density.scale.copy_(torch.tensor([0.3, 1.0, 4.0, 20.0, 100.0]))
    return density


def test_bins_of_any_width_tile_the_line(density):
    for width in (5.0, 40.0):
        k = torch.arange(-4000, 4001, dtype=torch.float64)
        y = (k * width).expand(1, 5, 1, -1)
        total = density.double().likelihood(y, width).sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-4, rtol=0)  # 8001 bins of 1e-9 at least
    density.float()


def test_tables_are_the_density_rounded_to_integers(density):
    step = np.array([0.2, 1.0, 0.5, 8.0, 31.0])
    for channel, table in enumerate(density.tables(step)):
        values = table.first + np.arange(len(table) - 1)
        y = torch.zeros(1, 5, 1, len(values), dtype=torch.float64)
        y[0, channel, 0] = torch.from_numpy(values * step[channel])
        p = density.double().likelihood(y, torch.from_numpy(step)[:, None, None])[0, channel, 0].detach().numpy()
        density.float()
        assert np.abs(table.widths[:-1] / 2**24 - p).max() < 2e-6 + len(table) / 2**24
        assert table.escape and table.widths[-1] < 2**24 * 1e-4


def test_density_learns_a_distribution(density):
    """After a short training, the cost of samples is near their entropy: Laplace of scale 3."""
    torch.manual_seed(0)
    learner = FactorizedDensity(1)
    optimiser = torch.optim.Adam(learner.parameters(), 0.03)
    laplace = torch.distributions.Laplace(0.0, 3.0)
    for _ in range(400):
        y = laplace.sample((1, 1, 1, 2000)) + torch.rand(1, 1, 1, 2000) - 0.5
        loss = -torch.log2(learner.likelihood(y)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    k = torch.arange(-100.0, 101.0)
    p = laplace.cdf(k + 0.5) - laplace.cdf(k - 0.5)
    cost = (p * -torch.log2(learner.likelihood(k[None, None, None]))[0, 0, 0]).sum()
    assert -(p * torch.log2(p + 1e-30)).sum() <= cost < -(p * torch.log2(p + 1e-30)).sum() + 0.05


# --- the model --------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, PAPER, FactorizedConfig(N=8, M=12, R=1, dct=False)])
def test_forward_follows_the_convention_of_the_field(config):
    model = FactorizedPrior(config)
    x, lam = torch.rand(2, 3, 64, 96), torch.full((2,), config.lowest)
    output = model(x, lam)
    assert output["x_hat"].shape == x.shape
    assert output["likelihoods"]["y"].shape == (2, config.M, 4, 6)
    loss = output["x_hat"].square().mean() - output["likelihoods"]["y"].log2().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in model.parameters())


def test_residual_blocks_fit_between_layers_trained_without_them():
    plain, deep = small_model(), FactorizedPrior(FactorizedConfig(N=8, M=48, R=2))
    missing, unexpected = deep.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all("residual" in key for key in missing)
    assert sum("branch.0.weight" in key for key in missing) == 8  # two after each of the four GDN
    x, lam = torch.rand(1, 3, 32, 48), torch.tensor([0.01])
    assert torch.equal(deep(x, lam, "round")["x_hat"], plain(x, lam, "round")["x_hat"])


def test_more_lambda_is_more_bits_and_more_quality(codec, photo):
    points = []
    for lam in codec.settings:
        data = codec.encode(photo, lam)
        points.append((len(data), metrics.psnr(photo, codec.decode(data))))
    assert points == sorted(points)
    assert points[0][1] > 22 and points[-1][1] > points[0][1] + 3


# --- files ------------------------------------------------------------------------------------


def test_estimated_and_real_bits_agree(codec, photo):
    y = codec.analyse(photo)
    for lam in map(codec.check_lam, (0.0004, 0.003, 0.05)):
        symbols = codec.quantise(y, lam)
        data = codec.write(symbols, photo.shape[:2], lam)
        estimate = codec.bits(symbols, lam).sum() / 8
        assert abs(len(data) - estimate) < 0.01 * estimate + 64


def test_the_steps_of_the_codec_are_the_codec(codec, photo):
    lam = codec.check_lam(0.01)
    symbols = codec.quantise(codec.analyse(photo), lam)
    data = codec.encode(photo, 0.01)
    container, read = codec.read(data)
    assert (read == symbols).all() and container.setting == lam
    assert (codec.reconstruct(symbols, photo.shape[:2], lam) == codec.decode(data)).all()


def test_latents_beyond_every_table_survive(codec, photo):
    lam = codec.check_lam(0.01)
    symbols = codec.quantise(codec.analyse(photo), lam)
    symbols[0, 0, 0], symbols[-1, 2, 3] = 100_000, -99_999
    assert (codec.read(codec.write(symbols, photo.shape[:2], lam))[1] == symbols).all()


def test_a_files_own_lambda_can_be_used_again(codec, photo):
    for lam in codec.lam_range:
        data = codec.encode(photo, lam)
        assert codec.encode(photo, codec.read(data)[0].setting) == data


@pytest.mark.parametrize("lam", [0.0, 1.0, -1, float("nan"), float("inf"), "0.01", None])
def test_impossible_lambda_is_one_sentence(codec, photo, lam):
    with pytest.raises(SettingError, match="outside the range"):
        codec.encode(photo, lam)


def test_a_file_of_other_weights_is_refused(codec, photo):
    other = FactorizedCodec("other", small_model())
    with pytest.raises(BitstreamError, match="made with the weights 'small'"):
        other.decode(codec.encode(photo, 0.01))


# --- the same symbols on every machine ---------------------------------------------------------


def digest() -> str:
    """Hash of all tables of the small model at three λ; of float weights only their exact values enter."""
    result = hashlib.sha256()
    model = small_model()
    with torch.no_grad():  # weights that no random generator or DCT rounding touches
        for index, p in enumerate(model.density.parameters()):
            p.copy_(torch.linspace(-1, 1, p.numel()).mul(64).round().div(64 + index).reshape(p.shape))
        model.density.scale.copy_(torch.arange(1, CONFIG.M + 1) * 0.75)
        model.gain.log_gain.copy_((torch.arange(model.gain.log_gain.numel()) % 97 - 140).div(32).reshape(8, -1))
    for lam in (0.0004, 0.0123, 0.05):
        step = model.gain.portable_step(lam)
        result.update(step.tobytes())
        for table in model.density.tables(step):
            result.update(np.int64(table.first).tobytes() + table.widths.astype("<i8").tobytes())
    return result.hexdigest()


GOLDEN = "f1bc88aa94eb52e94a10a7cbc6e5a0b1218283c06e13fd15eada3f333836aaa6"


def test_tables_are_the_golden_ones():
    assert digest() == GOLDEN


@pytest.mark.parametrize(
    "setting",
    [{"OMP_NUM_THREADS": "2"}, {"ATEN_CPU_CAPABILITY": "default"}, {"NPY_DISABLE_CPU_FEATURES": NO_EXTRAS}],
    ids=lambda setting: next(iter(setting)),
)
def test_tables_do_not_depend_on_threads_or_instruction_sets(setting):
    assert run_python("import test_factorized as t; print(t.digest())", **setting) == GOLDEN
