"""A fitted potential as an ASE calculator."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from objstress.graphs.atoms import total_charge
from objstress.graphs.verlet_list import VerletList, lasting
from objstress.models.potential import Potential, load_potential

OF_HEAD = {
    "energy": ("energy", "energies", "forces", "stress"),
    "dipole": ("dipole", "charges"),
    "polarizability": ("polarizability",),
    "pseudoscalar": ("pseudoscalar",),
}
"""The properties that each head of a potential gives."""


class PotentialCalculator(Calculator):
    """A potential's predictions in ASE's units, orders and signs, all in one pass.

    Energy, free_energy (the same) eV; energies (n,) eV; forces (n, 3) eV/Angstrom; stress (6,)
    eV/Angstrom^3, xx yy zz yz xz xy, positive in tension, of structures periodic along all axes;
    dipole (3,) e Angstrom and charges (n,) e, not of charged periodic structures; polarizability
    (3, 3) Angstrom^3; pseudoscalar. Only what the potential has heads for. `atoms.info["charge"]`
    is the total charge in e. For example::

        atoms.calc = PotentialCalculator("water.potential")
        atoms.get_dipole_moment()
        atoms.calc.get_property("polarizability", atoms)

    Args:
        potential: a potential or its file. The calculator keeps a copy: a later fit does not
            change it.
        skin: Angstrom, see `VerletList`.
        device: of PyTorch; None is where the potential is.

    Raises:
        InputError: see `load_potential`; in `calculate`, see `atom_graph`.
    """

    def __init__(
        self,
        potential: Potential | str | Path,
        *,
        skin: float = 0.5,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        self.potential = frozen(potential, device)
        self.skin = skin
        names = [name for head in self.potential.settings.heads for name in OF_HEAD[head]]
        self._names = names
        self.implemented_properties = names + (["free_energy"] if "energy" in names else [])
        self._list: VerletList | None = None
        self._of: Any = None

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What changed since the last calculation, to the last bit.

        ASE's own comparison costs more than a small step.

        Args:
            atoms: the structure.
            tol: not used (Angstrom in ASE).
        """
        if self.atoms is None:
            return list(all_changes)
        old, new = lasting(self.atoms), lasting(atoms)
        changes = ["numbers"] if old != new else []
        for name in ("positions", "cell"):
            if not np.array_equal(getattr(self.atoms, name), getattr(atoms, name)):
                changes.append(name)
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Evaluate the potential; see ASE's `Calculator.calculate`.

        Args:
            atoms: the structure; None takes the last one.
            properties: not used: one pass gives all.
            system_changes: see ASE.
        """
        super().calculate(atoms, properties, system_changes)
        self.results = {}  # none of before where something is wrong
        atoms = self.atoms
        assert atoms is not None
        graph = self._graph(atoms)
        names = set(self._names)
        if not atoms.pbc.all():
            names.discard("stress")
        if atoms.pbc.any() and total_charge(atoms):
            names -= {"dipole", "charges"}
        with torch.no_grad():
            predicted = {
                k: v.cpu().double().numpy() for k, v in self.potential(graph, names).items()
            }
        for name, value in predicted.items():
            per_atom = name in ("energies", "forces", "charges")
            self.results[name] = value if per_atom else value[0]
        if "energy" in predicted:
            self.results["energy"] = self.results["free_energy"] = float(predicted["energy"][0])
        if "stress" in predicted:
            self.results["stress"] = full_3x3_to_voigt_6_stress(predicted["stress"][0])
        if "pseudoscalar" in predicted:
            self.results["pseudoscalar"] = float(predicted["pseudoscalar"][0])

    def _graph(self, atoms: Atoms) -> Any:
        of = lasting(atoms)
        if self._list is None or self._of != of:
            self._list = None  # where making one fails
            self._list = list_of([atoms], self.potential, self.skin)
            self._of = of
        return self._list(torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)[None])


def frozen(
    potential: Potential | str | Path, device: torch.device | str | None = None
) -> Potential:
    """A copy for evaluation only: its weights need no gradients.

    Args:
        potential: a potential or its file.
        device: of PyTorch; None is where the potential is.
    """
    if isinstance(potential, str | Path):
        copy = load_potential(potential)
    else:
        copy = deepcopy(potential)
    return copy.to(device).requires_grad_(False).eval()


def list_of(structures: list[Atoms], potential: Potential, skin: float) -> VerletList:
    """The neighbour list that a potential needs for these structures.

    Args:
        structures: that are evaluated together.
        potential: its cutoff, elements, dtype and device are used.
        skin: Angstrom, see `VerletList`.
    """
    s = potential.settings
    return VerletList(
        structures,
        s.elements,
        s.cutoff,
        skin=skin,
        dtype=potential.dtype,
        device=potential.references.device,
    )
