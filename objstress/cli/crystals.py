"""`objstress properties`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Ions, Json, app, json_object, print_answer, say
from objstress.errors import InputError


@app.command()
def properties(
    files: Annotated[list[Path], typer.Argument(help="Structure files; extxyz holds many.")],
    model: Annotated[
        str, typer.Option(help="emt, kumagai, ..., module:Class, or a file of a model.")
    ],
    arguments: Annotated[str, typer.Option(help="JSON arguments of a calculator.")] = "{}",
    ions: Ions = Ions.relaxed,
    plot: Annotated[Path | None, typer.Option(help="Folder for a picture of each crystal.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Table of all structures, .csv or .parquet.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Parallel processes, with --out.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running dask scheduler, with --out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Elastic constants of crystals and what follows from them: one page each, or a table.

    With --out a row for each structure, those that fail with the reason; an interrupted run goes
    on.
    """
    keywords = json_object(arguments, "--arguments")
    if out is not None:
        if plot is not None:
            raise InputError("--plot draws crystals one by one; leave out --out")
        from objstress.properties.screening import screen, structures_in

        common: dict[str, Any] = dict(ions=ions.value, arguments=keywords)
        result = screen(
            structures_in(files), model, out, workers=workers, scheduler=scheduler, **common
        )
        for failure in result["failed"]:
            say(f"{failure['name']}: {failure['error']}")
        print_answer(
            result,
            as_json,
            lambda r: (
                f"{r['structures']} structures in {r['out']}: {len(r['failed'])} failed, "
                f"{r['unstable']} unstable"
            ),
        )
        return
    from objstress.properties.crystal import crystal_properties
    from objstress.properties.plots import plot_properties
    from objstress.properties.report import describe
    from objstress.properties.sources.find import find_model

    asked = find_model(model, keywords)
    found = {str(f): crystal_properties(f, asked, ions=ions.value) for f in files}
    if plot is not None:
        for file, crystal in found.items():
            plot_properties(crystal, plot / f"{Path(file).stem}.png")
    print_answer(
        {file: crystal.to_dict() for file, crystal in found.items()},
        as_json,
        lambda _: "\n\n".join(describe(crystal) for crystal in found.values()),
    )


@app.command()
def symmetry(structure: Path, as_json: Json = False) -> None:
    """The point group of a structure file, in its own frame."""
    from objstress.symmetry.point_group import PointGroup

    group = PointGroup.from_structure(structure)
    result = {
        "symbol": group.symbol,
        "schoenflies": group.schoenflies,
        "crystal_system": group.crystal_system,
        "laue": group.laue,
        "order": group.order,
        "centrosymmetric": group.centrosymmetric,
        "operations": group.operations.tolist(),
    }
    print_answer(
        result,
        as_json,
        lambda r: (
            f"point group {r['symbol']} ({r['schoenflies']}), {r['crystal_system']}, Laue class "
            f"{r['laue']}, order {r['order']}"
            + (", centrosymmetric" if r["centrosymmetric"] else "")
        ),
    )
