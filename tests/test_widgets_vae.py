"""The widget of lesson 04, driven from Python."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from edu_compress import images, vae, widgets
from edu_compress.errors import SettingError


@pytest.fixture(scope="module")
def model():
    patches = vae.random_patches([vae.luma(images.sample("cat"))], 1000)
    torch.manual_seed(0)
    model = vae.VAE(latents=12, hidden=16)
    model.initialise(patches, 0.005)
    return model


@pytest.fixture
def traversal(model):
    return widgets.LatentTraversal(model, images.sample("coffee")[:100, :150])


def pixels(stage):
    return np.asarray(Image.open(io.BytesIO(stage.png))).astype(float)


def test_sliders_hold_the_latents_with_the_most_bits(traversal):
    chosen = traversal.latent_bits[traversal.chosen_latents]
    assert list(chosen) == sorted(traversal.latent_bits, reverse=True)[: len(traversal.shifts)]
    assert traversal.shifts[0].description.startswith(f"z{traversal.chosen_latents[0]} (")


def test_without_a_shift_the_patch_is_what_the_model_decodes(traversal, model):
    row, column = traversal.patch
    x = vae.to_patches(vae.luma(traversal.photos.image)).reshape(13, 19, 64)[row, column]
    with torch.no_grad():
        x_hat = model.decode(model.encode(x[None]).mean)[0]
    assert np.array_equal(pixels(traversal.original), images.to_uint8(x.numpy().reshape(8, 8)))
    assert np.array_equal(pixels(traversal.decoded), images.to_uint8(x_hat.numpy().reshape(8, 8)))
    assert f"{((x - x_hat) ** 2).mean():.1f} grey levels²" in traversal.numbers.value


def test_a_slider_moves_the_decoded_patch_and_nothing_else(traversal):
    decoded, original, picture = traversal.decoded.png, traversal.original.png, traversal.picture.png
    distortion = traversal.distortion
    traversal.shifts[0].value = 2.0
    assert traversal.decoded.png != decoded and traversal.distortion > distortion
    assert (traversal.original.png, traversal.picture.png) == (original, picture)
    traversal.reset.click()
    assert traversal.decoded.png == decoded


def test_a_click_chooses_the_patch_under_it(traversal):
    traversal.picture.pointer = [149.0, 99.0]  # the last patch, part of which is padding
    assert traversal.patch == (12, 18)
    assert 'x="144" y="96"' in traversal.picture.overlay
    traversal.picture.pointer = [17.0, 8.0]
    assert traversal.patch == (1, 2)
    plane = images.to_uint8(vae.luma(traversal.photos.image))
    assert np.array_equal(pixels(traversal.original), plane[8:16, 16:24])
    assert traversal.bars.overlay.count("polyline") == 12


def test_every_patch_can_be_shifted(traversal):
    traversal.show.value = "decoded"
    plain = pixels(traversal.picture)
    assert np.mean((plain - vae.luma(traversal.photos.image)) ** 2) < 300  # it looks like the photograph
    traversal.shifts[0].value = 1.0
    assert np.array_equal(pixels(traversal.picture), plain)  # so far, one patch only
    traversal.everywhere.value = True
    assert np.abs(pixels(traversal.picture) - plain).mean() > 5
    traversal.show.value = "original"
    assert np.array_equal(pixels(traversal.picture), images.to_uint8(vae.luma(traversal.photos.image)))


def test_another_photograph_is_encoded_anew(traversal):
    bits = traversal.latent_bits
    traversal.photos.names.value = "cat"
    assert pixels(traversal.picture).shape == traversal.photos.image.shape[:2]
    assert not np.array_equal(traversal.latent_bits, bits)


def test_tiny_pictures_work(model):
    traversal = widgets.LatentTraversal(model, np.full((3, 5, 3), 90, np.uint8))
    assert traversal.patch == (0, 0)
    assert Image.open(io.BytesIO(traversal.still())).width > 600


def test_still_is_a_picture(traversal):
    traversal.everywhere.value = True
    assert Image.open(io.BytesIO(traversal.still())).width > 600


def test_patches_that_are_not_square_are_refused():
    with pytest.raises(SettingError, match="square"):
        widgets.LatentTraversal(vae.VAE(pixels=60, latents=4, hidden=0))
