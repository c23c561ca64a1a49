"""Commands for material laws: label, suggest, refine, compile, check, export."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import (
    Arguments,
    Ions,
    IonsOption,
    Json,
    MaxStrain,
    Scheduler,
    Seed,
    Symprec,
    app,
    json_object,
    print_result,
    say,
    stiffness_text,
)
from objstress.io.files import check_writable

Law = Annotated[Path, typer.Argument(help="Law file.")]


@app.command()
def label(
    structure: Annotated[Path, typer.Argument(help="Structure file of the crystal.")],
    calculator: Annotated[
        str,
        typer.Option(help="Name (emt, kumagai, abinit, lammps, potential, ...) or module:Class."),
    ],
    out: Annotated[Path, typer.Option(help="The extxyz file to write.")],
    arguments: Arguments = "{}",
    samples: Annotated[
        int, typer.Option(help="Number of strains; with --adaptive the largest number.")
    ] = 300,
    max_strain: MaxStrain = 0.08,
    ions: IonsOption = Ions.relaxed,
    seed: Seed = 0,
    symprec: Symprec = 1e-2,
    workers: Annotated[int, typer.Option(help="Number of parallel calculators.")] = 1,
    scheduler: Scheduler = None,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Label where an ensemble of laws is least certain.")
    ] = False,
    target: Annotated[
        float, typer.Option(help="Relative stress error at which --adaptive stops.")
    ] = 0.01,
    as_json: Json = False,
) -> None:
    """Label strained cells of a crystal with a calculator.

    Writes energy (eV), forces (eV/Angstrom) and stress (eV/Angstrom^3) of each cell. Strains that
    fail, or that transform the crystal to another phase, are named and left out. Rerun the command
    to
    resume an interrupted run.
    """
    common: dict[str, Any] = dict(
        out=out,
        samples=samples,
        max_strain=max_strain,
        ions=ions.value,
        seed=seed,
        symprec=symprec,
        arguments=json_object(arguments, "--arguments"),
        workers=workers,
        scheduler=scheduler,
    )
    if adaptive:
        from objstress.training.laws.adaptive import label_adaptively

        result = label_adaptively(structure, calculator, target=target, say=say, **common)
    else:
        from objstress.labels.labelling import label_strains

        result = label_strains(structure, calculator, **common)
    print_result(
        result,
        as_json,
        lambda r: (
            f"{r['labels']} labels with {r['ions']} ions in {r['out']}, "
            f"{len(r['failed'])} strains failed"
        ),
    )
    if not result.get("reached", True):
        say(f"the error bar is still {result['error_bars'][-1][1]:.2%}: allow more --samples")


@app.command()
def suggest(
    law: Law,
    out: Annotated[Path, typer.Option(help="Folder of the structure files to write.")],
    labels: Annotated[int, typer.Option(help="Number of strains.")] = 5,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Name the strains whose labels would help a law most, as files for a DFT code.

    Writes the strained cells as extxyz and POSCAR, their ions moved as the law has them; for a
    material without atoms a table of strains. Label them, and give the labels to fit --prior LAW.
    """
    import numpy as np

    from objstress.laws.loading import load_law
    from objstress.training.laws.suggestions import (
        has_atoms,
        suggest_strains,
        write_suggestions,
    )

    loaded = load_law(law, outside="ignore")
    strains = suggest_strains(loaded, labels, seed=seed)
    if loaded.stress_error(np.eye(3)) is None and has_atoms(loaded):
        say(
            "strains about the prior's own lattice: relax the cell by the better method first, and "
            "correct the law by that label"
        )
    files = write_suggestions(loaded, strains, out)
    result = {"strains": strains.tolist(), "files": [str(file) for file in files]}
    print_result(result, as_json, lambda r: f"{len(strains)} strains in {out}")


