"""The learned energy of a ligand's pose in a protein's site."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from objstress.docking.complex import Complex
from objstress.docking.field import CENTRES, WIDTHS, PoseField
from objstress.docking.heavy_atoms import FEATURES
from objstress.errors import InputError
from objstress.graphs.neighbours import NeighbourTable
from objstress.io.weights import read_tensors, rebuilding, write_tensors
from objstress.models.atom_network import AtomNetwork, AtomNetworkSettings
from objstress.nn.readout import ScalarReadout

if TYPE_CHECKING:
    from torch_geometric.data import Data

CORE = 1.0
"""kcal/mol/Angstrom^2, the stiffness of overlap below which no weights can take it."""
LARGEST = 0.6
"""kcal/mol, the largest bump of one pair."""


@dataclass(frozen=True, kw_only=True)
class PoseEnergySettings(AtomNetworkSettings):
    """Size of the encoders of ligand and site.

    The attributes are those of `AtomNetworkSettings` with other defaults, and `scores`.

    Attributes:
        group: symmetry of the filters; only "SO(3)", which tells left from right.
        cutoff: Angstrom.
        channels: copies of each irrep.
        layers: messages passed.
        hidden_lmax: largest l of the features that atoms send; only 0, so that torsions change
            none.
        edge_lmax: largest l of the first layer's harmonics and products.
        later_lmax: largest l of the later layers' harmonics and products.
        correlation: factors of the highest product of one atom's neighbourhood.
        bessel: radial functions of the distance.
        radial: learned mixtures of them that messages use.
        readout: width of the hidden layers of readouts.
        neighbours: mean number of neighbours; sums are divided by it.
        scores: width of the vectors that pair scores are made of.

    Raises:
        InputError: another group or `hidden_lmax`, or a size that `AtomNetworkSettings` refuses.
    """

    group: str = "SO(3)"
    scores: int = 16
    channels: int = 16
    hidden_lmax: int = 0
    edge_lmax: int = 2
    later_lmax: int = 2
    neighbours: float = 8.0

    def __post_init__(self):
        self.check(0, "an encoder")
        if self.group != "SO(3)" or self.hidden_lmax != 0:
            raise InputError(
                f"group = {self.group!r}, hidden_lmax = {self.hidden_lmax}: an encoder needs "
                "SO(3), which tells left from right, and 0, so that torsions do not change it"
            )


class Encoder(AtomNetwork):
    """Scalars of each atom, (n, scores), from its features and those of its surroundings."""

    def __init__(self, settings: PoseEnergySettings, dtype: torch.dtype):
        super().__init__()
        self.settings = s = settings
        self._make_features(s, len(FEATURES), [(0, 1)], both=True, dtype=dtype)
        self.read = ScalarReadout(s.channels, s.readout, s.scores, dtype)
        self.own = nn.Linear(len(FEATURES), s.scores, dtype=dtype)

    def forward(self, graph: Data) -> Tensor:
        dtype = self.own.weight.dtype
        batch = torch.zeros(int(graph.num_nodes), dtype=torch.int64, device=graph.pos.device)
        table = NeighbourTable(graph)
        vectors = table.vectors(graph.pos, graph.cell, batch, 2 * self.settings.cutoff).to(dtype)
        features = graph.features.to(dtype)
        layers, _, _ = self._features(features, vectors, table)
        return self.own(features) + self.read(layers[-1][:, :, 0].T)


class PoseEnergy(nn.Module):
    r"""The energy of a ligand's pose in a site, invariant under any common motion of the two.

    .. math::

        E(x) &= \sum_{ij} \Big[ h\, o_{ij}^2 + \sum_k c_{kij}\, g_k(d_{ij}) \Big]
            + V_\mathrm{torsions} + h' \sum_{ab} o'^2_{ab} \\
        d_{ij} &= |x_i - y_j| - R_{ij}, \qquad o = \max(0, -d), \qquad
            h, h' = \mathrm{CORE} + \mathrm{softplus}(\cdot) \ge \mathrm{CORE} \\
        g_k(d) &= \max\Big(0,\, 1 - \Big(\frac{d - m_k}{w_k}\Big)^2\Big)^3, \qquad
            c_{kij} = \mathrm{LARGEST} \tanh(a_i \cdot W_k\, b_j)

    over ligand atoms i at x_i and site atoms j at y_j; R_ij is the distance at which they touch,
    `contact_distances`, shorter for the two of a hydrogen bond. o' is the overlap within
    0.8 (R_a + R_b) of atoms a, b of the ligand (and of side chains that move) that torsions bring
    together. a_i and b_j are scalars of two encoders equivariant under SO(3); the ligand's encoder
    sees bonded atoms and those of the same rigid piece, whose places about one atom no torsion
    changes: E depends on the pose and not on the conformer one starts from.

    Energies are in kcal/mol on the training's scale, zero for a ligand far away with its torsions
    at their best. No bump reaches atoms that overlap by 1.3 Angstrom or more: whatever the
    weights, they repel. Distances from contact follow Trott and Olson, J. Comput. Chem. 31, 455
    (2010).

    Args:
        settings: size of the encoders.
        dtype: of the weights; poses and energies are float64.

    Attributes:
        metadata: facts of the training.
    """

    centres: Tensor
    widths: Tensor

    def __init__(self, settings: PoseEnergySettings, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.settings = settings
        self.metadata: dict[str, Any] = {}
        self.ligand, self.site = Encoder(settings, dtype), Encoder(settings, dtype)
        n, s = len(CENTRES), settings.scores
        self.mix = nn.Parameter(0.3 * torch.randn(n, s, s, dtype=dtype) / s)
        self.stiff = nn.Parameter(torch.zeros(2, dtype=dtype))
        for name, values in (("centres", CENTRES), ("widths", WIDTHS)):
            self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return self.mix.dtype

    def field(self, complex_: Complex) -> PoseField:
        """The energy of all poses of one complex; the encoders run here, once.

        Args:
            complex_: see `make_complex`.
        """
        a, b = self.ligand(complex_.ligand), self.site(complex_.site)
        scores = LARGEST * torch.tanh(torch.einsum("is,kst,jt->ijk", a, self.mix, b))
        core, inner = CORE + nn.functional.softplus(self.stiff)
        return PoseField(complex_, scores, core, inner, self.centres, self.widths)

    def save(self, path: str | Path) -> None:
        """Write the model to one file, whole or not at all.

        Args:
            path: the file to write; `load_pose_energy` reads it.
        """
        description = {
            "kind": "pose energy",
            "dtype": str(self.dtype).removeprefix("torch."),
            "settings": asdict(self.settings),
            "metadata": self.metadata,
        }
        write_tensors(path, description, self.state_dict())


def load_pose_energy(path: str | Path) -> PoseEnergy:
    """The pose energy in a file that `PoseEnergy.save` wrote.

    Args:
        path: the file.

    Raises:
        InputError: no such file, a damaged one, one of something else, or one of a newer format.
    """
    description, tensors = read_tensors(path, "pose energy")
    if description.get("kind") != "pose energy":
        raise InputError(f"{path}: a {description.get('kind')}, not a pose energy")
    with rebuilding(path, "pose energy"):
        settings = PoseEnergySettings(**description["settings"])
        model = PoseEnergy(settings, getattr(torch, description["dtype"]))
        model.load_state_dict(tensors)
        model.metadata = description["metadata"]
    return model.eval()
