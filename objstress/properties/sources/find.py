"""The source of elastic constants for what users give as a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from objstress.calculators.registry import CALCULATORS
from objstress.calculators.universal import universal_potential
from objstress.errors import InputError
from objstress.properties.sources.base import Source
from objstress.properties.sources.calculator import CalculatorSource
from objstress.properties.sources.corrected import CorrectedSource
from objstress.properties.sources.ensemble import EnsembleSource
from objstress.properties.sources.law import LawSource

SOURCES: tuple[type[Source], ...] = (
    LawSource,
    EnsembleSource,
    CorrectedSource,
    CalculatorSource,
)
"""Asked in this order; the last takes every object that no other does."""
FILES = tuple(source.suffix for source in SOURCES if source.suffix)
"""Endings of models that are files."""


def find_model(model: Any, arguments: dict[str, Any] | None = None) -> Source:
    """The source of elastic constants for what users give as a model.

    Args:
        model: a law, an ASE calculator, an ensemble of elastic tensors or a correction of a
            calculator's, a file (.law, .potential or .tensor), a name for `make_calculator`, or a
            `Source`; None takes the best universal potential that is installed.
        arguments: of a calculator given by name.

    Raises:
        InputError: an unknown name, an ensemble of other tensors, and what loading or making it
            refuses.
    """
    if model is None:
        model = universal_potential()
    if isinstance(model, Source):
        return model
    if not isinstance(model, str | Path):
        return next(s for kind in SOURCES if (s := kind.from_object(model)) is not None)
    for kind in SOURCES:
        if kind.suffix and Path(model).suffix == kind.suffix:
            return kind.from_file(Path(model))
    name = str(model)
    if name not in CALCULATORS and ":" not in name:
        raise InputError(
            f"unknown model {name!r}: give a .law, .potential or .tensor file, module:Class, or "
            f"one of {', '.join(CALCULATORS)}"
        )
    return CalculatorSource.named(name, arguments)
