"""Synthetic complexes with a known energy: side chains packed about molecules of many kinds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import count, islice
from pathlib import Path

import gemmi
import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom
from torch_geometric.data import Data
from tqdm import tqdm

from objstress.docking.box import Box
from objstress.docking.complex import Complex, make_complex
from objstress.docking.field import CENTRES, WIDTHS, PoseField
from objstress.docking.heavy_atoms import FEATURES, heavy_atom_graph, hydrogen_bonds
from objstress.docking.ligand import Ligand, prepare_ligand
from objstress.docking.poses import clusters
from objstress.docking.protein import pdb_line, protein_of
from objstress.docking.residues import residue_features
from objstress.docking.search import Search
from objstress.docking.torsion_tree import TorsionTree, uniform_rotations
from objstress.errors import InputError
from objstress.io.files import write_whole
from objstress.parallel import spread

# SMILES and atom names of side chains (and the peptide group) from the bond where they are cut.
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
    "C(=O)N", "C(=O)[O-]", "C[NH3+]", "CCO", "OC", "C", "CC(C)C", "C(F)(F)F", "c1ccccc1",
    "c1ccncc1", "CC(=O)NC", "CS(=O)(=O)N", "CC[NH+](C)C", "Cc1ccc(O)cc1", "CC(N)=O", "CC#N",
    "c1ccc(Cl)cc1",
    "CCSC", "C1CCCC1", "NC(=O)C", "OCc1ccc(F)cc1", "Cc1c[nH]c2ccccc12", "C(=O)NCC",
)  # fmt: skip

# kcal/mol. Contact and hydrogen bonds in AutoDock Vina's proportions (Trott and Olson, 2010).
CONTACT, HYDROPHOBIC, BOND, CHARGE, OVERLAP = -0.03, -0.10, -0.55, -0.25, 1.5
NONE = np.zeros((0, 2), dtype=int)
KINDS, TRIES = 3, 8
"""Kinds of side chain that are tried at each place, and starts of each; the best one is kept."""
OPEN = 0.5
"""Cosine, and fraction of the ligand's radius, beyond which nothing is placed."""
GAP = 0.5
"""kcal/mol between the native place and the next one, more than 2 Angstrom away."""


def physical_field(complex_: Complex) -> PoseField:
    """The known energy of synthetic complexes: contacts, hydrogen bonds, charges and overlap.

    It has the bumps of `PoseEnergy`, with scores that depend on the features of the two atoms
    alone; contacts and hydrogen bonds are in AutoDock Vina's proportions (Trott and Olson, J.
    Comput. Chem. 31, 455 (2010)). Energies are in kcal/mol.

    Args:
        complex_: see `make_complex`.
    """
    column = {name: k for k, name in enumerate(FEATURES)}
    a, b = complex_.ligand.features, complex_.site.features

    def both(x: str, y: str) -> torch.Tensor:
        return a[:, column[x], None] * b[:, column[y]]

    hydrophobic = both("hydrophobic", "hydrophobic")
    bond = hydrogen_bonds(complex_.ligand, complex_.site)
    charge = (both("positive", "negative") + both("negative", "positive")
              - both("positive", "positive") - both("negative", "negative"))  # fmt: skip
    scores = torch.stack(
        [
            BOND * bond + CHARGE * charge,
            CONTACT + HYDROPHOBIC * hydrophobic,
            0.5 * HYDROPHOBIC * hydrophobic,
            torch.full_like(hydrophobic, 0.2 * CONTACT),
        ],
        dim=-1,
    )
    overlap, centres, widths = (
        torch.tensor(v, dtype=torch.float64) for v in (OVERLAP, CENTRES, WIDTHS)
    )
    return PoseField(complex_, scores, overlap, overlap, centres, widths)


def random_ligand(rng: np.random.Generator) -> Ligand:
    """A random molecule of 10 to 34 heavy atoms: a core with two ends.

    One of the ends is at times a core with its own end.

    Args:
        rng: source of the choices.
    """

    def with_ends(first: str, last: str) -> str:
        # Ring numbers of an end must differ from those open where it is put in.
        ends = (e.translate(str.maketrans("12", d)) for e, d in ((first, "34"), (last, "56")))
        return str(rng.choice(CORES)).format(*ends)

    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    while True:
        one, two, three = map(str, rng.choice(ENDS, size=3))
        if rng.random() < 0.3:
            two = with_ends(two, three).translate(str.maketrans("12", "78"))
        smiles = with_ends(one, two)
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not 10 <= mol.GetNumHeavyAtoms() <= 34:
            continue
        try:
            return prepare_ligand(mol, smiles, seed=int(rng.integers(1 << 30)))
        except InputError:
            continue


