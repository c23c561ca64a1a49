"""Ligands: molecules with features, rotatable bonds and the strain of their torsions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from objstress.docking.heavy_atoms import FEATURES, RADII
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
"""Atoms of the smallest ring that counts as one."""
LARGEST = 300
"""Heavy atoms."""
LARGEST_AUTOMORPHISMS = 1000


@dataclass(frozen=True)
class Ligand:
    """A molecule that can be docked.

    Attributes:
        name: its title, its SMILES, or the file and the number of its record.
        mol: the molecule with hydrogens and one conformer.
        heavy: (n,) indices of its heavy atoms in `mol`; all arrays below are of these.
        positions: (n, 3) Angstrom.
        features: (n, len(FEATURES)), 0 or 1.
        edges: (e, 2) atoms that are bonded, or near and in the same rigid piece.
        tree: rotatable bonds.
        inner: (2, m) pairs that only repel, see `Complex`.
        torsions: (q, 4) atoms of one angle of each rotatable bond.
        torsion_terms: (q, k, 2) kcal/mol, see `Complex`.
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
        """The molecule with its heavy atoms moved; hydrogens follow the atoms they are bonded to.

        Args:
            positions: (n, 3) Angstrom, with bonds and angles as before.
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
            # The frame of the parent and two atoms near it that no torsion moves relative to it.
            frame = self._frame(atom.GetNeighbors()[0].GetIdx(), place)
            before, after = _axes(old[frame]), _axes(new[frame])
            new[a] = new[frame[0]] + after.T @ (before @ (old[a] - old[frame[0]]))
        for a, x in enumerate(new):
            conformer.SetAtomPosition(a, x.tolist())
        return mol

    def _frame(self, parent: int, place: dict[int, int]) -> list[int]:
        atom = self.mol.GetAtomWithIdx(parent)
        near = [n.GetIdx() for n in atom.GetNeighbors() if n.GetIdx() in place]
        if len(near) == 1:  # a methyl or hydroxyl: its hydrogens follow the next atom's bonds
            next_ = self.mol.GetAtomWithIdx(near[0])
            near += [n.GetIdx() for n in next_.GetNeighbors()
                     if n.GetIdx() in place and n.GetIdx() != parent]  # fmt: skip
        return [parent, *near[:2]]


def _axes(points: np.ndarray) -> np.ndarray:
    """Rows of an orthonormal frame of three points; any about a line, the axes of one point."""
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


def prepare_ligand(mol: Chem.Mol, name: str = "", seed: int = 0, placed: bool = False) -> Ligand:
    """The ligand of an RDKit molecule, with hydrogens and a conformer added where missing.

    Args:
        mol: the molecule; its coordinates are kept where it has any.
        name: for tables and messages; empty takes its title or its SMILES.
        seed: of the conformer.
        placed: refuse a molecule without coordinates, as its own place matters.

    Raises:
        InputError: several fragments, an element without a radius, no heavy atom or too many, or
            no conformer; with `placed`, no coordinates.
    """
    quiet = rdBase.BlockLogs()  # noqa: F841 (as long as it lives)
    mol, name, notes = with_coordinates(mol, name, seed, placed)
    heavy, positions = heavy_atoms(mol)
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
        notes.append(f"{len(tree) - len(torsions)} bonds rotate freely: MMFF94 lacks parameters")
    return Ligand(
        name=name, mol=mol, heavy=heavy, positions=positions, features=_features(mol, heavy),
        edges=np.argwhere(joined), tree=tree, inner=np.stack([i[far], j[far]]),
        torsions=torsions, torsion_terms=terms, automorphisms=_automorphisms(mol, n),
        notes=tuple(notes),
    )  # fmt: skip


def with_coordinates(
    mol: Chem.Mol, name: str, seed: int, placed: bool
) -> tuple[Chem.Mol, str, list[str]]:
    """The molecule with hydrogens and a conformer, its name, and what was done to it.

    Raises:
        InputError: see `prepare_ligand`.
    """
    name = name or (mol.GetProp("_Name") if mol.HasProp("_Name") else "") or Chem.MolToSmiles(mol)
    notes = []
    fragments = Chem.GetMolFrags(mol)
    if len(fragments) > 1:
        raise InputError(
            f"{name}: {len(fragments)} fragments; remove salts and waters (or dock each alone)"
        )
    if not 0 < mol.GetNumHeavyAtoms() <= LARGEST:
        raise InputError(f"{name}: {mol.GetNumHeavyAtoms()} heavy atoms; give 1 to {LARGEST}")
    unknown = sorted({a.GetSymbol() for a in mol.GetAtoms()} - set(RADII) - {"H"})
    if unknown:
        raise InputError(f"{name}: no radius of element {', '.join(unknown)}; known are "
                         f"H, {', '.join(k for k in RADII if k != 'metal')}")  # fmt: skip
    # Flat, or all atoms at one place: a record that was never embedded.
    flat = not mol.GetNumConformers() or not mol.GetConformer().Is3D()
    if not flat and mol.GetNumAtoms() > 1:
        flat = not np.ptp(mol.GetConformer().GetPositions())
    if flat and placed:
        raise InputError(f"{name}: no 3D coordinates, which are needed here")
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
    if not np.isfinite(heavy_atoms(mol)[1]).all():
        raise InputError(f"{name}: positions are not finite")
    return mol, name, notes


def heavy_atoms(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n,) of the heavy atoms and their positions (n, 3) in Angstrom."""
    heavy = np.array([a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1])
    return heavy, mol.GetConformer().GetPositions()[heavy]


