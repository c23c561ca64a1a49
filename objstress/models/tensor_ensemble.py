"""Several networks of one property tensor: their mean, their spread, and the distance to data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from objstress.errors import InputError
from objstress.graphs.atoms import atom_graph
from objstress.graphs.elements import LAST, NAMES, crystal_descriptors
from objstress.io.weights import read_tensors, rebuilding, write_tensors
from objstress.models.corrected_tensors import KIND, CorrectedTensors
from objstress.models.crystal_tensor import UNITS, CrystalTensorNetwork, CrystalTensorSettings
from objstress.symmetry.crystal import primitive_cell
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.tensor_forms import TensorForm

if TYPE_CHECKING:
    from pymatgen.core import Structure

DESCRIPTORS = len(NAMES) + 1
"""Of `crystal_descriptors`."""


@dataclass(frozen=True)
class TensorPrediction:
    """Property tensor that an ensemble predicts for one crystal.

    Attributes:
        structure: its primitive cell, in the frame it came in.
        tensor: mean of the members (of the logarithm where there is one), (3, ..., 3), of exactly
            the form that the point group allows; Born charges (atoms, 3, 3).
        deviation: standard deviation of the members, the same shape; None of a single one.
        distance: from the nearest crystal of the training set, in what its elements are, its volume
            an atom and the mean scalar features; in units of how far those are from their own
            nearest ones: far above 1 the crystal is unlike anything known.
        unit: of tensor and deviation.
    """

    structure: Structure
    tensor: np.ndarray
    deviation: np.ndarray | None
    distance: float
    unit: str


class TensorEnsemble:
    """Networks of the same kind of tensor, fitted from different weights.

    Args:
        members: the networks.
        known: (crystals, ...), the training set's `comparison_features`, dimensionless but for the
            logarithm of the volume.
        metadata: facts of the fit.
    """

    def __init__(
        self,
        members: Sequence[CrystalTensorNetwork],
        known: Tensor,
        metadata: dict[str, Any] | None = None,
    ):
        self.members = [m.eval() for m in members]
        self.known, self.metadata = known, metadata or {}

    @property
    def kind(self) -> str:
        """Kind of tensor: "elastic", "dielectric", "piezoelectric" or "born charges"."""
        return self.members[0].settings.kind

    @torch.no_grad()
    def predict(self, structures: Sequence[Structure]) -> list[TensorPrediction]:
        """Predict the tensors of crystals.

        Args:
            structures: ordered crystals of elements up to plutonium.

        Returns:
            One prediction for each structure, in its own frame.

        Raises:
            InputError: see `atom_graph` and `primitive_cell`.
        """
        cells = [primitive_cell(s) for s in structures]
        cutoff, dtype = self.members[0].settings.cutoff, self.members[0].dtype
        graphs = Batch.from_data_list([species_graph(c, cutoff, dtype) for c in cells])
        answers = [member(graphs) for member in self.members]
        x = torch.stack([components for components, _ in answers])
        features = comparison_features(cells, [scalars for _, scalars in answers])
        first = self.members[0]
        mean = first.tensors(x.mean(0)).double().numpy()
        each = np.stack([first.tensors(member).double().numpy() for member in x])
        spread = each.std(axis=0, ddof=1) if len(each) > 1 else None
        atoms = self.kind == "born charges"
        predictions, start = [], 0
        for k, cell in enumerate(cells):
            rows = slice(start, start + len(cell)) if atoms else k
            start += len(cell)
            tensor = mean[rows]
            if not atoms:
                tensor = TensorForm(PointGroup.of_primitive_cell(cell), self.kind).project(tensor)
            predictions.append(
                TensorPrediction(
                    cell,
                    tensor,
                    None if spread is None else spread[rows],
                    self._distance(features[k]),
                    UNITS[self.kind],
                )
            )
        return predictions

    def _distance(self, features: Tensor) -> float:
        # Elements and volume, and all networks together, count alike.
        parts = (DESCRIPTORS, self.known.shape[1] - DESCRIPTORS)
        weight = torch.cat([torch.full((n,), n**-0.5, dtype=torch.float64) for n in parts])
        weight = weight / self.known.std(0).clamp_min(1e-12)
        known, features = self.known * weight, features * weight
        apart = torch.cdist(known, known).fill_diagonal_(torch.inf).min(dim=1).values
        return float(torch.cdist(features[None], known).min() / apart.median().clamp_min(1e-12))

    def save(self, path: str | Path) -> None:
        """Write to one file, whole or not at all; `load_tensors` reads it.

        Args:
            path: of the file.

        Raises:
            InputError: the file cannot be written.
        """
        tensors = {"known": self.known}
        for k, member in enumerate(self.members):
            tensors |= {f"{k}.{name}": value for name, value in member.state_dict().items()}
        description = {
            "kind": "tensor ensemble",
            "dtype": str(self.members[0].dtype).removeprefix("torch."),
            "members": len(self.members),
            "settings": self.members[0].describe(),
            "metadata": self.metadata,
        }
        write_tensors(path, description, tensors)


def load_tensors(path: str | Path) -> TensorEnsemble | CorrectedTensors:
    """Load the networks, or the correction of a calculator's tensors, in a file.

    Args:
        path: a file that `TensorEnsemble.save` or `CorrectedTensors.save` wrote.

    Raises:
        InputError: the file is missing, damaged, something else, or of a newer format.
    """
    description, tensors = read_tensors(path, "tensor ensemble")
    if description.get("kind") == KIND:
        with rebuilding(path, "tensor ensemble"):
            return CorrectedTensors.from_file(description, tensors)
    if description.get("kind") != "tensor ensemble":
        raise InputError(f"{path}: a {description.get('kind')}, not an ensemble of tensor networks")
    with rebuilding(path, "tensor ensemble"):
        settings = CrystalTensorSettings(**description["settings"])
        members = []
        for k in range(description["members"]):
            member = CrystalTensorNetwork(settings, getattr(torch, description["dtype"]))
            start = f"{k}."
            member.load_state_dict(
                {n.removeprefix(start): v for n, v in tensors.items() if n.startswith(start)}
            )
            members.append(member)
        return TensorEnsemble(members, tensors["known"], description["metadata"])


def comparison_features(cells: Sequence[Structure], scalars: Sequence[Tensor]) -> Tensor:
    """What crystals are compared by: `crystal_descriptors` and each network's mean scalars.

    Args:
        cells: primitive cells.
        scalars: of each network, (crystals, channels).

    Returns:
        (crystals, descriptors + channels of all networks).
    """
    descriptors = torch.tensor(np.array([crystal_descriptors(c) for c in cells]))
    return torch.cat([descriptors, *(s.double() for s in scalars)], dim=1)


def species_graph(cell: Structure, cutoff: float, dtype: torch.dtype) -> Data:
    """Graph of a crystal whose species are atomic numbers less one.

    Args:
        cell: of any elements up to plutonium.
        cutoff: Angstrom.
        dtype: of positions and cell.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(cell, msonable=False)
    return atom_graph(atoms, range(1, LAST + 1), cutoff, dtype)
