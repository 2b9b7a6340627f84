"""Lesson 02 as a student sees it: every cell runs, and the three widgets answer to typing, slider and drag."""

import pytest

pytestmark = pytest.mark.browser


def wait_for_change(page, stage, before):
    page.wait_for_function(
        "([stage, before]) => document.querySelectorAll('.edu-stage svg')[stage].innerHTML !== before",
        arg=[stage, before],
    )


def overlay(page, stage):
    return page.locator(".edu-stage svg").nth(stage).inner_html()


def test_lesson_runs_and_its_widgets_answer(open_lesson):
    lesson = open_lesson("02_entropy_coding.ipynb")
    lesson.run_all()
    assert lesson.errors() == []
    page = lesson.page

    lesson.show(".edu-stage svg")  # the interval
    before = overlay(page, 0)
    page.locator(".widget-text input").first.fill("00+0-0")
    wait_for_change(page, 0, before)
    before = overlay(page, 0)
    box = page.locator(".edu-stage").nth(0).bounding_box()
    page.locator(".edu-stage").nth(0).click(position={"x": 0.3 * box["width"], "y": 0.82 * box["height"]})  # last row
    wait_for_change(page, 0, before)

    page.locator(".edu-stage").nth(1).scroll_into_view_if_needed()  # the tree
    before = overlay(page, 1)
    page.locator(".widget-slider .noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    wait_for_change(page, 1, before)

    stage = page.locator(".edu-stage").nth(2)  # the histogram
    stage.scroll_into_view_if_needed()
    before = overlay(page, 2)
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.7 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"], steps=5)
    page.mouse.up()
    wait_for_change(page, 2, before)
    page.get_by_role("button", name="true histogram").click()
    page.get_by_text("0.000 bits per symbol").first.wait_for()
