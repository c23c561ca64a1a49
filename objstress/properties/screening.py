"""Thousands of structures: a row of elastic properties each, whatever happens to the others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.io import iread
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from tqdm import tqdm

from objstress.errors import InputError
from objstress.files import check_writable, write_whole
from objstress.parallel import spread
from objstress.properties.crystal import Ions, crystal_properties
from objstress.properties.models import FILES, PropertyModel, find_model
from objstress.teachers.label import begun_otherwise

Named = tuple[str, Structure | Path]
TABLES = (".csv", ".parquet")
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
        kind = "" if isinstance(error, InputError) else type(error).__name__ + ": "
        row["error"] = kind + " ".join(str(error).split())
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
            for number, atoms in enumerate(iread(path, ":")):
                yield f"{path}:{number}", AseAtomsAdaptor.get_structure(atoms)
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

    Rows are appended to `<out>.partial` as they come; a call with the same settings after an
    interruption goes on with the structures whose names have no row yet. Structures that fail have
    a row, too, with the reason.

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
    if out.suffix not in TABLES:
        raise InputError(f"{out}: give a file that ends in {' or '.join(TABLES)}")
    if out.suffix == ".parquet":
        _check_parquet()
    check_writable(out)
    if workers > 1 or scheduler:
        if not isinstance(model, str | Path):
            raise InputError("several workers need a model by its name or file")
        model = str(Path(model).resolve()) if Path(model).suffix in FILES else model
    asked = find_model(model, arguments)  # refused here, not in each row
    begun = time.perf_counter()
    partial = out.with_name(out.name + ".partial")
    settings = {"model": asked.name, "arguments": arguments or {}, "ions": ions}
    done = _read_partial(partial, settings)
    task = _Row(asked if workers == 1 and scheduler is None else model, arguments, ions)
    names: dict[str, None] = {}  # a set that keeps its order
    sent: list[str] = []

    def jobs() -> Iterator[tuple]:
        for name, structure in structures:
            if name in names:
                raise InputError(f"{name}: given twice")
            names[name] = None
            if name not in done:
                sent.append(name)
                yield name, structure

    with (
        open(partial, "a") as file,
        tqdm(initial=len(done), desc="structures", disable=not progress) as bar,
        spread(task, workers, scheduler) as execute,
    ):
        if not file.tell():
            file.write(json.dumps(settings) + "\n")
        for k, found in execute(jobs()):
            row = found if isinstance(found, dict) else {"name": sent[k], "error": found}
            file.write(json.dumps(row) + "\n")
            file.flush()
            bar.update()
    rows = _read_partial(partial, settings)
    if not names:
        partial.unlink()
        raise InputError("no structures given")
    # With gaps where a structure failed, and whole numbers whole.
    table = pd.DataFrame([rows[name] for name in names]).convert_dtypes(convert_string=False)
    _write_table(table, out)
    partial.unlink()
    return {
        "structures": len(table),
        "failed": [
            {"name": name, "error": rows[name]["error"]} for name in names if rows[name]["error"]
        ],
        "resumed": len(done),
        "unstable": sum(row.get("stable") is False for row in rows.values()),
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


def _read_partial(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: row}; what an interruption cut off is dropped before more is appended."""
    if not path.exists():
        return {}
    content = path.read_text()
    lines = content.splitlines(keepends=True)
    whole = lines[: len(lines) if content.endswith("\n") else -1]
    if not whole:
        path.unlink()
        return {}
    if json.loads(whole[0]) != json.loads(json.dumps(settings)):
        raise begun_otherwise(path)
    if whole != lines:
        write_whole(path, "".join(whole))
    rows = [json.loads(line) for line in whole[1:]]
    return {row["name"]: row for row in rows}


def _check_parquet() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError("Parquet needs pyarrow (pip install pyarrow); or give a .csv") from None


def _write_table(table: pd.DataFrame, out: Path) -> None:
    """Whole or not at all."""
    beside = out.with_name(out.name + ".new")
    if out.suffix == ".csv":
        table.to_csv(beside, index=False)
    else:
        table.to_parquet(beside, index=False)
    os.replace(beside, out)
