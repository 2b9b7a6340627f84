"""Make the coursework edition: the lessons without solutions, hidden tests and outputs.

    python lessons/coursework.py FOLDER

Students get the folder; graders keep the full lessons. What is taken out: cells tagged ``solution``, and in all
other cells the lines from ``### BEGIN HIDDEN TESTS`` to ``### END HIDDEN TESTS`` (the markers of nbgrader).
Graders draw other random inputs by setting EDU_COMPRESS_SEED before they run the check cells.
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ \t]*\n?", re.DOTALL | re.MULTILINE)


def coursework(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy of a lesson without solutions, hidden tests and outputs."""
    edition = nbformat.from_dict(notebook)
    edition.cells = [cell for cell in edition.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in edition.cells:
        cell.source = HIDDEN.sub("", cell.source)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return edition


def main(folder: Path) -> None:
    """Write the coursework edition of every lesson, and what the lessons link to, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(HERE.glob("[0-9][0-9]_*.ipynb")):
        nbformat.write(coursework(nbformat.read(path, as_version=4)), folder / path.name)
        print(folder / path.name)
    for name in ("glossary.md", "LICENSE"):
        shutil.copy(HERE / name, folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
