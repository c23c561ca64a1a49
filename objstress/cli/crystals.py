"""`objstress symmetry` and `objstress properties`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import (
    Arguments,
    Ions,
    IonsOption,
    Json,
    Scheduler,
    Symprec,
    app,
    chosen_potential,
    json_object,
    print_result,
    say,
)
from objstress.errors import InputError


@app.command()
def symmetry(
    structure: Annotated[Path, typer.Argument(help="Structure file (CIF, POSCAR, extxyz, ...).")],
    symprec: Symprec = 1e-2,
    as_json: Json = False,
) -> None:
    """Point group of a crystal, in the frame of its file.

    With --json also the operations of the group, matrices in the Cartesian frame of the file.
    """
    from objstress.symmetry.point_group import PointGroup

    group = PointGroup.from_structure(structure, symprec)
    result = {
        "symbol": group.symbol,
        "schoenflies": group.schoenflies,
        "crystal_system": group.crystal_system,
        "laue": group.laue,
        "order": group.order,
        "centrosymmetric": group.centrosymmetric,
        "operations": group.operations.tolist(),
    }
    print_result(
        result,
        as_json,
        lambda r: (
            f"point group {r['symbol']} ({r['schoenflies']}), {r['crystal_system']}, Laue class "
            f"{r['laue']}, order {r['order']}"
            + (", centrosymmetric" if r["centrosymmetric"] else "")
        ),
    )


@app.command()
def properties(
    files: Annotated[
        list[Path], typer.Argument(help="Structure files; an extxyz file may hold many.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A calculator (`objstress calculators` lists them, or module:Class), or a .law, "
            ".potential or .tensor file; if not given, the best universal potential installed."
        ),
    ] = None,
    arguments: Arguments = "{}",
    ions: IonsOption = Ions.relaxed,
    plot: Annotated[Path | None, typer.Option(help="Folder for one plot of each crystal.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Table with a row for each structure, .csv or .parquet.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of parallel processes, with --out.")] = 1,
    scheduler: Scheduler = None,
    symprec: Symprec = 1e-2,
    as_json: Json = False,
) -> None:
    """Elastic constants and derived properties of crystals.

    Prints a page for each crystal: stiffness and averages (GPa), extremes by direction, speeds of
    sound (km/s), Debye temperature (K), stability.

    With --out it writes a table instead; a structure that fails has a row with the reason. Rerun
    the command to resume an interrupted table.
    """
    keywords = json_object(arguments, "--arguments")
    if model is None:
        model = chosen_potential()
    if out is not None:
        if plot is not None:
            raise InputError("--plot draws crystals one by one; leave out --out")
        from objstress.properties.screening import screen, structures_in

        table: dict[str, Any] = dict(ions=ions.value, arguments=keywords, symprec=symprec)
        result = screen(
            structures_in(files), model, out, workers=workers, scheduler=scheduler, **table
        )
        for failure in result["failed"]:
            say(f"{failure['name']}: {failure['error']}")
        print_result(
            result,
            as_json,
            lambda r: (
                f"{r['structures']} structures in {r['out']}: {len(r['failed'])} failed, "
                f"{r['unstable']} unstable"
            ),
        )
        return
    from objstress.properties.crystal import crystal_properties
    from objstress.properties.report import describe
    from objstress.properties.sources.find import find_model

    source = find_model(model, keywords)
    common: dict[str, Any] = dict(ions=ions.value, symprec=symprec)
    crystals = {str(f): crystal_properties(f, source, **common) for f in files}
    if plot is not None:
        from objstress.properties.plots import plot_properties

        for file, crystal in crystals.items():
            plot_properties(crystal, plot / f"{Path(file).stem}.png")
    print_result(
        {file: crystal.to_dict() for file, crystal in crystals.items()},
        as_json,
        lambda _: "\n\n".join(describe(crystal) for crystal in crystals.values()),
    )
