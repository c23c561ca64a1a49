"""SevenNet in double precision: its wheel's weights, smooth to the last digits."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import sevenn._keys as keys
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.nn.node_embedding import OnehotEmbedding
from sevenn.train.dataload import unlabeled_atoms_to_graph
from torch_geometric.data import Batch

from objstress.calculators.named import check_known

VOIGT = [0, 1, 2, 4, 5, 3]
"""Of the network's xx yy zz xy yz zx."""


class SevenNet(SevenNetCalculator):
    """SevenNet as an ASE calculator of float64 numbers.

    In float32, as it comes, forces scatter by 1e-6 to 1e-4 eV/Angstrom, and a relaxation to less
    never ends; in float64 it takes a few steps, each about a third slower.

    Args:
        model: name of the weights, or their file.
        modal: the functional, of a model that has several.
        device: of PyTorch.

    Raises:
        ValueError: see `sevenn.calculator.SevenNetCalculator`.
    """

    def __init__(self, model: str, modal: str | None, device: str):
        super().__init__(model, device=device, modal=modal)
        self.name_of_model = model
        self.symbols = tuple(chemical_symbols[z] for z in sorted(self.type_map))
        self.model.double()
        self.model.set_is_batch_data(True)
        for module in self.model.modules():
            if isinstance(module, OnehotEmbedding):  # which makes float32 ones, whatever it is
                module.register_forward_hook(_double)

    def describe(self) -> str:
        """Model and version in one line, for the metadata of a label file."""
        modal = f" {self.modal}" if self.modal else ""
        return f"SevenNet {self.name_of_model}{modal}, sevenn {version('sevenn')}, float64"

    def set_atoms(self, atoms: Any) -> None:
        check_known(atoms.symbols, self.symbols, self.name_of_model)

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """As ASE's calculators do, see there."""
        Calculator.calculate(self, atoms, properties, system_changes)
        (self.results,) = self.evaluate([atoms])

    def evaluate(self, frames: list[Atoms]) -> list[dict[str, Any]]:
        """Results of several structures in one pass, each as `calculate` leaves them.

        Args:
            frames: the structures.
        """
        found = self.model(Batch.from_data_list([self._graph(atoms) for atoms in frames]))
        energy, energies, forces, stress = (
            found[name].detach().cpu().numpy()
            for name in (
                keys.PRED_TOTAL_ENERGY, keys.ATOMIC_ENERGY, keys.PRED_FORCE, keys.PRED_STRESS
            )
        )  # fmt: skip
        ends = np.cumsum([len(atoms) for atoms in frames])
        return [
            {
                "energy": float(energy[k]),
                "free_energy": float(energy[k]),
                "energies": energies[end - len(atoms) : end].ravel(),
                "forces": forces[end - len(atoms) : end],
                "stress": -stress[k, VOIGT],
            }
            for k, (atoms, end) in enumerate(zip(frames, ends, strict=True))
        ]

    def _graph(self, atoms: Atoms) -> AtomGraphData:
        self.set_atoms(atoms)
        arrays = unlabeled_atoms_to_graph(atoms, self.cutoff, with_shift=False)
        data = AtomGraphData.from_numpy_dict(dict(arrays))
        for name, value in data.items():
            if torch.is_tensor(value) and value.is_floating_point():
                data[name] = torch.tensor(np.asarray(arrays[name]), dtype=torch.float64)
        if self.modal:
            data[keys.DATA_MODALITY] = self.modal
        return data.to(self.device)


def _double(module: Any, arguments: Any, data: Any) -> Any:
    for name, value in data.items():
        if torch.is_tensor(value) and value.is_floating_point():
            data[name] = value.double()
    return data
