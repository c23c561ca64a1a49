"""Strain-stress pairs of a material without listed atoms, from a CSV file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from ase.units import GPa

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.graphs.lone_nodes import host_of
from objstress.labels.strain_labels import Labels
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import VOIGT_PAIRS

FULL = [f"{i}{j}" for i in range(1, 4) for j in range(1, 4)]
SYMMETRIC = [f"{i + 1}{j + 1}" for i, j in VOIGT_PAIRS]
"""11 22 33 23 13 12: tensor components, not engineering shears."""


def read_pairs(path: str | Path, group: PointGroup) -> Labels:
    r"""Labels from measured or homogenised pairs of strain and stress, in the material's axes.

    Columns, in any order, lines that begin with # left out:

    - strain: F11 ... F33 (deformation gradient, nine) or E11 E22 E33 E23 E13 E12
      (Green-Lagrange, tensor components, not engineering shears);
    - stress, GPa: P11 ... P33 (first Piola-Kirchhoff, nine), S11 ... (second, six) or
      sigma11 ... (Cauchy, six);
    - W, GPa (energy per reference volume), optional.

    Args:
        path: the CSV file.
        group: the material's point group; its axes are the file's.

    Returns:
        Labels on a lone node of a lattice that is more symmetric than the group.

    Raises:
        InputError: no such file, missing or unknown columns, an entry that is not a finite number,
            det F <= 0, or a nominal stress in place of P.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of strain-stress pairs")
    try:
        table = pd.read_csv(path, comment="#", skipinitialspace=True)
    except Exception as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from None
    if table.empty:
        raise InputError(f"{path}: holds no pairs")
    strains = {"F": FULL, "E": SYMMETRIC}
    stresses = {"P": FULL, "S": SYMMETRIC, "sigma": SYMMETRIC}
    strain, stress = (_which(path, table, kinds) for kinds in (strains, stresses))
    used = [strain + c for c in strains[strain]] + [stress + c for c in stresses[stress]]
    unknown = [c for c in table.columns if c not in [*used, "W"]]
    if unknown:
        raise InputError(
            f"{path}: unknown column {unknown[0]!r}; known are F.., E.., P.., S.., sigma.. and W"
        )
    numbers = table.apply(pd.to_numeric, errors="coerce")
    broken = np.flatnonzero(~np.isfinite(numbers.to_numpy(float)).all(axis=1))
    if len(broken):
        raise InputError(f"{path}: pair {broken[0] + 1} has an entry that is not a finite number")
    f = _tensors(numbers, strain, strains[strain])
    if strain == "E":
        if np.linalg.eigvalsh(np.eye(3) + 2 * f).min() <= 0:
            raise InputError(f"{path}: a strain E for which I + 2 E is not positive definite")
        f = right_stretch(f)
    j = np.linalg.det(f)
    if (j <= 0).any():
        raise InputError(f"{path}: det F <= 0 in pair {np.flatnonzero(j <= 0)[0] + 1}")
    t = _tensors(numbers, stress, stresses[stress])
    f_transposed = f.transpose(0, 2, 1)
    cauchy = {"P": t @ f_transposed, "S": f @ t @ f_transposed, "sigma": t}[stress]
    if stress != "sigma":
        cauchy = cauchy / j[:, None, None]
    if stress == "P":
        _check_order(path, f, t)
    structure = host_of(group)
    energy = numbers["W"].to_numpy() * GPa * structure.volume if "W" in numbers else np.nan
    return Labels(
        structure=structure,
        F=f,
        cauchy=cauchy,
        energy=np.broadcast_to(energy, len(f)).astype(float),
        ions="unlisted",
        source=path.name,
        lone=True,
    )


def _check_order(path: Path, f: np.ndarray, p: np.ndarray) -> None:
    # sigma is symmetric: of P and its transpose the nominal stress shows by the worse P F^T.
    def skew(stress: np.ndarray) -> float:
        kirchhoff = stress @ f.transpose(0, 2, 1)
        return float(np.linalg.norm(kirchhoff - kirchhoff.transpose(0, 2, 1)))

    if skew(p) > 10 * skew(p.transpose(0, 2, 1)) + 1e-9 * np.linalg.norm(p):
        raise InputError(
            f"{path}: P F^T is not symmetric, but is with P transposed: give the first "
            "Piola-Kirchhoff stress P_iJ = dW/dF_iJ, not the nominal one"
        )


def _which(path: Path, table: pd.DataFrame, kinds: dict[str, list[str]]) -> str:
    complete = [k for k, suffixes in kinds.items() if all(k + c in table for c in suffixes)]
    if len(complete) == 1:
        return complete[0]
    names = " or ".join(f"{k}{c[0]} ... {k}{c[-1]}" for k, c in kinds.items())
    partial = [k for k, suffixes in kinds.items() if any(k + c in table for c in suffixes)]
    if partial and not complete:
        missing = [partial[0] + c for c in kinds[partial[0]] if partial[0] + c not in table]
        raise InputError(f"{path}: column {missing[0]} is missing; give {names}")
    what = "more than one kind" if complete else "none"
    raise InputError(f"{path}: {what} of the columns {names}; give one")


def _tensors(numbers: pd.DataFrame, kind: str, suffixes: list[str]) -> np.ndarray:
    out = np.zeros((len(numbers), 3, 3))
    for c in suffixes:
        i, j = int(c[0]) - 1, int(c[1]) - 1
        out[:, i, j] = numbers[kind + c]
        if len(suffixes) == 6:
            out[:, j, i] = numbers[kind + c]
    return out
