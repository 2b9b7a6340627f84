"""The same symbols everywhere: with other threads and other instructions, and from files made long ago.

Processes with other settings stand in for other machines: how many threads share a sum, and which instructions of the
processor PyTorch, oneDNN, MKL and NumPy may use, changes the order of summation and so the last bits of a float.
"""

import hashlib
import json
import os
import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from elsewhere import NO_EXTRAS, run_python
from small_models import CODECS, model_of, picture

from edu_compress import images, open_codec
from edu_compress.codecs.factorized import FactorizedCodec
from edu_compress.codecs.hyperprior import Latents
from edu_compress.learned import pretrained
from edu_compress.learned.gaussians import gaussian_likelihood

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"
NAMES = ("factorized", *CODECS)

# --- golden files -----------------------------------------------------------------------------

LAMBDAS = (0.0005, 0.03)
SYMBOLS = {
    ("factorized", 0.0005): "dc85f55a34840cb49479e7389fc778bc395ff10b989cbfbed3f21938499dfe74",
    ("factorized", 0.03): "ae1cb51bd9d33ceaba85dfad221dcd62fba69a0b742fe74005ae060bdf90d571",
    ("hyperprior", 0.0005): "4e59bf476425106e3259f3f4c3ee97d0462b867633bb4f94f5b4b74b0cc34a54",
    ("hyperprior", 0.03): "086f5a3e34fdad3ffc7c33efce7bfb0608e2b740923d867841f50b3a42ed757b",
    ("scale_hyperprior", 0.0005): "95b1a25bbf2fc45f7d501770936871d98279e2f40ba2463bf0793c6cbfb43347",
    ("scale_hyperprior", 0.03): "8c09abf4be496b89f51b2db8803994d4556df1d9460839074d73e805c1b1f8f2",
    ("context", 0.0005): "6efd729d0af1f07695a445a66dd9252fe0e01a826a7a189e82be6a19ea78331a",
    ("context", 0.03): "dc0fd1ec32eb378c8ec1d11d48355380c00c7191f3c5b89fe3efedc2354cd164",
    ("checkerboard", 0.0005): "bd7a32e9bcb87b8d5734f3a82b853462245cfa5708ed660c7d456b2f3c92a611",
    ("checkerboard", 0.03): "f3fc178f2267d1e26c0d82968b508962f1254c618b2c62a632a9d1b3ebe8d594",
    ("context-sliced", 0.0005): "d5350a56c7a2083ae79c82ea4c56e7603fc232903d3023761da56d6036c76856",
    ("context-sliced", 0.03): "468ded0392c1fcede1deae7a152423ce0f1673293c87bcbf1a50f29516a2c2e7",
}  # fmt: skip
"""SHA-256 of the symbols in each file, as tests/golden/make.py printed it when it made the file."""


def golden_codec(name: str):
    model = pretrained.load(f"golden-{name}", folder=GOLDEN)
    return {"factorized": FactorizedCodec, **CODECS}[name](f"golden-{name}", model)


def symbols_digest(codec, data: bytes) -> str:
    """Hash of all symbols in a file: first those of y, then those of z."""
    symbols = codec.read(data)[1]
    parts = (symbols.y, symbols.z) if isinstance(symbols, Latents) else (symbols,)
    return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("name", sorted({name for name, _ in SYMBOLS}))
def test_golden_files_decode_to_their_symbols_for_ever(name):
    codec = golden_codec(name)
    for lam in LAMBDAS:
        data = (GOLDEN / f"{name}-{lam}.edc").read_bytes()
        assert symbols_digest(codec, data) == SYMBOLS[name, lam]
        photo = picture(160, 240).astype(float)
        error = codec.decode(data) - photo  # the picture, roughly: it need not be the same to the last bit
        assert np.mean(error**2) < 0.5 * np.var(photo)


@pytest.mark.parametrize("name", sorted({name for name, _ in SYMBOLS}))
def test_the_same_symbols_are_still_coded_in_the_same_bytes(name):
    codec = golden_codec(name)
    for lam in LAMBDAS:
        data = (GOLDEN / f"{name}-{lam}.edc").read_bytes()
        container, symbols = codec.read(data)[:2]
        assert codec.write(symbols, (container.height, container.width), container.setting) == data


# --- other machines ---------------------------------------------------------------------------

MEDIUM = {"M": 128, "H": 48, "Z": 24, "E": 128, "N": 8}  # large enough for every library to share the work out
HERE = {"OMP_NUM_THREADS": "1"}
ELSEWHERE = {
    "two threads": {"OMP_NUM_THREADS": "2"},
    "four threads": {"OMP_NUM_THREADS": "4"},
    "without AVX-512": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in NO_EXTRAS.split() if name.startswith("AVX512")),
    },
    "an old processor": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": NO_EXTRAS,
    },
}


