"""Potentials as models of torch-sim, for its batched integrators and optimisers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from torch import Tensor

from objstress.calculators.potential import frozen, list_of
from objstress.errors import InputError
from objstress.graphs.verlet_list import VerletList
from objstress.models.potential import Potential


def torch_sim_model(
    potential: Potential | str | Path,
    *,
    skin: float = 0.5,
    device: torch.device | str | None = None,
) -> Any:
    """The potential as a `torch_sim.models.interface.ModelInterface`.

    Example::

        torch_sim.integrate(system=atoms, model=torch_sim_model("water.potential"), ...)

    Args:
        potential: a potential or its file.
        skin: Angstrom, see `VerletList`.
        device: where the potential runs; by default where it is.

    Returns:
        A model of energy (b,) eV, forces (n, 3) eV/Angstrom, stress (b, 3, 3) eV/Angstrom^3,
        positive in tension (zero for structures that are not periodic along all axes), and, where
        the potential has them, dipole (b, 3) e Angstrom and polarizability (b, 3, 3) Angstrom^3.
        All systems are neutral.

    Raises:
        InputError: torch-sim is not installed; see `load_potential`.
    """
    try:
        from torch_sim.models.interface import ModelInterface
    except ImportError as error:
        raise InputError(
            f"torch-sim cannot be imported ({error}): pip install torch-sim-atomistic"
        ) from None

    class PotentialModel(ModelInterface):
        def __init__(self) -> None:
            super().__init__()
            self.potential = frozen(potential, device)
            self._device, self._dtype = self.potential.references.device, self.potential.dtype
            self._compute_stress = self._compute_forces = True
            heads = self.potential.settings.heads
            self._names = [name for name in ("dipole", "polarizability") if name in heads]
            self._list: VerletList | None = None
            self._of: list[Tensor] = []

        def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
            cell = state.row_vector_cell.double()
            of = [state.atomic_numbers, state.system_idx, torch.as_tensor(state.pbc)]
            same = len(of) == len(self._of) and all(map(torch.equal, of, self._of))
            if self._list is None or not same:
                self._list = list_of(_structures(state, cell), self.potential, skin)
                self._of = [x.clone() for x in of]
            graphs = self._list(state.positions.double(), cell)
            periodic = bool((graphs.volume > 0).all())
            names = ["energy", "forces", *self._names] + (["stress"] if periodic else [])
            with torch.no_grad():
                outputs = self.potential(graphs, names)
            if not periodic:
                outputs["stress"] = torch.zeros_like(graphs.cell)
            return outputs

    return PotentialModel()


def _structures(state: Any, cell: Tensor) -> list[Atoms]:
    pbc = torch.as_tensor(state.pbc).expand(3).cpu().numpy()
    return [
        Atoms(
            state.atomic_numbers[state.system_idx == k].cpu().numpy(),
            state.positions[state.system_idx == k].double().cpu().numpy(),
            cell=cell[k].cpu().numpy(),
            pbc=pbc,
        )
        for k in range(len(cell))
    ]
