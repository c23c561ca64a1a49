"""What a crystal can be asked with: calculators by name, laws and potentials from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymatgen.core import Element, Structure

from objstress.calculators.registry import CALCULATORS, make_calculator
from objstress.errors import InputError
from objstress.laws.base import MaterialLaw
from objstress.laws.loading import load_law
from objstress.models.potential import load_potential
from objstress.models.tensor_ensemble import TensorEnsemble, load_tensors

FILES = (".law", ".potential", ".tensor")
"""Endings of models that are files."""
SILICON = ("Si",)
ELEMENTS = {
    "emt": ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"),
    "stillinger-weber": SILICON,
    "kumagai": SILICON,
    "erhart-albe": SILICON,
    "bks": ("O", "Si"),
    "cmas94": ("O", "Mg", "Al", "Si", "Ca"),
}
"""Calculators that are right for some elements only, whatever they answer for others."""


@dataclass(frozen=True)
class PropertyModel:
    """One model, ready to be asked.

    Attributes:
        name: how it was given.
        what: one line on what it is.
        elements: symbols that it knows; None if only the calculator itself can tell.
        law: a law, or
        calculator: an ASE calculator, or
        ensemble: networks of the elastic tensor.
    """

    name: str
    what: str
    elements: tuple[str, ...] | None
    law: MaterialLaw | None = None
    calculator: Any = None
    ensemble: TensorEnsemble | None = None

    def check_elements(self, structure: Structure) -> None:
        """
        Raises:
            InputError: an element that the model does not know.
        """
        there = sorted({site.specie.symbol for site in structure})
        strange = [] if self.elements is None else [s for s in there if s not in self.elements]
        if strange:
            raise InputError(
                f"no model for element {', '.join(strange)}: {self.name} knows "
                + ", ".join(self.elements or ())
            )


def find_model(model: Any, arguments: dict[str, Any] | None = None) -> PropertyModel:
    """A model from what users give.

    Args:
        model: a law, an ASE calculator, an ensemble of elastic tensors, a file (.law, .potential or
            .tensor), a name for `make_calculator` with its `arguments`, or a `PropertyModel`.

    Raises:
        InputError: an unknown name, an ensemble of other tensors, and what loading or making it
            refuses.
    """
    if isinstance(model, PropertyModel):
        return model
    if not isinstance(model, str | Path):
        name = type(model).__name__
        if isinstance(model, MaterialLaw):
            return PropertyModel(name, "a law", _elements_of(model), law=model)
        if isinstance(model, TensorEnsemble):
            return _of_ensemble(name, model)
        return PropertyModel(name, "an ASE calculator", None, calculator=model)
    name = str(model)
    if Path(name).suffix == ".law":
        law = load_law(name)
        return PropertyModel(Path(name).name, "a law of one crystal", _elements_of(law), law=law)
    if Path(name).suffix == ".potential":
        potential = load_potential(name)
        elements = tuple(Element.from_Z(z).symbol for z in potential.settings.elements)
        calculator = make_calculator("potential", {"potential": potential})
        return PropertyModel(Path(name).name, "a trained potential", elements, None, calculator)
    if Path(name).suffix == ".tensor":
        return _of_ensemble(Path(name).name, load_tensors(name))
    if name not in CALCULATORS and ":" not in name:
        raise InputError(
            f"unknown model {name!r}: give a .law, .potential or .tensor file, module:Class, or "
            f"one of {', '.join(CALCULATORS)}"
        )
    what = CALCULATORS[name][1] if name in CALCULATORS else "an ASE calculator"
    return PropertyModel(
        name, what, ELEMENTS.get(name), None, calculator=make_calculator(name, arguments)
    )


def _of_ensemble(name: str, ensemble: TensorEnsemble) -> PropertyModel:
    if ensemble.kind != "elastic":
        raise InputError(f"{name} gives tensors of kind {ensemble.kind!r}, not elastic ones")
    return PropertyModel(name, "networks of the elastic tensor", None, ensemble=ensemble)


def _elements_of(law: MaterialLaw) -> tuple[str, ...] | None:
    structure = getattr(law, "structure", None)
    return None if structure is None else tuple(sorted({s.specie.symbol for s in structure}))
