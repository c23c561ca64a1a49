"""What turning about one bond costs: a relaxed scan with MMFF94, as a Fourier series."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

ORDER = 6
"""Highest harmonic."""
ANGLES = 24
"""Of a scan."""
HIGHEST = 10.0
"""kcal/mol: walls are cut there, so that a series of few harmonics follows the rest."""
STIFF = 1000.0
"""kcal/mol/degree^2, what holds an angle while all else relaxes."""
ROUNDS = 200
"""Of a minimisation, at most."""
CONFORMERS = 8
"""That a scan starts from."""
BETTER = 0.1
"""kcal/mol, for which the angles beside are tried again."""
LARGEST_RING = 8
"""Atoms; larger ones are cut."""


def torsion_series(mol: Chem.Mol, four: tuple[int, int, int, int]) -> np.ndarray | None:
    r"""E(phi) = sum_k a_k cos k phi + b_k sin k phi, the least over phi being 0

    fitted to min_x E_MMFF94(x | phi) of the part of the molecule about the bond: atoms within two
    bonds of its own, rings, multiple bonds and chains' ends whole, hydrogens where it is cut. No
    electrostatics, which the solvent screens. x is all that the stereoisomer can be, with puckers
    of rings and inverted amines. Bare torsion terms of a force field are not what turning costs:
    they leave out the repulsion of neighbours, which twists crowded bonds out of their planes.
    Halgren, J. Comput. Chem. 17, 490 (1996).

    Args:
        mol: with hydrogens and a conformer, of which chirality is read and nothing else.
        four: atoms in a row, the bond in the middle; phi is their angle.

    Returns:
        (ORDER + 1, 2) kcal/mol, a_k and b_k; None where MMFF94 lacks parameters or RDKit finds no
        conformer.
    """
    # The angle read from its other end is the same.
    parts = _part(mol, four), _part(mol, four[::-1])
    own = min(Chem.MolToSmiles(part) for part in parts)
    for atom in (a for part in parts for a in part.GetAtoms()):
        atom.InvertChirality()
    mirrored = min(Chem.MolToSmiles(part) for part in parts)
    # One scan serves both hands: the mirror image turns by -phi.
    series = _scan(min(own, mirrored), own == mirrored)
    return series if series is None or own <= mirrored else series * (1, -1)


def _part(mol: Chem.Mol, four: tuple[int, int, int, int]) -> Chem.Mol:
    """The part about a bond, the four atoms marked as isotopes 1 to 4."""
    rings = [set(r) for r in mol.GetRingInfo().AtomRings() if len(r) <= LARGEST_RING]
    steps = Chem.GetDistanceMatrix(mol)[list(four[1:3])].min(0)
    kept, more = set[int](), set(np.flatnonzero(steps <= 2).tolist())
    while more - kept:
        kept |= more
        edge = [n.GetIdx() for a in kept for n in mol.GetAtomWithIdx(a).GetNeighbors()
                if n.GetIdx() not in kept]  # fmt: skip
        more = {a for a, times in Counter(edge).items() if times > 1}  # no hydrogen has two bonds
        more |= {b.GetOtherAtomIdx(a) for a in kept for b in mol.GetAtomWithIdx(a).GetBonds()
                 if b.GetBondTypeAsDouble() > 1}  # fmt: skip
        # Oxygens of a nitro group or an acid, fluorines, methyls.
        more |= {n for n in edge if mol.GetAtomWithIdx(n).GetDegree() == 1
                 or all(m.GetAtomicNum() == 1 for m in mol.GetAtomWithIdx(n).GetNeighbors()
                        if m.GetIdx() not in kept)}  # fmt: skip
        more = more.union(*(r for r in rings if r & kept))
    part = Chem.RWMol(mol)
    for atom in part.GetAtoms():
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
    # Which of two atoms alike the angle is of can make a centre chiral: marks first.
    for mark, a in enumerate(four, 1):
        part.GetAtomWithIdx(a).SetIsotope(mark)
    part.BeginBatchEdit()
    for a in set(range(mol.GetNumAtoms())) - kept - set(edge):
        part.RemoveAtom(a)
    for a in edge:
        for n in mol.GetAtomWithIdx(a).GetNeighbors():
            if n.GetIdx() not in kept:
                part.RemoveBond(a, n.GetIdx())
        part.ReplaceAtom(a, Chem.Atom(1))
    part.CommitBatchEdit()
    Chem.SanitizeMol(part)
    Chem.AssignStereochemistryFrom3D(part)
    for bond in part.GetBonds():
        if any(e.GetAtomicNum() == 7 and e.GetTotalNumHs(includeNeighbors=True) == e.GetDegree() - 1
               for e in (bond.GetBeginAtom(), bond.GetEndAtom())):  # fmt: skip
            bond.SetStereo(Chem.BondStereo.STEREONONE)  # of C=N-H, where its hydrogen happens to be
    return part


@lru_cache(maxsize=10_000)
def _scan(smiles: str, achiral: bool) -> np.ndarray | None:
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False  # type: ignore[assignment]
    part = Chem.MolFromSmiles(smiles, parameters)
    i, j, k, l = (
        next(a.GetIdx() for a in part.GetAtoms() if a.GetIsotope() == m) for m in (1, 2, 3, 4)
    )
    known = rdForceFieldHelpers.MMFFGetMoleculeProperties(part)
    if known is None:
        return None
    known.SetMMFFEleTerm(False)
    angles = np.arange(ANGLES) * (360.0 / ANGLES)
    least = np.full(ANGLES, np.inf)
    # The other bonds and rings of the part have their own minima: each angle's best geometry is
    # tried at the angles beside it until none gets better (Qiu et al., J. Chem. Phys. 152, 244116
    # (2020)).
    waiting = []
    for number in rdDistGeom.EmbedMultipleConfs(part, CONFORMERS, randomSeed=1):
        x = part.GetConformer(number)
        rdForceFieldHelpers.MMFFGetMoleculeForceField(part, known, confId=number).Minimize(ROUNDS)
        now = rdMolTransforms.GetDihedralDeg(x, i, j, k, l)
        waiting.append((round(now / 360 * ANGLES) % ANGLES, x.GetPositions()))
    if not waiting:
        return None
    x = part.GetConformer(0)
    while waiting:
        n, start = waiting.pop(0)
        x.SetPositions(start)
        rdMolTransforms.SetDihedralDeg(x, i, j, k, l, float(angles[n]))
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(part, known, confId=x.GetId())
        field.MMFFAddTorsionConstraint(i, j, k, l, False, angles[n], angles[n], STIFF)
        field.Minimize(ROUNDS)
        energy = field.CalcEnergy()
        if energy < least[n] - BETTER:
            least[n] = energy
            waiting += [((n + way) % ANGLES, x.GetPositions()) for way in (1, -1)]
    if achiral:
        least = np.minimum(least, np.roll(least[::-1], 1))
    capped = np.minimum(least - least.min(), HIGHEST)
    found = np.fft.rfft(capped)[: ORDER + 1] / ANGLES
    series = np.stack([found.real, -found.imag], axis=1) * 2
    fine = np.radians(np.arange(360))[:, None] * np.arange(ORDER + 1)
    values = np.cos(fine) @ series[:, 0] + np.sin(fine) @ series[:, 1]
    series[0, 0] -= values.min()
    series.setflags(write=False)
    return series
