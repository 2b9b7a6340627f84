"""The floors of the house: no module imports one that stands above it. The imports are read, not run."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edu_compress"

FLOORS = [
    ["errors", "files", "images", "metrics", "dct", "container", "registry", "rate_distortion", "datasets"],
    ["entropy_coding"],
    ["learned"],
    ["codecs"],
    ["training", "evaluation", "vae", "toy"],
    ["plots", "widgets", "checks", "cli"],
]
"""Lowest first; a folder's name stands for all in it. Modules of one floor may import one another."""

HEIGHT = {name: height for height, floor in enumerate(FLOORS) for name in floor}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules and folders of the package (their first names) that a module imports, anywhere in it."""
    found = set()
    folder = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:  # one dot is the folder of the module itself
                module = ["edu_compress", *folder[: len(folder) - node.level + 1], *module]
            names = [module + [alias.name] for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == "edu_compress" and len(name) > 1}
    return found - {"__version__"}


def test_the_floor_plan_names_every_module():
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()} - {"__init__"}
    assert there <= set(HEIGHT), "put new modules on a floor of the plan above"


def test_every_folder_is_a_package():
    """Without __init__.py a folder is imported from the repository, but missing where the package is installed."""
    folders = {path.parent for path in modules()}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_imports_are_read_as_they_are():
    assert imported(PACKAGE / "codecs" / "jpeg" / "encoder.py") >= {"dct", "errors", "images", "codecs"}
    assert imported(PACKAGE / "plots.py") == {"images", "registry", "rate_distortion"}
    assert imported(PACKAGE / "cli.py") >= {"training", "evaluation", "registry"}  # also those inside of functions


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_one_above_it(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert imported(path) <= set(FLOORS[0])
        return
    above = {name for name in imported(path) if HEIGHT[name] > HEIGHT[own]}
    assert not above, f"{own} stands below {', '.join(sorted(above))}"
