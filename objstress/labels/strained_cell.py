"""Labels of strained cells, one or several at a time: their ions relaxed or clamped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from pymatgen.core import Structure

from objstress.calculators.batches import at_once, together
from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError, reason
from objstress.labels.noise import calculator_noise
from objstress.labels.relaxation import limit
from objstress.labels.response import HarmonicResponse, harmonic_response
from objstress.symmetry.crystal import SYMPREC, moved_vectors, site_operations
from objstress.symmetry.voigt import mandel_rotations

FORCE_TOLERANCE = 1e-4
"""eV/Angstrom: relaxed ions have no larger force component (calculators without own relaxation)."""
SOFTEST = 0.1
"""eV/Angstrom^2, of an ion, the least that a step of a relaxation counts on."""
STRAY = 0.1
"""Ions further than this part of the nearest-neighbour distance from the homogeneous deformation
are relaxed at F = I again, to see whether the crystal is still the same."""
RETURN = 0.02
"""Angstrom: ions of the same crystal come back to their sites within this."""


class Transformed(RuntimeError):
    """The relaxed cell is another phase: unloaded, it does not return to the crystal."""


def internal_move(atoms: Atoms, f: np.ndarray, cell: Atoms) -> np.ndarray:
    """F^-1 x - X of each ion (Angstrom, reference frame), relative to their mean, (atoms, 3)."""
    move = atoms.positions @ np.linalg.inv(f).T - cell.positions
    return move - move.mean(axis=0)


@dataclass(frozen=True)
class Harmonic:
    """What shortens the relaxations of a crystal's strained cells.

    Attributes:
        linear: u = Lambda : E to first order, (atoms, 3, 6) by Mandel strain, Angstrom.
        force_constants: K (3 atoms, 3 atoms), eV/Angstrom^2, positive definite.
        rotations, permutations: the space group, see `site_operations`.
    """

    linear: np.ndarray
    force_constants: np.ndarray
    rotations: np.ndarray
    permutations: np.ndarray

    @classmethod
    def of(cls, structure: Structure, response: HarmonicResponse) -> Harmonic:
        """Those of a crystal.

        Args:
            structure: the reference, exactly symmetric.
            response: its second derivatives.
        """
        values, vectors = np.linalg.eigh(response.force_constants)
        stiff = np.abs(values) > SOFTEST  # common shifts are the softest
        inverse = (vectors[:, stiff] / values[stiff]) @ vectors[:, stiff].T
        linear = -(inverse @ response.internal_strain).reshape(len(structure), 3, 6)
        constants = (vectors * np.abs(values).clip(min=SOFTEST)) @ vectors.T
        return cls(linear, constants, *site_operations(structure))

    def moves(self, x: np.ndarray) -> np.ndarray:
        """u (n, atoms, 3) to first order, Angstrom, at Mandel strains x (n, 6)."""
        return np.einsum("kia,na->nki", self.linear, x)

    def curvature(self, known: np.ndarray, moves: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The part of u of second order, from labels and their images under the group.

        Args:
            known: Mandel strains of the labels, (m, 6).
            moves: their u, (m, atoms, 3), Angstrom.
            x: Mandel strains at which it is wanted, (n, 6).

        Returns:
            (n, atoms, 3), Angstrom.
        """
        left = moves - self.moves(known)
        features, targets = [], []
        mandel = mandel_rotations(self.rotations)
        for m, g, p in zip(mandel, self.rotations, self.permutations, strict=True):
            features.append(_squares(known @ m.T))
            targets.append(moved_vectors(left, g, p).reshape(len(known), -1))
        fit, *_ = np.linalg.lstsq(np.concatenate(features), np.concatenate(targets), rcond=1e-2)
        return (_squares(x) @ fit).reshape(len(x), *left.shape[1:])

    def kept(self, strain: np.ndarray) -> KeptOperations:
        """The operations that the strain leaves to the crystal.

        Args:
            strain: E (3, 3).
        """
        images = self.rotations @ strain @ self.rotations.transpose(0, 2, 1)
        left = np.abs(images - strain).max(axis=(1, 2)) < 1e-9
        return KeptOperations(self.rotations[left], self.permutations[left])


