"""Elastic properties of many structures as a table: one row each, failed ones included."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread
from pymatgen.core import Structure

from objstress.calculators.universal import universal_potential
from objstress.errors import InputError, reason
from objstress.io.tables import check_table, collect_rows, remove_partial, write_table
from objstress.properties.crystal import crystal_properties
from objstress.properties.sources.base import Ions, Source
from objstress.properties.sources.find import FILES, find_model
from objstress.symmetry.crystal import SYMPREC

Named = tuple[str, Structure | Atoms | Path]
FRAMES = (".extxyz", ".xyz", ".traj", ".db")
"""Files that hold many structures; all others hold one."""


def properties_row(
    name: str, structure: Any, model: Any, ions: Ions, symprec: float = SYMPREC
) -> dict[str, Any]:
    """Plain numbers and texts of one structure; keys name their units.

    Elastic constants C11 ... C66 are those of the IEEE frame. `error` is the reason of a failure,
    else empty.

    Args:
        name: of the row.
        structure, model, ions, symprec: see `crystal_properties`.
    """
    started = time.perf_counter()
    row: dict[str, Any] = {"name": name}
    try:
        properties = crystal_properties(structure, model, ions=ions, symprec=symprec)
        row |= {
            "formula": properties.structure.composition.reduced_formula,
            "space_group": properties.space_group[0],
            "space_group_number": properties.space_group[1],
            "point_group": properties.point_group.symbol,
            "crystal_system": properties.point_group.crystal_system,
            "atoms": len(properties.structure),
            "volume_A3": float(properties.structure.volume),
            "density_g_per_cm3": float(properties.structure.density),
            "model": properties.model,
            "ions": properties.ions,
            "stable": properties.stable,
            "least_eigenvalue_GPa": properties.stability.eigenvalues[0],
            "least_ion_stiffness_eV_per_A2": properties.least_ion_stiffness,
            "asymmetry": properties.asymmetry,
        }
        for a, b in zip(*np.triu_indices(6), strict=True):
            row[f"C{a + 1}{b + 1}_GPa"] = float(properties.stiffness_ieee[a, b])
        means, heat = properties.averages, properties.thermal
        if means is not None and heat is not None:
            for average in ("voigt", "reuss", "hill"):
                moduli = getattr(means, average)
                row[f"K_{average}_GPa"], row[f"G_{average}_GPa"] = moduli.bulk, moduli.shear
            row |= {
                "E_hill_GPa": means.hill.young,
                "nu_hill": means.hill.poisson,
                "universal_anisotropy": means.universal_anisotropy,
                "pugh_ratio": means.pugh_ratio,
                "debye_temperature_K": heat.debye_temperature,
            }
        if properties.note:
            row["note"] = properties.note
        row["error"] = ""
    except Exception as error:  # one structure must not end the others
        row["error"] = reason(error)
    return row | {"seconds": time.perf_counter() - started}


def structures_in(paths: Iterable[str | Path]) -> Iterator[Named]:
    """Names and structures of files: one each, or all frames of extxyz and ASE's trajectories.

    A file of one structure is read where its row is made, so that an unreadable one fails alone.

    Args:
        paths: of structure files.

    Yields:
        (name, structure or file); frames are named FILE:NUMBER.
    """
    for path in map(Path, paths):
        if path.suffix not in FRAMES:
            yield str(path), path
            continue
        number = 0
        try:
            for atoms in iread(path, ":"):
                yield f"{path}:{number}", atoms
                number += 1
        except Exception:
            yield f"{path}:{number}", path  # which then says what is wrong with it


def screen(
    structures: Iterable[Named],
    model: Any,
    out: str | Path,
    *,
    ions: Ions = "relaxed",
    arguments: dict[str, Any] | None = None,
    symprec: float = SYMPREC,
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the elastic properties of many structures to a table, in the order given.

    Repeat an interrupted call to resume it, see `collect_rows`. Structures that fail have a row,
    too, with the reason.

    Args:
        structures: (name, structure or file), see `structures_in`; names must differ.
        model: see `crystal_properties`, as are `arguments` and `ions`; with several workers a
            name, a file or None.
        out: .csv or .parquet (which needs pyarrow).
        ions: "relaxed" or "clamped".
        arguments: of a calculator given by name.
        symprec: distance in Angstrom under which sites are equivalent.
        workers: number of processes, see `spread`.
        scheduler: address of a dask scheduler, see `spread`.
        progress: show a progress bar.

    Returns:
        {"structures", "failed": [{"name", "error"}], "resumed", "unstable", "seconds", "out"}.

    Raises:
        InputError: an unknown model, a table of another kind, a partial file of other settings, no
            structures.
    """
    out = Path(out)
    check_table(out)
    if model is None:
        model = universal_potential()
    if workers > 1 or scheduler:
        if not isinstance(model, str | Path):
            raise InputError("several workers need a model by its name or file")
        model = str(Path(model).resolve()) if Path(model).suffix in FILES else model
    source = find_model(model, arguments)  # refused here, not in each row
    settings: dict[str, Any] = {"model": source.name, "arguments": arguments or {}, "ions": ions}
    if symprec != SYMPREC:  # tables of 0.1 do not name it
        settings["symprec"] = symprec
    started = time.perf_counter()
    rows, resumed = collect_rows(
        _Row(source if workers == 1 and scheduler is None else model, arguments, ions, symprec),
        structures,
        out,
        settings,
        unit="structures",
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    write_table(rows, out)
    remove_partial(out)
    return {
        "structures": len(rows),
        "failed": [{"name": row["name"], "error": row["error"]} for row in rows if row["error"]],
        "resumed": resumed,
        "unstable": sum(row.get("stable") is False for row in rows),
        "seconds": time.perf_counter() - started,
        "out": str(out),
    }


class _Row:
    """One row in whatever process; each makes its model once."""

    def __init__(self, model: Any, arguments: dict[str, Any] | None, ions: Ions, symprec: float):
        self.model, self.ions, self.symprec = model, ions, symprec
        self.arguments = json.dumps(arguments or {}, sort_keys=True)

    def __call__(self, name: str, structure: Structure | Atoms | Path) -> dict[str, Any]:
        model = self.model
        if not isinstance(model, Source):
            model = _source(str(model), self.arguments)
        return properties_row(name, structure, model, self.ions, self.symprec)


@lru_cache(maxsize=1)
def _source(name: str, arguments: str) -> Source:
    return find_model(name, json.loads(arguments))
