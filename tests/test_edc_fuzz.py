"""Every codec that writes ``.edc``, given damaged and hostile files: a picture or a CodecError, soon, in little memory.

The checksum finds accidents, so most mutations here repair it: an attacker would. A codec that is added to the
registry is tested from then on. ``pytest -s`` prints how often each error was met.
"""

import math
import random
import re
import time
import tracemalloc
import warnings
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from small_models import codec_of

from edu_compress import BitstreamError, CodecError, images, registry
from edu_compress.container import Container

FILES = 2000  # damaged files for each codec
SECONDS = 10.0  # of processor time for one file: a bound against attacks, not a benchmark; most take 10 ms
MEGABYTES = 200

EDC = [*(entry.name for entry in registry.entries().values() if entry.suffix == ".edc"), "context-sliced"]


@pytest.fixture(scope="module", params=EDC)
def one(request):
    """(the codec, some of its files)."""
    opened = codec_of(request.param) if request.param == "context-sliced" else registry.quick(request.param)
    photograph = images.sample("coffee")[100:124, 200:240]
    pictures = [photograph, photograph[:1, :1], np.full((17, 9, 3), 255, np.uint8)]
    settings = (opened.settings[0], opened.settings[-1])
    return opened, [opened.encode(picture, setting) for picture in pictures for setting in settings]


def with_checksum(body):
    return bytes(body) + zlib.crc32(body).to_bytes(4, "little")


def outcome(opened, data):
    """Decode; return "picture" or the error's sentence without its numbers. Anything else fails the test."""
    try:
        picture = opened.decode(data)
    except CodecError as error:
        sentence = str(error)
        assert re.match(r"[A-Z].*\.$", sentence) and len(sentence) < 250, sentence
        return re.sub(r"[0-9][0-9,]*", "N", sentence)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    return "picture"


# --- mutations: of the contents, of a section, of the bytes -------------------------------------


def change_size(rng, c):
    sizes = [0, 1, 2, 15, 16, 17, 65, 500, 4096, 65535, 10**6, 2**31, 2**62]
    return replace(c, height=rng.choice([c.height, *sizes]), width=rng.choice([c.width, *sizes]))


def change_size_a_little(rng, c):
    return replace(c, height=max(0, c.height + rng.randint(-2, 2)), width=max(0, c.width + rng.randint(-2, 2)))


def change_setting(rng, c):
    return replace(c, setting=rng.choice([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-30, 1e30, 2 * c.setting]))


def change_names(rng, c):
    return replace(c, weights=rng.choice(["", "x", c.weights + "x", "../../secret", "a/b", "con"]))


def rename_section(rng, c):
    chosen = rng.choice(list(c.sections))
    new = rng.choice(["", "Y", "zz", "residuals", "y", "z"])
    return replace(c, sections={new if name == chosen else name: data for name, data in c.sections.items()})


def change_sections(rng, c):
    sections = dict(c.sections)
    action = rng.choice(["delete", "add", "swap"])
    if action == "delete":
        del sections[rng.choice(list(sections))]
    elif action == "add":
        sections["more"] = rng.randbytes(rng.randint(0, 50))
    else:
        sections = dict(zip(sections, reversed(sections.values()), strict=True))
    return replace(c, sections=sections)


def damage_section(rng, c):
    name = rng.choice(list(c.sections))
    return replace(c, sections={**c.sections, name: damage(rng, c.sections[name])})


def damage(rng, data):
    """Flip, cut, lengthen, empty, or replace by noise or by equal bytes; lengths in whole words or not."""
    length = max(0, len(data) + rng.choice([-8, -4, -1, 1, 4, 8, 400]))
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if out:
            out[rng.randrange(len(out))] ^= rng.randint(1, 255)
    padded = data + rng.randbytes(400)
    return rng.choice([bytes(out), bytes(out), padded[:length], b"", rng.randbytes(length), bytes([255]) * length])


def flip_bytes(rng, body):
    out = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        out[rng.randrange(len(out))] ^= rng.randint(1, 255)
    return out


