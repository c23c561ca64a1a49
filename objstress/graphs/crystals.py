"""Neighbour graphs of periodic structures, as torch-geometric data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch_geometric.data import Data
from vesin import NeighborList

from objstress.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


def crystal_graph(structure: Structure, cutoff: float) -> Data:
    """Graph of all ordered pairs (i <- j + shift) closer than a cutoff, an atom's images included.

    Right for cells of any size, also smaller than the cutoff. Batch with
    `torch_geometric.data.Batch.from_data_list`.

    Args:
        structure: a periodic structure.
        cutoff: Angstrom.

    Returns:
        Data with z (n,) atomic numbers; pos (n, 3) Angstrom; cell (1, 3, 3), rows are lattice
        vectors; edge_index (2, e), row 0 the sender j, row 1 the receiver i (PyG's order);
        edge_vec (e, 3) = r_j + shift - r_i, Angstrom; edge_shift (e, 3), in lattice vectors.

    Raises:
        InputError: a cutoff that is not positive, or a structure without neighbours in it.
    """
    if not cutoff > 0:
        raise InputError(f"cutoff = {cutoff}: give a positive length in Angstrom")
    cell = np.array(structure.lattice.matrix)
    pos = structure.cart_coords
    i, j, shift, vec = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=pos, box=cell, periodic=True, quantities="ijSD"
    )
    if len(i) == 0:
        raise InputError(f"no neighbours within {cutoff:g} Angstrom: give a larger cutoff")
    return Data(
        z=torch.tensor([s.specie.Z for s in structure]),
        pos=torch.from_numpy(pos.copy()),
        cell=torch.from_numpy(cell)[None],
        edge_index=torch.from_numpy(np.stack([j, i]).astype(np.int64)),
        edge_vec=torch.from_numpy(np.asarray(vec, dtype=np.float64)),
        edge_shift=torch.from_numpy(np.asarray(shift, dtype=np.int64)),
    )


def shell_cutoff(structure: Structure, neighbours: int = 12) -> float:
    """Cutoff that gives every atom a number of neighbours and lies between two shells.

    It lies in the first gap of 0.2 Angstrom (or a twelfth of the distance reached) beyond the
    atom worst off; a crystal of many distances has none near, and gets the widest gap within a
    quarter of that distance, so that rounding never puts a shell in or out.

    Args:
        structure: a periodic structure.
        neighbours: least number of neighbours of an atom.

    Returns:
        Angstrom.
    """
    radius = 3.0
    while True:
        centre, length = _neighbour_lengths(structure, radius)
        counts = np.bincount(centre, minlength=len(structure))
        if counts.min() >= neighbours:
            reach = max(np.sort(length[centre == a])[neighbours - 1] for a in range(len(structure)))
            break
        radius *= 1.25
    _, length = _neighbour_lengths(structure, 1.6 * reach)
    shells = np.sort(length[length > reach - 1e-6])
    gaps = np.diff(shells)
    near = shells[:-1] < 1.25 * reach
    wide = np.flatnonzero((gaps > min(0.2, reach / 12)) & near)
    k = wide[0] if len(wide) else int(np.argmax(np.where(near, gaps, 0.0)))
    return float(shells[k] + shells[k + 1]) / 2


def _neighbour_lengths(structure: Structure, cutoff: float):
    i, d = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=structure.cart_coords,
        box=np.array(structure.lattice.matrix),
        periodic=True,
        quantities="id",
    )
    return i, d
