"""A codec that tells in the length of its files what it saw; in a module, so that other processes can import it."""

import os

import numpy as np

from edu_compress import registry


class Spy(registry.Codec):
    """Files have 1000 bytes for each thread, one for each that this process made, 100 if of a curve."""

    name, settings, files = "spy", (1, 2), 0

    def __init__(self):
        self.used = False

    def encode(self, image, setting):
        Spy.files += 1
        return bytes(1000 * int(os.environ["OMP_NUM_THREADS"]) + Spy.files)

    def curve(self, image, settings):
        assert not self.used
        self.used = True
        for data in super().curve(image, settings):
            yield data + bytes(100)

    def decode(self, data):
        assert not self.used, "this object has encoded or decoded before"
        self.used = True
        return np.full((16, 16, 3), 7, np.uint8)


ENTRY = registry.Entry("spy", Spy, "none", ".spy", "tells what it saw")
