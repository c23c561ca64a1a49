"""Front doors: every room says what it offers, and what it offers is documented."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import objstress
from objstress import InputError

ROOT = Path(objstress.__file__).parent
# `cli` is reached through its commands; the files on the ground floor are rooms of one file.
DOORS = sorted({p.parent.name for p in ROOT.glob("*/__init__.py")} - {"cli"})
FILES = ("errors", "parallel", "reports")
# What a documented number is measured in, or that it is a pure number.
UNITS = re.compile(
    r"GPa|eV|Angstrom|\bfs\b|\bps\b|\bK\b|\bu\b|\be\b|C/m|C/N|rad|degrees|cm\^-1|km/s|km/mol|kg|"
    r"THz|kcal|seconds|minutes|\bs\b|[a-z] units?\b|pure number|dimensionless|unit vector|relative|"
    r"fraction|ratio|factor|part of|components|[Rr]otation|strain|orthonormal|\blengths?\b|"
    r"logarithm|\bbool\b|\bint\b|number of|projection"
)
# One axis, or several with at least a digit, a letter alone or an ellipsis among them.
SHAPE = re.compile(
    r"\((?=[^()]*(?:\d|\b[a-z]\b|\.\.\.))[\w.+* ]+(?:,[\w.+* ]*)+\)|\(\w+,\)|\d x \d"
)


def door(name: str) -> ModuleType:
    return importlib.import_module(f"objstress.{name}")


def public(name: str) -> list[tuple[str, Any]]:
    """Functions and classes that a room offers, with the methods that a class adds."""
    found: list[tuple[str, Any]] = []
    for each in door(name).__all__:
        thing = getattr(door(name), each)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        found.append((f"{name}.{each}", thing))
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                inherited = any(member in vars(base) for base in thing.__mro__[1:])
                if member.startswith("_") or inherited:
                    continue
                value = getattr(value, "fget", None) or getattr(value, "__func__", value)
                if inspect.isfunction(value):
                    found.append((f"{name}.{each}.{member}", value))
    return found


def complaints(thing: Any) -> list[str]:
    """What the docstring of a public name does not say."""
    text = inspect.getdoc(thing) or ""
    first, _, rest = text.partition("\n")
    said = []
    if not re.fullmatch(r"\S.*\.", first) or (rest and not rest.startswith("\n")):
        said.append("begin with one summary line that ends in a full stop")
    try:
        named = inspect.signature(thing).parameters
    except ValueError:  # built in, as the constructors of errors
        named = {}  # type: ignore[assignment]
    if inspect.isclass(thing) and dataclasses.is_dataclass(thing):
        named = {f.name: f for f in dataclasses.fields(thing) if not f.name.startswith("_")}  # type: ignore[assignment]
    said += [
        f"name {p}"
        for p in named
        if p not in ("self", "cls", "args", "kwargs")
        and not re.search(rf"(?<!\w){re.escape(p)}(?!\w)", text)
    ]
    where = thing.__init__ if inspect.isclass(thing) else thing
    kinds = " ".join(str(a) for a in getattr(where, "__annotations__", {}).values())
    if re.search(r"ndarray|Tensor\b", kinds) and not SHAPE.search(text):
        said.append("give the shapes of arrays")
    if re.search(r"ndarray|Tensor\b|float", kinds) and not UNITS.search(text):
        said.append("give units")
    try:
        source = inspect.getsource(where)
    except (OSError, TypeError):
        source = ""
    if re.search(r"raise (InputError|ConvergenceError)", source) and "Raises:" not in text:
        said.append("say what it raises")
    return said


@pytest.mark.parametrize("name", [*DOORS, *FILES])
def test_a_room_offers_names(name):
    assert door(name).__all__, f"{name} has no __all__"
    for each in door(name).__all__:
        assert getattr(door(name), each) is not None
    assert (door(name).__doc__ or "").strip(), f"{name} does not say what it is"


@pytest.mark.parametrize("name", [*DOORS, *FILES])
def test_public_names_are_documented(name):
    wrong = {each: c for each, thing in public(name) if (c := complaints(thing))}
    text = "\n".join(f"{each}: {'; '.join(c)}" for each, c in sorted(wrong.items()))
    assert not wrong, f"{len(wrong)} of {len(public(name))}\n{text}"


def test_the_test_of_docstrings_sees_what_is_missing():
    def bare(F: float):
        raise InputError("no")

    assert complaints(bare) == [
        "begin with one summary line that ends in a full stop",
        "name F",
        "give units",
        "say what it raises",
    ]


def test_two_names_are_never_one():
    known: dict[str, Any] = {}
    for name in DOORS:
        for each in door(name).__all__:
            thing = getattr(door(name), each)
            if isinstance(thing, ModuleType):
                continue
            assert known.setdefault(each, thing) is thing, f"{name}.{each}: another has that name"


def test_no_module_bears_the_name_of_a_function_that_it_exports():
    for path in ROOT.rglob("*.py"):
        if path.stem != "__init__":
            defined = set(re.findall(r"^def (\w+)", path.read_text(), re.M))
            assert path.stem not in defined, path


def test_files_and_classes_are_short():
    import ast

    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 420, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                assert node.end_lineno - node.lineno + 1 <= 300, f"{path}: {node.name}"
