"""CHGNet in double precision: its wheel's weights, smooth to the last digits."""

from __future__ import annotations

import warnings
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import GPa
from chgnet.graph import CrystalGraph
from chgnet.model.model import CHGNet as Network
from pymatgen.core import Structure

from objstress.calculators.named import MPTRJ, check_known


class CHGNet(Calculator):
    """CHGNet as an ASE calculator of float64 numbers.

    Args:
        model: "0.3.0", "0.2.0" or "r2scan".
        device: of PyTorch.

    Raises:
        ValueError: an unknown model.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, model: str, device: str):
        super().__init__()
        with redirect_stdout(StringIO()):  # it tells how many parameters it has
            self.network = Network.load(model_name=model, verbose=False, use_device=device)
        self.name_of_model = model
        self.network.double()
        # Energies of the free atoms come from counts that are float32, whatever the network is.
        self.network.composition_model.float()
        self.network.graph_converter.set_isolated_atom_response("ignore")

    def describe(self) -> str:
        """Model and version in one line, for the metadata of a label file."""
        return f"CHGNet {self.name_of_model}, chgnet {version('chgnet')}, float64"

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        """As ASE's calculators do, see there."""
        super().calculate(atoms, properties, system_changes)
        (self.results,) = self.evaluate([atoms])

    def evaluate(self, frames: list[Atoms]) -> list[dict[str, Any]]:
        """Results of several structures in one pass, each as `calculate` leaves them.

        Args:
            frames: the structures.
        """
        graphs = [self._graph(atoms) for atoms in frames]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its volumes, whose gradients it needs not
            found: Any = self.network.predict_graph(graphs, task="efs", batch_size=len(graphs))
        results = []
        for atoms, answer in zip(frames, [found] if len(graphs) == 1 else found, strict=True):
            energy = float(answer["e"]) * len(atoms)
            stress = np.asarray(answer["s"], dtype=float) * GPa
            results.append(
                {
                    "energy": energy,
                    "free_energy": energy,
                    "forces": np.asarray(answer["f"], dtype=float),
                    "stress": (stress + stress.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / 2,
                }
            )
        return results

    def _graph(self, atoms: Atoms) -> CrystalGraph:
        check_known(atoms.symbols, MPTRJ, f"CHGNet {self.name_of_model}")
        structure = Structure(atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())
        graph = self.network.graph_converter(structure)
        exact: dict[str, Any] = {"dtype": torch.float64, "requires_grad": True}
        graph.atom_frac_coord = torch.tensor(structure.frac_coords, **exact)
        graph.lattice = torch.tensor(structure.lattice.matrix, **exact)
        graph.neighbor_image = graph.neighbor_image.double()
        return graph
