"""`objstress dock`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objstress.cli.app import Json, app, print_answer
from objstress.errors import InputError


@app.command()
def dock(
    protein: Annotated[Path, typer.Option(help="PDB or mmCIF.")],
    ligand: Annotated[str, typer.Option(help="SDF or MOL2 with one molecule, or SMILES.")],
    model: Annotated[Path, typer.Option(help="File of a pose energy.")],
    out: Annotated[Path, typer.Option(help="SDF of the poses, best first.")],
    box: Annotated[
        str | None, typer.Option(help='"x,y,z,a,b,c": centre and size, Angstrom.')
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A ligand of the site, to take the box from.")
    ] = None,
    starts: Annotated[int, typer.Option(help="Random starts.")] = 64,
    hops: Annotated[int, typer.Option(help="Jumps of each start.")] = 8,
    poses: Annotated[int, typer.Option(help="At most so many.")] = 10,
    seconds: Annotated[float, typer.Option(help="No jump begins after them.")] = float("inf"),
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    as_json: Json = False,
) -> None:
    """Places of a ligand in a protein: an SDF with energies, best first.

    Without --box and --reference the whole protein is searched.
    """
    from objstress.docking.protein import Box
    from objstress.docking.search import dock as search
    from objstress.files import check_writable

    if out.suffix != ".sdf":
        raise InputError(f"{out}: give a file that ends in .sdf")
    check_writable(out)
    found = search(
        protein,
        ligand,
        model,
        box=None if box is None else Box.of_text(box),
        reference=reference,
        starts=starts,
        hops=hops,
        poses=poses,
        seconds=seconds,
        seed=seed,
    )
    found.write(out)
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
