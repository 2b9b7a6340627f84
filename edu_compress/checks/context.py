"""The checks of lesson 07: a causal mask, the chain rule, multiplications, two passes, wavefronts."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from ..learned.layers import checkerboard_mask
from ..learned.layers import raster_mask as right_mask
from ._core import Wrong, exercise, expect, expect_array, expect_number, expect_right


def _array(value: object, what: str) -> np.ndarray:
    """The answer as a NumPy array, be it one, a list or a tensor."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    array = np.asarray(value)
    expect(array.dtype.kind in "biuf", f"{what} should be an array of numbers, not {type(value).__name__}.")
    return array


@exercise("True before the position in raster order, False at it and after it")
def raster_mask(answer, rng):
    for k in (5, 3, 7):
        right = right_mask(k).numpy()
        rows = np.arange(k)[:, None] < np.full(k, k // 2)  # the rows above
        with_centre = np.arange(k * k).reshape(k, k) <= k * k // 2
        mistakes = [
            (with_centre, "the position itself is True: it would see what it is to predict."),
            (rows, "only the rows above are True: the neighbours to the left in the same row are decoded, too."),
            (right[::-1, ::-1], "this is the future: the positions that are decoded after this one."),
            (~right, "True and False are exchanged."),
            (right.T, "rows and columns are exchanged: raster order goes along the rows."),
        ]
        value = _array(answer(k), "the mask")
        expect(value.dtype == bool, f"the mask should hold True and False, not {value.dtype}: compare something.")
        expect_right(value, right, f"the mask for k = {k}", mistakes)


@exercise("bits of each symbol, given those before it; together they are the bits of the whole")
def chain_rule_bits(answer, rng):
    for n in (2, 4):
        joint = rng.dirichlet(np.ones(3**n)).reshape((3,) * n)
        symbols = tuple(int(s) for s in rng.integers(0, 3, n))
        beginnings = [joint[symbols[:i]].sum() for i in range(n + 1)]  # P(the first i symbols)
        right = -np.log2(np.divide(beginnings[1:], beginnings[:-1]))
        marginal = np.array([-np.log2(np.moveaxis(joint, i, 0)[symbol].sum()) for i, symbol in enumerate(symbols)])
        ends = [joint[(..., *symbols[i:])].sum() for i in range(n + 1)]  # P(the symbols from i on)
        mistakes = [
            (marginal, "these are the bits of each symbol by itself: condition on the symbols before it."),
            (right * np.log(2), "this is in nats: use log2."),
            (-right, "the sign is wrong: bits are positive."),
            (2.0**-right, "these are probabilities: the bits are -log2 of them."),
            (-np.log2(beginnings[1:]), "these are the bits of all symbols so far: subtract those that came before."),
            (-np.log2(np.divide(ends[:-1], ends[1:])), "you condition on the symbols that come after, not before."),
        ]
        expect_right(_array(answer(joint, symbols), "the bits"), right, "the bits", mistakes)


@exercise("every weight counts once for each position that it works at")
def conv_macs(answer, rng):
    for count in (3, 2):
        channels = [int(c) for c in rng.integers(3, 80, count + 1)]
        kernels, strides = rng.choice([3, 5, 9], count), rng.choice([2, 4], count)
        layers = [
            (into, out, int(k), int(s))
            for into, out, k, s in zip(channels, channels[1:], kernels, strides, strict=False)
        ]
        weights = np.array([into * out * k * k for into, out, k, _ in layers])
        density = np.cumprod(
            [1 / 256, *(s * s for *_, s in layers)]
        )  # positions per pixel, before each layer and after
        right = float(weights @ density[:-1])
        mistakes = [
            (float(weights @ density[1:]), "you count at the positions of the output: a transposed convolution spreads "
             "each *input* position, with every weight once."),
            (2 * right, "a multiplication and its addition are one MAC, not two."),
            (float(weights.sum()), "this counts the weights once: multiply by the positions per pixel."),
            (float(weights.sum() / 256), "the first layer works at 1/256 of the pixels, the next at stride² as many."),
            (256 * right, "this is for each position of y: divide by its 16 x 16 pixels."),
            (float(np.array([into * out * k for into, out, k, _ in layers]) @ density[:-1]),
             "a kernel has k x k weights, not k."),
        ]  # fmt: skip
        value = _array(answer(layers), "the count")
        for result, sentence in mistakes:
            if value.ndim == 0 and np.isclose(value, result) and not np.isclose(value, right):
                raise Wrong(sentence)
        expect_number(value, right, f"the count for the layers {layers}")


@exercise("others see only anchors, anchors see nothing: two passes are enough")
def checkerboard_context(answer, rng):
    y_hat = torch.from_numpy(rng.integers(-3, 4, (3, 6, 7))).float()
    kernel = torch.from_numpy(rng.normal(size=(4, 3, 5, 5))).float()
    anchor = (torch.arange(6)[:, None] + torch.arange(7)) % 2 == 0
    seen = checkerboard_mask(5)
    convolve = lambda mask: F.conv2d(y_hat[None], kernel * mask, padding=2)[0]  # noqa: E731
    everything = convolve(seen)
    mistakes = [
        (everything, "anchors see something: they are decoded first, so φ must be 0 there."),
        (everything * anchor, "φ is 0 at the wrong half: the anchors, row + column even, have no context."),
        (convolve(torch.ones(5, 5)) * ~anchor, "the kernel is not masked: a position sees itself, and others like it."),
        (convolve(~seen) * ~anchor, "the mask is that of the wrong colour: a position would see itself."),
        (convolve(right_mask(5)) * ~anchor, "this is the raster mask: an anchor may be seen on all four sides."),
    ]
    value = answer(y_hat, kernel)
    expect(isinstance(value, torch.Tensor), f"φ should be a torch tensor, not {type(value).__name__}.")
    expect(
        tuple(value.shape) == (4, 6, 7),
        f"φ has shape {tuple(value.shape)}, it should be (4, 6, 7): pad by half a kernel, and give back no batch.",
    )
    for result, sentence in mistakes:
        if torch.allclose(value, result, atol=1e-4):
            raise Wrong(sentence)
    expect_array(value.detach().numpy(), (everything * ~anchor).numpy(), "φ", 1e-4)


def _neighbours(mask: np.ndarray) -> np.ndarray:
    """Offsets (row, column) of the True entries from the middle: (n, 2)."""
    return np.argwhere(mask) - len(mask) // 2


def _slope(mask: np.ndarray) -> int:
    return max([0, *(int(column // -row) + 1 for row, column in _neighbours(mask) if row < 0)])


@exercise("every neighbour that is seen has a smaller number, and no smaller slope does it")
def wave_slope(answer, rng):
    masks = [right_mask(5).numpy(), right_mask(3).numpy(), right_mask(7).numpy()]
    masks += [mask & (rng.random(mask.shape) < 0.3) for mask in [masks[2]] * 6]
    for mask in masks:
        value = _array(answer(mask), "the slope")
        expect(value.ndim == 0, f"the slope should be one number, not an array of shape {value.shape}.")
        seen = _neighbours(mask)
        late = [(int(r), int(c)) for r, c in seen if c + float(value) * r >= 0]
        offsets = f"the mask that sees the (row, column) {[tuple(map(int, offset)) for offset in seen]}"
        if late:
            raise Wrong(
                f"with slope {value} and {offsets}, the neighbour {late[0]} has a number that is not smaller: it would "
                "be decoded too late."
            )
        expect_number(
            value, _slope(mask), f"the slope for {offsets}", hint="Take the smallest whole number, 0 or more."
        )


@exercise("no position waits longer than for the last neighbour that it sees")
def earliest_pass(answer, rng):
    full = right_mask(5).numpy()
    for mask in (full, full & (rng.random((5, 5)) < 0.4), right_mask(3).numpy()):
        h, w = (int(side) for side in rng.integers(5, 9, 2))
        right = np.zeros((h, w), int)
        for r, c in np.ndindex(h, w):
            inside = [(r + a, c + b) for a, b in _neighbours(mask) if 0 <= r + a and 0 <= c + b < w]
            right[r, c] = max((right[position] + 1 for position in inside), default=0)
        row, column = np.indices((h, w))
        mistakes = [
            (right + 1, "count from 0: a position that sees nothing is in pass 0."),
            (w * row + column, "this is raster order: positions that do not wait for one another may share a pass."),
            (column + 3 * row, "this is the wavefront of the full 5 x 5 mask: other masks allow earlier passes."),
        ]
        what = f"the passes of {h} x {w} positions"
        expect_right(_array(answer(mask, h, w), what), right, what, mistakes)
