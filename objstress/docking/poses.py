"""Poses of a ligand: the results of docking, distances between poses, and their clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from objstress.docking.ligand import Ligand
from objstress.docking.protein import pdb_line
from objstress.io.files import write_whole


@dataclass(frozen=True)
class Pose:
    """One pose of a ligand: the lowest of its cluster.

    Attributes:
        energy: kcal/mol, on the model's scale.
        confidence: exp(-E) over its sum over the best poses of all clusters (those not kept, too),
            which the fit makes a probability; 1 where there is one cluster.
        share: fraction of the starts that ended in this cluster.
        positions: (n, 3) Angstrom of the heavy atoms.
        mol: the molecule in this pose, hydrogens included.
        side_chains: {"A/ALA/42/CB": (3,) Angstrom} of the atoms of flexible side chains.
    """

    energy: float
    confidence: float
    share: float
    positions: np.ndarray
    mol: Chem.Mol
    side_chains: dict[str, np.ndarray]


@dataclass(frozen=True)
class Docking:
    """The poses of one ligand, the best one first.

    Attributes:
        ligand: the molecule as prepared.
        poses: the lowest pose of each cluster.
        evaluations: number of energies with gradients that were computed.
        seconds: wall time.
        notes: what was done to protein and ligand, a line each.
    """

    ligand: Ligand
    poses: list[Pose]
    evaluations: int
    seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Energies in kcal/mol and facts as plain numbers and texts, for JSON."""
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
        """The poses as an SDF text, with their energies and ranks as properties."""
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
        """The flexible side chains as a PDB text, a MODEL for each pose; empty without any."""
        lines = []
        for rank, pose in enumerate(self.poses, 1):
            lines.append(f"MODEL     {rank:4d}")
            for serial, (label, x) in enumerate(pose.side_chains.items(), 1):
                chain, kind, number, name = label.split("/")
                lines.append(pdb_line(serial, name, name[0], chain, kind, number, x))
            lines.append("ENDMDL")
        return "\n".join([*lines, "END", ""]) if self.poses[0].side_chains else ""

    def write(self, path: str | Path) -> None:
        """Write `sdf` to a file, whole or not at all.

        Args:
            path: the file to write.
        """
        write_whole(path, self.sdf())


def rmsd(x: np.ndarray, y: np.ndarray, automorphisms: np.ndarray) -> np.ndarray:
    r"""Root mean square distances of poses from one pose, without superposition.

    .. math::

        \mathrm{rmsd} = \min_s \sqrt{\frac{1}{n} \sum_i |x_i - y_{s(i)}|^2}

    over the automorphisms s of the ligand.

    Args:
        x: (b, n, 3) Angstrom, poses.
        y: (n, 3) Angstrom, the pose that they are compared with.
        automorphisms: (s, n), see `Ligand`.

    Returns:
        (b,) Angstrom.
    """
    each = [np.sqrt(np.square(x - y[s]).sum(-1).mean(-1)) for s in automorphisms]
    return np.min(each, axis=0)


def clusters(
    x: np.ndarray, energy: np.ndarray, automorphisms: np.ndarray, apart: float
) -> list[tuple[int, list[int]]]:
    """Clusters of poses: the lowest pose takes all within `apart`, then the lowest of the others.

    Args:
        x: (b, n, 3) Angstrom.
        energy: (b,) kcal/mol.
        automorphisms: (s, n), see `Ligand`.
        apart: Angstrom of RMSD, the radius of a cluster.

    Returns:
        The lowest pose and all members of each cluster, as indices of x, lowest cluster first.
    """
    left = list(np.argsort(energy))
    groups = []
    while left:
        near = rmsd(x[left], x[left[0]], automorphisms) < apart
        near[0] = True  # even where its coordinates are not finite
        groups.append((int(left[0]), [int(k) for k, n in zip(left, near, strict=True) if n]))
        left = [k for k, n in zip(left, near, strict=True) if not n]
    return groups
