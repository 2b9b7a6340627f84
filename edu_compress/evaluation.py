r"""Measuring a codec on a folder of pictures: real files, every picture, every setting, the same for all codecs.

::

    folder --+--> picture 1 --> worker process --> curve --+--> file 1 --> decode --> bytes, PSNR, MS-SSIM, seconds
             +--> picture 2 --> worker process             +--> file 2 --> decode -->   "
             +--> ...           (one thread each)          +--> ...
                                                                        |
        NAME.json  <-- each picture's points, their mean curve, the command and the versions <--+

What makes a comparison fair: the same pictures (the manifest hash says which), the length of real files, metrics on
the decoded 8-bit RGB pictures, and the mean over pictures taken of the bpp and of the metric at each setting. Times
are those of one thread. The first file of each process, for which libraries are loaded and memory is found, is made
before the clock runs. What a decoder must do for each file, such as making the tables of its λ, is inside: each file
is decoded by a codec that was opened for it. A progressive codec makes one file for all settings: the first has the
time.

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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from . import __version__, datasets, files, images, rate_distortion, registry
from .errors import CodecError, SettingError
from .rate_distortion import RDCurve, RDPoint
from .registry import Entry

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
    codec = registry.open_codec(name, **dict(options))  # a wrong name or option fails here
    if type(codec).__module__ == "__main__":
        raise SettingError(f"Other processes cannot import {name!r} from here; put it into a module, or use measure().")
    chosen = [float(setting) for setting in (codec.settings if settings is None else settings)]
    if not chosen or len(set(chosen)) < len(chosen):
        raise SettingError("Give at least one setting, and each of them once.")
    if workers < 1:
        raise SettingError(f"There must be at least 1 worker, not {workers}.")
    points = _in_parallel(registry.find(name), options, paths, chosen, workers, progress)
    pictures = [{"name": path.name, "points": of_one} for path, of_one in zip(paths, points, strict=True)]
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


def _in_parallel(
    entry: Entry, options: Options, paths: list[Path], settings: list[float], workers: int, progress: bool
) -> list[list[dict]]:
    """Measure every picture in a process of the pool; the results are in the order of the paths."""
    # spawn: a forked child would inherit locks of threads that it does not have
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(paths)), context, initializer=_begin, initargs=(entry,))
    try:
        with _one_thread_for_children():
            futures = [pool.submit(_measure, entry.name, options, path, settings) for path in paths]
            done = as_completed(futures)
            for future in tqdm(done, desc=entry.name, total=len(paths), unit="picture", disable=not progress):
                future.result()  # the first failure ends the evaluation
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(entry: Entry) -> None:
    """Prepare a new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all processes; the first one tells the others
    if registry.entries().get(entry.name) != entry:  # one that was registered in the process that started this
        registry.register(entry)


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


@functools.cache  # once in each process
def _warm_up(name: str, options: Options) -> None:
    """Make a first file, for which libraries are loaded and tables made that all pictures and settings share."""
    codec = registry.open_codec(name, **dict(options))
    codec.decode(codec.encode(np.zeros((16, 16, 3), np.uint8), codec.settings[0]))


def _measure(name: str, options: Options, path: Path, settings: list[float]) -> list[dict[str, float]]:
    """Measure one picture with all settings; encoder and decoders share no object, as if on two machines."""
    _warm_up(name, options)
    rows, now = [], ""
    try:
        image = images.load(path)
        coded = iter(registry.open_codec(name, **dict(options)).curve(image, settings))
        for setting in settings:
            now = f" at setting {setting:g}"
            data, encode_seconds = _timed(next, coded)
            decoded, decode_seconds = _timed(registry.open_codec(name, **dict(options)).decode, data)
            point = asdict(rate_distortion.compare(image, data, decoded, setting))
            seconds = {"encode_seconds": encode_seconds, "decode_seconds": decode_seconds}
            rows.append(point | {"bytes": len(data)} | seconds)
    except CodecError as error:
        raise type(error)(f"{path.name}{now}: {error}") from error
    except Exception as error:  # a bug of the codec; it keeps its traceback
        error.add_note(f"This was {path.name}{now}.")
        raise
    return rows


def _timed(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """Return what the function returns, and the seconds that it took."""
    begin = time.perf_counter()
    result = function(*arguments)
    return result, round(time.perf_counter() - begin, 4)
