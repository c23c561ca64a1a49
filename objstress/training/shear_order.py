"""Whether the shear stresses of strained crystals stand in ASE's order: xx yy zz yz xz xy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from ase import Atoms
from ase.units import GPa

from objstress.elasticity.strain import strain_size
from objstress.errors import InputError
from objstress.labels.deformation import unrotated_deformation
from objstress.models.polynomial import InvariantPolynomial
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.reading import read_structure
from objstress.symmetry.voigt import from_mandel, to_mandel

NAMES = ("yz", "xz", "xy")
ORDERS = tuple(permutations(range(3)))
"""Which of the file's shear components is yz, xz and xy; the first is ASE's."""
DEGREE = 3
SYMPREC = 0.1
"""Angstrom: the frame of least energy may be a little strained."""
STRAIN, SCATTER = 0.1, 0.02
"""Largest |E|, and part of the nearest distance that atoms leave the homogeneous deformation by,
of frames that are compared: strained crystals, not snapshots of dynamics."""
LEAST, BETTER = 0.9, 0.5
"""Error, relative to that of the file's order, from which another order is tried, and believed in
the end."""
CLEAR = 5.0
"""Error in the file's order, relative to the labels' typical one, below which nothing is said."""
ROUNDS = 10


def shear_orders(F: np.ndarray, cauchy: np.ndarray, group: PointGroup) -> np.ndarray:
    r"""The order in which each label's shear stresses agree with the other labels.

    .. math:: |S_n - \partial W_{(n)} / \partial E|

    decides for each label n: W_(n) is a polynomial of third degree fitted to the other labels, in
    the orders found so far; rounds follow until none changes.

    Args:
        F: deformation gradients of one crystal, (n, 3, 3).
        cauchy: Cauchy stress in any unit, (n, 3, 3).
        group: the crystal's point group.

    Returns:
        For each label its place in `ORDERS`, (n,); 0 where nothing speaks for another.
    """
    n = len(F)
    strain = 0.5 * (F.transpose(0, 2, 1) @ F - np.eye(3))
    design = InvariantPolynomial(group, DEGREE, lowest=1).design(torch.tensor(to_mandel(strain)))
    inverse, j = np.linalg.inv(F), np.linalg.det(F)[:, None, None]
    candidates = []
    for place in range(len(ORDERS)):
        second = j * inverse @ reordered(cauchy, place) @ inverse.transpose(0, 2, 1)
        candidates.append(to_mandel(second))
    stress = np.array(candidates)
    size = np.linalg.norm(stress[0], axis=1)
    if not np.median(size) > 0:
        return np.zeros(n, dtype=int)
    weight = 1 / np.maximum(size, 0.1 * np.median(size))
    rows = weight[:, None, None] * design
    inverse = np.linalg.pinv(np.einsum("nai,naj->ij", rows, rows), rcond=1e-12, hermitian=True)
    hat = np.eye(6) - rows @ inverse @ rows.transpose(0, 2, 1)
    orders = np.zeros(n, dtype=int)
    for _ in range(ROUNDS):
        right = weight[:, None] * stress[orders, np.arange(n)]
        c = inverse @ np.einsum("nai,na->i", rows, right)
        # What the others say of a label: its own part taken out of the fit again.
        without = (np.linalg.pinv(hat) @ (right - rows @ c)[:, :, None])[:, :, 0]
        others = c - np.einsum("ij,naj,na->ni", inverse, rows, without)
        told = np.einsum("nai,ni->na", design, others)
        errors = np.linalg.norm(stress - told, axis=2).T
        # On the way any gain counts: while many labels are wrong, none is explained well.
        found = np.where(errors.min(axis=1) < LEAST * errors[:, 0], errors.argmin(axis=1), 0)
        if (found == orders).all():
            break
        orders = found
    # No more than the labels' own scatter says nothing.
    clear = errors[:, 0] > CLEAR * np.median(errors.min(axis=1))
    better = (errors < BETTER * errors[:, :1]) & clear[:, None]
    # A label with one shear alone agrees in two orders: the one that most labels agree in is meant.
    common = int(better.sum(axis=0).argmax())
    return np.where(better[:, common], common, np.where(better.any(axis=1), orders, 0))


def contradictions(frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Strained crystals among frames, and the order in which each one's shear stresses agree.

    Args:
        frames: with stress, of any kind; those are looked at that are homogeneously strained cells
            of the frame of least energy, not rotated against it.

    Returns:
        Their numbers (n,), and their places in `ORDERS` (n,); empty where nothing can be said.
    """
    nothing = np.zeros(0, dtype=int)
    energies = [a.get_potential_energy() / len(a) if a.pbc.all() else np.inf for a in frames]
    if not np.isfinite(energies).any():
        return nothing, nothing
    rest = frames[int(np.argmin(energies))].copy()
    try:
        reference = primitive_cell(read_structure(rest), SYMPREC)
    except InputError:
        return nothing, nothing
    group = PointGroup.of_primitive_cell(reference)
    index, gradients = [], []
    for k, atoms in enumerate(frames):
        known = unrotated_deformation(atoms, reference, SCATTER)
        if known is not None and strain_size(known[0]) < STRAIN:
            index.append(k)
            gradients.append(known[0])
    unknowns = len(InvariantPolynomial(group, DEGREE, lowest=1).degrees)
    if 6 * len(index) < 4 * unknowns or len(index) < 8:
        return nothing, nothing
    cauchy = np.array([frames[k].get_stress(voigt=False) for k in index]) / GPa
    return np.array(index), shear_orders(np.array(gradients), cauchy, group)


def reordered(cauchy: np.ndarray, place: int) -> np.ndarray:
    """Stresses whose shear components were read in another order than the file's.

    Args:
        cauchy: as read in ASE's order, (n, 3, 3), any unit.
        place: in `ORDERS`.

    Returns:
        (n, 3, 3).
    """
    vector = to_mandel(cauchy)
    vector[:, 3:] = vector[:, [3 + k for k in ORDERS[place]]]
    return from_mandel(vector)


def order_in_file(place: int) -> str:
    """The order in which a file has the shear components, such as "xz yz xy".

    Args:
        place: in `ORDERS`.
    """
    return " ".join(NAMES[k] for k in np.argsort(ORDERS[place]))
