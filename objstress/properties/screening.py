"""Thousands of structures: a row of elastic properties each, whatever happens to the others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import iread
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from objstress.errors import InputError
from objstress.io.tables import check_table, collect_rows, reason, remove_partial, write_table
from objstress.properties.crystal import Ions, crystal_properties
from objstress.properties.sources import FILES, PropertyModel, find_model

Named = tuple[str, Structure | Path]
FRAMES = (".extxyz", ".xyz", ".traj", ".db")
"""Files that hold many structures; all others hold one."""


def properties_row(name: str, structure: Any, model: Any, ions: Ions) -> dict[str, Any]:
    """Plain numbers and texts of one structure; keys name their units.

    Elastic constants C11 ... C66 are those of the IEEE frame. `error` is the reason where there is
    nothing else, else empty.
    """
    begun = time.perf_counter()
    row: dict[str, Any] = {"name": name}
    try:
        found = crystal_properties(structure, model, ions=ions)
        row |= {
            "formula": found.structure.composition.reduced_formula,
            "space_group": found.space_group[0],
            "space_group_number": found.space_group[1],
            "point_group": found.point_group.symbol,
            "crystal_system": found.point_group.crystal_system,
            "atoms": len(found.structure),
            "volume_A3": float(found.structure.volume),
            "density_g_per_cm3": float(found.structure.density),
            "model": found.model,
            "ions": found.ions,
            "stable": found.stable,
            "least_eigenvalue_GPa": found.stability.eigenvalues[0],
            "least_ion_stiffness_eV_per_A2": found.least_ion_stiffness,
            "asymmetry": found.asymmetry,
        }
        for a, b in zip(*np.triu_indices(6), strict=True):
            row[f"C{a + 1}{b + 1}_GPa"] = float(found.stiffness_ieee[a, b])
        means, heat = found.averages, found.thermal
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
        row["error"] = ""
    except Exception as error:  # one structure must not take the rest with it
        row["error"] = reason(error)
    return row | {"seconds": time.perf_counter() - begun}


def structures_in(paths: Iterable[str | Path]) -> Iterator[Named]:
    """Names and structures of files: one each, or all frames of extxyz and ASE's trajectories.

    A file of one structure is read where its row is made, so that an unreadable one fails alone.
    """
    for path in map(Path, paths):
        if path.suffix not in FRAMES:
            yield str(path), path
            continue
        number = 0
        try:
            for atoms in iread(path, ":"):
                yield f"{path}:{number}", AseAtomsAdaptor.get_structure(atoms)
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
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write `properties_row` of each structure to a table, in the order given.

    An interrupted call goes on, see `collect_rows`. Structures that fail have a row, too, with the
    reason.

    Args:
        structures: (name, structure or file); names must differ.
        model, arguments, ions: see `crystal_properties`; with several workers a name or a file.
        out: .csv or .parquet (which needs pyarrow).
        workers, scheduler: see `spread`.

    Returns:
        {"structures", "failed": [{"name", "error"}], "resumed", "unstable", "seconds", "out"}.

    Raises:
        InputError: a model that is none, a table of another kind, a partial file of other
            settings, no structures.
    """
    out = Path(out)
    check_table(out)
    if workers > 1 or scheduler:
        if not isinstance(model, str | Path):
            raise InputError("several workers need a model by its name or file")
        model = str(Path(model).resolve()) if Path(model).suffix in FILES else model
    asked = find_model(model, arguments)  # refused here, not in each row
    begun = time.perf_counter()
    rows, resumed = collect_rows(
        _Row(asked if workers == 1 and scheduler is None else model, arguments, ions),
        structures,
        out,
        {"model": asked.name, "arguments": arguments or {}, "ions": ions},
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
        "seconds": time.perf_counter() - begun,
        "out": str(out),
    }


class _Row:
    """One row in whatever process; each makes its model once."""

    def __init__(self, model: Any, arguments: dict[str, Any] | None, ions: Ions):
        self.model, self.ions = model, ions
        self.arguments = json.dumps(arguments or {}, sort_keys=True)

    def __call__(self, name: str, structure: Structure | Path) -> dict[str, Any]:
        model = self.model
        if not isinstance(model, PropertyModel):
            model = _model(str(model), self.arguments)
        return properties_row(name, structure, model, self.ions)


@lru_cache(maxsize=1)
def _model(name: str, arguments: str) -> PropertyModel:
    return find_model(name, json.loads(arguments))
