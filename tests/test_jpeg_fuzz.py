"""The JPEG decoder against damaged and hostile files: a picture or a CodecError, soon and in little memory.

``pytest -s`` prints how many pictures came out of the mutated files, and how many errors of each kind.
"""

import io
import random
import re
import struct
import time
import tracemalloc
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from edu_compress import images
from edu_compress.codecs.jpeg import decoder, encoder
from edu_compress.errors import BitstreamError, CodecError

FILES = 10_000
SECONDS = 2.0  # of processor time for one file: a bound against attacks, not a benchmark; most take 1 ms


def photograph(height=40, width=56):
    return images.sample("coffee")[100 : 100 + height, 200 : 200 + width]


def pillow(mode="RGB", size=(40, 56), **options):
    out = io.BytesIO()
    Image.fromarray(photograph(*size)).convert(mode).save(out, "JPEG", **options)
    return out.getvalue()


SEEDS = {
    "baseline 4:2:0": pillow(quality=60),
    "baseline 4:4:4, own tables": pillow(quality=85, subsampling=0, optimize=True),
    "restart": pillow(quality=75, restart_marker_blocks=2, subsampling=1),
    "progressive": pillow(quality=75, progressive=True),
    "progressive, restart": pillow(quality=90, progressive=True, restart_marker_rows=1, subsampling=0),
    "grey": pillow("L", quality=50, optimize=True),
    "grey, progressive": pillow("L", quality=80, progressive=True),
    "CMYK": pillow("CMYK", quality=70, size=(20, 24)),
    "CMYK, progressive": pillow("CMYK", quality=70, progressive=True, size=(20, 24)),
    "RGB": pillow(quality=70, keep_rgb=True, size=(20, 24)),
    "ours": encoder.encode(photograph(), 70),
    "ours, restart": encoder.encode(photograph(), 80, subsampling="4:2:2", restart_interval=3),
    "ours, grey": encoder.encode(photograph(), 40, subsampling="4:0:0"),
}


# --- mutations: each takes a random.Random and a file, and returns a worse file -------------------


def flip_bytes(rng, data):
    out = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        out[rng.randrange(len(out))] ^= rng.randint(1, 255)
    return bytes(out)


def cut_off(rng, data):
    return data[: rng.randint(1, len(data))]


def cut_off_and_close(rng, data):
    return cut_off(rng, data) + b"\xff\xd9"


def insert_bytes(rng, data):
    position = rng.randrange(len(data))
    return data[:position] + rng.randbytes(rng.randint(1, 20)) + data[position:]


def delete_bytes(rng, data):
    position = rng.randrange(1, len(data))
    return data[:position] + data[position + rng.randint(1, 20) :]


def copy_bytes_within(rng, data):
    out, length = bytearray(data), rng.randint(1, 64)
    source, target = rng.randrange(len(data)), rng.randrange(len(data))
    out[target : target + length] = out[source : source + length]
    return bytes(out)


def pieces(data):
    return [data[segment.offset : segment.offset + segment.length] for segment in decoder.read_segments(data)]


def flip_bits_of_scan(rng, data):
    scan = rng.choice([s for s in decoder.read_segments(data) if s.name == "scan data"])
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        out[scan.offset + rng.randrange(scan.length)] ^= 1 << rng.randrange(8)
    return bytes(out)


def swap_segments(rng, data):
    parts = pieces(data)
    i, j = rng.sample(range(1, len(parts)), 2)
    parts[i], parts[j] = parts[j], parts[i]
    return b"".join(parts)


def repeat_segment(rng, data):
    parts = pieces(data)
    parts.insert(rng.randrange(1, len(parts)), rng.choice(parts))
    return b"".join(parts)


def delete_segment(rng, data):
    parts = pieces(data)
    del parts[rng.randrange(len(parts))]
    return b"".join(parts)


def continue_with_other_file(rng, data):
    mine, others = pieces(data), pieces(rng.choice(list(SEEDS.values())))
    return b"".join(mine[: rng.randrange(1, len(mine))] + others[rng.randrange(1, len(others)) :])


def lie_about_length(rng, data):
    segment = rng.choice([s for s in decoder.read_segments(data) if s.length >= 4 and s.marker is not None])
    length = max(0, segment.length - 2 + rng.choice([-300, -20, -2, -1, 1, 2, 3, 17, 500, 60000]))
    position = segment.offset + 2
    return data[:position] + (length % 65536).to_bytes(2, "big") + data[position + 2 :]


def change_header(rng, data):
    """Any field of a frame header, scan header, DRI or the first bytes of a table: sizes, factors, table numbers ..."""
    headers = [s for s in decoder.read_segments(data) if s.name in ("SOS", "DRI", "DHT", "DQT") or "SOF" in s.name]
    header = rng.choice(headers)
    out = bytearray(data)
    for _ in range(rng.randint(1, 2)):
        position = header.offset + rng.randrange(4, min(header.length, 24))
        out[position] = rng.choice([0, 1, 2, 3, 16, 17, 33, 34, 68, 63, 64, 255, rng.randrange(256)])
    return bytes(out)


def change_size(rng, data):
    return with_size(data, *rng.choices([1, 8, 60, 300, 1000, 5000, 65535], k=2))


