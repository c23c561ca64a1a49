"""A potential as an ASE calculator."""

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
"""What a calculator gives, by the head that it needs."""


class PotentialCalculator(Calculator):
    """What a potential says of a structure, in ASE's units, orders and signs, all in one pass.

    energy, free_energy (the same) eV; energies (n,) eV; forces (n, 3) eV/Angstrom; stress (6,)
    eV/Angstrom^3, xx yy zz yz xz xy, positive in tension, of structures periodic along all axes;
    dipole (3,) e Angstrom and charges (n,) e, not of charged periodic structures; polarizability
    (3, 3) Angstrom^3; pseudoscalar. Only what the potential has heads for. `atoms.info["charge"]`
    is the total charge in e.

        atoms.calc = PotentialCalculator("water.potential")
        atoms.get_dipole_moment()
        atoms.calc.get_property("polarizability", atoms)

    Args:
        potential: or its file. The calculator keeps a copy: later training does not change it.
        skin: Angstrom, see `VerletList`.
        device: None is where the potential is.

    Raises:
        InputError: see `load_potential`; of `calculate`, see `atom_graph`.
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
        """What changed, to the last bit; ASE's own comparison also costs more than a small step."""
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
            found = {k: v.cpu().double().numpy() for k, v in self.potential(graph, names).items()}
        for name, value in found.items():
            per_atom = name in ("energies", "forces", "charges")
            self.results[name] = value if per_atom else value[0]
        if "energy" in found:
            self.results["energy"] = self.results["free_energy"] = float(found["energy"][0])
        if "stress" in found:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found["stress"][0])
        if "pseudoscalar" in found:
            self.results["pseudoscalar"] = float(found["pseudoscalar"][0])

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
    """A copy to be evaluated alone, whose weights need no gradients."""
    if isinstance(potential, str | Path):
        copy = load_potential(potential)
    else:
        copy = deepcopy(potential)
    return copy.to(device).requires_grad_(False).eval()


def list_of(structures: list[Atoms], potential: Potential, skin: float) -> VerletList:
    """The neighbour list that a potential needs for these structures."""
    s = potential.settings
    return VerletList(
        structures,
        s.elements,
        s.cutoff,
        skin=skin,
        dtype=potential.dtype,
        device=potential.references.device,
    )
