"""The widgets of the lessons: ``from edu_compress import widgets``, then for example ``widgets.TangentExplorer()``.

Each widget lives in the file of its lesson and is imported when it is first used, so that opening one lesson
does not load the libraries of all. They need the extra packages of ``pip install 'edu_compress[lab]'``.
"""

import importlib

_HOME: dict[str, str] = {
    "TangentExplorer": "rate_distortion",
    **dict.fromkeys(("DctExplorer", "QuantisationExplorer", "ByteBreaker", "hex_view"), "jpeg"),
    **dict.fromkeys(("LambdaExplorer", "lambda_explorer"), "factorized"),
    **dict.fromkeys(("IntervalNarrowing", "HuffmanTree", "HistogramModel"), "entropy_coding"),
    **dict.fromkeys(("ToyExplorer", "toy_figure"), "toy"),
    "LatentTraversal": "vae",
    "BitAllocation": "hyperprior",
    "DecodeOrder": "context",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; there are: {', '.join(_HOME)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
