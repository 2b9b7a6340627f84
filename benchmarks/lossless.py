"""Sizes and times of the lossless codec beside PNG and WebP: ``python benchmarks/lossless.py [FOLDER]``.

Without a folder of pictures, the course's photographs; those that were JPEG files once are left out.
"""

import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from edu_compress import images
from edu_compress.codecs.lossless import LosslessCodec

SAMPLES = ("astronaut", "cat", "coffee", "motorcycle")
PNG = {"format": "PNG", "optimize": True}
WEBP = {"format": "WEBP", "lossless": True, "method": 6, "quality": 100}


def pillow_size(image: np.ndarray, options: dict) -> int:
    out = io.BytesIO()
    Image.fromarray(image).save(out, **options)
    return len(out.getvalue())


def main() -> None:
    if len(sys.argv) > 1:
        pictures = {path.stem: images.load(path) for path in sorted(Path(sys.argv[1]).glob("*.png"))}
    else:
        pictures = {name: images.sample(name) for name in SAMPLES}
    codec = LosslessCodec()
    rows = []
    print(f"{'picture':12} {'pixels':>10} {'PNG':>9} {'WebP':>9} {'ours':>9}  ours/PNG  ours/WebP  encode  decode")
    for name, image in pictures.items():
        start = time.perf_counter()
        data = codec.encode(image)
        middle = time.perf_counter()
        assert np.array_equal(codec.decode(data), image)
        end = time.perf_counter()
        row = [image.shape[0] * image.shape[1], pillow_size(image, PNG), pillow_size(image, WEBP), len(data)]
        row += [middle - start, end - middle]
        rows.append(row)
        print_row(name, row)
    print_row("all", np.sum(rows, axis=0).tolist())


def print_row(name: str, row: list) -> None:
    pixels, png, webp, ours, encode, decode = row
    sizes = f"{name:12} {int(pixels):10,} {int(png):9,} {int(webp):9,} {int(ours):9,}"
    print(f"{sizes}  {ours / png:8.3f}  {ours / webp:9.3f}  {encode:5.2f} s {decode:5.2f} s")


if __name__ == "__main__":
    main()
