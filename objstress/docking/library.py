"""Docking of a library of molecules to one protein: a row and the best pose of each."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from rdkit import Chem

from objstress.docking.box import Box
from objstress.docking.energy import PoseEnergy, load_pose_energy
from objstress.docking.ligand import prepare_ligand
from objstress.docking.ligand_files import ENDINGS, ligands_in
from objstress.docking.protein import Protein, read_protein
from objstress.docking.run import SHIPPED, check_search, dock, search_box
from objstress.errors import InputError, reason
from objstress.io.files import check_writable, write_whole
from objstress.io.run_folder import fingerprint
from objstress.io.tables import Row, check_table, collect_rows, remove_partial, write_table


def dock_library(
    protein: str | Path,
    ligands: str | Path,
    out: str | Path,
    table: str | Path,
    model: str | Path = SHIPPED,
    *,
    box: Box | None = None,
    reference: str | Path | None = None,
    starts: int = 64,
    hops: int = 16,
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Dock each molecule of a file; one that cannot be read or docked does not stop the others.

    Energies of different molecules are on one scale, but larger molecules touch more: the table has
    the energy per heavy atom, too. The same call resumes an interrupted one, see `collect_rows`.

    Args:
        protein: PDB or mmCIF file.
        ligands: SDF, MOL2 or SMILES file.
        out: SDF of the best pose of each molecule, lowest energy (kcal/mol) first.
        table: .csv or .parquet, a row for each record in the order of the file.
        model: file of a pose energy.
        box: where to search, see `dock`.
        reference: file of a ligand whose box is searched, see `dock`.
        starts: number of random starts.
        hops: jumps of each start.
        seed: of the random numbers.
        workers: parallel processes, see `spread`.
        scheduler: address of a running dask scheduler, see `spread`.
        progress: show a progress bar.

    Returns:
        {"molecules", "failed": [{"name", "error"}], "resumed", "seconds", "out", "table"}.

    Raises:
        InputError: what `dock` refuses of protein, box and model, and what `collect_rows` refuses.
    """
    begun = time.perf_counter()
    protein, ligands, out = Path(protein), Path(ligands), Path(out)
    table, model = Path(table), Path(model)
    check_table(table)
    check_writable(out)
    # Invalid input is refused here, not in each row.
    check_search(starts, hops, seed)
    if not ligands.is_file() or ligands.suffix.lower() not in ENDINGS:
        raise InputError(f"{ligands}: give an existing file that ends in {', '.join(ENDINGS)}")
    load_pose_energy(model)
    receptor = read_protein(protein)
    box = search_box(receptor, box, reference)
    receptor.within(box)
    search: dict[str, Any] = {"starts": starts, "hops": hops, "seed": seed}
    hashes = {
        kind: fingerprint([file])
        for kind, file in (("protein", protein), ("model", model), ("ligands", ligands))
    }
    rows, resumed = collect_rows(
        _DockRow(
            (str(protein.resolve()), hashes["protein"]),
            (str(model.resolve()), hashes["model"]),
            box,
            search,
        ),
        ligands_in(ligands),
        table,
        search | hashes | {"box": [*box.centre.tolist(), *box.size.tolist()]},
        unit="molecules",
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    best = sorted((r for r in rows if not r["error"]), key=lambda r: r["energy_kcal_per_mol"])
    write_whole(out, "".join(r["sdf"] for r in best))
    write_table([{k: v for k, v in r.items() if k != "sdf"} for r in rows], table)
    remove_partial(table)
    return {
        "molecules": len(rows),
        "failed": [{"name": r["name"], "error": r["error"]} for r in rows if r["error"]],
        "resumed": resumed,
        "seconds": time.perf_counter() - begun,
        "out": str(out),
        "table": str(table),
    }


class _DockRow:
    """The task of one row; each process reads protein and model once."""

    def __init__(
        self, protein: tuple[str, str], model: tuple[str, str], box: Box, search: dict[str, Any]
    ):
        self.protein, self.model, self.box, self.search = protein, model, box, search

    def __call__(self, name: str, mol: Chem.Mol | str) -> Row:
        begun = time.perf_counter()
        row: Row = {"name": name}
        try:
            if isinstance(mol, str):
                raise InputError(mol)
            docking = dock(
                _protein(*self.protein), prepare_ligand(mol, name), _model(*self.model),
                box=self.box, poses=1, **self.search,
            )  # fmt: skip
            best, heavy = docking.poses[0], len(docking.ligand.positions)
            row |= {
                "smiles": Chem.MolToSmiles(Chem.RemoveHs(mol)),
                "heavy_atoms": heavy,
                "torsions": len(docking.ligand.tree),
                "energy_kcal_per_mol": best.energy,
                "energy_per_heavy_atom": best.energy / heavy,
                "share_of_starts": best.share,
                "sdf": docking.sdf(),
                "error": "",
            }
        except Exception as error:  # one molecule must not stop the others
            row["error"] = reason(error)
        return row | {"seconds": time.perf_counter() - begun}


# The hash is part of the cache's key: the file of a path may change.
@lru_cache(maxsize=1)
def _protein(path: str, sha256: str) -> Protein:
    return read_protein(path)


@lru_cache(maxsize=1)
def _model(path: str, sha256: str) -> PoseEnergy:
    return load_pose_energy(path)