@app.command()
def refine(
    law: Law,
    states: Annotated[
        Path, typer.Option(help="The folder of a run's states, such as OUT/states of a case.")
    ],
    calculator: Annotated[str, typer.Option(help="Name of the labels' calculator, as for label.")],
    out: Annotated[
        Path, typer.Option(help="The law file to write; all labels go beside it, as .extxyz.")
    ],
    arguments: Arguments = "{}",
    labels: Annotated[
        Path | None,
        typer.Option(help="The law's label file, where it is not at the place the law names."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Number of new labels; a sixth of the law's own, at least 24."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of parallel calculators.")] = 1,
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Label the strains that a simulation met outside a law, and fit the law anew.

    Rerun the command to resume an interrupted run. Then simulate again with the new law.
    """
    from objstress.training.laws.refine import refine_law

    result = refine_law(
        law,
        states,
        calculator,
        out=out,
        labels=labels,
        samples=samples,
        arguments=json_object(arguments, "--arguments"),
        workers=workers,
        scheduler=scheduler,
        say=say,
    )
    print_result(
        result,
        as_json,
        lambda r: (
            f"{r['labelled']} labels added in {r['labels']}, law written to {r['law']}; "
            f"{r['still_outside']:.1%} of the strains met are still outside"
        ),
    )


class Kind(str, Enum):
    polynomial = "polynomial"
    torch = "torch"


@app.command()
def compile(
    law: Law,
    out: Annotated[Path, typer.Option(help="The law file to write.")],
    tolerance: Annotated[
        float, typer.Option(help="Largest relative stress error allowed, with --kind polynomial.")
    ] = 1e-3,
    kind: Annotated[
        Kind,
        typer.Option(help="One polynomial of the strain, or the law as it is, fused by torch."),
    ] = Kind.polynomial,
    as_json: Json = False,
) -> None:
    """Compile a law into one that is as cheap as a textbook material.

    Prints the elastic constants of all orders in GPa.
    """
    from objstress.laws.compile import compile_law
    from objstress.laws.loading import load_law
    from objstress.laws.polynomial import PolynomialLaw

    check_writable(out)
    compiled = compile_law(load_law(law), tolerance, kind.value)
    compiled.save(out)
    result: dict[str, Any] = {"law": str(out), "kind": kind.value}
    table = ""
    if isinstance(compiled, PolynomialLaw):
        table = "\n" + compiled.constants_table()
        result["compiled"] = compiled.metadata["compiled"]
        result["constants_GPa"] = {
            str(order): compiled.elastic_constants(order) for order in range(2, compiled.degree + 1)
        }
    print_result(result, as_json, lambda r: f"law written to {r['law']}{table}")


@app.command()
def check(law: Law, as_json: Json = False) -> None:
    """Check objectivity, symmetry and consistency of a law.

    Measures objectivity, material symmetry, derivatives and conservation of energy, and prints
    each claim with its measured value and its bar, and the stiffness in GPa. Exits with code 1 if
    a claim misses its bar.
    """
    from objstress.laws.check import check_law
    from objstress.laws.loading import load_law
    from objstress.reports import claims_table

    loaded = load_law(law)
    claims = check_law(loaded)
    result = {
        "claims": [c.to_dict() for c in claims],
        "point_group": loaded.point_group.symbol,
        "stiffness_GPa": loaded.stiffness().tolist(),
    }
    print_result(
        result, as_json, lambda r: claims_table(claims) + "\n" + stiffness_text(loaded.stiffness())
    )
    if not all(c.ok for c in claims):
        raise typer.Exit(1)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Law file, or potential file for .pt2.")],
    out: Annotated[
        Path,
        typer.Argument(
            help="File to write: .c (and .h), .f90 or .for (an Abaqus UMAT), .mfront, or .pt2."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Write a compiled law as source code, or a potential as a program of PyTorch.

    Names in the code begin with the stem of OUT. Energies, stresses and tangents of laws are in
    GPa; those of potentials in eV and Angstrom.
    """
    if out.suffix.lower() == ".pt2":
        from objstress.models.export import export_potential
        from objstress.models.potential import load_potential

        export_potential(load_potential(model), out)
        files = [out]
    else:
        from objstress.laws.export.files import export_law
        from objstress.laws.loading import load_law

        files = export_law(load_law(model), out)
    result = {"files": [str(file) for file in files]}
    print_result(result, as_json, lambda r: f"{model} exported to {' and '.join(r['files'])}")
