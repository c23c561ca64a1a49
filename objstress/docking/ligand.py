"""Ligands from SDF, MOL2 or SMILES."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from objstress.docking.site import FEATURES, RADII
from objstress.docking.torsion_scan import ORDER, torsion_series
from objstress.docking.torsion_tree import TorsionTree
from objstress.errors import InputError

ROTATABLE = Chem.MolFromSmarts(
    "[!$(*#*)&!D1&!$(C(F)(F)F)&!$(C(Cl)(Cl)Cl)&!$(C([CH3])([CH3])[CH3])]-,:;!@"
    "[!$(*#*)&!D1&!$(C(F)(F)F)&!$(C(Cl)(Cl)Cl)&!$(C([CH3])([CH3])[CH3])]"
)
AMIDE = Chem.MolFromSmarts("[CX3](=[O,S,N])-[NX3]")
DONOR = Chem.MolFromSmarts("[$([N,O,S;!H0])]")
ACCEPTOR = Chem.MolFromSmarts(
    "[$([O;v2,-1]),$([N;v3;X1,X2,n]),$([N;X3;H0;!$(N-[C,S]=*);!$(N-a);!+])]"
)
HYDROPHOBIC = Chem.MolFromSmarts("[$([#6;!$([#6]~[#7,#8,#9])]),Cl,Br,I]")
MACROCYCLE = 9
"""Atoms of the smallest ring that is called one."""
ENDINGS = (".sdf", ".mol", ".mol2", ".smi", ".txt")
UNREADABLE = "not a record that RDKit can read"
LARGEST = 300
"""Heavy atoms."""
LARGEST_AUTOMORPHISMS = 1000


@dataclass(frozen=True)
class Ligand:
    """A molecule that is to be docked.

    Attributes:
        name: its title, its SMILES, or the file and the number of its record.
        mol: with hydrogens and one conformer.
        heavy: places of its heavy atoms in `mol`; all arrays below are of these.
        positions: (n, 3) Angstrom.
        features: (n, len(FEATURES)).
        edges: (e, 2), bonded, or in the same rigid piece and near.
        tree: rotatable bonds.
        inner, torsions, torsion_terms: see `Complex`.
        automorphisms: (s, n), orders of the atoms that make the same molecule.
        notes: what was done to it, a line each.
    """

    name: str
    mol: Chem.Mol
    heavy: np.ndarray
    positions: np.ndarray
    features: np.ndarray
    edges: np.ndarray
    tree: TorsionTree
    inner: np.ndarray
    torsions: np.ndarray
    torsion_terms: np.ndarray
    automorphisms: np.ndarray
    notes: tuple[str, ...] = ()

    def placed(self, positions: np.ndarray) -> Chem.Mol:
        """The molecule with its heavy atoms at these places; hydrogens follow those they are on.

        Args:
            positions: (n, 3) Angstrom, bonds and angles as they were.
        """
        mol = Chem.Mol(self.mol)
        conformer = mol.GetConformer()
        old = conformer.GetPositions()
        new = old.copy()
        new[self.heavy] = positions
        place = {int(a): k for k, a in enumerate(self.heavy)}
        for atom in mol.GetAtoms():
            a = atom.GetIdx()
            if a in place:
                continue
            # The frame of the parent and two atoms near it that no torsion moves against it.
            frame = self._frame(atom.GetNeighbors()[0].GetIdx(), place)
            before, after = _axes(old[frame]), _axes(new[frame])
            new[a] = new[frame[0]] + after.T @ (before @ (old[a] - old[frame[0]]))
        for a, x in enumerate(new):
            conformer.SetAtomPosition(a, x.tolist())
        return mol

    def _frame(self, parent: int, place: dict[int, int]) -> list[int]:
        atom = self.mol.GetAtomWithIdx(parent)
        near = [n.GetIdx() for n in atom.GetNeighbors() if n.GetIdx() in place]
        if len(near) == 1:  # a methyl or hydroxyl: its hydrogens turn with the next atom's bonds
            next_ = self.mol.GetAtomWithIdx(near[0])
            near += [n.GetIdx() for n in next_.GetNeighbors()
                     if n.GetIdx() in place and n.GetIdx() != parent]  # fmt: skip
        return [parent, *near[:2]]


def _axes(points: np.ndarray) -> np.ndarray:
    """Rows: an orthonormal frame of three points; about a line any, of one the axes as they are."""
    if len(points) < 2:
        return np.eye(3)
    e1 = points[1] - points[0]
    e1 = e1 / np.linalg.norm(e1)
    e2 = points[-1] - points[0]
    e2 = e2 - (e2 @ e1) * e1
    if np.linalg.norm(e2) < 1e-6:
        e2 = np.cross(e1, np.eye(3)[np.argmin(np.abs(e1))])
    e2 = e2 / np.linalg.norm(e2)
    return np.array([e1, e2, np.cross(e1, e2)])


def read_ligand(given: str | Path | Chem.Mol, placed: bool = False) -> Ligand:
    """The one ligand of a file, a SMILES or an RDKit molecule.

    Args:
        placed: where it is matters, so that it must come with coordinates.

    Raises:
        InputError: a file of several, and what `prepare_ligand` and `ligands_in` refuse.
    """
    return prepare_ligand(*_one(given), placed=placed)


def ligand_place(given: str | Path | Chem.Mol) -> np.ndarray:
    """(n, 3) Angstrom of the heavy atoms of a ligand that comes with coordinates, as they come.

    Raises:
        InputError: see `read_ligand`.
    """
    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    mol, _, _ = _in_space(*_one(given), seed=0, placed=True)
    return _heavy(mol)[1]


def _one(given: str | Path | Chem.Mol) -> tuple[Chem.Mol, str]:
    """The molecule and its name."""
    if isinstance(given, Chem.Mol):
        return given, ""
    found = list(ligands_in(given))
    if len(found) != 1:
        raise InputError(f"{given}: {len(found)} molecules; give one, or a table (--table) for all")
    name, mol = found[0]
    if isinstance(mol, str):
        raise InputError(f"{name}: {mol}")
    return mol, name


def ligands_in(given: str | Path) -> Iterator[tuple[str, Chem.Mol | str]]:
    """Names and molecules, or why there is none, of an SDF, MOL2 or SMILES file, or of one SMILES.

    A bad record does not end the file.

    Raises:
        InputError: no such file, or neither a file nor SMILES.
    """
    path = Path(given)
    kind = path.suffix.lower()
    if path.is_file() and kind not in ENDINGS:
        raise InputError(f"{path}: give a file that ends in {', '.join(ENDINGS)}")

    def named(k: int, title: str) -> str:
        return f"{path}:{k} {title}".rstrip()

    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    if kind in ENDINGS and not path.is_file():
        raise InputError(f"{path}: no such file")
    if kind in ENDINGS and not path.stat().st_size:
        raise InputError(f"{path}: empty")
    if kind in (".sdf", ".mol"):
        supplier = Chem.SDMolSupplier(str(path), removeHs=False)
        for k in range(len(supplier)):
            mol = supplier[k]
            try:
                title = mol.GetProp("_Name") if mol is not None and mol.HasProp("_Name") else ""
            except UnicodeDecodeError:
                title = ""
            yield named(k, title), mol if mol is not None else UNREADABLE
    elif kind == ".mol2":
        blocks = path.read_text(errors="replace").split("@<TRIPOS>MOLECULE")[1:]
        for k, block in enumerate(blocks):
            mol = Chem.MolFromMol2Block("@<TRIPOS>MOLECULE" + block, removeHs=False)
            title = block.lstrip("\r\n").partition("\n")[0].strip()
            yield named(k, title), mol if mol is not None else UNREADABLE
    elif kind in (".smi", ".txt"):
        for k, line in enumerate(path.read_text(errors="replace").splitlines()):
            if line.strip():
                smiles, *title = line.split(maxsplit=1)
                mol = Chem.MolFromSmiles(smiles)
                name = named(k, "".join(title))
                yield name, mol if mol is not None else f"{smiles[:60]}: not SMILES"
    else:
        mol = Chem.MolFromSmiles(str(given))
        if mol is None or not mol.GetNumAtoms():
            raise InputError(f"{str(given)[:80]}: neither a file (.sdf, .mol2, .smi) nor SMILES")
        yield str(given), mol


def prepare_ligand(mol: Chem.Mol, name: str = "", seed: int = 0, placed: bool = False) -> Ligand:
    """Hydrogens and a conformer where they lack, features, rotatable bonds.

    Raises:
        InputError: several fragments, an element without a radius, no heavy atom, too many, no
            conformer; with `placed`, none of its own.
    """
    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    mol, name, notes = _in_space(mol, name, seed, placed)
    heavy, positions = _heavy(mol)
    large = [len(r) for r in mol.GetRingInfo().AtomRings() if len(r) >= MACROCYCLE]
    if large:
        notes.append(f"ring of {max(large)} atoms kept rigid, as all rings are")
    n = len(heavy)
    steps = Chem.GetDistanceMatrix(mol)[np.ix_(heavy, heavy)]  # bonds
    tree, pieces = _tree(mol, heavy, steps)
    same = pieces[:, None] == pieces
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    joined = (steps == 1) | (same & (steps > 0) & (distance < 5.0))
    i, j = np.triu_indices(n, 1)
    far = (steps[i, j] > 3) & ~same[i, j]
    torsions, terms = _torsions(mol, heavy, tree)
    if len(torsions) < len(tree):
        notes.append(f"{len(tree) - len(torsions)} bonds turn freely: MMFF94 lacks parameters")
    return Ligand(
        name=name, mol=mol, heavy=heavy, positions=positions, features=_features(mol, heavy),
        edges=np.argwhere(joined), tree=tree, inner=np.stack([i[far], j[far]]),
        torsions=torsions, torsion_terms=terms, automorphisms=_automorphisms(mol, n),
        notes=tuple(notes),
    )  # fmt: skip


def _in_space(mol: Chem.Mol, name: str, seed: int, placed: bool) -> tuple[Chem.Mol, str, list[str]]:
    """With hydrogens and a conformer; its name; what was done."""
    name = name or (mol.GetProp("_Name") if mol.HasProp("_Name") else "") or Chem.MolToSmiles(mol)
    notes = []
    fragments = Chem.GetMolFrags(mol)
    if len(fragments) > 1:
        raise InputError(
            f"{name}: {len(fragments)} fragments; remove salts and waters (or dock each apart)"
        )
    if not 0 < mol.GetNumHeavyAtoms() <= LARGEST:
        raise InputError(f"{name}: {mol.GetNumHeavyAtoms()} heavy atoms; give 1 to {LARGEST}")
    strange = sorted({a.GetSymbol() for a in mol.GetAtoms()} - set(RADII) - {"H"})
    if strange:
        raise InputError(f"{name}: no radius of element {', '.join(strange)}; known are "
                         f"H, {', '.join(k for k in RADII if k != 'metal')}")  # fmt: skip
    # Flat, or all at one place, as records are that were never embedded.
    flat = not mol.GetNumConformers() or not mol.GetConformer().Is3D()
    if not flat and mol.GetNumAtoms() > 1:
        flat = not np.ptp(mol.GetConformer().GetPositions())
    if flat and placed:
        raise InputError(f"{name}: no coordinates in space; its own place is needed here")
    before = mol.GetNumAtoms()
    mol = Chem.AddHs(mol, addCoords=not flat)
    if mol.GetNumAtoms() > before:
        notes.append(f"{mol.GetNumAtoms() - before} hydrogens added")
    if flat:
        mol.RemoveAllConformers()
        if rdDistGeom.EmbedMolecule(mol, randomSeed=seed) != 0:
            raise InputError(f"{name}: RDKit finds no conformer; give an SDF with coordinates")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
            rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=2000)
        notes.append("conformer made by ETKDG and MMFF94")
    if not np.isfinite(_heavy(mol)[1]).all():
        raise InputError(f"{name}: positions are not finite")
    return mol, name, notes


def _heavy(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Heavy atoms and their positions."""
    heavy = np.array([a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1])
    return heavy, mol.GetConformer().GetPositions()[heavy]


