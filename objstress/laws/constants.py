"""The material constants of a law as a table, in any frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from objstress.errors import InputError
from objstress.laws.electric import ElectricLaw
from objstress.laws.strain_energy import StrainEnergyLaw, third_order_stiffness
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm
from objstress.symmetry.voigt import VOIGT_INDEX, VOIGT_PAIRS, rotated_tensor

# Name in `ElectricLaw.constants`: letter, form, number of strains, unit.
_KINDS = {
    "elastic": ("c", "elastic", 2, "GPa"),
    "third-order elastic": ("c", "third-order elastic", 3, "GPa"),
    "piezoelectric": ("e", "piezoelectric", 1, "C/m^2"),
    "nonlinear piezoelectric": ("e", "V[[V2]2]", 2, "C/m^2"),
    "dielectric": ("eps", "dielectric", 0, "eps0"),
    "electrostriction": ("q", "photoelastic", 1, "C/m^2 per V/nm"),
}
ZERO = 1e-9
"""Constants so small, relative to the largest of their kind, are zero."""


def constants_table(law: ElectricLaw, Q: Any = None) -> str:
    r"""The independent material constants of a law at rest as a Markdown table.

    Elastic ones of second and, for energies of E, third order (GPa), piezoelectric and nonlinear
    piezoelectric ones (C/m^2), dielectric ones (over the permittivity of the vacuum) and
    electrostriction, as far as the law has them; see `ElectricLaw.constants` for what they are.
    Indices are Voigt's but for those of a field: e14 is -d2H/dE0_1 d(2 E_23).

    Args:
        law: of strain and field, under a point group.
        Q: rotation from the law's frame to that of the table, (3, 3), such as `ieee_rotation` of
            its crystal; by default the law's own.

    Raises:
        InputError: a law that is no `ElectricLaw`, or without a point group, such as an isotropic
            one.
    """
    if not isinstance(law, ElectricLaw):
        raise InputError(f"a {type(law).__name__} has no table of electric constants")
    if not isinstance(law.point_group, PointGroup):
        raise InputError("only laws of crystals have tables: give one with a point group")
    turn = np.eye(3) if Q is None else np.asarray(Q, dtype=np.float64)
    group = law.point_group.rotated(turn)
    known = law.constants()
    if isinstance(law.law, StrainEnergyLaw):
        third = third_order_stiffness(law.law)
        if np.abs(third).max() > ZERO * np.abs(known["elastic"]).max():
            known["third-order elastic"] = third
    lines = ["| constant | value | unit |", "| --- | --- | --- |"]
    for name, (letter, kind, strains, unit) in _KINDS.items():
        if name not in known:
            continue
        form = TensorForm(group, kind)
        tensor = rotated_tensor(_full(known[name], strains), turn)
        size = np.abs(tensor).max()
        for labels, terms in form.relations.items():
            if terms != {labels: 1.0}:
                continue
            value = tensor[_index(form, labels)]
            value = 0.0 if abs(value) <= ZERO * size else value
            lines.append(f"| {_symbol(letter, form, labels)} | {value:.6g} | {unit} |")
    return "\n".join(lines)


def _full(values: np.ndarray, strains: int) -> np.ndarray:
    """Voigt's last axes as pairs of Cartesian ones."""
    first = values.ndim - strains
    for k in range(strains):
        values = np.take(values, VOIGT_INDEX, axis=first + 2 * k)
    return values


def _index(form: TensorForm, labels: tuple[int, ...]) -> tuple[int, ...]:
    """A Cartesian entry that has these labels."""
    kinds = [kind for kind, number in form.blocks for _ in range(number)]
    entries = [
        (label - 1,) if kind == "vector" else VOIGT_PAIRS[label - 1]
        for kind, label in zip(kinds, labels, strict=True)
    ]
    return sum(entries, ())


def _symbol(letter: str, form: TensorForm, labels: tuple[int, ...]) -> str:
    if form.blocks == (("pair", 1),):  # written with both of its indices
        return letter + "".join(str(i + 1) for i in VOIGT_PAIRS[labels[0] - 1])
    return letter + "".join(map(str, labels))
