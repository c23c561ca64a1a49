"""Docking: many starts, descent on SE(3) times torsions, basin hopping, clusters."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rdkit import Chem
from scipy.special import softmax
from torch import Tensor

from objstress.docking.ligand import Ligand, ligand_place, read_ligand
from objstress.docking.protein import Box, Protein, pdb_line, read_protein
from objstress.docking.side_chains import side_chains
from objstress.errors import InputError, check_seed
from objstress.files import write_whole
from objstress.graphs.site_graph import Complex, site_graph
from objstress.graphs.torsion_tree import TorsionTree, random_rotations
from objstress.models.pose_energy import (
    PoseEnergy,
    PoseField,
    load_pose_energy,
    torsion_angles,
    torsion_strain,
)
from objstress.models.pose_grid import GridField

SHIPPED = Path(__file__).with_name("packed.pose")
"""The energy learned from `synthetic`'s complexes."""
STEPS = 60
"""Of descent after each jump."""
RATES = (0.25, 0.1, 0.15)
"""First step along translation (Angstrom), rotation and torsions (radians)."""
WARM = 1.0
"""kcal/mol, kT of the torsions that are drawn."""
TURNS = 72
"""Angles that they are drawn from."""
WALL = 2.0
"""kcal/mol/Angstrom^2, of atoms beyond the box."""


@dataclass(frozen=True)
class Pose:
    """One place of the ligand.

    Attributes:
        energy: kcal/mol, on the model's scale.
        confidence: exp(-E) over the sum of all clusters' best (those not kept, too), what the model
            was trained to make a probability; 1 where there is one cluster.
        share: part of the starts that ended in this cluster.
        positions: (n, 3) Angstrom of the heavy atoms.
        mol: the molecule in this pose, hydrogens included.
        side_chains: places of the atoms of flexible side chains, by "A/ALA/42/CB".
    """

    energy: float
    confidence: float
    share: float
    positions: np.ndarray
    mol: Chem.Mol
    side_chains: dict[str, np.ndarray]


