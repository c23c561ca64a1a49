"""Made-up complexes with a known energy: side chains packed about molecules of many kinds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gemmi
import numpy as np
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from objstress.docking.ligand import Ligand, prepare_ligand
from objstress.docking.protein import Box, protein_of
from objstress.docking.search import Search, clusters, make_complex
from objstress.errors import InputError
from objstress.files import write_whole
from objstress.graphs.site_graph import FEATURES, Complex
from objstress.graphs.torsion_tree import random_rotations
from objstress.models.pose_energy import CENTRES, WIDTHS, PoseField

# Side chains (and the peptide group) from where they are cut, with their atoms' names.
RESIDUES = {
    "ASP": ("CC(=O)[O-]", "CB CG OD1 OD2"), "GLU": ("CC(=O)[O-]", "CG CD OE1 OE2"),
    "ASN": ("CC(=O)N", "CB CG OD1 ND2"), "GLN": ("CC(=O)N", "CG CD OE1 NE2"),
    "ARG": ("CNC(=[NH2+])N", "CD NE CZ NH1 NH2"), "LYS": ("CC[NH3+]", "CD CE NZ"),
    "SER": ("CO", "CB OG"), "THR": ("C(C)O", "CB CG2 OG1"), "CYS": ("CS", "CB SG"),
    "PHE": ("Cc1ccccc1", "CB CG CD1 CE1 CZ CE2 CD2"),
    "TYR": ("Cc1ccc(O)cc1", "CB CG CD1 CE1 CZ OH CE2 CD2"),
    "HIS": ("Cc1c[nH]cn1", "CB CG CD2 NE2 CE1 ND1"), "LEU": ("CC(C)C", "CB CG CD1 CD2"),
    "VAL": ("C(C)C", "CB CG1 CG2"), "ILE": ("CCC", "CB CG1 CD1"),
    "MET": ("CCSC", "CB CG SD CE"), "ALA": ("CC", "CA CB"), "GLY": ("NCC=O", "N CA C O"),
}  # fmt: skip
SHARE = {"LEU": 3, "GLY": 4, "VAL": 2, "ALA": 2}
CORES = (
    "c1ccc({})cc1{}", "c1cc({})ncc1{}", "C1CCN({})CC1{}", "c1ccc2[nH]c({})c({})c2c1",
    "c1nc({})sc1{}", "C1CC({})CCN1{}", "c1cc({})oc1{}", "c1ccc2nc({})c({})cc2c1",
    "[C@H]({})(C)C(=O)N{}", "[C@@H]({})(CO)N{}", "c1cn({})nc1{}", "C1[C@H]({})CC[C@@H]1{}",
)  # fmt: skip
ENDS = (
    "C(=O)N", "C(=O)O", "CN", "CCO", "OC", "C", "CC(C)C", "C(F)(F)F", "c1ccccc1", "c1ccncc1",
    "CC(=O)NC", "CS(=O)(=O)N", "CCN(C)C", "Cc1ccc(O)cc1", "CC(N)=O", "c1ccc(Cl)cc1", "CC#N",
    "CCSC", "C1CCCC1", "NC(=O)C", "OCc1ccc(F)cc1", "Cc1c[nH]c2ccccc12", "C(=O)NCC",
)  # fmt: skip

# kcal/mol. Contact and hydrogen bonds in AutoDock Vina's proportions (Trott and Olson, 2010).
CONTACT, HYDROPHOBIC, BOND, CHARGE, OVERLAP = -0.03, -0.10, -0.55, -0.25, 1.5
GAP = 0.3
"""kcal/mol between the native place and the next one, more than 2 Angstrom away."""


def physical_field(complex_: Complex) -> PoseField:
    """The known energy: contacts, hydrophobic contacts, hydrogen bonds, charges, overlap.

    The same bumps as `PoseEnergy`, with scores that depend on the two atoms' features alone.
    """
    of = {name: k for k, name in enumerate(FEATURES)}
    a, b = complex_.ligand.features, complex_.site.features

    def both(x: str, y: str) -> torch.Tensor:
        return a[:, of[x], None] * b[:, of[y]]

    greasy = both("hydrophobic", "hydrophobic")
    bond = torch.maximum(both("donor", "acceptor"), both("acceptor", "donor"))
    charge = (both("positive", "negative") + both("negative", "positive")
              - both("positive", "positive") - both("negative", "negative"))  # fmt: skip
    scores = torch.stack(
        [
            BOND * bond + CHARGE * charge,
            CONTACT + HYDROPHOBIC * greasy,
            0.5 * HYDROPHOBIC * greasy,
            torch.full_like(greasy, 0.2 * CONTACT),
        ],
        dim=-1,
    )
    number = [torch.tensor(v, dtype=torch.float64) for v in (OVERLAP, CENTRES, WIDTHS)]
    return PoseField(complex_, scores, number[0], number[0], number[1], number[2])


def random_ligand(rng: np.random.Generator) -> Ligand:
    """A core with two ends, of 10 to 30 heavy atoms."""
    while True:
        core = str(rng.choice(CORES))
        smiles = core.format(*rng.choice(ENDS, size=2))
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not 10 <= mol.GetNumHeavyAtoms() <= 30:
            continue
        try:
            return prepare_ligand(mol, smiles, seed=int(rng.integers(1 << 30)))
        except InputError:
            continue


@cache
def _template(name: str) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    smiles, names = RESIDUES[name]
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    heavy = [a for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    x = mol.GetConformer().GetPositions()[[a.GetIdx() for a in heavy]]
    return x, tuple(names.split()), tuple(a.GetSymbol() for a in heavy)


def packed_pocket(ligand: Ligand, rng: np.random.Generator, open_side: float = 0.35) -> str:
    """PDB text of side chains about a ligand's pose, with one side open to the solvent.

    Each is put at contact with a random atom of the ligand, or of a side chain that is there, and
    of several tries the one with the most hydrogen bonds and greasy contacts is kept.
    """
    lig = ligand.positions
    middle = lig.mean(0)
    out = rng.normal(size=3)
    out = out / np.linalg.norm(out)
    of = {name: k for k, name in enumerate(FEATURES)}
    donor, acceptor = ligand.features[:, of["donor"]], ligand.features[:, of["acceptor"]]
    greasy = ligand.features[:, of["hydrophobic"]]
    names, weights = list(RESIDUES), np.array([SHARE.get(n, 1) for n in RESIDUES], float)
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 30)))
    placed: list[tuple[str, np.ndarray]] = []
    every = np.zeros((0, 3))
    polar_done: set[int] = set()
    for layer, wanted in ((0, 30), (1, 40)):
        for _ in range(wanted):
            best: tuple[float, str, np.ndarray, int] | None = None
            tries = 24
            chosen = rng.choice(names, p=weights / weights.sum(), size=tries)
            turns = random_rotations(tries, generator).numpy()
            for name, turn in zip(chosen, turns, strict=True):
                x, atoms, symbols = _template(str(name))
                x = (x - x[-1]) @ turn.T
                base = lig if layer == 0 else every
                k = int(rng.integers(len(base)))
                way = rng.normal(size=3)
                way = way / np.linalg.norm(way)
                polar = symbols[-1] in "NO" and layer == 0 and donor[k] + acceptor[k] > 0
                x = x + base[k] + way * (2.85 if polar else 3.8)
                if (x.mean(0) - middle) @ out > open_side * 10:
                    continue
                to_ligand = np.linalg.norm(x[:, None] - lig, axis=-1)
                limit = np.full(to_ligand.shape, 3.5)
                if polar:
                    limit[-1, k] = 2.7
                if (to_ligand < limit).any():
                    continue
                if len(every) and np.linalg.norm(x[:, None] - every, axis=-1).min() < 3.4:
                    continue
                score = 0.0
                carbon = np.array([s in "CS" for s in symbols])
                score += 0.15 * ((to_ligand < 4.3) & carbon[:, None] & (greasy > 0)).sum()
                if polar:
                    gives = name in ("LYS", "ARG") or symbols[-1] == "N"
                    fits = (
                        acceptor[k]
                        if gives
                        else max(donor[k], acceptor[k] * (atoms[-1][0:2] == "OG"))
                    )
                    score += 2.0 * fits - 2.0 * (1 - fits) - 1.5 * (k in polar_done)
                if best is None or score > best[0]:
                    best = (score, str(name), x, k if polar else -1)
            if best is not None:
                placed.append((best[1], best[2]))
                every = np.concatenate([every, best[2]])
                polar_done.add(best[3])
    lines, serial = [], 0
    for number, (name, x) in enumerate(placed, 1):
        _, atoms, symbols = _template(name)
        for atom, symbol, place in zip(atoms, symbols, x, strict=True):
            serial += 1
            lines.append(
                f"ATOM  {serial:5d}  {atom:<3s} {name} A{number:4d}    "
                f"{place[0]:8.3f}{place[1]:8.3f}{place[2]:8.3f}  1.00  0.00          {symbol:>2s}"
            )
    return "\n".join([*lines, "END", ""])


def write_complex(folder: Path, name: str, seed: int) -> bool:
    """Write ID/ID_ligand.sdf and ID/ID_pocket.pdb; the ligand at the least known energy.

    The pose about which the pocket was packed goes down the known energy, and a search looks for
    lower ones; False (and no files) where two places are nearly as good.
    """
    rng = np.random.default_rng([seed, 17])
    ligand = random_ligand(rng)
    text = packed_pocket(ligand, rng)
    site = protein_of(gemmi.read_pdb_string(text), name)
    complex_ = make_complex(ligand, site)
    field = physical_field(complex_)
    with torch.no_grad():
        search = Search(field, Box.around(ligand.positions, 4.0), seed)
        x, energy = search.descend(torch.tensor(ligand.positions)[None], 150, 0.3)
        others, theirs = search.run(24, 2)
    places, known = torch.cat([x, others]).numpy(), torch.cat([energy, theirs]).numpy()
    (first, _), *rest = clusters(places, known, ligand.automorphisms, 2.0)
    if rest and known[rest[0][0]] - known[first] < GAP:
        return False
    whole = folder / name
    mol = ligand.placed(places[first])
    mol.SetProp("_Name", ligand.name)
    mol.SetProp("known_energy_kcal_per_mol", f"{known[first]:.4f}")
    write_whole(whole / f"{name}_pocket.pdb", text)
    write_whole(whole / f"{name}_ligand.sdf", Chem.SDWriter.GetText(mol))
    return True