def _squares(x: np.ndarray) -> np.ndarray:
    a, b = np.triu_indices(6)
    return x[:, a] * x[:, b]


class KeptOperations:
    """A constraint of ASE's atoms: forces and positions keep symmetry operations.

    Homogeneous strain takes no inversion centre from a crystal, and no other operation that
    commutes with it. Without the constraint a potential that does not know mirror images to be
    alike lets ions slip along modes that no strain excites.
    """

    def __init__(self, rotations: np.ndarray, permutations: np.ndarray):
        self.rotations, self.permutations = rotations, permutations

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """The part of vectors (atoms, 3) that the operations leave as it is."""
        operations = zip(self.rotations, self.permutations, strict=True)
        return np.mean([moved_vectors(vectors, g, p) for g, p in operations], axis=0)

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        forces[:] = self.project(forces)

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        new[:] = atoms.positions + self.project(new - atoms.positions)


def labelled_cell(
    cell: Atoms,
    strain: np.ndarray,
    calc,
    ions: str,
    fmax: float,
    start: np.ndarray,
    harmonic: Harmonic | None = None,
) -> Atoms:
    """The cell strained, its ions relaxed or clamped, with energy, stress and metadata.

    Args:
        cell: the reference.
        strain: E (3, 3).
        calc: an ASE calculator.
        ions: "relaxed" or "clamped".
        fmax: eV/Angstrom, of relaxed ions.
        start: internal displacements that relaxation starts from, (atoms, 3), Angstrom.
        harmonic: of the reference, which makes relaxations short and keeps them symmetric.

    Raises:
        InputError: the calculator lacks forces or stress.
        Transformed: the cell became another phase.
        RuntimeError: no relaxation, or results that are not finite.
    """
    f = right_stretch(strain)
    atoms = cell.copy()
    if ions == "relaxed":
        atoms.positions = atoms.positions + start
    # Cells are rows: a_i -> F a_i is L F^T.
    atoms.set_cell(cell.cell.array @ f.T)
    atoms.positions = atoms.positions @ f.T
    constants = None
    if harmonic is not None:
        atoms.set_constraint(harmonic.kept(strain))
        # K by u, of x = F (X + u), as one by x.
        n, inverse = len(cell), np.linalg.inv(f)
        blocks = harmonic.force_constants.reshape(n, 3, n, 3)
        constants = np.einsum("ai,kalb,bj->kilj", inverse, blocks, inverse).reshape(3 * n, 3 * n)
    where = f"|E| = {np.linalg.norm(strain):.3f}"
    relaxed, results = _settle(atoms, calc, ions, fmax, where, constants)
    if ions == "relaxed" and len(cell) > 1:
        _check_phase(relaxed, f, cell, calc, fmax, atoms.constraints)
    if ions == "relaxed":
        # Forces of almost zero for each atom would double the file; the largest is enough.
        relaxed.info["largest_force"] = float(np.abs(results.pop("forces")).max())
    relaxed.calc = SinglePointCalculator(relaxed, **results)
    relaxed.info["deformation_gradient"] = f
    return relaxed


def _settle(
    atoms: Atoms, calc, ions: str, fmax: float, where: str, constants: np.ndarray | None = None
) -> tuple[Atoms, dict]:
    atoms.calc = calc
    if ions == "relaxed" and not getattr(calc, "relaxes_ions", False) and len(atoms) > 1:
        steps = BFGS(atoms, logfile=None)
        if constants is not None:
            steps.H0 = constants
        if not steps.run(fmax=fmax, steps=500):
            raise RuntimeError(f"the ions did not relax in 500 steps at {where}")
    results: dict[str, Any] = {"energy": float(atoms.get_potential_energy())}
    for key, get in (("forces", atoms.get_forces), ("stress", atoms.get_stress)):
        try:
            results[key] = np.array(get())
        except NotImplementedError:
            raise InputError(
                f"the calculator {type(calc).__name__} gives no {key}; labels need energy, forces "
                "and stress"
            ) from None
    for key, value in results.items():
        if not np.isfinite(value).all():
            raise RuntimeError(f"the calculator returned a {key} that is not finite")
    relaxed = Atoms(
        atoms.numbers,
        positions=calc.results.get("positions", atoms.positions),
        cell=atoms.cell,
        pbc=True,
    )
    return relaxed, results


