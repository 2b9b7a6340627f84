"""How long does a lesson's widget take to answer when its slider moves? Run: python benchmarks/widgets.py

What is timed is Python's part, from the new value to the new pictures, as the student's kernel does it; the browser
draws after that. The course's limit is 150 ms on two cores, for a photograph of 384 x 256 pixels.

A widget is added by one function in ``SLIDERS`` that makes it and returns how to move its slider, and where to.
"""

import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np

from edu_compress import images, vae, widgets
from edu_compress.widgets._core import fit

LONGEST = 384  # pixels


def tangent_explorer(photo: np.ndarray) -> tuple[Callable[[float], None], Iterable[float]]:
    widget = widgets.TangentExplorer(photo)
    return lambda value: setattr(widget.lam, "value", value), np.geomspace(0.001, 0.158, 60)


def dct_explorer(photo: np.ndarray) -> tuple[Callable[[int], None], Iterable[int]]:
    widget = widgets.DctExplorer(photo)
    return lambda value: setattr(widget.keep, "value", value), range(1, 65)


def quantisation_explorer(photo: np.ndarray) -> tuple[Callable[[int], None], Iterable[int]]:
    widget = widgets.QuantisationExplorer(photo)
    return lambda value: setattr(widget.quality, "value", value), range(1, 101, 3)


def byte_breaker(photo: np.ndarray) -> tuple[Callable[[int], None], Iterable[int]]:
    widget = widgets.ByteBreaker(photo)

    def flip_a_bit(offset: int) -> None:
        widget.offset.value = offset
        widget.bits[2].click()

    return flip_a_bit, range(500, 800, 7)


def interval_narrowing(photo: np.ndarray) -> tuple[Callable[[int], None], Iterable[int]]:
    widget = widgets.IntervalNarrowing(message="")
    return lambda count: setattr(widget.message, "value", ("abacad" * 10)[:count]), range(1, 61)


def huffman_tree(photo: np.ndarray) -> tuple[Callable[[int], None], Iterable[int]]:
    widget = widgets.HuffmanTree("a sentence to code")
    return lambda merges: setattr(widget.merges, "value", merges), range(widget.merges.max)


def histogram_model(photo: np.ndarray) -> tuple[Callable[[float], None], Iterable[float]]:
    widget = widgets.HistogramModel(photo)
    return lambda y: setattr(widget.stage, "pointer", [200.0, y]), np.linspace(30, 300, 60)


def lambda_explorer(photo: np.ndarray) -> tuple[Callable[[float], None], Iterable[float]]:
    widget = widgets.LambdaExplorer(photo)  # each value is new, so the tables of the prior are made at every move
    return lambda value: setattr(widget.lam, "value", value), np.geomspace(0.00041, 0.049, 60)


def toy_explorer(photo: np.ndarray) -> tuple[Callable[[int], None], Iterable[int]]:
    widget = widgets.ToyExplorer()
    return lambda index: setattr(widget.lam, "value", index), list(range(len(widget.lams))) * 6


def latent_traversal(photo: np.ndarray) -> tuple[Callable[[float], None], Iterable[float]]:
    model = vae.VAE()
    model.initialise(vae.random_patches([vae.luma(photo)], 5000), lam=0.005)
    widget = widgets.LatentTraversal(model, photo)
    widget.show.value, widget.everywhere.value = "decoded", True  # all patches: the slowest case
    return lambda value: setattr(widget.shifts[0], "value", value), np.linspace(-2.9, 3, 60)


def bit_allocation(photo: np.ndarray) -> tuple[Callable[[float], None], Iterable[float]]:
    widget = widgets.BitAllocation(photo)  # each value is new, so the tables of z are made at every move
    return lambda value: setattr(widget.lam, "value", value), np.geomspace(0.00041, 0.049, 60)


def bit_allocation_click(photo: np.ndarray) -> tuple[Callable[[float], None], Iterable[float]]:
    widget = widgets.BitAllocation(photo)
    return lambda x: setattr(widget.picture, "pointer", [x, 100.0]), list(range(8, photo.shape[1], 16)) * 3


SLIDERS = {
    "TangentExplorer": tangent_explorer,
    "DctExplorer": dct_explorer,
    "QuantisationExplorer": quantisation_explorer,
    "ByteBreaker": byte_breaker,
    "IntervalNarrowing": interval_narrowing,
    "HuffmanTree": huffman_tree,
    "HistogramModel": histogram_model,
    "LambdaExplorer": lambda_explorer,
    "ToyExplorer": toy_explorer,
    "LatentTraversal": latent_traversal,
    "BitAllocation": bit_allocation,
    "BitAllocation, a click": bit_allocation_click,
}


def main() -> None:
    photo = fit(images.sample("coffee"), LONGEST)
    height, width = photo.shape[:2]
    print(f"{width} x {height} pixels\n\n{'widget':24}{'moves':>8}{'median, ms':>14}{'maximum, ms':>14}")
    for name, slider in SLIDERS.items():
        milliseconds = _milliseconds(*slider(photo))
        median, slowest = statistics.median(milliseconds), max(milliseconds)
        print(f"{name:24}{len(milliseconds):8}{median:14.1f}{slowest:14.1f}")
    print("\nnot in SLIDERS:", ", ".join(sorted(set(widgets.__all__) - set(SLIDERS))) or "none")
    print("(DecodeOrder plays in the browser, without Python.)")


def _milliseconds(move: Callable[[float], None], values: Iterable[float]) -> list[float]:
    """Move a slider through all values; return how long each move took."""
    times = []
    for value in values:
        start = time.perf_counter()
        move(value)
        times.append(1000 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    main()
