"""Reference energies of the elements: fitted, given, or those of isolated atoms in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from vesin import NeighborList

from objstress.errors import InputError
from objstress.graphs.atoms import total_charge
from objstress.training.potential.frames import TARGETS, Frame, read_frames


def composition(frames: Sequence[Frame], elements: Sequence[int]) -> np.ndarray:
    """Number of atoms of each element in each frame, (frames, elements)."""
    return np.array([[np.sum(f.atoms.numbers == z) for z in elements] for f in frames], float)


def without_isolated_atoms(
    frames: Sequence[Frame], cutoff: float
) -> tuple[list[Frame], dict[int, list[float]]]:
    """Frames without those of an isolated atom, and the energies of these.

    What a potential says of an atom without neighbours is its element's reference, whatever its
    weights: such a frame sets the reference, and in a fit of energies it could only shift all
    others. Of its other labels it keeps those that are none of its energy. An ion is left out as
    well, but is no reference.

    Args:
        frames: labelled structures.
        cutoff: Angstrom; an atom is isolated if it, and no image of it, has a neighbour within.

    Returns:
        The other frames, and {atomic number: eV}, the energies of the isolated neutral atoms of
        each element; an empty list of an element of ions alone.
    """
    rest: list[Frame] = []
    energies: dict[int, list[float]] = {}
    for frame in frames:
        if len(frame.atoms) != 1 or "energy" not in frame.labels or _has_images(frame, cutoff):
            rest.append(frame)
            continue
        known = energies.setdefault(int(frame.atoms.numbers[0]), [])
        if total_charge(frame.atoms) == 0:
            known.append(float(frame.labels["energy"]))
        kept = {t: v for t, v in frame.labels.items() if TARGETS[t].head != "energy"}
        if kept:
            rest.append(replace(frame, labels=kept))
    return rest, energies


def fitted_references(
    frames: Sequence[Frame],
    elements: Sequence[int],
    target: str = "energy",
    given: Mapping[int, float] | None = None,
) -> np.ndarray:
    r"""Reference values of the elements by least squares.

    .. math::
        \min_e \sum_k \Bigl(\frac{E_k - \sum_Z n_{kZ} e_Z}{n_k}\Bigr)^2

    Where compositions do not tell elements apart (one molecule only) it is the solution of least
    norm.

    Args:
        frames: labelled structures.
        elements: atomic numbers.
        target: "energy", or "polarizability", of which the mean trace/3 is taken.
        given: {atomic number: reference} of elements that are not fitted.

    Returns:
        e (elements,), in the target's unit.
    """
    given = given or {}
    references = np.array([given.get(z, 0.0) for z in elements])
    free = np.array([z not in given for z in elements])
    known = [f for f in frames if target in f.labels]
    if not known or not free.any():
        return references
    counts = composition(known, elements)
    size = counts.sum(axis=1)
    values = [f.labels[target] for f in known]
    flat = np.array([np.trace(v) / 3 if np.ndim(v) == 2 else float(v) for v in values])
    left = (flat - counts @ references) / size
    references[free] = np.linalg.lstsq(counts[:, free] / size[:, None], left, rcond=1e-10)[0]
    return references


def given_references(
    given: Mapping[str, float] | str | Path, elements: Sequence[int], key: str
) -> np.ndarray:
    """Reference energies from a mapping or a file of isolated atoms.

    Args:
        given: {symbol: eV}, or the file.
        elements: atomic numbers.
        key: of the energy in the file.

    Returns:
        e (elements,), eV.

    Raises:
        InputError: an element without a reference, or a frame that is not one atom.
    """
    if isinstance(given, Mapping):
        unknown = [s for s in given if s not in atomic_numbers]
        if unknown:
            raise InputError(f"references: {unknown[0]!r} is not a chemical element")
        energies = {atomic_numbers[s]: float(e) for s, e in given.items()}
        source = "references"
    else:
        source = str(given)
        energies = {}
        for frame in read_frames(given, {"energy": key}):
            if len(frame.atoms) != 1:
                raise InputError(
                    f"{frame.place}: has {len(frame.atoms)} atoms, not an isolated one"
                )
            if "energy" in frame.labels:
                energies[int(frame.atoms.numbers[0])] = float(frame.labels["energy"])
    lacking = [chemical_symbols[z] for z in elements if z not in energies]
    if lacking:
        raise InputError(f"{source}: no energy of an isolated {' nor '.join(lacking)}")
    return np.array([energies[z] for z in elements])


def _has_images(frame: Frame, cutoff: float) -> bool:
    if not frame.atoms.pbc.any():
        return False
    (i,) = NeighborList(cutoff=cutoff, full_list=False).compute(
        points=frame.atoms.positions,
        box=frame.atoms.cell.complete().array,
        periodic=frame.atoms.pbc.tolist(),
        quantities="i",
    )
    return len(i) > 0
