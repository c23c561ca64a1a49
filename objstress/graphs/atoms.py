"""Neighbour graphs of molecules, crystals and surfaces, as torch-geometric data."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from torch_geometric.data import Data
from vesin import NeighborList

from objstress.errors import InputError

CLOSEST = 0.2
"""Angstrom; atoms closer than this lie on top of each other by mistake."""


def atom_graph(
    atoms: Atoms,
    elements: Sequence[int],
    cutoff: float,
    dtype: torch.dtype = torch.float64,
    skin: float = 0.0,
) -> Data:
    """Graph of all ordered pairs (i <- j + shift) closer than a cutoff, sorted by the receiver i.

    Args:
        atoms: periodic along all, some or none of its axes; `info["charge"]` is the total charge
            in e (0 if missing).
        elements: atomic numbers that a model knows; `species` are places in this list.
        cutoff: Angstrom.
        dtype: of positions and cell.
        skin: Angstrom, added to the cutoff. Pairs beyond the cutoff add nothing to any output; a
            skin
            lets one list serve while no atom moves by more than half of it.

    Returns:
        Data with pos (n, 3) Angstrom; cell (1, 3, 3), rows are lattice vectors; species (n,);
        edge_index (2, e), row 0 the sender j, row 1 the receiver i (PyG's order); shift (e, 3) in
        lattice vectors, so that r_j + shift @ cell - r_i is the edge; charge (1,); masses (n,) u;
        periodic (1,), whether along any axis; volume (1,) Angstrom^3, 0 unless along all.

    Raises:
        InputError: no atoms, positions or a cell that are not finite, a periodic cell without
            volume, an element not in the list, atoms on top of each other, see `total_charge`.
    """
    if len(atoms) == 0:
        raise InputError("a structure without atoms")
    positions = np.asarray(atoms.positions, dtype=np.float64)
    if not (np.isfinite(positions).all() and np.isfinite(atoms.cell.array).all()):
        raise InputError("positions or cell are not finite (NaN or infinity)")
    known = {int(z): k for k, z in enumerate(elements)}
    strange = sorted({int(z) for z in atoms.numbers} - set(known))
    if strange:
        raise InputError(
            f"element {', '.join(chemical_symbols[z] for z in strange)} is unknown to the model, "
            f"which knows {', '.join(chemical_symbols[z] for z in known)}"
        )
    cell = _full_cell(atoms)
    i, j, shift = _pairs(positions, cell, atoms.pbc, cutoff + skin)
    return Data(
        pos=torch.tensor(positions, dtype=dtype),
        cell=torch.tensor(cell * atoms.pbc[:, None], dtype=dtype)[None],
        species=torch.tensor([known[int(z)] for z in atoms.numbers]),
        edge_index=torch.from_numpy(np.stack([j, i])),
        shift=torch.tensor(shift, dtype=dtype),
        charge=torch.tensor([total_charge(atoms)], dtype=dtype),
        masses=torch.tensor(atoms.get_masses(), dtype=dtype),
        periodic=torch.tensor([bool(atoms.pbc.any())]),
        volume=torch.tensor([atoms.cell.volume if atoms.pbc.all() else 0.0], dtype=dtype),
    )


def total_charge(atoms: Atoms) -> float:
    """Total charge of a structure, `info["charge"]` in e, 0 if missing.

    Args:
        atoms: any structure.

    Raises:
        InputError: it is not one finite number.
    """
    charge = atoms.info.get("charge", 0.0)
    if isinstance(charge, np.ndarray) and charge.ndim == 0:
        charge = charge.item()
    if not isinstance(charge, Real) or isinstance(charge, bool) or not math.isfinite(charge):
        shown = textwrap.shorten(repr(charge), 60, placeholder=" ...")
        raise InputError(
            f'info["charge"] = {shown}: give the total charge in e, one finite number, or leave it '
            "out"
        )
    return float(charge)


def _full_cell(atoms: Atoms) -> np.ndarray:
    """The cell with unit vectors for axes that are not periodic."""
    if not atoms.pbc.any():
        return np.eye(3)
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    cell = atoms.cell.complete().array
    if (lengths[atoms.pbc] == 0).any() or abs(np.linalg.det(cell)) < 1e-6:
        raise InputError("the periodic cell has no volume")
    return np.array(cell)


def _pairs(
    positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, j, shift, d = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=positions, box=cell, periodic=periodic.tolist(), quantities="ijSd"
    )
    if len(d) and d.min() < CLOSEST:
        k = int(d.argmin())
        raise InputError(
            f"atoms {i[k]} and {j[k]} are {d[k]:.3f} Angstrom apart: they lie on top of each other"
        )
    order = np.lexsort((j, i))
    return i[order].astype(np.int64), j[order].astype(np.int64), shift[order]
