r"""Measuring a codec on a folder of pictures: real files, every picture, every setting, the same for all codecs.

::

    folder --+--> picture 1, setting 1 --> worker process --> encode -> file -> decode -> bytes, PSNR, MS-SSIM, seconds
             +--> picture 1, setting 2 --> worker process -->   "
             +--> ...                         (one thread each)
                                                                        |
        NAME.json  <-- each picture's points, their mean curve, the command and the versions <--+

What makes a comparison fair: the same pictures (the manifest hash says which), the length of real files, metrics on
the decoded 8-bit RGB pictures, and the mean over pictures taken of the bpp and of the metric at each setting. Times
are those of one thread; the first file of each process, for which libraries are loaded and memory is found, is made
before the clock runs.

Invariants: nothing is left out: a picture that fails stops the evaluation, and names itself; the number of workers
changes the times only; ``rate_distortion.load_curves`` reads the file.

Taught in lesson 10.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from . import __version__, datasets, files, images, rate_distortion, registry
from .errors import CodecError, SettingError
from .rate_distortion import RDCurve, RDPoint

Options = tuple[tuple[str, Any], ...]


def results_folder() -> Path:
    """``data/results`` beside the package: where the measured curves of the course are."""
    return Path(__file__).resolve().parents[1] / "data" / "results"


def evaluate(
    name: str,
    folder: str | os.PathLike,
    settings: Iterable[float] | None = None,
    *,
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
    command: str = "",
) -> dict[str, Any]:
    """Measure a codec on all pictures of a folder.

    Args:
        name: of the codec, in the registry.
        folder: with pictures, or the name of a public set.
        settings: those to try; if not given, the codec's own list, which traces its curve.
        workers: number of processes, of one thread each.
        options: for the codec's constructor.
        progress: show a progress bar.
        command: that measures this again; goes into the result.

    Returns:
        What :func:`save` writes: ``pictures``, a list with each one's points, and ``curves``, with their mean.

    Raises:
        CodecError: a picture failed (the sentence names it), there are none, or the codec or a setting is unknown.
    """
    paths = datasets.list_pictures(datasets.find_folder(folder))
    options = tuple((options or {}).items())
    own_settings = _open(name, options).settings  # a wrong name or option fails here
    chosen = [float(setting) for setting in (own_settings if settings is None else settings)]
    if not chosen or len(set(chosen)) < len(chosen):
        raise SettingError("Give at least one setting, and each of them once.")
    if workers < 1:
        raise SettingError(f"There must be at least 1 worker, not {workers}.")
    tasks = [(file, setting) for file in paths for setting in chosen]
    rows = dict(zip(tasks, _in_parallel(name, options, tasks, workers, progress), strict=True))
    pictures = [{"name": file.name, "points": [rows[file, setting] for setting in chosen]} for file in paths]
    mean = rate_distortion.mean_curve([_curve(name, picture["points"]) for picture in pictures])
    return {
        "command": command,
        "codec": name,
        "options": dict(options),
        "data": {
            "name": paths[0].parent.resolve().name,
            "pictures": len(paths),
            "manifest_sha256": datasets.manifest_hash(
                {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in paths}
            ),
        },
        "settings": chosen,
        "versions": _versions(),
        "hardware": f"{platform.machine()}, 1 thread",
        "curves": [{"codec": name, "points": [asdict(point) for point in mean.points]}],
        "pictures": pictures,
    }


def save(path: str | os.PathLike, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, whole or not at all."""
    files.make_folder(Path(path).parent)
    files.write_json(path, result)


def _curve(name: str, points: list[dict]) -> RDCurve:
    columns = ("bpp", "mse", "psnr", "ms_ssim", "setting")
    return RDCurve(name, tuple(RDPoint(**{column: point[column] for column in columns}) for point in points))


def _versions() -> dict[str, str]:
    found = {package: importlib.metadata.version(package) for package in ("numpy", "pillow", "pillow-heif", "torch")}
    return {"edu_compress": __version__, "python": platform.python_version(), **found}


# --- worker processes -------------------------------------------------------------------------


def _in_parallel(name: str, options: Options, tasks: list, workers: int, progress: bool) -> list[dict]:
    """Measure every (file, setting) in a process of the pool; the results are in the order of the tasks."""
    # spawn: a forked child would inherit locks of threads that it does not have
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl+C reaches all processes; this one tells the others
    )
    try:
        with _one_thread_for_children():
            futures = [pool.submit(_measure, name, options, *task) for task in tasks]
            for future in tqdm(as_completed(futures), desc=name, total=len(tasks), unit="file", disable=not progress):
                future.result()  # the first failure ends the evaluation
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """Let processes that start meanwhile use one thread each: NumPy's and torch's libraries read this when loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


@functools.cache
def _open(name: str, options: Options) -> registry.Codec:
    """Open the codec once in each process, and warm it up."""
    opened = registry.open_codec(name, **dict(options))
    opened.decode(opened.encode(np.zeros((16, 16, 3), np.uint8), opened.settings[0]))
    return opened


def _measure(name: str, options: Options, file: Path, setting: float) -> dict[str, float]:
    """Measure one picture with one setting."""
    timed = _Timed(_open(name, options))
    try:
        image = images.load(file)
        point = rate_distortion.measure_point(timed, image, setting)
    except CodecError as error:
        raise type(error)(f"{file.name} at setting {setting:g}: {error}") from error
    except Exception as error:  # a bug of the codec; it keeps its traceback
        error.add_note(f"This was {file.name} at setting {setting:g}.")
        raise
    return asdict(point) | timed.record


class _Timed:
    """A codec that notes how long it takes, and how many bytes its file has."""

    def __init__(self, inner: registry.Codec):
        self.inner, self.record = inner, {}

    def encode(self, image: np.ndarray, setting: float) -> bytes:
        begin = time.perf_counter()
        data = self.inner.encode(image, setting)
        self.record |= {"bytes": len(data), "encode_seconds": round(time.perf_counter() - begin, 4)}
        return data

    def decode(self, data: bytes) -> np.ndarray:
        begin = time.perf_counter()
        image = self.inner.decode(data)
        self.record["decode_seconds"] = round(time.perf_counter() - begin, 4)
        return image
