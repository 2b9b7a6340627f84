"""Run lessons from top to bottom and store their outputs: ``python lessons/run.py lessons/00_*.ipynb``.

What is stored is what a reader without a kernel sees, so a widget's still picture takes the place of its live
view (the live one needs a running kernel), and pictures are packed as small as PNG allows.
"""

import base64
import io
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 120


def run(path: Path) -> None:
    """Execute one notebook in its folder and write it back."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        coalesce_streams=True,  # what one cell prints is one output, however it arrived
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # wall-clock times, different in each run
        for output in cell.get("outputs", []):
            _make_static(output)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    nbformat.write(notebook, path)
    print(f"{path.name}: {time.perf_counter() - start:.0f} s, {path.stat().st_size / 1e6:.2f} MB")


def _make_static(output) -> None:
    data = output.get("data", {})
    if "image/png" in data:
        data["image/png"] = _packed(data["image/png"])
        if data.pop(WIDGET_VIEW, None):
            data["text/plain"] = "(a widget: run this cell to play with it)"


def _packed(encoded: str) -> str:
    """Return the same picture as the smallest PNG that Pillow makes."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB").save(buffer, "PNG", optimize=True)
    return min(encoded, base64.b64encode(buffer.getvalue()).decode("ascii"), key=len)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name))
