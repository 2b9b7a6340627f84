r"""Folders of pictures: which are for learning, which for choosing, which for measuring.

::

    folder --list_pictures--> files --read_folder--> PictureSet --split--> training pictures
    or the name of a                                  names, pixels,  \
    public set --fetch--> the platform's cache        manifest hash    +--> held-out pictures

The three must not mix. The network learns from the *training* pictures. Whoever trains compares checkpoints and
settings on the *held-out* pictures, a few of the same folder. The *test* pictures (here: the Kodak set) are only for
the final figures: chosen on them, a model looks better than it is. :func:`read_folder` refuses them.

Results are only comparable when the pictures are the same to the last byte. The *manifest hash* says so in one
number: SHA-256 over the sorted lines "name, SHA-256 of the file".

Invariants: the order of a folder's files on disk does not matter; the same seed holds out the same pictures; a
downloaded file is the one we know, or an error.

Taught in lesson 05 (training) and lesson 10 (measuring).
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from . import images
from .errors import CodecError, SettingError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""What counts as a picture in a folder; other files, such as licences, are passed over."""

MAX_BYTES = 8_000_000_000
"""The most pixels, as bytes, that a set may have: it is kept in memory, at 3 bytes a pixel."""


# --- public sets ------------------------------------------------------------------------------


@dataclass(frozen=True)
class PublicSet:
    """A well-known set of pictures: where it is, and the SHA-256 of each of its files."""

    about: str
    url: str
    files: Mapping[str, str]


_KODAK = """
a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd  kodim01.png
4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd  kodim02.png
e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db  kodim03.png
e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa  kodim04.png
10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53  kodim05.png
363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18  kodim06.png
b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4  kodim07.png
ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7  kodim08.png
6a4361c2fc194feb4edaa9f9a4a0620fb9943e460ac7fdf037fb0f6dd6607a7d  kodim09.png
9dfb70f5867c29ff9ed6313683f19b3d867849e40fbc0c4c54a4a89df341cf23  kodim10.png
7936814b58b5387fce2e4e2488b4ec830dadd95fa9520f358ddb30990b50f2b6  kodim11.png
d78c37c2f04f23761ed2367dd77e2db584ddd4c3950833fecf89f199a8126980  kodim12.png
bc34a3ce58dea09dce1704c997171602de90cb34d0c8503a988b77f473d39b08  kodim13.png
55a94550ff18f3246c4074fd32b77b0c74447c26b6ad274d564d999c0450ba6e  kodim14.png
7538cbb80cb9103606c48b806eae57d56c885c7f90b9b3be70a41160f9cbb683  kodim15.png
a89c7268ccd4718ba424a99fc4643c572cf692ca6eae887185ceb4e9f11d2e54  kodim16.png
37afcc89fbdcb76d9518e04b2fc011027e2f4cd14b3b2f83cefd721641a47c5b  kodim17.png
1a9258c365988961d87a0598725b609139c303ad48a5aad6c503c3b1a87849aa  kodim18.png
b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc  kodim19.png
3b46c71e3b92a563820ba32936be8330c586c41f938efd94be938386aae4328a  kodim20.png
ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b  kodim21.png
1cee58eb1f2d9c7ebb254d208a03c783ce6cf2c4d8c2cf45e235dd23b4ce1b29  kodim22.png
e3111a2fd4da24af15d6459ef9eacfe54106b38e27b4a21821b75c3f5d2d5baf  kodim23.png
1071c68372cc5a01435c2c225a5cf7d4bb803846ec08bb6b3d6721b156d7cb96  kodim24.png
"""

PUBLIC_SETS: dict[str, PublicSet] = {
    "kodak": PublicSet(
        about="24 photographs of 768 x 512 pixels, scanned from film: the field's usual test set",
        url="https://r0k.us/graphics/kodak/kodak/",
        files={name: digest for digest, name in map(str.split, _KODAK.strip().splitlines())},
    )
}
"""Sets that can be fetched. For others (CLIC, DIV2K, your own photographs), unpack them and name the folder."""

_TEST_PICTURES = {digest: file for public in PUBLIC_SETS.values() for file, digest in public.files.items()}


def cache_folder(name: str) -> Path:
    """Where a public set is kept: the platform's cache folder, or ``EDU_COMPRESS_DATA`` if that is set."""
    import pooch  # only here: needs half a second

    return Path(os.environ.get("EDU_COMPRESS_DATA") or pooch.os_cache("edu_compress")) / name


