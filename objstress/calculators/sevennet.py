"""SevenNet in double precision: its wheel's weights, smooth to the last digits."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import sevenn._keys as keys
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.nn.node_embedding import OnehotEmbedding
from sevenn.train.dataload import unlabeled_atoms_to_graph

from objstress.calculators.named import check_known


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
        arrays = unlabeled_atoms_to_graph(atoms, self.cutoff, with_shift=False)
        data = AtomGraphData.from_numpy_dict(dict(arrays))
        for name, value in data.items():
            if torch.is_tensor(value) and value.is_floating_point():
                data[name] = torch.tensor(np.asarray(arrays[name]), dtype=torch.float64)
        if self.modal:
            data[keys.DATA_MODALITY] = self.modal
        data.to(self.device)
        self.results = self.output_to_results(self.model(data))


def _double(module: Any, arguments: Any, data: Any) -> Any:
    for name, value in data.items():
        if torch.is_tensor(value) and value.is_floating_point():
            data[name] = value.double()
    return data
