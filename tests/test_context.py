"""Context models: causality by gradients and by experiment, decoding orders, and masked convolutions in exact form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import codec_of, model_of, picture
from torch.nn import functional as F

from edu_compress import BitstreamError, SettingError
from edu_compress.codecs.context import MASKS, CheckerboardCodec, ContextCodec, ContextConfig, ContextModel
from edu_compress.codecs.hyperprior import Latents
from edu_compress.container import Container
from edu_compress.learned.exact import activation, on_grid
from edu_compress.learned.orders import anchors, checkerboard_passes, raster_passes, wavefront_passes

NAMES = ("context", "checkerboard", "context-sliced", "checkerboard-sliced")
PASSES = {"raster": raster_passes, "wavefront": wavefront_passes, "checkerboard": checkerboard_passes}
sides = st.integers(1, 20)


# --- decoding orders --------------------------------------------------------------------------


@given(st.sampled_from(list(PASSES)), sides, sides)
def test_passes_cover_every_position_once(order, h, w):
    passes = PASSES[order](h, w)
    assert sorted(np.concatenate(passes)) == list(range(h * w))
    assert all(len(positions) for positions in passes)


def neighbours(mask: torch.Tensor, position: int, h: int, w: int) -> list[int]:
    """The positions that one position sees through the mask."""
    row, column = divmod(position, w)
    seen = [(row + i - 2, column + j - 2) for i, j in mask.nonzero().tolist()]
    return [r * w + c for r, c in seen if 0 <= r < h and 0 <= c < w]


@settings(max_examples=30)
@given(st.sampled_from(list(PASSES)), sides, sides)
def test_no_position_sees_one_of_its_own_or_a_later_pass(order, h, w):
    mask = MASKS["checkerboard" if order == "checkerboard" else "raster"]()
    when = np.empty(h * w, int)
    for number, positions in enumerate(PASSES[order](h, w)):
        when[positions] = number
    blind = anchors(h, w).flatten().tolist() if order == "checkerboard" else [False] * (h * w)  # φ is 0 there
    for position in range(h * w):
        if not blind[position]:
            assert all(when[seen] < when[position] for seen in neighbours(mask, position, h, w))


def test_how_many_passes_there_are():
    assert len(raster_passes(32, 48)) == 32 * 48
    assert len(wavefront_passes(32, 48)) == 48 + 3 * 32 - 3
    assert len(checkerboard_passes(32, 48)) == 2
    assert len(checkerboard_passes(1, 1)) == 1


# --- causality --------------------------------------------------------------------------------


def before(name: str, h: int, w: int) -> np.ndarray:
    """before[i, j]: position j is decoded in an earlier pass than i, so i may depend on it."""
    when = np.empty(h * w, int)
    for number, positions in enumerate((raster_passes if name.startswith("context") else checkerboard_passes)(h, w)):
        when[positions] = number
    return when[:, None] > when


def slices_of(model) -> list[slice]:
    """The slices of channels, first to last."""
    ends = np.cumsum(model.config.slices or (model.config.M,)).tolist()
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


def by_slice(changed: np.ndarray, model) -> np.ndarray:
    """Whether any channel of each slice has changed: (M, h, w) -> (slices, h · w)."""
    return np.stack([changed[channels].any(0).ravel() for channels in slices_of(model)])


VARIANTS = [{}, {"mean": False}, {"S": 4}]


@pytest.mark.parametrize("changes", VARIANTS, ids=["default", "no means", "S=4"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_come_from_all_that_is_seen_and_decoded_before_and_from_nothing_else(name, changes):
    """From the mask's neighbours, all slices of them, and from the slices before at the position itself."""
    h, w = 4, 5
    model = model_of(name, logs=False, C=32, C_s=32, E=64, **changes).double()  # wide: some ReLU is always open
    y_hat = 30 * torch.randn(1, 16, h, w, dtype=torch.float64, requires_grad=True)
    z_hat = torch.randn(1, 4, *model.hyper_size(h, w), dtype=torch.float64)
    mu, sigma = model.gaussians(y_hat, z_hat, torch.tensor([0.01]))
    allowed = before(name, h, w)
    for i in range(h * w):
        seen = [j for j in neighbours(model.context.mask, i, h, w) if name.startswith("context") or allowed[i, j]]
        for s, channels in enumerate(slices_of(model)):
            total = (mu + sigma)[:, channels].flatten(2)[..., i].sum()
            (gradient,) = torch.autograd.grad(total, y_hat, retain_graph=True)
            expected = np.zeros((len(slices_of(model)), h * w), bool)
            expected[:, seen] = True
            expected[:s, i] = True
            assert (by_slice(gradient[0].numpy() != 0, model) == expected).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_symbol_does_not_change_the_gaussians_before_it(name):
    """The same in the exact prior, by experiment."""
    small, rng = codec_of(name), np.random.default_rng(0)
    lam, h, w = small.check_lam(0.01), 4, 5
    latents = small.quantise(torch.from_numpy(rng.normal(0, 80, (16, h, w)).astype(np.float32)), lam)
    gaussians, allowed = small.predict(latents, lam), before(name, h, w)
    slices, later_positions, later_slices = slices_of(small.model), False, False
    for j in range(h * w):
        for s, channels in enumerate(slices):
            y = latents.y.copy()
            y.reshape(16, -1)[channels, j] += 25
            other = small.predict(Latents(y, latents.z), lam)
            changed = by_slice((other.mean != gaussians.mean) | (other.scale != gaussians.scale), small.model)
            assert not changed[: s + 1, j].any()
            later_slices |= changed[s + 1 :, j].any()
            changed[:, j] = False
            assert not changed[:, ~allowed[:, j]].any()
            later_positions |= changed.any()
    assert later_positions and later_slices == (len(slices) > 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_context_is_used(name):
    """Without what is decoded, the prediction would be another: the tests above do not hold for nothing."""
    small, photo = codec_of(name), picture(96, 96)
    latents = small.quantise(small.analyse(photo), 0.01)
    blind = small.predict(Latents(np.zeros_like(latents.y), latents.z), 0.01)
    assert np.mean(small.predict(latents, 0.01).mean != blind.mean) > 0.3


# --- the masked convolution in exact form -------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"logs": False}], ids=["with logarithms", "as in the paper"])
@pytest.mark.parametrize("name", NAMES)
def test_gathered_rows_are_the_masked_convolution(name, changes):
    small, rng = codec_of(name, **changes), np.random.default_rng(1)
    lam, h, w = small.check_lam(0.003), 7, 9
    y = rng.integers(-40, 40, (16, h * w))
    prior, context = small.prior, small.model.context
    canvas = prior.canvas(h, w)
    prior.note(canvas, np.arange(h * w), y, lam)

    seen = torch.from_numpy(canvas[2:-2, 2:-2]).flatten(2).permute(2, 0, 1)  # noted in the middle of its margin
    weight = torch.zeros(*context.weight.shape[:2], 5, 5, dtype=torch.float64)
    weight[:, :, context.mask] = on_grid(context.weight, 16)
    phi = torch.relu(activation(F.conv2d(seen[None], weight, on_grid(context.bias, 16), padding=2)))[0]
    if name.startswith("checkerboard"):
        phi[:, anchors(h, w)] = 0
    ours = prior._phi(canvas, np.arange(h * w)).T.reshape(-1, h, w)
    assert torch.equal(ours, phi) and ours.any()
    assert torch.equal(ours[:, 3, 4], prior._phi(canvas, np.array([3 * w + 4]))[0])  # alone as among others

    y_hat = torch.from_numpy(y * prior.at(lam).step[:, None]).float().reshape(1, 16, h, w)
    torch.testing.assert_close(seen, small.model.view(y_hat)[0].double(), atol=2**-10, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-sliced")])
def test_slice_by_slice_with_the_others_unknown_the_gaussians_are_the_same(name):
    """What the decoder does: later slices are not on the canvas yet, nor is anything of later passes."""
    small, h, w = codec_of(name), 3, 4
    lam, prior = small.check_lam(0.01), small.prior
    latents = small.quantise(small.analyse(picture(16 * h, 16 * w)), lam)
    features, canvas = prior.features(latents.z, lam, h, w), prior.canvas(h, w)
    y, (mean, scale) = latents.y.reshape(16, -1), np.empty((2, 16, h * w), int)
    for positions in small.passes(h, w):
        sizes = []
        for channels, here in prior.gaussians_by_slice(features, canvas, positions, lam):
            mean[channels, positions], scale[channels, positions] = here.mean, here.scale
            prior.note(canvas, positions, y[channels, positions], lam, channels)
            sizes.append(len(here.mean))
        assert tuple(sizes) == small.model.config.slices == (1, 3, 4, 8)
    predicted = small.predict(latents, lam)
    assert (predicted.mean.reshape(16, -1) == mean).all() and (predicted.scale.reshape(16, -1) == scale).all()


def test_fresh_slices_begin_by_adding_nothing():
    torch.manual_seed(0)
    fresh = ContextModel(ContextConfig(N=4, M=16, E=8, slices=(1, 15)))
    joined, y_hat = torch.randn(1, 8, 3, 4), torch.randn(1, 16, 3, 4)
    assert torch.equal(fresh.parameters_of(joined, y_hat), fresh.entropy_parameters(joined))


# --- one picture, two orders --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["context", "context-sliced"])
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (50, 130)], ids=str)
def test_the_order_changes_the_file_but_not_the_picture(size, name):
    model, photo = model_of(name), picture(*size)
    wave, raster = (ContextCodec("small", model, order=order) for order in ("wavefront", "raster"))
    files = [codec.encode(photo, 0.01) for codec in (wave, raster)]
    (_, a, gaussians), (_, b, same) = wave.read(files[0]), raster.read(files[1])
    assert (a.y == b.y).all() and (a.z == b.z).all()
    assert (gaussians.mean == same.mean).all() and (gaussians.scale == same.scale).all()
    assert (wave.decode(files[0]) == raster.decode(files[1])).all()
    sections = [Container.unpack(data).sections for data in files]
    assert sections[0]["z"] == sections[1]["z"]
    assert abs(len(sections[0]["y"]) - len(sections[1]["y"])) <= 8  # two words