def coder(name: str, folder: Path):
    model = model_of(name, **MEDIUM)
    model.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    return CODECS[name](name, model)


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


@torch.inference_mode()
def report(folder: Path) -> dict[str, str]:
    """What this process makes of the files in a folder: decoded, coded again, and predicted by the float network."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # also more than there are processors
    found = {"threads": str(torch.get_num_threads()), "instructions": torch.backends.cpu.get_cpu_capability()}
    for name in CODECS:
        codec, data = coder(name, folder), (folder / f"{name}.edc").read_bytes()
        container, latents, gaussians = codec.read(data)
        found[f"{name} decoded"] = digest(latents.y, latents.z, gaussians.mean, gaussians.scale)
        found[f"{name} coded again"] = digest(
            codec.write(latents, (container.height, container.width), container.setting)
        )
        at, lam = codec.prior.at(container.setting), torch.tensor([container.setting])
        y = torch.from_numpy(latents.y * at.step[:, None, None]).float()[None]
        z = torch.from_numpy(latents.z * at.z_step[:, None, None]).float()[None]
        found[f"{name} in floats"] = digest(*(part.numpy() for part in codec.model.gaussians(y, z, lam)))
    return found


def report_of(folder: Path, setting: dict[str, str]) -> dict[str, str]:
    """The report of a new process with these settings."""
    code = "import sys, json, pathlib, test_exactness as t; print(json.dumps(t.report(pathlib.Path(sys.argv[1]))))"
    return json.loads(run_python(code, folder, **{**HERE, **setting}))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with weights and a file of each codec, coded here, and what a process with one thread says of them."""
    folder, photo = tmp_path_factory.mktemp("files"), picture(192, 288)
    for name in CODECS:
        model = model_of(name, **MEDIUM)
        torch.save(model.state_dict(), folder / f"{name}.pt")
        (folder / f"{name}.edc").write_bytes(CODECS[name](name, model).encode(photo, 0.01))
    return folder, report_of(folder, {})


@pytest.fixture(scope="module")
def reports(files):
    return {name: report_of(files[0], setting) for name, setting in ELSEWHERE.items()}


def test_every_machine_decodes_every_file_and_writes_it_alike(files, reports):
    _, here = files
    for there in reports.values():
        for line, value in here.items():
            if line.endswith(("decoded", "coded again")):
                assert there[line] == value, line


def test_the_machines_were_really_different(reports):
    assert reports["two threads"]["threads"] == "2" and reports["four threads"]["threads"] == "4"
    if platform.machine() in ("x86_64", "AMD64"):
        assert reports["an old processor"]["instructions"] == "DEFAULT"
        assert reports["without AVX-512"]["instructions"] == "AVX2"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other instruction sets only on x86")
@pytest.mark.parametrize("name", CODECS)
def test_in_floating_point_they_would_disagree(name, files, reports):
    """The control: the same networks in floats do depend on the machine, so the tests above can fail."""
    assert len({found[f"{name} in floats"] for found in (files[1], *reports.values())}) > 1


# --- what exactness costs -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hyperprior", "context", "checkerboard"])
def test_exact_arithmetic_costs_less_than_a_fifth_of_a_percent(name):
    """With the course's own weights: all that is rounded, against the network in floats; then real files."""
    codec = open_codec(name)
    in_floats = in_exact = in_files = 0.0  # bits
    for sample in ("coffee", "astronaut"):
        photo = images.sample(sample)[:384, :512]
        y = codec.analyse(photo)
        for lam in (0.001, 0.01, 0.05):
            lam = codec.check_lam(lam)
            latents = codec.quantise(y, lam)
            estimate, gaussians = codec.bits(latents, lam), codec.predict(latents, lam)
            side = estimate["z"].sum(dtype=float)
            in_floats += estimate["y"].sum(dtype=float) + side
            tensors = (torch.from_numpy(part) for part in (latents.y, gaussians.mu, gaussians.sigma))
            in_exact += -torch.log2(gaussian_likelihood(*tensors)).sum().item() + side
            ledger = codec.ledger(codec.write(latents, photo.shape[:2], lam))
            in_files += 8 * (ledger["y"] + ledger["z"] - 16)  # at the end of a stream, up to two words are not full
    print(f"\n{name}: exact {100 * (in_exact / in_floats - 1):+.4f} %, files {100 * (in_files / in_floats - 1):+.4f} %")
    assert abs(in_exact / in_floats - 1) < 0.002
    assert in_files < 1.002 * in_floats
