"""Settings for all tests."""

import os

from hypothesis import settings

# One thread for each test process: several processes with several threads each wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test asserts a time: on a busy machine, hypothesis' limit of 200 ms for each example would fail at random.
# (The fuzz tests bound the processor time of a single file: that is robustness, not speed.)
settings.register_profile("course", deadline=None)
settings.load_profile("course")
