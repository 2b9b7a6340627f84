"""How an exercise is checked: a student's answer goes in, one sentence in plain words comes out.

A check is written as a function ``(answer, rng)`` that raises :class:`Wrong` with a sentence when the
answer is wrong, and is turned by :func:`exercise` into what the notebook calls::

    @exercise("every coefficient landed where T.81 figure A.6 puts it")
    def zigzag(answer, rng):
        block = rng.integers(-99, 99, (8, 8))
        expect_array(answer(block), block.ravel()[ZIGZAG], "the order of the 64 numbers")

    >>> checks.zigzag(my_zigzag)          # doctest: +SKIP
    ✔ zigzag: every coefficient landed where T.81 figure A.6 puts it.

Inputs are random, from a seed that graders change with the environment variable ``EDU_COMPRESS_SEED``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np


class Wrong(Exception):
    """The answer is wrong; the message says how, in words a student can act on."""


class _NotAttempted(Exception):
    """The stub is untouched, or forgets its ``return``: it returned nothing."""


class Result:
    """The outcome of a check. Shows itself as one sentence; is true only when the answer is right."""

    def __init__(self, passed: bool, sentence: str):
        self.passed, self.sentence = passed, sentence

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.sentence


def exercise(praise: str) -> Callable[[Callable], Callable[[object], Result]]:
    """Turn ``check(answer, rng)`` into a function that takes the answer and returns a :class:`Result`.

    Args:
        praise: what is now known to be right; completes the line that is shown on success.
    """

    def decorate(check: Callable) -> Callable[[object], Result]:
        @functools.wraps(check)
        def run(answer: object) -> Result:
            name = check.__name__
            rng = np.random.default_rng(int(os.environ.get("EDU_COMPRESS_SEED", "2026")))
            try:
                check(_watched(answer), rng)
            except _NotAttempted:
                return Result(False, f"… {name}: not attempted yet (or is the `return` missing?).")
            except Wrong as wrong:
                return Result(False, f"✘ {name}: {wrong}")
            except Exception as error:  # the student's own code failed: say where they stand, without our traceback
                return Result(False, f"✘ {name}: your code stopped with {type(error).__name__}: {error}")
            return Result(True, f"✔ {name}: {praise}.")

        return run

    return decorate


def _watched(answer: object) -> object:
    """Return ``answer`` such that nothing returned (or given) counts as not attempted."""
    if answer is None or answer is ...:
        raise _NotAttempted
    if not callable(answer):
        return answer

    @functools.wraps(answer)
    def call(*arguments, **options):
        try:
            value = answer(*arguments, **options)
        except NotImplementedError:
            raise _NotAttempted from None
        if value is None or value is ...:
            raise _NotAttempted
        return value

    return call


def expect(condition: bool, sentence: str) -> None:
    """Raise :class:`Wrong` with ``sentence`` unless ``condition`` holds."""
    if not condition:
        raise Wrong(sentence)


def expect_number(value: object, wanted: float, what: str, tolerance: float = 1e-6, hint: str = "") -> None:
    """Raise :class:`Wrong` unless ``value`` is within ``tolerance`` (absolute or relative) of ``wanted``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be one number, not {type(value).__name__}.") from None
    if not np.isclose(number, wanted, rtol=tolerance, atol=tolerance):
        raise Wrong(f"{what} is {number:.6g}, it should be {wanted:.6g}. {hint}".strip())


def expect_array(value: object, wanted: np.ndarray, what: str, tolerance: float = 1e-6, hint: str = "") -> None:
    """Raise :class:`Wrong` unless ``value`` has the shape and, within ``tolerance``, the values of ``wanted``."""
    array = np.asarray(value)
    if array.shape != wanted.shape:
        raise Wrong(f"{what} has shape {array.shape}, it should be {wanted.shape}. {hint}".strip())
    close = np.isclose(array.astype(np.float64), wanted, rtol=tolerance, atol=tolerance)
    if not close.all():
        if wanted.ndim == 2 and array.shape == array.T.shape and np.allclose(array.T, wanted, tolerance, tolerance):
            raise Wrong(f"{what} is transposed: rows and columns are exchanged. {hint}".strip())
        where = tuple(int(i) for i in np.argwhere(~close)[0])
        raise Wrong(
            f"{what} differs at {where}: {array[where]} instead of {wanted[where]} "
            f"({int((~close).sum())} of {wanted.size} values are wrong). {hint}".strip()
        )


def expect_right(
    value: object, right: object, what: str, mistakes: Sequence[tuple[object, str]], hint: str = "",
    tolerance: float = 1e-6,
) -> None:  # fmt: skip
    """Raise :class:`Wrong` unless ``value`` is ``right``, with the sentence of the mistake whose result it is.

    Args:
        value: the answer, a number or an array.
        right: what it should be.
        what: it is called in the sentences.
        mistakes: (result, sentence) of each that students make.
        hint, tolerance: for a value that is neither right nor a known mistake.
    """
    value, right = np.asarray(value), np.asarray(right)
    for result, sentence in mistakes:
        if value.shape == np.shape(result) and np.allclose(value, result) and not np.allclose(value, right):
            raise Wrong(sentence)
    (expect_array if right.ndim else expect_number)(value, right, what, tolerance, hint)