def flip_header_bytes(rng, body):
    out = bytearray(body)
    out[rng.randrange(3, min(len(out), 45))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return out


def cut_off(rng, body):
    return body[: rng.randint(0, len(body))]


CONTENT = [
    change_size,
    change_size_a_little,
    change_setting,
    change_names,
    rename_section,
    change_sections,
    damage_section,
    damage_section,
]
BYTES = [flip_bytes, flip_header_bytes, cut_off]


def mutate(rng, data):
    """A worse file with a right checksum."""
    if rng.random() < 0.3:
        return with_checksum(rng.choice(BYTES)(rng, data[:-4]))
    container = Container.unpack(data)
    for _ in range(rng.choice([1, 1, 2])):
        if container.sections:
            container = rng.choice(CONTENT)(rng, container)
    return container.pack()


# --- what must hold -----------------------------------------------------------------------------


def test_damaged_files_with_a_right_checksum(one):
    opened, files = one
    rng, counts, slowest = random.Random(opened.name), Counter(), 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an overflow or a division by zero is not an answer
        for i in range(FILES):
            data = mutate(rng, files[i % len(files)])
            start = time.process_time()
            counts[outcome(opened, data)] += 1
            slowest = max(slowest, time.process_time() - start)
    print(f"\n{opened.name}: {FILES} files, {counts['picture']} pictures; slowest file {slowest:.3f} s")
    for sentence, count in counts.most_common():
        print(f"{count:6}  {sentence}")
    assert slowest < SECONDS
    assert counts["picture"] < FILES / 2


def test_every_accident_is_found_by_the_checksum(one):
    opened, files = one
    rng = random.Random(1)
    for data in files:
        for length in {*range(0, 60), *range(60, len(data), 1 + len(data) // 40), len(data) - 1}:
            with pytest.raises(BitstreamError):
                opened.decode(data[: min(length, len(data) - 1)])
        for _ in range(40):
            with pytest.raises(BitstreamError):
                opened.decode(bytes(flip_bytes(rng, data)))


def test_another_codecs_file_and_another_version(one):
    opened, files = one
    other = replace(Container.unpack(files[0]), codec="other")
    with pytest.raises(BitstreamError, match="'other'"):
        opened.decode(other.pack())
    body = bytearray(files[0][:-4])
    body[3] += 1
    with pytest.raises(BitstreamError, match="version"):
        opened.decode(with_checksum(body))
    assert sum(registry.ledger(other.pack()).values()) == len(other.pack())  # to count bytes, no codec is needed


@contextmanager
def little_time_and_memory():
    tracemalloc.start()
    start = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < SECONDS
    assert peak < MEGABYTES * 1e6


HUGE = [(10**4, 10**4), (1, images.MAX_PIXELS), (images.MAX_PIXELS, 1), (65535, 1500), (2**40, 2**40), (0, 10), (10, 0)]


@pytest.mark.parametrize("size", HUGE)
def test_a_huge_or_empty_claim_takes_little_time_and_memory(one, size):
    opened, files = one
    opened.decode(files[0])  # whatever is made once is made before we measure
    data = replace(Container.unpack(files[0]), height=size[0], width=size[1]).pack()
    with little_time_and_memory(), pytest.raises(BitstreamError):
        opened.decode(data)


# So many data may pass for a picture of that size; what it costs to find out must not depend on its shape. (A strip of
# 400,000 pixels has 25,000 positions, which an autoregressive codec decodes one by one, as those of 6 megapixels.)
@pytest.mark.parametrize("size", [(400_000, 1), (1, 400_000), (65535, 1), (1, 65535), (50_000, 20), (1000, 1000)])
@pytest.mark.parametrize("kind", ["noise", "nearly zero"])
def test_a_claim_that_its_data_could_hold_takes_little_time_and_memory(one, size, kind):
    opened, files = one
    opened.decode(files[0])
    stream = random.Random(2).randbytes(20_000) if kind == "noise" else bytes(19_996) + b"\1\0\0\0"
    container = Container.unpack(files[0])
    sections = dict.fromkeys(container.sections, stream)
    data = replace(container, height=size[0], width=size[1], sections=sections).pack()
    with little_time_and_memory():
        outcome(opened, data)


@pytest.mark.parametrize("sections", [{}, {"": b""}, {"y": b""}, {"residuals": b""}, {"residuals": bytes(4)}])
def test_files_with_hardly_anything_in_them(one, sections):
    opened, files = one
    container = replace(Container.unpack(files[0]), sections=sections)
    for height, width in [(1, 1), (40, 24)]:  # no bits can be a legal way to say "all the first of their tables"
        outcome(opened, replace(container, height=height, width=width).pack())
    with pytest.raises(BitstreamError):
        opened.decode(replace(container, height=1000, width=1000).pack())
