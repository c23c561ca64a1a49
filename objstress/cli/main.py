"""The command line: each command parses, calls one function and prints what it returns."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from objstress.cli import dock, md, poses, potential, properties, serve, spectra, tensors  # noqa: F401
from objstress.cli.app import Ions, Json, app, json_object, print_answer, ranks, say
from objstress.errors import ConvergenceError, InputError
from objstress.files import all_arrive, check_writable


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the law and the pictures.")] = (
        Path("out/demo")
    ),
    as_json: Json = False,
) -> None:
    """Silicon from its structure file to a plate with a hole, every claim measured."""
    from objstress.demo.silicon import run_demo

    report = run_demo(out, say=say)
    print_answer(report, as_json, lambda r: f"report: {out}/report.md")
    if not all(claim["ok"] for claim in report["claims"]):
        raise typer.Exit(1)


@app.command()
def chain(
    data: Annotated[Path, typer.Argument(help="Labelled structures (extxyz).")],
    structure: Annotated[Path, typer.Argument(help="Structure file of the crystal wanted.")],
    out: Annotated[Path, typer.Option(help="Folder for the potential, the law and the rest.")],
    test: Annotated[
        Path | None, typer.Option(help="Labelled structures that nobody trains on.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Of training.")] = 20.0,
    samples: Annotated[int, typer.Option(help="Strained cells that the law learns from.")] = 150,
    max_strain: Annotated[float, typer.Option(help="Largest |E|.")] = 0.06,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """DFT set, potential, strained cells, law, finite elements; an interrupted run goes on."""
    from objstress.demo.chain import run_chain

    common: dict[str, Any] = dict(samples=samples, max_strain=max_strain, seed=seed, say=say)
    report = run_chain(data, structure, out, test=test, minutes=minutes, **common)
    print_answer(report, as_json, lambda r: f"report: {out}/report.md")
    if not all(claim["ok"] for claim in report["claims"]):
        raise typer.Exit(1)


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
    from objstress.laws.adaptive import label_adaptively
    from objstress.teachers.label import label_strains

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
    from objstress.laws.ensemble import fit_ensemble
    from objstress.laws.fit import fit_law
    from objstress.training.network_fit import TrainingSettings
    from objstress.training.resume import forget

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
        law = fit_law(data, structure, training=TrainingSettings(seed=seed), **common)
    else:
        law = fit_ensemble(data, structure, members=members, seed=seed, **common)
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
    from objstress.laws.compiled import PolynomialLaw
    from objstress.laws.files import load_law

    check_writable(out)
    compiled = load_law(law).compile(tolerance, kind.value)
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
    from objstress.claims import claims_table
    from objstress.laws.files import load_law

    loaded = load_law(law)
    claims = loaded.check()
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


@app.command()
def simulate(
    case: Path,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew instead of going on from OUT/states.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Solve a finite-element case described in YAML; an interrupted run goes on from OUT/states.

    Runs on several ranks under mpiexec.
    """
    from objstress.fem.case import simulate as run

    result = run(case, out, fresh=fresh)
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    print_answer(result, as_json, _steps)


def _stiffness(c: Any) -> str:
    rows = "\n".join("  " + " ".join(f"{x:9.3f}" for x in row) for row in c)
    return f"stiffness, GPa (Voigt xx yy zz yz xz xy)\n{rows}"


def _steps(result: dict[str, Any]) -> str:
    lines = ["load     iterations  residual      energy        min J"]
    for s in result["steps"]:
        lines.append(
            f"{s['load']:.4f}  {len(s['residuals']) - 1:10d}  {s['residuals'][-1]:.3e}  "
            f"{s['energy']:.6e}  {s['min_J']:.5f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Entry point: one clear line and exit code 2 for bad input, 3 for a failed solve."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    try:
        helping = not sys.argv[1:] or "--help" in sys.argv
        with contextlib.nullcontext() if helping else contextlib.redirect_stdout(sys.stderr):
            app()
    except (InputError, OSError) as error:
        _fail(f"error: {error}", 2)
    except ConvergenceError as error:
        _fail(f"error: {error}", 3)
    except Exception:
        if ranks() is None or ranks().size == 1:
            raise
        _fail(traceback.format_exc(), 1)


def _fail(text: str, code: int) -> NoReturn:
    """End with one text, whatever the number of ranks that failed."""
    comm = ranks()
    if comm is not None and not all_arrive(comm):
        # The others wait for this one, which will never come.
        print(text, file=sys.stderr, flush=True)
        # mpiexec drops what it has not passed on when it is told to kill.
        time.sleep(1.0)
        comm.Abort(code)
    say(text)
    sys.exit(code)
