"""The order of the rooms, and what importing them costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "objstress"
BELOW = {
    "errors": set(),
    "files": {"errors"},
    "claims": set(),
    "tensor_files": {"errors", "files"},
    "yaml_files": {"errors"},
    "parallel": {"errors"},
    "row_files": {"errors", "files", "parallel"},
    "symmetry": {"errors"},
    "graphs": {"errors", "symmetry"},
    "nn": {"graphs", "symmetry"},
    "models": {"errors", "graphs", "nn", "symmetry", "tensor_files"},
    "teachers": {"errors", "files", "graphs", "parallel", "symmetry"},
    "training": {"errors", "files", "graphs", "models", "symmetry", "teachers", "yaml_files"},
    "laws": {
        "claims",
        "errors",
        "files",
        "models",
        "symmetry",
        "teachers",
        "tensor_files",
        "training",
    },
    "fem": {"errors", "files", "laws", "symmetry", "yaml_files"},
    "docking": {"errors", "files", "graphs", "models", "parallel", "row_files", "training"},
    "dynamics": {"claims", "errors", "files", "graphs", "models", "symmetry"},
    "properties": {"errors", "files", "laws", "models", "row_files", "symmetry", "teachers"},
    "service": {"errors", "files", "properties", "symmetry"},
    "spectra": {"errors", "files", "graphs", "models", "symmetry"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("objstress."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("objstress."):
                    yield name.name.split(".")[1]


@pytest.mark.parametrize("room", BELOW)
def test_imports_go_one_way(room):
    files = sorted((ROOT / room).glob("**/*.py")) or [ROOT / f"{room}.py"]
    assert files
    for path in files:
        foreign = set(imports(path)) - {room} - BELOW[room]
        assert not foreign, f"{path.name} imports {foreign}"


def test_every_room_is_in_the_table():
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(BELOW) | {"demo", "cli"}  # these two may import everything


def test_importing_objstress_loads_nothing_heavy():
    code = """
import sys
import objstress
heavy = {"torch", "dolfinx", "numpy", "pymatgen", "ase", "lightning"} & set(sys.modules)
assert not heavy, heavy
objstress.PointGroup, objstress.fit_law, objstress.load_law, objstress.label_strains
assert "dolfinx" not in sys.modules
import torch
assert torch.get_default_dtype() == torch.float32
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_unknown_names_are_attribute_errors():
    import objstress

    with pytest.raises(AttributeError, match="no attribute"):
        objstress.nonsense  # noqa: B018
    for name in objstress.__all__:
        assert getattr(objstress, name) is not None
