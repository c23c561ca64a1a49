"""`objstress fit-tensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from objstress.cli.app import Ions, Json, Seed, app, print_result
from objstress.errors import InputError
from objstress.io.files import check_writable


@app.command()
def fit_tensors(
    data: Annotated[
        Path, typer.Argument(help="JSON rows, each with a structure (pymatgen) and a tensor.")
    ],
    out: Annotated[Path, typer.Option(help="The .tensor file to write.")],
    kind: Annotated[
        str,
        typer.Option(
            help="elastic (GPa), dielectric, piezoelectric (C/m^2) or 'born charges' (e)."
        ),
    ] = "elastic",
    key: Annotated[
        str,
        typer.Option(help="Key of the tensor in a row; 6 x 6 and 3 x 6 matrices are Voigt."),
    ] = "elastic_tensor_voigt",
    ions: Annotated[
        Ions, typer.Option(help="Whether the tensors are of relaxed or of clamped ions.")
    ] = Ions.relaxed,
    prior: Annotated[
        str | None,
        typer.Option(help="Calculator, such as sevennet, whose elastic tensors are corrected."),
    ] = None,
    members: Annotated[
        int, typer.Option(help="Number of networks; their spread is the error bar.")
    ] = 4,
    epochs: Annotated[int, typer.Option(help="Number of passes over the crystals.")] = 150,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit networks to crystals with known tensors.

    The file is a model for `objstress properties` and `objstress serve` if the tensors are elastic.
    With --prior, what corrects a calculator's tensors is fitted instead; these are kept beside
    DATA.
    Rerun the command to resume an interrupted fit from OUT.fit.
    """
    from objstress.io.run_folder import forget
    from objstress.models.crystal_tensor import CrystalTensorSettings
    from objstress.training.tensors.data import read_crystal_tensors
    from objstress.training.tensors.fit import TensorTraining, fit_tensors

    check_writable(out)
    structures, tensors = read_crystal_tensors(data, kind, key, ions.value)
    if prior is not None:
        if members != 4 or epochs != 150:
            raise InputError("--members and --epochs are of networks: leave them out with --prior")
        _correct(data, out, structures, tensors, prior, kind, ions, as_json)
        return
    work = out.with_name(out.name + ".fit")
    training = TensorTraining(members=members, epochs=epochs, seed=seed)
    ensemble = fit_tensors(
        structures, tensors, CrystalTensorSettings(kind=kind), training, work, ions=ions.value
    )
    ensemble.save(out)
    forget(work)
    print_result(
        {"tensors": str(out), "kind": kind, **ensemble.metadata},
        as_json,
        lambda r: f"{r['crystals']} crystals, {members} networks written to {r['tensors']}",
    )


def _correct(
    data: Path,
    out: Path,
    structures: list[Any],
    tensors: list[Any],
    prior: str,
    kind: str,
    ions: Ions,
    as_json: bool,
) -> None:
    from objstress.properties.prior import prior_tensors
    from objstress.training.tensors.correction import correct_tensors

    if kind != "elastic":
        raise InputError(f"--prior gives elastic tensors, none of kind {kind!r}: leave it out")
    kept = data.with_name(f"{data.name}.{prior}.{ions.value}.json")
    known = prior_tensors(structures, prior, kept, ions.value)
    corrected = correct_tensors(structures, tensors, prior, known, ions.value)
    corrected.save(out)
    print_result(
        {"tensors": str(out), "kind": kind, **corrected.metadata},
        as_json,
        lambda r: f"{r['crystals']} crystals, corrections of {prior} written to {r['tensors']}",
    )
