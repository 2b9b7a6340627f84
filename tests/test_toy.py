"""The codec of the plane: its source, its K independent codecs, what training and quantisers do to it."""

import numpy as np
import pytest
import torch

from edu_compress import toy
from edu_compress.learned.quantisation import QUANTISERS


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    return toy.train(toy.ToyCodec((1.0, 6.0)), steps=300, progress=False)


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    return toy.train(toy.ToyCodec((1.0, 6.0), linear=True), steps=300, progress=False)


def test_density_is_that_of_the_points():
    """Its integral over the drawn part is the share of the points there; it is higher in the middle of the arch."""
    grid = toy.plane(400)
    area = float((grid[0, 1] - grid[0, 0])[0] * (grid[1, 0] - grid[0, 0])[1])
    x = toy.banana(200_000, torch.Generator().manual_seed(3))
    left, right, bottom, top = toy.EXTENT
    inside = (x[:, 0] > left) & (x[:, 0] < right) & (x[:, 1] > bottom) & (x[:, 1] < top)
    share = float(toy.banana_density(grid).sum()) * area
    assert share == pytest.approx(inside.float().mean().item(), abs=0.005)
    near = (x - torch.tensor([0.0, -1.0])).abs().amax(1) < 0.05
    assert near.float().mean() / 0.01 == pytest.approx(toy.banana_density(torch.tensor([0.0, -1.0])).item(), rel=0.1)


def test_coordinates_of_the_source_are_uncorrelated_but_dependent():
    x = toy.banana(200_000, torch.Generator().manual_seed(4)).numpy()
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.02
    assert np.corrcoef(x[:, 0] ** 2, x[:, 1])[0, 1] > 0.9


def test_codecs_do_not_know_of_each_other():
    """The loss of the first leaves no gradient in the parameters of the second."""
    torch.manual_seed(0)
    codec = toy.ToyCodec((1.0, 6.0))
    x = toy.banana(64)
    R, D = codec(x, "straight_through")
    (R[0] + D[0]).backward()
    own, other = zip(*(p.grad.reshape(2, -1) for p in codec.parameters()), strict=True)
    assert torch.cat(own).norm() > 0.1
    assert torch.cat(other).norm() == 0


@pytest.mark.parametrize("name", QUANTISERS)
def test_every_quantiser_gives_rate_and_distortion_of_each_codec(name):
    codec = toy.ToyCodec((1.0, 2.0, 3.0))
    R, D = codec(toy.banana(50), name)
    assert R.shape == D.shape == (3,)
    assert (R > 0).all() and (D >= 0).all()


def test_an_untrained_codec_is_a_uniform_quantiser():
    """It begins as the identity: its error is at most half a step in each coordinate."""
    codec = toy.ToyCodec((50.0,), linear=True)
    x = toy.banana(2000)
    x_hat = codec.synthesise(torch.round(codec.analyse(x)))[0]
    step = 1 / codec.gain.item()
    assert (x_hat - x).abs().max() <= step / 2 + 1e-5
    assert codec(x)[1].item() == pytest.approx(2 * step**2 / 12, rel=0.1)


def test_the_learned_codec_beats_the_linear_one_on_a_bent_source(learned, linear):
    for k, lam in enumerate(learned.lams):
        cost = [R[k] + lam * D[k] for R, D in (toy.measure(learned), toy.measure(linear))]
        assert cost[0] < cost[1] - 0.1


def test_more_lambda_is_more_bits_and_less_distortion(learned):
    R, D = toy.measure(learned)
    assert R[0] < R[1] and D[0] > D[1]


def test_cells_and_points_are_those_of_the_codec(learned):
    for k, cell in enumerate(toy.cells(learned, columns=80, n=2000)):
        assert cell.probability.sum() == pytest.approx(1)
        assert (np.diff(cell.probability) <= 0).all()
        torch.manual_seed(1)
        decoded = learned.synthesise(torch.round(learned.analyse(toy.banana(2000))))[k].detach().numpy()
        most_used = cell.points[0]
        used = np.abs(decoded - most_used).max(1) < 1e-4
        assert used.mean() == pytest.approx(cell.probability[0])
        assert 0 < cell.border.mean() < 0.5


def test_the_lab_finds_the_gap_between_training_and_test():
    results = toy.quantiser_lab(("noise", "straight_through"), lams=(0.5, 3.0), steps=60, progress=False)
    believed, real = results["straight_through"]
    np.testing.assert_allclose(believed, real)  # it trains with what the codec does
    believed, real = results["noise"]
    assert np.abs(np.subtract(believed, real)).max() > 0.02
