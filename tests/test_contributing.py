"""The codec of CONTRIBUTING.md is real: it passes the tests of all codecs, and survives damaged files."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import test_edc_fuzz
import test_registry

from edu_compress import images, open_codec, open_reader, plots, registry

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The codec, registered as the text says."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path_factory.mktemp("module") / "mosaic.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mosaic", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    registry.register(module.ENTRY)
    yield open_codec("mosaic")
    del registry._entries["mosaic"]


def test_it_is_found_by_its_files_and_figures(one):
    image = images.sample("coffee")[:50, :70]
    data = one.encode(image, 1)
    assert np.array_equal(open_reader(data).decode(data), image)  # blocks of one pixel lose nothing
    assert plots.style("mosaic").label == "mosaic"


def every_codecs_tests():
    """(function, arguments) of every test in test_registry that runs on each codec."""
    for function in vars(test_registry).values():
        if callable(function) and getattr(function, "__name__", "").startswith("test_"):
            names = function.__code__.co_varnames[: function.__code__.co_argcount]
            if names[:1] == ("one",):
                marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
                for value in marks[0].args[1] if marks else [None]:
                    yield pytest.param(function, [value] if marks else [], id=f"{function.__name__}-{value!s:.20}")


@pytest.mark.parametrize("function, arguments", list(every_codecs_tests()))
def test_it_passes_the_tests_of_all_codecs(one, function, arguments):
    function(one, *arguments)


def test_it_survives_damaged_and_hostile_files(one):
    photograph = images.sample("coffee")[100:124, 200:240]
    both = one, [one.encode(photograph, setting) for setting in (one.settings[0], one.settings[-1])]
    test_edc_fuzz.test_damaged_files_with_a_right_checksum(both)
    test_edc_fuzz.test_every_accident_is_found_by_the_checksum(both)
    for size in test_edc_fuzz.HUGE:
        test_edc_fuzz.test_a_huge_or_empty_claim_takes_little_time_and_memory(both, size)


def test_its_lines_are_few():
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 50
