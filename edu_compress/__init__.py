"""edu_compress: learned image compression, built step by step from the DCT upwards.

Importing the package is cheap; each codec is loaded when it is first opened::

    >>> import edu_compress
    >>> jpeg = edu_compress.open_codec("jpeg")

The lessons in ``lessons/`` teach the modules in order; ``lessons/README.md`` is the syllabus.
"""

from . import registry
from .errors import BitstreamError, CodecError, ImageError, SettingError
from .registry import ledger, open_codec, open_reader

__version__ = "0.1.0"

__all__ = [
    "BitstreamError", "CodecError", "ImageError", "SettingError", "ledger", "open_codec", "open_reader", "registry",
]  # fmt: skip
