"""Commands that fit laws: fit, member."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Json, Seed, Symprec, app, print_result, say, stiffness_text
from objstress.errors import InputError
from objstress.io.files import check_writable


@app.command()
def fit(
    data: Annotated[
        Path, typer.Argument(help="Labelled cells (extxyz), or strain-stress pairs (CSV, GPa).")
    ],
    out: Annotated[
        Path | None, typer.Option(help="The law file to write; DATA's name with .law.")
    ] = None,
    structure: Annotated[Path | None, typer.Option(help="Structure file of the crystal.")] = None,
    point_group: Annotated[
        str | None,
        typer.Option(help="Point group of a material without atoms, instead of --structure."),
    ] = None,
    members: Annotated[
        int, typer.Option(help="Number of laws; more than one make an ensemble with error bars.")
    ] = 1,
    prior: Annotated[
        Path | None,
        typer.Option(
            help="Law file of a cheaper method that the labels, few are enough, correct; or file "
            "of a family to which a new member is fitted."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="The new member's parameters, t1=0.2,t2=0.4; looked for if not given."),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(help="Columns t1,t2,... that tell apart the materials of a family."),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            help="Fraction of the labels held out to measure the error; 0.2, with --prior 0."
        ),
    ] = None,
    degree: Annotated[
        int | None,
        typer.Option(help="Degree of the polynomial; chosen by leave-one-out errors if not given."),
    ] = None,
    network: Annotated[
        bool, typer.Option(help="Add a network for the polynomial's residual where it helps.")
    ] = True,
    symprec: Symprec = 1e-2,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a law to labelled strains, correct a law by a few, or fit a family of laws.

    Rerun the command to resume an interrupted fit from OUT.fit.
    """
    from objstress.io.run_folder import forget
    from objstress.laws.family import is_family

    out = out or Path(data.with_suffix(".law").name)
    check_writable(out)
    if prior is not None:
        given = {
            "--members": members != 1,
            "--degree": degree is not None,
            "--point-group": point_group is not None,
            "--parameters": parameters is not None,
        }
        _refuse(given, "is the prior's with --prior")
        if is_family(prior):
            if structure is not None or held_out is not None:
                raise InputError("--structure and --held-out are not for members of a family")
            _fit_member(data, prior, at, out, seed, as_json)
            return
        if at is not None:
            raise InputError(f"--at is for members of a family: {prior} is one law")
        _correct(data, prior, structure, out, held_out or 0.0, seed, symprec, as_json)
        return
    if at is not None:
        raise InputError("--at needs the file of a family as --prior")
    work = out.with_name(out.name + ".fit")
    if parameters is not None:
        given = {
            "--members": members != 1,
            "--degree": degree is not None,
            "--structure": structure is not None,
            "--no-network": not network,
        }
        _refuse(given, "is not for families")
        _fit_family(data, point_group, parameters, out, work, held_out, seed, as_json)
        return
    common: dict[str, Any] = dict(
        point_group=point_group,
        held_out=0.2 if held_out is None else held_out,
        degree=degree,
        use_network=network,
        symprec=symprec,
        workdir=work,
        say=say,
    )
    law: Any
    if members == 1:
        from objstress.training.laws.fit import fit_law
        from objstress.training.laws.settings import NetworkTraining

        law = fit_law(data, structure, training=NetworkTraining(seed=seed), **common)
    else:
        from objstress.training.laws.ensemble import fit_law_ensemble

        law = fit_law_ensemble(data, structure, members=members, seed=seed, **common)
    law.save(out)
    forget(work)
    _print_fit(law, out, as_json)


def _refuse(given: dict[str, bool], why: str) -> None:
    """Refuse the first option that is used."""
    if wrong := [option for option, used in given.items() if used]:
        raise InputError(f"{wrong[0]} {why}: leave it out")


def _fit_family(
    data: Path,
    point_group: str | None,
    parameters: str,
    out: Path,
    work: Path,
    held_out: float | None,
    seed: int,
    as_json: bool,
) -> None:
    from objstress.io.run_folder import forget
    from objstress.training.laws.family import fit_family
    from objstress.training.laws.settings import NetworkTraining

    if point_group is None:
        raise InputError("a family of laws needs --point-group")
    family = fit_family(
        data,
        point_group,
        [name.strip() for name in parameters.split(",")],
        held_out=0.2 if held_out is None else held_out,
        training=NetworkTraining(seed=seed),
        workdir=work,
        say=say,
    )
    family.save(out)
    forget(work)
    print_result(
        {"family": str(out), **family.metadata},
        as_json,
        lambda r: (
            f"family of laws in {out}: parameters "
            + ", ".join(
                f"{n} from {a:.4g} to {b:.4g}"
                for n, a, b in zip(family.names, family.lower, family.upper, strict=True)
            )
        ),
    )


def _fit_member(
    data: Path, family: Path, at: str | None, out: Path, seed: int, as_json: bool
) -> None:
    from objstress.training.laws.family_member import fit_member

    law = fit_member(data, family, None if at is None else _parameters(at), seed=seed, say=say)
    law.save(out)
    _print_fit(law, out, as_json)


def _correct(
    data: Path,
    prior: Path,
    structure: Path | None,
    out: Path,
    held_out: float,
    seed: int,
    symprec: float,
    as_json: bool,
) -> None:
    from objstress.training.laws.correction import correct_law

    law = correct_law(
        data, prior, structure, held_out=held_out, seed=seed, symprec=symprec, say=say
    )
    law.save(out)
    _print_fit(law, out, as_json)


def _print_fit(law: Any, out: Path, as_json: bool) -> None:
    crystal = law.structure
    result = {
        "law": str(out),
        "stiffness_GPa": law.stiffness().tolist(),
        "lattice": None if crystal is None else crystal.lattice.matrix.tolist(),
        **law.metadata,
    }
    print_result(
        result, as_json, lambda r: f"law written to {r['law']}\n{stiffness_text(law.stiffness())}"
    )


def _parameters(text: str) -> dict[str, float]:
    """{name: value} of "t1=0.2,t2=0.4"."""
    values = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--at {part!r}: give NAME=NUMBER, separated by commas") from None
    return values


@app.command()
def member(
    family: Annotated[Path, typer.Argument(help="File of a family of laws.")],
    at: Annotated[str, typer.Option(help="Its parameters, such as t1=0.2,t2=0.4.")],
    out: Annotated[Path, typer.Option(help="The law file to write.")],
    outside: Annotated[
        str, typer.Option(help="At parameters outside those of the fit: warn, error or ignore.")
    ] = "warn",
    as_json: Json = False,
) -> None:
    """Write the law of one member of a family.

    Prints its stiffness. The file is that of a law like any other.
    """
    from objstress.laws.family import load_family

    check_writable(out)
    values = _parameters(at)
    law = load_family(family, outside).at(values)
    law.save(out)
    result = {
        "law": str(out),
        "parameters": values,
        "stiffness_GPa": law.stiffness().tolist(),
    }
    print_result(result, as_json, lambda r: f"{stiffness_text(law.stiffness())}\nlaw in {out}")
