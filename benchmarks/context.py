"""How long do side information and context take? Run: python benchmarks/context.py [λ]

One photograph of 768 x 512 pixels, coded by the learned codecs of lessons 06 and 07 with the course's weights, in
alternating runs; each number is the smallest, in seconds (other programs on the machine can only make it larger), and
"CPU" is the processor time of the decoder, over all threads. Ratios are to decoding in wavefronts, on as many threads.
The course's aims on two cores: autoregressive decoding in less than 1 s, in slices too in less than 0.5 s, checkerboard
and hyperprior in less than 0.4 s.

The sliced models have the sizes of data/recipes/context-wide.toml and are not trained, but they begin with trained
weights (:mod:`edu_compress.growing`), so that they use as many probability tables as trained ones: each table that a
slice of a wavefront uses is a call of the entropy decoder.

The same two models are timed in CompressAI, if it is installed, with as many channels, and without trained weights
(the time does not depend on them; half a minute for each file).
"""

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from edu_compress import images, open_codec
from edu_compress.codecs.context import CheckerboardCodec, ContextCodec, ContextModel
from edu_compress.codecs.hyperprior import HyperpriorCodec
from edu_compress.learned import pretrained
from edu_compress.training import read_recipe

WIDTH, HEIGHT, RUNS = 768, 512, 7
WIDE = Path(__file__).resolve().parents[1] / "data" / "recipes" / "context-wide.toml"
INSTALL = "pip install --editable '.[bench-peers]' && pip install --no-deps compressai  # it asks for NumPy 1"


def main() -> None:
    lam = float(sys.argv[1]) if len(sys.argv) > 1 else 0.005
    photograph = Image.fromarray(images.sample("coffee")).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    picture = np.asarray(photograph)
    codecs = {
        "hyperprior": open_codec("hyperprior"),
        "checkerboard": open_codec("checkerboard"),
        "context, wavefronts": open_codec("context"),
        "context, raster order": open_codec("context", order="raster"),
        "sliced, wavefronts": ContextCodec("sliced", sliced("raster", start="context-deep")),
        "sliced, checkerboard": CheckerboardCodec("sliced", sliced("checkerboard", start="checkerboard")),
    }
    print(f"{WIDTH} x {HEIGHT} pixels, λ = {lam:g}; the best of {RUNS} alternating runs, in seconds")
    print(f"{'':42} {'decode:':>8}")
    print(f"{'codec':24} threads   encode   decode  symbols  pixels     CPU   ratio")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        files = {name: codec.encode(picture, lam) for name, codec in codecs.items()}  # and all caches are warm
        rounds = [
            {name: times(codec, picture, lam, files[name]) for name, codec in codecs.items()} for _ in range(RUNS)
        ]
        seconds = {name: [min(part) for part in zip(*(one[name] for one in rounds), strict=True)] for name in codecs}
        reference = sum(seconds["context, wavefronts"][1:3])
        for name, (encode, read, reconstruct, cpu) in seconds.items():
            show(name, threads, encode, read + reconstruct, reference, f"{read:8.3f} {reconstruct:7.3f} {cpu:7.3f}")
        peers(picture, codecs["context, wavefronts"], threads, reference)


def sliced(mask: str, start: str) -> ContextModel:
    """A model of the sizes in :data:`WIDE` that begins with trained weights."""
    torch.manual_seed(0)
    model = pretrained.build("context", {**read_recipe(WIDE).config, "mask": mask})
    photograph = torch.from_numpy(images.sample("coffee")[:384, :576].copy())
    model.initialise(photograph.permute(2, 0, 1)[None] / 255)
    pretrained.take_parts(model, start)
    return model


def times(codec: HyperpriorCodec, picture: np.ndarray, lam: float, data: bytes) -> tuple[float, float, float, float]:
    """Seconds for the encoder, for all that the decoder does to get the symbols, and for the picture from these.

    The last number is the decoder's processor time.
    """
    encode, _ = timed(lambda: codec.encode(picture, lam))
    begin = time.process_time()
    read, (container, latents, gaussians) = timed(lambda: codec.read(data))
    size = container.height, container.width
    reconstruct, _ = timed(lambda: codec.reconstruct(latents, gaussians, size, container.setting))
    return encode, read, reconstruct, time.process_time() - begin


def timed(function: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def show(name: str, threads: int, encode: float, decode: float, reference: float, parts: str = " " * 24) -> None:
    print(f"{name:24} {threads:7} {encode:8.3f} {decode:8.3f} {parts} {decode / reference:6.1f}x", flush=True)


def peers(picture: np.ndarray, ours: HyperpriorCodec, threads: int, reference: float) -> None:
    """Time CompressAI's models, once each."""
    for name in ("torchvision", "torchvision.transforms"):  # it only lists their names; nothing here uses them
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
    try:
        from compressai.models import JointAutoregressiveHierarchicalPriors, ScaleHyperprior
    except ImportError as error:
        print(f"CompressAI is not there ({error}); to compare with it: {INSTALL}")
        return
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255  # 768 x 512 needs no padding to 64
    N, M = ours.model.config.N, ours.model.config.M
    for name, model_class in (
        ("bmshj2018_hyperprior", ScaleHyperprior),
        ("mbt2018", JointAutoregressiveHierarchicalPriors),
    ):
        torch.manual_seed(0)
        model = model_class(N, M).eval()
        model.update()
        with torch.inference_mode():
            encode, coded = timed(lambda model=model: model.compress(x))
            decode, _ = timed(lambda model=model, coded=coded: model.decompress(**coded))
        show(f"CompressAI {name}"[:31], threads, encode, decode, reference)


if __name__ == "__main__":
    main()
