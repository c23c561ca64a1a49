"""Commands about laws: label, fit, compile, check."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Ions, Json, app, json_object, print_answer, say
from objstress.io.files import check_writable


@app.command()
def teach(
    structure: Path,
    calculator: Annotated[str, typer.Option(help="emt, kumagai, ..., or module:Class.")],
    out: Annotated[Path, typer.Option(help="The extxyz file to write.")],
    arguments: Annotated[str, typer.Option(help="JSON arguments of the calculator.")] = "{}",
    samples: Annotated[int, typer.Option(help="Labels, with --adaptive at most.")] = 300,
    max_strain: Annotated[float, typer.Option(help="Largest |E|.")] = 0.08,
    ions: Ions = Ions.relaxed,
    seed: int = 0,
    workers: Annotated[int, typer.Option(help="Parallel calculators (dask.distributed).")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running dask scheduler instead.")
    ] = None,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Label where an ensemble is least sure.")
    ] = False,
    target: Annotated[
        float, typer.Option(help="Relative stress error that --adaptive stops at.")
    ] = 0.01,
    as_json: Json = False,
) -> None:
    """Label strained cells of a structure with a calculator."""
    from objstress.labels.labelling import label_strains
    from objstress.training.laws.adaptive import label_adaptively

    common: dict[str, Any] = dict(
        out=out,
        samples=samples,
        max_strain=max_strain,
        ions=ions.value,
        seed=seed,
        arguments=json_object(arguments, "--arguments"),
        workers=workers,
        scheduler=scheduler,
    )
    if adaptive:
        result = label_adaptively(structure, calculator, target=target, say=say, **common)
    else:
        result = label_strains(structure, calculator, **common)
    print_answer(
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
def fit(
    data: Annotated[Path, typer.Argument(help="Labels (extxyz), or strain-stress pairs (CSV).")],
    out: Annotated[Path, typer.Option(help="The law file to write.")],
    structure: Annotated[Path | None, typer.Option(help="Structure file of the crystal.")] = None,
    point_group: Annotated[
        str | None,
        typer.Option(help="Point group of a material without listed atoms, instead."),
    ] = None,
    members: Annotated[
        int, typer.Option(help="Laws of an ensemble with error bars; 1 fits a single law.")
    ] = 1,
    held_out: Annotated[float, typer.Option(help="Part of the labels kept unseen.")] = 0.2,
    network: Annotated[
        bool, typer.Option(help="Let a network learn what the polynomial leaves.")
    ] = True,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Fit a law to labelled strains; an interrupted fit goes on from OUT.fit."""
    from objstress.io.run_folder import forget
    from objstress.training.laws.ensemble import fit_law_ensemble
    from objstress.training.laws.fit import fit_law
    from objstress.training.laws.settings import NetworkTraining

    check_writable(out)
    work = out.with_name(out.name + ".fit")
    common: dict[str, Any] = dict(
        point_group=point_group,
        held_out=held_out,
        use_network=network,
        workdir=work,
        say=say,
    )
    law: Any
    if members == 1:
        law = fit_law(data, structure, training=NetworkTraining(seed=seed), **common)
    else:
        law = fit_law_ensemble(data, structure, members=members, seed=seed, **common)
    law.save(out)
    forget(work)
    result = {
        "law": str(out),
        "stiffness_GPa": law.stiffness().tolist(),
        "lattice": law.structure.lattice.matrix.tolist(),
        **law.metadata,
    }
    print_answer(
        result, as_json, lambda r: f"law written to {r['law']}\n{_stiffness(law.stiffness())}"
    )


class Kind(str, Enum):
    polynomial = "polynomial"
    torch = "torch"


@app.command()
def compile(
    law: Path,
    out: Annotated[Path, typer.Option(help="The law file to write.")],
    tolerance: Annotated[
        float, typer.Option(help="Worst relative stress error a polynomial may make.")
    ] = 1e-3,
    kind: Kind = Kind.polynomial,
    as_json: Json = False,
) -> None:
    """Make a law as cheap as a textbook material; prints its elastic constants of all orders."""
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
    print_answer(result, as_json, lambda r: f"law written to {r['law']}{table}")


@app.command()
def check(law: Path, as_json: Json = False) -> None:
    """Measure what a law promises."""
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
    print_answer(
        result, as_json, lambda r: claims_table(claims) + "\n" + _stiffness(loaded.stiffness())
    )
    if not all(c.ok for c in claims):
        raise typer.Exit(1)


def _stiffness(c: Any) -> str:
    rows = "\n".join("  " + " ".join(f"{x:9.3f}" for x in row) for row in c)
    return f"stiffness, GPa (Voigt xx yy zz yz xz xy)\n{rows}"
