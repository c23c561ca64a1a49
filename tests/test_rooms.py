"""The order of the rooms, their front doors, and what importing them costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "objstress"
# From the ground up: what each room may import, always from those above it here.
GROUND = {"errors", "io", "symmetry"}
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "reports": set(),
    "parallel": {"errors"},
    "io": {"errors", "parallel"},
    "symmetry": {"errors"},
    "elasticity": {"errors", "io", "symmetry"},
    "graphs": {"errors", "symmetry"},
    "nn": {"symmetry", "graphs"},
    "models": GROUND | {"graphs", "nn"},
    "laws": GROUND | {"reports", "elasticity", "models"},
    "calculators": {"errors", "graphs", "models"},
    "spectra": {"errors", "io", "graphs", "models"},
    "labels": GROUND | {"parallel", "elasticity", "graphs", "calculators"},
    "fem": GROUND | {"parallel", "elasticity", "laws"},
    "md": {"errors", "io", "graphs", "models", "calculators"},
    "training": GROUND | {"elasticity", "graphs", "models", "laws", "labels"},
    "properties": GROUND | {"elasticity", "models", "laws", "calculators", "labels"},
    "docking": {"errors", "parallel", "io", "graphs", "nn", "models", "training"},
    "service": {"errors", "io", "symmetry", "calculators", "properties"},
}
# These two may import every room before them.
BELOW |= {"workflows": set(BELOW), "cli": set(BELOW) | {"workflows"}}


def modules() -> dict[str, Path]:
    """{dotted name: file} of the package."""
    named = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


MODULES = modules()


def arrows(name: str) -> Iterator[str]:
    """The modules of the package that a file imports or names, at its top or inside functions."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What `import_module` and spawned processes are given.
            yield node.value


def graph() -> dict[str, set[str]]:
    return {name: {a for a in arrows(name) if a in MODULES and a != name} for name in MODULES}


def room(name: str) -> str:
    return name.split(".")[1]


def circles(edges: dict[str, set[str]]) -> list[str]:
    """Files that come back to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += edges[name]
        return seen

    return [name for name in edges if name in reached(name)]


# The front doors name what lies behind them, for those outside.
DOORS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def test_no_files_import_each_other_in_a_circle():
    edges = graph()
    inside = {name: {e for e in edges[name] if e not in DOORS} for name in edges}
    assert not circles({name: to for name, to in inside.items() if name not in DOORS})
    # The test itself sees circles.
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def test_imports_go_down_the_rooms():
    for name, others in graph().items():
        if name.count(".") == 0 or room(name) == "__main__":
            continue
        foreign = {room(o) for o in others if o.count(".")} - {room(name)} - BELOW[room(name)]
        assert not foreign, f"{name} imports {foreign}"


def test_the_table_has_every_room_and_goes_one_way():
    there = {p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()}
    there |= {p.stem for p in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert there == set(BELOW)
    rooms = list(BELOW)
    for name, below in BELOW.items():
        assert below <= set(rooms[: rooms.index(name)]), name


def test_files_do_not_enter_by_the_front_doors():
    # The doors are for those outside: a circle through one would not be seen.
    for name in MODULES:
        for node in ast.walk(ast.parse(MODULES[name].read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in DOORS and name not in DOORS:
                inside = {f"{node.module}.{a.name}" for a in node.names}
                named = {n for n in inside - set(MODULES) if n != "objstress.__version__"}
                assert not named, f"{name} imports {named} by a door"


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

    with pytest.raises(AttributeError, match="No objstress attribute nonsense"):
        objstress.nonsense  # noqa: B018
    for name in objstress.__all__:
        assert getattr(objstress, name) is not None
