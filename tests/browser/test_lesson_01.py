"""Lesson 01 as a student sees it: every cell runs, and the three widgets answer to slider, click and button."""

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


def test_lesson_runs_and_its_widgets_answer(open_lesson):
    lesson = open_lesson("01_dct_and_jpeg.ipynb")
    lesson.run_all()
    assert lesson.errors() == []
    page = lesson.page

    lesson.show(".edu-stage svg")  # DctExplorer: photograph, block, partial sum, waves
    before = picture_of(page, 3)
    page.locator(".edu-stage").nth(0).click(position={"x": 50, "y": 60})
    wait_for_new_picture(page, 3, before)
    before = picture_of(page, 0)
    page.locator(".edu-stage").nth(3).click(position={"x": 150, "y": 20})  # a wave: keep all up to it
    wait_for_new_picture(page, 0, before)

    page.get_by_text("quantisation steps: click one").scroll_into_view_if_needed()
    before = page.get_by_text("bits per pixel").last.inner_text()
    page.get_by_role("button", name="flat").click()
    page.wait_for_function(
        "before => ![...document.querySelectorAll('table')].some(t => t.innerText.includes(before))",
        arg=before,
    )  # fmt: skip

    page.get_by_role("button", name="start again").scroll_into_view_if_needed()
    page.get_by_role("button", name="start again").click()
    page.get_by_text("80 × 80 pixels, as before").first.wait_for()
    page.get_by_role("button", name="delete the byte").click()
    page.get_by_text("another picture").or_(page.get_by_text("The JPEG file is")).first.wait_for()