def _features(mol: Chem.Mol, heavy: np.ndarray) -> np.ndarray:
    of = {name: {m[0] for m in mol.GetSubstructMatches(query, maxMatches=10_000)}
          for name, query in (("donor", DONOR), ("acceptor", ACCEPTOR),
                              ("hydrophobic", HYDROPHOBIC))}  # fmt: skip
    rows = []
    for a in map(int, heavy):
        atom = mol.GetAtomWithIdx(a)
        true = {atom.GetSymbol()} | {name for name, places in of.items() if a in places}
        charge = atom.GetFormalCharge()
        if atom.GetIsAromatic():
            true.add("aromatic")
        if atom.IsInRing():
            true.add("ring")
        if charge:
            true.add("positive" if charge > 0 else "negative")
        if atom.GetHybridization() in (Chem.HybridizationType.SP2, Chem.HybridizationType.SP):
            true.add("planar")
        rows.append([float(f in true) for f in FEATURES])
    return np.array(rows)


def _tree(mol: Chem.Mol, heavy: np.ndarray, steps: np.ndarray) -> tuple[TorsionTree, np.ndarray]:
    """Rotatable bonds, and the number of the rigid piece of each atom."""
    amides = {frozenset((m[0], m[2])) for m in mol.GetSubstructMatches(AMIDE)}
    chosen = {frozenset(m) for m in mol.GetSubstructMatches(ROTATABLE)} - amides
    bonded = steps == 1
    axes, moves, sides = [], [], []
    for a, b in np.argwhere(np.triu(bonded)).tolist():
        if frozenset((int(heavy[a]), int(heavy[b]))) not in chosen:
            continue
        if min(bonded[a].sum(), bonded[b].sum()) < 2:
            continue
        # In no ring: nearer to b means on b's side.
        of_b = steps[:, b] < steps[:, a]
        if of_b.sum() > len(heavy) / 2:
            a, b, of_b = b, a, ~of_b
        axes.append((a, b))
        sides.append(of_b)
        moves.append(of_b & (np.arange(len(heavy)) != b))
    n = len(heavy)
    # A rigid piece lies on one side of every axis.
    pieces = np.unique(np.reshape(sides, (-1, n)), axis=1, return_inverse=True)[1].reshape(n)
    tree = TorsionTree(
        torch.tensor(axes, dtype=torch.int64).reshape(-1, 2),
        torch.from_numpy(np.reshape(moves, (-1, n)).astype(bool)),
        n,
    )
    return tree, pieces


