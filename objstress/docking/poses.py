"""Poses of a ligand, and their clusters."""

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
