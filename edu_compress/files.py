"""Files on the disk, written so that nobody ever finds half of one.

::

    data  --write_atomically--> .1f3a...tmp --fsync, rename--> path      whole or not at all
    value --write_json--------> text, infinity as "inf" --^

Invariant: whoever reads a path sees the old contents or the new, never a part; an interrupted program leaves the old.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CodecError


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then one rename.

    Raises:
        CodecError: the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a symbolic link stays a link: its target is replaced
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        if path.exists() and not path.is_file():
            raise CodecError(f"Cannot write {path}: it is a folder or a device; give the name of a file.")
        try:
            with open(temporary, "xb") as file:  # unlike tempfile's, it gets the permissions of any new file
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)  # after the rename there is none
    except OSError as error:
        raise CodecError(f"Cannot write {path}: {error.strerror}.") from error


def make_folder(path: str | os.PathLike) -> Path:
    """Make a folder, and those that it is in, if they are not there; return it.

    Raises:
        CodecError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"Cannot make the folder {path}: {error.strerror}.") from error
    return Path(path)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write a value as JSON, whole or not at all.

    JSON has no infinity, but a lossless codec has that PSNR: it becomes the text "inf", which ``float`` reads back.
    """
    text = json.dumps(_without_infinity(value), indent=1, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def _without_infinity(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_infinity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
