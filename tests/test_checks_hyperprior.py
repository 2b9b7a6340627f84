"""The checks of lesson 06: right answers pass, typical mistakes get their sentence."""

import numpy as np
import pytest
from scipy.special import ndtr

from edu_compress import checks
from edu_compress.entropy_coding.tables import SCALES


def bin_probability(k, mu, sigma):
    distance = np.abs(k - mu)
    return ndtr((0.5 - distance) / sigma) - ndtr((-0.5 - distance) / sigma)


def naive_bin(k, mu, sigma):
    return ndtr((k + 0.5 - mu) / sigma) - ndtr((k - 0.5 - mu) / sigma)


def steps(sigma):
    return (np.log(sigma) - np.log(0.11)) / ((np.log(256) - np.log(0.11)) / 63)


def scale_index(sigma):
    return np.rint(steps(sigma)).clip(0, 63).astype(int)


def saving(y, B, cost, each=True, one=True):
    def bits(part):
        return -np.log2(bin_probability(part, 0, np.sqrt(np.mean(part**2) + 0.01))).sum()

    h, w = y.shape
    blocks = [y[i : i + B, j : j + B] for i in range(0, h, B) for j in range(0, w, B)]
    return bits(y) + cost * one - sum(bits(block) + cost * each for block in blocks)


def centre(k, mu, sigma, sign=-1, tiny=1e-300):
    density = lambda t: np.exp(-t * t / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    a, b = (k - 0.5 - mu) / sigma, (k + 0.5 - mu) / sigma
    mass = np.maximum(bin_probability(k, mu, sigma), tiny)
    return mu + sign * sigma * (density(b) - density(a)) / mass


def clipped(k, mu, sigma):
    return np.clip(centre(k, mu, sigma), k - 0.5, k + 0.5)


def on_grid(x, bits):
    return np.floor(x * 2.0**bits + 0.5) / 2.0**bits


def exact_dot(weights, inputs, weight_bits=16):
    return float(np.sum(on_grid(weights, weight_bits) * on_grid(inputs, 10).clip(-4096, 4096)))


RIGHT = {
    "bin_probability": bin_probability,
    "scale_index": scale_index,
    "side_information_saving": saving,
    "centre_of_mass": clipped,
    "exact_dot": exact_dot,
}

WRONG = [
    ("bin_probability", lambda k, mu, s: np.exp(-(((k - mu) / s) ** 2) / 2) / s / np.sqrt(2 * np.pi), "density at k"),
    ("bin_probability", lambda k, mu, s: bin_probability(k, 0, s), "μ is not used"),
    ("bin_probability", lambda k, mu, s: bin_probability(k, mu, s**2), "variance"),
    ("bin_probability", naive_bin, "lower tail"),
    ("bin_probability", lambda k, mu, s: bin_probability(k, mu, s) + 1e-12, "tiny number"),
    ("bin_probability", lambda k, mu, s: np.maximum(bin_probability(k, mu, s), 1e-9), "tiny number"),
    ("bin_probability", lambda k, mu, s: -bin_probability(k, mu, s), "negative"),
    ("bin_probability", lambda k, mu, s: -np.log2(bin_probability(k, mu, s)), "bits of k"),
    ("scale_index", lambda s: scale_index(s).astype(float), "integer"),
    ("scale_index", lambda s: np.rint(steps(s)).astype(int), "0 ... 63"),
    ("scale_index", lambda s: steps(s).astype(int).clip(0, 63), "next smaller"),
    ("scale_index", lambda s: np.abs(s[:, None] - SCALES).argmin(1), "nearest in σ"),
    ("scale_index", lambda s: np.rint(63 * np.log(s) / np.log(256 / 0.11)).clip(0, 63).astype(int), "log 0.11"),
    ("scale_index", lambda s: np.ceil(steps(s)).clip(0, 63).astype(int), "next larger"),
    ("scale_index", lambda s: np.rint(63 * (s - 0.11) / 255.89).clip(0, 63).astype(int), "spaced in log"),
    ("side_information_saving", lambda y, B, c: saving(y, B, c, each=False, one=False), "for nothing"),
    ("side_information_saving", lambda y, B, c: saving(y, B, c, one=False), "one σ of the whole"),
    ("side_information_saving", lambda y, B, c: saving(y - y.mean(), B, c), "0.01"),
    ("side_information_saving", lambda y, B, c: -saving(y, B, c), "sign is wrong"),
    ("centre_of_mass", lambda k, mu, s: centre(k, mu, s, sign=1), "sign"),
    ("centre_of_mass", lambda k, mu, s: np.clip(centre(k, mu, s, sign=1), k - 0.5, k + 0.5), "sign"),
    ("centre_of_mass", lambda k, mu, s: mu, "this is μ"),
    ("centre_of_mass", lambda k, mu, s: k, "middle"),
    ("centre_of_mass", lambda k, mu, s: centre(k, mu, s), "Limit the result"),
    ("exact_dot", lambda w, x: float(np.dot(w, x)), "another sum"),
    ("exact_dot", lambda w, x: float(np.sum(on_grid(w, 16) * on_grid(x, 10))), "not limited"),
    ("exact_dot", lambda w, x: exact_dot(w, x, weight_bits=12), "halves up"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes(name):
    assert getattr(checks, name)(RIGHT[name])


@pytest.mark.parametrize("tiny", [1e-300, 1e-12, 1e-9])
@pytest.mark.parametrize("seed", range(5))
def test_any_tiny_number_serves_for_the_centre(tiny, seed, monkeypatch):
    monkeypatch.setenv("EDU_COMPRESS_SEED", str(seed))
    assert checks.centre_of_mass(lambda k, mu, s: np.clip(centre(k, mu, s, tiny=tiny), k - 0.5, k + 0.5))


@pytest.mark.parametrize("name", RIGHT)
def test_an_untouched_stub_is_not_an_error(name):
    result = getattr(checks, name)(lambda *arguments: ...)
    assert not result and "not attempted yet" in str(result)


@pytest.mark.parametrize(("name", "answer", "sentence"), WRONG, ids=[f"{n}-{s}" for n, _, s in WRONG])
def test_a_mistake_gets_its_sentence(name, answer, sentence):
    with np.errstate(all="ignore"):
        result = getattr(checks, name)(answer)
    assert not result and sentence in str(result)