@dataclass(frozen=True)
class Docking:
    """Poses of one ligand, the best one first.

    Attributes:
        ligand: as prepared.
        poses: a representative of each cluster.
        evaluations: energies with gradients that were computed.
        seconds: that it took.
        notes: what was done to protein and ligand, a line each.
    """

    ligand: Ligand
    poses: list[Pose]
    evaluations: int
    seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Energies and facts as plain numbers and texts."""
        return {
            "ligand": self.ligand.name,
            "poses": [
                {
                    "energy_kcal_per_mol": p.energy,
                    "confidence": p.confidence,
                    "share": p.share,
                }
                for p in self.poses
            ],
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }

    def sdf(self) -> str:
        """All poses, energies and ranks as properties."""
        blocks = []
        for rank, pose in enumerate(self.poses, 1):
            mol = Chem.Mol(pose.mol)
            mol.SetProp("_Name", self.ligand.name)
            mol.SetProp("rank", str(rank))
            mol.SetProp("energy_kcal_per_mol", f"{pose.energy:.4f}")
            mol.SetProp("confidence", f"{pose.confidence:.4f}")
            mol.SetProp("share_of_starts", f"{pose.share:.4f}")
            blocks.append(Chem.SDWriter.GetText(mol))
        return "".join(blocks)

    def side_chains_pdb(self) -> str:
        """PDB of the flexible side chains, a MODEL for each pose; empty without any."""
        lines = []
        for rank, pose in enumerate(self.poses, 1):
            lines.append(f"MODEL     {rank:4d}")
            for serial, (label, x) in enumerate(pose.side_chains.items(), 1):
                chain, kind, number, name = label.split("/")
                lines.append(pdb_line(serial, name, name[0], chain, kind, number, x))
            lines.append("ENDMDL")
        return "\n".join([*lines, "END", ""]) if self.poses[0].side_chains else ""

    def write(self, path: str | Path) -> None:
        """`sdf` to a file, whole or not at all."""
        write_whole(path, self.sdf())


def dock(
    protein: Protein | str | Path,
    ligand: Ligand | str | Path | Chem.Mol,
    model: PoseEnergy | str | Path = SHIPPED,
    *,
    box: Box | None = None,
    reference: str | Path | Chem.Mol | None = None,
    starts: int = 64,
    hops: int = 16,
    poses: int = 10,
    apart: float = 2.0,
    flexible: Sequence[str] = (),
    seconds: float = math.inf,
    seed: int = 0,
) -> Docking:
    """The places of a ligand in a protein where E(pose) is least.

    From each of `starts` random places, orientations and torsions the energy goes down by
    preconditioned gradient steps on SE(3) x torsions; then `hops` jumps, each followed by descent
    and taken by Metropolis' rule (basin hopping; Wales and Doye, J. Phys. Chem. A 101, 5111
    (1997)), all on a grid (`GridField`). The lowest pose of each start goes down the energy itself,
    and they are clustered by RMSD under the ligand's automorphisms. Bonds, angles and chirality
    stay as they are.

    Args:
        protein: PDB or mmCIF.
        ligand: SDF or MOL2 with one molecule, SMILES, or an RDKit molecule.
        model: a `PoseEnergy` or its file; else the one that is shipped.
        box: where the ligand's heavy atoms may be. Else the box of
        reference: a ligand of that site, and `AROUND` Angstrom. Else the whole protein.
        poses: at most so many clusters.
        apart: Angstrom of RMSD between clusters.
        flexible: residues ("A:315", chain and number) whose side chains turn, too.
        seconds: no further jump begins after them.
        seed: of the random numbers; the same seed gives the same poses on the same machine.

    Raises:
        InputError: see `read_protein`, `read_ligand`, `Box`, `load_pose_energy`; both a box and a
            reference; a number that is not positive.
    """
    begun = time.perf_counter()
    check_search(starts, hops, seed)
    for name, value in (("poses", poses), ("apart", apart), ("seconds", seconds)):
        if not value > 0:
            raise InputError(f"{name} = {value}: give a positive number")
    if not isinstance(model, PoseEnergy):
        model = load_pose_energy(model)
    if not isinstance(protein, Protein):
        protein = read_protein(protein)
    if not isinstance(ligand, Ligand):
        ligand = read_ligand(ligand)
    box = search_box(protein, box, reference)
    site = protein.within(box)
    complex_ = make_complex(ligand, site, flexible)
    labels = ["/".join(label) for label in site.labels[complex_.carried]]
    n = len(ligand.positions)
    with torch.no_grad():
        search = Search(model.field(complex_), box, seed)
        x, energy = search.run(starts, hops, begun + seconds)
        found = clusters(x[:, :n].numpy(), energy.numpy(), ligand.automorphisms, apart)
    best = np.array([energy[k].item() for k, _ in found])
    weight = softmax(-best)
    kept = [
        Pose(
            float(best[rank]),
            float(weight[rank]),
            len(members) / starts,
            x[k, :n].numpy(),
            ligand.placed(x[k, :n].numpy()),
            dict(zip(labels, x[k, n:].numpy(), strict=True)),
        )
        for rank, (k, members) in enumerate(found[:poses])
    ]
    notes = tuple(f"protein: {n}" for n in protein.notes) + tuple(
        f"ligand: {n}" for n in ligand.notes
    )
    return Docking(ligand, kept, search.evaluations, time.perf_counter() - begun, notes)


def check_search(starts: int, hops: int, seed: int) -> None:
    """
    Raises:
        InputError: no starts, fewer than no hops, or a negative seed.
    """
    check_seed(seed)
    if starts < 1 or hops < 0:
        raise InputError(f"starts = {starts}, hops = {hops}: give at least 1 and 0")


def search_box(protein: Protein, box: Box | None, reference: str | Path | Chem.Mol | None) -> Box:
    """The box, that of a reference ligand, or the whole protein.

    Raises:
        InputError: both a box and a reference; a reference without coordinates.
    """
    if box is not None and reference is not None:
        raise InputError("give a box or a reference ligand, not both")
    if box is not None:
        return box
    if reference is None:
        return Box.around(protein.positions)
    return Box.around(ligand_place(reference))


def make_complex(ligand: Ligand, site: Protein, flexible: Sequence[str] = ()) -> Complex:
    """What a `PoseEnergy` reads; the native pose is the ligand's own place.

    Args:
        flexible: residues whose side chains move, see `side_chains`. They repel each other and the
            rest of the site; what else holds them in their places is not known to the energy.
    """
    n, chains = len(ligand.positions), side_chains(site, flexible)
    carried = torch.tensor(chains.atoms)
    tree, f = ligand.tree, len(chains.atoms)
    moves = torch.zeros(len(tree) + len(chains.axes), n + f, dtype=torch.bool)
    moves[: len(tree), :n] = tree.moves
    moves[len(tree) :, n:] = torch.tensor(chains.moves)
    turning = chains.moves.any(0)
    walls = turning[:, None] & ~chains.own
    walls[:, chains.atoms] = False
    both = np.triu(turning[:, None] | turning) & ~chains.own[:, chains.atoms]
    return Complex(
        site_graph(ligand.positions, ligand.features, ligand.edges),
        site_graph(site.positions, site.features, site.edges()),
        TorsionTree(torch.cat([tree.axes, torch.tensor(chains.axes) + n]), moves, n),
        torch.cat([torch.tensor(ligand.inner), n + torch.tensor(np.argwhere(both).T)], dim=1),
        torch.tensor(ligand.torsions),
        torch.tensor(ligand.torsion_terms),
        torch.tensor(np.concatenate([ligand.positions, site.positions[chains.atoms]])),
        torch.tensor(ligand.automorphisms),
        carried,
        torch.tensor(np.argwhere(walls).T) + torch.tensor([[n], [0]]),
    )


class Search:
    """Descent and jumps of many poses of one complex.

    Args:
        field: their energy.
        box: where their atoms may be; None sets no wall.
        seed: of the jumps.

    Attributes:
        evaluations: energies with gradients so far.
    """

    def __init__(self, field: PoseField, box: Box | None, seed: int = 0):
        self.field, self.tree = field, field.complex.tree
        self.random = torch.Generator().manual_seed(seed)
        self.box: tuple[Tensor, Tensor] | None = None
        if box is not None:
            self.box = torch.tensor(box.centre), torch.tensor(box.size)
        self.evaluations = 0
        # Which torsions a strain is known of, and how often each angle of theirs is drawn.
        c = field.complex
        self.bonds = (c.torsions[:, None, 1:3] == self.tree.axes).all(-1).nonzero()[:, 1]
        self.angles = 2 * math.pi / TURNS * torch.arange(TURNS, dtype=torch.float64)
        strain, _ = torsion_strain(self.angles[:, None], c.torsion_terms)
        self.odds = (-strain.T / WARM).softmax(-1)
        # A turn by one radian moves atoms by about the radius of gyration.
        # Which torsions are the ligand's, and not a side chain's.
        self.ligands = self.tree.axes[:, 0] < self.tree.body
        own = field.complex.ligand.pos
        size = (own - own.mean(0)).square().sum(1).mean().sqrt().clamp_min(1.0)
        rate = torch.full((6 + len(self.tree),), RATES[2], dtype=torch.float64)
        rate[:3], rate[3:6] = RATES[0], RATES[1] * 4 / (1 + size)
        self.rate = rate

    def run(self, starts: int, hops: int, until: float = math.inf) -> tuple[Tensor, Tensor]:
        """The best of each start: (starts, n, 3) Angstrom and (starts,) kcal/mol.

        All but the last descent is on a grid, which a search of thousands of steps pays for.
        """
        assert self.box is not None
        exact, self.field = self.field, GridField(self.field, *self.box)
        x, energy = self.descend(self.random_poses(starts))
        best, lowest = x.clone(), energy.clone()
        for _ in range(hops):
            if time.perf_counter() > until:
                break
            y, new = self.descend(self.jumped(x))
            taken = torch.rand(len(x), generator=self.random) < torch.exp(
                (energy - new).clamp(max=0)
            )
            x = torch.where(taken[:, None, None], y, x)
            energy = torch.where(taken, new, energy)
            better = energy < lowest
            best = torch.where(better[:, None, None], x, best)
            lowest = torch.where(better, energy, lowest)
        self.field = exact
        return self.descend(best, 2 * STEPS, 0.2)

    def random_poses(self, number: int) -> Tensor:
        """Uniform in the box and in orientation, torsions as often as their strain lets them.

        Side chains stay as they are.
        """
        assert self.box is not None
        own, n = self.field.complex.native, self.tree.body
        turns = torch.zeros(number, 6 + len(self.tree), dtype=torch.float64)
        turns[:, 6:] = self._turns(own.expand(number, -1, -1)) * self.ligands
        x = self.tree.moved(own.expand(number, -1, -1), turns)
        body = x[:, :n] - x[:, :n].mean(1, keepdim=True)
        centre, size = self.box
        inner = (size - 2 * own[:n].std(0, correction=0).mean()).clamp_min(1.0)
        body = body @ random_rotations(number, self.random).mT + centre
        return torch.cat([body + (self._uniform(number, 1, 3) - 0.5) * inner, x[:, n:]], dim=1)

    def _turns(self, x: Tensor) -> Tensor:
        """(b, t) radians to new torsions, drawn from exp(-strain / kT), uniform without a strain.

        A ligand of many bonds has many minima, nearly all of them strained beyond use.
        """
        new = 2 * math.pi * self._uniform(len(x), len(self.tree))
        if len(self.bonds):
            drawn = torch.multinomial(self.odds, len(x), True, generator=self.random).T
            new[:, self.bonds] = self.angles[drawn] - torsion_angles(x, self.field.complex.torsions)
        return new

    def jumped(self, x: Tensor) -> Tensor:
        """One of three jumps each: a shift, a turn, or new values of some torsions."""
        step = torch.zeros(len(x), 6 + len(self.tree), dtype=torch.float64)
        normal = torch.randn(step.shape, generator=self.random, dtype=torch.float64)
        kind = torch.randint(3 if len(self.tree) else 2, (len(x),), generator=self.random)
        step[:, :3] = torch.where((kind == 0)[:, None], 1.5 * normal[:, :3], 0.3 * normal[:, :3])
        step[:, 3:6] = torch.where((kind == 1)[:, None], 1.2 * normal[:, 3:6], 0.2 * normal[:, 3:6])
        if len(self.tree):
            few = self._uniform(len(x), len(self.tree)) < max(0.3, 1.0 / len(self.tree))
            step[:, 6:] = torch.where(
                (kind == 2)[:, None] & few, self._turns(x), 0.1 * normal[:, 6:]
            )
        return self.tree.moved(x, step)

    def descend(self, x: Tensor, steps: int = STEPS, start: float = 1.0) -> tuple[Tensor, Tensor]:
        """Down the energy, each coordinate by its own slopes' mean (Adam); steps shrink to zero.

        Returns:
            The lowest pose of each path and its energy.
        """
        first = torch.zeros(len(x), len(self.rate), dtype=torch.float64)
        second = torch.zeros_like(first)
        best, lowest = x, torch.full((len(x),), torch.inf, dtype=torch.float64)
        for k in range(steps):
            energy, forces = self._energy(x)
            better = energy < lowest
            best = torch.where(better[:, None, None], x, best)
            lowest = torch.where(better, energy, lowest)
            slope = self.tree.slopes(x, forces)
            first = 0.8 * first + 0.2 * slope
            second = 0.9 * second + 0.1 * slope.square()
            mean, size = first / (1 - 0.8 ** (k + 1)), second / (1 - 0.9 ** (k + 1))
            fall = start * 0.5 * (1 + math.cos(math.pi * k / steps)) + 0.01
            x = self.tree.moved(x, -fall * self.rate * mean / (size.sqrt() + 1e-3))
        energy, _ = self._energy(x)
        better = energy < lowest
        return torch.where(better[:, None, None], x, best), torch.where(better, energy, lowest)

    def _energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += len(x)
        energy, forces = self.field(x)
        if self.box is None:
            return energy, forces
        centre, size = self.box
        beyond = x - centre
        beyond = beyond - torch.maximum(torch.minimum(beyond, size / 2), -size / 2)
        beyond[:, self.tree.body :] = 0
        energy = energy + WALL * beyond.square().sum((1, 2))
        return energy, forces + 2 * WALL * beyond

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.random, dtype=torch.float64)


def rmsd(x: np.ndarray, y: np.ndarray, automorphisms: np.ndarray) -> np.ndarray:
    """sqrt(mean_i |x_i - y_s(i)|^2), least over the automorphisms s; no superposition.

    Args:
        x: (b, n, 3) Angstrom.
        y: (n, 3).
        automorphisms: (s, n).

    Returns:
        (b,) Angstrom.
    """
    each = [np.sqrt(np.square(x - y[s]).sum(-1).mean(-1)) for s in automorphisms]
    return np.min(each, axis=0)


def clusters(
    x: np.ndarray, energy: np.ndarray, automorphisms: np.ndarray, apart: float
) -> list[tuple[int, list[int]]]:
    """(best, members) of each cluster: the lowest pose takes all within `apart`, and so on."""
    left = list(np.argsort(energy))
    found = []
    while left:
        near = rmsd(x[left], x[left[0]], automorphisms) < apart
        near[0] = True  # whatever its coordinates are
        found.append((int(left[0]), [int(k) for k, n in zip(left, near, strict=True) if n]))
        left = [k for k, n in zip(left, near, strict=True) if not n]
    return found
