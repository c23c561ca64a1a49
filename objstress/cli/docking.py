"""`objstress dock`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, app, print_answer, say
from objstress.errors import InputError


@app.command()
def dock(
    protein: Annotated[Path, typer.Option(help="PDB or mmCIF.")],
    ligand: Annotated[str, typer.Option(help="SDF or MOL2 with one molecule, or SMILES.")],
    out: Annotated[Path, typer.Option(help="SDF of the poses, best first.")],
    model: Annotated[
        Path | None, typer.Option(help="File of a pose energy, else the shipped one.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(help='"x,y,z,a,b,c": centre and size, Angstrom.')
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A ligand of the site, to take the box from.")
    ] = None,
    flexible: Annotated[
        list[str] | None, typer.Option(help="A residue whose side chain turns, too: A:315.")
    ] = None,
    starts: Annotated[int, typer.Option(help="Random starts.")] = 64,
    hops: Annotated[int, typer.Option(help="Jumps of each start.")] = 16,
    poses: Annotated[int, typer.Option(help="At most so many; one with --table.")] = 10,
    seconds: Annotated[float, typer.Option(help="No jump begins after them.")] = float("inf"),
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    table: Annotated[
        Path | None,
        typer.Option(help="Screen all molecules of the ligand's file: .csv or .parquet."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Parallel processes, with --table.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running dask scheduler, with --table.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Places of a ligand in a protein: an SDF with energies, best first.

    Without --box and --reference the whole protein is searched. With --table the file of the
    ligand may hold many molecules: --out has the best pose of each, the table a row of each, those
    that fail with the reason; an interrupted run goes on. With --flexible the side chains of each
    pose are written beside --out.
    """
    from objstress.docking.box import Box
    from objstress.docking.run import SHIPPED
    from objstress.docking.run import dock as search
    from objstress.io.files import check_writable, write_whole

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
        print_answer(
            result,
            as_json,
            lambda r: (
                f"{r['molecules']} molecules in {r['table']}, {len(r['failed'])} failed; "
                f"the best pose of each in {r['out']}"
            ),
        )
        return
    if workers != 1 or scheduler is not None:
        raise InputError("--workers and --scheduler are for many ligands; give --table, too")
    found = search(
        protein, ligand, model, poses=poses, seconds=seconds, flexible=flexible or (), **common
    )
    found.write(out)
    if flexible:
        write_whole(out.with_suffix(".side-chains.pdb"), found.side_chains_pdb())
    print_answer(
        found.to_dict() | {"out": str(out)},
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