def test_a_pass_cut_in_pieces_decodes_to_the_same(monkeypatch):
    """The shape of a batch does not matter: large pictures are decoded in pieces."""
    photo = picture(100, 130)
    for name in ("hyperprior", *NAMES):
        small = codec_of(name)
        whole = small.read(small.encode(photo, 0.01))
        with monkeypatch.context() as patch:
            patch.setattr("edu_compress.codecs.hyperprior.AT_ONCE", 5)
            pieces = small.read(small.encode(photo, 0.01))
        assert (whole[1].y == pieces[1].y).all()
        assert (whole[2].mean == pieces[2].mean).all() and (whole[2].scale == pieces[2].scale).all()


# --- mistakes ---------------------------------------------------------------------------------


def test_a_file_in_another_order_is_refused():
    model, photo = model_of("context"), picture(40, 40)
    wave, raster = (ContextCodec("small", model, order=order) for order in ("", "raster"))
    with pytest.raises(BitstreamError, match="'context-raster', not 'context'"):
        wave.decode(raster.encode(photo, 0.01))
    with pytest.raises(BitstreamError, match="'context', not 'context-raster'"):
        raster.decode(wave.encode(photo, 0.01))


def test_data_that_end_early_are_noticed():
    """Wavefronts at the end of the file that are not there."""
    small = codec_of("context")
    container = Container.unpack(small.encode(picture(160, 160), 0.01))
    short = replace(container, sections={**container.sections, "y": container.sections["y"][-40:]})
    with pytest.raises(BitstreamError, match="end too early"):
        small.decode(short.pack())


def test_weights_with_the_other_mask_and_unknown_orders_are_refused():
    with pytest.raises(SettingError, match="'small' have the mask 'checkerboard'"):
        ContextCodec("small", model_of("checkerboard"))
    with pytest.raises(SettingError, match="'small' have the mask 'raster'"):
        CheckerboardCodec("small", model_of("context"))
    with pytest.raises(SettingError, match="wavefront, raster, not 'spiral'"):
        ContextCodec("small", model_of("context"), order="spiral")
    with pytest.raises(SettingError, match="not 'raster'"):
        CheckerboardCodec("small", model_of("checkerboard"), order="raster")
    with pytest.raises(ValueError, match="raster, checkerboard, not 'zigzag'"):
        ContextConfig(mask="zigzag")


@pytest.mark.parametrize("slices", [(8, 7), (8, 9), (0, 16), (17, -1)], ids=str)
def test_slices_that_do_not_hold_all_channels_are_refused(slices):
    with pytest.raises(ValueError, match="the slices are to hold 16 channels together"):
        ContextConfig(M=16, slices=slices)