@cache
def _template(name: str) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Places about their mean, names, elements and features of a side chain's atoms."""
    smiles, names = RESIDUES[name]
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    heavy = [a for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    x = mol.GetConformer().GetPositions()[[a.GetIdx() for a in heavy]]
    atoms, symbols = tuple(names.split()), tuple(a.GetSymbol() for a in heavy)
    features = [residue_features(name, *each) for each in zip(atoms, symbols, strict=True)]
    return x - x.mean(0), atoms, symbols, np.array(features)


def _chain(name: str, about: Data) -> Complex:
    """A side chain as a ligand without torsions."""
    x, _, _, features = _template(name)
    nothing = torch.zeros(0, 4, dtype=torch.int64)
    tree = TorsionTree(nothing[:, :2], torch.zeros(0, len(x), dtype=torch.bool), len(x))
    return Complex(
        heavy_atom_graph(x, features, NONE), about, tree, nothing[:, :2].T, nothing,
        torch.zeros(0, 1, 2), torch.tensor(x), torch.arange(len(x))[None],
    )  # fmt: skip


def packed_pocket(
    ligand: Ligand, rng: np.random.Generator, inner: int = 30, outer: int = 30
) -> str:
    """A pocket of side chains packed about a ligand's pose, open on one side to the solvent.

    Side chains are added one after the other: several kinds from several places descend the known
    energy of the ligand and the side chains present, and the lowest one is kept. The `inner` ones
    touch the ligand, whose energy counts twice for them; the `outer` ones stand behind them.

    Args:
        ligand: in its pose.
        rng: source of the choices.
        inner: most side chains next to the ligand.
        outer: most side chains behind them.

    Returns:
        The pocket as PDB text.
    """
    core = heavy_atom_graph(ligand.positions, ligand.features, NONE)
    about, placed = core, []
    middle, radius = ligand.positions.mean(0), np.ptp(ligand.positions, axis=0).max() / 2
    out = rng.normal(size=3)
    out = out / np.linalg.norm(out)
    names, shares = list(RESIDUES), np.array([SHARE.get(n, 1) for n in RESIDUES], float)
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 30)))
    for number in range(inner + outer):
        touches, candidates = number < inner, []
        for name in rng.choice(names, p=shares / shares.sum(), size=KINDS if touches else 1):
            way = rng.normal(size=(TRIES, 3))
            way /= np.linalg.norm(way, axis=1, keepdims=True)
            way -= 2 * np.maximum(way @ out - OPEN, 0)[:, None] * out
            base = ligand.positions[rng.integers(len(ligand.positions), size=TRIES)]
            begin = base + 4.5 * way if touches else middle + (radius + 9.0) * way
            chain = _chain(str(name), about)
            rotations = uniform_rotations(TRIES, generator)
            x = chain.native @ rotations.mT + torch.tensor(begin)[:, None]
            x, energy = Search(physical_field(chain), None).descend(x, 30)
            if touches:
                energy = energy + physical_field(replace(chain, site=core))(x)[0]
            outside = torch.tensor((x.mean(1).numpy() - middle) @ out > OPEN * radius)
            energy = torch.where(outside, torch.inf, energy)
            k = int(energy.argmin())
            candidates.append((float(energy[k]), str(name), x[k].numpy()))
        least, name, place = min(candidates, key=lambda c: c[0])
        if least < -0.5:
            placed.append((name, place))
            about = heavy_atom_graph(
                np.concatenate([about.pos.numpy(), place]),
                np.concatenate([about.features.numpy(), _template(name)[3]]),
                NONE,
            )
    lines, serial = [], 0
    for number, (name, places) in enumerate(placed, 1):
        _, atoms, symbols, _ = _template(name)
        for atom, symbol, place in zip(atoms, symbols, places, strict=True):
            serial += 1
            lines.append(pdb_line(serial, atom, symbol, "A", name, str(number), place))
    return "\n".join([*lines, "END", ""])


def make_complexes(folder: Path, number: int, first: int = 0, workers: int = 1) -> list[str]:
    """Make synthetic complexes "made-SEED" in a folder, in the layout of `complexes_in`.

    Complexes that are in the folder are kept and counted; new seeds follow the highest one.

    Args:
        folder: made where it does not exist.
        number: least number of complexes in the folder afterwards.
        first: the first seed.
        workers: parallel processes, see `spread`.

    Returns:
        The names of all complexes in the folder.

    Raises:
        InputError: the folder holds something else, or a worker fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = sorted(f.name for f in folder.iterdir() if f.suffix != ".new")
    others = [n for n in made if not n.removeprefix("made-").isdigit()]
    if others or any(int(n.removeprefix("made-")) < first for n in made):
        raise InputError(f"{folder}: holds {(others or made)[0]}; give an empty folder")
    seeds = count(1 + int(made[-1].removeprefix("made-")) if made else first)
    with (
        tqdm(total=number, initial=len(made), desc="complexes") as bar,
        spread(write_complex, workers, None) as execute,
    ):
        while len(made) < number:
            some = min(max(number - len(made), workers), 4 * workers)
            jobs = [(folder, f"made-{k:08d}", k) for k in islice(seeds, some)]
            for n, written in execute(jobs):
                if isinstance(written, str):
                    raise InputError(f"{jobs[n][1]}: {written}")
                if written:
                    made.append(jobs[n][1])
                    bar.update()
    return sorted(made)


def write_complex(folder: Path, name: str, seed: int) -> bool:
    """Write one synthetic complex, its ligand at the least known energy.

    The pose about which the pocket was packed descends the known energy, and a search looks for
    lower ones. The files are NAME/NAME_ligand.sdf and NAME/NAME_pocket.pdb.

    Args:
        folder: where the complex's own folder is made.
        name: of the complex.
        seed: of the random numbers.

    Returns:
        Whether the complex was written: not where another place is nearly as good, within 0.5
        kcal/mol.
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
        others, theirs = search.run(24, 6)
    places, known = torch.cat([x, others]).numpy(), torch.cat([energy, theirs]).numpy()
    (first, _), *rest = clusters(places, known, ligand.automorphisms, 2.0)
    if rest and known[rest[0][0]] - known[first] < GAP:
        return False
    # Whole or not at all: an existing folder is not made again.
    new = folder / f"{name}.new"
    mol = ligand.placed(places[first])
    mol.SetProp("_Name", ligand.name)
    mol.SetProp("known_energy_kcal_per_mol", f"{known[first]:.4f}")
    write_whole(new / f"{name}_pocket.pdb", text)
    write_whole(new / f"{name}_ligand.sdf", Chem.SDWriter.GetText(mol))
    new.rename(folder / name)
    return True
