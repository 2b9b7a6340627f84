"""Lesson 00 as a student sees it: every cell runs, and the tangent follows the slider of lambda."""

import pytest

pytestmark = pytest.mark.browser


def test_lesson_runs_and_the_tangent_moves(open_lesson):
    lesson = open_lesson("00_rate_and_distortion.ipynb")
    lesson.run_all()
    assert lesson.errors() == []

    overlay = lesson.show(".edu-stage svg")
    before = overlay.inner_html()
    assert "polyline" in before  # the tangent
    lesson.page.locator(".widget-slider .noUi-handle").first.focus()
    lesson.page.keyboard.press("ArrowRight")
    lesson.page.wait_for_function(
        "before => document.querySelector('.edu-stage svg').innerHTML !== before", arg=before, timeout=10_000
    )

    picture = lesson.page.locator(".edu-stage").nth(1)
    frame = picture.locator("svg").inner_html()
    picture.click(position={"x": 40, "y": 60})
    lesson.page.wait_for_function(
        "before => document.querySelectorAll('.edu-stage svg')[1].innerHTML !== before", arg=frame, timeout=10_000
    )
