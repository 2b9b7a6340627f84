"""Lesson 05 as a student sees it: λ moves, the photograph is coded anew; its twin moves where no kernel runs."""

import json
import re

import pytest
from conftest import LESSONS

pytestmark = pytest.mark.browser

LESSON = "05_noise_based_quantisation.ipynb"


def test_slider_codes_the_photograph_anew_and_the_twin_moves(open_lesson):
    lesson = open_lesson(LESSON)
    page = lesson.page
    twin = lesson.show(".edu-twin")  # the stored output: nothing has run, and nobody has trusted the notebook
    assert twin.locator("input").count() == 0
    strip = twin.locator("div:has(> div > img)")
    assert strip.locator("img").count() > 5
    assert strip.evaluate("strip => { strip.scrollLeft = 1000; return strip.scrollLeft; }") == 1000

    lesson.run_all(seconds=240)
    assert lesson.errors() == []
    lesson.show(".edu-twin input").focus()  # now its scripts may run
    before = page.locator(".edu-twin .picture img").get_attribute("src")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".edu-twin .picture img").get_attribute("src") != before

    widget = lesson.show(".edu-lambda")

    def state() -> dict:
        shown = [widget.locator(".edu-stage").nth(k) for k in range(7)]
        return {
            "pictures": [stage.locator("img").get_attribute("src") for stage in shown],
            "overlays": [stage.locator("svg").inner_html() for stage in shown],
            "bytes": int(re.search(r"file\s+([\d,]+) bytes", widget.inner_text())[1].replace(",", "")),
        }

    def wait_for_change(before: dict) -> None:
        page.wait_for_function(
            "before => !document.querySelector('.edu-lambda').innerText.includes(before)",
            arg=f"{before['bytes']:,} bytes; click",
        )

    first = state()
    widget.locator(".noUi-handle").focus()
    for _ in range(40):
        page.keyboard.press("ArrowLeft")  # to a smaller λ
    wait_for_change(first)
    lesson.rest()  # after the last of forty moves
    second = state()
    assert second["bytes"] < 0.9 * first["bytes"]
    decoded, plane, original, crop, jpeg, error, bits = (
        a != b for a, b in zip(first["pictures"], second["pictures"], strict=True)
    )
    assert decoded and crop and jpeg and error and bits
    assert not plane and first["overlays"][1] != second["overlays"][1]  # the curves stay, the point and its line move

    widget.locator(".edu-stage").first.click(position={"x": 60, "y": 60})
    page.wait_for_function(
        "before => document.querySelector('.edu-lambda .edu-stage svg').innerHTML !== before",
        arg=second["overlays"][0],
    )


def test_stored_twin_moves_in_a_page_without_a_kernel(browser, tmp_path):
    cells = json.loads((LESSONS / LESSON).read_text(encoding="utf-8"))["cells"]
    stored = ["".join(o.get("data", {}).get("text/html", "")) for cell in cells for o in cell.get("outputs", [])]
    (tmp_path / "twin.html").write_text(next(text for text in stored if "edu-twin" in text), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "twin.html").as_uri())
    numbers, picture = page.locator(".numbers"), page.locator(".picture img")
    steps = 1 + int(page.locator("input").get_attribute("max"))
    states = set()
    page.locator("input").focus()
    page.keyboard.press("Home")
    for _ in range(steps):
        states.add((numbers.inner_text(), picture.get_attribute("src"), page.locator(".plane svg").inner_html()))
        page.keyboard.press("ArrowRight")
    assert steps > 5 and all(len({state[part] for state in states}) == steps for part in range(3))
    assert all(url.startswith(("file:", "data:")) for url in asked)  # nothing from a network
    page.close()
