"""Strain-stress pairs of a material without listed atoms, from a CSV file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from ase.units import GPa

from objstress.elasticity.strain import right_stretch
from objstress.errors import InputError
from objstress.graphs.lone_nodes import host_of
from objstress.io.text import read_text
from objstress.labels.differences import strain_and_stress
from objstress.labels.strain_labels import Labels
from objstress.symmetry.point_group import PointGroup
from objstress.symmetry.voigt import VOIGT_PAIRS

FULL = [f"{i}{j}" for i in range(1, 4) for j in range(1, 4)]
SYMMETRIC = [f"{i + 1}{j + 1}" for i, j in VOIGT_PAIRS]
"""11 22 33 23 13 12: tensor components, not engineering shears."""
PURE = {"-": 1.0, "1": 1.0, "mm/mm": 1.0, "m/m": 1.0}
UNITS = {
    "gradient": PURE,
    "strain": PURE | {"%": 1e-2, "percent": 1e-2},
    "stress": {"gpa": 1.0, "mpa": 1e-3, "n/mm^2": 1e-3, "kpa": 1e-6, "pa": 1e-9, "kbar": 0.1},
    "energy": {
        **{"gpa": 1.0, "mpa": 1e-3, "kpa": 1e-6, "pa": 1e-9},
        **{"gj/m^3": 1.0, "mj/m^3": 1e-3, "kj/m^3": 1e-6, "j/m^3": 1e-9, "j/cm^3": 1e-3},
    },
}
"""{kind: {unit in lower case: its size in the default one}}."""
KINDS = {
    "W": "energy",
    "F": "gradient",
    "E": "strain",
    "P": "stress",
    "S": "stress",
    "sigma": "stress",
}
STIFFEST = 2500.0
"""GPa; no material has a larger eigenvalue of its elastic tensor (diamond: 1,330)."""
LARGE = 0.1
"""Green-Lagrange strain from which a file without units is asked whether it means per cent."""


def read_pairs(path: str | Path, group: PointGroup, parameters: Sequence[str] = ()) -> Labels:
    r"""Labels from measured or homogenised pairs of strain and stress, in the material's axes.

    Columns, in any order, lines that begin with # left out:

    - strain: F11 ... F33 (deformation gradient, nine) or E11 E22 E33 E23 E13 E12
      (Green-Lagrange, tensor components, not engineering shears);
    - stress, GPa: P11 ... P33 (first Piola-Kirchhoff, nine), S11 ... (second, six) or
      sigma11 ... (Cauchy, six), positive in tension;
    - W, GPa (energy per reference volume), optional;
    - case (a name or number of the load case of each pair), optional: every case counts alike,
      however many pairs it has, and errors are relative to the stress of the whole case;
    - weight (of each pair's square in a fit), optional.

    A unit may stand behind a name, as in `S11 [MPa]` or `E11 (%)`. Columns are separated by commas,
    semicolons, tabs or blanks; beside the last three, decimal commas are read.

    Args:
        path: the CSV file.
        group: the material's point group; its axes are the file's.
        parameters: names of numeric columns that tell the materials of a family apart.

    Returns:
        Labels on a lone node of a lattice that is more symmetric than the group. Where the file
        leaves a unit open, a note says the size of the strains and of the elastic constants.

    Raises:
        InputError: no such file, missing, unknown or repeated columns or units, units that differ
            between columns, an entry that is not a finite number, det F <= 0, a weight that is not
            positive, a nominal stress in place of P, a stress that opposes the strain, or one
            without a unit that is too large for GPa.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of strain-stress pairs")
    table, scales, named = _read_table(path)
    if table.empty:
        raise InputError(f"{path}: holds no pairs")
    strains = {"F": FULL, "E": SYMMETRIC}
    stresses = {"P": FULL, "S": SYMMETRIC, "sigma": SYMMETRIC}
    strain, stress = (_which(path, table, kinds) for kinds in (strains, stresses))
    used = [strain + c for c in strains[strain]] + [stress + c for c in stresses[stress]]
    known = [*used, "W", "case", "weight"]
    if taken := [name for name in parameters if name in known]:
        raise InputError(f"{path}: column {taken[0]!r} is no parameter: give another name")
    if absent := [name for name in parameters if name not in table]:
        raise InputError(f"{path}: no column {absent[0]!r}, which is to be a parameter")
    unknown = [c for c in table.columns if c not in [*known, *parameters]]
    if unknown:
        raise InputError(
            f"{path}: unknown column {unknown[0]!r}; known are F.., E.., P.., S.., sigma.., W, "
            "case and weight, and those named as parameters of a family"
        )
    cases = None
    if "case" in table:
        place = list(table.columns).index("case")
        scales = scales[:place] + scales[place + 1 :]
        cases = table.pop("case").astype(str).to_numpy(str)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    broken = np.flatnonzero(~np.isfinite(numbers.to_numpy(float)).all(axis=1))
    if len(broken):
        raise InputError(f"{path}: pair {broken[0] + 1} has an entry that is not a finite number")
    numbers = numbers * scales
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
    weights = numbers["weight"].to_numpy(float) if "weight" in numbers else None
    if weights is not None and (weights <= 0).any():
        raise InputError(
            f"{path}: pair {np.flatnonzero(weights <= 0)[0] + 1} has no positive weight"
        )
    energy = numbers["W"].to_numpy() * GPa * structure.volume if "W" in numbers else np.nan
    labels = Labels(
        structure=structure,
        F=f,
        cauchy=cauchy,
        energy=np.broadcast_to(energy, len(f)).astype(float),
        ions="unlisted",
        source=path.name,
        lone=True,
        cases=cases,
        weights=weights,
        parameters=numbers[list(parameters)].to_numpy(float) if parameters else None,
    )
    open_units = [k for k, n in (("strain", strain), ("stress", stress)) if n not in {"F", *named}]
    return replace(labels, notes=_plausible(path, labels, open_units))


def _read_table(path: Path) -> tuple[pd.DataFrame, list[float], set[str]]:
    """The columns by their names, the size of each one's unit, and the letters that name units."""
    lines = [x.partition("#")[0].strip() for x in read_text(path).splitlines()]
    lines = [x for x in lines if x]
    if not lines:
        raise InputError(f"{path}: holds no pairs")
    separator = next((c for c in (";", "\t", ",") if c in lines[0]), r"\s+")
    if separator == r"\s+":  # a unit belongs to the name before it
        lines[0] = re.sub(r"\s+([\[(])", r"\1", lines[0])
    decimal = "," if separator != "," and any("," in x for x in lines[1:]) else "."
    options: dict = dict(sep=separator, decimal=decimal, skipinitialspace=True)
    try:
        table = pd.read_csv(io.StringIO("\n".join(lines)), **options)
        # As the file has it: pandas renames a column of a name that is there already.
        header = pd.read_csv(io.StringIO(lines[0]), header=None, dtype=str, **options)
    except Exception as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from None
    columns = [_named_unit(path, str(column)) for column in header.iloc[0]]
    names = [name for name, _, _ in columns]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: two columns are named {name!r}; keep one")
    for letter in KINDS:
        scales = {(bool(unit), size) for name, unit, size in columns if _letter(name) == letter}
        if len({named for named, _ in scales}) == 2 and any(size != 1.0 for _, size in scales):
            raise InputError(f"{path}: some columns {letter}.. name a unit, others none; name all")
        if len(scales) > 1:
            raise InputError(f"{path}: the units of the columns {letter}.. differ; give one unit")
    table.columns = pd.Index([name for name, _, _ in columns])
    named = {_letter(name) for name, unit, _ in columns if unit}
    return table, [size for _, _, size in columns], named


def _letter(name: str) -> str:
    return name.rstrip("123")


def _named_unit(path: Path, column: str) -> tuple[str, str, float]:
    """Name, unit and the unit's size of a column such as "S11 [MPa]"."""
    found = re.fullmatch(r"\s*([^\s\[(/]*)\s*(.*)", column)
    name, unit = found.groups() if found else (column, "")
    unit = unit.strip("[()]/ ").lower().replace("³", "^3").replace("²", "^2")
    known = UNITS.get(KINDS.get(_letter(name), ""), {})
    if unit and known and unit not in known:
        raise InputError(
            f"{path}: column {column!r} has an unknown unit; known are {', '.join(known)}"
        )
    return name, unit, known.get(unit, 1.0)


def _plausible(path: Path, labels: Labels, open_units: list[str]) -> tuple[str, ...]:
    """Refuse stresses of the wrong sign or unit; a note on the sizes whose units are open."""
    x, y = strain_and_stress(labels)
    if not (x.any() and y.any()):
        return ()
    centred = x - x.mean(axis=0), y - y.mean(axis=0)
    if (x * y).sum() < 0 and (centred[0] * centred[1]).sum() <= 0:
        raise InputError(
            f"{path}: the stress opposes the strain: is it positive in compression? Give it "
            "positive in tension"
        )
    # Strains that are small beside the others say nothing of their constants but noise.
    c = np.linalg.lstsq(x, y, rcond=0.1)[0]
    stiffest = float(np.linalg.eigvalsh(c + c.T).max() / 2)
    largest = float(np.abs(labels.strain).max())
    if "stress" in open_units and stiffest > STIFFEST:
        raise InputError(
            f"{path}: an elastic constant of {stiffest:,.0f} GPa, more than any material has: are "
            "the stresses in MPa? Name the unit in the header, as in 'S11 [MPa]'"
        )
    if "strain" in open_units and largest > LARGE:
        warnings.warn(
            f"{path}: strains up to {largest:.2g} without a unit: if they are in per cent, name it "
            "in the header, as in 'E11 [%]'",
            stacklevel=4,
        )
    if not open_units:
        return ()
    return (
        f"{path.name} names no unit of its {' or '.join(open_units)}: strains of up to "
        f"{largest:.2g} (tensor components, 0.01 for 1 %), stresses in GPa that make the largest "
        f"elastic constant {stiffest:.3g} GPa",
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
