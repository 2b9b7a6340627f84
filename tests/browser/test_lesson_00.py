"""Lesson 00 as a student sees it: every cell runs, the tangent follows the slider of lambda, terms are explained."""

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
    lesson.page.wait_for_function("before => document.querySelector('.edu-stage svg').innerHTML !== before", arg=before)

    rendering = "images => images.slice(0, 2).map(image => image.style.imageRendering)"
    assert lesson.page.locator(".edu-stage img").evaluate_all(rendering) == ["auto", "pixelated"]  # plot, photograph

    picture = lesson.page.locator(".edu-stage").nth(1)
    frame = picture.locator("svg").inner_html()
    picture.click(position={"x": 40, "y": 60})
    lesson.page.wait_for_function(
        "before => document.querySelectorAll('.edu-stage svg')[1].innerHTML !== before", arg=frame
    )


def test_a_link_to_the_glossary_opens_it_at_its_term(open_lesson):
    lesson = open_lesson("00_rate_and_distortion.ipynb")
    lesson.page.locator('.jp-Notebook a:text-is("distortion")').first.click()
    lesson.page.wait_for_function(
        """() => {
            const viewer = document.querySelector(".jp-MarkdownViewer");
            const headings = viewer ? [...viewer.querySelectorAll("h3")] : [];
            const heading = headings.find(h => h.textContent.startsWith("Distortion"));
            return heading && Math.abs(heading.getBoundingClientRect().top - viewer.getBoundingClientRect().top) < 60;
        }""",
    )
