"""The stored lessons: complete, small, from one run, and readable without being run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
NOTEBOOKS = sorted(LESSONS.glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return json.loads(request.param.read_text())["cells"]


def code_cells(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


def prose(cells):
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_there_are_lessons():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_file_is_small(path):
    assert path.stat().st_size < 1_500_000


def test_stored_outputs_come_from_one_run_without_errors(cells):
    code = code_cells(cells)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]


def test_cells_are_short(cells):
    assert max(len("".join(cell["source"]).splitlines()) for cell in code_cells(cells)) <= 25


def test_every_exercise_has_a_check_and_a_solution(cells):
    tags = [tag for cell in code_cells(cells) for tag in cell["metadata"].get("tags", [])]
    assert tags.count("exercise") >= 3
    assert tags.count("exercise") == tags.count("check") == tags.count("solution")
    solutions = [cell for cell in code_cells(cells) if "solution" in cell["metadata"].get("tags", [])]
    assert all("### BEGIN SOLUTION" in "".join(cell["source"]) for cell in solutions)
    assert all(cell["metadata"].get("jupyter", {}).get("source_hidden") for cell in solutions)


def test_exercises_are_not_attempted_and_solutions_pass(cells):
    for cell in code_cells(cells):
        tags = cell["metadata"].get("tags", [])
        printed = json.dumps(cell["outputs"], ensure_ascii=False)
        if "check" in tags:
            assert "not attempted yet" in printed
        if "solution" in tags:
            assert "✔" in printed and "✘" not in printed


def glossary_anchors():
    """The explicit anchors ``### <a id="bd-rate"></a>BD-rate`` of the glossary.

    JupyterLab names a heading "BD-rate", code hosts "bd-rate"; a written anchor works in both.
    """
    return re.findall(r'^### <a id="([a-z0-9\-]+)"></a>', (LESSONS / "glossary.md").read_text(), re.M)


def test_every_term_of_the_glossary_has_its_own_anchor():
    headings = re.findall(r"^### (.+)$", (LESSONS / "glossary.md").read_text(), re.M)
    assert [heading for heading in headings if not heading.startswith('<a id="')] == []
    assert len(set(glossary_anchors())) == len(headings)


def test_links_to_the_glossary_lead_somewhere(cells):
    linked = set(re.findall(r"glossary\.md#([^)\s]+)", prose(cells)))
    assert linked
    assert linked - set(glossary_anchors()) == set()


def test_lessons_without_networks_do_not_import_torch():
    early = [path for path in NOTEBOOKS if path.name[:2] in ("00", "01", "02")]
    assert not [path.name for path in early if re.search(r"^\s*(import|from) torch", path.read_text(), re.M)]


def test_the_coursework_edition_has_stubs_and_checks_but_no_answers(tmp_path):
    subprocess.run([sys.executable, LESSONS / "coursework.py", tmp_path], check=True, stdout=subprocess.DEVNULL)
    for path in NOTEBOOKS:
        text = (tmp_path / path.name).read_text()
        code = code_cells(json.loads(text)["cells"])
        assert "### BEGIN" not in text
        assert not any(cell["outputs"] for cell in code)
        assert len(code) < len(code_cells(json.loads(path.read_text())["cells"]))
        assert any("check" in cell["metadata"].get("tags", []) for cell in code)
