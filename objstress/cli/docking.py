"""`objstress dock` and `objstress fit-pose-energy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, Scheduler, Seed, app, print_result, say
from objstress.errors import InputError
from objstress.io.files import check_writable, write_whole


@app.command()
def dock(
    protein: Annotated[Path, typer.Option(help="Protein, PDB or mmCIF file.")],
    ligand: Annotated[
        str, typer.Option(help="SDF or MOL2 file with one molecule, or a SMILES string.")
    ],
    out: Annotated[Path, typer.Option(help="The SDF file to write, best pose first.")],
    model: Annotated[
        Path | None, typer.Option(help="A .pose file. [default: the shipped energy]")
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(help='Search box "x,y,z,a,b,c": its centre and size, Angstrom.'),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A ligand in the site, around which the box is placed.")
    ] = None,
    flexible: Annotated[
        list[str] | None,
        typer.Option(help="Residue whose side chain rotates, such as A:315; repeat for several."),
    ] = None,
    starts: Annotated[int, typer.Option(help="Number of random starts.")] = 64,
    hops: Annotated[int, typer.Option(help="Number of jumps from each start.")] = 16,
    poses: Annotated[
        int, typer.Option(help="Largest number of poses to write; with --table it is 1.")
    ] = 10,
    seconds: Annotated[
        float, typer.Option(help="Time limit, seconds, after which no new jump starts.")
    ] = float("inf"),
    seed: Seed = 0,
    table: Annotated[
        Path | None,
        typer.Option(help="Dock every molecule of the ligand file; a table, .csv or .parquet."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of parallel processes, with --table.")] = 1,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Dock a ligand into a protein: poses and energies.

    Energies are in kcal/mol. Without --box and --reference the whole protein is searched. With
    --flexible the side chains of each pose are written beside OUT.

    With --table the ligand file may hold many molecules: OUT has the best pose of each, the table
    a row for each, with the reason where docking failed. Rerun the command to resume an
    interrupted table.
    """
    from objstress.docking.box import Box
    from objstress.docking.run import SHIPPED
    from objstress.docking.run import dock as search

    if out.suffix != ".sdf":
        raise InputError(f"{out}: give a file that ends in .sdf")
    check_writable(out)
    model = model or SHIPPED
    common: dict[str, Any] = dict(
        box=None if box is None else Box.from_text(box), reference=reference,
        starts=starts, hops=hops, seed=seed,
    )  # fmt: skip
    if table is not None:
        if flexible or seconds != float("inf"):
            raise InputError("--flexible and --seconds are for one ligand; leave out --table")
        from objstress.docking.library import dock_library

        result = dock_library(
            protein, ligand, out, table, model, workers=workers, scheduler=scheduler, **common
        )
        for failure in result["failed"]:
            say(f"{failure['name']}: {failure['error']}")
        print_result(
            result,
            as_json,
            lambda r: (
                f"{r['molecules']} molecules in {r['table']}, {len(r['failed'])} failed; "
                f"the best pose of each in {r['out']}"
            ),
        )
        return
    if workers != 1 or scheduler is not None:
        raise InputError("--workers and --scheduler are for many ligands; add --table")
    docking = search(
        protein, ligand, model, poses=poses, seconds=seconds, flexible=flexible or (), **common
    )
    docking.write(out)
    if flexible:
        write_whole(out.with_suffix(".side-chains.pdb"), docking.side_chains_pdb())
    print_result(
        docking.to_dict() | {"out": str(out)},
        as_json,
        lambda r: "\n".join(
            [
                *r["notes"],
                "rank  energy (kcal/mol)  confidence  share of starts",
                *(
                    f"{k:4d}  {p['energy_kcal_per_mol']:17.3f}  {p['confidence']:10.3f}  "
                    f"{p['share']:15.3f}"
                    for k, p in enumerate(r["poses"], 1)
                ),
                f"{len(r['poses'])} poses in {r['out']}, {r['evaluations']} evaluations, "
                f"{r['seconds']:.1f} s",
            ]
        ),
    )


@app.command()
def fit_pose_energy(
    complexes: Annotated[
        Path,
        typer.Argument(help="Folder with ID/ID_ligand.sdf and ID/ID_pocket.pdb, as in PDBbind."),
    ],
    out: Annotated[Path, typer.Option(help="The .pose file to write.")],
    epochs: Annotated[int, typer.Option(help="Number of passes over the complexes.")] = 20,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a pose energy to known complexes.

    Complexes that cannot be read are named and left out. `objstress dock --model` reads the file.
    Rerun the command to resume an interrupted fit from OUT.fit.
    """
    from objstress.docking.fit import PoseTraining, fit_pose_energy
    from objstress.docking.folders import complexes_in
    from objstress.io.run_folder import forget

    check_writable(out)
    known = []
    for name, entry in complexes_in(complexes):
        if isinstance(entry, str):
            say(f"{name}: {entry}")
        else:
            known.append(entry)
    work = out.with_name(out.name + ".fit")
    model = fit_pose_energy(known, training=PoseTraining(epochs=epochs, seed=seed), workdir=work)
    model.save(out)
    forget(work)
    print_result(
        {"model": str(out), **model.metadata},
        as_json,
        lambda r: f"energy of {r['complexes']} complexes written to {r['model']}",
    )
