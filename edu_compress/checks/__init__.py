"""The checks of the exercises: ``checks.NAME(answer)`` says in one sentence whether an answer is right.

Each check lives in the file of its lesson and is imported when it is first used, so that opening one lesson
does not load the libraries of all. How a check is written: ``checks/_core.py``.
"""

import importlib

_HOME: dict[str, str] = {
    **dict.fromkeys(
        ("conditional_entropy", "step_for_psnr", "our_lambda", "lower_hull", "bd_rate", "share_bits"), "rate_distortion"
    ),
    **dict.fromkeys(("dct", "zigzag", "extend", "run_length", "block_pixels", "jpeg_quality"), "jpeg"),
    **dict.fromkeys(
        ("cross_entropy", "canonical_codes", "rans_pop", "adaptive_cost", "huffman_bound", "range_decoder"),
        "entropy_coding",
    ),
    **dict.fromkeys(("noisy_density", "straight_through", "bits_from_cdf", "gdn", "gain", "best_step"), "quantisation"),
    **dict.fromkeys(
        ("bin_probability", "scale_index", "side_information_saving", "centre_of_mass", "exact_dot"), "hyperprior"
    ),
    **dict.fromkeys(
        ("raster_mask", "chain_rule_bits", "conv_macs", "checkerboard_context", "wave_slope", "earliest_pass"),
        "context",
    ),
    **dict.fromkeys(
        (
            "reparameterise",
            "kl_divergence",
            "elbo_bits_per_pixel",
            "lambda_of_beta",
            "importance_weighted_bound",
            "refine_posterior",
        ),
        "vae",
    ),
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; there are: {', '.join(_HOME)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