def _check_phase(
    relaxed: Atoms, f: np.ndarray, cell: Atoms, calc, fmax: float, constraints: list
) -> None:
    # The same phase returns to its sites when the strain is taken off. Only cells whose ions have
    # moved far are checked.
    distances = cell.get_all_distances(mic=True)
    nearest = distances[distances > 1e-3].min(initial=np.min(cell.cell.lengths()))
    if np.linalg.norm(internal_move(relaxed, f, cell), axis=1).max() < STRAY * nearest:
        return
    back = relaxed.copy()
    back.set_cell(cell.cell, scale_atoms=True)
    back.set_constraint(constraints)
    unloaded, _ = _settle(back, calc, "relaxed", fmax, "F = I after unloading")
    left = np.linalg.norm(internal_move(unloaded, np.eye(3), cell), axis=1).max()
    if left > RETURN:
        before, after = (
            spglib.get_spacegroup((a.cell.array, a.get_scaled_positions(), a.numbers), SYMPREC)
            for a in (cell, unloaded)
        )
        raise Transformed(
            f"the crystal transforms: unloaded, its ions stay {left:.2f} Angstrom off their sites "
            f"(space group {after}, was {before})"
        )


class LabelTask:
    """Labels strains of one crystal; each process and thread keeps its calculator between labels.

    Args:
        cell: the reference.
        make: makes a calculator.
        ions: "relaxed" or "clamped".
        fmax: eV/Angstrom, of relaxed ions.
        key: of this run, among others in the process.
    """

    _calculators: dict[tuple[str, int], Any] = {}

    def __init__(self, cell: Atoms, make: Callable[[], Any], ions: str, fmax: float, key: str):
        self.cell, self.make, self.ions, self.fmax, self.key = cell, make, ions, fmax, key
        self.harmonic: Harmonic | None = None

    def prepare(self, reference: Structure) -> None:
        """Measure what makes relaxations short, and the least forces they can reach.

        Args:
            reference: the reference, exactly symmetric.
        """
        calculator = self.calculator()
        noise = calculator_noise(self.cell, calculator)
        self.fmax = max(self.fmax, limit(noise).forces)
        self.harmonic = Harmonic.of(reference, harmonic_response(reference, calculator, noise))

    def calculator(self) -> Any:
        """The calculator of this thread."""
        # A worker may have several threads; a calculator serves one at a time.
        mine = (self.key, get_ident())
        if mine not in LabelTask._calculators:
            for old in [k for k in LabelTask._calculators if k[0] != self.key]:
                del LabelTask._calculators[old]
            LabelTask._calculators[mine] = self.make()
        return LabelTask._calculators[mine]

    def __call__(self, strain: np.ndarray, start: np.ndarray) -> Atoms | str:
        """The label of one strain, or what is wrong with it; see `labelled_cell`."""
        label = self._label(None, strain, start)
        if isinstance(label, str):
            # A calculator may be left in a bad state by a failure: the next label gets a new one.
            LabelTask._calculators.pop((self.key, get_ident()), None)
        return label

    @property
    def batching(self) -> bool:
        """Whether the calculator evaluates several of these cells in one pass."""
        return at_once(self.cell) > 1 and hasattr(self.calculator(), "evaluate")

    def batches(self, jobs: Iterable[tuple]) -> Iterator[tuple[int, Any]]:
        """Label many strains in this process, several at a time, where `batching` is true.

        Args:
            jobs: E (3, 3) and the start (atoms, 3), Angstrom, of each.

        Returns:
            (number of the job, label or what is wrong with it) as they end.
        """
        tasks = [partial(self._label, strain=strain, start=start) for strain, start in jobs]
        return together(self.calculator(), tasks, at_once(self.cell))

    def _label(self, calculator: Any, strain: np.ndarray, start: np.ndarray) -> Atoms | str:
        try:
            if calculator is None:
                calculator = self.calculator()
            return labelled_cell(
                self.cell, strain, calculator, self.ions, self.fmax, start, self.harmonic
            )
        except Exception as error:  # one failure must not end the run
            return str(error) if isinstance(error, Transformed) else reason(error)
