"""Docking of one ligand to one protein."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem
from scipy.special import softmax

from objstress.docking.box import Box
from objstress.docking.complex import make_complex
from objstress.docking.energy import PoseEnergy, load_pose_energy
from objstress.docking.ligand import Ligand
from objstress.docking.ligand_files import ligand_place, read_ligand
from objstress.docking.poses import Docking, Pose, clusters
from objstress.docking.protein import Protein, read_protein
from objstress.docking.search import Search
from objstress.errors import InputError, check_seed

SHIPPED = Path(__file__).with_name("packed.pose")
"""File of the pose energy that is shipped, fitted to complexes of `make_complexes`."""
TOUCH = 0.01
"""kcal/mol; a pose that gains less has nothing in reach."""


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
    """Dock one ligand to one protein: the poses where E(pose) is least.

    From each of `starts` random places, orientations and torsions, preconditioned gradient steps on
    SE(3) x torsions descend the energy; `hops` jumps follow, each with its descent, accepted by
    Metropolis' rule (basin hopping; Wales and Doye, J. Phys. Chem. A 101, 5111 (1997)), all on a
    grid (`GridField`). The lowest pose of each start then descends the energy itself, and the
    poses are clustered by RMSD under the ligand's automorphisms. Bonds, angles and chirality are
    kept.

    Args:
        protein: PDB or mmCIF file, or what `read_protein` returned.
        ligand: SDF or MOL2 file with one molecule, SMILES, an RDKit molecule, or a `Ligand`.
        model: a `PoseEnergy` or its file; the default is the one that is shipped.
        box: where the ligand's heavy atoms may be; None takes that of `reference`.
        reference: a ligand in the site, whose box and 5 Angstrom around it are searched; None,
            without a box, searches the whole protein.
        starts: number of random starts.
        hops: jumps of each start.
        poses: most poses that are kept.
        apart: Angstrom of RMSD between clusters.
        flexible: residues ("A:315", chain and number) whose side chains move, too.
        seconds: of wall time, after which no further jump begins.
        seed: of the random numbers; the same seed gives the same poses on the same machine.

    Raises:
        InputError: what `read_protein`, `read_ligand`, `load_pose_energy`, `side_chains` or `Box`
            refuse; both a box and a reference; a box beyond the protein's reach; a number that is
            not positive.
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
    field = model.field(complex_)
    _check_reach(site, box, field.reach)
    with torch.no_grad():
        search = Search(field, box, seed)
        x, energy = search.run(starts, hops, begun + seconds)
        groups = clusters(x[:, :n].numpy(), energy.numpy(), ligand.automorphisms, apart)
    best = np.array([energy[k].item() for k, _ in groups])
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
        for rank, (k, members) in enumerate(groups[:poses])
    ]
    notes = tuple(f"protein: {n}" for n in protein.notes) + tuple(
        f"ligand: {n}" for n in ligand.notes
    )
    if best[0] > -TOUCH:
        notes += (
            f"no pose binds: the least energy is {best[0]:.3f} kcal/mol; is the box "
            "where the site is?",
        )
    return Docking(ligand, kept, search.evaluations, time.perf_counter() - begun, notes)


def _check_reach(site: Protein, box: Box, reach: float) -> None:
    outside = np.maximum(np.abs(site.positions - box.centre) - box.size / 2, 0.0)
    nearest = float(np.linalg.norm(outside, axis=1).min())
    if nearest >= reach:
        raise InputError(
            f"nothing is in reach of the box: the protein's nearest atom is {nearest:.1f} Angstrom "
            f"from it, and energies end at {reach:.1f}"
        )


def check_search(starts: int, hops: int, seed: int) -> None:
    """Refuse settings of a search that make none.

    Args:
        starts: number of random starts.
        hops: jumps of each start.
        seed: of the random numbers.

    Raises:
        InputError: no starts, a negative number of hops, or a negative seed.
    """
    check_seed(seed)
    if starts < 1 or hops < 0:
        raise InputError(f"starts = {starts}, hops = {hops}: give at least 1 and 0")


def search_box(protein: Protein, box: Box | None, reference: str | Path | Chem.Mol | None) -> Box:
    """The box to search: the one given, that of a reference ligand, or the whole protein's.

    Args:
        protein: what is searched where neither box nor reference is given.
        box: returned as it is.
        reference: a ligand with coordinates, see `ligand_place`.

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
