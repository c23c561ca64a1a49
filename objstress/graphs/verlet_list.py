"""Neighbour lists with a skin: rebuilt only when an atom may have come within the cutoff unseen."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from ase import Atoms
from torch import Tensor
from torch_geometric.data import Batch, Data

from objstress.errors import InputError
from objstress.graphs.atoms import CLOSEST, atom_graph, total_charge


class VerletList:
    r"""Graphs of structures in motion, from lists of all pairs closer than cutoff + skin.

    A structure goes from positions r, cell h (rows) to r', h'. With F the stretch h -> h' and
    u = r' - r F what the atoms moved besides, a pair beyond the list has

    .. math:: |d'| = |d F + u_j - u_i| \ge s_\mathrm{min}(F) (r_c + \mathrm{skin}) - 2 \max |u|

    and the list holds while that is not below the cutoff; for a fixed cell: while no atom moved
    further than skin / 2. Of the list, a graph gets the pairs closer than the cutoff, sorted by
    receiver, sender and shift: it depends on positions and cells alone, not on when the list was
    made, so that runs with and without skin, interrupted or not, are the same to the last bit.

    Args:
        structures: the initial ones; elements, masses, charges and periodic axes stay.
        elements, cutoff, dtype: see `atom_graph`.
        skin: Angstrom.
        device: of the graphs.

    Attributes:
        builds: number of lists made, counting each structure.

    Raises:
        InputError: see `atom_graph`; a negative skin.
    """

    def __init__(
        self,
        structures: Sequence[Atoms],
        elements: Sequence[int],
        cutoff: float,
        *,
        skin: float = 0.5,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        if not (np.isfinite(skin) and skin >= 0):
            raise InputError(f"skin = {skin}: give Angstrom, zero or more")
        self.elements, self.cutoff, self.skin = tuple(elements), float(cutoff), float(skin)
        self.dtype, self.device = dtype, torch.device(device)
        self._structures = [atoms.copy() for atoms in structures]
        for atoms, original in zip(self._structures, structures, strict=True):
            atoms.info = {k: v for k, v in original.info.items() if k == "charge"}
            atoms.set_constraint()
        sizes = torch.tensor([len(atoms) for atoms in structures])
        self._first = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self._batch = torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(self.device)
        self._periodic = torch.tensor(np.array([atoms.pbc for atoms in structures]))
        self.builds = 0
        pos = torch.tensor(np.concatenate([atoms.positions for atoms in structures]))
        cell = torch.tensor(np.array([atoms.cell.array for atoms in structures]))
        self._pos, self._cell = pos.to(self.device), self._masked(cell)
        made = [self._build(k, self._pos, self._cell) for k in range(len(structures))]
        graphs, self._lists = [graph for graph, _ in made], [pairs for _, pairs in made]
        self._template = Batch.from_data_list(graphs).to(self.device)
        self._template.charge = self._template.charge.to(dtype)
        self._template.masses = self._template.masses.to(dtype)
        self._join()

    def _masked(self, cell: Tensor) -> Tensor:
        return cell.to(self.device) * self._periodic[..., None].to(self.device)

    def __call__(self, pos: Tensor, cell: Tensor | None = None) -> Batch:
        """The graphs at these places, one structure after the other.

        Args:
            pos: (n of all structures, 3) Angstrom, float64.
            cell: (structures, 3, 3) Angstrom, float64; those of the beginning if None.

        Raises:
            InputError: positions or cells that are not finite, atoms on top of each other, a
                cell without volume.
        """
        pos = pos.detach().to(self.device)
        cell = self._cell if cell is None else self._masked(cell)
        self._refresh(pos, cell)
        sender, receiver = self._edges
        length = self._vectors(pos, cell).norm(dim=1)
        if len(length) and not float(length.min()) >= CLOSEST:
            k = int(length.argmin())
            which = int(self._batch[receiver[k]])
            i, j = int(receiver[k] - self._first[which]), int(sender[k] - self._first[which])
            raise InputError(
                f"{self._name(which)}atoms {i} and {j} are {float(length[k]):.3f} Angstrom apart: "
                "they lie on top of each other"
            )
        near = length < self.cutoff
        graph = copy(self._template)
        graph.pos = pos.to(self.dtype)
        graph.cell = cell.to(self.dtype)
        graph.volume = torch.where(
            self._periodic.all(1).to(self.device), torch.linalg.det(cell).abs(), 0.0
        ).to(self.dtype)
        graph.edge_index = self._edges[:, near]
        graph.shift = self._shift[near].to(self.dtype)
        return graph

    def _vectors(self, pos: Tensor, cell: Tensor) -> Tensor:
        sender, receiver = self._edges
        vectors = pos[sender] - pos[receiver]
        if self._periodic.any():
            vectors = vectors + torch.einsum("ei,eij->ej", self._shift, cell[self._batch[receiver]])
        return vectors

    def _refresh(self, pos: Tensor, cell: Tensor) -> None:
        """Rebuild the lists that may lack a pair."""
        stretch = torch.eye(3, dtype=pos.dtype, device=pos.device).expand(len(cell), 3, 3)
        least = pos.new_ones(len(cell))
        if not torch.equal(cell, self._cell):
            # Rows of zeros, axes that are not periodic, stay as they are.
            stretch = stretch + torch.linalg.pinv(self._cell) @ (cell - self._cell)
            if not torch.isfinite(stretch).all():
                raise InputError("the cell is not finite (NaN or infinity)")
            least = torch.linalg.svdvals(stretch)[:, -1]
        moved = pos - torch.einsum("ni,nij->nj", self._pos, stretch[self._batch])
        furthest = pos.new_zeros(len(cell)).scatter_reduce(
            0, self._batch, moved.norm(dim=1), "amax"
        )
        holds = least * (self.cutoff + self.skin) - 2 * furthest >= self.cutoff
        stale = torch.nonzero(~holds).flatten().tolist()  # also where a position is NaN
        if not stale:
            return
        # All are made before any is kept: where one fails, the old ones and their places stay.
        made = [self._build(k, pos, cell)[1] for k in stale]
        if len(stale) == len(cell):
            self._pos, self._cell = pos.clone(), cell.clone()
        else:
            old = torch.ones(len(cell), dtype=torch.bool, device=pos.device)
            old[stale] = False
            self._pos = torch.where(old[self._batch, None], self._pos, pos)
            self._cell = torch.where(old[:, None, None], self._cell, cell)
        for k, pairs in zip(stale, made, strict=True):
            self._lists[k] = pairs
        self._join()

    def _name(self, k: int) -> str:
        return f"structure {k}: " if len(self._structures) > 1 else ""

    def _build(self, k: int, pos: Tensor, cell: Tensor) -> tuple[Data, tuple[Tensor, Tensor]]:
        """The graph of structure k, and its pairs (edges, shifts) for the list."""
        atoms, periodic = self._structures[k], self._periodic[k].numpy()
        atoms.positions = pos[self._first[k] : self._first[k + 1]].cpu().numpy()
        atoms.cell[periodic] = cell[k].cpu().numpy()[periodic]
        try:
            graph = atom_graph(atoms, self.elements, self.cutoff, torch.float64, self.skin)
        except InputError as error:
            raise InputError(f"{self._name(k)}{error}") from None
        (j, i), shift = graph.edge_index.numpy(), graph.shift.numpy()
        order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], j, i))
        edges = graph.edge_index[:, order] + self._first[k]
        self.builds += 1
        return graph, (edges.to(self.device), graph.shift[order].to(self.device))

    def _join(self) -> None:
        self._edges = torch.cat([edges for edges, _ in self._lists], dim=1)
        self._shift = torch.cat([shift for _, shift in self._lists])


def lasting(atoms: Atoms) -> tuple[bytes, bytes, bytes, float]:
    """What stays while atoms move: elements, periodic axes, masses, total charge."""
    return (
        atoms.numbers.tobytes(),
        atoms.pbc.tobytes(),
        atoms.get_masses().tobytes(),
        total_charge(atoms),
    )
