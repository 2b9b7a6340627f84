"""Refinement of one picture: the real J falls and never rises, z is searched and written, files stay ordinary files."""

import numpy as np
import pytest
import torch
from small_models import CODECS, codec_of, model_of, picture

from edu_compress import SettingError, images, metrics, open_codec
from edu_compress.cli import main
from edu_compress.codecs.hyperprior import HyperpriorCodec, Latents
from edu_compress.learned import per_picture
from edu_compress.learned.per_picture import Refinement, annealed, refine, soft_rounding_with_noise

NO_GAINS = {"gains": 0, "dct": False, "lowest": 0.01, "highest": 0.01}


def refining(name: str, steps: int, **changes) -> HyperpriorCodec:
    return CODECS[name]("small", model_of(name, **changes), refine=steps)


def real_cost(small: HyperpriorCodec, photo: np.ndarray, data: bytes) -> float:
    """J in bits a pixel: the estimated bits of the file's symbols, and the error of the picture it decodes to."""
    container, latents, _ = small.read(data)
    bits = sum(part.sum() for part in small.bits(latents, container.setting).values())
    return bits / (photo.size / 3) + container.setting * metrics.mse(photo, small.decode(data))


# --- the stand-in for rounding ----------------------------------------------------------------


def test_the_stand_in_is_rounding_when_it_is_cold_and_quiet_and_the_identity_when_it_is_hot():
    y = torch.linspace(-3.2, 3.2, 640)  # no halves
    torch.testing.assert_close(soft_rounding_with_noise(1e-4, 0)(y)[1], torch.round(y))
    torch.testing.assert_close(soft_rounding_with_noise(100.0, 0)(y)[1], y, atol=1e-3, rtol=0)


def test_its_noise_has_the_deviation_and_ends_at_the_stairs():
    torch.manual_seed(0)
    y = torch.full((100_000,), 0.5)  # where a hot staircase changes nothing
    assert (soft_rounding_with_noise(100.0, 0.2)(y)[0] - y).std().item() == pytest.approx(0.2, rel=0.02)
    at_a_whole = torch.full((100_000,), 1.0)  # in the middle of a tread: most of the noise is swallowed
    assert annealed(1.0)(at_a_whole)[0].std() < 0.05 < annealed(0.0)(at_a_whole)[0].std()


# --- what it gains ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hyperprior", "checkerboard", "context"])
def test_real_files_become_cheaper_by_percents(name):
    """With the course's own weights: what random networks can gain says nothing."""
    photo, lam = picture(128, 192), 0.003
    plain, refined = (open_codec(name, refine=steps) for steps in (0, 60))
    costs, rates = [], []
    for coder in (plain, refined):
        data = coder.encode(photo, lam)
        rates.append(metrics.bits_per_pixel(data, photo))
        costs.append(rates[-1] + lam * metrics.mse(photo, plain.decode(data)))
    assert costs[0] - costs[1] > 0.03 * rates[0]


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", CODECS)
def test_it_never_makes_a_file_worse(name, steps):
    photo = picture(40, 70)
    for k in range(2):  # the lowest λ, and the highest
        plain, refined = refining(name, 0), refining(name, steps)
        lam = plain.lam_range[k]
        before, after = (real_cost(plain, photo, coder.encode(photo, lam)) for coder in (plain, refined))
        assert after <= before * (1 + 1e-4)  # the codec's μ and σ are on a grid


@pytest.mark.parametrize("name", ["hyperprior", "scale_hyperprior", "checkerboard", "context"])
def test_the_best_symbols_are_kept_with_their_cost(name):
    small, photo = CODECS[name](name), picture(48, 64)  # the course's own weights
    lam = small.check_lam(0.003)
    search = Refinement(small.model, small.pixels(photo), (48, 64), lam)
    seen = [search.J]
    look = search.look
    search.look = lambda: (look(), seen.append(search.J))
    search.search(20)
    assert len(seen) == 11 and seen == sorted(seen, reverse=True) and seen[-1] < seen[0]
    y, z = (k[0].numpy().astype(int) for k in search.best)
    written = small.write(Latents(y, z), (48, 64), lam)
    assert search.J / (48 * 64) == pytest.approx(real_cost(small, photo, written), rel=2e-3)


def test_symbols_that_turned_out_worse_are_forgotten():
    small, photo = codec_of("hyperprior"), picture(48, 64)
    search = Refinement(small.model, small.pixels(photo), (48, 64), 0.01)
    best, J = search.best, search.J
    with torch.no_grad():
        search.y += 3
    search.look()
    assert search.J == J and search.best is best


