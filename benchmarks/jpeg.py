"""How many times slower than libjpeg-turbo is our JPEG? Run: python benchmarks/jpeg.py

libjpeg-turbo is hand-written assembly, and ours is teaching code in Python, so the ratio is large; what matters is that
a lesson's slider answers at once. Both sides do the same work, from pixels in memory to bytes in memory and back, in
alternating runs, so that whatever else the machine does disturbs both alike; each number is a median.
"""

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from edu_compress import images
from edu_compress.codecs import jpeg

WIDTH, HEIGHT, RUNS = 768, 512, 9
QUALITIES = (25, 75, 95)


def main() -> None:
    photograph = Image.fromarray(images.sample("coffee")).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    picture = np.asarray(photograph)
    print(f"{WIDTH} x {HEIGHT} pixels, 4:2:0, optimal Huffman tables; median of {RUNS} alternating runs\n")
    print("quality  direction      ours, ms   libjpeg, ms   ratio   our file, bytes")
    for quality in QUALITIES:
        data = jpeg.encode(picture, quality)
        rows = {
            "encode": (lambda q=quality: jpeg.encode(picture, q), lambda q=quality: _pillow_encode(photograph, q)),
            "decode": (lambda d=data: jpeg.decode(d), lambda d=data: _pillow_decode(d)),
        }
        for direction, (ours, theirs) in rows.items():
            mine, libjpeg = _medians(ours, theirs)
            ratio = mine / libjpeg
            print(f"{quality:7}  {direction:9} {1000 * mine:13.1f} {1000 * libjpeg:13.2f} {ratio:7.0f} {len(data):17,}")


def _medians(*functions: Callable[[], object]) -> list[float]:
    """Run the functions in turn, several times; return the median of each in seconds."""
    seconds: list[list[float]] = [[] for _ in functions]
    for run in range(RUNS + 1):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            if run > 0:  # the first run warms up caches and imports
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


def _pillow_encode(photograph: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    photograph.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _pillow_decode(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


if __name__ == "__main__":
    main()