def _features(mol: Chem.Mol, heavy: np.ndarray) -> np.ndarray:
    matches = {name: {m[0] for m in mol.GetSubstructMatches(query, maxMatches=10_000)}
               for name, query in (("donor", DONOR), ("acceptor", ACCEPTOR),
                                   ("hydrophobic", HYDROPHOBIC))}  # fmt: skip
    rows = []
    for a in map(int, heavy):
        atom = mol.GetAtomWithIdx(a)
        true = {atom.GetSymbol()} | {name for name, places in matches.items() if a in places}
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
    """One angle (q, 4) of each rotatable bond, and its series, see `torsion_series`."""
    angles, terms = [], []
    place = {int(a): k for k, a in enumerate(heavy)}
    for a, b in heavy[tree.axes.numpy()].tolist():
        c, d = (
            min({n.GetIdx() for n in mol.GetAtomWithIdx(e).GetNeighbors()} & place.keys() - {a, b})
            for e in (a, b)
        )
        series = torsion_series(mol, (c, a, b, d))
        if series is not None:
            angles.append([place[k] for k in (c, a, b, d)])
            terms.append(series)
    shape = (-1, ORDER + 1, 2)
    return np.array(angles, dtype=int).reshape(-1, 4), np.array(terms, dtype=float).reshape(shape)


def _automorphisms(mol: Chem.Mol, n: int) -> np.ndarray:
    light = Chem.Mol(mol)
    for atom in light.GetAtoms():
        atom.SetIsotope(0)  # or deuterium would stay
    light = Chem.RemoveHs(light, sanitize=False)
    # The resonance form that was drawn must not make two oxygens differ.
    query = Chem.AdjustQueryParameters.NoAdjustments()
    query.makeBondsGeneric = True  # type: ignore[assignment]
    pattern = Chem.AdjustQueryProperties(light, query)
    for atom in light.GetAtoms():
        atom.SetFormalCharge(0)
    for atom in pattern.GetAtoms():
        atom.SetFormalCharge(0)
    matches = light.GetSubstructMatches(
        pattern, uniquify=False, maxMatches=LARGEST_AUTOMORPHISMS, useChirality=False
    )
    # Generic bonds alone would exchange CH2= with CH3-.
    kind = np.array([int(a.GetHybridization()) for a in light.GetAtoms()])
    alike = [m for m in matches if len(m) == n and (kind[list(m)] == kind).all()]
    return np.array(alike or [tuple(range(n))])
