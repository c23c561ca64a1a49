"""`objstress fit-tensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objstress.cli.app import Ions, Json, Seed, app, print_result
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
    members: Annotated[
        int, typer.Option(help="Number of networks; their spread is the error bar.")
    ] = 4,
    epochs: Annotated[int, typer.Option(help="Number of passes over the crystals.")] = 150,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit networks to crystals with known tensors.

    The file is a model for `objstress properties` and `objstress serve` if the tensors are elastic.
    Rerun the command to resume an interrupted fit from OUT.fit.
    """
    from objstress.io.run_folder import forget
    from objstress.models.crystal_tensor import CrystalTensorSettings
    from objstress.training.tensors.data import read_crystal_tensors
    from objstress.training.tensors.fit import TensorTraining, fit_tensors

    check_writable(out)
    structures, tensors = read_crystal_tensors(data, kind, key, ions.value)
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
