"""Lesson 07 as a student sees it: decoders play their orders, on one clock or pass by pass."""

import re

import pytest

pytestmark = pytest.mark.browser

LESSON = "07_context_models.ipynb"


def test_decoders_play_step_and_show_what_they_see(open_lesson):
    lesson = open_lesson(LESSON)
    page = lesson.page
    lesson.run_all(seconds=240)
    assert lesson.errors() == []
    widget = lesson.show(".edu-order")
    panels = widget.locator(".edu-order-panel")
    page.wait_for_function("document.querySelectorAll('.edu-order-panel canvas').length === 4")

    def pictures() -> list[str]:
        return [panels.nth(k).locator("canvas").evaluate("canvas => canvas.toDataURL()") for k in range(4)]

    def known() -> list[int]:
        texts = [panels.nth(k).locator(".edu-order-text").inner_text() for k in range(4)]
        return [int(re.search(r"(\d+) of \d+ positions", text)[1]) for text in texts]

    positions = int(re.search(r"of (\d+) positions", panels.first.inner_text())[1])
    widget.get_by_label("back to the beginning").click()
    start = pictures()
    assert known() == [0, 0, 0, 0]
    widget.get_by_label("speed").first.select_option("20")
    widget.get_by_label("play or pause").click()
    page.wait_for_function(
        "document.querySelector('.edu-order button[title=\"play or pause\"]').textContent.includes('play')"
        " && /ready/.test(document.querySelector('.edu-order-text').textContent)",
    )
    assert known() == [positions] * 4  # raster order, the slowest, has ended
    assert all(a != b for a, b in zip(start, pictures(), strict=True))

    widget.get_by_label("what the clock counts").select_option("pass")
    page.wait_for_function("/0 of \\d+ passes/.test(document.querySelector('.edu-order').innerText)")
    assert known() == [0, 0, 0, 0]
    for _ in range(3):
        widget.get_by_label("on by one pass").click()
    raster, wavefront, checkerboard, hyperprior = known()
    assert raster == 3 and wavefront == 3 and checkerboard == hyperprior == positions
    widget.get_by_label("on by one pass").click()
    assert known()[:2] == [4, 5]  # the fourth wavefront holds two positions
    widget.get_by_label("back by one pass").click()
    assert known()[:2] == [3, 3]

    panels.first.locator("canvas").click(position={"x": 16 * 6 + 8, "y": 16 * 3 + 8})
    page.wait_for_function("document.querySelector('.edu-order').innerText.includes('row 3, column 6')")
    seen = [panels.nth(k).locator(".edu-order-text").inner_text() for k in range(4)]
    assert all("and 12 neighbours" in text for text in seen[:3]) and "z alone" in seen[3]
