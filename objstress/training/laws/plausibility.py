"""Whether the energies of labels are the work of their stresses: units, and the stress's sign."""

from __future__ import annotations

import numpy as np
import torch
from ase.units import GPa

from objstress.errors import InputError
from objstress.labels.strain_labels import Labels
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import to_mandel
from objstress.training.laws.polynomial import StressEquations, stress_floor

SMALL = 0.05
"""|E| up to which labels are compared: a cubic energy is enough there."""
FEWEST = 10
"""Such labels with energies below which nothing is judged."""
ALLOWED = 1.3
"""Largest ratio of work and energy; stresses of a finite basis differ by a few per cent."""
FACTORS = {
    1 / GPa: "stresses in GPa instead of eV/Angstrom^3",
    10 / GPa: "stresses in kbar instead of eV/Angstrom^3",
    1e3 / GPa: "stresses in MPa instead of eV/Angstrom^3",
    -1.0: "stresses positive in compression",
    -10 / GPa: "stresses in kbar, positive in compression (VASP's)",
    -1 / GPa: "stresses in GPa, positive in compression",
}
"""{work over energy: the usual reason}."""
FACTORS_OF_PAIRS = {
    1e3: "stresses in MPa instead of GPa",
    1e-3: "energies in MPa (MJ/m^3) instead of GPa",
    1e2: "strains in per cent",
    -1.0: "stresses positive in compression",
}
"""The same for a CSV file; engineering shears in place of components leave no single factor."""


def check_work(labels: Labels, group: PointGroup) -> None:
    r"""Compare the energies of labels with the work of their stresses.

    .. math:: E_n - E_0 \approx a \, V W(E_n), \qquad S = \partial W / \partial E

    W is a polynomial of third degree fitted to the stresses alone; a must be about one.

    Args:
        labels: of one crystal; those without an energy, and those of large strain, are left out.
        group: its point group.

    Raises:
        InputError: energies and work belong together, but differ by a factor; the unit or sign
            that would explain it is named.
    """
    small = np.linalg.norm(labels.strain, axis=(1, 2)) <= SMALL
    labels = labels.subset(small & np.isfinite(labels.energy))
    if len(labels) < FEWEST or np.linalg.norm(labels.strain, axis=(1, 2)).max() < 1e-6:
        return
    polynomial = StressEquations(labels, group, stress_floor(labels, group), 1).solve(3, 1e-8)
    x = torch.tensor(to_mandel(labels.strain))
    work = polynomial(x, 0)[0].numpy() * labels.structure.volume * GPa
    energy = labels.energy - labels.energy.mean()
    work = work - work.mean()
    if not energy.any() or not work.any():
        return
    alike = (work @ energy) / np.sqrt((work @ work) * (energy @ energy))
    if abs(alike) < 0.9:
        return
    ratio = float((work @ work) / (work @ energy))
    if 1 / ALLOWED < ratio < ALLOWED:
        return
    factors = FACTORS_OF_PAIRS if labels.ions == "unlisted" else FACTORS
    reasons = {f: why for f, why in factors.items() if 1 / ALLOWED < ratio / f < ALLOWED}
    if abs(ratio) < 1 / ALLOWED or not reasons:
        atoms = len(labels.structure)
        reasons = (
            {1.0: "energies of an atom instead of the cell"}
            if atoms > 1 and 1 / ALLOWED < ratio / atoms < ALLOWED
            else {1.0: "another unit of one of them"}
        )
    way_out = (
        "Name the units in the header, as in 'S11 [MPa]' or 'W [MJ/m^3]'"
        if labels.ions == "unlisted"
        else "Give energies in eV and stresses as ASE does, in eV/Angstrom^3, positive in tension"
    )
    raise InputError(
        f"the work of the stresses is {ratio:.4g} times the labels' energies: "
        f"{' or '.join(reasons.values())}? {way_out}"
    )
