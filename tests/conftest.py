"""Settings for all tests."""

from hypothesis import settings

# No test asserts a time: on a busy machine, hypothesis' limit of 200 ms for each example would fail at random.
settings.register_profile("course", deadline=None)
settings.load_profile("course")
