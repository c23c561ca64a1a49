"""The minimum of a potential, by Newton steps that only lower the energy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from ase import Atoms

from objstress.errors import ConvergenceError, InputError
from objstress.graphs.atoms import atom_graph
from objstress.spectra.rigid import rigid_motions

LONGEST = 0.3
"""Angstrom that an atom moves at most in one step."""


def evaluate(atoms: Atoms, potential: Any, outputs: Collection[str]) -> dict[str, np.ndarray]:
    """Outputs of a potential for one structure, as float64 arrays.

    Args:
        atoms: one structure.
        potential: `objstress.models.potential.Potential`, or what can be called as one.
        outputs: names of outputs, see Returns.

    Returns:
        By name: energy (1,) eV, forces (n, 3) eV/Angstrom, hessian (3 n, 3 n) eV/Angstrom^2, and
        others as `Potential` gives them, the batch's axis first.

    Raises:
        InputError: atoms that the potential does not know or that lie on top of each other, an
            output that is not finite.
    """
    settings, weights = potential.settings, potential.references
    graph = atom_graph(atoms, settings.elements, settings.cutoff, dtype=weights.dtype)
    tensors = potential(graph.to(weights.device), outputs)
    arrays = {k: tensors[k].detach().to("cpu", torch.float64).numpy() for k in outputs}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"the potential's {name} is not finite for this structure")
    return arrays


def relaxed_atoms(
    atoms: Atoms,
    potential: Any,
    force_tolerance: float = 1e-4,
    max_steps: int = 200,
) -> Atoms:
    r"""Relax atoms by Newton steps until no force exceeds the tolerance; the cell stays.

    .. math:: \Delta = -\sum_k v_k \frac{v_k \cdot g}{|\lambda_k|}, \quad H v_k = \lambda_k v_k

    with the gradient g, without rigid motions, shortened to the trust radius. |lambda_k| directs
    steps away from saddles. A saddle itself, whose symmetry keeps g at 0 along the way down, is not
    left: a negative wavenumber then shows it.

    Args:
        atoms: one structure.
        potential: see `evaluate`.
        force_tolerance: eV/Angstrom. The last step converges quadratically: the final forces are
            far smaller.
        max_steps: number of steps after which it gives up.

    Returns:
        A copy of the atoms.

    Raises:
        InputError: a tolerance that is not positive; see `evaluate`.
        ConvergenceError: forces above the tolerance after `max_steps`, or no step that lowers the
            energy; a potential that draws atoms into each other.
    """
    if not force_tolerance > 0:
        raise InputError(f"force_tolerance = {force_tolerance}: give eV/Angstrom, positive")
    atoms, radius, largest = atoms.copy(), 0.1, np.inf
    for _ in range(max_steps):
        values = evaluate(atoms, potential, ("energy", "forces", "hessian"))
        energy = values["energy"].item()
        largest = float(np.linalg.norm(values["forces"], axis=1).max())
        step = _newton_step(values, rigid_motions(atoms, np.ones(len(atoms)), potential))
        length = np.linalg.norm(step, axis=1).max()
        if largest < force_tolerance and length < 1e-3:
            # One more full step converges quadratically.
            return _finished(atoms, potential, step, largest)
        before = atoms.positions.copy()
        while True:
            atoms.positions = before + step * min(1.0, radius / length)
            try:
                rise = evaluate(atoms, potential, ("energy",))["energy"].item() - energy
            except InputError as error:
                raise ConvergenceError(f"during relaxation {error}") from None
            # A rise within round-off is none.
            if rise <= 1e-12 * max(1.0, abs(energy)):
                radius = min(2 * radius, LONGEST)
                break
            radius = 0.25 * min(radius, length)
            if radius < 1e-6:
                if largest < force_tolerance:
                    atoms.positions = before
                    return atoms
                raise ConvergenceError(
                    f"no descent at a force of {largest:.2g} eV/Angstrom: the potential's energy "
                    "and forces disagree there, or its precision is too low"
                )
    raise ConvergenceError(
        f"forces of {largest:.2g} eV/Angstrom after {max_steps} steps: allow more, or start nearer"
    )


def _finished(atoms: Atoms, potential: Any, step: np.ndarray, largest: float) -> Atoms:
    refined = atoms.copy()
    refined.positions += step
    forces = evaluate(refined, potential, ("forces",))["forces"]
    return refined if np.linalg.norm(forces, axis=1).max() < largest else atoms


def _newton_step(values: dict[str, np.ndarray], rigid: np.ndarray) -> np.ndarray:
    space = np.linalg.svd(rigid)[2][len(rigid) :]
    if not len(space):
        return np.zeros_like(values["forces"])
    curvatures, shapes = np.linalg.eigh(space @ values["hessian"] @ space.T)
    along = shapes.T @ space @ values["forces"].ravel()
    step = (along / np.maximum(np.abs(curvatures), 1e-3)) @ shapes.T @ space
    return np.asarray(step.reshape(-1, 3))
