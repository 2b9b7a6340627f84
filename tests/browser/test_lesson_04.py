"""Lesson 04 as a student sees it: it trains, and the widget answers to slider and click."""

import pytest

pytestmark = pytest.mark.browser


def picture_of(page, stage):
    """Return the address of a stage's picture: a new one each time it is drawn."""
    return page.locator(".edu-stage img").nth(stage).get_attribute("src")


def wait_for_new_picture(page, stage, before):
    page.wait_for_function(
        "([stage, before]) => document.querySelectorAll('.edu-stage img')[stage].src !== before",
        arg=[stage, before],
    )


def test_lesson_runs_and_the_latents_move(open_lesson):
    lesson = open_lesson("04_variational_autoencoder.ipynb")
    lesson.run_all(seconds=280)
    assert lesson.errors() == []
    page = lesson.page

    lesson.show(".edu-stage svg")  # photograph, bars, original patch, decoded patch
    before = picture_of(page, 3)
    page.locator(".widget-slider .noUi-handle").first.focus()
    page.keyboard.press("ArrowRight")
    wait_for_new_picture(page, 3, before)

    before = picture_of(page, 2)
    page.locator(".edu-stage").nth(0).click(position={"x": 40, "y": 60})
    wait_for_new_picture(page, 2, before)
