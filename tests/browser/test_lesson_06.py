"""Lesson 06 as a student sees it: where the bits go, at every position of the photograph."""

import re

import pytest

pytestmark = pytest.mark.browser

LESSON = "06_hyperpriors.ipynb"


def test_bit_allocation_answers_slider_click_and_menu(open_lesson):
    lesson = open_lesson(LESSON)
    page = lesson.page
    lesson.run_all(seconds=240)
    assert lesson.errors() == []
    widget = lesson.show(".edu-bits")
    picture, bits, chart = (widget.locator(".edu-stage").nth(k) for k in range(3))

    def state() -> dict:
        return {
            "picture": picture.locator("img").get_attribute("src"),
            "map": bits.locator("img").get_attribute("src"),
            "frame": picture.locator("svg").inner_html(),
            "chart": chart.locator("svg").inner_html(),
            "text": widget.inner_text(),
        }

    def changed(before: dict, *parts: str) -> dict:
        for _ in range(600):
            now = state()
            if all(now[part] != before[part] for part in parts):
                return now
            page.wait_for_timeout(100)
        raise AssertionError(f"did not change: {[part for part in parts if now[part] == before[part]]}")

    def file_bytes(shown: dict) -> int:
        return int(re.search(r"file\s+([\d,]+) bytes", shown["text"])[1].replace(",", ""))

    first = state()
    picture.click(position={"x": 40, "y": 40})
    clicked = changed(first, "frame", "chart", "text")
    assert "row 2, column 2" in clicked["text"] and clicked["picture"] == first["picture"]
    assert bits.locator("svg").inner_html() == clicked["frame"]  # the same place in both pictures

    widget.locator("select").nth(1).select_option(label="σ of one channel")
    sigma = changed(clicked, "map", "text")
    assert "quantisation steps" in sigma["text"] and sigma["picture"] == clicked["picture"]

    widget.locator(".noUi-handle").first.focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")  # to a smaller λ
    changed(sigma, "picture", "map", "text")
    lesson.rest()  # after the last of thirty moves
    assert file_bytes(state()) < 0.9 * file_bytes(first)
