"""Labels read from extxyz or CSV files, and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.units import GPa
from pymatgen.core import Structure

from objstress.errors import InputError
from objstress.graphs.lone_nodes import host_of
from objstress.labels.deformation import find_deformation, nearest_distance
from objstress.labels.strain_labels import Labels
from objstress.symmetry.crystal import SYMPREC
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_primitive_cell


def read_labels(
    path: str | Path,
    structure: Structure | str | Path | None = None,
    group: PointGroup | None = None,
    symprec: float = SYMPREC,
    parameters: Sequence[str] = (),
) -> Labels:
    """Labels from an extxyz file, written by objstress or by others, or from a CSV file.

    The `deformation_gradient` that a frame carries is used once it is checked against the cell
    and `reference_cell`; for other frames F is found from the cell, see `find_deformation`.

    Args:
        path: extxyz with energy (eV, optional) and stress (eV/Angstrom^3, ASE's sign and order), or
            a `.csv` of strains and stresses, see `read_pairs`.
        structure: the reference crystal, any cell of it.
        group: instead of a structure, the point group of a material whose atoms are not listed
            (or are to be hidden), in the axes of the file; frames must carry F then.
        symprec: distance in Angstrom under which sites of the structure are equivalent.
        parameters: names of the columns of a CSV file, or of the keys of an extxyz file's frames,
            that tell the materials of a family apart; needs `group`.

    Raises:
        InputError: unreadable or empty file, missing or non-finite stress, another composition,
            cells that do not match, det F <= 0, relaxed and clamped ions in one file.
    """
    path = Path(path)
    if (structure is None) == (group is None):
        raise InputError("give either the crystal's structure or the material's point group")
    if path.suffix.lower() == ".csv":
        if group is None:
            raise InputError(f"{path}: a CSV file lists no atoms; give the point group instead")
        from objstress.labels.csv_pairs import read_pairs

        return read_pairs(path, group, parameters)
    frames = _read_frames(path)
    if group is not None:
        reference = host_of(group)
    elif structure is not None:
        reference = read_primitive_cell(structure, symprec)
    try:
        labels = labels_of(frames, reference, lone=group is not None, name=path.name)
        return replace(labels, parameters=_parameters(frames, parameters)) if parameters else labels
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def labels_of(
    frames: list[Atoms], reference: Structure, *, lone: bool = False, name: str = "frames"
) -> Labels:
    """Labels from ASE frames, checked as `read_labels` does.

    Args:
        frames: with stress, and energy if known.
        reference: the primitive reference crystal, or with `lone` a lone node.
        lone: the reference is a lone node that stands for a material without listed atoms.
        name: of the source, for frames that do not name their calculator.

    Raises:
        InputError: see `read_labels`.
    """
    _check_stress(frames)
    f, scatter = [], []
    bases: dict[tuple, np.ndarray] = {}
    for k, atoms in enumerate(frames):
        try:
            if "deformation_gradient" in atoms.info:
                gradient = _carried_deformation(atoms)
                f.append(gradient if lone else _rebased(atoms, gradient, reference, bases))
            elif lone:
                raise InputError("without a structure every frame needs its deformation_gradient")
            else:
                gradient, off = find_deformation(atoms, reference)
                f.append(gradient)
                scatter.append(off)
        except InputError as error:
            raise InputError(f"frame {k}: {error}") from None
    deformation = np.array(f)
    kinds = {str(a.info.get("ions", "unstated")) for a in frames}
    if len(kinds) > 1:
        raise InputError(
            f"labels with {' and '.join(sorted(kinds))} ions in one file; they differ by "
            "half of C44 in silicon: fit them separately"
        )
    kinds.discard("unstated")
    notes = []
    if scatter:
        sizes = sorted({len(a) for a in frames})
        notes.append(
            f"deformation gradients of {len(scatter)} frames found from their cells "
            f"({sizes[0]} to {sizes[-1]} atoms); atoms leave the homogeneous deformation by up to "
            f"{max(scatter):.3f} Angstrom"
        )
        if not kinds:
            kinds = {"clamped" if max(scatter) < 1e-3 and len(reference) > 1 else "unknown"}
            notes.append(f"ions: {next(iter(kinds))} (judged from the positions)")
    return Labels(
        structure=reference,
        F=deformation,
        cauchy=np.array([a.get_stress(voigt=False) for a in frames]) / GPa,
        energy=np.array([_energy_per_cell(a, reference, lone) for a in frames]),
        ions=next(iter(kinds), "unknown"),
        source=str(frames[0].info.get("calculator", name)),
        notes=tuple(notes),
        moves=None if lone else _moves(frames, deformation, reference),
        lone=lone,
    )


def _parameters(frames: list[Atoms], names: Sequence[str]) -> np.ndarray:
    values = np.full((len(frames), len(names)), np.nan)
    for k, atoms in enumerate(frames):
        for i, name in enumerate(names):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                values[k, i] = float(atoms.info[name])
            if not np.isfinite(values[k, i]):
                raise InputError(f"frame {k} has no finite number {name!r}, which is a parameter")
    return values


def _energy_per_cell(atoms: Atoms, reference: Structure, lone: bool) -> float:
    if "energy" not in atoms.calc.results:
        return np.nan
    energy = atoms.get_potential_energy()
    if lone:  # per volume of the node's cell, undeformed
        f = np.reshape(atoms.info["deformation_gradient"], (3, 3))
        return energy * reference.volume * np.linalg.det(f) / atoms.get_volume()
    return energy * len(reference) / len(atoms)


def _moves(frames: list[Atoms], f: np.ndarray, reference: Structure) -> np.ndarray | None:
    # Only where each frame lists the reference's own atoms in its order.
    numbers = [s.specie.Z for s in reference]
    if any(a.numbers.tolist() != numbers for a in frames):
        return None
    lattice = reference.lattice.matrix
    frac = np.array([a.positions for a in frames]) @ np.linalg.inv(f).transpose(0, 2, 1)
    delta = frac @ np.linalg.inv(lattice) - reference.frac_coords
    delta -= delta[:, :1]
    delta -= np.round(delta)
    moves = delta @ lattice
    moves -= moves.mean(axis=1, keepdims=True)
    return (
        moves if np.linalg.norm(moves, axis=2).max() < 0.5 * nearest_distance(reference) else None
    )


def _read_frames(path: Path) -> list[Atoms]:
    if not path.is_file():
        raise InputError(f"{path}: no such label file")
    try:
        frames = list(iread(path, index=":", format="extxyz"))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable extxyz file ({reason})") from None
    if not frames:
        raise InputError(f"{path}: holds no frames")
    return frames


def _check_stress(frames: list[Atoms]) -> None:
    without = [k for k, a in enumerate(frames) if a.calc is None or "stress" not in a.calc.results]
    if without:
        raise InputError(
            f"{len(without)} of {len(frames)} labels carry no stress (first: frame "
            f"{without[0]}); the key is `stress`, eV/Angstrom^3"
        )
    broken = [
        k
        for k, a in enumerate(frames)
        if not np.isfinite(a.calc.results["stress"]).all()
        or not np.isfinite(a.calc.results.get("energy", 0.0))
        or not np.isfinite(a.cell.array).all()
        or not np.isfinite(a.positions).all()
    ]
    flat = [k for k, a in enumerate(frames) if a.cell.rank < 3]
    if flat:
        raise InputError(f"frame {flat[0]} has no periodic cell ({len(flat)} in all)")
    if broken:
        raise InputError(
            f"{len(broken)} labels are not finite (first: frame {broken[0]}); remove them"
        )


def _carried_deformation(atoms: Atoms) -> np.ndarray:
    try:
        f = np.asarray(atoms.info["deformation_gradient"], dtype=float).reshape(3, 3)
    except ValueError:
        raise InputError("its deformation_gradient is not a 3 x 3 matrix") from None
    if not np.isfinite(f).all():
        raise InputError("its deformation gradient is not finite")
    if np.linalg.det(f) <= 0:
        raise InputError(f"its deformation gradient has det F = {np.linalg.det(f):.3g}, not > 0")
    cell = np.asarray(atoms.info.get("reference_cell", np.nan), dtype=float)
    if cell.shape == (3, 3) and np.abs(cell @ f.T - atoms.cell.array).max() > 1e-4:
        raise InputError("its cell is not reference_cell deformed by its deformation_gradient")
    return f


def _rebased(
    atoms: Atoms, f: np.ndarray, reference: Structure, bases: dict[tuple, np.ndarray]
) -> np.ndarray:
    undeformed = Atoms(atoms.numbers, cell=atoms.cell.array @ np.linalg.inv(f).T, pbc=True)
    undeformed.set_scaled_positions(atoms.get_scaled_positions())
    # The reference that the labels were made from may be the same crystal at another size (its
    # axes must be the structure's): F is then multiplied by that first stretch, found once for
    # all frames of one reference.
    key = (tuple(atoms.numbers), tuple(np.round(undeformed.cell.array, 5).ravel() + 0.0))
    if key not in bases:
        bases[key], _ = find_deformation(undeformed, reference, scatter=0.45)
    base = bases[key]
    if np.abs(base - np.eye(3)).max() < 1e-4:
        return f
    spin = np.abs(base - base.T).max()
    if spin > 1e-4:
        raise InputError(
            "its reference cell is rotated against the structure; give the structure that "
            "the labels were made from"
        )
    return f @ base
