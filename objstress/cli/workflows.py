"""Commands that run a whole workflow: law, demo, chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import (
    Arguments,
    Json,
    MaxStrain,
    Seed,
    Symprec,
    app,
    chosen_potential,
    json_object,
    print_result,
    say,
)


@app.command()
def law(
    structure: Annotated[Path, typer.Argument(help="Structure file, of any elements.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The law file to write; the report, pictures and labels go to a folder "
            "of its name without .law."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A calculator (`objstress calculators` lists them); if not given, the best "
            "universal potential installed."
        ),
    ] = None,
    arguments: Arguments = "{}",
    max_strain: MaxStrain = 0.05,
    budget: Annotated[
        float | None, typer.Option(help="Minutes that labelling may take; fewer labels then.")
    ] = None,
    case: Annotated[
        Path | None, typer.Option(help="A case (YAML) of this law to simulate afterwards.")
    ] = None,
    mesh: Annotated[
        Path | None,
        typer.Option(help="A mesh file of a body to pull afterwards along its longest side."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of processes that label.")] = 1,
    symprec: Symprec = 1e-2,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """From a structure file to its law, with an error bar.

    Relaxes the crystal with an interatomic potential, labels strained cells, fits and checks a
    law, and asks a second potential how far it is apart. Rerun the command to resume it.
    """
    from objstress.workflows.crystal_law import law_of

    if case is not None or mesh is not None:  # refused before the work
        from objstress.fem.case.run import simulate
        from objstress.fem.case.schema import read_case
        from objstress.fem.mesh_files import read_mesh
        from objstress.workflows.pulled_part import pull_part
    if case is not None:
        read_case(case)
    if mesh is not None:
        read_mesh(mesh)
    report = law_of(
        structure,
        out,
        model=model or chosen_potential(),
        arguments=json_object(arguments, "--arguments"),
        max_strain=max_strain,
        budget=budget,
        seed=seed,
        symprec=symprec,
        workers=workers,
        say=say,
    )
    folder = out.with_suffix("")
    if case is not None:
        report["case"] = simulate(case, folder / "case")
    if mesh is not None:
        report["part"] = pull_part(out, mesh, folder / "part", max_strain / 5)
    print_result(report, as_json, lambda r: (folder / "report.md").read_text())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the law and the plots.")] = (
        Path("out/demo")
    ),
    as_json: Json = False,
) -> None:
    """Silicon, from its structure file to a pulled plate.

    Measures each claim against its bar; exits with code 1 if a claim misses its bar.
    Needs FEniCSx (objstress[fem]).
    """
    from objstress.workflows.silicon import run_demo

    report = run_demo(out, say=say)
    print_result(report, as_json, lambda r: f"report: {out}/report.md")
    if not all(claim["ok"] for claim in report["claims"]):
        raise typer.Exit(1)


@app.command()
def chain(
    data: Annotated[
        Path,
        typer.Argument(
            help="Labelled structures (extxyz): eV, eV/Angstrom and eV/Angstrom^3, ASE's signs."
        ),
    ],
    structure: Annotated[Path, typer.Argument(help="Structure file of the crystal.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the potential, the law and all other files.")
    ],
    test: Annotated[
        Path | None, typer.Option(help="Labelled structures that are never trained on.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Time for training the potential, minutes.")] = (
        20.0
    ),
    samples: Annotated[int, typer.Option(help="Number of strained cells to fit the law to.")] = 150,
    max_strain: MaxStrain = 0.06,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """DFT data to potential, labels, law and a pulled plate.

    A potential is fitted to the data, it labels strained cells of the crystal, a law is fitted to
    the labels, and FEniCSx pulls a plate of it. Exits with code 1 if a claim misses its bar. Rerun
    the command to resume an interrupted chain.
    """
    from objstress.workflows.chain import run_chain

    common: dict[str, Any] = dict(samples=samples, max_strain=max_strain, seed=seed, say=say)
    report = run_chain(data, structure, out, test=test, minutes=minutes, **common)
    print_result(report, as_json, lambda r: f"report: {out}/report.md")
    if not all(claim["ok"] for claim in report["claims"]):
        raise typer.Exit(1)
