"""The strain of one rotatable bond: a relaxed scan with MMFF94, as a Fourier series."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

ORDER = 6
"""Highest harmonic."""
ANGLES = 24
"""Angles of a scan."""
HIGHEST = 10.0
"""kcal/mol; walls are cut there, so that a series of few harmonics follows the rest."""
STIFF = 1000.0
"""kcal/mol/degree^2, the constraint on the angle while all else relaxes."""
ROUNDS = 200
"""Most iterations of a minimisation."""
CONFORMERS = 8
"""Conformers from which a scan starts."""
BETTER = 0.1
"""kcal/mol, the gain for which the neighbouring angles are tried again."""
LARGEST_RING = 8
"""Atoms; larger rings are cut."""


def torsion_series(mol: Chem.Mol, four: tuple[int, int, int, int]) -> np.ndarray | None:
    r"""The strain energy of rotating about one bond, as a Fourier series.

    .. math::

        E(\varphi) = \sum_k a_k \cos k\varphi + b_k \sin k\varphi
            \approx \min_x E_\mathrm{MMFF94}(x \mid \varphi), \qquad \min_\varphi E = 0

    for the fragment of the molecule about the bond, `torsion_fragment`. Electrostatics are left
    out, as the solvent screens them. x runs over all conformers of the stereoisomer, with puckers
    of rings and inverted amines. The bare torsion terms of a force field are not this energy: they
    leave out the repulsion of neighbours, which twists crowded bonds out of their planes. Halgren,
    J. Comput. Chem. 17, 490 (1996).

    Args:
        mol: with hydrogens and a conformer, of which only the chirality is used.
        four: atoms in a row, the bond in the middle; phi is their angle.

    Returns:
        (7, 2) kcal/mol, a_k and b_k for k = 0 to 6; None where MMFF94 lacks parameters or RDKit
        finds no conformer.
    """
    # The angle read from its other end is the same.
    parts = torsion_fragment(mol, four), torsion_fragment(mol, four[::-1])
    smiles = min(Chem.MolToSmiles(part) for part in parts)
    for atom in (a for part in parts for a in part.GetAtoms()):
        atom.InvertChirality()
    mirrored = min(Chem.MolToSmiles(part) for part in parts)
    # One scan serves both enantiomers: the mirror image has the angle -phi.
    series = _scan(min(smiles, mirrored), smiles == mirrored)
    return series if series is None or smiles <= mirrored else series * (1, -1)


def torsion_fragment(mol: Chem.Mol, four: tuple[int, int, int, int]) -> Chem.Mol:
    """The fragment about a bond: atoms within two bonds, with whole rings and multiple bonds.

    Ends of chains are kept whole, too, and hydrogens stand where it is cut.

    Args:
        mol: with hydrogens and a conformer.
        four: atoms in a row, the bond in the middle; the fragment has them as isotopes 1 to 4.
    """
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
    # The choice between two equivalent atoms can make a centre chiral: marks come first.
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
            bond.SetStereo(Chem.BondStereo.STEREONONE)  # of C=N-H: its hydrogen's side is chance
    return part


@lru_cache(maxsize=10_000)
def _scan(smiles: str, achiral: bool) -> np.ndarray | None:
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False  # type: ignore[assignment]
    part = Chem.MolFromSmiles(smiles, parameters)
    i, j, k, l = (
        next(a.GetIdx() for a in part.GetAtoms() if a.GetIsotope() == m) for m in (1, 2, 3, 4)
    )
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(part)
    if properties is None:
        return None
    properties.SetMMFFEleTerm(False)
    angles = np.arange(ANGLES) * (360.0 / ANGLES)
    least = np.full(ANGLES, np.inf)
    # The other bonds and rings of the fragment have their own minima: the best geometry of each
    # angle is tried at its neighbouring angles until none improves (Qiu et al., J. Chem. Phys.
    # 152, 244116 (2020)).
    waiting = []
    for number in rdDistGeom.EmbedMultipleConfs(part, CONFORMERS, randomSeed=1):
        x = part.GetConformer(number)
        rdForceFieldHelpers.MMFFGetMoleculeForceField(part, properties, confId=number).Minimize(
            ROUNDS
        )
        now = rdMolTransforms.GetDihedralDeg(x, i, j, k, l)
        waiting.append((round(now / 360 * ANGLES) % ANGLES, x.GetPositions()))
    if not waiting:
        return None
    x = part.GetConformer(0)
    while waiting:
        n, start = waiting.pop(0)
        x.SetPositions(start)
        rdMolTransforms.SetDihedralDeg(x, i, j, k, l, float(angles[n]))
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(part, properties, confId=x.GetId())
        field.MMFFAddTorsionConstraint(i, j, k, l, False, angles[n], angles[n], STIFF)
        field.Minimize(ROUNDS)
        energy = field.CalcEnergy()
        if energy < least[n] - BETTER:
            least[n] = energy
            waiting += [((n + way) % ANGLES, x.GetPositions()) for way in (1, -1)]
    if achiral:
        least = np.minimum(least, np.roll(least[::-1], 1))
    capped = np.minimum(least - least.min(), HIGHEST)
    modes = np.fft.rfft(capped)[: ORDER + 1] / ANGLES
    series = np.stack([modes.real, -modes.imag], axis=1) * 2
    fine = np.radians(np.arange(360))[:, None] * np.arange(ORDER + 1)
    values = np.cos(fine) @ series[:, 0] + np.sin(fine) @ series[:, 1]
    series[0, 0] -= values.min()
    series.setflags(write=False)
    return series