def with_size(data, height, width):
    frame = next(s for s in decoder.read_segments(data) if s.name.startswith("SOF"))
    return data[: frame.offset + 5] + struct.pack(">HH", height, width) + data[frame.offset + 9 :]


BYTE_MUTATIONS = [flip_bytes, cut_off, cut_off_and_close, insert_bytes, delete_bytes, copy_bytes_within]
STRUCTURE_MUTATIONS = [  # of files that can still be cut into segments
    flip_bits_of_scan,
    swap_segments,
    repeat_segment,
    delete_segment,
    continue_with_other_file,
    lie_about_length,
    change_header,
    change_size,
]


def outcome(data):
    """Decode; return "picture" or the error's sentence without its numbers. Anything else fails the test."""
    try:
        image = decoder.decode(data)
    except CodecError as error:
        sentence = str(error)
        assert sentence.endswith((".", "!")) and len(sentence) < 250 and "\n" not in sentence
        return re.sub(r"[0-9][0-9,]*", "N", sentence)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    return "picture"


def test_ten_thousand_damaged_files():
    rng, seeds = random.Random(1992), list(SEEDS.values())
    counts, slowest = Counter(), 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(FILES):
            data = seeds[i % len(seeds)]
            if i % 5:
                data = rng.choice(STRUCTURE_MUTATIONS)(rng, data)
            if i % 5 < 2:
                data = rng.choice(BYTE_MUTATIONS)(rng, data)
            start = time.process_time()
            counts[outcome(data)] += 1
            slowest = max(slowest, time.process_time() - start)
    print(
        f"\n{sum(counts.values()):,} files: {counts['picture']:,} pictures, else errors; slowest file {slowest:.3f} s"
    )
    for sentence, count in counts.most_common():
        print(f"{count:6,}  {sentence}")
    assert slowest < SECONDS
    assert 0 < counts["picture"] < FILES


@pytest.mark.parametrize("name", SEEDS)
def test_every_beginning_of_a_file_is_an_error(name):
    data = SEEDS[name]
    decoder.decode(data)
    for length in range(0, len(data), 7):
        with pytest.raises(BitstreamError):
            decoder.decode(data[:length])
    for length in range(len(data) - 8, len(data)):
        with pytest.raises(BitstreamError):
            decoder.decode(data[:length])


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize("size", [(65535, 1525), (1525, 65535), (9999, 9999), (65535, 65535), (65535, 1)])
def test_a_large_claim_takes_little_memory(name, size):
    data = with_size(SEEDS[name], *size)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(BitstreamError):
        decoder.decode(data)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < 100e6


# --- files that are correct, and much work for their size -----------------------------------------


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def many_scans(height, width, scans):
    """A legal progressive file of one grey: each AC scan costs 10 + 2 bytes for any 16,384 blocks."""
    blocks = (height // 8) * (width // 8)
    assert blocks % 16384 == 0
    dc_table = b"\x00" + bytes([1] + 15 * [0]) + b"\x00"  # code 0: no difference
    ac_table = b"\x10" + bytes([1] + 15 * [0]) + b"\xe0"  # code 0: EOB14, and 14 bits follow
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    out = b"\xff\xd8" + segment(0xDB, bytes(1) + 64 * b"\1") + segment(0xC2, frame) + segment(0xC4, dc_table + ac_table)
    out += segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(blocks // 8)
    runs = format(0, "015b") * (blocks // 16384)
    runs += "1" * (-len(runs) % 8)
    data = int(runs, 2).to_bytes(len(runs) // 8, "big")
    steps = [(k, 0 if low == 13 else low + 1, low) for low in range(13, -1, -1) for k in range(1, 64)]
    for k, high, low in steps[:scans]:
        out += segment(0xDA, bytes([1, 1, 0, k, k, high << 4 | low])) + data
    return out + b"\xff\xd9"


@pytest.mark.parametrize("end", [b"\x00", b"\xd0", b"\xd0\xff\x00\xff\xd9", b"\xd9"])
def test_a_long_run_of_fill_bytes_in_scan_data(end):
    """A search for the end of the run from each of its bytes would take hours."""
    whole = pillow(quality=75)
    data = whole[:-4] + 1_000_000 * b"\xff" + end
    start = time.process_time()
    with pytest.raises(BitstreamError):
        decoder.decode(data)
    segments = decoder.read_segments(data)
    assert sum(segment.length for segment in segments) == len(data)
    assert all(segment.description for segment in segments)
    assert time.process_time() - start < SECONDS


def test_as_many_scans_as_the_standard_allows():
    data = many_scans(1024, 1024, scans=63 * 14)
    start = time.process_time()
    assert (decoder.decode(data) == 128).all()
    assert time.process_time() - start < SECONDS


def test_too_many_scans_of_a_large_picture():
    data = many_scans(4096, 4096, scans=63 * 14)  # 45 kB that would be 231 million blocks
    start = time.process_time()
    with pytest.raises(BitstreamError, match="too often"):
        decoder.decode(data)
    assert time.process_time() - start < 5 * SECONDS  # it is a larger picture than those above; usually 1.5 s