def test_padding_costs_nothing():
    """What the picture is padded with to whole blocks may come out as it likes."""
    small, size = codec_of("hyperprior"), (20, 37)
    x = small.pixels(picture(*size))
    search = Refinement(small.model, x, size, 0.01)
    other = x.clone()
    other[:, :, 20:], other[..., 37:] = 0, 1
    cost = search.cost(search.y, search.z, "round")
    search.x = other
    assert search.cost(search.y, search.z, "round") == cost
    search.x = 1 - x
    assert search.cost(search.y, search.z, "round") > cost


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 80)], ids=str)
@pytest.mark.parametrize("name", CODECS)
def test_what_was_found_is_what_the_file_holds(name, size):
    small, photo = refining(name, 12), picture(*size)
    lam = small.check_lam(0.02)
    data = small.encode(photo, lam)
    y, z = refine(small.model, small.pixels(photo), size, lam, 12)
    _, read, _ = codec_of(name).read(data)
    assert np.array_equal(read.y, y.numpy()) and np.array_equal(read.z, z.numpy())
    assert codec_of(name).decode(data).shape == photo.shape


def test_side_information_is_searched_too():
    """z is neither that of the first y nor computed anew from the last one."""
    small, photo = open_codec("hyperprior", refine=30), picture(96, 128)
    lam = small.check_lam(0.003)
    found = small.read(small.encode(photo, lam))[1]
    start = small.quantise(small.analyse(photo), lam)
    y = torch.from_numpy(found.y * small.prior.at(lam).step[:, None, None]).float()
    assert (found.y != start.y).any() and (found.z != start.z).any()
    assert (found.z != small.quantise(y, lam).z).any()


@pytest.mark.parametrize("name", CODECS)
def test_a_model_of_one_lambda_can_be_refined(name):
    photo = picture(33, 50)
    plain, refined = refining(name, 0, **NO_GAINS), refining(name, 10, **NO_GAINS)
    before, after = (real_cost(plain, photo, coder.encode(photo, 0.01)) for coder in (plain, refined))
    assert after < before


def test_no_steps_are_the_plain_codec():
    photo = picture(33, 50)
    assert refining("context", 0).encode(photo, 0.01) == codec_of("context").encode(photo, 0.01)


def test_the_same_picture_gives_the_same_file_and_nothing_else_changes():
    small, photo = refining("checkerboard", 8), picture(48, 48)
    weights = [p.clone() for p in small.model.parameters()]
    torch.manual_seed(1)
    first, random = small.encode(photo, 0.01), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), random)  # the caller's random numbers go on as if nothing had happened
    assert small.encode(photo, 0.01) == first
    for p, before in zip(small.model.parameters(), weights, strict=True):
        assert p.grad is None and p.requires_grad and torch.equal(p, before)


# --- the command line, and mistakes -----------------------------------------------------------


def test_the_command_line_shows_its_progress_and_the_library_is_silent(tmp_path, capsys):
    photo, file = tmp_path / "photo.png", tmp_path / "photo.edc"
    images.save(photo, picture(32, 48))
    assert main(["encode", str(photo), str(file), "--codec", "checkerboard", "--option", "refine=11"]) == 0
    assert "11/11" in capsys.readouterr().err
    coder = open_codec("checkerboard", refine=11)
    assert coder.encode(images.load(photo), coder.settings[len(coder.settings) // 2]) == file.read_bytes()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("steps", [-1, 2.5, "many"])
def test_impossible_numbers_of_steps_are_refused(steps):
    with pytest.raises(SettingError, match="refine is a number of gradient steps"):
        HyperpriorCodec("small", model_of("hyperprior"), refine=steps)


def test_models_for_ms_ssim_are_refused():
    with pytest.raises(SettingError, match="refine minimises the squared error"):
        refining("checkerboard", 5, distortion="ms_ssim")


def test_a_picture_that_is_too_large_is_one_sentence(monkeypatch):
    monkeypatch.setattr(per_picture, "MAX_PIXELS", 30 * 40)
    assert refining("hyperprior", 1).encode(picture(30, 40), 0.01)
    with pytest.raises(SettingError, match=r"41 x 30 pixels is too large to be refined.*at most 1,200\. Encode it"):
        refining("hyperprior", 1).encode(picture(30, 41), 0.01)
