"""The errors of the course: one family, each raised with a sentence that says what was wrong and what to do.

Catch :class:`CodecError` to catch them all; the command line prints its sentence and exits with status 1.
"""


class CodecError(Exception):
    """Anything that a user can cause and mend: a bad file, picture, setting or codec name."""


class ImageError(CodecError):
    """A picture that cannot be read, has an unusable shape, or is too large."""


class BitstreamError(CodecError):
    """A compressed file that is truncated, corrupt, of another version or of another codec."""


class SettingError(CodecError):
    """A codec setting or option that is out of range, or a codec that does not exist."""