def fetch(name: str) -> Path:
    """Download a public set, or what is missing of it, check every file, and return its folder.

    Raises:
        SettingError: there is no such set.
        CodecError: no network, or a file is not the one we know.
    """
    if name not in PUBLIC_SETS:
        raise SettingError(f"There is no public set {name!r}; choose one of: {', '.join(PUBLIC_SETS)}.")
    import pooch

    wanted, folder = PUBLIC_SETS[name], cache_folder(name)
    pooch.get_logger().setLevel(logging.WARNING)  # our bar shows the progress
    registry = {file: f"sha256:{digest}" for file, digest in wanted.files.items()}
    downloader = pooch.create(folder, wanted.url, registry=registry)
    instead = f"If you have the pictures, name their folder instead of {name!r}, or put them into {folder}."
    for file in tqdm(registry, desc=name, unit="file"):
        try:
            downloader.fetch(file)
        except ValueError as error:  # what pooch raises for a wrong checksum
            raise CodecError(f"{wanted.url}{file} is not the file we know: its checksum differs. {instead}") from error
        except OSError as error:  # also the base of every error of the network
            raise CodecError(f"Cannot download {wanted.url}{file} ({_reason(error)}). {instead}") from error
    return folder


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def find_folder(source: str | os.PathLike) -> Path:
    """Return the folder that ``source`` names: a path, or the name of a public set, which is fetched if need be.

    Raises:
        CodecError: neither, or the set cannot be fetched.
    """
    if Path(source).is_dir():
        return Path(source)
    if str(source) in PUBLIC_SETS:
        return fetch(str(source))
    raise CodecError(f"There is no folder {str(source)!r}; name one with pictures, or: {', '.join(PUBLIC_SETS)}.")


# --- folders ----------------------------------------------------------------------------------


def list_pictures(folder: str | os.PathLike) -> list[Path]:
    """Return the picture files of a folder (not of folders in it), sorted by name.

    Raises:
        CodecError: no such folder, or no picture in it.
    """
    try:
        files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise CodecError(f"Cannot read the folder {folder}: {error.strerror}.") from error
    if not files:
        raise CodecError(f"There are no pictures in {folder}; name a folder with PNG, JPEG, WebP, TIFF or BMP files.")
    return files


def manifest_hash(digests: Mapping[str, str]) -> str:
    """SHA-256 over the sorted lines "name SHA-256", of a mapping from file names to the SHA-256 of the files."""
    lines = (f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class PictureSet:
    """Pictures in memory.

    Attributes:
        name: of the set, for example of its folder.
        pictures: uint8 [H, W, 3] by file name.
        manifest: the hash that identifies the set, see the module docstring.
    """

    name: str
    pictures: Mapping[str, np.ndarray]
    manifest: str

    @classmethod
    def from_images(cls, name: str, pictures: Mapping[str, np.ndarray]) -> PictureSet:
        """Make a set of arrays, such as the photographs of the course; the manifest is that of their pixels."""
        pictures = {key: images.as_image(picture) for key, picture in pictures.items()}
        digests = {key: hashlib.sha256(picture.tobytes()).hexdigest() for key, picture in pictures.items()}
        return cls(name, pictures, manifest_hash(digests))

    def split(self, held_out: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Keep ``held_out`` pictures aside, chosen by ``seed``: (training pictures, held-out pictures).

        Raises:
            SettingError: no picture would be left to train on.
        """
        if not 1 <= held_out < len(self.pictures):
            raise SettingError(
                f"Of the {len(self.pictures)} pictures in {self.name!r}, 1 to {len(self.pictures) - 1} can be held "
                f"out, not {held_out}; change held_out in the recipe."
            )
        chosen = set(np.random.default_rng(seed).choice(len(self.pictures), held_out, replace=False).tolist())
        ordered = [self.pictures[name] for name in sorted(self.pictures)]
        return [x for i, x in enumerate(ordered) if i not in chosen], [ordered[i] for i in sorted(chosen)]


def read_folder(folder: str | os.PathLike, progress: bool = False) -> PictureSet:
    """Read all pictures of a folder for training.

    Raises:
        CodecError: no pictures, more than :data:`MAX_BYTES` of them, one that cannot be read, or a test picture.
    """
    pictures, digests, size = {}, {}, 0
    for path in tqdm(list_pictures(folder), desc="reading", unit="picture", disable=not progress):
        data = path.read_bytes()
        digests[path.name] = hashlib.sha256(data).hexdigest()
        if digests[path.name] in _TEST_PICTURES:
            raise CodecError(
                f"{path} is the test picture {_TEST_PICTURES[digests[path.name]]}; take it out: whoever trains on a "
                "test picture measures memory."
            )
        pictures[path.name] = images.load(path)
        size += pictures[path.name].nbytes
        if size > MAX_BYTES:
            raise CodecError(f"The pictures in {folder} need more than {MAX_BYTES:,} bytes; use fewer or smaller ones.")
    return PictureSet(Path(folder).resolve().name, pictures, manifest_hash(digests))