def _torsions(mol: Chem.Mol, heavy: np.ndarray, tree: TorsionTree) -> tuple[np.ndarray, np.ndarray]:
    """One angle of each rotatable bond, and its series; see `torsion_series`."""
    found, terms = [], []
    place = {int(a): k for k, a in enumerate(heavy)}
    for a, b in heavy[tree.axes.numpy()].tolist():
        c, d = (
            min({n.GetIdx() for n in mol.GetAtomWithIdx(e).GetNeighbors()} & place.keys() - {a, b})
            for e in (a, b)
        )
        series = torsion_series(mol, (c, a, b, d))
        if series is not None:
            found.append([place[k] for k in (c, a, b, d)])
            terms.append(series)
    shape = (-1, ORDER + 1, 2)
    return np.array(found, dtype=int).reshape(-1, 4), np.array(terms, dtype=float).reshape(shape)


def _automorphisms(mol: Chem.Mol, n: int) -> np.ndarray:
    light = Chem.Mol(mol)
    for atom in light.GetAtoms():
        atom.SetIsotope(0)  # or deuterium would stay
    light = Chem.RemoveHs(light, sanitize=False)
    # Which resonance form was drawn does not make two oxygens differ.
    query = Chem.AdjustQueryParameters.NoAdjustments()
    query.makeBondsGeneric = True  # type: ignore[assignment]
    pattern = Chem.AdjustQueryProperties(light, query)
    for atom in light.GetAtoms():
        atom.SetFormalCharge(0)
    for atom in pattern.GetAtoms():
        atom.SetFormalCharge(0)
    found = light.GetSubstructMatches(
        pattern, uniquify=False, maxMatches=LARGEST_AUTOMORPHISMS, useChirality=False
    )
    # Generic bonds alone would exchange CH2= with CH3-.
    kind = np.array([int(a.GetHybridization()) for a in light.GetAtoms()])
    alike = [m for m in found if len(m) == n and (kind[list(m)] == kind).all()]
    return np.array(alike or [tuple(range(n))])
